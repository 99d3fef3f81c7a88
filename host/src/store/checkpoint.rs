//! Durable steps of running attempts.

use sqlx::Row;

use super::{PgPool, StoreError, lend, sql};
use crate::task::{Session, TaskId};

/// How many steps a task may keep.
const STEPS_MAX: i64 = 256;
/// How large they may be together, names included, in bytes.
const BYTES_MAX: i64 = 4 << 20;

/// What came of keeping a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is on disk.
    Yes,
    /// The attempt is no longer its host's: nothing was written.
    Lost,
    /// The task keeps as many steps, or as many bytes, as it may.
    Full,
}

/// Keeps a step of an attempt that runs under this claim; the same name replaces what was kept. The caller's
/// connection is borrowed for one statement.
///
/// # Errors
/// [`StoreError::Database`]; what was kept before is still there.
pub async fn keep(
    pool: &PgPool,
    (session, task, claim): (Session, TaskId, i64),
    name: &str,
    value: &[u8],
) -> Result<Kept, StoreError> {
    let row = sql!("keep")
        .bind(session.0)
        .bind(task)
        .bind(claim)
        .bind(name)
        .bind(value)
        .bind(STEPS_MAX)
        .bind(BYTES_MAX)
        .fetch_one(&mut *lend(pool).await?)
        .await?;
    Ok(match (row.try_get("held")?, row.try_get("kept")?) {
        (false, _) => Kept::Lost,
        (true, false) => Kept::Full,
        (true, true) => Kept::Yes,
    })
}

/// What an attempt of this task kept under this name.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn recall(pool: &PgPool, task: TaskId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sql!("recall").bind(task).bind(name).fetch_optional(&mut *lend(pool).await?).await?;
    row.map(|row| Ok(row.try_get("value")?)).transpose()
}

/// Deletes at most `limit` steps of tasks that ended; returns how many.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn sweep(conn: &mut sqlx::PgConnection, limit: i64) -> Result<i64, StoreError> {
    Ok(sql!("sweep").bind(limit).fetch_one(conn).await?.try_get("swept")?)
}
