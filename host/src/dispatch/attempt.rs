//! One claim, from its start to its verdict.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::sandbox::{Call, HostCalls, SandboxError, Stop};
use crate::store::Settle;
use crate::task::verdict::decide;
use crate::task::{Claim, Outcome, Report, TaskId, Used};

use super::calls::Calls;
use super::offers::ServedTask;
use super::shift::Shift;

/// Why an attempt is interrupted that the database forgot, in a crash, to have given to this host.
pub(super) const CLAIM_LOST: &str = "the database lost the claim of this attempt in a crash";
/// How long an attempt that found no sandbox waits before it is given back; twice as long after each time.
const FULL_PAUSE: Duration = Duration::from_millis(50);
const FULL_DOUBLINGS: u32 = 5;

/// An attempt under way, as the rest of the host sees it.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) claim: i64,
    /// Whose code it runs, by its number.
    pub(super) plugin: i32,
    pub(super) stop: Stop,
    pub(super) calls: Option<Arc<Calls>>,
    /// Its guest is gone.
    pub(super) gone: CancellationToken,
}

/// Starts an attempt on the sandbox's threads. It keeps its slot until the guest is gone, and its place
/// among the running until the verdict is written.
pub(super) fn start(shift: &Arc<Shift>, claim: Claim, served: Arc<ServedTask>, slot: OwnedSemaphorePermit) {
    let stop = Stop::new();
    let calls = served.calls_host.then(|| Arc::new(Calls::of(shift, &claim)));
    let running = Running {
        claim: claim.number,
        plugin: served.number,
        stop: stop.clone(),
        calls: calls.clone(),
        gone: CancellationToken::new(),
    };
    let gone = running.gone.clone().drop_guard();
    let shift = shift.clone();
    let Some(twin) = shift.begin(claim.id, running) else {
        launch(shift, claim, served, stop, calls, slot, gone);
        return;
    };
    // What runs can no longer be settled; the attempt that can has taken its place among the running, and begins
    // when its guest is gone.
    twin.stop.interrupt(CLAIM_LOST);
    tokio::spawn(async move {
        twin.gone.cancelled().await;
        launch(shift, claim, served, stop, calls, slot, gone);
    });
}

fn launch(
    shift: Arc<Shift>,
    claim: Claim,
    served: Arc<ServedTask>,
    stop: Stop,
    calls: Option<Arc<Calls>>,
    slot: OwnedSemaphorePermit,
    gone: DropGuard,
) {
    let sandbox = shift.sandbox().clone();
    sandbox.spawn(async move {
        let settle = run(&shift, claim, &served, stop, calls).await;
        drop((slot, gone));
        shift.finish(settle);
    });
}

async fn run(
    shift: &Shift,
    mut claim: Claim,
    served: &ServedTask,
    stop: Stop,
    calls: Option<Arc<Calls>>,
) -> Settle {
    let report = if let Some(until) = claim.good_until.filter(|until| *until <= shift.clock().latest()) {
        // It may be late, so it does not start; and it is not said to be over before it is for sure.
        tokio::time::sleep((until - shift.clock().now()).to_std().unwrap_or_default()).await;
        never_ran(Outcome::Expired)
    } else if !shift.lease().holds() {
        let reason = "the host's lease ran out before the attempt could start";
        never_ran(Outcome::Postponed(reason.to_owned()))
    } else if shift.shared().config.without_sandbox {
        never_ran(Outcome::Returned(b"null".to_vec()))
    } else {
        let call = Call {
            task: served.short.clone(),
            args: std::mem::take(&mut claim.args),
            id: claim.id,
            attempt: claim.attempt,
            retries: claim.retries,
            previous_error: claim.previous_error.clone(),
            limits: served.limits,
            stop,
            host_calls: calls.map(|calls| calls as Arc<dyn HostCalls>),
        };
        match shift.sandbox().run(&served.plugin, call).await {
            Ok(report) => (report, true),
            Err(error @ SandboxError::Full(_)) => {
                // With the slot in hand: what is given back at once is claimed at once, and finds no place either.
                let before = claim.attempt - 1 - claim.retries.min(claim.attempt - 1);
                tokio::time::sleep(FULL_PAUSE * 2_u32.pow(before.min(FULL_DOUBLINGS))).await;
                never_ran(Outcome::Postponed(error.to_string()))
            }
            Err(error @ SandboxError::Panicked(_)) => {
                if shift.watch.panicked(served.number) {
                    shift.poll_now.notify_one();
                }
                never_ran(Outcome::Interrupted(error.to_string()))
            }
            Err(error) => never_ran(Outcome::Unstarted(error.to_string())),
        }
    };
    let (mut report, ran) = report;
    let used = ran.then_some(report.used);
    let log_tail = std::mem::take(&mut report.log_tail);
    trace(&claim, served, &report);
    let verdict = decide(&claim, &served.retry, report, shift.clock().now(), fastrand::f64());
    Settle { claim, verdict, used, plugin: Some(served.number), log_tail }
}

fn never_ran(outcome: Outcome) -> (Report, bool) {
    let report =
        Report { outcome, used: Used::default(), log_tail: String::new(), stderr_tail: String::new() };
    (report, false)
}

fn trace(claim: &Claim, served: &ServedTask, report: &Report) {
    let Used { cpu_ms, wall_ms, .. } = report.used;
    match &report.outcome {
        Outcome::Returned(result) => tracing::debug!(
            task.id = %claim.id, task.name = %served.name, attempt = claim.attempt, cpu_ms, wall_ms,
            result_bytes = result.len(), "attempt returned"
        ),
        outcome => {
            // Payloads are never logged: an outcome's name and figures are enough here.
            let outcome = name(outcome);
            tracing::info!(
                task.id = %claim.id, task.name = %served.name, attempt = claim.attempt, cpu_ms, wall_ms,
                outcome, "attempt did not return a result"
            );
        }
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Returned(_) => "returned",
        Outcome::Failed(_) => "failed",
        Outcome::BadResult(_) => "bad result",
        Outcome::Trapped(_) => "trapped",
        Outcome::OutOfTime(_) => "out of time",
        Outcome::OutOfCpu(_) => "out of cpu",
        Outcome::OutOfMemory(_) => "out of memory",
        Outcome::StackExhausted => "stack exhausted",
        Outcome::OutputTooLarge(_) => "output too large",
        Outcome::Denied(_) => "denied",
        Outcome::Cancelled => "cancelled",
        Outcome::Expired => "expired",
        Outcome::Interrupted(_) => "interrupted",
        Outcome::Unstarted(_) => "not started",
        Outcome::Postponed(_) => "postponed",
    }
}

/// Progress to write: task, claim, fraction and note.
pub(super) type ProgressRow = (TaskId, i64, f32, String);
