//! Pauses that somebody has ordered, as opposed to those that a cause makes.

use std::fmt;

use super::Reason;

/// Characters of a name, and of a reason, at most.
const NAME: usize = 100;
const REASON: usize = 300;

/// How far an order reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This process, until it ends.
    Worker,
    /// Every replica, restarts included.
    All,
}

impl Scope {
    /// The name in `/status` and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Worker => "worker",
            Scope::All => "all",
        }
    }
}

/// Who paused a pipeline, why and when. Shown in logs, `/status` and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How far it reaches.
    pub scope: Scope,
    /// As they call themselves.
    pub by: String,
    /// Empty where none was given.
    pub reason: String,
    /// When the order was given.
    pub since: jiff::Timestamp,
}

impl Pause {
    /// Names and reasons come from people: what a terminal would obey, and what is too long, is left out.
    pub fn new(scope: Scope, by: &str, reason: &str, since: jiff::Timestamp) -> Self {
        Pause { scope, by: plain(by, NAME), reason: plain(reason, REASON), since }
    }
}

fn plain(text: &str, most: usize) -> String {
    let printable = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    // Marks that turn the direction of writing make a line read as another one.
    let turning = |c: &char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    printable.filter(|c| !turning(c)).take(most).collect()
}

/// As the state's reason.
impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everywhere = if self.scope == Scope::All { " on every replica" } else { "" };
        let reason = if self.reason.is_empty() { "no reason given" } else { &self.reason };
        write!(f, "paused{everywhere} by {}: {reason}", self.by)
    }
}

impl From<&Pause> for Reason {
    fn from(pause: &Pause) -> Self {
        Reason { class: "ordered", code: pause.scope.name().into(), text: pause.to_string() }
    }
}

/// What is ordered of a pipeline now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Of this worker.
    pub worker: Option<Pause>,
    /// Of every replica.
    pub all: Option<Pause>,
}

impl Pauses {
    /// The one that reaches farthest.
    pub fn strongest(&self) -> Option<&Pause> {
        self.all.as_ref().or(self.worker.as_ref())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Pause> {
        self.worker.iter().chain(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_stays_a_short_plain_line() {
        let pause = Pause::new(
            Scope::Worker,
            " eve\n",
            &format!("\u{1b}[31m\u{202e}x{}", "y".repeat(500)),
            jiff::Timestamp::now(),
        );
        assert_eq!(pause.by, "eve");
        assert!(pause.reason.starts_with(" [31mxy") && pause.reason.chars().count() == REASON, "{}", pause.reason);
    }

    #[test]
    fn the_reason_says_who_and_how_far() {
        let pause = |scope, reason| Pause::new(scope, "ann", reason, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(pause(Scope::Worker, "").to_string(), "paused by ann: no reason given");
        let everywhere = pause(Scope::All, "maintenance");
        assert_eq!(everywhere.to_string(), "paused on every replica by ann: maintenance");
        let both = Pauses { worker: Some(pause(Scope::Worker, "")), all: Some(everywhere.clone()) };
        assert_eq!((both.strongest(), both.iter().count()), (Some(&everywhere), 2));
    }
}
