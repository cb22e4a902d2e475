//! Dead letters in a table, as `dlq` goes through them: read in the order of their numbers, changed in one
//! transaction a round. Looking changes nothing.

use std::time::Duration;

use crate::catalogue::TableName;
use crate::cli::exit::CliError;
use crate::config::{Config, Pipeline};
use crate::dead_letter;
use crate::error::{ErrorClass, Failure};
use crate::message::Envelope;
use crate::rabbitmq::{Connection, DeadLetterQueue, Fate, Publisher, QueueState, Rabbitmq, new_mark};
use crate::sink::{self, LetterChange, LetterTable, Session};

use super::letter::Letter;
use super::store::refused;

/// A letter that was read: its number, and how often it had been replayed then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    seq: i64,
    replays: i64,
}

/// A pipeline's letters in its table.
pub(super) struct TablePlace {
    session: Box<dyn Session>,
    table: TableName,
    pipeline: String,
    deadline: Duration,
    /// Where this pass has come to, and where it ends.
    after: i64,
    until: i64,
    mark: String,
    broker: Broker,
}

/// Connected when it is needed: looking doesn't need it.
struct Broker {
    rabbitmq: Rabbitmq,
    name: String,
    connected: Option<(Connection, Publisher)>,
}

impl TablePlace {
    /// Connects. `holder`: who wants to change letters, and keeps others from doing so.
    pub(super) async fn open(
        config: &Config,
        pipeline: &Pipeline,
        rabbitmq: Rabbitmq,
        table: &TableName,
        holder: Option<&str>,
    ) -> Result<Self, CliError> {
        let Some(database) = config.databases.get(&pipeline.database) else {
            let message = format!("pipeline {}: there is no database \"{}\"", pipeline.name, pipeline.database);
            return Err(CliError::usage(message));
        };
        let opened = sink::open(database)?;
        let connecting = tokio::time::timeout(database.connect_timeout * 2, opened.connect_to_look());
        let mut place = TablePlace {
            session: connecting.await.map_err(|_| silent())??,
            table: table.clone(),
            pipeline: pipeline.name.clone(),
            deadline: database.statement_timeout * 2 + Duration::from_secs(5),
            after: 0,
            until: 0,
            mark: String::new(),
            broker: Broker { rabbitmq, name: format!("{}/dlq", pipeline.name), connected: None },
        };
        if !place.ask(async |letters, _| letters.exists().await).await? {
            let message = format!("there is no table {table} in database \"{}\"", pipeline.database);
            return Err(CliError::failed(format!("{message}: the worker makes it at its start")));
        }
        if let Some(holder) = holder
            && let Some(who) = place.ask(async |letters, _| letters.lock(holder).await).await?
        {
            let message = format!("somebody else works on the dead letters in {table}: {who} has it; wait for them");
            return Err(CliError::failed(message));
        }
        Ok(place)
    }

    /// One question to the table, within the deadline.
    async fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut dyn LetterTable, &str) -> Result<T, Failure>,
    ) -> Result<T, CliError> {
        let lacking = || Failure::new(ErrorClass::SinkMisconfigured, "no_letters", "this database keeps no letters");
        let mut letters = self.session.letters(&self.table).ok_or_else(lacking)?;
        match tokio::time::timeout(self.deadline, question(&mut *letters, &self.pipeline)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(silent().into()),
        }
    }

    /// As [`super::store::Store::begin`].
    pub(super) async fn begin(&mut self) -> Result<u64, CliError> {
        let range = self.ask(async |letters, pipeline| letters.range(pipeline).await).await?;
        (self.after, self.until, self.mark) = (0, range.last, new_mark());
        Ok(range.count)
    }

    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// The next letters of this pass; none at its end.
    pub(super) async fn take(&mut self, at_most: usize) -> Result<Vec<(Row, Letter)>, CliError> {
        let (after, until) = (self.after, self.until);
        let read = self.ask(async |letters, pipeline| letters.read(pipeline, after, until, at_most.max(1)).await);
        let mut taken = Vec::new();
        for found in read.await? {
            self.after = found.seq;
            let letter = dead_letter::of_row(
                found.exchange,
                found.routing_key,
                &found.properties,
                &found.headers,
                found.body.into(),
            );
            let Some(letter) = letter else {
                let message = format!(
                    "the letter with seq {} in {} can't be read: `properties` or `headers` isn't as it was written",
                    found.seq, self.table
                );
                return Err(CliError::failed(message));
            };
            taken.push((Row { seq: found.seq, replays: found.replays }, Letter::new(&letter, found.set)));
        }
        Ok(taken)
    }

    /// What becomes of letters, in one transaction. One that died again since it was read stays.
    pub(super) async fn settle(&mut self, settled: Vec<(Row, Fate)>) -> Result<(), CliError> {
        let change = |(row, fate): (Row, Fate)| {
            let change = match fate {
                Fate::Stay => return None,
                Fate::Chosen => LetterChange::Choose(self.mark.clone()),
                Fate::Gone => LetterChange::Remove,
                Fate::Replaced(other) => LetterChange::Replace(Box::new(dead_letter::row(&other, &self.pipeline))),
            };
            Some((row.seq, row.replays, change))
        };
        let changes = settled.into_iter().filter_map(change).collect();
        self.ask(async |letters, _| letters.change(changes).await).await
    }

    /// Puts letters into the table as members of this pass's set, in place of those with their IDs,
    /// which are counted.
    pub(super) async fn add(&mut self, letters: Vec<Envelope>) -> Result<u64, CliError> {
        let rows: Vec<_> = letters.iter().map(|letter| dead_letter::row(letter, &self.pipeline)).collect();
        let mark = self.mark.clone();
        self.ask(async |letters, _| letters.put(&rows, &mark).await).await
    }

    /// As [`super::store::Store::send`].
    pub(super) async fn send(&mut self, messages: Vec<Envelope>) -> Vec<Result<(), Failure>> {
        let count = messages.len();
        match self.broker.connected().await {
            Ok((_, publisher)) => publisher.publish(messages).await,
            Err(failure) => vec![Err(failure); count],
        }
    }

    /// As [`super::store::Store::look_at`].
    pub(super) async fn look_at(&mut self, queue: &str) -> Result<QueueState, CliError> {
        let (connection, _) = self.broker.connected().await.map_err(refused)?;
        connection.queue_exists(queue).await.map_err(refused)
    }

    pub(super) async fn close(self) {
        if let Some((connection, _)) = self.broker.connected {
            connection.close().await;
        }
        // A goodbye that hangs is no reason to hang.
        tokio::time::timeout(Duration::from_secs(2), self.session.close()).await.ok();
    }
}

impl Broker {
    async fn connected(&mut self) -> Result<&mut (Connection, Publisher), Failure> {
        let connected = match self.connected.take() {
            Some(connected) => connected,
            None => {
                let connection = self.rabbitmq.connect(&self.name).await?;
                let publisher = connection.publisher().await?;
                (connection, publisher)
            }
        };
        Ok(self.connected.insert(connected))
    }
}

fn silent() -> Failure {
    Failure::new(ErrorClass::SinkUnavailable, "deadline", "the database didn't answer in time")
}
