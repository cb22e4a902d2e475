//! Says in one line what a pipeline's configuration guarantees, and why.

use crate::config::{Database, Deduplicate, IdConflict, Pipeline};

/// The guarantee of a pipeline on this server.
pub fn of(pipeline: &Pipeline, database: &Database, weaknesses: &[String]) -> String {
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
    line
}

fn days(keep: std::time::Duration) -> String {
    match keep.as_secs() {
        seconds if seconds % 86_400 == 0 => format!("{} d", seconds / 86_400),
        seconds => format!("{} h", seconds / 3600),
    }
}
