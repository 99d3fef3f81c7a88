//! What a server forgot in a crash, or a failover brought back.

use std::time::{Duration, Instant};

use hostler::{AttemptOutcome, Status};

use super::{LONG, host, info, nap, until};
use crate::support::{Database, database};

async fn execute(database: &Database, sql: &str) {
    sqlx::raw_sql(sql).execute(&mut database.conn().await).await.expect(sql);
}

/// Ends everybody's connections, as a crash does.
const CRASH: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
    where datname = current_database() and pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_a_crash_lost_is_run_again_once() {
    let database = database();
    let client = database.client().await;
    let host = host(database.url(), |_| {}).await;
    let task = nap(&client, 1_000).await;
    until("it runs", async || info(&task).await.status == Status::Running).await;
    // The row as it was on disk, before the claim that waited for none.
    execute(
        &database,
        "update hostler.task set session = null, claim = null, claimed_at = null, attempt = 0",
    )
    .await;
    execute(&database, CRASH).await;
    until("it is done", async || task.get(Some(LONG)).await.is_ok()).await;
    let story = info(&task).await;
    assert_eq!((story.attempt, story.releases, story.redeliveries), (1, 0, 0), "what was lost left no trace");
    let ends: Vec<_> = story.attempts.into_iter().flatten().map(|a| a.outcome).collect();
    assert_eq!(ends, [AttemptOutcome::Completed]);
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_its_host_knows_nothing_of_is_given_back() {
    given_back(CRASH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_its_host_knows_nothing_of_is_found_without_a_reason_to_look() {
    given_back("select 'no connection is lost'").await;
}

async fn given_back(trouble: &str) {
    let database = database();
    let client = database.client().await;
    let host = host(database.url(), |config| config.lease = Duration::from_secs(2)).await;
    let first = nap(&client, 1).await;
    first.get(Some(LONG)).await.expect("a result");
    // It ended, and a failover lost the end: it runs, under a claim of a host that lives.
    let back = "with lost as (delete from hostler.history returning *) \
        insert into hostler.task (id, pos, session, claim, claimed_at, fingerprint, lane, home, attempt, \
            redeliveries_max, keep_input, args) \
        select id, 1, session, 1, claimed_at, fingerprint, lane, lane, attempt, 3, true, args from lost";
    execute(&database, back).await;
    execute(&database, trouble).await;
    let again = client.handle::<serde_json::Value>(first.id());
    until("it is done once more", async || again.get(Some(LONG)).await.is_ok()).await;
    let story = info(&again).await;
    assert_eq!((story.attempt, story.releases, story.redeliveries), (2, 1, 0));
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_host_whose_judge_died_are_taken_back_with_the_next_poll() {
    let database = database();
    let client = database.client().await;
    let host = host(database.url(), |_| {}).await;
    // A host has died, and so has the one that had just declared it dead. Left to the regular look, which comes every
    // half a minute, five in a row would take longer than they are waited for together.
    let bereft = "with dead as ( \
            insert into hostler.host (session, pid, lease_ms, slots, hostname, version, ended_at, lost) \
            select count(*) + 1, 1, 15000, 1, 'gone', '0', clock_timestamp(), true from hostler.host \
            returning session \
        ) \
        update hostler.task set lane = home, pos = 1, session = dead.session, claim = 1, attempt = 1, \
            claimed_at = clock_timestamp() \
        from dead";
    let began = Instant::now();
    for _ in 0..5 {
        let task = client.task("misbehave.sleep").delay(LONG * 10).unpublished();
        let task = task.send(serde_json::json!({"ms": 1})).await.expect("sent");
        execute(&database, bereft).await;
        until("it is done", async || task.get(Some(LONG)).await.is_ok()).await;
        let story = info(&task).await;
        assert_eq!((story.attempt, story.redeliveries), (2, 1));
        assert!(began.elapsed() < LONG, "they were left to the regular look");
    }
    host.drain(LONG).await;
}
