//! Turns of guests that compute for long.
//!
//! Whoever has a turn stands in the runtime's queue, and each that spins there takes a tick before the next one comes.
//! So of all that have computed for longer than [`SHORT`], as many as there are threads have a turn at once. The rest
//! waits outside the queue, where a stop or a deadline finds it at once, and a short task has none of them before it.
//! Who stands in the queue has its turn already: if it were taken there only, all would stand in the queue for it.
//!
//! The runtime looks for due timers between turns. So that nobody's turn delays the end of a grace or of a deadline, these
//! are told from outside, by a thread that does nothing else.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
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
    /// It lasts beyond this poll.
    goes_on: AtomicBool,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Turn {
    pub(super) fn of(turns: &Turns) -> Self {
        let no = || AtomicBool::new(false);
        Self { turns: turns.clone(), has_one: no(), goes_on: no(), permit: Mutex::new(None) }
    }

    /// Gives its turn to whoever has waited longest, and waits for the next one. Where nobody waits, it keeps the turn
    /// and lets others of the runtime go first. Asked from within a poll. Cancel-safe.
    pub(super) async fn pass(&self) {
        self.end();
        let mut next = pin!(Arc::clone(&self.turns.free).acquire_owned());
        let at_once = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
        let waits = at_once.is_pending();
        let permit = match at_once {
            Poll::Ready(permit) => permit,
            Poll::Pending => next.await,
        };
        // The semaphore is never closed.
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit.ok();
        self.has_one.store(true, Relaxed);
        if !waits {
            self.goes_on.store(true, Relaxed);
            tokio::task::yield_now().await;
        }
    }

    /// Called after each poll of the guest, by the thread that polls it: whoever waits for anything else has no turn.
    pub(super) fn polled(&self) {
        if !self.goes_on.swap(false, Relaxed) {
            self.end();
        }
    }

    fn end(&self) {
        if self.has_one.swap(false, Relaxed) {
            self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::future::poll_immediate;

    use super::*;

    /// One poll of the guest: whether it goes on.
    async fn poll(turn: &Turn, rest: &mut Pin<Box<impl Future<Output = ()>>>) -> bool {
        let goes_on = poll_immediate(rest).await.is_some();
        if !goes_on {
            turn.polled();
        }
        goes_on
    }

    #[tokio::test]
    async fn as_many_have_a_turn_as_there_are_threads_and_the_longest_waiting_is_next() {
        let turns = Turns::new(2, Handle::current());
        let [first, second, third, fourth] = [0; 4].map(|_| Turn::of(&turns));
        let (mut a, mut b) = (Box::pin(first.pass()), Box::pin(second.pass()));
        assert!(
            !poll(&first, &mut a).await && !poll(&second, &mut b).await,
            "others of the runtime come first"
        );
        let (mut c, mut d) = (Box::pin(third.pass()), Box::pin(fourth.pass()));
        for _ in 0..2 {
            assert!(
                !poll(&third, &mut c).await && !poll(&fourth, &mut d).await,
                "however often they are polled"
            );
        }
        assert!(poll(&first, &mut a).await && poll(&second, &mut b).await);
        let mut a = Box::pin(first.pass());
        assert!(!poll(&first, &mut a).await, "others wait");
        assert!(!poll(&fourth, &mut d).await, "it came later, and one turn is given once");
        assert!(poll(&third, &mut c).await);
        drop(d);
        second.polled();
        assert!(
            poll(&first, &mut a).await,
            "who waits no longer keeps nobody, nor does who waits for something else"
        );
    }
}
