//! Reading: where tasks stand, and their stories.

use std::collections::HashSet;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::{Execute, Row};

use crate::task::{AttemptOutcome, ErrorCode, Family, Session, Status, TaskError, TaskId, Used};

use super::connect::as_a_poll;
use super::{Lane, Store, error::StoreError, sql};

/// Where a task stands.
#[derive(Debug, Clone)]
pub struct Look {
    /// Which task.
    pub id: TaskId,
    /// Its state.
    pub status: Status,
    /// The result, if it is COMPLETED and its payload is there.
    pub result: Option<Vec<u8>>,
    /// The error, if it is FAILED.
    pub error: Option<TaskError>,
    /// How far its attempt said it is, with its note.
    pub progress: Option<(f32, String)>,
}

/// One closed attempt.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    /// Its number, from 1.
    pub number: u32,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// When it closed.
    pub finished_at: DateTime<Utc>,
    /// What it used, if the guest ran.
    pub used: Option<Used>,
    /// Why it ended as it did.
    pub error: Option<TaskError>,
    /// Why it was given back.
    pub reason: Option<String>,
    /// Its last words.
    pub log_tail: Option<String>,
    /// The host's process start.
    pub session: Session,
    /// The machine.
    pub hostname: Option<String>,
    /// The process.
    pub pid: Option<i32>,
    /// Name, version and digest of the code.
    pub plugin: Option<(String, String, String)>,
}

/// One task, but for its earlier attempts.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// Which task.
    pub id: TaskId,
    /// Its full name.
    pub task_name: String,
    /// Its state.
    pub status: Status,
    /// Its queue.
    pub queue: String,
    /// 1 comes first.
    pub priority: i16,
    /// Claims so far.
    pub attempt: u32,
    /// Failed attempts that were retried.
    pub retries: u32,
    /// Lost hosts.
    pub redeliveries: u32,
    /// Releases.
    pub releases: u32,
    /// Lost hosts it survives.
    pub redeliveries_max: u32,
    /// Retries the sender asked for.
    pub max_retries: Option<u32>,
    /// The plugin author's policy, JSON.
    pub policy: String,
    /// Whether a cancel waits for the running attempt.
    pub cancel_requested: bool,
    /// The task it repeats, or the one that sent it.
    pub parent: Option<TaskId>,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it was, or is, due, if it was delayed or retried.
    pub run_at: Option<DateTime<Utc>>,
    /// Its deadline to start.
    pub good_until: Option<DateTime<Utc>>,
    /// When its newest attempt was claimed.
    pub claimed_at: Option<DateTime<Utc>>,
    /// When it became final.
    pub finished_at: Option<DateTime<Utc>>,
    /// Progress of the running attempt.
    pub progress: Option<(f32, String)>,
    /// The code the attempt before ended with.
    pub previous_error: Option<String>,
    /// The final error.
    pub error: Option<TaskError>,
    /// The result, if asked for.
    pub result: Option<Vec<u8>>,
    /// The arguments, if asked for and kept.
    pub args: Option<Vec<u8>>,
    /// The last attempt, if it closed with the task.
    pub last_attempt: Option<AttemptRow>,
    /// The host that runs it, or ran it last: session, machine, process.
    pub host: Option<(Session, Option<String>, Option<i32>)>,
    /// Name, version and digest of the code.
    pub plugin: Option<(String, String, String)>,
    /// Whether any host ever published its name.
    pub published: bool,
    /// Live hosts that serve its name now.
    pub hosts_serving: i64,
}

impl Store {
    /// Where these tasks stand; unknown ids are left out.
    ///
    /// Two statements, for what is planned once and what is planned for its day: a task moves from `task` to
    /// `history` and never back, so whatever the first one misses is in the second.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`], [`StoreError::Database`], [`StoreError::Unreadable`].
    pub async fn look(&self, ids: &[TaskId]) -> Result<Vec<Look>, StoreError> {
        let rows = self.rows(&self.hot, sql!("look_live").bind(ids)).await?;
        let mut looks = Vec::with_capacity(ids.len());
        for row in &rows {
            looks.push(Look {
                id: row.try_get("id")?,
                status: status_of(row.try_get("status")?)?,
                result: None,
                error: None,
                progress: progress_of(row)?,
            });
        }
        if looks.len() < ids.len() {
            let live: HashSet<TaskId> = looks.iter().map(|look| look.id).collect();
            let rest: Vec<TaskId> = ids.iter().copied().filter(|id| !live.contains(id)).collect();
            looks.extend(self.look_final(&rest).await?);
        }
        Ok(looks)
    }

    /// As [`Store::look`], for who asks all the time: it is two statements at most, and a connection that broke is
    /// found out by the one after.
    ///
    /// # Errors
    /// As [`Store::look`].
    pub async fn look_again(&self, ids: &[TaskId]) -> Result<Vec<Look>, StoreError> {
        as_a_poll(self.look(ids)).await
    }

    /// What became of those of these tasks that are final.
    ///
    /// # Errors
    /// As [`Store::look`].
    pub async fn look_final(&self, ids: &[TaskId]) -> Result<Vec<Look>, StoreError> {
        let mut looks = self.look_day(ids).await?;
        if looks.len() < ids.len() {
            let found: HashSet<TaskId> = looks.iter().map(|look| look.id).collect();
            let rest: Vec<TaskId> = ids.iter().copied().filter(|id| !found.contains(id)).collect();
            let query = sql!("look_final").bind(&rest);
            let rows = self.rows(&self.pool, query).await?;
            looks.extend(rows.iter().map(final_look).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(looks)
    }

    /// The short way, where all ids are of one day: some may stand elsewhere than in its partition.
    async fn look_day(&self, ids: &[TaskId]) -> Result<Vec<Look>, StoreError> {
        let Some(day) = the_day_of(ids) else { return Ok(Vec::new()) };
        let text = sql!("look_day").sql().replace("20000101", &day.format("%Y%m%d").to_string());
        match self.rows(&self.hot, sqlx::query(&text).bind(ids)).await {
            Ok(rows) => rows.iter().map(final_look).collect(),
            // It was dropped, or nobody has made it yet, or this role may read the whole alone.
            Err(StoreError::NoSchema) => Ok(Vec::new()),
            Err(StoreError::Database(sqlx::Error::Database(said)))
                if said.code().as_deref() == Some("42501") =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// One task; `None` if the id is unknown.
    ///
    /// # Errors
    /// As [`Store::look`].
    pub async fn info(&self, id: TaskId, result: bool, args: bool) -> Result<Option<TaskRow>, StoreError> {
        let query = sql!("info").bind(id).bind(result).bind(args);
        let rows = self.rows(&self.pool, query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let status = status_of(row.try_get("status")?)?;
        let lane: Lane = row.try_get("lane")?;
        let (session, plugin): (Option<i64>, Option<i32>) = (row.try_get("session")?, row.try_get("plugin")?);
        let names = sql!("info_names").bind(lane).bind(session).bind(plugin).bind(status == Status::Running);
        let names = self.rows(&self.hot, names).await?;
        let names = names
            .first()
            .ok_or_else(|| StoreError::Unreadable { what: "lane", reason: format!("there is no {lane}") })?;
        task_row(row, status, names).map(Some)
    }

    /// The closed attempts that did not end the task, newest first.
    ///
    /// # Errors
    /// As [`Store::look`].
    pub async fn attempts(&self, id: TaskId) -> Result<Vec<AttemptRow>, StoreError> {
        let rows = self.rows(&self.pool, sql!("attempts").bind(id)).await?;
        rows.iter()
            .map(|row| attempt_row(row, row, count(row, "number")?, row.try_get("claimed_at")?))
            .collect()
    }
}

fn final_look(row: &PgRow) -> Result<Look, StoreError> {
    Ok(Look {
        id: row.try_get("id")?,
        status: status_of(row.try_get("status")?)?,
        result: row.try_get("result")?,
        error: error_of(row)?,
        progress: None,
    })
}

/// The day in UTC that all these ids were made on, which names their partition.
fn the_day_of(ids: &[TaskId]) -> Option<NaiveDate> {
    let day = |id: &TaskId| {
        let (seconds, _) = id.get_timestamp()?.to_unix();
        let day = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?.date_naive();
        (1970..=9999).contains(&day.year()).then_some(day)
    };
    let (first, rest) = ids.split_first()?;
    let first = day(first)?;
    rest.iter().all(|id| day(id) == Some(first)).then_some(first)
}

fn task_row(row: &PgRow, status: Status, names: &PgRow) -> Result<TaskRow, StoreError> {
    let session: Option<i64> = row.try_get("session")?;
    let closed: Option<i16> = row.try_get("outcome")?;
    let mut last_attempt = match (closed, row.try_get::<Option<DateTime<Utc>>, _>("claimed_at")?) {
        (Some(_), Some(claimed_at)) => Some(attempt_row(row, names, count(row, "attempt")?, claimed_at)?),
        _ => None,
    };
    // The only attempt with a result is the one that completed the task.
    let result_bytes = row.try_get::<Option<i32>, _>("result_bytes")?.and_then(|n| u32::try_from(n).ok());
    if let (Some(used), Some(bytes)) = (last_attempt.as_mut().and_then(|a| a.used.as_mut()), result_bytes) {
        used.result_bytes = bytes;
    }
    Ok(TaskRow {
        id: row.try_get("id")?,
        task_name: names.try_get("task_name")?,
        status,
        queue: names.try_get("queue")?,
        priority: names.try_get("priority")?,
        attempt: count(row, "attempt")?,
        retries: small(row, "retries")?,
        redeliveries: small(row, "redeliveries")?,
        releases: small(row, "releases")?,
        redeliveries_max: small(row, "redeliveries_max")?,
        max_retries: row.try_get::<Option<i16>, _>("max_retries")?.and_then(|n| u32::try_from(n).ok()),
        policy: names.try_get("policy")?,
        cancel_requested: row.try_get("cancel_requested")?,
        parent: row.try_get("parent")?,
        sent_at: row.try_get("sent_at")?,
        run_at: row.try_get("run_at")?,
        good_until: row.try_get("good_until")?,
        claimed_at: row.try_get("claimed_at")?,
        finished_at: row.try_get("finished_at")?,
        progress: progress_of(row)?,
        previous_error: row.try_get("previous_error")?,
        error: error_of(row)?,
        result: row.try_get("result")?,
        args: row.try_get("args")?,
        last_attempt,
        host: match session {
            Some(session) => Some((Session(session), names.try_get("hostname")?, names.try_get("pid")?)),
            None => None,
        },
        plugin: plugin_of(names)?,
        published: names.try_get("published")?,
        hosts_serving: names.try_get("hosts_serving")?,
    })
}

/// `names` says what the numbers in `row` stand for.
fn attempt_row(
    row: &PgRow,
    names: &PgRow,
    number: u32,
    claimed_at: DateTime<Utc>,
) -> Result<AttemptRow, StoreError> {
    let outcome = outcome_of(row.try_get("outcome")?)?;
    let error = error_of(row)?;
    let reason = match (&error, row.try_get::<Option<Vec<u8>>, _>("error")?) {
        (None, Some(json)) => serde_json::from_slice::<Story>(&json).ok().map(|story| story.message),
        _ => None,
    };
    let used = match row.try_get::<Option<i32>, _>("wall_ms")? {
        Some(wall_ms) => Some(Used {
            wall_ms: u32::try_from(wall_ms).unwrap_or_default(),
            cpu_ms: u32::try_from(row.try_get::<Option<i32>, _>("cpu_ms")?.unwrap_or_default())
                .unwrap_or_default(),
            memory_bytes_peak: row
                .try_get::<Option<i64>, _>("memory_bytes_peak")?
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or_default(),
            result_bytes: 0,
        }),
        None => None,
    };
    let session: Option<i64> = row.try_get("session")?;
    Ok(AttemptRow {
        number,
        outcome,
        claimed_at,
        finished_at: row.try_get("finished_at")?,
        used,
        error,
        reason,
        log_tail: row
            .try_get::<Option<Vec<u8>>, _>("log_tail")?
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        session: Session(session.unwrap_or_default()),
        hostname: names.try_get("hostname")?,
        pid: names.try_get("pid")?,
        plugin: plugin_of(names)?,
    })
}

fn plugin_of(row: &PgRow) -> Result<Option<(String, String, String)>, StoreError> {
    let name: Option<String> = row.try_get("plugin_name")?;
    name.map(|name| Ok((name, row.try_get("plugin_version")?, row.try_get("plugin_digest")?))).transpose()
}

fn progress_of(row: &PgRow) -> Result<Option<(f32, String)>, StoreError> {
    let fraction: Option<f32> = row.try_get("progress")?;
    let note: Option<String> = row.try_get("progress_note")?;
    Ok(fraction.map(|fraction| (fraction, note.unwrap_or_default())))
}

/// The JSON of the column `error`.
#[derive(Deserialize)]
struct Story {
    message: String,
    data: Option<serde_json::Value>,
    cause: Option<String>,
}

fn error_of(row: &PgRow) -> Result<Option<TaskError>, StoreError> {
    let (Some(family), Some(code)) =
        (row.try_get::<Option<i16>, _>("error_family")?, row.try_get::<Option<String>, _>("error_code")?)
    else {
        return Ok(None);
    };
    let code = ErrorCode::from_parts(Family::from_number(family), &code);
    let json: Option<Vec<u8>> = row.try_get("error")?;
    let Story { message, data, cause } = match json.as_deref().map(serde_json::from_slice) {
        Some(Ok(story)) => story,
        Some(Err(e)) => return Err(StoreError::Unreadable { what: "error", reason: e.to_string() }),
        None => Story { message: String::new(), data: None, cause: None },
    };
    Ok(Some(TaskError { code, message, data, cause }))
}

pub(super) fn status_of(number: i16) -> Result<Status, StoreError> {
    usize::try_from(number - 1).ok().and_then(|n| Status::ALL.get(n).copied()).ok_or_else(|| {
        StoreError::Unreadable { what: "status", reason: format!("{number} is not one this version knows") }
    })
}

fn outcome_of(number: i16) -> Result<AttemptOutcome, StoreError> {
    usize::try_from(number - 1).ok().and_then(|n| AttemptOutcome::ALL.get(n).copied()).ok_or_else(|| {
        StoreError::Unreadable { what: "outcome", reason: format!("{number} is not one this version knows") }
    })
}

fn small(row: &PgRow, column: &str) -> Result<u32, StoreError> {
    Ok(u32::try_from(row.try_get::<i16, _>(column)?).unwrap_or_default())
}

fn count(row: &PgRow, column: &str) -> Result<u32, StoreError> {
    Ok(u32::try_from(row.try_get::<i32, _>(column)?).unwrap_or_default())
}
