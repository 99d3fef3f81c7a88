//! Hosts as processes: stopped, told to stop, told twice, and replaced one by one.
//!
//! What their tasks do outside is seen by a server of the test's own: a task is a request to it.

mod effects;
mod lease;
mod shutdown;

use std::path::Path;
use std::time::Duration;

use hostler::{AttemptOutcome, Client, Include, Status, TaskHandle, TaskInfo};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::cli::Serving;
use crate::support::{Database, LONG, own_plugins};

use effects::Effects;

/// `misbehave`, allowed to ask this server.
fn plugins(effects: &Effects) -> tempfile::TempDir {
    let dir = own_plugins(&["misbehave"]);
    let grants =
        format!("[[http]]\norigin = \"{}\"\nmethods = [\"GET\"]\nprivate = true\n", effects.origin());
    std::fs::write(dir.path().join("misbehave.toml"), grants).expect("written");
    dir
}

/// Starting takes a while and blocks.
fn serve(database: &Database, plugins: &Path, more: &[&str]) -> Serving {
    tokio::task::block_in_place(|| Serving::start(database, plugins, more))
}

/// Sends a task that does this, so many times one after the other.
async fn act(client: &Client, effects: &Effects, what: &str, times: u32) -> TaskHandle<Value> {
    let args = json!({"url": format!("{}/{what}", effects.origin()), "times": times});
    client.task("misbehave.fetch").unpublished().send(args).await.expect("sent")
}

async fn info(handle: &TaskHandle<Value>) -> TaskInfo {
    handle.info(Include::ATTEMPTS).await.expect("an answer").expect("a known task")
}

/// Attempts, the newest first, with how they ended.
fn ends(info: &TaskInfo) -> Vec<(u32, AttemptOutcome)> {
    info.attempts.iter().flatten().map(|attempt| (attempt.attempt, attempt.outcome)).collect()
}

async fn until_status(handle: &TaskHandle<Value>, status: Status) {
    until("its state changes", async || info(handle).await.status == status).await;
}

async fn until(what: &str, mut asks: impl AsyncFnMut() -> bool) {
    let ends = Instant::now() + LONG;
    let mut turns = interval(Duration::from_millis(20));
    while !asks().await {
        assert!(Instant::now() < ends, "waited in vain until {what}");
        turns.tick().await;
    }
}

/// Whether this condition over the database holds.
async fn holds(database: &Database, condition: &str) -> bool {
    let sql = format!("select {condition}");
    sqlx::query_scalar(&sql).fetch_one(&mut database.conn().await).await.expect("an answer")
}
