//! Names to numbers: kinds of task and their lanes.

use sqlx::{PgConnection, Row};

use crate::task::Session;

use super::{Store, error::StoreError, sql};

/// A task name as hosts published it.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Its number.
    pub id: i32,
    /// Whether any host ever served it.
    pub published: bool,
    /// JSON Schema of its arguments.
    pub args_schema: String,
    /// JSON Schema of its result.
    pub result_schema: String,
    /// Its author's policy, JSON.
    pub policy: String,
}

/// A lane's number.
pub type Lane = i32;

/// A lane that a host serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedLane {
    /// Its number.
    pub lane: Lane,
    /// The full name of its tasks.
    pub task: String,
    /// 1 comes first, 100 last.
    pub priority: i16,
}

impl Store {
    /// The task of this name, if it was ever named in this database.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`], [`StoreError::Database`].
    pub async fn kind(&self, name: &str) -> Result<Option<Kind>, StoreError> {
        let rows = self.rows(&self.pool, sql!("kind").bind(name)).await?;
        rows.first()
            .map(|row| {
                Ok(Kind {
                    id: row.try_get("id")?,
                    published: row.try_get("published")?,
                    args_schema: row.try_get("args_schema")?,
                    result_schema: row.try_get("result_schema")?,
                    policy: row.try_get("policy")?,
                })
            })
            .transpose()
    }

    /// The names that hosts ever published, in order.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn published_names(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.rows(&self.pool, sql!("names")).await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }

    /// Makes a name known although no host has published it; returns its number.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn insist_on_kind(&self, name: &str) -> Result<i32, StoreError> {
        loop {
            // No row when another sender makes the same name at this moment.
            if let Some(row) = self.rows(&self.pool, sql!("kind_insist").bind(name)).await?.first() {
                return Ok(row.try_get("id")?);
            }
        }
    }

    /// The lane of a kind, queue and priority.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn lane(&self, kind: i32, queue: &str, priority: i16) -> Result<Lane, StoreError> {
        loop {
            let query = sql!("lane").bind(kind).bind(queue).bind(priority);
            if let Some(row) = self.rows(&self.pool, query).await?.first() {
                return Ok(row.try_get("id")?);
            }
        }
    }

    /// The lane a live task stands in; `None` if it is final or unknown.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn lane_of(&self, id: crate::task::TaskId) -> Result<Option<Lane>, StoreError> {
        let rows = self.rows(&self.pool, sql!("lane_of").bind(id)).await?;
        rows.first().map(|row| Ok(row.try_get("lane")?)).transpose()
    }
}

/// The lanes that a host serves, first priority first.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn served_lanes(
    conn: &mut PgConnection,
    session: Session,
    queues: Option<&[String]>,
) -> Result<Vec<ServedLane>, StoreError> {
    let rows = sql!("lanes").bind(session.0).bind(queues).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(ServedLane {
                lane: row.try_get("id")?,
                task: row.try_get("name")?,
                priority: row.try_get("priority")?,
            })
        })
        .collect()
}
