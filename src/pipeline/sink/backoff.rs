//! How long to wait before the next attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::config::RetryConfig;

/// Longest wait that a backend may ask for.
pub const LONGEST_HINT: Duration = Duration::from_secs(3600);

/// The waits of one request.
pub struct Backoff<'a> {
    config: &'a RetryConfig,
    started: Instant,
    interval: Duration,
}

impl<'a> Backoff<'a> {
    /// Starts with the first attempt.
    pub fn new(config: &'a RetryConfig) -> Self {
        Self {
            config,
            started: Instant::now(),
            interval: config.initial_interval.0,
        }
    }

    /// The next wait; none when it is time to give up. The backend's own hint can make it longer, never shorter.
    pub fn next(&mut self, hint: Option<Duration>) -> Option<Duration> {
        if !self.config.enabled {
            return None;
        }
        let wait = self.jittered().max(hint.unwrap_or_default().min(LONGEST_HINT));
        let longer = self.interval.as_secs_f64() * self.config.multiplier.max(1.0);
        let most = self.config.max_interval.0.max(self.config.initial_interval.0);
        self.interval = Duration::try_from_secs_f64(longer).unwrap_or(most).min(most);
        let limit = self.config.max_elapsed_time.0;
        (limit.is_zero() || self.started.elapsed() + wait <= limit).then_some(wait)
    }

    fn jittered(&self) -> Duration {
        let factor = self.config.randomization_factor.clamp(0.0, 1.0);
        // a fresh hasher's keys are all the randomness that jitter needs
        let unit = (RandomState::new().hash_one(0u8) >> 11) as f64 / (1u64 << 53) as f64;
        let scale = 1.0 + factor * (2.0 * unit - 1.0);
        Duration::try_from_secs_f64(self.interval.as_secs_f64() * scale).unwrap_or(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::units::Span;

    #[test]
    fn a_backend_may_ask_for_a_longer_wait_but_not_for_a_shorter_one() {
        let config = RetryConfig {
            randomization_factor: 0.0,
            ..RetryConfig::default()
        };
        let mut backoff = Backoff::new(&config);
        assert_eq!(backoff.next(Some(Duration::ZERO)), Some(Duration::from_secs(5)));
        assert_eq!(backoff.next(Some(Duration::from_secs(9))), Some(Duration::from_secs(9)));
        assert_eq!(backoff.next(Some(Duration::MAX)), None, "longer than anybody waits");
    }

    #[test]
    fn waits_do_not_shrink_below_the_first() {
        let config = RetryConfig {
            randomization_factor: 0.0,
            max_interval: Span::secs(0),
            ..RetryConfig::default()
        };
        let mut backoff = Backoff::new(&config);
        let waits = [backoff.next(None), backoff.next(None)];
        assert_eq!(waits, [Some(Duration::from_secs(5)); 2]);
    }
}
