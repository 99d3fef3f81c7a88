//! What a bench reads off the server.

use std::time::{Duration, Instant};

use sqlx::migrate::MigrateDatabase;
use sqlx::{ConnectOptions, Postgres, Row};

use crate::task::TaskId;

use super::connect::Connect;
use super::{Store, error::StoreError, sql};

/// Running totals of the server.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Bytes of WAL ever written, of all databases.
    pub wal_bytes: f64,
    /// Transactions of this database; the server tells them up to a second late.
    pub transactions: i64,
    /// The process that serves this connection, on the server's machine.
    pub pid: i32,
    /// The server's version.
    pub server_version: String,
}

/// What a drain did.
#[derive(Debug, Clone, Copy)]
pub struct Drained {
    /// Tasks that completed, with their results.
    pub completed: i64,
    /// From the first claim to the last end.
    pub seconds: f64,
}

impl Store {
    /// The running totals.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn counters(&self) -> Result<Counters, StoreError> {
        let row = sql!("counters").fetch_one(&self.pool).await?;
        Ok(Counters {
            wal_bytes: row.try_get("wal_bytes")?,
            transactions: row.try_get("transactions")?,
            pid: row.try_get("pid")?,
            server_version: row.try_get("server_version")?,
        })
    }

    /// Whether any task is not final.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn left_over(&self) -> Result<bool, StoreError> {
        Ok(sql!("left_over").fetch_one(&self.pool).await?.try_get("left_over")?)
    }

    /// What became of everything in this database. Reads all of history.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn drained(&self) -> Result<Drained, StoreError> {
        let row = sql!("drained").fetch_one(&self.pool).await?;
        Ok(Drained { completed: row.try_get("completed")?, seconds: row.try_get("seconds")? })
    }

    /// Sends a task with `hostler.send`, in a transaction of its own that is as durable as its role has it.
    ///
    /// Not cancel-safe: a dropped future may have sent.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn send_by_sql(&self, task: &str, args: &str, wake: bool) -> Result<TaskId, StoreError> {
        let query = sql!("send_by_sql").bind(task).bind(args).bind(wake);
        Ok(query.fetch_one(&self.pool).await?.try_get("id")?)
    }

    /// How long one small commit takes, from asking to the answer.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn commit(&self, durable: bool) -> Result<Duration, StoreError> {
        let began = Instant::now();
        sql!("flush").bind(if durable { "on" } else { "off" }).fetch_one(&self.pool).await?;
        Ok(began.elapsed())
    }
}

impl Connect {
    /// The URL of another database on the same server.
    #[must_use]
    pub fn beside(&self, database: &str) -> String {
        let options = self.plain().database(database);
        let url: String = options.to_url_lossy().into();
        // The driver leaves these out.
        match options.get_options() {
            Some(set) => format!("{url}&options={}", encoded(set)),
            None => url,
        }
    }

    /// Makes an empty database at this URL.
    ///
    /// # Errors
    /// [`StoreError::Database`]; it may exist, or the role may not make one.
    pub async fn create_database(url: &str) -> Result<(), StoreError> {
        Ok(Postgres::create_database(url).await?)
    }

    /// Removes the database at this URL, and whoever is connected to it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn drop_database(url: &str) -> Result<(), StoreError> {
        Ok(Postgres::force_drop_database(url).await?)
    }
}

/// Fit for a URL's query.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte.is_ascii_alphanumeric() {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_is_reached_with_the_same_settings() {
        let connect = Connect::parse("postgres://me@db/jobs?options=-c%20work_mem%3D8MB").expect("a URL");
        let beside = Connect::parse(&connect.beside("other")).expect("a URL");
        assert_eq!(beside.plain().get_options(), Some("-c work_mem=8MB"));
        assert_eq!(beside.plain().get_database(), Some("other"));
    }
}
