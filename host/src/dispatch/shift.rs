//! One session of a host: from joining to the end of its row.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::sandbox::Sandbox;
use crate::store::{HostRow, PgPool, Role, Settle, StoreError};
use crate::task::{Session, TaskId};

use super::attempt::{ProgressRow, Running};
use super::clock::{DatabaseClock, Lease, since_boot_us};
use super::offers::Served;
use super::{Shared, claims, offers, pulse, settles};

/// Why a shift ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The host was asked to stop, and holds nothing any more.
    Drained {
        /// Attempts that had to be interrupted.
        interrupted: usize,
    },
    /// The session was declared dead, or has to be taken for dead.
    Lost,
}

/// What the tasks of a shift share.
pub(super) struct Shift {
    shared: Arc<Shared>,
    session: Session,
    pool: PgPool,
    guests_pool: PgPool,
    lease: Lease,
    clock: DatabaseClock,
    served: ArcSwap<Served>,
    slots: Arc<Semaphore>,
    running: Mutex<HashMap<TaskId, Running>>,
    /// A running attempt was settled.
    settled: Notify,
    finished: mpsc::UnboundedSender<Settle>,
    to_settle: Mutex<Option<mpsc::UnboundedReceiver<Settle>>>,
    /// Lanes to look into, for the claimer.
    pub(super) hints: claims::Hints,
    /// The next poll is to look at all positions.
    pub(super) look_everywhere: AtomicBool,
    /// The next poll is wanted now.
    pub(super) poll_now: Notify,
    /// The session is over; whoever still works for it stops.
    pub(super) over: CancellationToken,
}

/// Connections for what is not the hot loop: looking up lanes.
const POOL_MAX: u32 = 2;

/// Connections for what guests ask for: they wait for each other, and for nothing of the host's own.
const GUESTS_POOL_MAX: u32 = 4;

impl Shift {
    /// Joins under a new session and publishes what the directory holds.
    pub(super) async fn join(shared: Arc<Shared>) -> Result<Arc<Self>, StoreError> {
        let config = &shared.config;
        let session = Session(fastrand::i64(1..i64::MAX));
        let mut conn = crate::store::conn(&shared.connect, Role::Hot).await?;
        let row = HostRow {
            session,
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
            lease_ms: i32::try_from(config.lease.as_millis()).unwrap_or(i32::MAX),
            slots: i32::try_from(config.slots).unwrap_or(i32::MAX),
            hostname: hostname(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            queues: config.queues.clone(),
        };
        let sent_us = since_boot_us();
        let now_us = crate::store::join(&mut conn, &row).await?;
        let (finished, to_settle) = mpsc::unbounded_channel();
        let shift = Arc::new(Self {
            session,
            pool: crate::store::pool(&shared.connect, POOL_MAX).await?,
            guests_pool: crate::store::idle_pool(&shared.connect, GUESTS_POOL_MAX),
            lease: Lease::begin(config.lease, sent_us),
            clock: DatabaseClock::new(now_us),
            served: ArcSwap::default(),
            slots: Arc::new(Semaphore::new(config.slots)),
            running: Mutex::default(),
            settled: Notify::new(),
            finished,
            to_settle: Mutex::new(Some(to_settle)),
            hints: claims::Hints::default(),
            look_everywhere: AtomicBool::new(true),
            poll_now: Notify::new(),
            over: CancellationToken::new(),
            shared,
        });
        offers::publish(&shift, &mut conn).await?;
        offers::find_lanes(&shift, 0).await?;
        Ok(shift)
    }

    /// Works until the host is drained or the session is lost.
    pub(super) async fn work(self: &Arc<Self>) -> Ended {
        let to_settle = self.to_settle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(to_settle) = to_settle else { return Ended::Lost };
        let claiming = tokio::spawn(claims::claim_until_drained(self.clone())).map(drop).shared();
        let settling = tokio::spawn(settles::settle_until_over(self.clone(), to_settle));
        let pulse = tokio::spawn(pulse::beat_until_over(self.clone()));
        let polls = tokio::spawn(pulse::poll_until_over(self.clone()));
        let wakes = tokio::spawn(pulse::listen_until_over(self.clone()));

        let drained = async {
            self.shared.draining.cancelled().await;
            // What a claim under way brings runs like the rest.
            claiming.clone().await;
            self.drained().await
        };
        let ended = tokio::select! {
            () = self.over.cancelled() => Ended::Lost,
            interrupted = drained => Ended::Drained { interrupted },
        };
        if ended == Ended::Lost {
            self.interrupt_all("the host lost its lease");
            claiming.await;
        }
        if let Ended::Drained { .. } = ended {
            self.idle().await;
        }
        self.over.cancel();
        // After the last beat, which would take the end of the row for a death.
        let _ended = pulse.await;
        if let Ended::Drained { .. } = ended
            && let Err(error) = self.leave().await
        {
            tracing::warn!(%error, "could not sign off; other hosts will notice");
        }
        for task in [settling, polls, wakes] {
            let _ended = task.await;
        }
        self.guests_pool.close().await;
        self.pool.close().await;
        ended
    }

    /// Waits until nothing runs any more. Returns how many attempts had to be interrupted.
    async fn drained(&self) -> usize {
        let watch = async {
            loop {
                if self.lock().is_empty() {
                    return 0;
                }
                self.settled.notified().await;
            }
        };
        tokio::select! {
            none = watch => none,
            () = self.shared.hurry.cancelled() => self.interrupt_all("the host is shutting down"),
        }
    }

    /// Waits until everything that runs has been settled.
    async fn idle(&self) {
        while !self.lock().is_empty() {
            tokio::select! {
                () = self.settled.notified() => {}
                () = self.over.cancelled() => return,
            }
        }
    }

    async fn leave(&self) -> Result<(), StoreError> {
        let mut conn = crate::store::conn(&self.shared.connect, Role::Hot).await?;
        crate::store::leave(&mut conn, self.session).await
    }

    /// Interrupts every attempt; returns how many were running.
    pub(super) fn interrupt_all(&self, reason: &str) -> usize {
        let running = self.lock();
        for attempt in running.values() {
            attempt.stop.interrupt(reason);
        }
        running.len()
    }

    /// Enters an attempt among the running; `false` if its task is among them already.
    pub(super) fn begin(&self, id: TaskId, attempt: Running) -> bool {
        let mut running = self.lock();
        if running.contains_key(&id) {
            return false;
        }
        running.insert(id, attempt);
        self.shared.running.store(running.len(), Ordering::Relaxed);
        true
    }

    /// Hands a verdict over to be written.
    pub(super) fn finish(&self, settle: Settle) {
        let _over = self.finished.send(settle);
    }

    /// A verdict was written, or can never be: the attempt is no longer this host's.
    pub(super) fn end(&self, id: TaskId, claim: i64) {
        let mut running = self.lock();
        if running.get(&id).is_some_and(|attempt| attempt.claim == claim) {
            running.remove(&id);
        }
        self.shared.running.store(running.len(), Ordering::Relaxed);
        drop(running);
        self.settled.notify_one();
    }

    /// Asks the attempts of these tasks to end, as cancelled.
    pub(super) fn cancel(&self, tasks: &[TaskId]) {
        let running = self.lock();
        for attempt in tasks.iter().filter_map(|id| running.get(id)) {
            attempt.stop.cancel(self.shared.config.cancel_grace);
        }
    }

    /// What running attempts reported since the last call.
    pub(super) fn progress(&self) -> Vec<ProgressRow> {
        let running = self.lock();
        let reported = running.iter().filter_map(|(id, attempt)| {
            let (fraction, note) = attempt.calls.as_ref()?.reported()?;
            Some((*id, attempt.claim, fraction, note))
        });
        reported.collect()
    }

    /// Attempts that run or wait to be settled.
    pub(super) fn busy(&self) -> usize {
        self.lock().len()
    }

    /// Changes what is served; tasks may have waited for it.
    pub(super) fn serve(&self, served: Served) {
        self.served.store(Arc::new(served));
        self.look_around();
    }

    /// Begins every lane anew, and asks for a poll that looks at everything, now.
    pub(super) fn look_around(&self) {
        self.hints.forget_marks();
        self.look_everywhere.store(true, Ordering::Release);
        self.poll_now.notify_one();
    }

    pub(super) fn served(&self) -> Arc<Served> {
        self.served.load_full()
    }

    pub(super) fn session(&self) -> Session {
        self.session
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn sandbox(&self) -> &Arc<Sandbox> {
        &self.shared.sandbox
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// For statements of guests, each borrowing a connection for itself alone.
    pub(super) fn guests_pool(&self) -> &PgPool {
        &self.guests_pool
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(super) fn clock(&self) -> &DatabaseClock {
        &self.clock
    }

    pub(super) fn slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    pub(super) fn settled_some(&self) -> &Notify {
        &self.settled
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
