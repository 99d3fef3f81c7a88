//! What a plugin costs by the language it is written in: its size, compiling, loading compiled code, an attempt.
//!
//! `hostler build`, then `cargo bench -p hostler --bench languages`; components that are not there are left out.
//! `HOSTLER_BENCH_PLUGINS` names another directory than `plugins/dist`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hostler::sandbox::{Call, Sandbox, SandboxConfig, Stop};
use hostler::task::{Outcome, TaskId};

/// A plugin, one of its tasks, and arguments that make little work.
const PLUGINS: [(&str, &str, &str); 3] = [
    ("text", "word_count", r#"{"text":"a b a"}"#),
    ("template", "render", r#"{"template":"Hello, {{name}}!","values":{"name":"Ada"}}"#),
    ("table", "summarize", r#"{"csv_text":"a,b\n1,x\n2,y\n"}"#),
];

const ROUNDS: u32 = 200;

#[tokio::main]
async fn main() {
    let dir = std::env::var_os("HOSTLER_BENCH_PLUGINS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist"),
        std::path::PathBuf::from,
    );
    println!("| plugin | component | first load | load from the cache | an attempt |\n|---|---|---|---|---|");
    for (name, task, args) in PLUGINS {
        if let Ok(wasm) = std::fs::read(dir.join(format!("{name}.wasm"))) {
            row(name, task, args, wasm).await;
        }
    }
}

async fn row(name: &str, task: &str, args: &str, wasm: Vec<u8>) {
    let cache = tempfile::tempdir().expect("a directory");
    let size = wasm.len();
    let (_, cold) = load(name, &wasm, cache.path()).await;
    let ((sandbox, plugin), warm) = load(name, &wasm, cache.path()).await;
    let call = Call {
        task: task.to_owned(),
        args: args.as_bytes().to_vec(),
        id: TaskId::nil(),
        attempt: 1,
        retries: 0,
        previous_error: None,
        limits: plugin.limits(task),
        stop: Stop::new(),
        host_calls: None,
    };
    let inner = Arc::clone(&sandbox);
    let mut times = sandbox
        .spawn(async move {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                let call = Call { stop: Stop::new(), ..call.clone() };
                let began = Instant::now();
                let report = inner.run(&plugin, call).await.expect("the host is in order");
                times.push(began.elapsed());
                assert!(matches!(report.outcome, Outcome::Returned(_)), "{report:?}");
            }
            times
        })
        .await
        .expect("no panic");
    times.sort_unstable();
    let median = times[times.len() / 2];
    let mib = size as f64 / f64::from(1 << 20);
    println!("| `{name}` | {mib:.1} MiB | {cold:.2?} | {warm:.1?} | {median:.0?} |");
}

async fn load(
    name: &str,
    wasm: &[u8],
    cache: &Path,
) -> ((Arc<Sandbox>, Arc<hostler::sandbox::Plugin>), Duration) {
    let config = SandboxConfig { slots: 4, cache_dir: Some(cache.to_owned()), ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("started");
    let began = Instant::now();
    let plugin = sandbox.load(name, wasm.to_vec()).await.expect("loaded");
    let took = began.elapsed();
    ((sandbox, Arc::new(plugin)), took)
}
