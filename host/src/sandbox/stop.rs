//! Ending an attempt from outside.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Asks one attempt to end. Clones ask the same attempt. Asking before the attempt starts works too, and asking
/// twice is the same as once.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requested: AtomicBool,
    wish: Mutex<Wish>,
    changed: Notify,
}

/// What was asked for so far.
#[derive(Debug, Clone, Default)]
pub(super) enum Wish {
    #[default]
    GoOn,
    /// The guest may end by itself until then.
    Cancel(Instant),
    Interrupt(String),
}

impl Stop {
    /// Nothing asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The task was cancelled: the guest can read that, and what it returns within `grace` still counts. After
    /// that, or if it has not started, the attempt ends as `Outcome::Cancelled`. The first cancel's grace holds.
    pub fn cancel(&self, grace: Duration) {
        let until = after(Instant::now(), grace);
        self.change(|wish| match wish {
            Wish::GoOn => Some(Wish::Cancel(until)),
            Wish::Cancel(_) | Wish::Interrupt(_) => None,
        });
    }

    /// Ends the attempt at once, in a host call too, as `Outcome::Interrupted` with this reason. Wins over a
    /// cancel whose grace still runs; the first reason holds.
    pub fn interrupt(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.change(|wish| match wish {
            Wish::GoOn | Wish::Cancel(_) => Some(Wish::Interrupt(reason)),
            Wish::Interrupt(_) => None,
        });
    }

    /// Whether the guest is to end by itself. Of an interrupt it learns nothing: its task is run again, and what it had
    /// so far must not pass for a result.
    pub(super) fn is_cancelled(&self) -> bool {
        matches!(self.wish(), Wish::Cancel(_))
    }

    pub(super) fn wish(&self) -> Wish {
        if !self.0.requested.load(Ordering::Acquire) {
            return Wish::GoOn;
        }
        self.0.wish.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the next change. One waiter at a time; a change between two waits is kept. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Ready once an interrupt was asked for. Wakes nobody by itself: [`Self::changed`] does.
    pub(super) fn interrupted(&self) -> impl Future<Output = ()> {
        poll_fn(|_| match self.wish() {
            Wish::Interrupt(_) => Poll::Ready(()),
            Wish::GoOn | Wish::Cancel(_) => Poll::Pending,
        })
    }

    fn change(&self, next: impl FnOnce(&Wish) -> Option<Wish>) {
        let mut wish = self.0.wish.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = next(&wish) {
            *wish = next;
            self.0.requested.store(true, Ordering::Release);
            drop(wish);
            self.0.changed.notify_one();
        }
    }
}

/// An instant so much later, or as good as never where the clock's range ends.
pub(super) fn after(start: Instant, pause: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    start.checked_add(pause.min(NEVER)).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wish_of_each_kind_holds_and_an_interrupt_wins() {
        let stop = Stop::new();
        assert!(matches!(stop.wish(), Wish::GoOn));
        stop.cancel(Duration::from_secs(5));
        let Wish::Cancel(first) = stop.wish() else { panic!("{stop:?}") };
        stop.cancel(Duration::MAX);
        assert!(matches!(stop.wish(), Wish::Cancel(until) if until == first));
        stop.interrupt("shutdown");
        stop.interrupt("again");
        stop.cancel(Duration::ZERO);
        assert!(matches!(stop.wish(), Wish::Interrupt(reason) if reason == "shutdown"));
    }
}
