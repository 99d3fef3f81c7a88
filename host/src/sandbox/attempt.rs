//! One run of a guest: a fresh store, a call, and whatever ends it first.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use wasmtime::{Engine, Store};

use super::bindings::Failure;
use super::error::{SandboxError, panic_text};
use super::grants::Powers;
use super::guest::{self, Facts, Guest};
use super::meter::Meter;
use super::plugin::Body;
use super::reach::Values;
use super::stop::{Stop, Wish, after};
use super::turns::Turns;
use super::{Limits, Plugin, result};
use crate::task::{Contract, GuestFailure, GuestRetry, NewChild, Outcome, Report, TaskId, Used};

/// What a guest may ask of the host beside its sandbox. Called from the guest's thread.
pub trait HostCalls: Values {
    /// How far the attempt is: 0 to 1, and a note of at most 1 KiB. Quick, and never waiting.
    fn progress(&self, fraction: f64, note: &str);

    /// Whether the attempt is still this host's. Asked before a request leaves; if not, the guest stops there.
    fn may_act(&self) -> bool;

    /// What an attempt of this task kept under this name. Dropping the future is safe.
    ///
    /// # Errors
    /// Why it cannot be told, for the guest.
    fn recall(&self, name: String) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>>;

    /// Keeps a step durably, at most 1 MiB, fenced by the attempt's claim. A future that is dropped may have kept it.
    ///
    /// # Errors
    /// Why it is not kept, for the guest.
    fn keep(&self, name: String, value: Vec<u8>) -> BoxFuture<'static, Result<(), String>>;

    /// Sends a task durably, fenced by the attempt's claim, and gives its id. A future that is dropped may have sent it.
    ///
    /// # Errors
    /// Why nothing was sent, for the guest.
    fn send(&self, child: NewChild) -> BoxFuture<'static, Result<String, String>>;
}

/// One attempt to run.
#[derive(Clone)]
pub struct Call {
    /// The task's short name.
    pub task: String,
    /// The arguments, UTF-8 JSON. They are handed to the guest as they are.
    pub args: Vec<u8>,
    /// The task's id.
    pub id: TaskId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// How many failed attempts were retried before.
    pub retries: u32,
    /// The code the attempt before this one ended with.
    pub previous_error: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// Ends it from outside. One for each attempt.
    pub stop: Stop,
    /// What it may ask beside its sandbox; without, progress goes nowhere and nothing can be lost.
    pub host_calls: Option<Arc<dyn HostCalls>>,
}

/// Which export is called.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    Describe,
    Run { task: &'a str, args: &'a [u8] },
}

/// Where a run was when it broke off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Instantiate,
    Call,
}

/// What ended a run.
enum Ended {
    ByItself(Result<Result<Vec<u8>, Failure>, (Phase, wasmtime::Error)>),
    OutOfTime,
    Cancelled,
    Interrupted(String),
    /// The same before the first instruction.
    Unstarted(String),
}

/// Runs one attempt. Dropping the future kills the guest, in a host call too.
pub(super) async fn run(
    engine: &Engine,
    turns: &Turns,
    plugin: &Plugin,
    call: Call,
) -> Result<Report, SandboxError> {
    if call.args.len() as u64 > call.limits.args_bytes_max {
        return Ok(refused(&call));
    }
    let began = Instant::now();
    let facts = Facts {
        id: call.id,
        attempt: call.attempt,
        retries: call.retries,
        previous_error: call.previous_error,
        deadline: after(began, Duration::from_millis(call.limits.timeout_ms)),
        stop: call.stop,
        host_calls: call.host_calls,
        turns: turns.clone(),
    };
    let entry = Entry::Run { task: &call.task, args: &call.args };
    enter(engine, plugin.body(), plugin.powers(), facts, &call.limits, entry).await
}

/// Makes a fresh store, calls the export in it and tells what came of it.
///
/// # Errors
/// [`SandboxError`] where the host is at fault.
pub(super) async fn enter(
    engine: &Engine,
    body: &Body,
    powers: Option<&Powers>,
    facts: Facts,
    limits: &Limits,
    entry: Entry<'_>,
) -> Result<Report, SandboxError> {
    let began = Instant::now();
    let (deadline, stop, turns) = (facts.deadline, facts.stop.clone(), facts.turns.clone());
    let meter = Arc::new(Meter::new(&facts.turns));
    let mut store = guest::store(engine, facts, limits, &meter, powers)?;

    // A panic in a host function passes through the guest and ends here, not in the runtime's worker. Nothing
    // that it may have left half-done is used again: the store is only asked for counts, then dropped.
    let run = AssertUnwindSafe(meter.measure(call(body, &mut store, entry, limits)));
    let ended = drive(run.catch_unwind(), deadline, &stop, &turns).await;
    let ended = ended.map_err(|panic| SandboxError::Panicked(panic_text(&*panic)))?;

    let guest = store.data();
    let (log_tail, stderr_tail) = guest.journal.finish();
    let outcome = match ended {
        Ended::ByItself(Ok(answer)) => result::returned(answer, limits),
        Ended::ByItself(Err((phase, error))) => {
            result::stopped(&error, phase, limits, &guest.limiter, &stderr_tail)?
        }
        Ended::OutOfTime => Outcome::OutOfTime(limits.timeout_ms),
        Ended::Cancelled => Outcome::Cancelled,
        Ended::Interrupted(reason) => Outcome::Interrupted(reason),
        Ended::Unstarted(reason) => Outcome::Unstarted(reason),
    };
    let outcome = match (outcome, guest.denied()) {
        // A guest may well do without. If it fails, the refusal is what its operator has to know.
        (Outcome::Failed(_) | Outcome::Trapped(_) | Outcome::BadResult(_), Some(denied)) => {
            Outcome::Denied(denied)
        }
        (other, _) => other,
    };
    let outcome = match outcome {
        returned @ (Outcome::Returned(_)
        | Outcome::Failed(_)
        | Outcome::Interrupted(_)
        | Outcome::Unstarted(_)) => returned,
        // Whoever cancelled wants no retry of a guest that broke off instead of returning.
        _ if matches!(stop.wish(), Wish::Cancel(_)) => Outcome::Cancelled,
        other => other,
    };
    let used = Used {
        cpu_ms: ms_up(meter.used()),
        wall_ms: ms_up(began.elapsed()),
        memory_bytes_peak: guest.limiter.memory_bytes_peak(),
        result_bytes: match &outcome {
            Outcome::Returned(result) => u32::try_from(result.len()).unwrap_or(u32::MAX),
            _ => 0,
        },
    };
    Ok(Report { outcome, used, log_tail, stderr_tail })
}

async fn call(
    body: &Body,
    store: &mut Store<Guest>,
    entry: Entry<'_>,
    limits: &Limits,
) -> Result<Result<Vec<u8>, Failure>, (Phase, wasmtime::Error)> {
    let pre = match (body, entry) {
        (Body::Contract(pre), _) => pre,
        (Body::Functions(pre, functions), Entry::Run { task, args }) => {
            // Boxed: the others need not carry the room for it.
            return Box::pin(functions.call(pre, store, (task, args), limits)).await;
        }
        (Body::Functions(..), Entry::Describe) => {
            return Err((Phase::Call, wasmtime::format_err!("its types describe it")));
        }
    };
    let plugin = pre.instantiate_async(&mut *store).await.map_err(|error| (Phase::Instantiate, error))?;
    let guest = plugin.hostler_plugin_guest();
    let answer = match entry {
        Entry::Describe => guest.call_describe(store).await.map(Ok),
        Entry::Run { task, args } => guest.call_run(store, task, args).await,
    };
    answer.map_err(|error| (Phase::Call, error))
}

/// Waits for the run, its deadline and the outside, whichever comes first; the run is dropped with it.
async fn drive<P>(
    run: impl Future<Output = Result<Result<Result<Vec<u8>, Failure>, (Phase, wasmtime::Error)>, P>>,
    deadline: Instant,
    stop: &Stop,
    turns: &Turns,
) -> Result<Ended, P> {
    // Asked before the first instruction: then there is none.
    match stop.wish() {
        Wish::GoOn => {}
        Wish::Cancel(_) => return Ok(Ended::Cancelled),
        Wish::Interrupt(reason) => return Ok(Ended::Unstarted(reason)),
    }
    let mut run = pin!(run);
    loop {
        let (until, ended) = match stop.wish() {
            Wish::Interrupt(reason) => return Ok(Ended::Interrupted(reason)),
            Wish::Cancel(until) => (until.min(deadline), Ended::Cancelled),
            Wish::GoOn => (deadline, Ended::OutOfTime),
        };
        tokio::select! {
            // In this order: a run that ends within one poll costs no timer, and a result wins, but for an interrupt:
            // where many are interrupted at once, each would compute for one more turn before the next one ends.
            biased;
            () = stop.interrupted() => {}
            done = &mut run => return done.map(Ended::ByItself),
            () = stop.changed() => {}
            () = turns.sleep_until(until) => return Ok(ended),
        }
    }
}

/// Arguments over the limit never reach a guest, and the same call fails the same way.
fn refused(call: &Call) -> Report {
    let (size, max) = (call.args.len(), call.limits.args_bytes_max);
    let failure = GuestFailure {
        code: Contract::ArgumentTypeMismatch.as_str().to_owned(),
        message: format!("the arguments have {size} bytes, the task takes at most {max}"),
        data: Some(format!(r#"{{"args_bytes":{size},"args_bytes_max":{max}}}"#).into_bytes()),
        retry: GuestRetry::Never,
    };
    let outcome = Outcome::Failed(failure);
    Report { outcome, used: Used::default(), log_tail: String::new(), stderr_tail: String::new() }
}

fn ms_up(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
