//! Settles: verdicts become rows, each fenced by the claim it consumes.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{PgConnection, Row};

use crate::task::verdict::Verdict;
use crate::task::{Claim, Session, Status, TaskError, TaskId, Used};

use super::read::status_of;
use super::{Lane, error::StoreError, sql};

/// A verdict with the claim it was reached under. Taken by reference, so that a write that failed can be
/// repeated; dropped once it is answered.
#[derive(Debug)]
pub struct Settle {
    /// The claim.
    pub claim: Claim,
    /// What becomes of the task.
    pub verdict: Verdict,
    /// What the attempt used; `None` if the guest never ran.
    pub used: Option<Used>,
    /// The code it ran.
    pub plugin: Option<i32>,
    /// Its last words.
    pub log_tail: String,
}

impl Settle {
    /// Whether the attempt completed. A batch of such verdicts alone is written faster.
    #[must_use]
    pub fn completes(&self) -> bool {
        matches!(self.verdict, Verdict::Complete(_))
    }

    /// About how many bytes go to the database for it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // What every row has.
        const ROW: usize = 128;
        let error = |error: &TaskError| {
            let data = error.data.as_ref().map_or(0, |data| data.to_string().len());
            error.code.as_str().len()
                + error.message.len()
                + data
                + error.cause.as_ref().map_or(0, String::len)
        };
        let verdict = match &self.verdict {
            Verdict::Complete(result) => result.len(),
            Verdict::Fail(e) | Verdict::Retry(e, _) => error(e),
            Verdict::Release(reason) | Verdict::Postpone(reason) => reason.len(),
            Verdict::Cancel | Verdict::Expire => 0,
        };
        ROW + verdict + self.log_tail.len()
    }
}

/// The answer to a settle. Losing a claim is an answer, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Written; the task is in this state now.
    Written {
        /// Its state.
        status: Status,
        /// Its lane and its position there, unless it is final. In lane 0, the waiting room, that is when it
        /// is due, in microseconds since 1970 by the database's clock.
        place: Option<(Lane, i64)>,
    },
    /// The task is no longer held by this claim; the verdict is dropped.
    ClaimLost,
}

/// Writes these verdicts in one durable transaction; one answer each, in their order.
///
/// Not cancel-safe, but repeatable: what was written answers [`Settled::ClaimLost`] the second time.
///
/// # Errors
/// [`StoreError::Database`]. On [`StoreError::is_data_error`] the batch holds a row that can never be
/// written; the caller halves it until it is found.
pub async fn settle(
    conn: &mut PgConnection,
    session: Session,
    settles: &[Settle],
) -> Result<Vec<Settled>, StoreError> {
    // In id order: every writer of many rows locks in the same order.
    let mut order: Vec<&Settle> = settles.iter().collect();
    order.sort_unstable_by_key(|s| s.claim.id);
    let mut written = write(conn, session, &order).await?;
    // A cancel that came in between makes a retry match nothing, once: it is to be a cancellation.
    let missed: Vec<&Settle> = order
        .into_iter()
        .filter(|s| matches!(s.verdict, Verdict::Retry(..) | Verdict::Release(_) | Verdict::Postpone(_)))
        .filter(|s| !written.contains_key(&s.claim.id))
        .collect();
    if !missed.is_empty() {
        written.extend(write(conn, session, &missed).await?);
    }
    let answer = |s: &Settle| written.get(&s.claim.id).copied().unwrap_or(Settled::ClaimLost);
    Ok(settles.iter().map(answer).collect())
}

/// Removes this verdict's task if it is final already, so that nothing can be written for it; whether it was so.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn drop_double(
    conn: &mut PgConnection,
    session: Session,
    settle: &Settle,
) -> Result<bool, StoreError> {
    let Claim { id, number, .. } = settle.claim;
    let row = sql!("drop_double").bind(session.0).bind(id).bind(number).fetch_optional(conn).await?;
    Ok(row.is_some())
}

async fn write(
    conn: &mut PgConnection,
    session: Session,
    settles: &[&Settle],
) -> Result<HashMap<TaskId, Settled>, StoreError> {
    let mut batch = Batch::with_capacity(settles.len());
    for settle in settles {
        batch.push(settle);
    }
    if settles.iter().all(|settle| settle.completes()) {
        complete(conn, session, batch).await
    } else {
        any(conn, session, batch).await
    }
}

async fn complete(
    conn: &mut PgConnection,
    session: Session,
    batch: Batch<'_>,
) -> Result<HashMap<TaskId, Settled>, StoreError> {
    let rows = sql!("complete")
        .bind(session.0)
        .bind(batch.ids)
        .bind(batch.claims)
        .bind(batch.results)
        .bind(batch.cpu_ms)
        .bind(batch.wall_ms)
        .bind(batch.memory)
        .bind(batch.plugins)
        .bind(batch.logs)
        .fetch_all(conn)
        .await?;
    let written = Settled::Written { status: Status::Completed, place: None };
    rows.iter().map(|row| Ok((row.try_get(0)?, written))).collect()
}

async fn any(
    conn: &mut PgConnection,
    session: Session,
    batch: Batch<'_>,
) -> Result<HashMap<TaskId, Settled>, StoreError> {
    let rows = sql!("settle")
        .bind(session.0)
        .bind(batch.ids)
        .bind(batch.claims)
        .bind(batch.verdicts)
        .bind(batch.results)
        .bind(batch.families)
        .bind(batch.codes)
        .bind(batch.errors)
        .bind(batch.pauses_ms)
        .bind(batch.cpu_ms)
        .bind(batch.wall_ms)
        .bind(batch.memory)
        .bind(batch.plugins)
        .bind(batch.logs)
        .fetch_all(conn)
        .await?;
    let mut written = HashMap::with_capacity(rows.len());
    for row in rows {
        let status = status_of(row.try_get(1)?)?;
        let lane: Option<Lane> = row.try_get(2)?;
        let place = lane.zip(row.try_get(3)?);
        written.insert(row.try_get(0)?, Settled::Written { status, place });
    }
    Ok(written)
}

/// The columns of a batch.
struct Batch<'a> {
    ids: Vec<TaskId>,
    claims: Vec<i64>,
    verdicts: Vec<i16>,
    results: Vec<Option<&'a [u8]>>,
    families: Vec<Option<i16>>,
    codes: Vec<Option<&'a str>>,
    errors: Vec<Option<Vec<u8>>>,
    pauses_ms: Vec<Option<i64>>,
    cpu_ms: Vec<Option<i32>>,
    wall_ms: Vec<Option<i32>>,
    memory: Vec<Option<i64>>,
    plugins: Vec<Option<i32>>,
    logs: Vec<Option<&'a [u8]>>,
}

impl<'a> Batch<'a> {
    fn with_capacity(n: usize) -> Self {
        Self {
            ids: Vec::with_capacity(n),
            claims: Vec::with_capacity(n),
            verdicts: Vec::with_capacity(n),
            results: Vec::with_capacity(n),
            families: Vec::with_capacity(n),
            codes: Vec::with_capacity(n),
            errors: Vec::with_capacity(n),
            pauses_ms: Vec::with_capacity(n),
            cpu_ms: Vec::with_capacity(n),
            wall_ms: Vec::with_capacity(n),
            memory: Vec::with_capacity(n),
            plugins: Vec::with_capacity(n),
            logs: Vec::with_capacity(n),
        }
    }

    fn push(&mut self, settle: &'a Settle) {
        let (number, result, error, pause_ms) = match &settle.verdict {
            Verdict::Complete(result) => (1, Some(result.as_slice()), None, None),
            Verdict::Fail(error) => (2, None, Some(Written::Error(error)), None),
            Verdict::Retry(error, pause) => {
                let ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                (3, None, Some(Written::Error(error)), Some(ms))
            }
            Verdict::Cancel => (4, None, None, None),
            Verdict::Expire => (5, None, None, None),
            Verdict::Release(reason) => (6, None, Some(Written::Reason(reason)), None),
            Verdict::Postpone(reason) => (7, None, Some(Written::Reason(reason)), None),
        };
        self.ids.push(settle.claim.id);
        self.claims.push(settle.claim.number);
        self.verdicts.push(number);
        self.results.push(result);
        self.pauses_ms.push(pause_ms);
        let coded = match error {
            Some(Written::Error(error)) => Some(error),
            _ => None,
        };
        self.families.push(coded.map(|e| e.code.family().number()));
        self.codes.push(coded.map(|e| e.code.as_str()));
        self.errors.push(error.map(|e| e.to_json()));
        let used = settle.used;
        self.cpu_ms.push(used.map(|u| clamp(u.cpu_ms)));
        self.wall_ms.push(used.map(|u| clamp(u.wall_ms)));
        self.memory.push(used.map(|u| i64::try_from(u.memory_bytes_peak).unwrap_or(i64::MAX)));
        self.plugins.push(settle.plugin);
        self.logs.push((!settle.log_tail.is_empty()).then_some(settle.log_tail.as_bytes()));
    }
}

enum Written<'a> {
    Error(&'a TaskError),
    Reason(&'a str),
}

impl Written<'_> {
    fn to_json(&self) -> Vec<u8> {
        let value = match self {
            Self::Reason(reason) => json!({ "message": reason }),
            Self::Error(error) => {
                let mut value = json!({ "message": error.message });
                if let Some(data) = &error.data {
                    value["data"] = data.clone();
                }
                if let Some(cause) = &error.cause {
                    value["cause"] = json!(cause);
                }
                value
            }
        };
        value.to_string().into_bytes()
    }
}

fn clamp(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
