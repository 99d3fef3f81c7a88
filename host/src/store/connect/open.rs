//! Opening one connection: to the server that takes writes, with the settings it lets through.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};
use tokio::time::{sleep, timeout};

use super::super::error::StoreError;
use super::super::sql;
use super::{Connect, Role};

/// Pauses before a crowded server is asked once more grow up to this.
const CROWDED: Duration = Duration::from_secs(2);
/// A machine that is gone does not even refuse. Where there are others to ask, it is waited for no longer than this.
const PATIENCE_OF_SEVERAL: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens one connection. Of several servers the one that answered last comes first, and standbys are passed over.
/// Takes up to 10 s, or 3 s for each of several servers.
///
/// # Errors
/// [`StoreError::Unreachable`], which names every server that was tried.
pub async fn conn(connect: &Connect, role: Role) -> Result<PgConnection, StoreError> {
    let servers = &connect.servers;
    let count = servers.list.len();
    let patience = if count > 1 { PATIENCE_OF_SEVERAL } else { PATIENCE };
    let first = servers.current.load(Ordering::Relaxed);
    let mut refused = Vec::new();
    for at in (0..count).map(|n| (first + n) % count) {
        let reason = match timeout(patience, open(connect, at, role)).await {
            Ok(Ok(Some(conn))) => {
                servers.current.store(at, Ordering::Relaxed);
                return Ok(conn);
            }
            Ok(Ok(None)) => "it is a standby".to_owned(),
            Ok(Err(error)) => said(&error),
            Err(_) => format!("no answer within {} s", patience.as_secs()),
        };
        refused.push((servers.list[at].place.clone(), reason));
    }
    Err(match refused.len() {
        1 => {
            let (place, reason) = refused.remove(0);
            StoreError::Unreachable { place, reason }
        }
        _ => StoreError::Unreachable {
            place: connect.place(),
            reason: refused
                .iter()
                .map(|(place, reason)| format!("{place}: {reason}"))
                .collect::<Vec<_>>()
                .join("; "),
        },
    })
}

/// `None`: a standby, where there are other servers to ask.
async fn open(connect: &Connect, at: usize, role: Role) -> Result<Option<PgConnection>, sqlx::Error> {
    let servers = &connect.servers;
    let mut pause = Duration::from_millis(10);
    let mut conn = loop {
        match PgConnection::connect_with(&connect.options_at(at, role)).await {
            // A unix socket whose queue is full refuses at once what TCP would let wait.
            Err(sqlx::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock && pause < CROWDED => {
                sleep(pause).await;
                pause *= 2;
            }
            Err(error) if refuses_settings(&error) && !servers.bare.swap(true, Ordering::Relaxed) => {
                tracing::debug!("the database refuses settings at the start of a connection: a pooler");
            }
            answer => break answer?,
        }
    };
    if servers.list.len() > 1 && is_standby(&mut conn).await? {
        return Ok(None);
    }
    Ok(Some(conn))
}

/// What a pooler says to settings that it cannot pass on.
fn refuses_settings(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().map(sqlx::error::DatabaseError::message);
    said.is_some_and(|said| said.contains("unsupported startup parameter"))
}

/// Whether a connection leads to a server that cannot be written to.
pub(super) async fn is_standby(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sql!("standby").fetch_one(conn).await?.try_get("standby")
}

pub(super) fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no connection within the time limit".to_owned(),
        other => other.to_string(),
    }
}
