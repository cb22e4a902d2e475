//! What a pipeline is connected to.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// RabbitMQ, where a consumer reads.
    Broker,
    /// RabbitMQ, where it publishes dead letters: a connection of its own, made for the first one.
    DeadLetters,
    /// The database, where its writer writes.
    Database,
}

impl Peer {
    /// Every one, for metrics.
    pub const ALL: [Peer; 3] = [Peer::Broker, Peer::DeadLetters, Peer::Database];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Broker => "broker",
            Peer::DeadLetters => "dead_letters",
            Peer::Database => "database",
        }
    }
}

/// The connections of one kind.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicI64,
    busy: AtomicI64,
    /// Consumers that have had one.
    known: Mutex<BTreeSet<usize>>,
    /// Made after a consumer's first one.
    pub reconnects: Counter,
}

impl Connections {
    /// Open now, as far as we know.
    pub fn open(&self) -> i64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Those of them that wait for an answer to work of ours.
    pub fn busy(&self) -> i64 {
        self.busy.load(Ordering::Relaxed)
    }
}

/// The connection of one consumer, counted as long as it is open.
#[derive(Debug)]
pub struct Link {
    connections: Arc<Connections>,
    consumer: usize,
    open: bool,
}

impl Link {
    /// Not open yet.
    pub fn new(connections: &Arc<Connections>, consumer: usize) -> Self {
        Link { connections: Arc::clone(connections), consumer, open: false }
    }

    /// So many connections were made since the last call, and one is open now, or none.
    pub fn saw(&mut self, made: u64, open: bool) {
        if made > 0 {
            // Its changes are one insert each: a poisoned lock has nothing half-written behind it.
            let mut known = self.connections.known.lock().unwrap_or_else(PoisonError::into_inner);
            let first = u64::from(known.insert(self.consumer));
            self.connections.reconnects.inc_by(made - first);
        }
        if open != self.open {
            self.open = open;
            self.connections.open.fetch_add(if open { 1 } else { -1 }, Ordering::Relaxed);
        }
    }

    /// Counts as busy until the returned mark is dropped.
    pub fn work(&self) -> Busy {
        self.connections.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.connections))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.saw(0, false);
    }
}

/// See [`Link::work`].
#[derive(Debug)]
pub struct Busy(Arc<Connections>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_connection_of_a_consumer_is_no_reconnect() {
        let connections = Arc::new(Connections::default());
        let mut one = Link::new(&connections, 0);
        one.saw(1, true);
        Link::new(&connections, 1).saw(1, true);
        assert_eq!((connections.open(), connections.reconnects.get()), (1, 0), "the second one is gone");
        one.saw(0, false);
        one.saw(2, true);
        assert_eq!((connections.open(), connections.reconnects.get()), (1, 2));
        drop(one);
        assert_eq!(connections.open(), 0);
        Link::new(&connections, 1).saw(1, true);
        assert_eq!(connections.reconnects.get(), 3, "it is known from its life before");
    }

    #[test]
    fn busy_ends_with_the_work() {
        let connections = Arc::new(Connections::default());
        let link = Link::new(&connections, 0);
        let busy = link.work();
        assert_eq!(connections.busy(), 1);
        drop(busy);
        assert_eq!(connections.busy(), 0);
    }
}
