//! Rows that the server can't take, and a database that is away while the worker dies again and again.

use super::session::Session;
use super::{OWN, Setting, counted, quiet, shows};
use crate::faults::books::{Expected, Order};
use crate::faults::scene::Scene;
use crate::main_job::orders::{self, Cause};
use crate::support::broker::Kind;
use crate::support::database::Server;

pub const SMALL_PACKETS: Setting = Setting { mariadb: &["--max-allowed-packet=1M"], ..OWN };

fn dead(id: &str, body: String, code: &'static str) -> Order {
    Order::new(id, body, Expected::Dead(Some(Cause { class: "row_rejected", code, column: None })))
}

/// Among good ones, which are written.
async fn publish_and_wait(scene: &mut Scene, bad: Order) {
    let before = counted(scene, "dead_lettered").await;
    let mut among: Vec<Order> = (0..20).map(|n| beside(n, "")).collect();
    among.insert(10, bad);
    scene.publish(among).await;
    // Whatever else is bad may be first.
    scene.until("all neighbours are written", async |scene| scene.written_like("beside-").await == 20).await;
    scene.until("it is dead-lettered", async |scene| counted(scene, "dead_lettered").await > before).await;
    scene.mended().await;
}

/// A good order, with so much more in a column that the audit doesn't read.
fn beside(n: usize, more: &str) -> Order {
    let (body, row) = orders::good(n);
    let body = body.replace(&format!("{{\"n\":{n}}}"), &format!("{{\"n\":\"{n}{more}\"}}"));
    Order::new(&format!("beside-{n}{}", more.len()), body, Expected::Row(row))
}

pub async fn above_packet_limit(scene: &mut Scene) {
    // Together these don't fit into one packet either; one by one they do.
    let large = (100..104).map(|n| beside(n, &"x".repeat(300_000))).collect();
    scene.publish(large).await;
    let (body, _) = orders::good(1);
    let body = body.replace("{\"n\":1}", &format!("{{\"n\":\"{}\"}}", "x".repeat(2 << 20)));
    publish_large(scene, dead("above", body, "too_large")).await;
}

async fn publish_large(scene: &mut Scene, bad: Order) {
    scene.until("the large ones are written", async |scene| scene.written_like("beside-").await == 4).await;
    let id = bad.id.clone();
    scene.publish(vec![beside(200, ""), bad, beside(201, "")]).await;
    scene.until("its neighbours are written", async |scene| scene.written_like("beside-").await == 6).await;
    assert_eq!(scene.written_like(&id).await, 0);
    scene.mended().await;
}

pub async fn kills_connection(scene: &mut Scene) {
    let trigger = match scene.run.server {
        Server::Postgres => {
            "CREATE FUNCTION killer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$; \
             CREATE TRIGGER killer BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.customer = 'killer') \
             EXECUTE FUNCTION killer()"
        }
        _ => {
            "CREATE TRIGGER killer BEFORE INSERT ON orders FOR EACH ROW \
             IF NEW.customer = 'killer' THEN KILL CONNECTION_ID(); END IF"
        }
    };
    scene.database.execute(trigger).await;
    let (body, _) = orders::good(1);
    let killer = dead("killer", body.replace("Zoë 🦊 1", "killer"), "connection_lost");
    publish_and_wait(scene, killer).await;
}

/// Returns that the queue allows.
const LIMIT: u64 = 3;

pub async fn crash_loop(scene: &mut Scene) {
    if scene.run.kind == Kind::Quorum {
        let (name, pattern) = (scene.queue.clone(), format!("^{}$", scene.queue));
        let limit = format!("{{\"delivery-limit\":{LIMIT}}}");
        scene.ctl(&["set_policy", &name, &pattern, &limit, "--apply-to", "queues"]).await;
    }
    // With nothing in hand it gives nothing back when it stops.
    quiet(scene).await;
    scene.stop_worker().await;
    scene.producer.resume();
    let lock = match scene.run.server {
        Server::Sqlite => {
            let mut lock = Session::open(&scene.database.url).await.expect("a connection");
            lock.execute("BEGIN IMMEDIATE").await.expect("a lock");
            Some(lock)
        }
        _ => {
            scene.database_server().kill();
            None
        }
    };
    for _ in 0..2 * LIMIT {
        scene.start_worker();
        shows(scene, "holding", &["sink_"]).await;
        assert_eq!(counted(scene, "deliveries").await, 0, "taken beside a dead database");
        assert_eq!(scene.consumers().await, 0, "subscribed beside a dead database");
        scene.kill_worker().await;
    }
    scene.start_worker();
    match lock {
        Some(lock) => lock.close().await,
        None => scene.database_server().restart().await,
    }
    scene.mended().await;
    assert_eq!(counted(scene, "redelivered").await, 0, "deliveries were spent");
    if scene.run.kind == Kind::Quorum {
        let name = scene.queue.clone();
        scene.ctl(&["clear_policy", &name]).await;
    }
}
