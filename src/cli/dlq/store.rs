//! Where dead letters are, and the one way in which commands take them out.
//!
//! A command goes through the letters in passes. A pass takes a round of letters, the command says
//! what becomes of each, and they are settled before the next round: so memory is bounded, and
//! whatever ends the command, each letter stands in its place or has gone where it was to go.

use super::letter::Letter;
use super::progress::Progress;
use super::table::{Row, TablePlace};
use crate::cli::exit::{CliError, sentence};
use crate::config::{Config, DeadLetter, Pipeline};
use crate::error::Failure;
use crate::message::Envelope;
use crate::rabbitmq::{AT_ONCE, Connection, Held, QueueState, Rabbitmq, Rotation};
use crate::shutdown::{Phase, Shutdown};

pub(super) use crate::rabbitmq::Fate;

/// A pipeline's dead letters. Where looking changes the place, as it does a queue, or the command
/// changes letters, nobody else may do so meanwhile.
pub(super) struct Store {
    place: Place,
    shutdown: Shutdown,
}

/// Where they are.
enum Place {
    Queue(Box<QueuePlace>),
    Table(Box<TablePlace>),
}

struct QueuePlace {
    connection: Connection,
    rotation: Rotation,
}

/// One that was taken.
enum Taken {
    Held(Box<Held>),
    Row(Row),
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Every letter was seen.
    Complete,
    /// By a signal: the rest wasn't looked at.
    Interrupted,
}

/// What a command says to a round: the fate of its first letters, and whether to go on.
pub(super) struct Acted {
    pub fates: Vec<Fate>,
    /// Those letters are to be settled now, and the others of the round to be handed out again. Else
    /// the others stay.
    pub more: bool,
    pub then: Result<Ended, CliError>,
}

impl Acted {
    /// All stay.
    pub(super) fn nothing() -> Self {
        Acted::all(Vec::new())
    }

    /// All of a round at once.
    pub(super) fn all(fates: Vec<Fate>) -> Self {
        Acted { fates, more: false, then: Ok(Ended::Complete) }
    }

    /// It ends here, for this reason.
    pub(super) fn failed(fates: Vec<Fate>, error: CliError) -> Self {
        Acted { fates, more: false, then: Err(error) }
    }

    /// It ends here, by a signal.
    pub(super) fn interrupted(fates: Vec<Fate>) -> Self {
        Acted { fates, more: false, then: Ok(Ended::Interrupted) }
    }
}

impl Store {
    /// Connects. A command that changes letters takes the lock, and on a queue any command; `doing` is
    /// the command, as others are told meanwhile.
    pub(super) async fn open(
        config: &Config,
        pipeline: &Pipeline,
        doing: &str,
        changes: bool,
        shutdown: Shutdown,
    ) -> Result<Self, CliError> {
        let Some(broker) = config.brokers.get(&pipeline.broker) else {
            let message = format!("pipeline {}: there is no broker \"{}\"", pipeline.name, pipeline.broker);
            return Err(CliError::usage(message));
        };
        let rabbitmq = Rabbitmq::new(broker)?;
        let holder = holder(doing, &pipeline.name);
        let place = match &pipeline.dead_letter {
            DeadLetter::Queue { name, .. } => {
                Place::Queue(Box::new(QueuePlace::open(rabbitmq, pipeline, name, &holder).await?))
            }
            DeadLetter::Table(table) => {
                let holder = changes.then_some(holder.as_str());
                Place::Table(Box::new(TablePlace::open(config, pipeline, rabbitmq, table, holder).await?))
            }
        };
        Ok(Store { place, shutdown })
    }

    /// A signal has asked for the end.
    pub(super) fn interrupted(&self) -> bool {
        *self.shutdown.borrow() != Phase::Run
    }

    /// What tells of a signal.
    pub(super) fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Begins a pass over what stands there now. Returns how many letters that are.
    pub(super) async fn begin(&mut self) -> Result<u64, CliError> {
        match &mut self.place {
            Place::Queue(queue) => queue.rotation.begin().await.map_err(refused),
            Place::Table(table) => table.begin().await,
        }
    }

    /// What the letters bear that this pass chooses or adds.
    pub(super) fn mark(&self) -> String {
        match &self.place {
            Place::Queue(queue) => queue.rotation.mark().to_owned(),
            Place::Table(table) => table.mark().to_owned(),
        }
    }

    async fn take(&mut self, at_most: usize) -> Result<Vec<(Taken, Letter)>, CliError> {
        match &mut self.place {
            Place::Queue(queue) => {
                let taken = queue.rotation.take(at_most).await.map_err(refused)?;
                let letter = |held: &Held| Letter::new(&held.envelope, held.set.clone());
                Ok(taken.into_iter().map(|held| (letter(&held), held)).map(|(it, held)| (held.into(), it)).collect())
            }
            Place::Table(table) => {
                let taken = table.take(at_most).await?;
                Ok(taken.into_iter().map(|(row, letter)| (Taken::Row(row), letter)).collect())
            }
        }
    }

    async fn settle(&mut self, settled: Vec<(Taken, Fate)>) -> Result<(), CliError> {
        let (mut held, mut rows) = (Vec::new(), Vec::new());
        for (taken, fate) in settled {
            match taken {
                Taken::Held(letter) => held.push((*letter, fate)),
                Taken::Row(row) => rows.push((row, fate)),
            }
        }
        match &mut self.place {
            Place::Queue(queue) => queue.rotation.settle(held).await.map_err(refused),
            Place::Table(table) => table.settle(rows).await,
        }
    }

    /// Goes through all letters that stand there when it begins. `act` gets each round; `at_once`
    /// bounds it.
    pub(super) async fn pass(
        &mut self,
        label: &str,
        at_once: usize,
        mut act: impl AsyncFnMut(&mut Store, Vec<&Letter>) -> Acted,
    ) -> Result<Ended, CliError> {
        let total = self.begin().await?;
        let mut progress = Progress::new(label, total);
        loop {
            if self.interrupted() {
                return Ok(Ended::Interrupted);
            }
            let taken = self.take(at_once.min(AT_ONCE)).await?;
            if taken.is_empty() {
                return Ok(Ended::Complete);
            }
            if self.round(taken, &mut act, &mut progress).await? == Ended::Interrupted {
                return Ok(Ended::Interrupted);
            }
        }
    }

    async fn round(
        &mut self,
        taken: Vec<(Taken, Letter)>,
        act: &mut impl AsyncFnMut(&mut Store, Vec<&Letter>) -> Acted,
        progress: &mut Progress,
    ) -> Result<Ended, CliError> {
        let (taken, letters): (Vec<Taken>, Vec<Letter>) = taken.into_iter().unzip();
        let mut letters = letters.iter();
        let mut taken = taken.into_iter();
        loop {
            let acted = act(self, letters.as_slice().iter().collect()).await;
            let now = if acted.more { acted.fates.len().max(1) } else { usize::MAX };
            let mut fates = acted.fates.into_iter();
            let settled: Vec<(Taken, Fate)> =
                taken.by_ref().take(now).map(|taken| (taken, fates.next().unwrap_or(Fate::Stay))).collect();
            letters.by_ref().take(settled.len()).for_each(drop);
            let count = settled.len();
            let settled = self.settle(settled).await;
            progress.add(count);
            // The command's own words say more than the connection's that broke under it.
            let then = acted.then?;
            settled?;
            if then == Ended::Interrupted || letters.len() == 0 {
                return Ok(then);
            }
        }
    }

    /// A pass in which all letters stay, `look` seeing each.
    pub(super) async fn look(&mut self, label: &str, mut look: impl FnMut(&Letter)) -> Result<Ended, CliError> {
        self.pass(label, AT_ONCE, async |_, letters| {
            letters.into_iter().for_each(&mut look);
            Acted::nothing()
        })
        .await
    }

    /// Publishes messages to the queues that they are addressed to; one answer for each.
    pub(super) async fn send(&mut self, messages: Vec<Envelope>) -> Vec<Result<(), Failure>> {
        match &mut self.place {
            Place::Queue(queue) => queue.rotation.send(messages).await,
            Place::Table(table) => table.send(messages).await,
        }
    }

    /// Adds letters, as chosen by the pass that was begun last. Returns how many others that has
    /// replaced: none in a queue, where they stand side by side.
    pub(super) async fn add(&mut self, letters: Vec<Envelope>) -> Result<u64, CliError> {
        match &mut self.place {
            Place::Queue(queue) => {
                let added = queue.rotation.add(letters).await;
                added.into_iter().collect::<Result<(), Failure>>().map_err(refused)?;
                Ok(0)
            }
            Place::Table(table) => table.add(letters).await,
        }
    }

    /// What can be seen of a queue.
    pub(super) async fn look_at(&mut self, queue: &str) -> Result<QueueState, CliError> {
        match &mut self.place {
            Place::Queue(place) => place.connection.queue_exists(queue).await.map_err(refused),
            Place::Table(table) => table.look_at(queue).await,
        }
    }

    /// Gives the lock back and says goodbye.
    pub(super) async fn close(self) {
        match self.place {
            Place::Queue(queue) => {
                queue.rotation.end().await;
                queue.connection.close().await;
            }
            Place::Table(table) => table.close().await,
        }
    }
}

impl QueuePlace {
    async fn open(rabbitmq: Rabbitmq, pipeline: &Pipeline, queue: &str, holder: &str) -> Result<Self, CliError> {
        let connection = rabbitmq.connect(&format!("{}/dlq", pipeline.name)).await?;
        match Rotation::start(&connection, queue, holder).await {
            Ok(rotation) => Ok(QueuePlace { connection, rotation }),
            Err(failure) => {
                connection.close().await;
                Err(refused(failure))
            }
        }
    }
}

impl From<Held> for Taken {
    fn from(held: Held) -> Self {
        Taken::Held(Box::new(held))
    }
}

/// A broker that answers, but with a no, is reachable.
pub(super) fn refused(failure: Failure) -> CliError {
    match failure.code.as_ref() {
        "404" => CliError::failed(sentence(&failure)),
        "405" => CliError::failed(failure.message.into_owned()),
        _ => failure.into(),
    }
}

/// Who has the lock, for those who are kept out.
fn holder(doing: &str, pipeline: &str) -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".to_owned());
    let host = std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
        .unwrap_or_else(|_| "an unknown host".to_owned());
    let since = jiff::Timestamp::now();
    format!(
        // PostgreSQL shows the first 63 bytes of it.
        "rabbit-sink dlq {doing} {pipeline}, process {}, {}@{}, since {since:.0}",
        std::process::id(),
        user.trim(),
        host.trim(),
    )
}
