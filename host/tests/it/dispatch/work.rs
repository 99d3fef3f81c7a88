//! What runs, when, where and in which order; and how it is stopped.

use std::time::Duration;

use chrono::Utc;
use hostler::{AttemptOutcome, Status};
use serde_json::json;

use super::{count, info, is, send, start, until, until_running};
use crate::support::{LONG, database};

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_share_a_database_and_every_task_runs_once() {
    let database = database();
    let client = database.client().await;
    let one = start(&database, |config| config.slots = 2).await;
    let two = start(&database, |config| config.slots = 2).await;
    let many = (0..60).map(|_| json!({"ms": 30}));
    let handles = client.send_many("misbehave.sleep", many).await.expect("sent");
    for handle in handles {
        handle.get(Some(LONG)).await.expect("a result");
    }
    assert_eq!(
        count(&database, "select count(*) from hostler.history where status = 3 and attempt = 1").await,
        60
    );
    assert_eq!(count(&database, "select count(*) from hostler.attempt").await, 0);
    assert_eq!(
        count(&database, "select count(distinct session) from hostler.history").await,
        2,
        "both worked"
    );
    one.drain(LONG).await;
    two.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_task_and_a_retry_start_at_their_time() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |_| {}).await;
    let delay = Duration::from_millis(400);
    let delayed = client.task("misbehave.noop").delay(delay).send(json!({})).await.expect("sent");
    let retried = send(&client, "flaky.later", json!({"failures": 1, "after_ms": 400})).await;
    delayed.get(Some(LONG)).await.expect("a result");
    retried.get(Some(LONG)).await.expect("a result");

    let story = info(&delayed).await;
    assert!(story.started_at.expect("it ran") >= story.run_at.expect("delayed"), "no sooner");
    let attempts = info(&retried).await.attempts.expect("asked for");
    let pause = attempts[0].started_at - attempts[1].finished_at;
    assert!(pause >= chrono::Duration::milliseconds(400), "{pause}");
    assert!(pause < chrono::Duration::minutes(1), "the policy alone would have waited an hour");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_priority_goes_first() {
    let database = database();
    let client = database.client().await;
    let mut handles = Vec::new();
    for priority in [90, 50, 1] {
        let send = client.task("misbehave.noop").unpublished().priority(priority);
        handles.push(send.send(json!({})).await.expect("sent"));
    }
    let host = start(&database, |config| config.slots = 1).await;
    let mut started = Vec::new();
    for handle in &handles {
        handle.get(Some(LONG)).await.expect("a result");
        started.push(info(handle).await.started_at.expect("it ran"));
    }
    assert!(started[2] < started[1] && started[1] < started[0], "{started:?}");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_serves_only_its_queues() {
    let database = database();
    let client = database.client().await;
    let north = start(&database, |config| config.queues = Some(vec!["north".to_owned()])).await;
    let other = client.task("misbehave.noop").queue("south").send(json!({})).await.expect("sent");
    let own = client.task("misbehave.noop").queue("north").send(json!({})).await.expect("sent");
    own.get(Some(LONG)).await.expect("a result");
    assert!(is(&other, Status::Pending).await, "it was sent first, and waits");
    let south = start(&database, |config| config.queues = Some(vec!["south".to_owned()])).await;
    other.get(Some(LONG)).await.expect("a result");
    north.drain(LONG).await;
    south.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_start_in_time_expires() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |config| config.slots = 1).await;
    let busy = send(&client, "misbehave.sleep", json!({"ms": 1500})).await;
    until_running(&busy).await;
    let soon = Utc::now() + chrono::Duration::milliseconds(300);
    let late = client.task("misbehave.noop").good_until(soon).send(json!({})).await.expect("sent");
    let error = late.get(Some(LONG)).await.expect_err("no slot was free in time");
    assert_eq!(error.code.as_str(), "TASK_EXPIRED");
    assert_eq!(info(&late).await.attempt, 0);
    busy.get(Some(LONG)).await.expect("undisturbed");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_sleepers_and_spinners_alike() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |config| config.cancel_grace = Duration::from_millis(50)).await;
    for (task, args) in [("misbehave.sleep", json!({"ms": 25_000})), ("misbehave.spin", json!({}))] {
        let handle = send(&client, task, args).await;
        until_running(&handle).await;
        assert_eq!(handle.cancel().await.expect("an answer"), Status::Running);
        let error = handle.get(Some(LONG)).await.expect_err("cancelled");
        assert_eq!(error.code.as_str(), "TASK_CANCELLED", "{task}");
        let attempts = info(&handle).await.attempts.expect("asked for");
        assert_eq!(attempts[0].outcome, AttemptOutcome::Cancelled);
    }
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_finish_what_finishes_in_time() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |_| {}).await;
    let handle = send(&client, "misbehave.sleep", json!({"ms": 500})).await;
    until_running(&handle).await;
    assert_eq!(host.drain(LONG).await.interrupted, 0);
    assert!(is(&handle, Status::Completed).await);
    assert_eq!(
        count(&database, "select count(*) from hostler.host where ended_at is null").await,
        0,
        "it left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_interrupts_the_rest_and_gives_it_back_at_no_cost() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |_| {}).await;
    let often = send(&client, "misbehave.sleep", json!({"ms": 25_000})).await;
    let once =
        client.task("misbehave.sleep").redeliveries(0).send(json!({"ms": 25_000})).await.expect("sent");
    until_running(&often).await;
    until_running(&once).await;
    assert_eq!(host.drain(Duration::ZERO).await.interrupted, 2);

    let story = info(&often).await;
    assert_eq!(
        (story.status, story.releases, story.retry_count, story.redeliveries),
        (Status::Pending, 1, 0, 0)
    );
    assert_eq!(story.attempts.expect("asked for")[0].outcome, AttemptOutcome::Released);
    let story = info(&once).await;
    assert_eq!((story.status, story.error_code.as_deref()), (Status::Failed, Some("WORKER_CRASHED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn sleeping_guests_hold_no_transaction_and_no_connection() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |_| {}).await;
    let many = (0..16).map(|_| json!({"ms": 25_000}));
    client.send_many("misbehave.sleep", many).await.expect("sent");
    until("all sleep", async || {
        count(&database, "select count(*) from hostler.task where session is not null").await == 16
    })
    .await;
    let ours = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let idle = format!("{ours} and state <> 'idle'");
    until("nobody is at work", async || count(&database, &idle).await == 0).await;
    assert!(count(&database, ours).await < 16, "fewer connections than attempts");
    host.drain(Duration::ZERO).await;
}
