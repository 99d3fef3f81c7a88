//! How long a guest lives on after the grace of its cancel, wherever it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hostler::sandbox::{Call, Limits, Plugin, Sandbox, SandboxConfig, Stop};
use hostler::task::{Outcome, TaskId};
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use crate::{Bench, spread};

const GRACE: Duration = Duration::from_millis(50);
const ROUNDS: usize = 100;

pub(crate) async fn run(bench: &Bench) -> Value {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a server");
    let origin = format!("http://{}", silent.local_addr().expect("an address"));
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    let wasm = std::fs::read(bench.plugins.join("misbehave.wasm")).expect("the plugin");
    let grants = format!("[[http]]\norigin = \"{origin}\"\nprivate = true\n");
    let sandbox = Sandbox::start(SandboxConfig { slots: 80, ..SandboxConfig::default() }).expect("a sandbox");
    let plugin = sandbox.load_granted("misbehave", wasm, Some(&grants)).await.expect("loaded");
    let plugin = Arc::new(plugin);
    let mut all = Map::new();
    let waiting = format!(r#"{{"url": "{origin}/"}}"#);
    let kinds = [
        ("spinning", "spin", "{}"),
        ("sleeping", "sleep", r#"{"ms": 600000}"#),
        ("calling", "pester", r#"{"times": 4000000000}"#),
        ("waiting", "fetch", waiting.as_str()),
    ];
    for (kind, task, args, beside) in
        [0, 63].into_iter().flat_map(|beside| kinds.map(|(kind, task, args)| (kind, task, args, beside)))
    {
        let name = if beside > 0 { format!("{kind}_beside_{beside}") } else { kind.to_owned() };
        let others: Vec<_> = (0..beside).map(|_| start(&sandbox, &plugin, "spin", "{}")).collect();
        if beside > 0 {
            // Until they are no longer new, which everybody waits for.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let mut after = Vec::new();
        for _ in 0..ROUNDS / if beside > 0 { 4 } else { 1 } {
            let (stop, attempt) = start(&sandbox, &plugin, task, args);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let asked = Instant::now();
            stop.cancel(GRACE);
            let (outcome, ended) = attempt.await.expect("no panic");
            assert_eq!(outcome, Outcome::Cancelled, "{name}");
            after.push((ended - asked).saturating_sub(GRACE));
        }
        others.iter().for_each(|(stop, _)| stop.interrupt("enough"));
        for (_, other) in others {
            let (outcome, _) = other.await.expect("no panic");
            assert_eq!(outcome, Outcome::Interrupted("enough".to_owned()), "it spun to the end");
        }
        all.insert(name, spread(after));
    }
    Value::Object(all)
}

fn start(
    sandbox: &Arc<Sandbox>,
    plugin: &Arc<Plugin>,
    task: &str,
    args: &str,
) -> (Stop, tokio::task::JoinHandle<(Outcome, Instant)>) {
    let stop = Stop::new();
    let call = Call {
        task: task.to_owned(),
        args: args.as_bytes().to_vec(),
        id: TaskId::now_v7(),
        attempt: 1,
        retries: 0,
        previous_error: None,
        limits: Limits { timeout_ms: 600_000, cpu_ms_max: 600_000, ..Limits::DEFAULT },
        stop: stop.clone(),
        host_calls: None,
    };
    let (inner, plugin) = (sandbox.clone(), plugin.clone());
    let run = sandbox.spawn(async move {
        let report = inner.run(&plugin, call).await.expect("the host is in order");
        // Its store is gone by now.
        (report.outcome, Instant::now())
    });
    (stop, run)
}
