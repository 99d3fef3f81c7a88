//! Turns of guests that compute for long.
//!
//! Whoever has a turn stands in the runtime's queue, and each that spins there takes a tick before the next one comes.
//! So of all that have computed for longer than [`SHORT`], as many as there are threads have a turn at once. The rest
//! waits outside the queue, where a stop or a deadline finds it at once, and a short task has none of them before it.
//!
//! The runtime looks for due timers between turns, but those that spin hand them to each other: a timer of its own is late
//! by a turn of each. So the time of a grace and of a deadline is told from outside, by a thread that does nothing else.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Whoever has used less CPU time than this waits for nobody.
pub(super) const SHORT: Duration = Duration::from_millis(20);

/// The turns of all guests of a sandbox. Clones share them.
#[derive(Clone)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    timers: Handle,
}

impl Turns {
    /// So many at once, with the timers of this runtime.
    pub(super) fn new(threads: usize, timers: Handle) -> Self {
        Self { free: Arc::new(Semaphore::new(threads.max(1))), timers }
    }

    /// Until then, however many spin.
    pub(super) fn sleep_until(&self, until: Instant) -> Sleep {
        let _there = self.timers.enter();
        tokio::time::sleep_until(until)
    }
}

/// One guest's turn, if it has one.
pub(super) struct Turn {
    turns: Turns,
    has_one: AtomicBool,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Turn {
    pub(super) fn of(turns: &Turns) -> Self {
        Self { turns: turns.clone(), has_one: AtomicBool::new(false), permit: Mutex::new(None) }
    }

    /// Waits for a turn, first come, first served. Cancel-safe.
    pub(super) async fn take(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = Arc::clone(&self.turns.free).acquire_owned().await {
            *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
            self.has_one.store(true, Relaxed);
        }
    }

    /// Gives it to the next one. Called by the thread that polls the guest, after each poll.
    pub(super) fn end(&self) {
        if self.has_one.swap(false, Relaxed) {
            self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;

    use super::*;

    #[tokio::test]
    async fn as_many_have_a_turn_as_there_are_threads_and_the_longest_waiting_is_next() {
        let turns = Turns::new(2, Handle::current());
        let [first, second, third, fourth] = [0; 4].map(|_| Turn::of(&turns));
        assert!(
            poll_immediate(first.take()).await.is_some() && poll_immediate(second.take()).await.is_some()
        );
        let (mut waits, mut waits_too) = (Box::pin(third.take()), Box::pin(fourth.take()));
        assert!(poll_immediate(&mut waits).await.is_none() && poll_immediate(&mut waits_too).await.is_none());
        first.end();
        first.end();
        assert!(poll_immediate(&mut waits_too).await.is_none(), "it came later, and one turn is given once");
        assert!(poll_immediate(&mut waits).await.is_some());
        drop(waits_too);
        second.end();
        assert!(poll_immediate(first.take()).await.is_some(), "who waits no longer keeps nobody");
    }
}
