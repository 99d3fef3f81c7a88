//! A directory of many plugins, loaded from a warm cache.

use std::fs;
use std::time::Instant;

use hostler::sandbox::{Registry, Sandbox, SandboxConfig};
use serde_json::{Value, json};

use crate::Bench;
use crate::common::{cache, round};

pub(crate) async fn run(bench: &Bench) -> Value {
    let plugins = bench.options.count("guests", 200).min(999);
    let wasm = fs::read(bench.plugins.join("misbehave.wasm")).expect("the plugin");
    let dir = tempfile::tempdir().expect("a directory");
    let name = b"misbehave";
    let places: Vec<usize> = (0..wasm.len()).filter(|at| wasm[*at..].starts_with(name)).collect();
    for number in 0..plugins {
        // Another name of the same length, wherever it stands: another component, and another digest.
        let other = format!("misbeh{number:03}");
        let mut bytes = wasm.clone();
        for at in &places {
            bytes[*at..*at + name.len()].copy_from_slice(other.as_bytes());
        }
        fs::write(dir.path().join(format!("{other}.wasm")), bytes).expect("written");
    }
    let mut seconds = Vec::new();
    for _ in 0..2 {
        let config = SandboxConfig { slots: 16, cache_dir: Some(cache()), ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config).expect("a sandbox");
        // Files that were written just now are looked at twice; that is not what is measured.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        let began = Instant::now();
        let registry = Registry::open(sandbox, dir.path().to_owned()).await.expect("opened");
        // Opening waits for a while only, and a cold start on a busy machine takes longer.
        let mut changes = registry.changes();
        while registry.current().compiling() > 0 {
            changes.changed().await.expect("a directory that is watched");
        }
        seconds.push(round(began.elapsed().as_secs_f64(), 2));
        let loaded = registry.current();
        assert_eq!((loaded.plugins().count(), loaded.problems()), (plugins, [].as_slice()));
    }
    json!({ "plugins": plugins, "bytes_each": wasm.len(), "cold_seconds": seconds[0], "warm_seconds": seconds[1] })
}
