//! One claim, from its start to its verdict.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::sandbox::{Call, HostCalls, Stop};
use crate::store::Settle;
use crate::task::verdict::{decide, release};
use crate::task::{Claim, Outcome, Report, TaskId, Used};

use super::calls::Calls;
use super::offers::ServedTask;
use super::shift::Shift;

/// An attempt under way, as the rest of the host sees it.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) claim: i64,
    pub(super) stop: Stop,
    pub(super) calls: Option<Arc<Calls>>,
}

/// Starts an attempt on the sandbox's threads. It keeps its slot until the guest is gone, and its place
/// among the running until the verdict is written.
pub(super) fn start(shift: &Arc<Shift>, claim: Claim, served: Arc<ServedTask>, slot: OwnedSemaphorePermit) {
    let stop = Stop::new();
    let calls = served.calls_host.then(|| Arc::new(Calls::of(shift, &claim)));
    let running = Running { claim: claim.number, stop: stop.clone(), calls: calls.clone() };
    if !shift.begin(claim.id, running) {
        // The database forgot, in a crash, that this host has it. What runs cannot be settled any more.
        let verdict =
            release(&claim, "this host still runs it under a claim that the database lost".to_owned());
        shift.finish(Settle { claim, verdict, used: None, plugin: None, log_tail: String::new() });
        return;
    }
    let call_shift = shift.clone();
    shift.sandbox().spawn(async move {
        let settle = run(&call_shift, claim, &served, stop, calls).await;
        drop(slot);
        call_shift.finish(settle);
    });
}

async fn run(
    shift: &Shift,
    mut claim: Claim,
    served: &ServedTask,
    stop: Stop,
    calls: Option<Arc<Calls>>,
) -> Settle {
    let reason = |what: &str| Outcome::Interrupted(what.to_owned());
    let report = if claim.good_until.is_some_and(|until| until <= shift.clock().now()) {
        never_ran(Outcome::Expired)
    } else if !shift.lease().holds() {
        never_ran(reason("the host's lease ran out before the attempt could start"))
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
            Err(error) => never_ran(Outcome::Interrupted(error.to_string())),
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
    }
}

/// Progress to write: task, claim, fraction and note.
pub(super) type ProgressRow = (TaskId, i64, f32, String);
