//! Lists for people: hosts and task names.

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::task::Session;

use super::{Store, error::StoreError, sql};

/// A host, for a list.
#[derive(Debug, Clone)]
pub struct ListedHost {
    /// Its process start.
    pub session: Session,
    /// The machine.
    pub hostname: String,
    /// The process.
    pub pid: i32,
    /// The program's version.
    pub version: String,
    /// When it joined.
    pub started_at: DateTime<Utc>,
    /// When it ended, if it did.
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether others declared it dead.
    pub lost: bool,
    /// Whether it stops claiming.
    pub draining: bool,
    /// Attempts at once, at most.
    pub slots: i32,
    /// Attempts now.
    pub running: i32,
    /// The queues it serves; `None` is all.
    pub queues: Option<Vec<String>>,
    /// Seconds since its last beat.
    pub beat_age_seconds: f64,
    /// Its plugins: name, version and the start of the digest.
    pub plugins: Vec<String>,
}

/// A task name, for a list.
#[derive(Debug, Clone)]
pub struct ListedTask {
    /// The full name.
    pub name: String,
    /// The author's words.
    pub description: String,
    /// When a host last published it; `None`: never.
    pub published_at: Option<DateTime<Utc>>,
    /// JSON Schema of the arguments.
    pub args_schema: String,
    /// JSON Schema of the result.
    pub result_schema: String,
    /// The author's policy, JSON.
    pub policy: String,
    /// Live hosts that serve it.
    pub hosts: i64,
    /// Tasks that wait.
    pub pending: i64,
    /// Tasks that run.
    pub running: i64,
}

/// The server, for a check-up.
#[derive(Debug, Clone)]
pub struct About {
    /// Its version.
    pub server_version: String,
    /// Its clock, microseconds since 1970.
    pub now_us: i64,
    /// What has held vacuum back for long: transactions with a snapshot or with writes, prepared ones, replication
    /// slots and standbys; the three worst of each, in words that say what to do.
    pub holding: Vec<String>,
}

impl Store {
    /// The server's version and clock, and what has held vacuum back for at least so many seconds; or, where nothing
    /// tells since when, for so many transactions.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn about(&self, held_seconds: i32, held_transactions: i32) -> Result<About, StoreError> {
        let rows = self.rows(&self.pool, sql!("about").bind(held_seconds).bind(held_transactions)).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok(About {
            server_version: row.try_get("server_version")?,
            now_us: row.try_get("now_us")?,
            holding: row.try_get("holding")?,
        })
    }

    /// The live hosts, oldest first; with `ended` also those of the last day.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`], [`StoreError::Database`].
    pub async fn list_hosts(&self, ended: bool) -> Result<Vec<ListedHost>, StoreError> {
        let rows = self.rows(&self.pool, sql!("hosts").bind(ended)).await?;
        rows.iter()
            .map(|row| {
                Ok(ListedHost {
                    session: Session(row.try_get("session")?),
                    hostname: row.try_get("hostname")?,
                    pid: row.try_get("pid")?,
                    version: row.try_get("version")?,
                    started_at: row.try_get("started_at")?,
                    ended_at: row.try_get("ended_at")?,
                    lost: row.try_get("lost")?,
                    draining: row.try_get("draining")?,
                    slots: row.try_get("slots")?,
                    running: row.try_get("running")?,
                    queues: row.try_get("queues")?,
                    beat_age_seconds: row.try_get("beat_age_seconds")?,
                    plugins: row.try_get("plugins")?,
                })
            })
            .collect()
    }

    /// The task names ever used here, in order.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`], [`StoreError::Database`].
    pub async fn list_tasks(&self) -> Result<Vec<ListedTask>, StoreError> {
        let rows = self.rows(&self.pool, sql!("tasks")).await?;
        rows.iter()
            .map(|row| {
                Ok(ListedTask {
                    name: row.try_get("name")?,
                    description: row.try_get("description")?,
                    published_at: row.try_get("published_at")?,
                    args_schema: row.try_get("args_schema")?,
                    result_schema: row.try_get("result_schema")?,
                    policy: row.try_get("policy")?,
                    hosts: row.try_get("hosts")?,
                    pending: row.try_get("pending")?,
                    running: row.try_get("running")?,
                })
            })
            .collect()
    }
}
