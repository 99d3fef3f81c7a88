//! When the next attempt of a failed task is due.

use std::time::Duration;

use super::code::ErrorCode;

/// Retries are opt-in: the default policy has none.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How many failed attempts may be followed by another one: 0 to 20.
    pub max_retries: u32,
    /// The pause before each retry.
    pub backoff: Backoff,
    /// Whether the pause is spread, by 0 to +25 %, so that tasks that failed together do not return together.
    pub jitter: bool,
    /// The codes worth a retry; `None` is every code but the final ones.
    pub on: Option<Vec<String>>,
}

/// The pause before a retry.
#[derive(Debug, Clone, PartialEq)]
pub enum Backoff {
    /// The n-th retry waits the n-th pause; the last one stands for all that follow.
    Fixed(Vec<Duration>),
    /// `base`, then each time `factor` as long, never longer than `max`.
    Exponential {
        /// The first pause.
        base: Duration,
        /// How much longer each pause is than the one before; at least 1.
        factor: f64,
        /// The longest pause, before jitter.
        max: Duration,
    },
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 0, backoff: Backoff::default(), jitter: true, on: None }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::Exponential { base: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// Whether the policy wants another attempt after `retries` retries and a failure with `code`.
    #[must_use]
    pub fn wants(&self, code: &ErrorCode, retries: u32) -> bool {
        let listed = match &self.on {
            Some(codes) => codes.iter().any(|c| c == code.as_str()),
            None => !matches!(code, ErrorCode::Contract(_)),
        };
        retries < self.max_retries && listed
    }

    /// The pause before retry number `retry` (from 1). `chance` in `0.0..1.0` picks the jitter.
    #[must_use]
    pub fn pause(&self, retry: u32, chance: f64) -> Duration {
        let plain = match &self.backoff {
            Backoff::Fixed(pauses) => {
                let last = pauses.last().copied().unwrap_or_default();
                pauses.get(retry.saturating_sub(1) as usize).copied().unwrap_or(last)
            }
            Backoff::Exponential { base, factor, max } => {
                let power = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
                let seconds = base.as_secs_f64() * factor.powi(power);
                // An overflow is an infinity, which `min` turns into the cap.
                Duration::from_secs_f64(seconds.min(max.as_secs_f64()))
            }
        };
        if self.jitter { plain.mul_f64(1.0 + 0.25 * chance.clamp(0.0, 1.0)) } else { plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Contract, Sandbox};

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn pauses_follow_the_backoff() {
        let exponential = RetryPolicy {
            max_retries: 20,
            backoff: Backoff::Exponential { base: secs(1), factor: 2.0, max: secs(10) },
            jitter: false,
            on: None,
        };
        let pauses: Vec<u64> = (1..=6).map(|n| exponential.pause(n, 0.5).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        assert_eq!(exponential.pause(u32::MAX, 0.0), secs(10));

        let fixed = RetryPolicy {
            backoff: Backoff::Fixed(vec![secs(1), secs(7)]),
            jitter: false,
            ..RetryPolicy::default()
        };
        let pauses: Vec<u64> = (1..=3).map(|n| fixed.pause(n, 0.5).as_secs()).collect();
        assert_eq!(pauses, [1, 7, 7]);
    }

    #[test]
    fn jitter_adds_up_to_a_quarter_and_never_shortens() {
        let policy = RetryPolicy { backoff: Backoff::Fixed(vec![secs(100)]), ..RetryPolicy::default() };
        assert_eq!(policy.pause(1, 0.0), secs(100));
        assert_eq!(policy.pause(1, 1.0), secs(125));
    }

    #[test]
    fn retries_are_opt_in_and_bounded() {
        let code = ErrorCode::User("BUSY".to_owned());
        assert!(!RetryPolicy::default().wants(&code, 0));
        let twice = RetryPolicy { max_retries: 2, ..RetryPolicy::default() };
        assert_eq!([0, 1, 2].map(|n| twice.wants(&code, n)), [true, true, false]);
        assert!(!twice.wants(&Contract::ArgumentTypeMismatch.into(), 0), "the same call fails the same way");
        let listed = RetryPolicy { on: Some(vec!["TRAPPED".to_owned()]), ..twice };
        assert!(listed.wants(&Sandbox::Trapped.into(), 0));
        assert!(!listed.wants(&code, 0));
    }
}
