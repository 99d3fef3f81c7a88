//! Keeps what the host holds and what the database says it holds the same.
//!
//! A server that crashed may have lost claims, and one that took over from another may have lost more. Whenever an
//! answer was lost the two are compared, and now and then without a reason. It happens beside the polls, on a
//! connection of its own, in statements that each read a bounded stretch of a lane.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::store::{Lane, PgConnection, Role, Settle, StoreError, Stretch, within};
use crate::task::verdict::release;

use super::attempt::CLAIM_LOST;
use super::shift::Shift;

/// Leases between two comparisons that nothing asked for: 30 s by default.
const REGULAR_LEASES: u32 = 2;
/// One that takes long, because much of a lane could not be vacuumed yet, is followed by a pause so many times as long.
const PAUSE_SHARE: u32 = 50;
/// Between two comparisons in any case. One that fails is tried again after this, and after ever more.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Rows that one statement reads.
const ROWS: i64 = 1_000;

/// How far a session's claims have come.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The highest claim number whose tasks are all among the running: what claimed later may be on its way.
    begun: AtomicI64,
    /// The highest position claimed in each lane. Unlike a claimer's marks these never go back.
    lanes: Mutex<BTreeMap<Lane, i64>>,
    doubted: Notify,
}

impl Reach {
    /// A task at this position was claimed.
    pub(super) fn claimed(&self, lane: Lane, pos: i64) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(lane).and_modify(|furthest| *furthest = pos.max(*furthest)).or_insert(pos);
    }

    /// Everything that was claimed up to this number is among the running.
    pub(super) fn begun(&self, number: i64) {
        self.begun.store(number, Ordering::Release);
    }

    /// The number up to which everything is among the running, or was and is over.
    pub(super) fn all_begun(&self) -> i64 {
        self.begun.load(Ordering::Acquire)
    }

    /// An answer was lost: the database may have done something, or forgotten it.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    fn stretches(&self) -> Vec<Stretch> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().map(|(&lane, &to)| Stretch { lane, after: i64::MIN, to, rows: ROWS }).collect()
    }
}

/// Compares until the session is over.
pub(super) async fn compare_until_over(shift: Arc<Shift>) {
    let comparing = async {
        let regular = shift.shared().config.lease * REGULAR_LEASES;
        let mut pause = PAUSE_MIN;
        let mut next = Instant::now() + regular;
        loop {
            tokio::select! {
                () = shift.reach.doubted.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
            let began = Instant::now();
            match compare(&shift).await {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    next = Instant::now() + regular.max(began.elapsed() * PAUSE_SHARE);
                }
                Err(error) => {
                    tracing::debug!(%error, "claims could not be compared; trying again");
                    shift.reach.doubt();
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
            tokio::time::sleep(pause).await;
        }
    };
    let _over: Option<()> = shift.over.run_until_cancelled(comparing).await;
}

/// Ends attempts that can no longer be settled, and gives back tasks that nobody here runs.
async fn compare(shift: &Shift) -> Result<(), StoreError> {
    if shift.reach.all_begun() == 0 {
        return Ok(());
    }
    let lease = shift.shared().config.lease;
    let mut conn = crate::store::conn(&shift.shared().connect, Role::Hot).await?;
    let held = shift.held();
    let lost = within(lease, crate::store::claims_lost(&mut conn, shift.session(), &held)).await?;
    for (id, claim) in lost {
        shift.interrupt(id, claim, CLAIM_LOST);
    }
    for stretch in shift.reach.stretches() {
        let mut left = Some(stretch);
        while let Some(stretch) = left {
            left = within(lease, give_back(shift, &mut conn, stretch)).await?;
        }
    }
    Ok(())
}

/// Gives back what this stretch has; returns the one that follows.
async fn give_back(
    shift: &Shift,
    conn: &mut PgConnection,
    stretch: Stretch,
) -> Result<Option<Stretch>, StoreError> {
    // In this order: whatever begins in between is not a stray.
    let begun = shift.reach.all_begun();
    let held: Vec<_> = shift.held().into_iter().map(|(id, _)| id).collect();
    let (strays, next) = crate::store::strays(conn, shift.session(), begun, &held, stretch).await?;
    for claim in strays {
        tracing::warn!(task.id = %claim.id, "the database says this host runs it, which it does not");
        let verdict = release(&claim, "the host that had claimed it knew nothing of it".to_owned());
        shift.finish(Settle { claim, verdict, used: None, plugin: None, log_tail: String::new() });
    }
    Ok(next)
}
