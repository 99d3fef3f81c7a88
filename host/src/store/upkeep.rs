//! What keeps the tables in order: promotion, expiry, recovery, partitions, retention. Any host may do any of it at
//! any time; what another one is busy with is skipped.

use sqlx::{PgConnection, Row};

use crate::task::{Session, Status, TaskId};

use super::read::status_of;
use super::{Lane, error::StoreError, sql};

/// Between two looks through the table for tasks of hosts that are gone, if nobody is known to have ended; longer where
/// the table is large.
pub(super) const RECOVERY_MS: i64 = 30_000;

/// One stretch that was looked through for tasks to take back.
#[derive(Debug)]
pub struct Walked {
    /// What was taken back.
    pub recovered: Vec<Recovered>,
    /// It was the last one: the next one begins with the first page again.
    pub whole: bool,
}

/// A task taken back from a session that is no longer alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Which task.
    pub id: TaskId,
    /// Its state now.
    pub status: Status,
    /// Its lane and its position there, unless it is final.
    pub place: Option<(Lane, i64)>,
}

/// Moves due tasks from the waiting room to their lanes; returns lanes with their numbers of tasks.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn promote(conn: &mut PgConnection, limit: i64) -> Result<Vec<(Lane, i64)>, StoreError> {
    let rows = sql!("promote").bind(limit).fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get("lane")?, row.try_get("tasks")?))).collect()
}

/// Ends at most `limit` tasks whose `good_until` has passed; returns their ids.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn expire(conn: &mut PgConnection, limit: i64) -> Result<Vec<TaskId>, StoreError> {
    let rows = sql!("expire").bind(limit).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// Takes at most `limit` tasks back from sessions that are no longer alive, in the next `pages` of the table. `None`: there
/// is no reason to look, or another host is at it. With `anyway` there need be no reason.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn recover(
    conn: &mut PgConnection,
    limit: i64,
    pages: i64,
    anyway: bool,
) -> Result<Option<Walked>, StoreError> {
    let every_ms = if anyway { 0 } else { RECOVERY_MS };
    let rows = sql!("recover").bind(limit).bind(pages).bind(every_ms).fetch_all(conn).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let whole = first.try_get("whole")?;
    let mut recovered = Vec::new();
    for row in &rows {
        let Some(id) = row.try_get("id")? else { continue };
        let lane: Option<Lane> = row.try_get("lane")?;
        let place = lane.zip(row.try_get("pos")?);
        recovered.push(Recovered { id, status: status_of(row.try_get("status")?)?, place });
    }
    Ok(Some(Walked { recovered, whole }))
}

/// Strikes off the cancels for sessions that are over.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn drop_cancels_left(conn: &mut PgConnection) -> Result<(), StoreError> {
    sql!("cancels_left").execute(conn).await?;
    Ok(())
}

/// Sees to it that history has partitions for the days around today; returns how many it made.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn make_partitions(conn: &mut PgConnection) -> Result<i32, StoreError> {
    Ok(sql!("partitions").fetch_one(conn).await?.try_get("made")?)
}

/// How much a [`prune`] deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Final tasks.
    pub tasks: i64,
    /// Idempotency keys.
    pub keys: i64,
    /// Hosts that had ended.
    pub hosts: i64,
}

/// Drops the oldest day of history, if it lies more than `days` back as a whole; returns which one.
///
/// # Errors
/// [`StoreError::Database`]; a transient one where somebody else's lock stood in the way for 200 ms.
pub async fn drop_day(conn: &mut PgConnection, days: i32) -> Result<Option<String>, StoreError> {
    Ok(sql!("drop_day").bind(days).fetch_one(conn).await?.try_get("day")?)
}

/// Deletes what ended more than `days` ago and no day's partition takes along: at most `limit` rows of each
/// kind.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn prune(conn: &mut PgConnection, days: i32, limit: i64) -> Result<Pruned, StoreError> {
    let row = sql!("prune").bind(days).bind(limit).fetch_one(conn).await?;
    Ok(Pruned { tasks: row.try_get("tasks")?, keys: row.try_get("keys")?, hosts: row.try_get("hosts")? })
}

/// Writes how far running attempts say they are: task, claim, fraction and note; each fenced by its claim.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn progress(
    conn: &mut PgConnection,
    session: Session,
    reports: &[(TaskId, i64, f32, String)],
) -> Result<(), StoreError> {
    let ids: Vec<TaskId> = reports.iter().map(|r| r.0).collect();
    let claims: Vec<i64> = reports.iter().map(|r| r.1).collect();
    let fractions: Vec<f32> = reports.iter().map(|r| r.2).collect();
    let notes: Vec<&str> = reports.iter().map(|r| r.3.as_str()).collect();
    sql!("progress").bind(session.0).bind(ids).bind(claims).bind(fractions).bind(notes).execute(conn).await?;
    Ok(())
}
