//! Random schedules of faults over a few messages, with consumers killed and started again.
//! Whatever happens, at the end every message is in the table once, or dead-lettered for a reason.
//!
//! `RABBIT_SINK_SCHEDULES` says how many (10,000), `RABBIT_SINK_SEED` repeats a single one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::rig::{Rig, body, message};
use crate::shutdown::Phase;

/// SplitMix64: a few bits of luck, the same ones for the same seed.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Mostly short, sometimes long.
    fn millis(&mut self) -> Duration {
        Duration::from_millis([1, 20, 300, 3000, 40_000][self.below(5) as usize] * (1 + self.below(4)))
    }
}

/// What was published: bodies by ID, in order, with their kinds.
type Published = BTreeMap<String, Vec<(bytes::Bytes, String)>>;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Away,
    Crash,
    Misconfigured,
    Unknown,
    Full,
    Contention,
    Lock,
    LostCommits,
    Slow,
    Late,
    Held,
    LettersAway,
    LettersRefused,
    LettersLost,
    LettersSlow,
    ChannelsKilled,
    ConsumerKilled,
    Drained,
}

const FAULTS: [Fault; 18] = [
    Fault::Away,
    Fault::Crash,
    Fault::Misconfigured,
    Fault::Unknown,
    Fault::Full,
    Fault::Contention,
    Fault::Lock,
    Fault::LostCommits,
    Fault::Slow,
    Fault::Late,
    Fault::Held,
    Fault::LettersAway,
    Fault::LettersRefused,
    Fault::LettersLost,
    Fault::LettersSlow,
    Fault::ChannelsKilled,
    Fault::ConsumerKilled,
    Fault::Drained,
];

struct Schedule {
    luck: Luck,
    rig: Rig,
    published: Published,
    consumers: Vec<JoinHandle<()>>,
    lost_commits_left: u32,
    /// How often connections were lost.
    losses: u32,
    /// What happened, for the report of a failure.
    log: Vec<String>,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut luck = Luck(seed);
        let consumers = if luck.one_in(4) { 2 } else { 1 };
        let (rows, linger) = (luck.pick(&[1, 2, 5, 1000]), luck.pick(&[0, 0, 0, 50]));
        let rate = luck.pick(&[0, 0, 0, 0, 5]);
        let missing_parent = luck.pick(&[5, 30]);
        let rig = Rig::with(|pipeline| {
            pipeline.consumers = consumers;
            pipeline.batch.max_rows = rows;
            pipeline.batch.linger = Duration::from_millis(linger);
            pipeline.limits.max_rows_per_second = rate;
            pipeline.retry.missing_parent = Duration::from_secs(missing_parent);
            pipeline.retry.hold = Duration::from_secs(120);
        });
        let consumers = (0..usize::from(consumers)).map(|index| rig.keep(index)).collect();
        Schedule { luck, rig, published: Published::new(), consumers, lost_commits_left: 2, losses: 0, log: Vec::new() }
    }

    fn publish_one(&mut self, number: u64) {
        let kind = match self.luck.below(24) {
            0 => "bad".to_owned(),
            1 => "broken".to_owned(),
            2 => "strange".to_owned(),
            3 => "policy".to_owned(),
            4 => ["killer", "crasher"][self.luck.below(2) as usize].to_owned(),
            5 => format!("child of {}", self.luck.below(30)),
            _ => "good".to_owned(),
        };
        // Now and then an ID that was there before: most with the same body, some with another.
        let id = if self.luck.one_in(8) { self.luck.below(number + 1) } else { number }.to_string();
        let known = self.published.get(&id).and_then(|bodies| bodies.first().cloned());
        let (body, kind) = match known {
            Some(known) if self.luck.below(3) > 0 => known,
            _ => (body(&id, &kind), kind),
        };
        self.rig.broker.publish(message(&id, body.clone()));
        self.published.entry(id).or_default().push((body, kind));
    }

    async fn fault(&mut self) {
        let fault = self.luck.pick(&FAULTS);
        let (lasting, some) = (self.luck.millis(), 1 + self.luck.below(12) as u32);
        self.log.push(format!("{fault:?} {lasting:?} {some}"));
        let rig = self.rig.clone();
        let (database, dead) = (&rig.database, &rig.dead);
        self.losses += u32::from(matches!(fault, Fault::Away | Fault::Crash));
        match fault {
            Fault::Away => database.go_away(),
            Fault::Crash => {
                database.go_away();
                database.come_back();
            }
            Fault::Misconfigured => database.state().misconfigured = true,
            Fault::Unknown => database.state().unknown = true,
            Fault::Full => database.state().full = true,
            Fault::Contention => database.state().contention = some * some,
            Fault::Lock => drop(database.state().locked.insert(some.to_string())),
            Fault::LostCommits => self.lose_commits(some),
            Fault::Slow => database.state().slow = lasting / 4,
            Fault::Late => database.state().late = lasting / 4,
            Fault::Held => drop(database.held.send_replace(true)),
            Fault::LettersAway => dead.state().away = true,
            Fault::LettersRefused => dead.state().refuse = some,
            Fault::LettersLost => dead.state().lost_confirms = some,
            Fault::LettersSlow => dead.state().slow = lasting / 4,
            Fault::ChannelsKilled => rig.broker.kill_channels(),
            Fault::ConsumerKilled => self.restart(some as usize),
            Fault::Drained => self.drain().await,
        }
        tokio::time::sleep(lasting).await;
        // Some faults overlap with the next ones.
        if self.luck.below(3) > 0 {
            self.mend();
        }
    }

    fn lose_commits(&mut self, some: u32) {
        let now = some.min(self.lost_commits_left);
        self.lost_commits_left -= now;
        self.losses += now;
        self.rig.database.state().lost_commits = now;
    }

    /// A consumer dies where it stands.
    fn restart(&mut self, which: usize) {
        let index = which % self.consumers.len();
        self.consumers[index].abort();
        self.consumers[index] = self.rig.keep(index);
    }

    /// The worker is told to stop, and started anew.
    async fn drain(&mut self) {
        self.rig.shutdown.send_replace(Phase::Drain);
        for consumer in &mut self.consumers {
            if tokio::time::timeout(Duration::from_secs(25), &mut *consumer).await.is_err() {
                consumer.abort();
            }
        }
        self.rig.shutdown.send_replace(Phase::Run);
        self.consumers = (0..self.consumers.len()).map(|index| self.rig.keep(index)).collect();
    }

    fn mend(&mut self) {
        self.rig.database.held.send_replace(false);
        let mut state = self.rig.database.state();
        state.away = false;
        state.misconfigured = false;
        state.unknown = false;
        state.full = false;
        state.contention = 0;
        state.locked.clear();
        state.lost_commits = 0;
        state.slow = Duration::ZERO;
        state.late = Duration::ZERO;
        drop(state);
        let mut dead = self.rig.dead.state();
        dead.away = false;
        dead.refuse = 0;
        dead.lost_confirms = 0;
        dead.slow = Duration::ZERO;
    }

    async fn run(&mut self) {
        let messages = 5 + self.luck.below(26);
        for number in 0..messages {
            self.publish_one(number);
            if self.luck.one_in(6) {
                self.fault().await;
            }
        }
        self.mend();
        self.rig.until_queue_empty().await;
        self.consumers.iter().for_each(JoinHandle::abort);
    }

    fn check(&self) {
        self.rig.assert_clean();
        // A row that is alone when its connection is lost three times running looks guilty.
        let unlucky = |id: &str| {
            let lost = (id.to_owned(), "connection_lost".to_owned());
            self.losses >= crate::policy::CONNECTION_LOSSES && self.rig.dead.codes().contains(&lost)
        };
        let rows: BTreeMap<String, bytes::Bytes> = self.rig.database.state().rows.iter().cloned().collect();
        let dead: BTreeSet<(String, bytes::Bytes)> =
            self.rig.dead.state().letters.iter().map(|letter| (letter.id.clone(), letter.body.clone())).collect();
        for (id, bodies) in &self.published {
            for (body, kind) in bodies {
                let written = rows.get(id) == Some(body);
                let dead = dead.contains(&(id.clone(), body.clone()));
                let conflict = rows.get(id).is_some_and(|row| row != body);
                assert!(written || dead, "message {id} ({kind}) is lost");
                let fault = conflict || kind != "good" || unlucky(id);
                let codes = self.rig.dead.codes();
                assert!(!dead || fault, "message {id} ({kind}) was dead-lettered without a reason: {codes:?}");
                let impossible = kind != "good" && !kind.starts_with("child of ");
                assert!(!(written && impossible), "message {id} ({kind}) was written");
            }
        }
        for (id, body) in &dead {
            assert!(self.published.contains_key(id), "a dead letter {id} {body:?} that was never a message");
        }
    }
}

fn run_one(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut schedule = runtime.block_on(async { Schedule::new(seed) });
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            schedule.run().await;
            schedule.check();
        });
    }));
    if let Err(panic) = outcome {
        eprintln!("schedule with RABBIT_SINK_SEED={seed} failed after {:#?}", schedule.log);
        std::panic::resume_unwind(panic);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} isn't a number: {value}")))
}

/// A quarter of them, so that tests that run in parallel share the work.
fn run_quarter(quarter: u64) {
    if let Some(seed) = number("RABBIT_SINK_SEED") {
        if seed % 4 == quarter {
            run_one(seed);
        }
        return;
    }
    let all = number("RABBIT_SINK_SCHEDULES").unwrap_or(10_000);
    (0..all).filter(|seed| seed % 4 == quarter).for_each(run_one);
}

#[test]
fn every_message_has_its_end_whatever_happens_1() {
    run_quarter(0);
}

#[test]
fn every_message_has_its_end_whatever_happens_2() {
    run_quarter(1);
}

#[test]
fn every_message_has_its_end_whatever_happens_3() {
    run_quarter(2);
}

#[test]
fn every_message_has_its_end_whatever_happens_4() {
    run_quarter(3);
}
