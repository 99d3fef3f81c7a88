//! How often a host at work asks the database, seen on the wire.

use std::path::Path;
use std::time::{Duration, Instant};

use hostler::Client;
use hostler::dispatch::{Host, HostConfig};
use hostler::store::PgConnection;
use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::{LONG, host_config, plugins_dir};

use super::wire::Wire;
use super::{Stage, eventually};

/// So many statements at two a second, less what their first and last may be off.
const STATEMENTS: usize = 10;
const PAUSES: Duration = Duration::from_millis(4_600);
/// Of three stretches one may hold something rare: a look for the dead, a look at the waiting room's end.
const STRETCHES: usize = 3;

/// A new version of the host's row within its page, its commit, and a share of what the server notes by itself.
const BEAT_BYTES_MAX: i64 = 400;

/// How many of three stretches have no more than two statements a second.
async fn quiet_stretches(wire: &Wire) -> usize {
    let mut quiet = 0;
    for _ in 0..STRETCHES {
        let (before, began) = (wire.statements(), Instant::now());
        wire.statements_reach(before + STATEMENTS).await;
        quiet += usize::from(began.elapsed() >= PAUSES);
    }
    quiet
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_worked_off_with_fewer_statements_than_tasks() {
    const TASKS: usize = 2_000;
    let stage = Stage::deserted().await;
    let handles = stage.client.send_many("misbehave.noop", vec![json!({}); TASKS]).await.expect("sent");
    let wire = Wire::to(stage.database.url()).await;
    // Without guests, whose pace would decide how many attempts end together.
    let config = HostConfig {
        database_url: wire.url().to_owned(),
        slots: 256,
        without_sandbox: true,
        ..host_config(&stage.database)
    };
    let host = Host::start(config).await.expect("a host");
    for handle in &handles {
        handle.get(Some(LONG)).await.expect("a result");
    }
    let statements = wire.statements();
    host.drain(LONG).await;
    // Claims, settles, rings, polls and beats together; one by one it would be four for each task.
    assert!(statements < TASKS / 8, "{statements} statements for {TASKS} tasks");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_asks_at_most_twice_a_second() {
    let stage = Stage::deserted().await;
    let wire = Wire::to(stage.database.url()).await;
    let config = HostConfig { database_url: wire.url().to_owned(), ..host_config(&stage.database) };
    let host = Host::start(config).await.expect("a host");
    // Once it has looked around.
    wire.statements_reach(wire.statements() + STATEMENTS).await;
    let quiet = quiet_stretches(&wire).await;
    assert!(quiet >= 2, "{quiet} quiet stretches of {STRETCHES}");
    host.drain(LONG).await;
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_waiters_of_one_client_ask_at_most_twice_a_second() {
    let stage = Stage::deserted().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = Client::connect(wire.url()).await.expect("a client");
    let waiting: Vec<_> = stage
        .client
        .send_many("misbehave.noop", vec![json!({}); 100])
        .await
        .expect("sent")
        .iter()
        .map(|sent| client.handle::<serde_json::Value>(sent.id()))
        .map(|handle| tokio::spawn(async move { handle.get(None).await }))
        .collect();
    // Once they have looked, and the client listens.
    wire.statements_reach(wire.statements() + STATEMENTS).await;
    let quiet = quiet_stretches(&wire).await;
    assert!(quiet >= 2, "{quiet} quiet stretches of {STRETCHES}");
    assert!(waiting.iter().all(|wait| !wait.is_finished()));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_writes_nothing_but_its_heartbeats() {
    // Images of whole pages depend on checkpoints, not on the host.
    let cluster = Cluster::start(&["autovacuum=off", "full_page_writes=off"]);
    let url = cluster.database("idle").await;
    let lease = Duration::from_millis(1_500);
    let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
    let config = HostConfig { lease, slots: 16, cache_dir, ..HostConfig::new(url.as_str(), plugins_dir()) };
    let host = Host::start(config).await.expect("a host");
    let client = Client::connect(&url).await.expect("a client");
    let later = client.task("misbehave.noop").delay(LONG * 60).send(json!({})).await.expect("sent");
    let waits = tokio::spawn(async move { later.get(None).await });
    let mut conn: PgConnection = sqlx::Connection::connect(&url).await.expect("a connection");
    let mut look = async || -> (i64, i64) {
        let sql = "select sum(beat)::bigint, (pg_current_wal_insert_lsn() - '0/0')::bigint from hostler.host";
        sqlx::query_as(sql).fetch_one(&mut conn).await.expect("a look")
    };
    // Polls and beats by the dozen; what is rare comes in one stretch of three at most.
    let mut written = Vec::new();
    while written.len() < 3 {
        let (first, from) = look().await;
        let (last, to) = eventually("more beats", async || {
            let now = look().await;
            (now.0 >= first + 8).then_some(now)
        })
        .await;
        written.push((to - from) / (last - first));
    }
    let quiet = written.iter().filter(|bytes| **bytes <= BEAT_BYTES_MAX).count();
    assert!(quiet >= 2, "{written:?} bytes of log for each beat");
    assert!(!waits.is_finished());
    host.drain(LONG).await;
}
