//! What keeps the tables in order: promotion, expiry, recovery, partitions, retention. Any host may do any of it at
//! any time; what another one is busy with is skipped.

use sqlx::{PgConnection, Row};

use crate::task::{Session, Status, TaskId};

use super::read::status_of;
use super::{Lane, error::StoreError, sql};

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

/// Takes at most `limit` tasks back from sessions that are no longer alive.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn recover(conn: &mut PgConnection, limit: i64) -> Result<Vec<Recovered>, StoreError> {
    let rows = sql!("recover").bind(limit).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let lane: Option<Lane> = row.try_get("lane")?;
            Ok(Recovered {
                id: row.try_get("id")?,
                status: status_of(row.try_get("status")?)?,
                place: lane.zip(row.try_get("pos")?),
            })
        })
        .collect()
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
