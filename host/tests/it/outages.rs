//! What becomes of tasks when their database is in trouble. The trouble is real: a server of the test's own is
//! stopped, filled up, made read-only, crowded, or replaced by its standby.

mod cut_off;
mod failover;
mod pooler;
mod refusals;
mod restarts;
mod silence;
mod strays;

use std::path::Path;
use std::time::Duration;

use hostler::dispatch::{Host, HostConfig};
use hostler::{Client, Include, SendErrorCode, TaskHandle, TaskInfo};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::support::plugins_dir;

/// Long enough for a server that restarts on a busy machine, and for its repairs.
const LONG: Duration = Duration::from_secs(100);

async fn host(url: &str, change: impl FnOnce(&mut HostConfig)) -> Host {
    let mut config = HostConfig {
        slots: 8,
        wasm_threads: Some(2),
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")),
        ..HostConfig::new(url, plugins_dir())
    };
    change(&mut config);
    Host::start(config).await.expect("a host")
}

async fn until(what: &str, mut asks: impl AsyncFnMut() -> bool) {
    let ends = Instant::now() + LONG;
    let mut turns = interval(Duration::from_millis(20));
    while !asks().await {
        assert!(Instant::now() < ends, "waited in vain until {what}");
        turns.tick().await;
    }
}

async fn nap(client: &Client, ms: u64) -> TaskHandle<Value> {
    client.task("misbehave.sleep").unpublished().send(json!({"ms": ms})).await.expect("sent")
}

/// Sends, however often it takes: an error says that it may be repeated, and repeating sends no second one.
async fn send_at_last(client: &Client, ms: u64) -> TaskHandle<Value> {
    let mut turns = interval(Duration::from_millis(50));
    let mut sent = client.send("misbehave.sleep", json!({"ms": ms})).await;
    loop {
        turns.tick().await;
        let error = match sent {
            Ok(handle) => return handle,
            Err(error) => error,
        };
        assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true), "{error}");
        sent = client.retry_send(&error).await;
    }
}

async fn info(handle: &TaskHandle<Value>) -> TaskInfo {
    handle.info(Include::ATTEMPTS).await.expect("an answer").expect("a known task")
}
