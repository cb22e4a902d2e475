//! What became of replayed messages: the ledger tells of those that were written, the dead-letter
//! queue of those that died again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::judge::Judge;
use super::letter::Letter;
use super::progress::Progress;
use super::rehearsal::{Cause, Causes};
use super::store::{Ended, Store};
use crate::cli::exit::CliError;
use crate::config::{IdConflict, Pipeline};
use crate::dead_letter;
use crate::message::{Envelope, LedgerEntry};
use crate::rabbitmq::QueueState;
use crate::sink::Entered;

/// IDs in one question to the ledger.
const AT_ONCE: usize = 1000;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Without news for so long, a queue that never gets empty no longer keeps us from looking.
const QUIET: Duration = Duration::from_secs(5);
/// A look through the whole dead-letter queue may take this share of the time: one in so many.
const LOOKS: u32 = 5;

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The ledger has it since.
    Written,
    /// The ledger has it since, by another letter of this replay with the same ID.
    Duplicate,
    /// The ledger had it before it was sent.
    AlreadyThere,
    /// It is back in the dead-letter queue.
    Dead,
    /// Nothing is known yet.
    Pending,
}

struct Sent {
    entry: Option<LedgerEntry>,
    fate: Fate,
    /// Why it had died before.
    cause: Cause,
}

/// What is known of messages sent, summed up.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub written: u64,
    pub duplicates: u64,
    pub already_there: u64,
    /// Of versions; no mode has them yet.
    pub superseded: u64,
    pub dead_again: Causes,
    /// Of these, those that died of what they had died of before.
    pub same_cause: u64,
    pub unknown: u64,
}

impl Sums {
    /// Those that need nothing more.
    pub(super) fn fine(&self) -> u64 {
        self.written + self.duplicates + self.already_there + self.superseded
    }

    pub(super) fn text(&self) -> String {
        let mut parts = vec![format!("{} written", self.written)];
        for (count, what) in [
            (self.duplicates, "duplicate"),
            (self.already_there, "already there"),
            (self.superseded, "superseded"),
            (self.unknown, "unknown"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        if self.dead_again.total() > 0 {
            parts.push(format!("{} dead again: {}", self.dead_again.total(), self.dead_again.text()));
        }
        parts.join(", ")
    }

    pub(super) fn to_json(&self, object: &mut Map<String, Value>) {
        let counts = [
            ("written", self.written),
            ("duplicates", self.duplicates),
            ("already_there", self.already_there),
            ("superseded", self.superseded),
            ("dead_again", self.dead_again.total()),
            ("unknown", self.unknown),
        ];
        counts.into_iter().for_each(|(name, count)| drop(object.insert(name.to_owned(), count.into())));
        object.insert("causes".to_owned(), self.dead_again.json());
    }

    pub(super) fn add(&mut self, other: Sums) {
        self.written += other.written;
        self.duplicates += other.duplicates;
        self.already_there += other.already_there;
        self.superseded += other.superseded;
        self.dead_again.merge(other.dead_again);
        self.same_cause += other.same_cause;
        self.unknown += other.unknown;
    }
}

/// Follows the messages of one wave.
pub(super) struct Follower<'a> {
    judge: &'a mut Judge,
    pipeline: &'a Pipeline,
    run: &'a str,
    sent: Vec<Sent>,
    /// IDs that the ledger has by this wave.
    written: HashSet<Box<str>>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(judge: &'a mut Judge, pipeline: &'a Pipeline, run: &'a str) -> Self {
        Follower { judge, pipeline, run, sent: Vec::new(), written: HashSet::new() }
    }

    /// How many are followed: the place of the next one.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// What the ledger says of messages before they are sent.
    pub(super) async fn before(&mut self, messages: &[Envelope]) -> Result<Vec<(Option<LedgerEntry>, bool)>, CliError> {
        let entries: Vec<Option<LedgerEntry>> = messages.iter().map(|message| self.judge.entry(message)).collect();
        let asked: Vec<&LedgerEntry> = entries.iter().flatten().collect();
        let mut found = self.judge.look_up(&asked).await?.into_iter();
        let ignores = self.pipeline.id_conflict == IdConflict::Ignore;
        let known = |entered: Entered| match entered {
            Entered::SameBody => true,
            // It will be counted as a duplicate, and the ledger won't change for it.
            Entered::OtherBody => ignores,
            Entered::Absent => false,
        };
        Ok(entries
            .into_iter()
            .map(|entry| {
                let there = entry.is_some() && found.next().is_some_and(known);
                (entry, there)
            })
            .collect())
    }

    /// One was sent.
    pub(super) fn sent(&mut self, (entry, there): (Option<LedgerEntry>, bool), letter: &Letter) {
        let fate = if there { Fate::AlreadyThere } else { Fate::Pending };
        self.sent.push(Sent { entry, fate, cause: Cause::told_by(letter) });
    }

    /// Waits until everything is known, or nothing has become known for `timeout`, or a signal
    /// comes.
    pub(super) async fn wait(mut self, store: &mut Store, timeout: Duration) -> Result<Sums, CliError> {
        let mut dead = HashMap::new();
        let mut wait = FIRST_WAIT;
        let mut news = Instant::now();
        let mut next_look = Instant::now();
        let mut progress = Progress::new("waiting for what becomes of them", self.sent.len() as u64);
        loop {
            let before = self.pending();
            self.ask_the_ledger().await?;
            progress.at((self.sent.len() - self.pending()) as u64);
            // Letters that came back are at the very end of their queue: a look goes through all of it.
            // It is worth that only when the queue they were sent to is empty, or nothing else is heard.
            let last = news.elapsed() >= timeout || store.interrupted();
            if self.pending() > 0
                && (last || (Instant::now() >= next_look && (news.elapsed() >= QUIET || self.arrived(store).await?)))
            {
                let begun = Instant::now();
                if self.look_for_dead(store, &mut dead).await? == Ended::Complete {
                    next_look = Instant::now() + begun.elapsed() * LOOKS;
                }
            }
            if self.pending() == 0 || last {
                break;
            }
            if self.pending() < before {
                (news, wait) = (Instant::now(), FIRST_WAIT);
            }
            let mut shutdown = store.shutdown();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = crate::shutdown::reached(&mut shutdown, crate::shutdown::Phase::Drain) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Ok(self.sums(dead))
    }

    fn pending(&self) -> usize {
        self.sent.iter().filter(|sent| sent.fate == Fate::Pending).count()
    }

    /// Nothing waits in the queue any more.
    async fn arrived(&self, store: &mut Store) -> Result<bool, CliError> {
        Ok(!matches!(store.look_at(&self.pipeline.queue).await?, QueueState::Present { ready: 1.., .. }))
    }

    async fn ask_the_ledger(&mut self) -> Result<(), CliError> {
        let pending: Vec<usize> = (0..self.sent.len())
            .filter(|&at| self.sent[at].fate == Fate::Pending && self.sent[at].entry.is_some())
            .collect();
        for places in pending.chunks(AT_ONCE) {
            let entries: Vec<&LedgerEntry> = places.iter().filter_map(|&at| self.sent[at].entry.as_ref()).collect();
            let found = self.judge.look_up(&entries).await?;
            for (&at, entered) in places.iter().zip(found) {
                let sent = &mut self.sent[at];
                if let (Entered::SameBody, Some(entry)) = (entered, &sent.entry) {
                    let first = self.written.insert(entry.id.as_str().into());
                    sent.fate = if first { Fate::Written } else { Fate::Duplicate };
                }
            }
        }
        Ok(())
    }

    async fn look_for_dead(&mut self, store: &mut Store, dead: &mut HashMap<usize, Cause>) -> Result<Ended, CliError> {
        let (run, sent) = (self.run, &mut self.sent);
        store
            .look("looking for those that died again", |letter| {
                let Some(place) = dead_letter::replayed_as(&letter.envelope, run) else { return };
                if let Some(sent) = sent.get_mut(place)
                    && sent.fate == Fate::Pending
                {
                    sent.fate = Fate::Dead;
                    dead.insert(place, Cause::told_by(letter));
                }
            })
            .await
    }

    fn sums(self, mut dead: HashMap<usize, Cause>) -> Sums {
        let mut sums = Sums::default();
        for (place, sent) in self.sent.into_iter().enumerate() {
            match sent.fate {
                Fate::Written => sums.written += 1,
                Fate::Duplicate => sums.duplicates += 1,
                Fate::AlreadyThere => sums.already_there += 1,
                Fate::Pending => sums.unknown += 1,
                Fate::Dead => {
                    let cause = dead.remove(&place).unwrap_or_default();
                    sums.same_cause += u64::from(cause == sent.cause);
                    sums.dead_again.add(cause);
                }
            }
        }
        sums
    }
}
