//! One session of a host: from joining to the end of its row.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::sandbox::Sandbox;
use crate::store::{Cancel, HostRow, PgPool, Role, Settle, StoreError, within};
use crate::task::{Session, TaskId};

use super::attempt::{ProgressRow, Running};
use super::clock::{DatabaseClock, Lease, since_boot_us};
use super::offers::Served;
use super::{Shared, claims, offers, pulse, quarantine, settles, strays, upkeep};

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
    guests_pool: PgPool,
    lease: Arc<Lease>,
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
    /// How far its claims have come.
    pub(super) reach: strays::Reach,
    /// The next poll is to look at all positions.
    pub(super) look_everywhere: AtomicBool,
    /// Code that is to blame for lost hosts.
    pub(super) watch: quarantine::Watch,
    /// The next poll is wanted now.
    pub(super) poll_now: Notify,
    /// Tasks may have to be taken back from hosts that are gone.
    pub(super) recover_now: Notify,
    /// The session is over; whoever still works for it stops.
    pub(super) over: CancellationToken,
}

/// Connections for what guests ask for: they wait for each other, and for nothing of the host's own.
const GUESTS_POOL_MAX: u32 = 4;

impl Shift {
    /// Joins under a new session and publishes what the directory holds. `lost` is the session before it, which
    /// others took for dead.
    pub(super) async fn join(shared: Arc<Shared>, lost: Option<Session>) -> Result<Arc<Self>, StoreError> {
        let config = &shared.config;
        let session = Session(fastrand::i64(1..i64::MAX));
        let mut conn = crate::store::conn(&shared.connect, Role::Hot).await?;
        if let Some(lost) = lost {
            within(config.lease, crate::store::survived(&mut conn, lost)).await?;
            if config.quarantine {
                within(config.lease, quarantine::rejudge(&mut conn, config.lease)).await?;
            }
        }
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
        let now_us = within(config.lease, crate::store::join(&mut conn, &row)).await?;
        let (finished, to_settle) = mpsc::unbounded_channel();
        let shift = Arc::new(Self {
            session,
            guests_pool: crate::store::idle_pool(&shared.connect, GUESTS_POOL_MAX),
            lease: Arc::new(Lease::begin(config.lease, sent_us)),
            clock: DatabaseClock::new(now_us, sent_us),
            served: ArcSwap::default(),
            slots: Arc::new(Semaphore::new(config.slots)),
            running: Mutex::default(),
            settled: Notify::new(),
            finished,
            to_settle: Mutex::new(Some(to_settle)),
            hints: claims::Hints::default(),
            reach: strays::Reach::default(),
            watch: quarantine::Watch::default(),
            look_everywhere: AtomicBool::new(true),
            poll_now: Notify::new(),
            recover_now: Notify::new(),
            over: CancellationToken::new(),
            shared,
        });
        let poll = shift.asks(crate::store::poll(&mut conn, session, &[], 0)).await?;
        shift.watch.learn(&poll.quarantined, &poll.suspects);
        offers::publish(&shift, &mut conn).await?;
        offers::find_lanes(&shift, &mut conn, 0).await?;
        Ok(shift)
    }

    /// Works until the host is drained or the session is lost.
    pub(super) async fn work(self: &Arc<Self>) -> Ended {
        let to_settle = self.to_settle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(to_settle) = to_settle else { return Ended::Lost };
        let claiming = tokio::spawn(claims::claim_until_drained(self.clone())).map(drop).shared();
        let settling = tokio::spawn(settles::settle_until_over(self.clone(), to_settle));
        let pulse = tokio::spawn(pulse::beat_until_over(self.clone()));
        let fence = tokio::spawn(pulse::fence_until_over(self.clone()));
        let polls = tokio::spawn(pulse::poll_until_over(self.clone()));
        let strays = tokio::spawn(strays::compare_until_over(self.clone()));
        let wakes = tokio::spawn(pulse::listen_until_over(self.clone()));
        let recovery = tokio::spawn(upkeep::recover_until_over(self.clone()));
        let history = tokio::spawn(upkeep::keep_history_until_over(self.clone()));

        let drained = async {
            self.shared.draining.cancelled().await;
            let work = async {
                // What a claim under way brings runs like the rest.
                claiming.clone().await;
                self.drained().await
            };
            tokio::select! {
                interrupted = work => interrupted,
                () = self.cut_off() => {
                    tracing::error!("the database is away; what is left is left to other hosts");
                    self.over.cancel();
                    self.interrupt_all("the host is shutting down")
                }
            }
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
        for task in [settling, fence, polls, strays, wakes, recovery, history] {
            let _ended = task.await;
        }
        self.guests_pool.close().await;
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

    /// Waits until everything that runs has been settled, or the database was away for so long that others will
    /// have taken it over once it is back.
    async fn idle(&self) {
        let settled = async {
            while !self.lock().is_empty() {
                self.settled.notified().await;
            }
        };
        tokio::select! {
            () = settled => {}
            () = self.over.cancelled() => {}
            () = self.cut_off() => {
                let held = self.busy();
                tracing::error!(held, "what is left cannot be written; its tasks are left to other hosts");
            }
        }
    }

    /// Returns when no beat was confirmed for twice the lease.
    async fn cut_off(&self) {
        let lease = self.shared.config.lease;
        let mut held_at = Instant::now();
        while held_at.elapsed() < lease {
            if self.lease.holds() {
                held_at = Instant::now();
            }
            tokio::time::sleep(lease / 20).await;
        }
    }

    async fn leave(&self) -> Result<(), StoreError> {
        let mut conn = crate::store::conn(&self.shared.connect, Role::Hot).await?;
        self.asks(crate::store::leave(&mut conn, self.session)).await
    }

    /// Interrupts every attempt; returns how many were running.
    pub(super) fn interrupt_all(&self, reason: &str) -> usize {
        let running = self.lock();
        for attempt in running.values() {
            attempt.stop.interrupt(reason);
        }
        running.len()
    }

    /// Interrupts the attempt that runs under this claim of this task, if it still does.
    pub(super) fn interrupt(&self, id: TaskId, claim: i64, reason: &str) {
        if let Some(attempt) = self.lock().get(&id).filter(|attempt| attempt.claim == claim) {
            attempt.stop.interrupt(reason);
        }
    }

    /// Enters an attempt among the running; returns the one whose place it took, which may be running still.
    pub(super) fn begin(&self, id: TaskId, attempt: Running) -> Option<Running> {
        let mut running = self.lock();
        let twin = running.insert(id, attempt);
        self.shared.running.store(running.len(), Ordering::Relaxed);
        twin
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

    /// Asks the attempts of these tasks to end, as cancelled. Returns what needs no second look: these, and what is over.
    /// A claim above `begun` that is not held may still be on its way, or be about to be adopted under a higher number.
    pub(super) fn cancel(&self, cancels: &[Cancel], begun: i64) -> Vec<Cancel> {
        let running = self.lock();
        let seen = |cancel: &&Cancel| match running.get(&cancel.task) {
            Some(attempt) if attempt.claim >= cancel.claim => {
                attempt.stop.cancel(self.shared.config.cancel_grace);
                true
            }
            _ => cancel.claim <= begun,
        };
        cancels.iter().filter(seen).copied().collect()
    }

    /// What this statement answers within a lease; then its connection is to be given up.
    pub(super) async fn asks<T>(
        &self,
        statement: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        within(self.shared.config.lease, statement).await
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

    /// The claims that this host acts on: tasks and claim numbers.
    pub(super) fn held(&self) -> Vec<(TaskId, i64)> {
        self.lock().iter().map(|(id, attempt)| (*id, attempt.claim)).collect()
    }

    /// Whose attempts run, by their plugins' numbers.
    pub(super) fn plugins_running(&self) -> BTreeSet<i32> {
        self.lock().values().map(|attempt| attempt.plugin).collect()
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

    /// For statements of guests, each borrowing a connection for itself alone.
    pub(super) fn guests_pool(&self) -> &PgPool {
        crate::store::aim(&self.shared.connect, &self.guests_pool);
        &self.guests_pool
    }

    pub(super) fn lease(&self) -> &Arc<Lease> {
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
