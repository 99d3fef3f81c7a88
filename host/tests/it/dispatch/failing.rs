//! Hosts and connections that die in the middle of it.

use std::time::Duration;

use hostler::dispatch::{Host, HostConfig};
use hostler::{AttemptOutcome, Status};
use serde_json::json;
use sqlx::Connection;
use tokio::runtime::{Builder, Runtime};

use super::{count, info, send, start, until, until_running};
use crate::support::{LONG, database, host_config};

/// A host that can be killed: everything it does runs on a runtime of its own.
async fn mortal(config: HostConfig) -> (Host, Runtime) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let host = runtime.spawn(Host::start(config)).await.expect("no panic").expect("a host");
    (host, runtime)
}

const LEASE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_lost_host_are_taken_over() {
    let database = database();
    let client = database.client().await;
    let (host, life) = mortal(HostConfig { lease: LEASE, ..host_config(&database) }).await;
    let often = send(&client, "misbehave.sleep", json!({"ms": 1_000})).await;
    let once = client.task("misbehave.sleep").redeliveries(0).send(json!({"ms": 1_000})).await.expect("sent");
    until_running(&often).await;
    until_running(&once).await;
    let started_at = info(&often).await.started_at;
    life.shutdown_background();
    drop(host);

    let heir = start(&database, |config| config.lease = LEASE).await;
    often.get(Some(LONG)).await.expect("the second attempt succeeds");
    let story = info(&often).await;
    assert_eq!((story.redeliveries, story.retry_count), (1, 0));
    let attempts = story.attempts.expect("asked for");
    let ends: Vec<_> = attempts.iter().map(|a| (a.attempt, a.outcome)).collect();
    assert_eq!(ends, [(2, AttemptOutcome::Completed), (1, AttemptOutcome::WorkerFailure)]);
    assert_eq!(Some(attempts[1].started_at), started_at, "as it was claimed");
    let error = once.get(Some(LONG)).await.expect_err("it never starts twice");
    assert_eq!(error.code.as_str(), "WORKER_CRASHED");
    heir.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_declared_dead_starts_over_and_its_late_results_are_refused() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |config| config.lease = LEASE).await;
    let before = host.session();
    let handle = send(&client, "misbehave.sleep", json!({"ms": 1_000})).await;
    until_running(&handle).await;
    let bury = "with dead as (update hostler.host set ended_at = now(), lost = true returning 1) select count(*) from dead";
    assert_eq!(count(&database, bury).await, 1);
    until("it works in another session", async || host.session().is_some() && host.session() != before).await;

    handle.get(Some(LONG)).await.expect("run again");
    let ends: Vec<_> = info(&handle).await.attempts.expect("asked for").iter().map(|a| a.outcome).collect();
    assert_eq!(ends, [AttemptOutcome::Completed, AttemptOutcome::WorkerFailure]);
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_lose_no_task_and_run_none_twice() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |config| config.slots = 8).await;
    let many = (0..200).map(|_| json!({"ms": 20}));
    client.send_many("misbehave.sleep", many).await.expect("sent");
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
        where datname = current_database() and pid <> pg_backend_pid()";
    let done = "select count(*) from hostler.history where status = 3";
    for share in [20, 70, 120] {
        until("more is done", async || count(&database, done).await >= share).await;
        assert!(count(&database, kill).await > 0);
    }
    until("all is done", async || count(&database, done).await == 200).await;
    assert_eq!(count(&database, "select count(*) from hostler.task").await, 0);
    assert_eq!(count(&database, "select count(*) from hostler.history where redeliveries > 0").await, 0);
    assert_eq!(
        count(&database, "select count(*) from hostler.history where attempt > 1").await,
        0,
        "each ran once"
    );
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_the_database_refuses_fails_its_own_task_alone() {
    let database = database();
    // Guest bytes fit any column, so the refusal has to be made.
    let refuse =
        "alter table hostler.history add constraint no_poison check (position('xxxx'::bytea in result) = 0)";
    sqlx::raw_sql(refuse).execute(&mut database.conn().await).await.expect("a constraint");
    let client = database.client().await;
    let host = start(&database, |_| {}).await;
    // Nothing is settled until all is done: then they go together.
    let mut conn = database.conn().await;
    let mut locked = conn.begin().await.expect("a transaction");
    sqlx::query("lock hostler.history in share mode").execute(&mut *locked).await.expect("locked");
    let mut handles = Vec::new();
    for n in 0..40 {
        let (task, args) = match n {
            17 => ("misbehave.big_result", json!({"bytes": 10})),
            _ => ("misbehave.sleep", json!({"ms": 30})),
        };
        handles.push(send(&client, task, args).await);
    }
    until("all wait to be settled", async || host.running() == 40).await;
    locked.rollback().await.expect("unlocked");
    for (n, handle) in handles.iter().enumerate() {
        let end = handle.get(Some(LONG)).await;
        assert_eq!(end.is_err(), n == 17, "{end:?}");
    }
    let story = info(&handles[17]).await;
    assert_eq!(
        (story.status, story.error_code.as_deref()),
        (Status::Failed, Some("WORKER_SERIALIZATION_ERROR"))
    );
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_final_and_lives_ends_once_and_stalls_nobody() {
    let database = database();
    let client = database.client().await;
    let first = start(&database, |_| {}).await;
    let done = send(&client, "misbehave.sleep", json!({"ms": 1})).await;
    done.get(Some(LONG)).await.expect("a result");
    let before = info(&done).await;
    let double = "insert into hostler.task (id, pos, fingerprint, lane, home, redeliveries_max, keep_input, args) \
        select id, 1, fingerprint, lane, lane, 3, true, args from hostler.history";
    sqlx::raw_sql(double).execute(&mut database.conn().await).await.expect("one that must not be");
    let mut healthy = Vec::new();
    for _ in 0..20 {
        healthy.push(send(&client, "misbehave.sleep", json!({"ms": 1})).await);
    }
    for task in &healthy {
        task.get(Some(LONG)).await.expect("a result");
    }
    until("it is gone", async || count(&database, "select count(*) from hostler.task").await == 0).await;
    until("its slot is free", async || first.running() == 0).await;
    let after = info(&done).await;
    assert_eq!(
        (after.status, after.completed_at),
        (Status::Completed, before.completed_at),
        "the first end stays"
    );
    first.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_cannot_be_written_in_any_way_keeps_nothing_else_waiting() {
    let database = database();
    let refuse = "alter table hostler.history add constraint no_end check (max_retries is distinct from 19)";
    sqlx::raw_sql(refuse).execute(&mut database.conn().await).await.expect("a constraint");
    let client = database.client().await;
    let host = start(&database, |_| {}).await;
    let never = client.task("misbehave.sleep").retries(19).unpublished();
    let never = never.send(json!({"ms": 1})).await.expect("sent");
    until("it was tried", async || {
        count(&database, "select count(*) from hostler.task where attempt > 0").await == 1
    })
    .await;
    until("it was given up", async || host.running() == 0).await;
    send(&client, "misbehave.sleep", json!({"ms": 1})).await.get(Some(LONG)).await.expect("a result");
    assert!(!info(&never).await.status.is_final(), "nobody can write its end");
    tokio::time::timeout(LONG, host.drain(std::time::Duration::ZERO)).await.expect("it ends");
}
