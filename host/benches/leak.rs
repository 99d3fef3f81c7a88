//! Whether attempts leave anything behind: the host's memory after many of them against that after the first tenth.
//!
//! `cargo bench -p hostler --bench leak -- --attempts 100000`. Among them are traps, refused memory, failures and
//! timeouts. Fails if memory has grown by more than a tenth. `HOSTLER_BENCH_PLUGIN` names the component.

use std::path::PathBuf;
use std::sync::Arc;

use hostler::sandbox::{Call, Limits, Plugin, Sandbox, SandboxConfig, Stop};
use hostler::task::{Outcome, TaskId};

/// Attempts at once.
const LANES: u64 = 8;

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--attempts").skip(1);
    let attempts: u64 = args.next().map_or(100_000, |text| text.parse().expect("a number"));
    let path = std::env::var_os("HOSTLER_BENCH_PLUGIN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/dist/misbehave.wasm")),
        PathBuf::from,
    );
    let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let slots = usize::try_from(LANES).expect("a small number");
    let sandbox =
        Sandbox::start(SandboxConfig { slots, threads: 2, ..SandboxConfig::default() }).expect("started");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let plugin = Arc::new(runtime.block_on(sandbox.load("misbehave", wasm)).expect("loaded"));

    runtime.block_on(run(&sandbox, &plugin, 0, attempts / 10));
    let first = resident_kib();
    runtime.block_on(run(&sandbox, &plugin, attempts / 10, attempts));
    let last = resident_kib();
    println!("{first} KiB after {} attempts, {last} KiB after {attempts}", attempts / 10);
    assert!(last * 10 <= first * 11, "memory grew by more than a tenth");
}

/// Runs the attempts with these numbers, some at once.
async fn run(sandbox: &Arc<Sandbox>, plugin: &Arc<Plugin>, from: u64, to: u64) {
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| {
            let (inner, plugin) = (sandbox.clone(), plugin.clone());
            sandbox.spawn(async move {
                for number in (from..to).filter(|number| number % LANES == lane) {
                    let (call, fits) = attempt(number);
                    let report = inner.run(&plugin, call).await.expect("the host is in order");
                    assert!(fits(&report.outcome), "attempt {number}: {:?}", report.outcome);
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.expect("no panic");
    }
}

type Fits = fn(&Outcome) -> bool;

/// What the attempt with this number does, and what has to come of it.
fn attempt(number: u64) -> (Call, Fits) {
    let mut limits = Limits { timeout_ms: 60_000, cpu_ms_max: 30_000, ..Limits::DEFAULT };
    let (task, args, fits): (&str, &str, Fits) = match number % 1000 {
        0 | 500 => {
            limits.timeout_ms = 5;
            ("spin", "{}", |outcome| matches!(outcome, Outcome::OutOfTime(_)))
        }
        n if n % 20 == 1 => ("trap", "{}", |outcome| matches!(outcome, Outcome::Trapped(_))),
        n if n % 20 == 2 => ("reserved_code", "{}", |outcome| matches!(outcome, Outcome::Failed(_))),
        n if n % 50 == 3 => ("flood", r#"{"lines": 20}"#, |outcome| matches!(outcome, Outcome::Returned(_))),
        n if n % 100 == 4 => {
            limits.memory_bytes_max = 4 << 20;
            ("allocate", r#"{"mib": 8}"#, |outcome| matches!(outcome, Outcome::OutOfMemory(_)))
        }
        _ => ("noop", "{}", |outcome| matches!(outcome, Outcome::Returned(_))),
    };
    let call = Call {
        task: task.to_owned(),
        args: args.as_bytes().to_vec(),
        id: TaskId::now_v7(),
        attempt: 1,
        retries: 0,
        previous_error: None,
        limits,
        stop: Stop::new(),
        host_calls: None,
    };
    (call, fits)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("KiB")
}
