//! Idempotency keys: one task for each key, while it lives and for a window after.

use sqlx::{PgConnection, Row};

use crate::task::TaskId;

use super::{error::StoreError, sql};

/// What became of taking a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOutcome {
    /// The key is the new task's; insert it in the same transaction.
    Taken,
    /// The same command was sent with this key before: this is its task.
    Same(TaskId),
    /// Another command was sent with this key before, as this task.
    Other(TaskId),
}

/// Takes a key for `task` inside the caller's transaction.
///
/// # Errors
/// [`StoreError::Database`]; a key that another sender holds too long is a transient one.
pub async fn take_key(
    conn: &mut PgConnection,
    kind: i32,
    key: &str,
    task: TaskId,
    fingerprint: i64,
    window_seconds: i32,
) -> Result<KeyOutcome, StoreError> {
    loop {
        let bind = |query: sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>| {
            query.bind(kind).bind(key.to_owned()).bind(task).bind(fingerprint).bind(window_seconds)
        };
        if bind(sql!("key_take")).fetch_optional(&mut *conn).await?.is_some() {
            return Ok(KeyOutcome::Taken);
        }
        // Locked first and read after, in a statement of its own: the first one may have waited for a sender
        // who gave the key to a task that its own snapshot cannot see.
        sql!("key_lock").bind(kind).bind(key).fetch_optional(&mut *conn).await?;
        let Some(row) = sql!("key_read").bind(kind).bind(key).fetch_optional(&mut *conn).await? else {
            continue; // Pruned between the two statements.
        };
        let holder: TaskId = row.try_get("task")?;
        // A send that is repeated meets its own key, maybe after its window: its task must not run again.
        if holder != task && row.try_get("over")? {
            bind(sql!("key_replace")).execute(&mut *conn).await?;
            return Ok(KeyOutcome::Taken);
        }
        let same = row.try_get::<i64, _>("fingerprint")? == fingerprint;
        return Ok(if same { KeyOutcome::Same(holder) } else { KeyOutcome::Other(holder) });
    }
}
