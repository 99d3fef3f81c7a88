//! The heart: what becomes of a task after an attempt.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::attempt::{Claim, GuestFailure, GuestRetry, Outcome, Report};
use super::code::{Contract, Ending, ErrorCode, Operational, Sandbox};
use super::error::TaskError;
use super::retry::RetryPolicy;
use super::status::Edge;

/// A host gives a task back at most this often in its life; then the fault is no accident.
pub const RELEASES_MAX: u32 = 100;

/// What policy decides about an outcome; the settle writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The task is done; its result is UTF-8 JSON.
    Complete(Vec<u8>),
    /// The task failed for good.
    Fail(TaskError),
    /// Another attempt after the pause.
    Retry(TaskError, Duration),
    /// The task is cancelled.
    Cancel,
    /// The task's time is over.
    Expire,
    /// The task goes back to where it was; the reason.
    Release(String),
    /// The same, and nothing is used up: it met a host that had no room.
    Postpone(String),
}

impl Verdict {
    /// The move it makes in the table of [`super::Status::after`].
    #[must_use]
    pub fn edge(&self) -> Edge {
        match self {
            Self::Complete(_) => Edge::Complete,
            Self::Fail(_) => Edge::Fail,
            Self::Retry(..) => Edge::Retry,
            Self::Cancel => Edge::Cancel,
            Self::Expire => Edge::Expire,
            Self::Release(_) | Self::Postpone(_) => Edge::Release,
        }
    }
}

/// Decides what becomes of a task. `now` is the database's clock as well as the host knows it; `chance`
/// in `0.0..1.0` picks the jitter.
///
/// A sender's `max_retries` wins over the plugin's; the guest's *never* wins over both; no retry is
/// planned at or after `good_until`.
#[must_use]
pub fn decide(
    claim: &Claim,
    policy: &RetryPolicy,
    report: Report,
    now: DateTime<Utc>,
    chance: f64,
) -> Verdict {
    let Report { outcome, stderr_tail, .. } = report;
    let asked = match &outcome {
        Outcome::Failed(failure) => failure.retry,
        _ => GuestRetry::ByPolicy,
    };
    let mut error = match outcome {
        Outcome::Returned(result) => return Verdict::Complete(result),
        Outcome::Cancelled => return Verdict::Cancel,
        Outcome::Expired => return Verdict::Expire,
        Outcome::Interrupted(reason) => return release(claim, reason),
        Outcome::Unstarted(reason) => return not_started(claim, reason),
        Outcome::Postponed(reason) => return Verdict::Postpone(reason),
        Outcome::Failed(failure) => guest_error(failure),
        other => host_error(&other),
    };
    if error.cause.is_none() && !stderr_tail.is_empty() {
        error.cause = Some(stderr_tail);
    }
    retry_or_fail(claim, policy, error, asked, now, chance)
}

/// What becomes of a task whose attempt was given back, for a reason of the host's, and may have started.
#[must_use]
pub fn release(claim: &Claim, reason: String) -> Verdict {
    if claim.redeliveries_max == 0 {
        let message = format!("the attempt was interrupted ({reason}) and this task never starts twice");
        return Verdict::Fail(TaskError::new(Operational::WorkerCrashed, message));
    }
    not_started(claim, reason)
}

/// The same where it has not started: one that never starts twice may be started yet.
fn not_started(claim: &Claim, reason: String) -> Verdict {
    if claim.releases >= RELEASES_MAX {
        let message = format!("the task was given back {RELEASES_MAX} times; the last reason: {reason}");
        Verdict::Fail(TaskError::new(Operational::WorkerCrashed, message))
    } else {
        Verdict::Release(reason)
    }
}

fn retry_or_fail(
    claim: &Claim,
    policy: &RetryPolicy,
    error: TaskError,
    asked: GuestRetry,
    now: DateTime<Utc>,
    chance: f64,
) -> Verdict {
    let max_retries = claim.max_retries.unwrap_or(policy.max_retries);
    let left = claim.redeliveries_max > 0 && claim.retries < max_retries;
    let pause = match asked {
        GuestRetry::Never => None,
        GuestRetry::AfterMs(ms) => left.then(|| Duration::from_millis(ms)),
        GuestRetry::ByPolicy => {
            let policy = RetryPolicy { max_retries, ..policy.clone() };
            (left && policy.wants(&error.code, claim.retries))
                .then(|| policy.pause(claim.retries + 1, chance))
        }
    };
    let in_time = |pause: &Duration| {
        // A pause beyond the calendar's end is beyond any `good_until` too.
        let due = chrono::Duration::from_std(*pause).ok().and_then(|pause| now.checked_add_signed(pause));
        due.is_some_and(|due| claim.good_until.is_none_or(|until| due < until))
    };
    match pause.filter(in_time) {
        Some(pause) => Verdict::Retry(error, pause),
        None => Verdict::Fail(error),
    }
}

fn guest_error(failure: GuestFailure) -> TaskError {
    // The guest SDK reports these two on its author's behalf; nothing is gained by forging them.
    let by_sdk: [ErrorCode; 2] =
        [Contract::ArgumentTypeMismatch.into(), Operational::WorkerResolutionError.into()];
    if let Some(code) = by_sdk.into_iter().find(|code| code.as_str() == failure.code) {
        return failure.into_error(code);
    }
    let wrong = if ErrorCode::from_reserved(&failure.code).is_some() {
        "is reserved for the host"
    } else if !ErrorCode::is_well_formed(&failure.code) {
        "is not SCREAMING_SNAKE_CASE of at most 64 characters"
    } else {
        let code = ErrorCode::User(failure.code.clone());
        return failure.into_error(code);
    };
    let shown: String = failure.code.chars().take(80).collect();
    let message =
        format!("the task returned the code {shown:?}, which {wrong}; its message: {}", failure.message);
    let mut error = failure.into_error(Operational::UnhandledError.into());
    error.message = message;
    error
}

fn host_error(outcome: &Outcome) -> TaskError {
    let limit = |code: ErrorCode, message: String, field: &str, value: u64| {
        TaskError::new(code, message).with_data(json!({ field: value }))
    };
    match outcome {
        Outcome::BadResult(reason) => {
            TaskError::new(Contract::ReturnTypeMismatch, format!("the task returned no valid JSON: {reason}"))
        }
        Outcome::Trapped(reason) => TaskError::new(Sandbox::Trapped, format!("the guest trapped: {reason}")),
        Outcome::OutOfTime(ms) => limit(
            Ending::TaskTimeout.into(),
            format!("the attempt did not end within {ms} ms"),
            "timeout_ms",
            *ms,
        ),
        Outcome::OutOfCpu(ms) => limit(
            Sandbox::CpuExceeded.into(),
            format!("the attempt used more than {ms} ms of CPU time"),
            "cpu_ms_max",
            *ms,
        ),
        Outcome::OutOfMemory(bytes) => limit(
            Sandbox::MemoryExceeded.into(),
            format!("the guest asked for more than {bytes} bytes of memory"),
            "memory_bytes_max",
            *bytes,
        ),
        Outcome::OutputTooLarge(bytes) => limit(
            Sandbox::OutputTooLarge.into(),
            format!("the result has more than {bytes} bytes"),
            "result_bytes_max",
            *bytes,
        ),
        Outcome::StackExhausted => TaskError::new(Sandbox::StackExhausted, "the guest recursed too deeply"),
        Outcome::Denied(what) => TaskError::new(Sandbox::CapabilityDenied, what.clone()),
        Outcome::Returned(_)
        | Outcome::Failed(_)
        | Outcome::Cancelled
        | Outcome::Expired
        | Outcome::Interrupted(_)
        | Outcome::Unstarted(_)
        | Outcome::Postponed(_) => TaskError::new(Operational::UnhandledError, "an outcome that is no error"),
    }
}

#[cfg(test)]
mod tests;
