//! A cancel reaches a guest wherever it is, and its place is free afterwards.

use std::sync::Arc;
use std::time::Duration;

use hostler::sandbox::{Call, Sandbox, SandboxConfig, Stop};
use hostler::task::Outcome;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{LONG, bytes, call};

/// More often than there are places in the pool.
const ROUNDS: usize = 5;

#[tokio::test]
async fn spinning_sleeping_calling_or_waiting_for_an_answer_it_ends_after_the_grace() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a server");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let grants = format!("[[http]]\norigin = \"{}\"\nprivate = true\n", url.trim_end_matches('/'));
    let config = SandboxConfig { slots: 1, threads: 1, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    let plugin = sandbox.load_granted("misbehave", bytes("misbehave"), Some(&grants)).await.expect("loaded");
    let plugin = Arc::new(plugin);
    let start = |task: &str, args: &str| {
        let stop = Stop::new();
        let call = Call { stop: stop.clone(), ..call(task, args) };
        let (inner, plugin) = (Arc::clone(&sandbox), Arc::clone(&plugin));
        (stop, sandbox.spawn(async move { inner.run(&plugin, call).await }))
    };
    for _ in 0..ROUNDS {
        for (task, args) in [
            ("spin", "{}".to_owned()),
            ("sleep", r#"{"ms": 600000}"#.to_owned()),
            ("pester", r#"{"times": 4000000000}"#.to_owned()),
            ("fetch", format!(r#"{{"url": "{url}"}}"#)),
        ] {
            let (stop, attempt) = start(task, &args);
            // Until the request is under way; the others may be cancelled at any time.
            let asked = match task {
                "fetch" => Some(timeout(LONG, silent.accept()).await.expect("in time").expect("asked")),
                _ => None,
            };
            stop.cancel(Duration::from_millis(10));
            let report = timeout(LONG, attempt).await.expect("in time").expect("no panic").expect("in order");
            assert_eq!(report.outcome, Outcome::Cancelled, "{task}");
            drop(asked);
        }
    }
    let (_, after) = start("noop", "{}");
    let report = timeout(LONG, after).await.expect("in time").expect("no panic").expect("no place was kept");
    assert_eq!(report.outcome, Outcome::Returned(b"{}".to_vec()));
}
