//! Servers that answer, but take no more.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use hostler::{Client, SendErrorCode, Status};
use serde_json::json;

use super::{LONG, host, info, nap, send_at_last, until};
use crate::support::cluster::{Cluster, directory, give};

/// A file system so small that it can be filled.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`: mounting takes root, and a container that lets it.
    fn mount() -> Option<Self> {
        let dir = directory();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(dir.path()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: nothing can be mounted here");
            return None;
        }
        give(dir.path());
        Some(Self(dir))
    }

    fn fill(&self) {
        let mut left = 64 << 20;
        // In ever smaller pieces, so that nothing is left over.
        for size in [1 << 20, 4096] {
            while left > 0 && fs::write(self.0.path().join(format!("ballast-{left}")), vec![0; size]).is_ok()
            {
                left -= size;
            }
        }
    }

    fn clear(&self) {
        for entry in fs::read_dir(self.0.path()).expect("the disk").flatten() {
            if entry.file_name().to_string_lossy().starts_with("ballast") {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_out() {
    let Some(disk) = SmallDisk::mount() else { return };
    let cluster = Cluster::start(&["autovacuum=off"]);
    let place = disk.0.path().display();
    cluster.execute("postgres", &format!("create tablespace small location '{place}'")).await;
    cluster.execute("postgres", "create database jobs tablespace small").await;
    let url = cluster.url("jobs");
    let host = host(&url, |_| {}).await;
    let client = Client::connect(&url).await.expect("a client");
    let before = client.send("misbehave.big_result", json!({"bytes": 20_000})).await.expect("sent");
    before.get(Some(LONG)).await.expect("a result");

    // Their results will find no room.
    let mut handles = Vec::new();
    for _ in 0..8 {
        handles.push(client.send("misbehave.sleep", json!({"ms": 3_000})).await.expect("sent"));
    }
    until("they run", async || info(&handles[7]).await.status == Status::Running).await;
    disk.fill();
    let pad = "x".repeat(20_000);
    let mut refused = None;
    while refused.is_none() {
        refused = client.send("misbehave.noop", json!({"pad": pad})).await.err();
    }
    let refused = refused.expect("a refusal");
    assert_eq!((refused.code, refused.retryable), (SendErrorCode::EnqueueFailed, true), "{refused}");
    assert!(refused.message.contains("No space left on device"), "{refused}");
    // What is done is held until it can be written.
    until("they are done", async || host.running() >= 8).await;

    disk.clear();
    client.retry_send(&refused).await.expect("there is room").get(Some(LONG)).await.expect("a result");
    for handle in &handles {
        handle.get(Some(LONG)).await.expect("written when there was room");
        assert_eq!(info(handle).await.attempt, 1);
    }
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_read_only_for_a_while_is_waited_for_with_patience() {
    let cluster = Cluster::start(&[]);
    let url = cluster.database("jobs").await;
    let client = Client::connect(&url).await.expect("a client");
    let host = host(&url, |_| {}).await;
    let task = nap(&client, 300).await;
    until("it runs", async || info(&task).await.status == Status::Running).await;
    let read_only = |on| format!("alter system set default_transaction_read_only = {on}");
    // A statement of its own each: it takes no transaction.
    cluster.execute("postgres", &read_only("on")).await;
    cluster.execute("postgres", "select pg_reload_conf()").await;
    until("it is read-only", async || {
        let error = client.send("misbehave.noop", json!({})).await.err();
        error.is_some_and(|error| {
            assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true), "{error}");
            true
        })
    })
    .await;
    let opened = "select sessions from pg_stat_database where datname = 'jobs'";
    let before = cluster.count("postgres", opened).await;
    let began = Instant::now();
    until("a while has passed", async || began.elapsed() > Duration::from_secs(4)).await;
    let tries = cluster.count("postgres", opened).await - before;
    assert!(tries < 150, "{tries} connections in a few seconds: it spins");
    assert_eq!(host.running(), 1, "what is done is held");

    cluster.execute("postgres", "alter system reset default_transaction_read_only").await;
    cluster.execute("postgres", "select pg_reload_conf()").await;
    task.get(Some(LONG)).await.expect("a result");
    let story = info(&task).await;
    assert_eq!((story.attempt, story.redeliveries), (1, 0));
    send_at_last(&client, 1).await.get(Some(LONG)).await.expect("a result");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_free_connection_is_waited_for() {
    let cluster =
        Cluster::start(&["max_connections=24", "superuser_reserved_connections=0", "max_wal_senders=0"]);
    let url = cluster.database("jobs").await;
    let client = Client::connect(&url).await.expect("a client");
    let host = host(&url, |_| {}).await;
    let mut handles = Vec::new();
    for _ in 0..20 {
        handles.push(nap(&client, 200).await);
    }
    // Whoever else is there takes every connection that becomes free, until no one else has any.
    let mut crowd = vec![cluster.conn("postgres").await];
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = 'jobs'";
    let ours = "select count(*) from pg_stat_activity where datname = 'jobs'";
    loop {
        while let Ok(conn) = sqlx::Connection::connect(&cluster.url("postgres")).await {
            crowd.push(conn);
        }
        let left: i64 = sqlx::query_scalar(ours).fetch_one(&mut crowd[0]).await.expect("an answer");
        if left == 0 {
            break;
        }
        let _killed: i64 = sqlx::query_scalar(kill).fetch_one(&mut crowd[0]).await.expect("killed");
    }
    let error = client.send("misbehave.noop", json!({})).await.expect_err("no connection is free");
    assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true), "{error}");
    drop(crowd);
    for handle in &handles {
        until("it is done", async || handle.get(Some(LONG)).await.is_ok()).await;
        assert_eq!(info(handle).await.redeliveries, 0);
    }
    client.retry_send(&error).await.expect("sent").get(Some(LONG)).await.expect("a result");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_killed_one_by_one_cost_nothing() {
    let cluster = Cluster::start(&[]);
    let url = cluster.database("jobs").await;
    let client = Client::connect(&url).await.expect("a client");
    let host = host(&url, |_| {}).await;
    let mut handles = Vec::new();
    for _ in 0..100 {
        handles.push(nap(&client, 20).await);
    }
    let kill = "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity \
        where datname = 'jobs' and application_name = 'hostler' order by random() limit 1) one";
    let done = "select count(*) from hostler.history where status = 3";
    let mut before = 0;
    while before < 100 {
        cluster.count("postgres", kill).await;
        until("one more is done", async || {
            let now = cluster.count("jobs", done).await;
            let more = now > before;
            before = now;
            more || now == 100
        })
        .await;
    }
    for handle in &handles {
        until("an answer", async || handle.get(Some(LONG)).await.is_ok()).await;
    }
    let odd = "select count(*) from hostler.history where attempt > 1 or redeliveries > 0";
    assert_eq!(cluster.count("jobs", odd).await, 0);
    host.drain(LONG).await;
}
