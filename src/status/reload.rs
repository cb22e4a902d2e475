//! Which config the worker runs with, and whether a newer one was refused.

/// How loading the config went, at the start and at each reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// When the config that it runs with was read.
    pub succeeded: jiff::Timestamp,
    /// Why the last one was refused, while none has been taken since. Safe to show: it holds no secrets.
    pub refused: Option<String>,
}

impl Default for Reload {
    /// Whoever runs has read a config.
    fn default() -> Self {
        Reload { succeeded: jiff::Timestamp::now(), refused: None }
    }
}

impl Reload {
    /// One more was read: taken, or refused for that reason, and then the one before goes on.
    pub(super) fn happened(&mut self, taken: Result<(), String>) {
        match taken {
            Ok(()) => *self = Reload::default(),
            Err(why) => self.refused = Some(why),
        }
    }
}
