//! Tasks that turn up where a host has looked already.

use std::time::Duration;

use hostler::Status;
use serde_json::json;
use sqlx::Connection;

use super::{count, info, is, send, start, until};
use crate::support::{Database, LONG, database};

async fn execute(database: &Database, sql: &str) {
    sqlx::raw_sql(sql).execute(&mut database.conn().await).await.expect(sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_commits_late_is_found() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |_| {}).await;
    let mut conn = database.conn().await;
    let mut sending = conn.begin().await.expect("a transaction");
    let late = client.send_in(&mut sending, "misbehave.noop", json!({})).await.expect("sent");
    for _ in 0..3 {
        send(&client, "misbehave.noop", json!({})).await.get(Some(LONG)).await.expect("a later one");
    }
    assert!(client.handle::<serde_json::Value>(late.id()).get(Some(Duration::ZERO)).await.is_err());
    sending.commit().await.expect("committed");
    late.get(Some(LONG)).await.expect("a result");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_waits_is_found_among_ten_thousand_that_run_and_as_many_that_vacuum_cannot_remove() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |config| config.listen = false).await;
    send(&client, "misbehave.noop", json!({})).await.get(Some(LONG)).await.expect("a result");
    let mut reading = database.conn().await;
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from hostler.task")
        .execute(&mut reading)
        .await
        .expect("a snapshot that holds vacuum back");
    let mut conn = database.conn().await;
    let mut sending = conn.begin().await.expect("a transaction");
    let late = client.send_in(&mut sending, "misbehave.noop", json!({})).await.expect("sent");

    // Another host, which is in no hurry.
    let crowd = "insert into hostler.host (session, lease_ms, pid, slots, hostname, version) \
            values (7, 86400000, 1, 10000, 'elsewhere', '0'); \
        insert into hostler.task (id, pos, fingerprint, lane, home, redeliveries_max, keep_input, args) \
            select gen_random_uuid(), nextval('hostler.position'), 1, lane, lane, 3, true, '{}' \
            from generate_series(1, 10000), (select lane from hostler.history limit 1) lane; \
        update hostler.task set session = 7, claim = 1, claimed_at = now(), attempt = 1 \
            where fingerprint = 1 and session is null; \
        update hostler.task set progress = 0.5 where session = 7";
    execute(&database, &format!("begin; {crowd}; commit")).await;

    let delayed = client.task("misbehave.noop").delay(Duration::from_millis(200));
    let delayed = delayed.send(json!({})).await.expect("sent");
    let retried = send(&client, "flaky.later", json!({"failures": 1, "after_ms": 200})).await;
    let urgent = client.task("misbehave.noop").priority(1).send(json!({})).await.expect("sent");
    let usual = send(&client, "misbehave.noop", json!({})).await;
    sending.commit().await.expect("committed, before all the others");
    for handle in [&late, &delayed, &retried, &urgent, &usual] {
        handle.get(Some(LONG)).await.expect("a result");
    }
    let running = "select count(*) from hostler.task where session = 7";
    assert_eq!(count(&database, running).await, 10_000, "of those nobody took any");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_went_back_in_a_failover_hide_nothing() {
    let database = database();
    let client = database.client().await;
    for listen in [true, false] {
        let host = start(&database, |config| config.listen = listen).await;
        execute(&database, "select setval('hostler.position', 50000)").await;
        send(&client, "misbehave.noop", json!({})).await.get(Some(LONG)).await.expect("a result");
        let back = "select setval('hostler.position', 10); \
            select pg_terminate_backend(pid) from pg_stat_activity \
                where datname = current_database() and pid <> pg_backend_pid()";
        execute(&database, back).await;
        let mut sent = None;
        until("it is sent", async || {
            sent = client.task("misbehave.noop").send(json!({})).await.ok();
            sent.is_some()
        })
        .await;
        let task = sent.expect("sent");
        until("it is done", async || is(&task, Status::Completed).await).await;
        assert_eq!(info(&task).await.attempt, 1);
        host.drain(LONG).await;
    }
}
