//! Rows that the server can't take, and a database that is away while the worker dies again and again.

use super::session::{Session, log_in_as_worker};
use super::{OWN, Setting, counted, quiet, shows};
use crate::faults::books::{Expected, Order};
use crate::faults::scene::Scene;
use crate::main_job::orders::{self, Cause};
use crate::support::broker::Kind;
use crate::support::database::Server;

pub const SMALL_PACKETS: Setting = Setting { mariadb: &["--max-allowed-packet=1M"], ..OWN };

fn dead(id: &str, body: String, code: &'static str) -> Order {
    dead_of("row_rejected", id, body, code)
}

fn dead_of(class: &'static str, id: &str, body: String, code: &'static str) -> Order {
    Order::new(id, body, Expected::Dead(Some(Cause { class, code, column: None })))
}

/// A good order but for its customer.
fn body_of(customer: &str) -> String {
    orders::good(1).0.replace("Zoë 🦊 1", customer)
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
    publish_and_wait(scene, dead("killer", body_of("killer"), "connection_lost")).await;
}

/// An error that only its author knows.
pub async fn refused_by_trigger(scene: &mut Scene) {
    let (trigger, class, code) = match scene.run.server {
        Server::Postgres => (
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$; \
             CREATE TRIGGER no BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.customer = 'unwanted') EXECUTE FUNCTION no()",
            "unknown",
            "P0001",
        ),
        Server::Mysql => (
            "CREATE TRIGGER no BEFORE INSERT ON orders FOR EACH ROW \
             IF NEW.customer = 'unwanted' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF",
            "row_rejected",
            "1644",
        ),
        Server::Sqlite => (
            "CREATE TRIGGER no BEFORE INSERT ON orders WHEN NEW.customer = 'unwanted' \
             BEGIN SELECT RAISE(ABORT, 'not this one'); END",
            "row_rejected",
            "SQLITE_CONSTRAINT_TRIGGER",
        ),
    };
    scene.database.execute(trigger).await;
    publish_and_wait(scene, dead_of(class, "unwanted", body_of("unwanted"), code)).await;
}

/// The code of a lacking privilege, for one row.
pub async fn refused_by_policy(scene: &mut Scene) {
    log_in_as_worker(scene).await;
    scene
        .database
        .execute(
            "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY readable ON orders FOR SELECT USING (true); \
             CREATE POLICY mine ON orders FOR INSERT WITH CHECK (customer <> 'theirs')",
        )
        .await;
    publish_and_wait(scene, dead_of("sink_misconfigured", "theirs", body_of("theirs"), "42501")).await;
}

pub async fn refused_at_commit(scene: &mut Scene) {
    scene
        .database
        .execute(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '23514'; END $$; \
             CREATE CONSTRAINT TRIGGER late AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW WHEN (NEW.customer = 'late') EXECUTE FUNCTION late()",
        )
        .await;
    publish_and_wait(scene, dead("late", body_of("late"), "23514")).await;
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
