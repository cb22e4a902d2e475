//! Competing consumers: 1, 2 and 4 processes on one queue, replaced one after the other, while orders
//! come in, some of them twice.

use super::{complete, config, empty, order, pipeline, started, table};
use crate::support::broker::{Broker, Kind};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::shared_amqp_url;
use crate::support::wait::unique_name;

/// Orders that are published between two replacements.
const ORDERS: usize = 400;

async fn rolling(server: Server) {
    let database = TestDatabase::fresh(server).await;
    database.execute(table(server)).await;
    let (broker, queue) = (Broker::shared().await, unique_name("rolling"));
    broker.declare(&queue, Kind::Quorum).await;
    let config = config(&shared_amqp_url(), &database.url, &pipeline("orders", &queue));
    let mut published = 0;
    let mut publish = async || {
        // Every fifth one twice, far enough from each other that two processes may have them.
        let all = published..published + ORDERS;
        published = all.end;
        let again = all.clone().step_by(5);
        broker.publish(&queue, all.chain(again).map(|seq| order("ada", seq))).await;
        published
    };
    for processes in [1, 2, 4] {
        let mut running = Vec::new();
        for _ in 0..processes {
            running.push(started(&config).await);
        }
        for (nth, member) in running.iter_mut().enumerate() {
            publish().await;
            // The new one first, as Kubernetes does it.
            let new = started(&config).await;
            publish().await;
            let old = std::mem::replace(member, new);
            // The last one of each round doesn't come to drain.
            if nth + 1 == processes {
                old.kill().await;
            } else {
                old.stop().await.expect(0);
            }
        }
        let total = publish().await;
        empty(&broker, &queue).await;
        complete(&database, &["ada".to_owned()], total).await;
        for worker in running {
            worker.stop().await.expect(0);
        }
    }
    broker.delete(&queue).await;
}

#[tokio::test]
async fn slow_one_two_and_four_processes_through_rolling_restarts_in_postgres() {
    rolling(Server::Postgres).await;
}

#[tokio::test]
async fn slow_one_two_and_four_processes_through_rolling_restarts_in_mysql() {
    rolling(Server::Mysql).await;
}
