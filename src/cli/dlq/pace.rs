//! How fast a replay goes.

use std::time::Duration;

use tokio::time::Instant;

use crate::shutdown::{Phase, Shutdown, reached};

/// Letters are out of their queue for so long at most while they wait for their turn: well below any
/// consumer timeout.
const HELD: Duration = Duration::from_secs(120);
/// Messages a second: one in ten minutes. Brokers take back what isn't acked for half an hour.
const SLOWEST: f64 = 6.0 / 3600.0;
/// What is sent together where a rate is to be kept: a tenth of a second's worth.
const PARTS: f64 = 10.0;

/// Messages a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate(f64);

impl Rate {
    /// `50/s`, `10/m`, `30/h`; a bare number is a second's.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err("expected a rate such as 50/s, 10/m or 30/h".to_owned()),
        };
        match number.trim().parse::<u32>().map(|count| f64::from(count) / seconds) {
            Ok(rate) if rate >= SLOWEST => Ok(Rate(rate)),
            Ok(rate) if rate > 0.0 => {
                Err("the slowest rate is 6/h: a letter is out of its queue while it waits".to_owned())
            }
            _ => Err("expected a rate of at least one, such as 50/s, 10/m or 30/h".to_owned()),
        }
    }
}

/// Keeps a rate.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<Rate>,
    next: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Pace { rate, next: None }
    }

    /// How many letters may be taken out of their queue at a time.
    pub(super) fn round(&self, most: usize) -> usize {
        self.rate.map_or(most, |rate| ((rate.0 * HELD.as_secs_f64()) as usize).clamp(1, most))
    }

    /// How many are to be sent together.
    pub(super) fn part(&self, most: usize) -> usize {
        self.rate.map_or(most, |rate| ((rate.0 / PARTS) as usize).clamp(1, most))
    }

    /// Waits until `count` may be sent; `false` when a signal came first.
    pub(super) async fn wait(&mut self, count: usize, mut shutdown: Shutdown) -> bool {
        let Some(rate) = self.rate else { return *shutdown.borrow() == Phase::Run };
        let now = Instant::now();
        let at = self.next.map_or(now, |next| next.max(now));
        self.next = Some(at + Duration::from_secs_f64(count as f64 / rate.0));
        tokio::select! {
            biased;
            () = reached(&mut shutdown, Phase::Drain) => false,
            () = tokio::time::sleep_until(at) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, rate) in [("50/s", 50.0), ("50", 50.0), ("60/m", 1.0), ("36/h", 0.01), ("6/h", SLOWEST)] {
            assert_eq!(Rate::parse(text), Ok(Rate(rate)), "{text}");
        }
        for text in ["", "0/s", "-1", "50/fortnight", "1.5/s", "/s", "5/h"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept() {
        let (sender, shutdown) = tokio::sync::watch::channel(Phase::Run);
        let mut pace = Pace::new(Some(Rate(50.0)));
        assert_eq!((pace.round(500), pace.part(500)), (500, 5));
        let begun = Instant::now();
        for _ in 0..101 {
            assert!(pace.wait(5, shutdown.clone()).await);
        }
        let (took, expected) = (begun.elapsed(), Duration::from_secs(10));
        assert!(took >= expected && took < expected + Duration::from_secs(1), "{took:?}");
        sender.send_replace(Phase::Drain);
        assert!(!pace.wait(5, shutdown).await, "a signal ends the wait");
        let slow = Pace::new(Some(Rate(0.001)));
        assert_eq!((slow.round(500), slow.part(500)), (1, 1));
    }
}
