//! Claims: rows become the right to run them.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::task::{Claim, Session, TaskId};

use super::{Lane, error::StoreError, sql};

/// Where a host looks in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Which lane.
    pub lane: Lane,
    /// Only tasks behind this position.
    pub after: i64,
}

/// A claim with the place its task had.
#[derive(Debug)]
pub struct Claimed {
    /// The right to run it.
    pub claim: Claim,
    /// Its lane.
    pub lane: Lane,
    /// Its position there.
    pub pos: i64,
}

/// Claims at most `limit` tasks, in the order of `marks`; empty if nothing is due there, or if this session
/// may no longer claim. `task_of` names the tasks of a lane.
///
/// Not cancel-safe: after an error or a dropped future the claim may have committed; see [`fence`].
///
/// # Errors
/// [`StoreError::Database`].
pub async fn claim(
    conn: &mut PgConnection,
    session: Session,
    number: i64,
    marks: &[Mark],
    limit: i64,
    task_of: impl Fn(Lane) -> String,
) -> Result<Vec<Claimed>, StoreError> {
    let lanes: Vec<i32> = marks.iter().map(|m| m.lane).collect();
    let after: Vec<i64> = marks.iter().map(|m| m.after).collect();
    let rows = sql!("claim")
        .bind(session.0)
        .bind(number)
        .bind(lanes)
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| read(row, number, &task_of)).collect()
}

/// After an unknown answer to a claim: makes sure that none below `number` can commit any more, and waits for one under
/// way. `false`: this session was declared dead.
///
/// # Errors
/// [`StoreError::Database`]; then call it again, with a fresh connection.
pub async fn fence(conn: &mut PgConnection, session: Session, number: i64) -> Result<bool, StoreError> {
    Ok(sql!("fence").bind(session.0).bind(number).fetch_optional(conn).await?.is_some())
}

/// After [`fence`]: takes over what claim `lost` did commit, under the number `adopted`, in one stretch of the table: its
/// first page, and how many. Returns the page where the next stretch begins, unless this was the last one.
///
/// Repeatable: what it adopted in a call whose answer was lost it finds again.
///
/// # Errors
/// [`StoreError::Database`]; then call it again, with a fresh connection.
pub async fn adopt(
    conn: &mut PgConnection,
    session: Session,
    (lost, adopted): (i64, i64),
    (page, pages): (i64, i64),
    task_of: impl Fn(Lane) -> String,
) -> Result<(Vec<Claimed>, Option<i64>), StoreError> {
    let asks = sql!("adopt").bind(session.0).bind(lost).bind(adopted).bind(page).bind(pages);
    let rows = asks.fetch_all(conn).await?;
    let next: Option<i64> = rows.first().map(|row| row.try_get("next")).transpose()?.flatten();
    let mut claims = Vec::new();
    for row in &rows {
        if row.try_get::<Option<TaskId>, _>("id")?.is_some() {
            claims.push(read(row, adopted, &task_of)?);
        }
    }
    Ok((claims, next))
}

pub(super) fn read(
    row: &PgRow,
    number: i64,
    task_of: impl Fn(Lane) -> String,
) -> Result<Claimed, StoreError> {
    // By position: names are looked up by hashing for every row, and this is the hot path.
    let lane: Lane = row.try_get(1)?;
    let small = |index: usize| -> Result<u32, StoreError> {
        Ok(u32::try_from(row.try_get::<i16, _>(index)?).unwrap_or_default())
    };
    let claim = Claim {
        id: row.try_get(0)?,
        number,
        task: task_of(lane),
        attempt: u32::try_from(row.try_get::<i32, _>(3)?).unwrap_or_default(),
        retries: small(4)?,
        redeliveries: small(5)?,
        releases: small(6)?,
        redeliveries_max: small(7)?,
        max_retries: row.try_get::<Option<i16>, _>(8)?.map(|n| u32::try_from(n).unwrap_or_default()),
        good_until: row.try_get(9)?,
        claimed_at: row.try_get(10)?,
        previous_error: row.try_get(11)?,
        args: row.try_get(12)?,
    };
    Ok(Claimed { claim, lane, pos: row.try_get(2)? })
}
