//! `dlq replay`: dead letters back into the queue that they came from.

use std::time::Duration;

use serde_json::{Map, Value};

use super::fate::{Follower, Sums};
use super::filter::FilterArgs;
use super::judge::Judge;
use super::letter::Letter;
use super::pace::{Pace, Rate};
use super::rehearsal::Tally;
use super::select::{self, FixedSet};
use super::store::{Acted, Ended, Fate, Store};
use crate::cli::escape::escape;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Out, complain};
use crate::config::{Config, DeadLetter, Deduplicate, Pipeline};
use crate::dead_letter;
use crate::message::Envelope;
use crate::rabbitmq::{AT_ONCE, QueueState};

/// Messages that are followed at a time, about 300 bytes each: more of them go in several waves.
const WAVE: usize = 50_000;
/// Letters that are out of their queue while they are tried: each may take its seconds, and all of them
/// must be back before the broker takes them back.
const TRIED_AT_ONCE: usize = 50;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Whose dead letters
    pub(super) pipeline: String,
    /// Send nothing: decode, map and write each in a transaction that is rolled back
    #[arg(long, conflicts_with_all = ["rate", "canary", "wait", "to", "yes"])]
    pub(super) dry_run: bool,
    /// So many at most in a second (50/s), minute (10/m) or hour (30/h)
    #[arg(long, value_name = "N/s", value_parser = Rate::parse)]
    rate: Option<Rate>,
    /// Send so many first, wait for what becomes of them, and go on only if they don't die again
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    canary: Option<u32>,
    /// Wait until the ledger, or the dead-letter queue, says what became of each
    #[arg(long)]
    wait: bool,
    /// With --wait or --canary: give up when nothing has become known for so long
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    timeout: Duration,
    /// Send them to another queue
    #[arg(long, value_name = "QUEUE", conflicts_with_all = ["wait", "canary"])]
    to: Option<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// `30s`, `5m`, as in the config.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span: Option<jiff::Span> = text.parse().ok();
    let span = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok());
    span.and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| "expected a duration such as 30s or 5m".to_owned())
}

/// What a replay has done.
#[derive(Default)]
struct Done {
    sent: u64,
    /// What became of them, as far as it was waited for.
    sums: Sums,
    interrupted: bool,
    /// The canaries died.
    stopped: bool,
}

/// A replay in hand.
struct Replay<'a> {
    pipeline: &'a Pipeline,
    args: &'a Args,
    /// Its name in the messages' headers.
    run: String,
    set: FixedSet,
    pace: Pace,
    done: Done,
}

pub(super) async fn execute(
    store: &mut Store,
    config: &Config,
    pipeline: &Pipeline,
    args: &Args,
    out: &mut Out,
) -> Result<Exit, CliError> {
    let follows = args.wait || args.canary.is_some();
    if follows && pipeline.deduplicate != Deduplicate::Ledger {
        let message = "--wait and --canary ask the ledger, and this pipeline has none (deduplicate = \"ledger\")";
        return Err(CliError::usage(message));
    }
    args.filter.check()?;
    if args.dry_run {
        return rehearse(store, config, pipeline, args, out).await;
    }
    let target = args.to.as_deref().unwrap_or(&pipeline.queue);
    if matches!(&pipeline.dead_letter, DeadLetter::Queue { name, .. } if name == target) {
        return Err(CliError::usage(format!("--to: \"{target}\" is the dead-letter queue itself")));
    }
    match store.look_at(target).await? {
        QueueState::Missing => {
            return Err(CliError::failed(format!("there is no queue \"{target}\" to send them to")));
        }
        QueueState::Present { consumers: 0, .. } if follows => {
            complain(&format!("nobody reads queue {target} now: until the worker runs, nothing becomes known"));
        }
        QueueState::Present { .. } => {}
    }
    let mut judge = if follows { Some(Judge::open(config, pipeline).await?) } else { None };
    let max = pipeline.limits.max_replays;
    let mut exhausted = 0_u64;
    let fixed = select::fix(store, pipeline, &args.filter, |letter| {
        let fits = letter.info.replays < max;
        exhausted += u64::from(!fits);
        fits
    })
    .await?;
    if exhausted > 0 {
        complain(&format!("{exhausted} were replayed {max} times already (limits.max_replays) and stay"));
    }
    let Some(set) = fixed else { return Ok(interrupted_before()) };
    let question = format!("{} dead letters of {} go back to queue {target}. Go on?", set.count, pipeline.name);
    if set.count > 0 && !select::confirmed(args.yes, &question, store.shutdown()).await? {
        complain("nothing was sent");
        return Ok(Exit::Failed);
    }
    let pace = Pace::new(args.rate);
    let mut replay = Replay { pipeline, args, run: run_name(), set, pace, done: Done::default() };
    let ended = replay.run(store, &mut judge).await;
    if let Some(judge) = judge {
        judge.close().await;
    }
    replay.report(out, exhausted);
    match ended {
        Ok(()) => Ok(replay.exit(exhausted)),
        Err(error) if replay.done.sent > 0 => {
            let message = format!("{}\nthe same command again takes up the rest", error.message);
            Err(CliError { exit: Exit::Partly, message })
        }
        Err(error) => Err(error),
    }
}

fn interrupted_before() -> Exit {
    complain("interrupted before anything was sent");
    Exit::Failed
}

async fn rehearse(
    store: &mut Store,
    config: &Config,
    pipeline: &Pipeline,
    args: &Args,
    out: &mut Out,
) -> Result<Exit, CliError> {
    let mut tally = Tally::begin(config, pipeline).await?;
    let limit = args.filter.limit.unwrap_or(u64::MAX);
    let mut chosen = 0;
    let ended = store
        .pass("trying", TRIED_AT_ONCE, async |store, letters| {
            for letter in letters {
                if chosen == limit || !args.filter.takes(pipeline, letter) {
                    continue;
                }
                chosen += 1;
                if store.interrupted() {
                    return Acted::interrupted(Vec::new());
                }
                if let Err(error) = tally.add(letter).await {
                    return Acted::failed(Vec::new(), error);
                }
            }
            Acted::nothing()
        })
        .await?;
    if ended == Ended::Interrupted {
        tally.interrupted();
    } else if chosen == 0 {
        complain(args.filter.none());
    }
    Ok(tally.end(out).await)
}

impl Replay<'_> {
    /// Canaries, then the rest in waves that can be followed, or all at once.
    async fn run(&mut self, store: &mut Store, judge: &mut Option<Judge>) -> Result<(), CliError> {
        let canary = self.args.canary.map(|count| u64::from(count).min(self.set.count)).filter(|count| *count > 0);
        if let (Some(count), Some(judge)) = (canary, judge.as_mut()) {
            let sums = self.wave(store, Some(judge), count as usize).await?.unwrap_or_default();
            let died = sums.same_cause > 0 || sums.fine() == 0;
            let text = sums.text();
            self.done.sums.add(sums);
            if self.done.interrupted {
                return Ok(());
            }
            if died {
                self.done.stopped = true;
                complain(&format!("the first {count}: {text}; the rest stays"));
                return Ok(());
            }
            complain(&format!("the first {count}: {text}; going on"));
        }
        while self.done.sent < self.set.count && !self.done.interrupted {
            let before = self.done.sent;
            if self.args.wait {
                let sums = self.wave(store, judge.as_mut(), WAVE).await?.unwrap_or_default();
                self.done.sums.add(sums);
            } else {
                self.wave(store, None, usize::MAX).await?;
            }
            if self.done.sent == before {
                // Somebody else has taken them out of the queue in between.
                break;
            }
        }
        Ok(())
    }

    /// Sends up to `most` of the set in one pass, and follows them where there is a judge.
    async fn wave(
        &mut self,
        store: &mut Store,
        judge: Option<&mut Judge>,
        most: usize,
    ) -> Result<Option<Sums>, CliError> {
        let run = self.run.clone();
        let pipeline = self.pipeline;
        let mut follower = judge.map(|judge| Follower::new(judge, pipeline, &run));
        let mut left = most;
        let at_once = self.pace.round(AT_ONCE);
        let this = &mut *self;
        let passed = store
            .pass("replaying", at_once, async |store, letters| {
                this.round(store, letters, &mut follower, &mut left).await
            })
            .await;
        self.done.interrupted |= matches!(passed, Ok(Ended::Interrupted));
        let Some(follower) = follower else { return passed.map(|_| None) };
        let sent = follower.len() as u64;
        let followed = match passed {
            Ok(_) => follower.wait(store, self.args.timeout).await,
            Err(error) => Err(error),
        };
        if followed.is_err() {
            self.done.sums.unknown += sent;
        }
        followed.map(Some)
    }

    async fn round(
        &mut self,
        store: &mut Store,
        letters: Vec<&Letter>,
        follower: &mut Option<Follower<'_>>,
        left: &mut usize,
    ) -> Acted {
        let mut fates = vec![Fate::Stay; letters.len()];
        let mine = letters.iter().enumerate().filter(|(_, letter)| self.set.has(letter));
        let part = self.pace.part(AT_ONCE).min(*left);
        let mine: Vec<(usize, &Letter)> = mine.map(|(at, letter)| (at, *letter)).take(part).collect();
        let Some((last, _)) = mine.last() else { return Acted::all(fates) };
        let last = *last;
        if !self.pace.wait(mine.len(), store.shutdown()).await {
            return Acted::interrupted(fates);
        }
        let (sent, error) = match self.part(store, &mine, follower).await {
            Ok(sent) => (sent, None),
            Err((sent, error)) => (sent, Some(error)),
        };
        sent.into_iter().for_each(|at| fates[at] = Fate::Gone);
        *left -= mine.len();
        match error {
            Some(error) => Acted::failed(fates, error),
            // Those are settled before the next are sent: what a crash sends twice is one part.
            None => {
                fates.truncate(last + 1);
                Acted { fates, more: true, then: Ok(Ended::Complete) }
            }
        }
    }

    /// Sends some and returns the places of those that were confirmed and routed.
    async fn part(
        &mut self,
        store: &mut Store,
        letters: &[(usize, &Letter)],
        follower: &mut Option<Follower<'_>>,
    ) -> Result<Vec<usize>, (Vec<usize>, CliError)> {
        let target = self.args.to.as_deref().unwrap_or(&self.pipeline.queue);
        let first = follower.as_ref().map_or(0, Follower::len);
        let places = first..first + letters.len();
        let messages: Vec<Envelope> = letters
            .iter()
            .zip(places)
            .map(|((_, letter), place)| dead_letter::replayed(&letter.envelope, target, &self.run, place))
            .collect();
        let before = match follower {
            Some(follower) => follower.before(&messages).await.map_err(|error| (Vec::new(), error))?,
            None => Vec::new(),
        };
        let mut before = before.into_iter();
        let mut sent = Vec::new();
        let mut failed = None;
        for ((at, letter), answer) in letters.iter().zip(store.send(messages).await) {
            let before = before.next();
            // One that wasn't confirmed may have been taken all the same, and may come back: its place
            // is kept.
            if let (Some(follower), Some(before)) = (follower.as_mut(), before) {
                follower.sent(before, letter);
            }
            match answer {
                Ok(()) => sent.push(*at),
                // AMQP can't carry it any more, with what a replay adds: no reason to keep the others.
                Err(failure) if matches!(&*failure.code, "headers_too_large" | "too_long") => {
                    complain(&format!("{} stays: {failure}", letter.info.id));
                }
                Err(failure) => drop(failed.get_or_insert(failure)),
            }
        }
        self.done.sent += sent.len() as u64;
        match failed {
            Some(failure) => Err((sent, super::store::refused(failure))),
            None => Ok(sent),
        }
    }

    fn report(&self, out: &mut Out, exhausted: u64) {
        let done = &self.done;
        let left = self.set.count.saturating_sub(done.sent);
        if out.json {
            let mut object: Map<String, Value> = Map::new();
            object.insert("pipeline".to_owned(), self.pipeline.name.clone().into());
            for (name, count) in
                [("chosen", self.set.count), ("replayed", done.sent), ("left", left), ("exhausted", exhausted)]
            {
                object.insert(name.to_owned(), count.into());
            }
            if self.follows() {
                done.sums.to_json(&mut object);
            }
            object.insert("interrupted".to_owned(), done.interrupted.into());
            out.object(&object);
        } else {
            out.line(&escape(&self.text()));
        }
        if done.interrupted {
            complain("interrupted; the same command again takes up the rest");
        }
    }

    fn text(&self) -> String {
        let done = &self.done;
        let mut text = format!("{} of {} replayed", done.sent, self.set.count);
        if self.follows() && done.sent > 0 {
            text.push_str(&format!(": {}", done.sums.text()));
        }
        text
    }

    fn follows(&self) -> bool {
        self.args.wait || self.args.canary.is_some()
    }

    fn exit(&self, exhausted: u64) -> Exit {
        let done = &self.done;
        let whole = done.sent == self.set.count && exhausted == 0 && !done.interrupted;
        let fine = !self.args.wait || done.sums.fine() == done.sent;
        match (whole && fine && !done.stopped, done.sent) {
            (true, _) => Exit::Done,
            (false, 0) => Exit::Failed,
            (false, _) => Exit::Partly,
        }
    }
}

/// Unlike that of any other replay.
fn run_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
