//! Says what a pipeline's configuration guarantees, why, and what would make it stronger.

use crate::config::{Database, Deduplicate, IdConflict, IdPlace, Pipeline, Place};

/// Something that may lose a message or write it twice all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What it is.
    pub what: String,
    /// What closes it.
    pub remedy: String,
}

/// What a pipeline guarantees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// In one line.
    pub line: String,
    /// Every message has its effect once, as far as is known.
    pub exactly_once: bool,
    /// What speaks against it.
    pub gaps: Vec<Gap>,
    /// What nobody could be asked about.
    pub assumed: Vec<String>,
    /// What would make it stronger.
    pub stronger: Vec<String>,
}

/// What the broker isn't asked about without its management API.
pub const ASSUMED: &str = "the queue is durable, and drops nothing by a delivery limit, a length or a time to live";

/// The guarantee of a pipeline on this server, in one line. `weaknesses`: what speaks against it;
/// `assumed`: the broker has told nothing of what the queue itself may drop.
pub fn of(pipeline: &Pipeline, database: &Database, weaknesses: &[String], assumed: bool) -> String {
    let mut line = match &pipeline.deduplicate {
        Deduplicate::Ledger => format!(
            "exactly-once effect: message IDs stand in {} in the row's own transaction for {}; \
             a repeat after that is written again",
            database.ledger_table,
            days(database.ledger_keep)
        ),
        Deduplicate::Column(column) => format!(
            "exactly-once effect by the unique column {column}, as long as the row is there; \
             the same ID with another body counts as a duplicate unnoticed"
        ),
        Deduplicate::None => {
            "at least once: deduplicate = \"none\", so whatever is delivered again is written again".to_owned()
        }
    };
    if pipeline.deduplicate == Deduplicate::Ledger && pipeline.id_conflict == IdConflict::Ignore {
        line.push_str("; the same ID with another body counts as a duplicate (id_conflict = \"ignore\")");
    }
    if pipeline.consumers > 1 {
        line.push_str("; the queue's order is not kept (consumers > 1)");
    }
    for weakness in weaknesses {
        line.push_str("; weakened: ");
        line.push_str(weakness);
    }
    if assumed {
        line.push_str("; assumed: ");
        line.push_str(ASSUMED);
    }
    line
}

/// The guarantee, what speaks against it, and what would make it stronger. `on_queue`: what the
/// broker's side adds.
pub fn assess(
    pipeline: &Pipeline,
    database: &Database,
    weaknesses: &[String],
    on_queue: Vec<Gap>,
    assumed: bool,
) -> Assessment {
    let mut gaps = Vec::new();
    if pipeline.deduplicate == Deduplicate::None {
        gaps.push(Gap {
            what: "deduplicate = \"none\" writes repeats again".to_owned(),
            remedy: "set deduplicate = \"ledger\"".to_owned(),
        });
    }
    gaps.extend(weaknesses.iter().map(|weakness| Gap { what: weakness.clone(), remedy: strengthened(weakness).0 }));
    gaps.extend(on_queue);
    let mut stronger: Vec<String> = gaps.iter().map(|gap| gap.remedy.clone()).collect();
    stronger.extend(remedies(pipeline));
    if assumed {
        stronger.push(
            "set management_url to an API that answers, so that the queue's type, limits and policies are known"
                .to_owned(),
        );
    }
    let exactly_once = gaps.is_empty();
    if !pipeline.exactly_once && exactly_once {
        let demand = "guarantee = \"exactly_once_effect\" would refuse to start where it can't be kept";
        stronger.push(demand.to_owned());
    }
    Assessment {
        line: of(pipeline, database, weaknesses, false),
        exactly_once,
        gaps,
        assumed: assumed.then(|| ASSUMED.to_owned()).into_iter().collect(),
        stronger,
    }
}

/// What takes a weakness away, and the SQL that does it; `LOGIN` stands for ours.
pub fn strengthened(weakness: &str) -> (String, Option<&'static str>) {
    let (setting, sql) = match weakness.split(' ').next().unwrap_or_default() {
        "fsync" => ("fsync = on", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();"),
        "full_page_writes" => {
            ("full_page_writes = on", "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();")
        }
        "synchronous_commit" => ("synchronous_commit = on", "ALTER ROLE LOGIN SET synchronous_commit = on;"),
        "innodb_flush_log_at_trx_commit" => {
            ("innodb_flush_log_at_trx_commit = 1", "SET GLOBAL innodb_flush_log_at_trx_commit = 1;")
        }
        "sync_binlog" => ("sync_binlog = 1", "SET GLOBAL sync_binlog = 1;"),
        // SQLite's are ours, unless somebody says otherwise.
        pragma => return (format!("take PRAGMA {pragma} out of on_connect"), None),
    };
    (format!("set {setting} on the server (and in its config file, so that it stays)"), Some(sql))
}

/// What a config does without.
fn remedies(pipeline: &Pipeline) -> Vec<String> {
    let mut remedies = Vec::new();
    if matches!(pipeline.deduplicate, Deduplicate::Column(_)) {
        let ledger = "deduplicate = \"ledger\" would notice the same ID with another body, and outlive deleted rows";
        remedies.push(ledger.to_owned());
    }
    if pipeline.id_conflict == IdConflict::Ignore && pipeline.deduplicate == Deduplicate::Ledger {
        remedies.push("id_conflict = \"dead_letter\" would notice the same ID with another body".to_owned());
    }
    if pipeline.message_id.contains(&IdPlace::One(Place::BodyHash)) {
        let own =
            "IDs of the publisher's own would tell two messages with the same body apart (\"sha256:body\" doesn't)";
        remedies.push(own.to_owned());
    }
    if pipeline.consumers > 1 {
        remedies.push("consumers = 1 would keep the queue's order".to_owned());
    }
    remedies
}

fn days(keep: std::time::Duration) -> String {
    match keep.as_secs() {
        seconds if seconds % 86_400 == 0 => format!("{} d", seconds / 86_400),
        seconds => format!("{} h", seconds / 3600),
    }
}
