//! Whole trips: the way of a task through every room.

use std::time::Duration;

use hostler::{AttemptOutcome, Include, Status};
use serde_json::json;

use crate::support::{LONG, database, host};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_sent_run_and_its_result_and_story_are_there() {
    let database = database();
    let host = host(&database).await;
    let client = database.client().await;

    let args = text::WordCountArgs { text: "a b a\nc".to_owned() };
    let handle = client.send(text::WordCount, args).await.expect("sent");
    let counts = handle.get(Some(LONG)).await.expect("a result");
    assert_eq!((counts.words, counts.lines), (4, 2));

    let all = Include::RESULT | Include::FAILED_REASON | Include::ATTEMPTS | Include::INPUT;
    let info = handle.info(all).await.expect("the database answers").expect("the task is known");
    assert_eq!(info.status, Status::Completed);
    assert_eq!(info.task_name, "text.word_count");
    assert_eq!(info.error_code, None);
    assert_eq!(info.result.expect("asked for")["words"], 4);
    assert_eq!(info.input.expect("asked for and kept"), json!({"text": "a b a\nc"}));
    assert_eq!(info.plugin.expect("it ran").name, "text");
    let attempts = info.attempts.expect("asked for");
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].attempt, attempts[0].outcome), (1, AttemptOutcome::Completed));
    assert_eq!(attempts[0].host.pid, Some(i32::try_from(std::process::id()).expect("a pid")));
    assert!(attempts[0].used.is_some_and(|used| used.memory_bytes_peak > 0));

    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_on_record_newest_first() {
    let database = database();
    let host = host(&database).await;
    let client = database.client().await;

    let handle = client.send("flaky.fail_then_succeed", json!({"failures": 2})).await.expect("sent");
    handle.get(Some(LONG)).await.expect("the third attempt succeeds");
    let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
    assert_eq!((info.retry_count, info.attempt), (2, 3));
    let attempts = info.attempts.expect("asked for");
    let story: Vec<_> = attempts.iter().map(|a| (a.attempt, a.outcome, a.will_retry)).collect();
    assert_eq!(
        story,
        [
            (3, AttemptOutcome::Completed, false),
            (2, AttemptOutcome::Failed, true),
            (1, AttemptOutcome::Failed, true),
        ]
    );
    assert_eq!(attempts[1].error_code.as_deref(), Some("NOT_YET"));
    assert!(attempts[2].finished_at <= attempts[1].started_at, "one after the other");
    assert!(attempts[1].log_tail.as_deref().is_some_and(|log| !log.is_empty()), "it logs each try");

    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_without_notifications() {
    let database = database();
    let config = hostler::dispatch::HostConfig { listen: false, ..crate::support::host_config(&database) };
    let host = hostler::dispatch::Host::start(config).await.expect("a host");
    // By another way than the host's, or they would hear each other within this process.
    let wire = crate::handle::wire::Wire::to(database.url()).await;
    let client = wire.client().listen(false).connect().await.expect("a client");

    for _ in 0..3 {
        let handle = client.send("text.word_count", json!({"text": "x"})).await.expect("sent");
        handle.get(Some(LONG)).await.expect("a result");
    }
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_hears_a_sender_of_its_own_process_without_notifications_and_polls() {
    let database = database();
    let config = hostler::dispatch::HostConfig { listen: false, ..crate::support::host_config(&database) };
    let host = hostler::dispatch::Host::start(config).await.expect("a host");
    let client = hostler::Client::builder(database.url()).listen(false).connect().await.expect("a client");
    // Polls alone read this table: each waits for it in vain, for a quarter of a lease.
    let mut other = database.conn().await;
    let mut tx = sqlx::Connection::begin(&mut other).await.expect("a transaction");
    sqlx::query("lock table hostler.suspect").execute(&mut *tx).await.expect("locked");

    let handle = client.send("text.word_count", json!({"text": "x"})).await.expect("sent");
    handle.get(Some(Duration::from_secs(3))).await.expect("a result before a poll can have gone on");
    tx.rollback().await.expect("over");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_are_sent_at_once_and_all_complete() {
    let database = database();
    let client = database.client().await;
    let host = host(&database).await;
    let many = (0..1_000).map(|n| json!({"text": "x ".repeat(n % 7)}));
    let handles = client.send_many("text.word_count", many).await.expect("sent");
    assert_eq!(handles.len(), 1_000);
    for (n, handle) in handles.iter().enumerate() {
        let counts = handle.get(Some(LONG)).await.expect("a result");
        assert_eq!(counts["words"], n % 7, "each handle has its own result");
    }
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_lives_and_dies_with_the_callers_transaction() {
    let database = database();
    let host = host(&database).await;
    let client = database.client().await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("the application's own pool");

    let mut tx = pool.begin().await.expect("a transaction");
    let gone = client.send_in(&mut tx, "text.word_count", json!({"text": "x"})).await.expect("sent");
    tx.rollback().await.expect("rolled back");

    let mut tx = pool.begin().await.expect("a transaction");
    let kept = client.send_in(&mut tx, "text.word_count", json!({"text": "x"})).await.expect("sent");
    let unseen = kept.get(Some(Duration::ZERO)).await.expect_err("not committed yet");
    assert_eq!(unseen.code.as_str(), "TASK_NOT_FOUND");
    tx.commit().await.expect("committed");

    kept.get(Some(LONG)).await.expect("found by the poll, although nobody rang");
    let error = gone.get(Some(Duration::ZERO)).await.expect_err("it never existed");
    assert_eq!(error.code.as_str(), "TASK_NOT_FOUND");
    host.drain(LONG).await;
}
