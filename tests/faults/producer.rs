//! The producer: publishes orders with confirms all the while, whatever happens to the broker.
//!
//! It does what a careful producer does: what wasn't confirmed it publishes again, under the same
//! ID, until it is. Good orders are numbered; every so often one comes twice, and one is bad.

use std::collections::VecDeque;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::books::{Books, Order};
use crate::support::database::Server;
use crate::support::wait::PATIENCE;

/// Between two portions.
const EVERY: Duration = Duration::from_millis(20);
/// A broker that hasn't confirmed by then is asked on a new connection.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);
/// Before a broker that is away is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// What is published from now on.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Messages every 20 ms.
    pub portion: usize,
    /// Each so manieth order is bad; 0: none.
    pub bad_every: usize,
    /// Each so manieth order is published once more; 0: none.
    pub twice_every: usize,
}

impl Mix {
    /// 250 a second.
    pub const USUAL: Mix = Mix { portion: 5, bad_every: 97, twice_every: 23 };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Publish,
    Pause,
    Stop,
}

/// Runs until it is stopped or dropped.
pub struct Producer {
    mix: watch::Sender<Mix>,
    task: watch::Sender<Task>,
    /// Nothing is on its way.
    idle: watch::Receiver<bool>,
    handle: JoinHandle<()>,
}

impl Producer {
    pub fn start(url: &str, queue: &str, server: Server, mix: Mix, books: &Books) -> Producer {
        let (mix, task, idle) = (watch::Sender::new(mix), watch::Sender::new(Task::Publish), watch::Sender::new(false));
        let work = Work {
            line: Line { url: url.to_owned(), queue: queue.to_owned(), channel: None },
            server,
            books: books.clone(),
            mix: mix.subscribe(),
            task: task.subscribe(),
            number: 0,
            again: VecDeque::new(),
        };
        let receiver = idle.subscribe();
        let handle = tokio::spawn(work.run(idle));
        Producer { mix, task, idle: receiver, handle }
    }

    /// Publishes something else from now on.
    pub fn set(&self, mix: Mix) {
        self.mix.send_replace(mix);
    }

    /// Returns once everything that was published is confirmed, and nothing more comes.
    pub async fn pause(&mut self) {
        self.task.send_replace(Task::Pause);
        let idle = tokio::time::timeout(PATIENCE, self.idle.wait_for(|&idle| idle)).await;
        assert!(matches!(idle, Ok(Ok(_))), "the broker doesn't confirm what is on its way");
    }

    pub fn resume(&self) {
        self.task.send_replace(Task::Publish);
    }

    /// Ends it. What the broker doesn't confirm any more stays unsure.
    pub async fn stop(&mut self) {
        self.task.send_replace(Task::Stop);
        (&mut self.handle).await.expect("the producer doesn't panic");
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

struct Work {
    line: Line,
    server: Server,
    books: Books,
    mix: watch::Receiver<Mix>,
    task: watch::Receiver<Task>,
    number: usize,
    /// Orders that are due once more, by the number at which they are.
    again: VecDeque<(usize, Order)>,
}

impl Work {
    async fn run(mut self, idle: watch::Sender<bool>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let task = *self.task.borrow_and_update();
            idle.send_replace(task == Task::Pause);
            match task {
                Task::Publish => {}
                Task::Pause => {
                    if self.task.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Task::Stop => return,
            }
            let mut portion = self.portion();
            while !portion.is_empty() {
                portion = self.line.publish(portion, &self.books).await;
                if !portion.is_empty() {
                    if *self.task.borrow() == Task::Stop {
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn portion(&mut self) -> Vec<Order> {
        let mix = *self.mix.borrow();
        let every = |n: usize, every: usize| every > 0 && n % every == every / 2;
        let mut portion = Vec::with_capacity(mix.portion);
        while portion.len() < mix.portion {
            let n = self.number;
            self.number += 1;
            if every(n, mix.bad_every) {
                portion.push(Order::bad(n / mix.bad_every, self.server));
                continue;
            }
            let order = Order::good(n);
            if every(n, mix.twice_every) {
                // At once or later: into the same batch or into one that follows.
                let lag = [0, 7, 60, 300][(n / mix.twice_every) % 4];
                self.again.push_back((n + lag, order.clone()));
            }
            portion.push(order);
            let due = self.again.iter().position(|(due, _)| *due <= n);
            portion.extend(due.and_then(|at| self.again.remove(at)).map(|(_, order)| order));
        }
        portion
    }
}

/// A connection with confirms, made anew when it is lost.
pub struct Line {
    pub url: String,
    pub queue: String,
    pub channel: Option<(Connection, Channel)>,
}

impl Line {
    /// Publishes and waits for the confirms. Returns what wasn't confirmed, or by no queue taken.
    pub async fn publish(&mut self, orders: Vec<Order>, books: &Books) -> Vec<Order> {
        let Some(channel) = self.channel().await else { return orders };
        let publishing = async {
            let mut confirms = Vec::with_capacity(orders.len());
            for order in &orders {
                books.send(order);
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let message = &order.message;
                let queue = self.queue.as_str().into();
                let confirm =
                    channel.basic_publish("".into(), queue, options, &message.body, message.properties.clone()).await;
                confirms.push(confirm);
            }
            let mut taken = Vec::with_capacity(orders.len());
            for (confirm, order) in confirms.into_iter().zip(&orders) {
                let confirmed = match confirm {
                    Ok(confirm) => matches!(confirm.await, Ok(Confirmation::Ack(None))),
                    Err(_) => false,
                };
                if confirmed {
                    books.confirm(&order.id);
                }
                taken.push(confirmed);
            }
            taken
        };
        match tokio::time::timeout(CONFIRMED_WITHIN, publishing).await {
            Ok(taken) => orders.into_iter().zip(taken).filter(|(_, taken)| !taken).map(|(order, _)| order).collect(),
            Err(_) => {
                self.channel = None;
                orders
            }
        }
    }

    async fn channel(&mut self) -> Option<Channel> {
        if let Some((connection, channel)) = &self.channel
            && connection.status().connected()
            && channel.status().connected()
        {
            return Some(channel.clone());
        }
        self.channel = None;
        let connecting = async {
            let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.ok()?;
            let channel = connection.create_channel().await.ok()?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
            Some((connection, channel))
        };
        self.channel = tokio::time::timeout(Duration::from_secs(10), connecting).await.ok().flatten();
        self.channel.as_ref().map(|(_, channel)| channel.clone())
    }
}
