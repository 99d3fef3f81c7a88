//! Hosts at work, together and against each other, in one process.

mod children;
mod failing;
mod late;
mod plugins;
mod pressure;
mod quarantine;
mod values;
mod work;

use std::time::Duration;

use hostler::dispatch::{Host, HostConfig};
use hostler::{Client, Include, TaskHandle, TaskInfo};
use serde_json::Value;
use tokio::time::{Instant, interval};

use crate::support::{Database, LONG, host_config};

async fn start(database: &Database, change: impl FnOnce(&mut HostConfig)) -> Host {
    let mut config = host_config(database);
    change(&mut config);
    Host::start(config).await.expect("a host")
}

/// Asks again and again until the answer is yes.
async fn until(what: &str, mut asks: impl AsyncFnMut() -> bool) {
    let ends = Instant::now() + LONG;
    let mut turns = interval(Duration::from_millis(20));
    while !asks().await {
        assert!(Instant::now() < ends, "waited in vain until {what}");
        turns.tick().await;
    }
}

async fn info(handle: &TaskHandle<Value>) -> TaskInfo {
    let info = handle.info(Include::ATTEMPTS | Include::FAILED_REASON).await;
    info.expect("an answer").expect("a known task")
}

async fn is(handle: &TaskHandle<Value>, status: hostler::Status) -> bool {
    info(handle).await.status == status
}

async fn until_running(handle: &TaskHandle<Value>) {
    until("it runs", async || is(handle, hostler::Status::Running).await).await;
}

/// Sends although no host has published the name yet.
async fn send(client: &Client, task: &str, args: Value) -> TaskHandle<Value> {
    client.task(task).unpublished().send(args).await.expect("sent")
}

/// One number from the database.
async fn count(database: &Database, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut database.conn().await).await.expect(sql)
}

#[tokio::test]
async fn a_host_that_would_forget_too_soon_does_not_start() {
    let database = crate::support::database();
    let config =
        hostler::dispatch::HostConfig { retention_days: 0, ..crate::support::host_config(&database) };
    let Err(error) = hostler::dispatch::Host::start(config).await else { panic!("it started") };
    assert!(error.to_string().contains("at least one day"), "{error}");
}
