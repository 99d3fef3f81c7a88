//! What a host does beside its tasks: it beats, listens, polls, promotes, expires, and judges other hosts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{
    Listener, Observation, PgConnection, Poll, Recovered, Role, StoreError, Wake, channel, within,
};
use crate::task::Session;

use super::clock::since_boot_us;
use super::shift::Shift;
use super::{offers, quarantine};

/// Between two polls of an idle host: with the beat, fewer than two queries a second.
const POLL: Duration = Duration::from_millis(600);
/// Between two polls that something asked for.
const POLL_MIN: Duration = Duration::from_millis(10);
/// An answer this long after the one before is no unbroken contact: another host's silence is judged anew.
const CONTACT: Duration = Duration::from_millis(2_500);
/// Between two writes of what attempts report about their progress, for all of them together.
const PROGRESS: Duration = Duration::from_secs(1);
/// Between two looks for tasks of sessions that are no longer alive, whether or not one was seen to die.
const RECOVER: Duration = Duration::from_secs(30);
/// Between two looks after the partitions and the end of history.
const HISTORY: Duration = Duration::from_secs(3600);
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
        judged: HashMap::new(),
        contact_at: None,
        recover_at: Instant::now(),
        taken_back: HashSet::new(),
        history_at: Instant::now(),
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
                // Published again, for it may not have been; at the pace of polls, for the server may be gone.
                offers_changed = true;
                POLL
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
    /// The beats of other hosts, and since when they stand still, on the clock that counts suspend.
    judged: HashMap<Session, (i64, i64)>,
    contact_at: Option<i64>,
    recover_at: Instant,
    /// Sessions that ended of late, and whose tasks were looked for since.
    taken_back: HashSet<Session>,
    history_at: Instant,
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
        let polling = crate::store::poll(conn, shift.session(), &lanes, floor);
        let poll = within(shift.shared().config.lease, polling).await?;
        // Also after the others: at a high rate a floor that stays is soon far behind the newest.
        self.floor = poll.newest_position - LATE_POSITIONS;
        if everywhere {
            self.full_look_at = Instant::now() + began.elapsed() * FULL_LOOK_SHARE;
        }
        shift.clock().set(poll.now_us, asked_us);
        quarantine::charge_poisoners(conn, &shift.watch).await?;
        shift.watch.learn(&poll.quarantined, &poll.suspects);
        if shift.watch.barred(&served.plugins, &shift.plugins_running()) != served.barred {
            offers::publish(&shift, conn).await?;
            offers::find_lanes(&shift, conn, 0).await?;
        }
        if poll.newest_lane > served.newest_lane {
            offers::find_lanes(&shift, conn, poll.newest_lane).await?;
        }
        shift.hints.found(poll.waiting.iter().copied());
        if !poll.cancels.is_empty() {
            shift.cancel(&poll.cancels);
            crate::store::cancels_seen(conn, shift.session(), &poll.cancels).await?;
        }
        self.write_progress(conn).await?;
        self.end_late(conn, &poll).await?;
        self.judge(conn, &poll).await?;
        self.keep_up(conn).await?;
        self.promote(conn, &poll).await
    }

    /// Moves what is due; returns when the next one will be, or the usual pause.
    async fn promote(&self, conn: &mut PgConnection, poll: &Poll) -> Result<Duration, StoreError> {
        let Some(due_us) = poll.next_due_us else { return Ok(POLL) };
        let wait_us = due_us - self.shift.clock().now_us();
        if wait_us > 0 {
            return Ok(Duration::from_micros(u64::try_from(wait_us).unwrap_or(0)).min(POLL));
        }
        let moved = crate::store::promote(conn, BATCH).await?;
        let tasks: i64 = moved.iter().map(|(_, tasks)| tasks).sum();
        let lanes: Vec<_> = moved.into_iter().map(|(lane, _)| lane).collect();
        if !lanes.is_empty() {
            self.shift.hints.wake(lanes.iter().copied());
            self.shift.shared().doorbell.lanes(lanes);
        }
        // More may be due, or the next one soon: look again, unless another host is just moving them.
        Ok(if tasks > 0 { Duration::ZERO } else { POLL / 4 })
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
            crate::store::progress(conn, self.shift.session(), &progress).await?;
        }
        Ok(())
    }

    async fn end_late(&self, conn: &mut PgConnection, poll: &Poll) -> Result<(), StoreError> {
        if !poll.late {
            return Ok(());
        }
        let expired = crate::store::expire(conn, BATCH).await?;
        if !expired.is_empty() {
            self.shift.shared().doorbell.done(expired);
        }
        Ok(())
    }

    /// Declares hosts dead whose beat this host itself has seen stand still for their whole lease, without
    /// having lost contact to the database in between; and takes their tasks back.
    async fn judge(&mut self, conn: &mut PgConnection, poll: &Poll) -> Result<(), StoreError> {
        let now_us = since_boot_us();
        let contact_us = i64::try_from(CONTACT.as_micros()).unwrap_or(i64::MAX);
        if self.contact_at.is_none_or(|at| now_us - at > contact_us) {
            self.judged.clear();
        }
        self.contact_at = Some(now_us);
        self.judged.retain(|session, _| poll.hosts.iter().any(|host| host.session == *session));
        for &host in poll.hosts.iter().filter(|host| host.session != self.shift.session()) {
            let Observation { session, beat, lease_ms } = host;
            let seen = self.judged.entry(session).or_insert((beat, now_us));
            if seen.0 != beat {
                *seen = (beat, now_us);
            } else if now_us - seen.1 >= i64::from(lease_ms) * 1_000
                && crate::store::declare_lost(conn, host).await?
            {
                tracing::warn!(%session, "a host was silent for its whole lease; its tasks are taken back");
                self.recover_at = Instant::now();
            }
        }
        // Whoever declares a host dead may die before it has taken the tasks back, and a host that left may have left
        // some behind: every host looks once.
        self.taken_back.retain(|session| poll.ended.contains(session));
        for session in &poll.ended {
            if self.taken_back.insert(*session) {
                self.recover_at = Instant::now();
            }
        }
        Ok(())
    }

    async fn keep_up(&mut self, conn: &mut PgConnection) -> Result<(), StoreError> {
        let now = Instant::now();
        if now >= self.recover_at {
            let recovered = crate::store::recover(conn, BATCH).await?;
            let (done, back): (Vec<Recovered>, Vec<Recovered>) =
                recovered.iter().partition(|r| r.status.is_final());
            let doorbell = &self.shift.shared().doorbell;
            if !done.is_empty() {
                doorbell.done(done.iter().map(|r| r.id).collect());
            }
            let config = &self.shift.shared().config;
            let (judges, lease) = (config.quarantine, config.lease);
            if judges && !recovered.is_empty() && quarantine::rejudge(conn, lease).await? {
                // Whoever was woken now would take the very tasks up again: every host's next poll says first
                // what it is not to serve.
                self.shift.look_around();
            } else if !back.is_empty() {
                let places: Vec<_> = back.iter().filter_map(|r| r.place).collect();
                doorbell.lanes(places.iter().map(|(lane, _)| *lane).collect());
                self.shift.hints.found(places);
            }
            // As long as there is something to take back, the next round goes on.
            self.recover_at = if recovered.is_empty() { now + RECOVER } else { now };
        }
        if now >= self.history_at {
            // Somebody's lock stood in the way, as a rule. Nothing urgent is lost, and the rest of the round
            // must not wait for it.
            let more = self.keep_history(conn).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the partitions of history were not looked after; next try in an hour");
                false
            });
            self.history_at = if more { now } else { now + HISTORY };
        }
        Ok(())
    }

    /// Makes the coming days' partitions and lets go of what is over its time; returns whether there is more.
    async fn keep_history(&self, conn: &mut PgConnection) -> Result<bool, StoreError> {
        let days = i32::try_from(self.shift.shared().config.retention_days).unwrap_or(i32::MAX);
        crate::store::make_partitions(conn).await?;
        if let Some(day) = crate::store::drop_day(conn, days).await? {
            tracing::info!(%day, "a day of history is over its time and was dropped");
            return Ok(true);
        }
        let pruned = crate::store::prune(conn, days, BATCH).await?;
        let swept = crate::store::sweep(conn, BATCH).await?;
        let families = crate::store::sweep_families(conn, BATCH).await?;
        Ok([pruned.tasks, pruned.keys, pruned.hosts, swept, families].contains(&BATCH))
    }
}
