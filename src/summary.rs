//! What became of a pipeline's messages, as `run` says at its end and `status` while it goes on.

use std::time::Instant;

use serde::Serialize;

use crate::status::{PipelineStatus, State, WorkerStatus};

/// One pipeline's sum. `settled` = `written` + `duplicates` + `superseded` + `skipped` +
/// `dead_lettered`, all counted in messages; `rows` counts table rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The pipeline.
    pub pipeline: String,
    /// The worst state of its consumers.
    pub state: State,
    /// Why, where that isn't obvious.
    pub reason: Option<String>,
    /// All messages that were acked.
    pub settled: u64,
    /// Messages whose transaction committed.
    pub written: u64,
    /// Messages that had been written before.
    pub duplicates: u64,
    /// Messages for which a newer version was there.
    pub superseded: u64,
    /// Messages that asked for nothing.
    pub skipped: u64,
    /// Messages whose dead letter was confirmed.
    pub dead_lettered: u64,
    /// Rows written into tables.
    pub rows: u64,
    /// Deliveries that the broker had delivered before.
    pub redelivered: u64,
    /// Seconds since the pipeline's start, to the millisecond.
    pub seconds: f64,
}

impl Summary {
    /// What a pipeline has to say at `now`.
    pub fn of(status: &PipelineStatus, now: Instant) -> Self {
        let (state, reason) = status.state();
        let (written, duplicates) = (status.written.get(), status.duplicates.get());
        let (superseded, skipped) = (status.superseded.get(), status.skipped.get());
        let dead_lettered = status.dead_lettered_total();
        Summary {
            pipeline: status.name.clone(),
            state,
            reason: reason.map(|reason| reason.text),
            // Added up here rather than asked for: counters move on between two readings, and the sum must be right.
            settled: written + duplicates + superseded + skipped + dead_lettered,
            written,
            duplicates,
            superseded,
            skipped,
            dead_lettered,
            rows: status.rows_written.get(),
            redelivered: status.redelivered.get(),
            seconds: (now.saturating_duration_since(status.started).as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }

    /// All pipelines of a worker, by name.
    pub fn all(status: &WorkerStatus, now: Instant) -> Vec<Self> {
        status.pipelines().iter().map(|pipeline| Summary::of(pipeline, now)).collect()
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{}: {}, {} settled ({} written, {} duplicates, {} superseded, {} skipped, {} dead-lettered), \
             {} rows, {} redelivered, {:.1} s",
            self.pipeline,
            self.state.name(),
            self.settled,
            self.written,
            self.duplicates,
            self.superseded,
            self.skipped,
            self.dead_lettered,
            self.rows,
            self.redelivered,
            self.seconds,
        );
        if let Some(reason) = &self.reason {
            line.push_str(": ");
            line.push_str(reason);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorClass;
    use crate::status::Reason;

    fn status() -> PipelineStatus {
        let status = PipelineStatus::new("orders", 2);
        status.written.inc_by(7);
        status.duplicates.inc_by(2);
        status.superseded.inc();
        status.skipped.inc_by(3);
        status.dead_lettered.get_or_create(&ErrorClass::Decode.into()).inc_by(4);
        status.dead_lettered.get_or_create(&ErrorClass::RowRejected.into()).inc();
        status.rows_written.inc_by(9);
        status.redelivered.inc_by(5);
        status.update(0, |consumer| consumer.state = State::Done);
        status.update(1, |consumer| {
            consumer.state = State::Paused;
            consumer.reason = Some(Reason::new(ErrorClass::SinkMisconfigured, "42P01", "table missing"));
        });
        status
    }

    #[test]
    fn settled_is_the_sum_of_all_outcomes() {
        let status = status();
        let summary = Summary::of(&status, status.started + Duration::from_micros(1_234_600));
        assert_eq!((summary.settled, summary.dead_lettered), (18, 5));
        assert_eq!(summary.settled, status.settled());
        assert_eq!(summary.state, State::Paused);
    }

    #[test]
    fn json_has_the_promised_fields_in_their_order() {
        let status = status();
        let summary = Summary::of(&status, status.started + Duration::from_micros(1_234_600));
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            r#"{"pipeline":"orders","state":"paused","reason":"table missing","settled":18,"written":7,"duplicates":2,"superseded":1,"skipped":3,"dead_lettered":5,"rows":9,"redelivered":5,"seconds":1.235}"#
        );
    }

    #[test]
    fn the_line_reads_well() {
        let status = status();
        assert_eq!(
            Summary::of(&status, status.started + Duration::from_millis(2500)).line(),
            "orders: paused, 18 settled (7 written, 2 duplicates, 1 superseded, 3 skipped, 5 dead-lettered), \
             9 rows, 5 redelivered, 2.5 s: table missing"
        );
    }
}
