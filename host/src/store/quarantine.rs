//! Code that is to blame for lost hosts: what speaks against it, what was decided, and how that is lifted.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};

use crate::task::Session;
use crate::task::quarantine::Strike;

use super::{Store, error::StoreError, sql};

/// What is written down about code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The code, by its number.
    pub plugin: i32,
    /// Whether it is not to be run any more; else it is suspected.
    pub quarantined: bool,
    /// Why, for people.
    pub reason: String,
}

/// Code that was quarantined by a [`charge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barred {
    /// The plugin's name.
    pub plugin: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Why, for people.
    pub reason: String,
}

/// Code that is quarantined or suspected, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSuspect {
    /// The plugin's name.
    pub plugin: String,
    /// The version that its author gave it.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Since when it is not run; `None`: it is, but apart from other suspects.
    pub quarantined_at: Option<DateTime<Utc>>,
    /// Why, for people.
    pub reason: String,
    /// Tasks of the plugin that wait, whichever code they wait for.
    pub waiting: i64,
}

/// The deaths of hosts that are no older than this, each with the code that ran there.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn strikes(conn: &mut PgConnection, recent: Duration) -> Result<Vec<Strike>, StoreError> {
    let rows = sql!("strikes").bind(recent.as_secs_f64()).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(Strike {
                plugin: row.try_get("plugin")?,
                session: Session(row.try_get("session")?),
                from_us: row.try_get("from_us")?,
                to_us: row.try_get("to_us")?,
            })
        })
        .collect()
}

/// Writes down who is suspected, for as long as said, and who is quarantined; returns who was quarantined by this.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn charge(
    conn: &mut PgConnection,
    suspected_for: Duration,
    charges: &[Charge],
) -> Result<Vec<Barred>, StoreError> {
    let plugins: Vec<i32> = charges.iter().map(|charge| charge.plugin).collect();
    let quarantined: Vec<bool> = charges.iter().map(|charge| charge.quarantined).collect();
    let reasons: Vec<&str> = charges.iter().map(|charge| charge.reason.as_str()).collect();
    let rows = sql!("suspect")
        .bind(suspected_for.as_secs_f64())
        .bind(plugins)
        .bind(quarantined)
        .bind(reasons)
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Barred {
                plugin: row.try_get("name")?,
                digest: row.try_get("digest")?,
                reason: row.try_get("reason")?,
            })
        })
        .collect()
}

/// Takes the death of a session that turned out to live off everybody's account.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn survived(conn: &mut PgConnection, session: Session) -> Result<(), StoreError> {
    sql!("survived").bind(session.0).execute(conn).await?;
    Ok(())
}

impl Store {
    /// The code that is quarantined or suspected, by name.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`], [`StoreError::Database`].
    pub async fn list_suspects(&self) -> Result<Vec<ListedSuspect>, StoreError> {
        let rows = self.rows(&self.pool, sql!("suspects")).await?;
        rows.iter()
            .map(|row| {
                Ok(ListedSuspect {
                    plugin: row.try_get("name")?,
                    version: row.try_get("version")?,
                    digest: row.try_get("digest")?,
                    quarantined_at: row.try_get("quarantined_at")?,
                    reason: row.try_get("reason")?,
                    waiting: row.try_get("waiting")?,
                })
            })
            .collect()
    }

    /// Lets code run again: all of a plugin of this name, or that whose digest begins so, with six digits at least.
    /// Returns names and digests.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`], [`StoreError::Database`].
    pub async fn lift(&self, which: &str) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self.rows(&self.pool, sql!("lift").bind(which)).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("digest")?))).collect()
    }
}
