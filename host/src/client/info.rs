//! The story of a task.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::store::{AttemptRow, Store, StoreError, TaskRow};
use crate::task::{AttemptOutcome, Policy, Session, Status, TaskError, TaskId, Used};

bitflags::bitflags! {
    /// What [`crate::TaskHandle::info`] brings along; each costs something to fetch.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Include: u8 {
        /// The result of a completed task.
        const RESULT = 1;
        /// The whole error of a failed task, not its code alone.
        const FAILED_REASON = 2;
        /// Every closed attempt.
        const ATTEMPTS = 4;
        /// The arguments, where they are kept.
        const INPUT = 8;
    }
}

/// A task's metadata. Instants are the database's clock.
#[derive(Debug, Clone, Serialize)]
pub struct TaskInfo {
    /// Its id.
    pub task_id: TaskId,
    /// Its full name.
    pub task_name: String,
    /// Where it stands.
    pub status: Status,
    /// Its queue.
    pub queue: String,
    /// 1 comes first, 100 last.
    pub priority: i16,
    /// How many attempts were started.
    pub attempt: u32,
    /// Failed attempts that were followed by another one.
    pub retry_count: u32,
    /// How many of those there may be.
    pub max_retries: u32,
    /// When the next retry is due, if one is planned.
    pub next_retry_at: Option<DateTime<Utc>>,
    /// How many times its host was lost.
    pub redeliveries: u32,
    /// How many times it survives that.
    pub redeliveries_max: u32,
    /// How many times a host gave it back.
    pub releases: u32,
    /// Whether a cancel waits for the running attempt.
    pub cancel_requested: bool,
    /// The task it repeats, or the one that sent it.
    pub parent: Option<TaskId>,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it is or was due, if it was delayed or retried.
    pub run_at: Option<DateTime<Utc>>,
    /// It does not start at or after this instant.
    pub good_until: Option<DateTime<Utc>>,
    /// When its newest attempt was claimed, which is when it started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became COMPLETED.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it became FAILED, CANCELLED or EXPIRED.
    pub failed_at: Option<DateTime<Utc>>,
    /// The host that runs it, or ran it last.
    pub host: Option<HostInfo>,
    /// The code it runs, or ran last.
    pub plugin: Option<PluginInfo>,
    /// How far the running attempt says it is.
    pub progress: Option<Progress>,
    /// How many live hosts serve this task now: 0 means that it waits for one.
    pub hosts_serving: i64,
    /// The final error's code; `None` unless it is FAILED.
    pub error_code: Option<String>,
    /// The final error, if asked for with [`Include::FAILED_REASON`].
    pub failed_reason: Option<TaskError>,
    /// The result, if asked for with [`Include::RESULT`].
    pub result: Option<Value>,
    /// The arguments, if asked for with [`Include::INPUT`] and kept.
    pub input: Option<Value>,
    /// The closed attempts, newest first; `None` unless asked for with [`Include::ATTEMPTS`].
    pub attempts: Option<Vec<TaskAttempt>>,
}

/// One closed attempt.
#[derive(Debug, Clone, Serialize)]
pub struct TaskAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Whether another one followed or will follow.
    pub will_retry: bool,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// When it closed.
    pub finished_at: DateTime<Utc>,
    /// Its error's code.
    pub error_code: Option<String>,
    /// Its error's sentence, or why it was given back.
    pub error_message: Option<String>,
    /// Its whole error.
    pub failed_reason: Option<TaskError>,
    /// The host that ran it.
    pub host: HostInfo,
    /// The code it ran; `None` if the host was lost.
    pub plugin: Option<PluginInfo>,
    /// What it used; `None` if the guest never ran or the host was lost.
    pub used: Option<Used>,
    /// Its last words: log, stdout and stderr.
    pub log_tail: Option<String>,
}

/// One process start of a host.
#[derive(Debug, Clone, Serialize)]
pub struct HostInfo {
    /// Its id.
    pub id: String,
    /// The machine.
    pub hostname: Option<String>,
    /// The process.
    pub pid: Option<i32>,
}

/// The code of an attempt.
#[derive(Debug, Clone, Serialize)]
pub struct PluginInfo {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
}

/// How far an attempt says it is.
#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f32,
    /// Its words.
    pub note: String,
}

pub(super) async fn read(
    store: &Store,
    id: TaskId,
    include: Include,
) -> Result<Option<TaskInfo>, StoreError> {
    let result = include.contains(Include::RESULT);
    let Some(row) = store.info(id, result, include.contains(Include::INPUT)).await? else { return Ok(None) };
    let earlier = match include.contains(Include::ATTEMPTS) {
        true => Some(store.attempts(id).await?),
        false => None,
    };
    Ok(Some(tell(row, earlier, include)))
}

fn tell(row: TaskRow, earlier: Option<Vec<AttemptRow>>, include: Include) -> TaskInfo {
    let policy: Policy = serde_json::from_str(&row.policy).unwrap_or_default();
    let json = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let last = row.last_attempt;
    // A task whose retry met a cancel keeps the attempt's error; it is not the task's.
    let error = row.error.filter(|_| row.status == Status::Failed);
    // An attempt that closed between the two reads stands in both.
    let attempts = earlier.map(|earlier| {
        let newest = last.as_ref().map(|last| last.number);
        let last = last.map(|last| attempt(last, false));
        let earlier = earlier.into_iter().filter(|a| Some(a.number) != newest).map(|a| attempt(a, true));
        last.into_iter().chain(earlier).collect()
    });
    let completed = row.status == Status::Completed;
    TaskInfo {
        task_id: row.id,
        task_name: row.task_name,
        status: row.status,
        queue: row.queue,
        priority: row.priority,
        attempt: row.attempt,
        retry_count: row.retries,
        max_retries: row.max_retries.or(policy.max_retries).unwrap_or(0),
        next_retry_at: row.run_at.filter(|_| row.status == Status::Pending && row.retries > 0),
        redeliveries: row.redeliveries,
        redeliveries_max: row.redeliveries_max,
        releases: row.releases,
        cancel_requested: row.cancel_requested,
        parent: row.parent,
        sent_at: row.sent_at,
        run_at: row.run_at,
        good_until: row.good_until,
        started_at: row.claimed_at,
        completed_at: row.finished_at.filter(|_| completed),
        failed_at: row.finished_at.filter(|_| !completed),
        host: row.host.map(|(session, hostname, pid)| host(session, hostname, pid)),
        plugin: row.plugin.map(plugin),
        progress: row.progress.map(|(fraction, note)| Progress { fraction, note }),
        hosts_serving: row.hosts_serving,
        error_code: error.as_ref().map(|e| e.code.to_string()),
        failed_reason: error.filter(|_| include.contains(Include::FAILED_REASON)),
        result: json(row.result),
        input: json(row.args),
        attempts,
    }
}

fn attempt(row: AttemptRow, will_retry: bool) -> TaskAttempt {
    TaskAttempt {
        attempt: row.number,
        outcome: row.outcome,
        will_retry,
        started_at: row.claimed_at,
        finished_at: row.finished_at,
        error_code: row.error.as_ref().map(|e| e.code.to_string()),
        error_message: row.error.as_ref().map(|e| e.message.clone()).or(row.reason),
        failed_reason: row.error,
        host: host(row.session, row.hostname, row.pid),
        plugin: row.plugin.map(plugin),
        used: row.used,
        log_tail: row.log_tail,
    }
}

fn host(session: Session, hostname: Option<String>, pid: Option<i32>) -> HostInfo {
    HostInfo { id: session.to_string(), hostname, pid }
}

fn plugin((name, version, digest): (String, String, String)) -> PluginInfo {
    PluginInfo { name, version, digest }
}
