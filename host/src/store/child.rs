//! Tasks that tasks send: fenced as settles are, and bounded as families.

use sqlx::Row;

use super::{Lane, PgConnection, PgPool, StoreError, lend, sql};
use crate::task::{NewChild, Session, TaskId};

/// What came of sending a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentChild {
    /// It is on disk; in this lane, if it is new (0: the waiting room).
    Yes(TaskId, Option<Lane>),
    /// The attempt is no longer its host's: nothing was written.
    Lost,
    /// Nothing was written; why, for the guest.
    Refused(String),
}

/// Sends a task from one that runs under this claim, in one statement. The caller's connection is borrowed for it.
///
/// # Errors
/// [`StoreError::Database`]; it may have been sent.
pub async fn send_child(
    pool: &PgPool,
    (session, task, claim): (Session, TaskId, i64),
    child: &NewChild,
) -> Result<SentChild, StoreError> {
    let bound = |most: u32| i32::try_from(most).unwrap_or(i32::MAX);
    let row = sql!("send_child")
        .bind(session.0)
        .bind(task)
        .bind(claim)
        .bind(&child.task)
        .bind(&child.args)
        .bind(&child.key)
        .bind(child.delay_ms)
        .bind(bound(child.depth_max))
        .bind(bound(child.family_max))
        .fetch_optional(&mut *lend(pool).await?)
        .await?;
    let Some(row) = row else { return Ok(SentChild::Lost) };
    Ok(match row.try_get("said")? {
        Some(said) => SentChild::Refused(said),
        None => SentChild::Yes(row.try_get("id")?, row.try_get("lane")?),
    })
}

/// Forgets at most `limit` families none of whose tasks lives; returns how many.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn sweep_families(conn: &mut PgConnection, limit: i64) -> Result<i64, StoreError> {
    Ok(sql!("sweep_families").bind(limit).fetch_one(conn).await?.try_get("swept")?)
}
