//! What a host does beside its tasks: it beats, listens, polls, promotes, expires, and judges other hosts.
//!
//! Whatever is asked here has an answer within a lease, or its connection is given up: one that fell silent must not
//! keep the polls from going on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{Listener, PgConnection, Poll, Role, StoreError, Wake, channel};

use super::clock::since_boot_us;
use super::judge::{Judge, pace};
use super::shift::Shift;
use super::{offers, quarantine};

/// After a poll that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(600);
/// Between two polls that something asked for.
const POLL_MIN: Duration = Duration::from_millis(10);
/// Between two writes of what attempts report about their progress, for all of them together.
const PROGRESS: Duration = Duration::from_secs(1);
/// A look at everything walks over whatever vacuum could not remove yet. One that takes long, because an open
/// transaction holds vacuum up, is followed by looks at newer positions alone, for so many times as long.
const FULL_LOOK_SHARE: u32 = 50;
/// So far behind the newest position those begin: a sender may take a while to commit.
const LATE_POSITIONS: i64 = 20_000;
/// Tasks moved by one statement.
const BATCH: i64 = 500;

/// Interrupts everything that runs when the lease runs out unconfirmed: it must be over before another host may start
/// it. Beats cannot see to that: when the lease ends, one may just be waiting for its answer.
pub(super) async fn fence_until_over(shift: Arc<Shift>) {
    let fencing = async {
        loop {
            shift.lease().over().await;
            let interrupted = shift.interrupt_all("the host could not confirm its lease in time");
            tracing::error!(interrupted, "the lease ran out; nothing is started until the database answers");
            shift.lease().renewed().await;
        }
    };
    tokio::select! {
        () = fencing => {}
        () = shift.over.cancelled() => {}
    }
}

/// Beats three times a lease.
pub(super) async fn beat_until_over(shift: Arc<Shift>) {
    let every = shift.shared().config.lease / 3;
    let mut conn: Option<PgConnection> = None;
    loop {
        let sent_us = since_boot_us();
        // An answer that takes longer than this is as good as none, and the next beat must not wait for it.
        let answer = tokio::time::timeout(every, beat(&shift, &mut conn)).await;
        let pause = match answer {
            Ok(Ok(Some(now_us))) => {
                shift.lease().confirm(sent_us);
                shift.clock().set(now_us, sent_us);
                every
            }
            Ok(Ok(None)) => {
                tracing::warn!("another host declared this one dead");
                return shift.over.cancel();
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a heartbeat failed");
                shift.reach.doubt();
                conn = None;
                every / 10
            }
            Err(_) => {
                tracing::warn!("a heartbeat got no answer");
                shift.reach.doubt();
                conn = None;
                Duration::ZERO
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shift.over.cancelled() => return,
        }
    }
}

async fn beat(shift: &Shift, conn: &mut Option<PgConnection>) -> Result<Option<i64>, StoreError> {
    let open = match conn.take() {
        Some(open) => open,
        None => crate::store::conn(&shift.shared().connect, Role::Hot).await?,
    };
    let running = i32::try_from(shift.busy()).unwrap_or(i32::MAX);
    let draining = shift.shared().draining.is_cancelled();
    let open = conn.insert(open);
    crate::store::beat(open, shift.session(), running, draining).await
}

/// Passes wakes on; those of this process alone if it is not to listen.
pub(super) async fn listen_until_over(shift: Arc<Shift>) {
    let (shared, channels) = (shift.shared(), [channel::LANES, channel::CANCEL]);
    let mut listener = match shared.config.listen {
        true => Listener::new(&shared.connect, &channels),
        false => Listener::here(&shared.connect, &channels),
    };
    loop {
        let wake = tokio::select! {
            wake = listener.next() => wake,
            () = shift.over.cancelled() => return,
        };
        match wake {
            Wake::Lanes(lanes) => {
                let served = shift.served();
                // The waiting room, or a lane made after this host last looked.
                if lanes.iter().any(|lane| *lane == 0 || *lane > served.newest_lane) {
                    shift.poll_now.notify_one();
                }
                shift.hints.wake(lanes);
            }
            Wake::Cancel(session) if session == shift.session() => shift.poll_now.notify_one(),
            Wake::Cancel(_) | Wake::Done(_) | Wake::DoneHere(_) | Wake::Deaf => {}
            Wake::Lost => shift.look_around(),
        }
    }
}

/// Polls, and does what the polls find to do.
pub(super) async fn poll_until_over(shift: Arc<Shift>) {
    let mut keeper = Keeper {
        shift: shift.clone(),
        conn: None,
        judge: Judge::default(),
        full_look_at: Instant::now(),
        floor: 0,
        progress_at: Instant::now(),
    };
    let mut changes = shift.shared().registry.changes();
    changes.mark_unchanged();
    let mut offers_changed = false;
    loop {
        let began = Instant::now();
        let next = match keeper.round(std::mem::take(&mut offers_changed)).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "a poll failed; the next one tries again");
                shift.reach.doubt();
                keeper.conn = None;
                keeper.judge.lost_contact();
                // Published again, for it may not have been; at the pace of polls, for the server may be gone.
                offers_changed = true;
                FAILED_PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(began + next.max(POLL_MIN)) => {}
            () = shift.poll_now.notified() => tokio::time::sleep_until(began + POLL_MIN).await,
            Ok(()) = changes.changed() => offers_changed = true,
            () = shift.over.cancelled() => return,
        }
    }
}

struct Keeper {
    shift: Arc<Shift>,
    conn: Option<PgConnection>,
    judge: Judge,
    full_look_at: Instant,
    /// Where a look that is not at everything begins.
    floor: i64,
    progress_at: Instant,
}

impl Keeper {
    /// One look around; returns when the next one is due.
    async fn round(&mut self, offers_changed: bool) -> Result<Duration, StoreError> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => crate::store::conn(&self.shift.shared().connect, Role::Hot).await?,
        };
        let next = self.look(&mut conn, offers_changed).await?;
        self.conn = Some(conn);
        Ok(next)
    }

    async fn look(&mut self, conn: &mut PgConnection, offers_changed: bool) -> Result<Duration, StoreError> {
        let shift = self.shift.clone();
        if offers_changed {
            offers::publish(&shift, conn).await?;
            offers::find_lanes(&shift, conn, 0).await?;
        }
        let served = shift.served();
        let lanes: Vec<_> = served.order.iter().map(|(_, lane)| *lane).collect();
        let everywhere =
            shift.look_everywhere.swap(false, Ordering::AcqRel) || Instant::now() >= self.full_look_at;
        let floor = if everywhere { 0 } else { self.floor };
        let began = Instant::now();
        let asked_us = since_boot_us();
        // Before the question: of a claim that begins later the answer may tell what cannot be acted on yet.
        let begun = shift.reach.all_begun();
        let poll = shift.asks(crate::store::poll(conn, shift.session(), &lanes, floor)).await?;
        let answered_us = since_boot_us();
        // Also after the others: at a high rate a floor that stays is soon far behind the newest.
        self.floor = poll.newest_position - LATE_POSITIONS;
        if everywhere {
            self.full_look_at = Instant::now() + began.elapsed() * FULL_LOOK_SHARE;
        }
        shift.clock().set(poll.now_us, asked_us);
        shift.asks(quarantine::charge_poisoners(conn, &shift.watch)).await?;
        shift.watch.learn(&poll.quarantined, &poll.suspects);
        if shift.watch.barred(&served.plugins, &shift.plugins_running()) != served.barred {
            offers::publish(&shift, conn).await?;
            offers::find_lanes(&shift, conn, 0).await?;
        }
        if poll.newest_lane > served.newest_lane {
            offers::find_lanes(&shift, conn, poll.newest_lane).await?;
        }
        shift.hints.found(poll.waiting.iter().copied());
        let seen = shift.cancel(&poll.cancels, begun);
        if !seen.is_empty() {
            shift.asks(crate::store::cancels_seen(conn, shift.session(), &seen)).await?;
        }
        self.write_progress(conn).await?;
        self.end_late(conn, &poll).await?;
        self.judge(conn, &poll, asked_us, answered_us).await?;
        self.promote(conn, &poll).await
    }

    /// Moves what is due; returns when the next one will be, or the usual pause.
    async fn promote(&self, conn: &mut PgConnection, poll: &Poll) -> Result<Duration, StoreError> {
        let pace = pace(&poll.hosts);
        let Some(due_us) = poll.next_due_us else { return Ok(pace) };
        let wait_us = due_us - self.shift.clock().now_us();
        if wait_us > 0 {
            return Ok(Duration::from_micros(u64::try_from(wait_us).unwrap_or(0)).min(pace));
        }
        let moved = self.shift.asks(crate::store::promote(conn, BATCH)).await?;
        let tasks: i64 = moved.iter().map(|(_, tasks)| tasks).sum();
        let lanes: Vec<_> = moved.into_iter().map(|(lane, _)| lane).collect();
        if !lanes.is_empty() {
            self.shift.hints.wake(lanes.iter().copied());
            self.shift.shared().doorbell.lanes(lanes);
        }
        // More may be due, or the next one soon: look again, unless another host is just moving them.
        Ok(if tasks > 0 { Duration::ZERO } else { pace / 4 })
    }

    /// Writes the newest report of every attempt that has one. Polls come as often as something asks for
    /// them; a flood of reports must not.
    async fn write_progress(&mut self, conn: &mut PgConnection) -> Result<(), StoreError> {
        let now = Instant::now();
        if now < self.progress_at {
            return Ok(());
        }
        let progress = self.shift.progress();
        if !progress.is_empty() {
            self.progress_at = now + PROGRESS;
            self.shift.asks(crate::store::progress(conn, self.shift.session(), &progress)).await?;
        }
        Ok(())
    }

    async fn end_late(&self, conn: &mut PgConnection, poll: &Poll) -> Result<(), StoreError> {
        if !poll.late {
            return Ok(());
        }
        let expired = self.shift.asks(crate::store::expire(conn, BATCH)).await?;
        if !expired.is_empty() {
            self.shift.shared().doorbell.done(expired);
        }
        Ok(())
    }

    /// Declares hosts dead whose beat this host itself has seen stand still for their whole lease, without
    /// having lost contact to the database in between.
    async fn judge(
        &mut self,
        conn: &mut PgConnection,
        poll: &Poll,
        asked_us: i64,
        answered_us: i64,
    ) -> Result<(), StoreError> {
        let own = self.shift.session();
        let others: Vec<_> = poll.hosts.iter().copied().filter(|host| host.session != own).collect();
        let mut recover = poll.recovery_due;
        for silent in self.judge.observe(&others, asked_us, answered_us) {
            if self.shift.asks(crate::store::declare_lost(conn, silent)).await? {
                let session = silent.session;
                tracing::warn!(%session, "a host was silent for its whole lease; its tasks are taken back");
                recover = true;
            }
        }
        if recover {
            self.shift.recover_now.notify_one();
        }
        Ok(())
    }
}
