//! Dead letters on their way to the broker: persistent, mandatory, confirmed one by one.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout_at};

use super::DeadLetterQueue;
use super::connect::Rabbitmq;
use super::connection::{Connection, close_channel};
use super::convert::{self, short};
use super::failure::{answer, failed, reply};
use crate::error::{ErrorClass, Failure};
use crate::message::{Envelope, Properties};

/// How long a publisher waits without any confirm before it gives up on the rest.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

const CLASS: ErrorClass = ErrorClass::DeadLetterFailed;

/// The code of a letter that no queue took.
pub const UNROUTABLE: &str = "unroutable";

/// A confirm channel.
pub struct Publisher {
    connection: Connection,
    /// `None` after anything went wrong: late confirms and returns must not be taken for those of
    /// later letters.
    channel: Option<lapin::Channel>,
    confirm_timeout: Duration,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Publisher {
    pub(super) async fn start(connection: &Connection) -> Result<Self, Failure> {
        let mut publisher =
            Publisher { connection: connection.clone(), channel: None, confirm_timeout: CONFIRM_TIMEOUT };
        publisher.channel().await?;
        Ok(publisher)
    }

    /// Waits for another time than [`CONFIRM_TIMEOUT`].
    #[must_use]
    pub fn with_confirm_timeout(mut self, timeout: Duration) -> Self {
        self.confirm_timeout = timeout;
        self
    }

    /// The connection that it publishes on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Closes its channel; the connection stays.
    pub(super) async fn close(self) {
        if let Some(channel) = &self.channel {
            close_channel(channel, "").await;
        }
    }

    async fn channel(&mut self) -> Result<lapin::Channel, Failure> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.connection.channel(CLASS).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        answer(CLASS, "asking for publisher confirms", confirms).await?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// A blocked connection takes nothing, and what is handed to the library all the same piles
    /// up in memory with every attempt.
    async fn wait_while_blocked(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.confirm_timeout;
        while self.connection.blocked() {
            if Instant::now() >= deadline {
                return Err(self.not_confirmed());
            }
            tokio::time::sleep(Duration::from_millis(50).min(self.confirm_timeout)).await;
        }
        Ok(())
    }

    fn not_confirmed(&self) -> Failure {
        let why = if self.connection.blocked() {
            "; the broker has blocked publishing: see its memory and disk alarms (`rabbitmq-diagnostics alarms`)"
        } else {
            ""
        };
        let message =
            format!("the broker at {} didn't confirm in {:?}{why}", self.connection.place(), self.confirm_timeout);
        Failure::new(CLASS, "not_confirmed", message)
    }

    async fn publish_all(&mut self, letters: Vec<Envelope>) -> Vec<Result<(), Failure>> {
        let ready = match self.wait_while_blocked().await {
            Ok(()) => self.channel().await,
            Err(failure) => Err(failure),
        };
        let channel = match ready {
            Ok(channel) => channel,
            Err(failure) => return letters.iter().map(|_| Err(failure.clone())).collect(),
        };
        let mut sent = Vec::with_capacity(letters.len());
        let mut broken: Option<Failure> = None;
        for letter in &letters {
            sent.push(match &broken {
                Some(failure) => Err(failure.clone()),
                None => self.send(&channel, letter, &mut broken).await,
            });
        }
        let mut results = Vec::with_capacity(letters.len());
        let mut returned = Vec::new();
        for confirm in sent {
            results.push(match confirm {
                Ok(confirm) => self.confirmed(confirm, &mut returned, &mut broken).await,
                Err(failure) => Err(failure),
            });
        }
        for letter in returned {
            mark_returned(&letters, &mut results, &letter);
        }
        if broken.is_some() {
            self.channel = None;
        }
        results
    }

    /// Hands a letter to the socket. What makes the channel useless is put into `broken`.
    async fn send(
        &self,
        channel: &lapin::Channel,
        letter: &Envelope,
        broken: &mut Option<Failure>,
    ) -> Result<PublisherConfirm, Failure> {
        let dead = |failure: Failure| Failure { class: CLASS, ..failure };
        let properties = Properties { delivery_mode: Some(2), ..letter.properties.clone() };
        let properties = convert::to_properties(&properties, &letter.headers).map_err(dead)?;
        // The broker would close the connection, and with it every other letter's.
        if convert::header_frame_size(&properties) > self.connection.frame_max() as usize {
            let message = format!("the headers are larger than a frame of {} bytes", self.connection.frame_max());
            return Err(Failure::new(CLASS, "headers_too_large", message));
        }
        let exchange = short(&letter.exchange, "the exchange's name").map_err(dead)?;
        let key = short(&letter.routing_key, "the routing key").map_err(dead)?;
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let writing = channel.basic_publish(exchange, key, options, &letter.body, properties);
        let failure = match tokio::time::timeout(self.confirm_timeout, writing).await {
            Ok(Ok(confirm)) => return Ok(confirm),
            Ok(Err(error)) => failed(CLASS, &publishing(&letter.routing_key), &error),
            Err(_) => self.not_confirmed(),
        };
        *broken = Some(failure.clone());
        Err(failure)
    }

    /// Waits for one confirm; a returned message is put into `returned`.
    async fn confirmed(
        &self,
        confirm: PublisherConfirm,
        returned: &mut Vec<lapin::message::BasicReturnMessage>,
        broken: &mut Option<Failure>,
    ) -> Result<(), Failure> {
        // Once one was late, only those that are there already count.
        let wait = if broken.is_some() { Duration::ZERO } else { self.confirm_timeout };
        let failure = match timeout_at(Instant::now() + wait, confirm).await {
            Ok(Ok(Confirmation::Ack(message))) => {
                returned.extend(message);
                return Ok(());
            }
            Ok(Ok(Confirmation::Nack(message))) => {
                returned.extend(message);
                let message = "the broker refused the message (basic.nack); its queue may be full (x-max-length with \
                               overflow reject-publish) or without a leader";
                return Err(Failure::new(CLASS, "nacked", message));
            }
            Ok(Ok(Confirmation::NotRequested)) => {
                Failure::new(CLASS, "not_confirmed", "the channel isn't in confirm mode")
            }
            Ok(Err(error)) => failed(CLASS, "waiting for the confirm", &error),
            Err(_) => self.not_confirmed(),
        };
        *broken = Some(failure.clone());
        Err(failure)
    }
}

fn publishing(queue: &str) -> String {
    format!("publishing to queue \"{queue}\"")
}

/// Turns a returned letter's result into a failure.
///
/// The library hangs a returned message on whichever confirm it completes next; with a confirm for
/// `multiple` tags that is any of them. So the letter is found by what it says. Where it can't be,
/// no letter of this call counts as routed.
fn mark_returned(
    letters: &[Envelope],
    results: &mut [Result<(), Failure>],
    returned: &lapin::message::BasicReturnMessage,
) {
    let code =
        if returned.reply_code == reply::NO_ROUTE { UNROUTABLE.to_owned() } else { returned.reply_code.to_string() };
    let unroutable = |letter: &Envelope| {
        let message = format!(
            "{}: the broker returned it as unroutable ({}): the queue doesn't exist",
            publishing(&letter.routing_key),
            returned.reply_text
        );
        Failure::new(CLASS, code.clone(), message)
    };
    let same = |letter: &Envelope| {
        letter.routing_key == returned.delivery.routing_key.as_str()
            && letter.exchange == returned.delivery.exchange.as_str()
            && letter.body == returned.delivery.data
    };
    let known = letters.iter().any(same);
    for (letter, result) in letters.iter().zip(results) {
        if !known || same(letter) {
            *result = Err(unroutable(letter));
        }
    }
}

impl DeadLetterQueue for Publisher {
    fn publish(&mut self, letters: Vec<Envelope>) -> impl Future<Output = Vec<Result<(), Failure>>> + Send {
        self.publish_all(letters)
    }

    async fn frame_max(&mut self) -> Result<u32, Failure> {
        Ok(self.connection.frame_max())
    }
}

/// A publisher that connects when it is needed, and again when its connection is gone.
#[derive(Debug)]
pub struct DeadLetters {
    rabbitmq: Rabbitmq,
    name: String,
    publisher: Option<Publisher>,
    connects: u64,
}

impl Rabbitmq {
    /// A publisher of dead letters with a connection of its own, made when it is first needed;
    /// `name` as for [`Rabbitmq::connect`].
    pub fn dead_letters(&self, name: &str) -> DeadLetters {
        DeadLetters { rabbitmq: self.clone(), name: name.to_owned(), publisher: None, connects: 0 }
    }
}

impl DeadLetters {
    /// Its connection, connected now where it isn't yet: for looking at and declaring the queue.
    ///
    /// # Errors
    /// Class `dead_letter_failed`.
    pub async fn connection(&mut self) -> Result<Connection, Failure> {
        Ok(self.publisher().await?.connection.clone())
    }

    /// How many connections it has made, and whether it has one now.
    pub fn connections(&self) -> (u64, bool) {
        let open = self.publisher.as_ref().is_some_and(|publisher| publisher.connection.connected());
        (self.connects, open)
    }

    /// The broker has stopped reading what we publish.
    pub fn blocked(&self) -> bool {
        self.publisher.as_ref().is_some_and(|publisher| publisher.connection.blocked())
    }

    /// Says goodbye to the broker, if it is connected.
    pub async fn close(self) {
        if let Some(publisher) = self.publisher {
            publisher.connection.close().await;
        }
    }

    async fn publisher(&mut self) -> Result<&mut Publisher, Failure> {
        let live = self.publisher.take().filter(|publisher| publisher.connection.connected());
        let publisher = match live {
            Some(publisher) => publisher,
            None => {
                let connection = self.rabbitmq.connect(&self.name).await;
                let connection = connection.map_err(|failure| Failure { class: CLASS, ..failure })?;
                self.connects += 1;
                Publisher::start(&connection).await?
            }
        };
        Ok(self.publisher.insert(publisher))
    }

    async fn publish_all(&mut self, letters: Vec<Envelope>) -> Vec<Result<(), Failure>> {
        match self.publisher().await {
            Ok(publisher) => publisher.publish_all(letters).await,
            Err(failure) => letters.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}

impl DeadLetterQueue for DeadLetters {
    fn publish(&mut self, letters: Vec<Envelope>) -> impl Future<Output = Vec<Result<(), Failure>>> + Send {
        self.publish_all(letters)
    }

    async fn frame_max(&mut self) -> Result<u32, Failure> {
        Ok(self.publisher().await?.connection.frame_max())
    }
}
