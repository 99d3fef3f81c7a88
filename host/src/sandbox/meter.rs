//! CPU time of one attempt, as the system counts it.
//!
//! Counting epoch ticks is no meter: a guest that slept 60 times collected 300 ms of them for 2 ms of work.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::turns::{SHORT, Turn, Turns};

/// The CPU time of one future. Written only by the thread that polls it, so relaxed order is enough: what hands
/// the future to another thread orders the rest.
pub(super) struct Meter {
    used_ns: AtomicU64,
    poll_began_ns: AtomicU64,
    turn: Turn,
}

/// The attempt's CPU budget is used up.
#[derive(Debug, thiserror::Error)]
#[error("the CPU budget is used up")]
pub(super) struct CpuExceeded;

impl Meter {
    pub(super) fn new(turns: &Turns) -> Self {
        Self { used_ns: AtomicU64::new(0), poll_began_ns: AtomicU64::new(0), turn: Turn::of(turns) }
    }

    /// Lets others go first; whoever computes for long, until it is its turn. Asked from within a poll.
    pub(super) fn rest(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let (meter, long) = (Arc::clone(self), self.used_within() > SHORT);
        async move {
            match long {
                true => meter.turn.pass().await,
                false => tokio::task::yield_now().await,
            }
        }
    }

    /// What was used up to the last poll's end.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Relaxed))
    }

    /// What is used so far, asked from within a poll.
    pub(super) fn used_within(&self) -> Duration {
        let running = thread_cpu_ns().saturating_sub(self.poll_began_ns.load(Relaxed));
        Duration::from_nanos(self.used_ns.load(Relaxed).saturating_add(running))
    }

    /// Runs a future and adds what its polls use. As cancel-safe as the future.
    pub(super) async fn measure<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let began = thread_cpu_ns();
            self.poll_began_ns.store(began, Relaxed);
            let polled = future.as_mut().poll(cx);
            self.used_ns.fetch_add(thread_cpu_ns().saturating_sub(began), Relaxed);
            self.turn.polled();
            polled
        })
        .await
    }
}

fn thread_cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(now.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(now.tv_nsec))
}
