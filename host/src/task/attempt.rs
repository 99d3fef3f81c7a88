//! One try at a task: the right to run it, and what came of it.

use std::fmt;

use chrono::{DateTime, Utc};

use super::TaskId;
use super::error::TaskError;

/// One process start of a host; random, and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session(pub i64);

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The right to run one attempt. Not cloneable: it is consumed by the settle.
#[derive(Debug)]
#[must_use = "a claim is run and settled, or released; dropping it leaves the task RUNNING until its host is gone"]
pub struct Claim {
    /// The task.
    pub id: TaskId,
    /// The host's claim number; with the session it is the fence of every later write.
    pub number: i64,
    /// The task's full name.
    pub task: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Failed attempts that were retried so far.
    pub retries: u32,
    /// Lost hosts so far.
    pub redeliveries: u32,
    /// Releases so far.
    pub releases: u32,
    /// How many lost hosts the task survives; 0 is *never start twice*.
    pub redeliveries_max: u32,
    /// How many retries the sender asked for, over the plugin's policy.
    pub max_retries: Option<u32>,
    /// Nothing starts at or after this instant of the database's clock.
    pub good_until: Option<DateTime<Utc>>,
    /// When the attempt was claimed, by the database's clock.
    pub claimed_at: DateTime<Utc>,
    /// The code the attempt before this one ended with.
    pub previous_error: Option<String>,
    /// The arguments, UTF-8 JSON.
    pub args: Vec<u8>,
}

/// What a task returned as its own failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFailure {
    /// The task's code, as it gave it.
    pub code: String,
    /// The task's words.
    pub message: String,
    /// UTF-8 JSON, as it gave it.
    pub data: Option<Vec<u8>>,
    /// What the task wants done about it.
    pub retry: GuestRetry,
}

/// What a task wants done about its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestRetry {
    /// As the policy says.
    ByPolicy,
    /// No other attempt.
    Never,
    /// Another attempt after this many milliseconds, if the policy has any left.
    AfterMs(u64),
}

/// What a run of the guest produced. A guest's misdeeds are values, never errors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The task returned a result: UTF-8 JSON, checked.
    Returned(Vec<u8>),
    /// The task returned a failure.
    Failed(GuestFailure),
    /// The task returned something that is not UTF-8 JSON.
    BadResult(String),
    /// The guest panicked, aborted or did what WebAssembly forbids; the reason.
    Trapped(String),
    /// The attempt took longer than this many milliseconds of wall-clock time.
    OutOfTime(u64),
    /// The attempt used more than this many milliseconds of CPU time.
    OutOfCpu(u64),
    /// The guest asked for more than this many bytes of memory.
    OutOfMemory(u64),
    /// The guest's stack is used up.
    StackExhausted,
    /// The result has more than this many bytes.
    OutputTooLarge(u64),
    /// The guest used what it was not granted.
    Denied(String),
    /// The attempt was interrupted because somebody cancelled the task.
    Cancelled,
    /// `good_until` passed before the first guest instruction.
    Expired,
    /// The attempt was interrupted through no fault of the task; the reason.
    Interrupted(String),
    /// The host could not start the attempt; the reason.
    Unstarted(String),
    /// The host had no room for it just then, or no lease to start it under; the reason.
    Postponed(String),
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Used {
    /// CPU time, in milliseconds, rounded up.
    pub cpu_ms: u32,
    /// Wall-clock time, in milliseconds, rounded up.
    pub wall_ms: u32,
    /// The most memory the guest had at once, in bytes.
    pub memory_bytes_peak: u64,
    /// The result's size, in bytes.
    pub result_bytes: u32,
}

/// An outcome with what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What came of the run.
    pub outcome: Outcome,
    /// What it used.
    pub used: Used,
    /// The last lines of the guest's log, stdout and stderr; empty if it wrote none.
    pub log_tail: String,
    /// The last lines of its stderr alone, for the cause of a failure.
    pub stderr_tail: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptOutcome {
    /// With a result.
    Completed,
    /// With an error.
    Failed,
    /// It was interrupted by a cancel.
    Cancelled,
    /// It was given back through no fault of the task.
    Released,
    /// Its host was lost.
    WorkerFailure,
}

impl AttemptOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] =
        [Self::Completed, Self::Failed, Self::Cancelled, Self::Released, Self::WorkerFailure];

    /// The word in SQL, JSON and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Released => "RELEASED",
            Self::WorkerFailure => "WORKER_FAILURE",
        }
    }
}

impl fmt::Display for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for AttemptOutcome {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|o| o.as_str() == word)
            .ok_or_else(|| format!("{word:?} is no attempt outcome"))
    }
}

impl GuestFailure {
    /// The failure as a caller gets it, once its code and data were found to be in order.
    pub(crate) fn into_error(self, code: super::ErrorCode) -> TaskError {
        let data = self.data.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        TaskError { code, message: self.message, data, cause: None }
    }
}
