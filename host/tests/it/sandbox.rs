//! What a sandbox does with guests that behave, and with those that do not.

mod any;
mod cancel;
mod compile;
mod crafted;
mod deadly;
mod directory;
mod files;
mod grants;
mod greedy;
mod hostile;
mod outside;
mod reload;

use std::fs;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::future::poll_immediate;
use hostler::sandbox::{Call, Limits, Plugin, Sandbox, SandboxConfig, SandboxError, Stop};
use hostler::task::{GuestRetry, Outcome, Report, TaskId};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::support::component;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// One for all tests: none of them can tell, which is what a sandbox is for.
fn sandbox() -> Arc<Sandbox> {
    static SHARED: LazyLock<Arc<Sandbox>> = LazyLock::new(|| {
        let config = SandboxConfig { slots: 64, threads: 4, ..SandboxConfig::default() };
        Sandbox::start(config).expect("a sandbox")
    });
    Arc::clone(&SHARED)
}

/// The plugin of most tests, compiled once.
async fn misbehaving() -> Arc<Plugin> {
    static SHARED: OnceCell<Arc<Plugin>> = OnceCell::const_new();
    Arc::clone(SHARED.get_or_init(async || load(&sandbox(), "misbehave").await).await)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(component(name)).expect("the component is built")
}

async fn load(sandbox: &Sandbox, name: &str) -> Arc<Plugin> {
    Arc::new(sandbox.load(name, bytes(name)).await.expect(name))
}

/// A call with limits that only a broken host exceeds.
fn call(task: &str, args: &str) -> Call {
    Call {
        task: task.to_owned(),
        args: args.as_bytes().to_vec(),
        id: TaskId::now_v7(),
        attempt: 1,
        retries: 0,
        previous_error: None,
        limits: Limits { timeout_ms: 50_000, cpu_ms_max: 40_000, ..Limits::default() },
        stop: Stop::new(),
        host_calls: None,
    }
}

fn limited(task: &str, args: &str, limit: impl FnOnce(&mut Limits)) -> Call {
    let mut call = call(task, args);
    limit(&mut call.limits);
    call
}

async fn run(sandbox: &Arc<Sandbox>, plugin: &Arc<Plugin>, call: Call) -> Report {
    let (inner, plugin) = (Arc::clone(sandbox), Arc::clone(plugin));
    let run = sandbox.spawn(async move { inner.run(&plugin, call).await });
    timeout(LONG, run).await.expect("in time").expect("no panic").expect("the host is in order")
}

async fn misbehave(call: Call) -> Report {
    let sandbox = sandbox();
    let plugin = misbehaving().await;
    let report = run(&sandbox, &plugin, call).await;
    // Whatever that did, a neighbour does not notice.
    let after = run(&sandbox, &plugin, self::call("noop", "{}")).await;
    assert_eq!(after.outcome, Outcome::Returned(b"{}".to_vec()));
    report
}

fn trapped(report: &Report) -> &str {
    match &report.outcome {
        Outcome::Trapped(reason) => reason,
        other => panic!("not trapped: {other:?}"),
    }
}

#[tokio::test]
async fn a_task_returns_its_result_and_what_it_used() {
    let sandbox = sandbox();
    let text = load(&sandbox, "text").await;
    assert_eq!((text.name(), text.digest().len()), ("text", 64));
    assert!(text.task("word_count").is_some() && text.task("no_such_task").is_none());
    assert!(text.imports().iter().any(|import| import.starts_with("wasi:")), "{:?}", text.imports());
    let report = run(&sandbox, &text, call("word_count", r#"{"text": "one two"}"#)).await;
    let Outcome::Returned(json) = &report.outcome else { panic!("{report:?}") };
    let counts: serde_json::Value = serde_json::from_slice(json).expect("JSON");
    assert_eq!(counts["words"], 2, "{counts}");
    assert_eq!(report.used.result_bytes as usize, json.len());
    assert!(report.used.memory_bytes_peak >= MIB && report.used.wall_ms >= 1, "{:?}", report.used);
}

#[tokio::test]
async fn a_task_that_is_not_there_is_the_guests_answer() {
    let Outcome::Failed(failure) = misbehave(call("no_such_task", "{}")).await.outcome else {
        panic!("it failed")
    };
    assert_eq!(failure.code, "WORKER_RESOLUTION_ERROR");
}

#[tokio::test]
async fn a_panic_says_why() {
    let report = misbehave(call("trap", "{}")).await;
    let reason = trapped(&report);
    assert!(reason.contains("unreachable") && reason.contains("misbehave was told to panic"), "{reason}");
    assert!(!reason.contains('\n'), "one line");
    assert!(report.stderr_tail.contains("told to panic") && report.log_tail.contains("told to panic"));
}

#[tokio::test]
async fn an_abort_without_a_word_is_a_trap() {
    let report = misbehave(call("abort", "{}")).await;
    assert_eq!(trapped(&report), "wasm `unreachable` instruction executed");
}

#[tokio::test]
async fn leaving_the_process_is_an_error_even_with_0() {
    assert_eq!(trapped(&misbehave(call("exit", r#"{"code": 0}"#)).await), "the guest called exit(0)");
    assert_eq!(trapped(&misbehave(call("exit", r#"{"code": 7}"#)).await), "the guest called exit(1)");
}

#[tokio::test]
async fn a_refused_allocation_is_no_panic() {
    let report = misbehave(limited("allocate", r#"{"mib": 64}"#, |l| l.memory_bytes_max = 32 * MIB)).await;
    assert_eq!(report.outcome, Outcome::OutOfMemory(32 * MIB));
    let peak = report.used.memory_bytes_peak;
    assert!((16 * MIB..=32 * MIB).contains(&peak), "{peak}");

    let report = misbehave(limited("allocate", r#"{"mib": 16}"#, |l| l.memory_bytes_max = 32 * MIB)).await;
    assert_eq!(report.outcome, Outcome::Returned((16 * MIB).to_string().into_bytes()));
}

#[tokio::test]
async fn less_memory_than_a_guest_starts_with_is_out_of_memory() {
    let report = misbehave(limited("noop", "{}", |l| l.memory_bytes_max = 64 << 10)).await;
    assert_eq!(report.outcome, Outcome::OutOfMemory(64 << 10));
}

#[tokio::test]
async fn endless_recursion_exhausts_the_stack() {
    assert_eq!(misbehave(call("recurse", "{}")).await.outcome, Outcome::StackExhausted);
}

#[tokio::test]
async fn what_a_guest_is_not_granted_is_denied_when_it_uses_it_and_not_before() {
    let report = misbehave(call("connect", r#"{"to": "127.0.0.1:1"}"#)).await;
    let Outcome::Denied(told) = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(told.contains("wasi:sockets/"), "{told}");
}

#[tokio::test]
async fn a_flood_is_swallowed_with_success() {
    let report = misbehave(limited("flood", r#"{"lines": 20000}"#, |l| l.log_bytes_max = 10_000)).await;
    assert!(matches!(report.outcome, Outcome::Returned(_)), "{:?}", report.outcome);
    assert!(report.log_tail.len() < 10_000, "{}", report.log_tail.len());
    assert_eq!(
        report.log_tail.matches("more bytes of output were dropped").count(),
        1,
        "{}",
        report.log_tail
    );
}

#[tokio::test]
async fn lines_beyond_their_number_are_dropped_and_counted() {
    let report = misbehave(limited("flood", r#"{"lines": 100}"#, |l| l.log_lines_max = 2)).await;
    assert!(matches!(report.outcome, Outcome::Returned(_)), "{:?}", report.outcome);
    let lines: Vec<&str> = report.log_tail.lines().collect();
    assert!(lines.len() == 3 && lines[2].ends_with("more bytes of output were dropped]"), "{lines:?}");
}

#[tokio::test]
async fn a_result_has_a_size() {
    let big =
        |bytes: u64| limited("big_result", &format!(r#"{{"bytes": {bytes}}}"#), |l| l.result_bytes_max = MIB);
    assert!(matches!(misbehave(big(MIB / 2)).await.outcome, Outcome::Returned(_)));
    assert_eq!(misbehave(big(MIB)).await.outcome, Outcome::OutputTooLarge(MIB), "found by its length");
    assert_eq!(misbehave(big(20 * MIB)).await.outcome, Outcome::OutputTooLarge(MIB), "never copied");
}

#[tokio::test]
async fn arguments_over_the_limit_never_reach_the_guest() {
    let report = misbehave(limited("noop", r#"{"pad": "0123456789"}"#, |l| l.args_bytes_max = 10)).await;
    let Outcome::Failed(failure) = report.outcome else { panic!("{report:?}") };
    assert_eq!((failure.code.as_str(), failure.retry), ("ARGUMENT_TYPE_MISMATCH", GuestRetry::Never));
    assert_eq!(report.used.cpu_ms, 0);
}

#[tokio::test]
async fn handles_have_a_limit_and_a_million_host_calls_are_only_time() {
    let report = misbehave(limited("hoard", r#"{"times": 100}"#, |l| l.resources_max = 50)).await;
    assert_eq!(trapped(&report), "the guest holds more than 50 handles (resources_max)");
    let report = misbehave(call("hoard", r#"{"times": 100}"#)).await;
    assert_eq!(report.outcome, Outcome::Returned(b"100".to_vec()));
    let report = misbehave(call("pester", r#"{"times": 1000000}"#)).await;
    assert_eq!(report.outcome, Outcome::Returned(b"1000000".to_vec()));
}

#[tokio::test]
async fn a_message_to_the_host_has_a_size() {
    let huge = limited("shout", r#"{"bytes": 6000000}"#, |l| l.result_bytes_max = MIB);
    assert!(trapped(&misbehave(huge).await).contains("fuel"), "never copied");
    let report = misbehave(call("shout", r#"{"bytes": 100000}"#)).await;
    assert_eq!(report.outcome, Outcome::Returned(b"100000".to_vec()));
}

#[tokio::test]
async fn a_reserved_code_comes_through_as_it_was_given() {
    let Outcome::Failed(failure) = misbehave(call("reserved_code", "{}")).await.outcome else {
        panic!("it failed")
    };
    assert_eq!(failure.code, "TRAPPED", "the verdict deals with it");
}

#[tokio::test]
async fn nothing_outlives_an_attempt() {
    let sandbox = sandbox();
    let plugin = misbehaving().await;
    for _ in 0..20 {
        assert_eq!(
            run(&sandbox, &plugin, call("counter", "{}")).await.outcome,
            Outcome::Returned(b"1".to_vec())
        );
    }
}

#[tokio::test]
async fn a_spinner_ends_at_its_cpu_budget() {
    let report = misbehave(limited("spin", "{}", |l| l.cpu_ms_max = 100)).await;
    assert_eq!(report.outcome, Outcome::OutOfCpu(100));
    assert!((100..5_000).contains(&report.used.cpu_ms), "{:?}", report.used);
}

#[tokio::test]
async fn a_spinner_ends_at_its_timeout() {
    let report = misbehave(limited("spin", "{}", |l| l.timeout_ms = 100)).await;
    assert_eq!(report.outcome, Outcome::OutOfTime(100));
    assert!(report.used.wall_ms >= 100, "{:?}", report.used);
}

#[tokio::test]
async fn a_sleeper_uses_time_but_no_cpu() {
    let report = misbehave(limited("sleep", r#"{"ms": 300}"#, |l| l.cpu_ms_max = 200)).await;
    assert_eq!(report.outcome, Outcome::Returned(b"300".to_vec()));
    assert!(report.used.cpu_ms < 200 && report.used.wall_ms >= 300, "{:?}", report.used);
    let report = misbehave(limited("sleep", r#"{"ms": 600000}"#, |l| l.timeout_ms = 100)).await;
    assert_eq!(report.outcome, Outcome::OutOfTime(100));
}

/// Runs a guest that does not end by itself, up to its first pause, then acts.
async fn interfere(task: &str, act: impl FnOnce(&Stop)) -> Outcome {
    let sandbox = sandbox();
    let plugin = misbehaving().await;
    let call = call(task, if task == "sleep" { r#"{"ms": 600000}"# } else { "{}" });
    let stop = call.stop.clone();
    let mut run = Box::pin(sandbox.run(&plugin, call));
    assert!(poll_immediate(&mut run).await.is_none(), "{task} is running");
    act(&stop);
    timeout(LONG, run).await.expect("in time").expect("the host is in order").outcome
}

#[tokio::test]
async fn a_cancelled_guest_may_finish_within_the_grace() {
    let outcome = interfere("spin_until_cancelled", |stop| stop.cancel(LONG)).await;
    assert!(matches!(outcome, Outcome::Returned(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_cancelled_guest_that_goes_on_is_ended_after_the_grace() {
    for task in ["spin", "sleep"] {
        let outcome = interfere(task, |stop| stop.cancel(Duration::from_millis(50))).await;
        assert_eq!(outcome, Outcome::Cancelled, "{task}");
    }
}

#[tokio::test]
async fn an_interrupt_ends_a_guest_at_once_even_in_a_host_call() {
    for task in ["spin", "sleep"] {
        let act = |stop: &Stop| {
            stop.cancel(LONG);
            stop.interrupt("the claim is lost");
        };
        assert_eq!(
            interfere(task, act).await,
            Outcome::Interrupted("the claim is lost".to_owned()),
            "{task}"
        );
    }
}

#[tokio::test]
async fn an_interrupt_is_no_cancel_that_a_guest_could_answer_with_a_result() {
    let outcome = interfere("spin_until_cancelled", |stop| stop.interrupt("shutdown")).await;
    assert_eq!(outcome, Outcome::Interrupted("shutdown".to_owned()));
}

#[tokio::test]
async fn what_is_stopped_before_it_starts_never_runs() {
    let cancelled = call("trap", "{}");
    cancelled.stop.cancel(LONG);
    assert_eq!(misbehave(cancelled).await.outcome, Outcome::Cancelled);
    let interrupted = call("trap", "{}");
    interrupted.stop.interrupt("shutdown");
    let report = misbehave(interrupted).await;
    assert_eq!(report.outcome, Outcome::Unstarted("shutdown".to_owned()));
    assert_eq!((report.used.cpu_ms, report.log_tail.as_str()), (0, ""));
}

#[tokio::test]
async fn spinning_guests_do_not_delay_the_hosts_timers() {
    let sandbox = sandbox();
    let plugin = misbehaving().await;
    let stops: Vec<Stop> = (0..6).map(|_| Stop::new()).collect();
    let spinners: Vec<_> = stops
        .iter()
        .map(|stop| {
            let (inner, plugin) = (Arc::clone(&sandbox), Arc::clone(&plugin));
            let call = Call { stop: stop.clone(), ..call("spin", "{}") };
            sandbox.spawn(async move { inner.run(&plugin, call).await })
        })
        .collect();
    let mut worst = Duration::ZERO;
    let mut timer = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..50 {
        let asked = Instant::now();
        timer.tick().await;
        worst = worst.max(asked.elapsed());
    }
    // A neighbour gets its turn between two ticks.
    let neighbour = run(&sandbox, &plugin, call("noop", "{}")).await;
    assert!(matches!(neighbour.outcome, Outcome::Returned(_)));
    stops.iter().for_each(|stop| stop.interrupt("enough"));
    for spinner in spinners {
        let report = timeout(LONG, spinner).await.expect("in time").expect("no panic").expect("in order");
        assert_eq!(report.outcome, Outcome::Interrupted("enough".to_owned()));
    }
    assert!(worst < Duration::from_secs(2), "{worst:?}");
}

#[tokio::test]
async fn a_full_pool_is_no_outcome() {
    let config = SandboxConfig { slots: 1, threads: 2, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    let plugin = load(&sandbox, "misbehave").await;
    let mut held = Vec::new();
    loop {
        let mut run = Box::pin(sandbox.run(&plugin, call("spin", "{}")));
        match poll_immediate(&mut run).await {
            None => held.push(run),
            Some(Err(SandboxError::Full(_))) => break,
            Some(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(held.len(), 3, "one slot, and two for describe");
    drop(held);
    let after = run(&sandbox, &plugin, call("noop", "{}")).await;
    assert!(matches!(after.outcome, Outcome::Returned(_)), "killed guests leave their place");
}
