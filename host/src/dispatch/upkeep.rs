//! What a host does for all of them: it takes the tasks of the dead back, and keeps history in order. Both may take
//! long, so they stand beside the polls, each on a connection that is opened for the moment.

use std::sync::Arc;
use std::time::Duration;

use crate::store::{PgConnection, Recovered, Role, StoreError, Walked, within};

use super::quarantine;
use super::shift::Shift;

/// Tasks moved by one statement.
const BATCH: i64 = 500;
/// Pages that one statement looks through.
const PAGES: i64 = 1_024;
/// Between two looks after the partitions and the end of history.
const HISTORY: Duration = Duration::from_secs(3600);
/// A day of history may be large, and its end is waited for.
const HISTORY_ANSWER_MAX: Duration = Duration::from_secs(1800);

/// Takes tasks back whenever a poll says that there may be some.
pub(super) async fn recover_until_over(shift: Arc<Shift>) {
    let recovering = async {
        loop {
            shift.recover_now.notified().await;
            if let Err(error) = take_back(&shift).await {
                tracing::warn!(%error, "a look for tasks of lost hosts failed; the next poll asks for another one");
            }
        }
    };
    let _over: Option<()> = shift.over.run_until_cancelled(recovering).await;
}

/// Looks until the table was looked through, or another host is at it. Whether that was enough, the next poll says.
async fn take_back(shift: &Shift) -> Result<(), StoreError> {
    let lease = shift.shared().config.lease;
    let mut conn = crate::store::conn(&shift.shared().connect, Role::Hot).await?;
    while let Some(Walked { recovered, whole }) =
        within(lease, crate::store::recover(&mut conn, BATCH, PAGES, false)).await?
    {
        if !recovered.is_empty() {
            tell(shift, &mut conn, &recovered).await?;
        }
        if whole {
            return within(lease, crate::store::drop_cancels_left(&mut conn)).await;
        }
    }
    Ok(())
}

async fn tell(shift: &Shift, conn: &mut PgConnection, recovered: &[Recovered]) -> Result<(), StoreError> {
    let doorbell = &shift.shared().doorbell;
    let done: Vec<_> = recovered.iter().filter(|r| r.status.is_final()).map(|r| r.id).collect();
    if !done.is_empty() {
        doorbell.done(done);
    }
    let config = &shift.shared().config;
    if config.quarantine && within(config.lease, quarantine::rejudge(conn, config.lease)).await? {
        // Whoever was woken now would take the very tasks up again: every host's next poll says first
        // what it is not to serve.
        shift.look_around();
        return Ok(());
    }
    let places: Vec<_> = recovered.iter().filter_map(|r| r.place).collect();
    if !places.is_empty() {
        doorbell.lanes(places.iter().map(|(lane, _)| *lane).collect());
        shift.hints.found(places);
    }
    Ok(())
}

/// Keeps history in order, now and every hour.
pub(super) async fn keep_history_until_over(shift: Arc<Shift>) {
    let keeping = async {
        loop {
            // Somebody's lock stood in the way, as a rule, and nothing is urgent.
            let more = keep_history(&shift).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the partitions of history were not looked after; next try in an hour");
                false
            });
            if !more {
                tokio::time::sleep(HISTORY).await;
            }
        }
    };
    let _over: Option<()> = shift.over.run_until_cancelled(keeping).await;
}

/// Makes the coming days' partitions and lets go of what is over its time; returns whether there is more.
async fn keep_history(shift: &Shift) -> Result<bool, StoreError> {
    let days = i32::try_from(shift.shared().config.retention_days).unwrap_or(i32::MAX);
    let mut conn = crate::store::conn(&shift.shared().connect, Role::Hot).await?;
    within(HISTORY_ANSWER_MAX, async {
        crate::store::make_partitions(&mut conn).await?;
        if let Some(day) = crate::store::drop_day(&mut conn, days).await? {
            tracing::info!(%day, "a day of history is over its time and was dropped");
            return Ok(true);
        }
        let pruned = crate::store::prune(&mut conn, days, BATCH).await?;
        let swept = crate::store::sweep(&mut conn, BATCH).await?;
        let families = crate::store::sweep_families(&mut conn, BATCH).await?;
        Ok([pruned.tasks, pruned.keys, pruned.hosts, swept, families].contains(&BATCH))
    })
    .await
}
