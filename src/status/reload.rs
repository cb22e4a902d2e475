//! Which config the worker runs with, and whether a newer one was refused.

/// How loading the config went, at the start and at each reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// When the config that it runs with was read.
    pub succeeded: jiff::Timestamp,
    /// Why the last one was refused, while none has been taken since. Safe to show: it holds no secrets.
    pub refused: Option<String>,
    /// Keys that this config has changed and that only a restart can follow.
    pub needs_restart: Vec<&'static str>,
}

impl Default for Reload {
    /// Whoever runs has read a config.
    fn default() -> Self {
        Reload { succeeded: jiff::Timestamp::now(), refused: None, needs_restart: Vec::new() }
    }
}

impl Reload {
    /// One more was read: taken, or refused for that reason, and then the one before goes on.
    pub(super) fn happened(&mut self, taken: Result<(), String>) {
        match taken {
            Ok(()) => *self = Reload { needs_restart: std::mem::take(&mut self.needs_restart), ..Reload::default() },
            Err(why) => self.refused = Some(why),
        }
    }
}
