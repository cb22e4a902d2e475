//! Two nodes of a Galera cluster, a worker on each: what both write at the same time is told apart
//! when it commits (1213), and a node without a majority takes nothing (1047).

use super::{complete, config, order, pipeline, started, table};
use crate::support::broker::{Broker, Kind};
use crate::support::database::{Server, TestDatabase, execute, rows, try_rows};
use crate::support::process::free_port;
use crate::support::servers::{Flavour, Mysql, shared_amqp_url};
use crate::support::wait::{PATIENCE, eventually, unique_name};

const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// A node that founds a cluster, or joins the one whose first node listens there.
async fn node(cluster: Option<u16>, listens: u16) -> Mysql {
    let (transfer, catch_up) = (free_port(), free_port());
    let members = cluster.map_or(String::new(), |port| format!("127.0.0.1:{port}"));
    let mut options = vec![
        "--wsrep-on=ON".to_owned(),
        format!("--wsrep-provider={PROVIDER}"),
        format!("--wsrep-cluster-address=gcomm://{members}"),
        "--wsrep-node-address=127.0.0.1".to_owned(),
        "--wsrep-sst-method=rsync".to_owned(),
        format!("--wsrep-sst-receive-address=127.0.0.1:{transfer}"),
        format!(
            "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{listens};ist.recv_addr=127.0.0.1:{catch_up};\
             gcache.size=16M"
        ),
        "--binlog-format=ROW".to_owned(),
        "--innodb-autoinc-lock-mode=2".to_owned(),
    ];
    if cluster.is_none() {
        options.push("--wsrep-new-cluster".to_owned());
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let node = Mysql::start_as_mysql(&options).await;
    let url = node.url();
    eventually(PATIENCE, "the node is a part of the cluster", async || {
        try_rows(&url, "SHOW GLOBAL STATUS LIKE 'wsrep_ready'")
            .await
            .is_ok_and(|rows| rows.first().is_some_and(|row| row[1].as_deref() == Some("ON")))
    })
    .await;
    node
}

/// Transactions of this node that lost against another's.
async fn lost_against_another(node: &Mysql) -> u64 {
    let mut lost = 0;
    for name in ["wsrep_local_cert_failures", "wsrep_local_bf_aborts"] {
        let found = rows(&node.url(), &format!("SHOW GLOBAL STATUS LIKE '{name}'")).await;
        lost += found[0][1].as_ref().expect("a number").parse::<u64>().expect("a number");
    }
    lost
}

#[tokio::test]
async fn slow_two_nodes_of_galera_have_each_order_once() {
    assert_eq!(Flavour::installed(), Flavour::Mariadb, "MySQL has no Galera: this is for ./tests/run.sh with MariaDB");
    let port = free_port();
    let one = node(None, port).await;
    let mut two = node(Some(port), free_port()).await;
    let database = TestDatabase::on(&one.url()).await;
    database.execute(table(Server::Mysql)).await;
    let there = database.url.replace(&one.port().to_string(), &two.port().to_string());
    let (broker, queue) = (Broker::shared().await, unique_name("galera"));
    broker.declare(&queue, Kind::Quorum).await;
    let on = |url: &str| config(&shared_amqp_url(), url, &pipeline("orders", &queue));
    let mut workers = vec![started(&on(&database.url)).await, started(&on(&there)).await];
    // Each order twice, side by side, until both nodes have had one in hand at the same time.
    let mut published = 0;
    while lost_against_another(&one).await + lost_against_another(&two).await == 0 {
        let some = published..published + 500;
        published = some.end;
        assert!(published < 50_000, "no two transactions met");
        broker.publish(&queue, some.flat_map(|seq| [order("ada", seq), order("ada", seq)])).await;
        super::empty(&broker, &queue).await;
    }
    complete(&database, &["ada".to_owned()], published).await;
    // One of two is no majority: what is left of the cluster takes nothing, and nothing is lost to it.
    two.kill();
    broker.publish(&queue, (published..published + 200).map(|seq| order("ada", seq))).await;
    published += 200;
    workers[0].logs("1047").await;
    workers[1].logs("holding").await;
    execute(&one.url(), "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'").await;
    two.restart().await;
    super::empty(&broker, &queue).await;
    complete(&database, &["ada".to_owned()], published).await;
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM orders";
    eventually(PATIENCE, "the other node has them, too", async || {
        try_rows(&there, count).await.is_ok_and(|rows| rows[0][0] == Some(published.to_string()))
    })
    .await;
    for worker in workers {
        worker.stop().await.expect(0);
    }
    broker.delete(&queue).await;
}
