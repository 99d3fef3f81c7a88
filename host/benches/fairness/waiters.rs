//! Guests that wait for an HTTP answer, all at once in one host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hostler::sandbox::{Call, Limits, Sandbox, SandboxConfig, Stop};
use hostler::task::{Outcome, TaskId};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::Bench;
use crate::common::round;

/// The word that makes this program the server.
pub(crate) const SERVER: &str = "take-connections-and-never-answer";

pub(crate) async fn run(bench: &Bench) -> Value {
    let guests = bench.options.count("guests", 10_000);
    let server = Server::start().await;
    let wasm = std::fs::read(bench.plugins.join("misbehave.wasm")).expect("the plugin");
    let origin = format!("http://127.0.0.1:{}", server.port);
    let grants = format!("[[http]]\norigin = \"{origin}\"\nprivate = true\n");
    let sandbox =
        Sandbox::start(SandboxConfig { slots: guests, ..SandboxConfig::default() }).expect("a sandbox");
    let plugin = sandbox.load_granted("misbehave", wasm, Some(&grants)).await.expect("loaded");
    let plugin = Arc::new(plugin);
    let (idle, began) = (resident(), Instant::now());
    let done = Arc::new(AtomicUsize::new(0));
    let args = format!(r#"{{"url": "{origin}/"}}"#).into_bytes();
    let start = |_| {
        let stop = Stop::new();
        let call = Call {
            task: "fetch".to_owned(),
            args: args.clone(),
            id: TaskId::now_v7(),
            attempt: 1,
            retries: 0,
            previous_error: None,
            limits: Limits {
                timeout_ms: 600_000,
                http_connect_ms_max: 300_000,
                http_read_ms_max: 600_000,
                ..Limits::DEFAULT
            },
            stop: stop.clone(),
            host_calls: None,
        };
        let (inner, plugin, done) = (sandbox.clone(), plugin.clone(), done.clone());
        let run = sandbox.spawn(async move {
            let report = inner.run(&plugin, call).await.expect("the host is in order");
            done.fetch_add(1, Relaxed);
            report.outcome
        });
        (stop, run)
    };
    let all: Vec<_> = (0..guests).map(start).collect();
    let connected = connected(server.port, guests).await;
    let (at_once, waiting) = (resident(), began.elapsed());
    let ended_before = done.load(Relaxed);
    let asked = Instant::now();
    all.iter().for_each(|(stop, _)| stop.cancel(Duration::ZERO));
    let mut cancelled = 0;
    for (_, run) in all {
        cancelled += usize::from(run.await.expect("no panic") == Outcome::Cancelled);
    }
    // The system's table may tell of one twice while it changes.
    assert!(connected >= guests, "{connected} of {guests} connected");
    assert_eq!((ended_before, cancelled), (0, guests), "ended, cancelled");
    json!({
        "guests": guests, "connected": connected, "ended_by_themselves": ended_before, "cancelled": cancelled,
        "all_wait_after_seconds": round(waiting.as_secs_f64(), 2),
        "all_cancelled_after_seconds": round(asked.elapsed().as_secs_f64(), 2),
        "resident_mib_idle": round(idle / 1_048_576.0, 1), "resident_mib": round(at_once / 1_048_576.0, 1),
        "resident_kib_each": round((at_once - idle) / guests as f64 / 1024.0, 1),
    })
}

/// A server that takes connections and never answers, in a process of its own: descriptors count for each.
struct Server {
    port: u16,
    _child: tokio::process::Child,
}

impl Server {
    async fn start() -> Self {
        let own = std::env::current_exe().expect("this program");
        let mut child = Command::new(own)
            .arg(SERVER)
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it runs");
        let mut lines = tokio::io::BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line).await.expect("a port");
        Self { port: line.trim().parse().expect("a port"), _child: child }
    }
}

/// Takes connections until it is killed.
pub(crate) fn serve() -> ! {
    // A sandbox raises this process's limit of descriptors as far as it may be, as the host's own does.
    let _raises = Sandbox::start(SandboxConfig { slots: 1, ..SandboxConfig::default() });
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a server");
    println!("{}", server.local_addr().expect("an address").port());
    let mut held = Vec::new();
    loop {
        held.push(server.accept().expect("a connection"));
    }
}

/// Waits until so many connections to this port stand, or no more come; says how many.
async fn connected(port: u16, wanted: usize) -> usize {
    let mut last = (0, Instant::now());
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        let remote = format!(" 0100007F:{port:04X} 01 ");
        let found = table.lines().filter(|line| line.contains(&remote)).count();
        if found != last.0 {
            last = (found, Instant::now());
        }
        if found >= wanted || last.1.elapsed() > Duration::from_secs(20) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("KiB");
    kib * 1024.0
}
