//! Where a host's claims and the database's records of them have come apart: after a crash of the database that
//! lost asynchronous claims, or a failover that lost more.

use sqlx::{PgConnection, Row};

use crate::task::{Claim, Session, TaskId};

use super::{claim, error::StoreError, sql};

/// The RUNNING tasks of this session that are not among `held`, as claims to be given back. Claims with numbers
/// above `begun` may still be on their way to the host and are left out.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn strays(
    conn: &mut PgConnection,
    session: Session,
    begun: i64,
    held: &[TaskId],
) -> Result<Vec<Claim>, StoreError> {
    let rows = sql!("strays").bind(session.0).bind(begun).bind(held).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(claim::read(row, row.try_get("claim")?, |_| String::new())?.claim)).collect()
}

/// Those of these claims that the database does not know of, or no longer.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn claims_lost(
    conn: &mut PgConnection,
    session: Session,
    held: &[(TaskId, i64)],
) -> Result<Vec<(TaskId, i64)>, StoreError> {
    let (ids, claims): (Vec<TaskId>, Vec<i64>) = held.iter().copied().unzip();
    let rows = sql!("claims_lost").bind(session.0).bind(ids).bind(claims).fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("claim")?))).collect()
}
