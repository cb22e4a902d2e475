//! A dead-letter queue in memory that can refuse, be slow, and lose its confirms.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use crate::error::{ErrorClass, Failure};
use crate::pipeline::{LetterBox, Rejection};

#[derive(Clone, Default)]
pub(super) struct Dead(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub letters: Vec<Letter>,
    /// Every letter is refused.
    pub away: bool,
    /// So many letters are refused.
    pub refuse: u32,
    /// So many letters are taken without an answer that says so.
    pub lost_confirms: u32,
    /// How long a publication takes.
    pub slow: Duration,
    pub publications: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub id: String,
    pub body: Bytes,
    pub class: ErrorClass,
    pub code: String,
    pub attempts: u32,
    /// The answer said so.
    pub confirmed: bool,
}

impl Dead {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn confirmed(&self, id: &str, body: &Bytes) -> bool {
        self.state().letters.iter().any(|letter| letter.confirmed && letter.id == id && letter.body == *body)
    }

    pub(super) fn len(&self) -> usize {
        self.state().letters.len()
    }

    /// IDs with their codes, in the order of publication.
    pub(super) fn codes(&self) -> Vec<(String, String)> {
        self.state().letters.iter().map(|letter| (letter.id.clone(), letter.code.clone())).collect()
    }
}

impl State {
    fn take(&mut self, rejection: &Rejection) -> Result<(), Failure> {
        let refusal = Failure::new(ErrorClass::DeadLetterFailed, "312", "returned as unroutable");
        if self.away || self.refuse > 0 {
            self.refuse = self.refuse.saturating_sub(1);
            return Err(refusal);
        }
        let confirmed = self.lost_confirms == 0;
        self.letters.push(Letter {
            id: rejection.envelope.properties.message_id.clone().unwrap_or_default(),
            body: rejection.envelope.body.clone(),
            class: rejection.failure.class,
            code: rejection.failure.code.to_string(),
            attempts: rejection.attempts,
            confirmed,
        });
        self.lost_confirms = self.lost_confirms.saturating_sub(1);
        if confirmed { Ok(()) } else { Err(refusal) }
    }
}

impl LetterBox for Dead {
    async fn publish(&mut self, rejections: &[Rejection]) -> Vec<Result<(), Failure>> {
        let slow = self.state().slow;
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        let mut state = self.state();
        state.publications += 1;
        rejections.iter().map(|rejection| state.take(rejection)).collect()
    }
}
