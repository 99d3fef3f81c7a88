//! Cancelling one task.

use sqlx::Row;

use crate::task::{Session, Status, TaskId};

use super::read::status_of;
use super::{Store, error::StoreError, sql};

/// What a cancel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// The state now; `Running` means that its host was asked to interrupt it.
    pub status: Status,
    /// Whether this call ended it.
    pub ended: bool,
    /// The host that runs it.
    pub session: Option<Session>,
}

/// A move can hide a task from one statement; it cannot hide it from this many in a row.
const LOOKS_MAX: usize = 20;

impl Store {
    /// Cancels a task: a PENDING one at once, a RUNNING one through its host; a final one answers with what
    /// it is. `None`: unknown id.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`], [`StoreError::Database`].
    pub async fn cancel(&self, id: TaskId) -> Result<Option<Cancelled>, StoreError> {
        for _ in 0..LOOKS_MAX {
            let rows = self.rows(&self.pool, sql!("cancel").bind(id)).await?;
            if let Some(row) = rows.first() {
                return Ok(Some(Cancelled {
                    status: status_of(row.try_get("status")?)?,
                    ended: row.try_get("ended")?,
                    session: row.try_get::<Option<i64>, _>("session")?.map(Session),
                }));
            }
            // Nothing matched: unknown, or it moved while the statement waited for its row.
            if self.look(&[id]).await?.is_empty() {
                return Ok(None);
            }
        }
        Err(StoreError::Unreadable { what: "task", reason: format!("{id} keeps moving; try again") })
    }
}
