//! What has piled up: dead letters that wait, entries of the ledger. Looked at once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What was seen longer ago says nothing of now: three looks have failed.
const FRESH: Duration = Duration::from_secs(200);

/// Dead letters where a pipeline puts its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LettersWaiting {
    /// How many.
    pub count: u64,
    /// Age of the oldest, where that can be read; a queue doesn't tell.
    pub oldest: Option<Duration>,
}

/// The ledger's table, with all pipelines that share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSize {
    /// Entries; above 100,000 the server's own estimate.
    pub rows: Option<u64>,
    /// On disk, with indexes; where the server tells.
    pub bytes: Option<u64>,
}

/// The last looks.
#[derive(Debug)]
pub struct Stock(Mutex<Looks>);

#[derive(Debug)]
struct Looks {
    letters: Option<(Instant, LettersWaiting)>,
    /// When there were none, or when we began to look.
    letters_since: Instant,
    ledger: Option<(Instant, LedgerSize)>,
}

impl Stock {
    /// Nothing is known yet.
    pub fn new(now: Instant) -> Self {
        Stock(Mutex::new(Looks { letters: None, letters_since: now, ledger: None }))
    }

    /// Dead letters were looked at.
    pub fn saw_letters(&self, letters: LettersWaiting, now: Instant) {
        let mut looks = self.looks();
        if letters.count == 0 {
            looks.letters_since = now;
        }
        looks.letters = Some((now, letters));
    }

    /// The ledger was looked at.
    pub fn saw_ledger(&self, size: LedgerSize, now: Instant) {
        self.looks().ledger = Some((now, size));
    }

    /// Dead letters that wait; `None`: not known.
    pub fn letters(&self, now: Instant) -> Option<u64> {
        fresh(self.looks().letters, now).map(|letters| letters.count)
    }

    /// For how long the oldest has waited, 0 where there is none. Where its own age can't be read: for how
    /// long there have been some without a break, as far as this process has seen.
    pub fn oldest_letter(&self, now: Instant) -> Option<Duration> {
        let looks = self.looks();
        let letters = fresh(looks.letters, now)?;
        if letters.count == 0 {
            return Some(Duration::ZERO);
        }
        Some(letters.oldest.unwrap_or_else(|| now.saturating_duration_since(looks.letters_since)))
    }

    /// The ledger's size; `None`: not known.
    pub fn ledger(&self, now: Instant) -> Option<LedgerSize> {
        fresh(self.looks().ledger, now)
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, Looks> {
        // Each change is one value: a poisoned lock has nothing half-written behind it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh<T>(look: Option<(Instant, T)>, now: Instant) -> Option<T> {
    look.filter(|(at, _)| now.saturating_duration_since(*at) <= FRESH).map(|(_, seen)| seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, second: u64) -> Instant {
        start + Duration::from_secs(second)
    }

    fn some(count: u64) -> LettersWaiting {
        LettersWaiting { count, oldest: None }
    }

    #[test]
    fn letters_have_waited_since_there_were_none() {
        let start = Instant::now();
        let stock = Stock::new(start);
        assert_eq!((stock.letters(start), stock.oldest_letter(start)), (None, None));
        stock.saw_letters(some(3), at(start, 60));
        assert_eq!(stock.oldest_letter(at(start, 60)), Some(Duration::from_secs(60)), "since we began to look");
        stock.saw_letters(some(0), at(start, 120));
        assert_eq!(stock.oldest_letter(at(start, 130)), Some(Duration::ZERO));
        stock.saw_letters(some(1), at(start, 180));
        stock.saw_letters(some(9), at(start, 240));
        assert_eq!(stock.oldest_letter(at(start, 250)), Some(Duration::from_secs(130)));
        assert_eq!(stock.letters(at(start, 250)), Some(9));
    }

    #[test]
    fn an_age_that_was_read_is_told() {
        let start = Instant::now();
        let stock = Stock::new(start);
        let oldest = Some(Duration::from_secs(86_400));
        stock.saw_letters(LettersWaiting { count: 2, oldest }, start);
        assert_eq!(stock.oldest_letter(start), oldest);
    }

    #[test]
    fn old_looks_are_forgotten() {
        let start = Instant::now();
        let stock = Stock::new(start);
        stock.saw_letters(some(1), start);
        stock.saw_ledger(LedgerSize { rows: Some(5), bytes: None }, start);
        assert_eq!(stock.ledger(at(start, 200)).and_then(|size| size.rows), Some(5));
        assert_eq!((stock.letters(at(start, 201)), stock.ledger(at(start, 201))), (None, None));
    }
}
