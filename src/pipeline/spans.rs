//! What traces tell of a batch.

use std::time::Duration;

use tokio::time::Instant;

use super::Consumer;
use crate::config::DatabaseKind;
use crate::message::{Outcome, Unit};
use crate::rabbitmq::Source;
use crate::telemetry::traces::Batch;
use crate::writer::{How, Written};

impl<S: Source> Consumer<S> {
    /// Told when the writer has answered: by then everything about the batch is known.
    pub(super) fn trace(&self, written: &Written, how: How, took: Duration) {
        let Some(traces) = &self.context.traces else { return };
        let settled = written.settled.iter().map(|(unit, _)| unit);
        let waiting = written.waiting.iter().map(|(unit, _)| unit);
        // Letters of messages whose batch has been told already.
        let own = |unit: &&Unit| unit.letter.is_none();
        let units: Vec<&Unit> = settled.chain(waiting).chain(&written.left).filter(own).collect();
        let Some(arrived) = units.iter().map(|unit| unit.delivery.arrived).min() else { return };
        let committed = |outcome: &Outcome| matches!(outcome, Outcome::Written);
        let table = self.context.config.table.to_string();
        traces.batch(&Batch {
            pipeline: &self.context.config.name,
            queue: &self.context.config.queue,
            table: &table,
            database: match self.context.database_config.kind {
                DatabaseKind::Postgres => "postgresql",
                DatabaseKind::Mysql => "mysql",
                DatabaseKind::Sqlite => "sqlite",
            },
            how: match how {
                How::Together => "together",
                How::OneByOne => "one_by_one",
                How::Isolate => "isolate",
            },
            written: written.settled.iter().filter(|(_, outcome)| committed(outcome)).count(),
            waited: Instant::now().duration_since(arrived).saturating_sub(took),
            took,
            failure: written.failure.as_ref().map(|failure| (failure.class.name(), failure.code.to_string())),
            headers: units.iter().map(|unit| &unit.delivery.envelope.headers).collect(),
        });
    }
}
