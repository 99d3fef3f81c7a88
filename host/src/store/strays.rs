//! Where a host's claims and the database's records of them have come apart: after a crash of the database that
//! lost asynchronous claims, or a failover that lost more.

use sqlx::{PgConnection, Row};

use crate::task::{Claim, Session, TaskId};

use super::{Lane, claim, error::StoreError, sql};

/// A stretch of a lane, to be looked through for strays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Which lane.
    pub lane: Lane,
    /// It begins behind this position.
    pub after: i64,
    /// It ends with this position at the latest.
    pub to: i64,
    /// It ends after so many rows, or a few more that share the last one's position.
    pub rows: i64,
}

/// The RUNNING tasks of this session in this stretch that are not among `held`, as claims to be given back; and the
/// stretch that follows it, if there is more. Claims with numbers above `begun` may still be on their way to the host
/// and are left out.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn strays(
    conn: &mut PgConnection,
    session: Session,
    begun: i64,
    held: &[TaskId],
    stretch: Stretch,
) -> Result<(Vec<Claim>, Option<Stretch>), StoreError> {
    let Stretch { lane, after, to, rows } = stretch;
    let asks =
        sql!("strays").bind(session.0).bind(begun).bind(held).bind(lane).bind(after).bind(to).bind(rows);
    let found = asks.fetch_all(conn).await?;
    let next: Option<i64> = found.first().map(|row| row.try_get("next")).transpose()?.flatten();
    let mut claims = Vec::new();
    for row in &found {
        if let Some(number) = row.try_get("claim")? {
            claims.push(claim::read(row, number, |_| String::new())?.claim);
        }
    }
    Ok((claims, next.map(|after| Stretch { after, ..stretch })))
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
