//! Whether a pooler stands between here and the server, and whether it can be worked with.
//!
//! A pooler in transaction mode gives each transaction whichever server connection is free. One that does not keep
//! track of prepared statements then runs statements where they were never prepared, or where the same name means
//! another one: the driver gets errors, or answers to somebody else's question. So this is found out before the
//! first statement that matters.

use sqlx::{Connection, PgConnection, Row};

use super::super::error::StoreError;
use super::super::sql;
use super::open::conn;
use super::{Connect, Role};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// Nothing, or what cannot be told from nothing: each connection has its own server process.
    Nothing,
    /// A pooler in transaction mode that keeps track of prepared statements.
    Transactions,
}

/// A prepared statement that is not there, or is there already.
const LOST_STATEMENTS: [&str; 2] = ["26000", "42P05"];
/// A busy pooler may happen to give the same server connection once more. What refuses settings is one for sure.
const ROUNDS: usize = 2;
const ROUNDS_WITH_A_POOLER: usize = 6;

/// Looks for a pooler, with a second connection beside this one.
///
/// # Errors
/// [`StoreError::Pooler`]: it does not keep track of prepared statements. [`StoreError::Unreachable`],
/// [`StoreError::Database`].
pub async fn between(connect: &Connect) -> Result<Between, StoreError> {
    let mut one = conn(connect, Role::Cold).await?;
    let mut two = conn(connect, Role::Cold).await?;
    let mut found = Between::Nothing;
    let rounds = if connect.is_bare() { ROUNDS_WITH_A_POOLER } else { ROUNDS };
    for _ in 0..rounds {
        match moved(&mut one, &mut two).await {
            Ok(false) => {}
            Ok(true) => found = Between::Transactions,
            Err(error) => {
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                let mixed =
                    matches!(error, sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. });
                return Err(match code {
                    Some(code) if LOST_STATEMENTS.contains(&&*code) => StoreError::Pooler,
                    _ if mixed => StoreError::Pooler,
                    _ => StoreError::Database(error),
                });
            }
        }
    }
    let _closed = (one.close().await, two.close().await);
    Ok(found)
}

/// Whether this connection waits for locks for ever, which a lease cannot: a pooler refuses the setting, and may not have
/// been given it.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn waits_for_ever(conn: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sql!("lock_timeout").fetch_one(conn).await?.try_get("for_ever")?)
}

/// Whether the first connection's server process changes while the second one's transaction holds it, or one that
/// was free.
async fn moved(one: &mut PgConnection, two: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let first = backend(&mut *one).await?;
    let mut held = two.begin().await?;
    let other = backend(&mut held).await?;
    let again = backend(&mut *one).await?;
    held.rollback().await?;
    // What was given back last is what a pooler gives out first.
    let after = backend(one).await?;
    Ok(first == other || first != again || first != after)
}

async fn backend(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sql!("backend").fetch_one(conn).await?.try_get("backend")
}
