//! How often a host at work asks the database, seen on the wire.

use std::time::{Duration, Instant};

use hostler::dispatch::{Host, HostConfig};
use serde_json::json;

use crate::support::{LONG, host_config};

use super::Stage;
use super::wire::Wire;

/// Four statements at two a second; a beat may come right after a poll.
const PAUSES: Duration = Duration::from_millis(1_700);

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_worked_off_with_fewer_statements_than_tasks() {
    const TASKS: usize = 2_000;
    let stage = Stage::deserted().await;
    let handles = stage.client.send_many("misbehave.noop", vec![json!({}); TASKS]).await.expect("sent");
    let wire = Wire::to(stage.database.url()).await;
    let config =
        HostConfig { database_url: wire.url().to_owned(), slots: 256, ..host_config(&stage.database) };
    let host = Host::start(config).await.expect("a host");
    for handle in &handles {
        handle.get(Some(LONG)).await.expect("a result");
    }
    let statements = wire.statements();
    host.drain(LONG).await;
    // Claims, settles, rings, polls and beats together; one by one it would be four for each task.
    assert!(statements < TASKS, "{statements} statements for {TASKS} tasks");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_asks_at_most_twice_a_second() {
    let stage = Stage::deserted().await;
    let wire = Wire::to(stage.database.url()).await;
    let config = HostConfig { database_url: wire.url().to_owned(), ..host_config(&stage.database) };
    let host = Host::start(config).await.expect("a host");
    // Once it has looked around: five statements are four pauses between them, polls and beats together.
    for round in 0.. {
        let before = wire.statements();
        wire.statements_reach(before + 1).await;
        let began = Instant::now();
        wire.statements_reach(before + 5).await;
        if began.elapsed() > PAUSES {
            break;
        }
        assert!(round < 20, "4 statements in {:?}, again and again", began.elapsed());
    }
    host.drain(LONG).await;
    stage.clear().await;
}
