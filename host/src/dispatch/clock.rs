//! The two clocks of a host: one that counts suspend, for its lease, and the database's as well as it is
//! known from here.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::time::{ClockId, clock_gettime};

/// Microseconds since boot, time spent suspended included: a host that slept knows that it did.
pub(super) fn since_boot_us() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// Between two looks at a lease, for the shortest of them.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// How long this host may trust its claims.
#[derive(Debug)]
pub(super) struct Lease {
    /// When the last confirmed beat was *sent*.
    confirmed_us: AtomicI64,
    trust_us: i64,
}

impl Lease {
    /// Begins at `sent_us`, when the joining statement was sent. A fifth of the lease is kept back: what is
    /// started within the rest has ended before a judge can call it lost.
    pub(super) fn begin(length: Duration, sent_us: i64) -> Self {
        let length_us = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        Self { confirmed_us: AtomicI64::new(sent_us), trust_us: length_us - length_us / 5 }
    }

    /// A beat that was sent at `sent_us` arrived.
    pub(super) fn confirm(&self, sent_us: i64) {
        self.confirmed_us.fetch_max(sent_us, Ordering::AcqRel);
    }

    /// Whether claims may still be acted on.
    pub(super) fn holds(&self) -> bool {
        self.left() > Duration::ZERO
    }

    /// Returns when it has run out. Cancel-safe.
    pub(super) async fn over(&self) {
        while self.holds() {
            // A timer does not count suspend: it is asked again, more often than it could be missed for long.
            tokio::time::sleep(self.left().min(self.look())).await;
        }
    }

    /// Returns when a beat is confirmed again. Cancel-safe.
    pub(super) async fn renewed(&self) {
        while !self.holds() {
            tokio::time::sleep(self.look()).await;
        }
    }

    fn look(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.trust_us / 20).unwrap_or(0)).max(LOOK_MIN)
    }

    /// How long they may be.
    pub(super) fn left(&self) -> Duration {
        let ends = self.confirmed_us.load(Ordering::Acquire) + self.trust_us;
        Duration::from_micros(u64::try_from(ends - since_boot_us()).unwrap_or(0))
    }
}

/// The database's clock, from its last answer.
#[derive(Debug)]
pub(super) struct DatabaseClock(Mutex<Told>);

/// Both of one answer: with the age of another one it would be taken for younger than it is.
#[derive(Debug, Clone, Copy)]
struct Told {
    ahead_us: i64,
    /// How old that answer may have been when it arrived.
    lag_us: i64,
}

impl DatabaseClock {
    pub(super) fn new(now_us: i64, asked_us: i64) -> Self {
        let clock = Self(Mutex::new(Told { ahead_us: 0, lag_us: 0 }));
        clock.set(now_us, asked_us);
        clock
    }

    /// The database said `now_us` just now; it was asked at `asked_us` since boot.
    pub(super) fn set(&self, now_us: i64, asked_us: i64) {
        let arrived_us = since_boot_us();
        let told = Told { ahead_us: now_us - arrived_us, lag_us: arrived_us - asked_us };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    /// No earlier than it is there, however slow its answers are: for what must not begin too late.
    pub(super) fn latest(&self) -> DateTime<Utc> {
        let told = self.told();
        let latest_us = since_boot_us() + told.ahead_us + told.lag_us;
        DateTime::from_timestamp_micros(latest_us).unwrap_or_default()
    }

    /// Microseconds since 1970.
    pub(super) fn now_us(&self) -> i64 {
        since_boot_us() + self.told().ahead_us
    }

    fn told(&self) -> Told {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.now_us()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_runs_from_the_sending_of_the_beat_and_ends_early() {
        let now = since_boot_us();
        let lease = Lease::begin(Duration::from_secs(10), now);
        assert!(lease.left() <= Duration::from_secs(8) && lease.left() > Duration::from_secs(7));
        let old = Lease::begin(Duration::from_secs(10), now - 8_000_001);
        assert!(!old.holds(), "the last fifth is not trusted");
        old.confirm(now);
        assert!(old.holds());
        old.confirm(now - 9_000_000);
        assert!(old.holds(), "a late answer to an old beat takes nothing back");
    }

    #[tokio::test]
    async fn the_end_of_a_lease_needs_no_beat_to_be_seen() {
        let lease = Lease::begin(Duration::from_millis(100), since_boot_us());
        lease.over().await;
        assert!(!lease.holds());
        let beat = async { lease.confirm(since_boot_us() + 1_000_000_000) };
        tokio::join!(lease.renewed(), beat);
        assert!(lease.holds());
    }
}
