//! What happens to the database: the server, its transactions, its tables, and the way to it.

mod link;
mod mounts;
mod outage;
mod rows;
mod session;
mod setup;
mod transactions;

use futures_util::future::LocalBoxFuture;

use super::scene::Scene;
use super::{Fault, Group, SHARED, Setting};
use crate::support::database::Server;

/// All but SQLite, which has neither sessions nor a network.
const SERVERS: &[Server] = &[Server::Postgres, Server::Mysql];
const POSTGRES: &[Server] = &[Server::Postgres];
const MARIADB: &[Server] = &[Server::Mysql];

/// A server of the run's own.
const OWN: Setting = Setting { own_database: true, ..SHARED };

type Run = for<'a> fn(&'a mut Scene) -> LocalBoxFuture<'a, ()>;

/// On the servers that all share, and not long.
const fn fault(name: &'static str, about: &'static str, databases: &'static [Server], run: Run) -> Fault {
    Fault { name, group: Group::Database, about, databases, long: false, setting: SHARED, run }
}

const fn own(fault: Fault) -> Fault {
    with(fault, OWN)
}

const fn with(fault: Fault, setting: Setting) -> Fault {
    Fault { setting, ..fault }
}

/// Takes long, or has a near twin among those that the tests select.
const fn long(fault: Fault) -> Fault {
    Fault { long: true, ..fault }
}

pub const FAULTS: &[Fault] = &[
    own(fault("database-stopped", "The server is stopped and started again.", SERVERS, |scene| {
        Box::pin(outage::stopped(scene))
    })),
    long(own(fault("database-killed", "The server is killed with `kill -9` and started again.", SERVERS, |scene| {
        Box::pin(outage::killed(scene))
    }))),
    with(
        fault(
            "database-recovering",
            "The server is killed and then recovers for a while, in which it refuses connections (57P03).",
            POSTGRES,
            |scene| Box::pin(outage::recovering(scene)),
        ),
        outage::RECOVERS,
    ),
    own(fault("database-read-only", "The server is set to read-only and back.", SERVERS, |scene| {
        Box::pin(outage::read_only(scene))
    })),
    long(fault(
        "file-read-only",
        "The database's file system has become read-only when the worker is started again (needs root: a bind mount).",
        &[Server::Sqlite],
        |scene| Box::pin(outage::file_read_only(scene)),
    )),
    long(own(fault(
        "database-frozen",
        "All of the server's processes are frozen with SIGSTOP until the worker's own deadline has passed.",
        SERVERS,
        |scene| Box::pin(outage::frozen(scene)),
    ))),
    long(with(
        fault(
            "connection-limit",
            "Somebody else has taken all of the server's connections when the worker needs one.",
            SERVERS,
            |scene| Box::pin(outage::connection_limit(scene)),
        ),
        outage::FEW_CONNECTIONS,
    )),
    long(own(fault(
        "disk-full",
        "The file system that the table lies on, of 8 MiB, is full (needs root: tmpfs).",
        &Server::ALL,
        |scene| Box::pin(outage::disk_full(scene)),
    ))),
    fault(
        "connection-killed",
        "An operator ends the worker's connection in the middle of a transaction, five times.",
        SERVERS,
        |scene| Box::pin(transactions::connection_killed(scene)),
    ),
    with(
        fault("deadlock", "Another writer's transaction and the worker's form a deadlock.", SERVERS, |scene| {
            Box::pin(transactions::deadlock(scene))
        }),
        transactions::QUICK_DETECTOR,
    ),
    long(fault("table-locked", "Somebody else holds a lock on the table for a minute.", &Server::ALL, |scene| {
        Box::pin(transactions::table_locked(scene))
    })),
    fault(
        "commit-answer-lost",
        "The connection is cut when COMMIT is done and its answer is on the way, five times.",
        SERVERS,
        |scene| Box::pin(transactions::commit_answer_lost(scene)),
    ),
    long(fault("commit-request-lost", "The connection is cut before COMMIT arrives, five times.", SERVERS, |scene| {
        Box::pin(transactions::commit_request_lost(scene))
    })),
    long(fault(
        "commit-answer-held",
        "COMMIT is done and its answer never comes, on a connection that stays open.",
        SERVERS,
        |scene| Box::pin(transactions::commit_answer_held(scene)),
    )),
    own(fault("password-changed", "The login's password is changed, and changed back.", SERVERS, |scene| {
        Box::pin(setup::password_changed(scene))
    })),
    long(own(fault("privilege-revoked", "The privilege to insert is revoked and granted again.", SERVERS, |scene| {
        Box::pin(setup::privilege_revoked(scene))
    }))),
    fault("table-dropped", "The table is dropped, and created again from a copy.", &Server::ALL, |scene| {
        Box::pin(setup::table_dropped(scene))
    }),
    fault("column-dropped", "A column is dropped, and added again from a copy.", &Server::ALL, |scene| {
        Box::pin(setup::column_dropped(scene))
    }),
    fault("column-added", "Columns are added that messages don't fill; nothing pauses.", &Server::ALL, |scene| {
        Box::pin(setup::column_added(scene))
    }),
    with(
        fault(
            "ledger-dropped",
            "The ledger's table is dropped; the worker pauses until somebody creates it with the statements of \
             `init --ledger`.",
            &Server::ALL,
            |scene| Box::pin(setup::ledger_dropped(scene)),
        ),
        setup::NO_REPEATS,
    ),
    long(fault(
        "column-narrowed",
        "A text column becomes too short for some rows, which are dead-lettered.",
        SERVERS,
        |scene| Box::pin(setup::column_narrowed(scene)),
    )),
    long(fault(
        "scale-narrowed",
        "A decimal column loses a digit, which the database would round away in silence.",
        &Server::ALL,
        |scene| Box::pin(setup::scale_narrowed(scene)),
    )),
    fault(
        "type-changed",
        "A decimal column becomes an integer, which the database would round to in silence.",
        &Server::ALL,
        |scene| Box::pin(setup::type_changed(scene)),
    ),
    fault("link-reset", "All connections are reset at ten random moments.", SERVERS, |scene| {
        Box::pin(link::reset(scene))
    }),
    fault("link-cut", "Connections are cut and new ones refused.", SERVERS, |scene| Box::pin(link::cut(scene))),
    long(fault("link-half-open", "Connections stay open, and nothing moves on them.", SERVERS, |scene| {
        Box::pin(link::half_open(scene))
    })),
    long(fault("link-deaf", "What the worker sends vanishes, the other direction works.", SERVERS, |scene| {
        Box::pin(link::deaf(scene))
    })),
    long(fault("link-mute", "What the database answers vanishes, the other direction works.", SERVERS, |scene| {
        Box::pin(link::mute(scene))
    })),
    long(fault("link-slow", "Each packet takes 60 ms in each direction.", SERVERS, |scene| {
        Box::pin(link::slow(scene))
    })),
    long(fault("link-narrow", "Each connection gets 24 kB a second.", SERVERS, |scene| Box::pin(link::narrow(scene)))),
    with(
        fault(
            "row-above-packet-limit",
            "A row is larger than max_allowed_packet: it goes alone, its neighbours are written.",
            MARIADB,
            |scene| Box::pin(rows::above_packet_limit(scene)),
        ),
        rows::SMALL_PACKETS,
    ),
    fault(
        "row-kills-connection",
        "A row makes the server end the connection each time: it is found, its neighbours are written.",
        SERVERS,
        |scene| Box::pin(rows::kills_connection(scene)),
    ),
    fault(
        "row-refused-by-trigger",
        "A trigger refuses a row with an error of its own: it goes alone, its neighbours are written.",
        &Server::ALL,
        |scene| Box::pin(rows::refused_by_trigger(scene)),
    ),
    own(fault(
        "row-refused-by-policy",
        "A row-level policy refuses a row with the code of a lacking privilege: it goes alone, and nothing pauses.",
        POSTGRES,
        |scene| Box::pin(rows::refused_by_policy(scene)),
    )),
    fault(
        "row-refused-at-commit",
        "A deferred constraint refuses a row at COMMIT only: it is found, its neighbours are written.",
        POSTGRES,
        |scene| Box::pin(rows::refused_at_commit(scene)),
    ),
    own(fault(
        "crash-loop",
        "The worker is killed and started again and again while the database is away; the queue allows three returns.",
        &Server::ALL,
        |scene| Box::pin(rows::crash_loop(scene)),
    )),
];

/// Waits until the pipeline is in this state for a reason that has all of these words in it. It is
/// not ready then, but a restart wouldn't help.
async fn shows(scene: &mut Scene, state: &str, words: &[&str]) {
    let what = format!("it says {state} because of {words:?}");
    scene
        .until(&what, async |scene| {
            let status = scene.workers[0].status().await;
            let reason = status["reason"].as_str().unwrap_or_default();
            status["state"] == state && words.iter().all(|word| reason.contains(word))
        })
        .await;
    let worker = scene.worker();
    assert_eq!(worker.get("/readyz").await.0, 503, "ready while {state}");
    assert_eq!(worker.get("/livez").await.0, 200, "alive while {state}");
}

/// A count of the oldest worker's status.
async fn counted(scene: &Scene, name: &str) -> u64 {
    scene.workers[0].status().await[name].as_u64().unwrap_or(0)
}

/// Units that the oldest worker has tried again for errors of this class.
async fn retries(scene: &Scene, class: &str) -> u64 {
    let (_, metrics) = scene.workers[0].get("/metrics").await;
    let lines = metrics.lines().filter(|line| line.starts_with("rabbit_sink_retries_total") && line.contains(class));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// Starts the worker anew, so that it takes a changed config.
async fn restart_worker(scene: &mut Scene) {
    scene.stop_worker().await;
    scene.start_worker();
    scene.flowing(20).await;
}

/// Nothing is under way: what comes now is the fault's own.
async fn quiet(scene: &mut Scene) {
    scene.producer.pause().await;
    let settled = async |scene: &Scene| {
        let status = scene.workers[0].status().await;
        let sent = scene.books.tally().sent;
        status["unsettled"] == 0 && status["settled"].as_u64() >= Some(sent)
    };
    scene.until("all is settled", settled).await;
}
