//! What was published in a run, what is expected of it, and the counts that tell an early ack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::main_job::orders::{self, Cause};
use crate::support::accountant::{Accountant, Report, Values};
use crate::support::broker::{Message, Taken};
use crate::support::database::Server;

/// A message and what must become of it.
#[derive(Clone, Debug)]
pub struct Order {
    pub id: String,
    pub message: Message,
    pub expected: Expected,
}

/// What must become of a message.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This row, without its ID.
    Row(Values),
    /// A dead letter; with this cause, if it is known beforehand.
    Dead(Option<Cause>),
}

impl Order {
    /// Good order number `n`.
    pub fn good(n: usize) -> Order {
        let (body, row) = orders::good(n);
        Order::new(&format!("order-{n}"), body, Expected::Row(row))
    }

    /// Bad order number `n`, of one of four kinds.
    pub fn bad(n: usize, server: Server) -> Order {
        let (body, cause) = orders::bad(n, server);
        Order::new(&format!("bad-{n}"), body, Expected::Dead(Some(cause)))
    }

    /// Any body under any ID.
    pub fn new(id: &str, body: impl Into<Vec<u8>>, expected: Expected) -> Order {
        Order { id: id.to_owned(), message: Message::json(id, body), expected }
    }
}

/// Kept by the producer, read by the sampler and the audit.
#[derive(Clone, Default)]
pub struct Books(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    accountant: Accountant,
    causes: BTreeMap<String, Cause>,
    tally: Tally,
}

/// Counts of publishings: an ID that is sent twice counts twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Handed to the broker, confirmed or not.
    pub sent: u64,
    /// Those of them whose ID had been sent before.
    pub repeats: u64,
    /// Confirmed and routed.
    pub confirmed: u64,
    /// Excused by [`Books::doubt_missing`]: they may have vanished from the queue without a trace.
    pub excused: u64,
}

/// The end of a run: what stands in the table and in the dead-letter queue against the books.
#[derive(Debug)]
pub struct Audit {
    pub report: Report,
    /// Letters with another cause than expected: their IDs with both.
    pub causes: Vec<String>,
}

impl Books {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("no panic under this lock")
    }

    /// Said before the broker is given the message: nobody may see it sooner than the books do.
    /// Until its confirm it may be there or not.
    pub fn send(&self, order: &Order) {
        let mut entries = self.entries();
        entries.tally.sent += 1;
        if entries.accountant.knows(&order.id) {
            entries.tally.repeats += 1;
        } else {
            entries.accountant.doubt(&order.id);
        }
        match &order.expected {
            Expected::Row(values) => entries.accountant.expect_row(&order.id, values.clone()),
            Expected::Dead(cause) => {
                entries.accountant.expect_dead(&order.id);
                if let Some(cause) = cause {
                    entries.causes.insert(order.id.clone(), cause.clone());
                }
            }
        }
    }

    /// The broker has it.
    pub fn confirm(&self, id: &str) {
        let mut entries = self.entries();
        entries.tally.confirmed += 1;
        entries.accountant.confirm(id);
    }

    pub fn tally(&self) -> Tally {
        self.entries().tally
    }

    /// Somebody has deleted the queue with all that was in it: what isn't in the table by now may
    /// be missing from now on. Returns how many that are.
    pub fn doubt_missing(&self, written: &BTreeSet<String>) -> usize {
        let mut entries = self.entries();
        let missing: Vec<String> = entries.accountant.sure().filter(|id| !written.contains(*id)).cloned().collect();
        for id in &missing {
            entries.accountant.doubt(id);
        }
        entries.tally.excused += entries.tally.sent - written.len() as u64;
        missing.len()
    }

    /// Compares with the table's rows and the dead letters.
    pub fn audit(&self, table: &[Vec<Option<String>>], letters: &[Taken]) -> Audit {
        let entries = self.entries();
        let id_of = |letter: &Taken| letter.message_id().unwrap_or_else(|| "a letter without an ID".to_owned());
        let report = entries.accountant.audit(table, letters.iter().map(id_of));
        let mut causes = Vec::new();
        for letter in letters {
            let id = id_of(letter);
            let Some(cause) = entries.causes.get(&id) else { continue };
            let expected = [Some(cause.class), Some(cause.code), cause.column].map(|text| text.map(str::to_owned));
            let found = ["x-sink-error-class", "x-sink-error-code", "x-sink-column"].map(|name| letter.header(name));
            if found != expected {
                causes.push(format!("{id}: expected {expected:?}, found {found:?}"));
            }
        }
        Audit { report, causes }
    }
}
