//! Looking a task up, without waiting.

use hostler::{AttemptOutcome, Client, Include, Status};
use serde_json::json;

use super::Stage;
use super::wire::Wire;
use crate::support::LONG;

#[tokio::test(flavor = "multi_thread")]
async fn info_of_an_unknown_id_is_none_and_an_error_means_infrastructure() {
    let stage = Stage::deserted().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().connect().await.expect("a client");
    let unknown = client.handle::<serde_json::Value>(uuid::Uuid::now_v7());
    assert!(unknown.info(Include::all()).await.expect("the database answers").is_none());
    wire.cut();
    let error = unknown.info(Include::empty()).await.expect_err("the database is gone");
    assert_eq!(error.code.as_str(), "BROKER_ERROR");
    wire.mend(&client).await;
    assert!(unknown.info(Include::empty()).await.expect("it is back").is_none());
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_none_unless_asked_for_and_empty_while_there_are_none() {
    let stage = Stage::deserted().await;
    let handle = stage.client.send("text.word_count", json!({"text": "a"})).await.expect("sent");
    let info = handle.info(Include::empty()).await.expect("an answer").expect("known");
    assert!(info.attempts.is_none() && info.result.is_none() && info.input.is_none());
    assert_eq!((info.status, info.attempt, info.retry_count), (Status::Pending, 0, 0));
    assert_eq!((info.queue.as_str(), info.priority, info.error_code), ("default", 50, None));
    assert!(info.host.is_none() && info.plugin.is_none() && info.started_at.is_none());
    let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
    assert_eq!(info.attempts.map(|attempts| attempts.len()), Some(0));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_task_tells_its_error_and_the_story_of_every_attempt() {
    let stage = Stage::set().await;
    let args = json!({"failures": 9});
    let handle = stage.client.task("flaky.fail_then_succeed").retries(1).send(args).await.expect("sent");
    let error = handle.get(Some(LONG)).await.expect_err("both attempts fail");
    let info = handle.info(Include::all()).await.expect("an answer").expect("known");
    assert_eq!((info.status, info.retry_count, info.max_retries), (Status::Failed, 1, 1));
    assert_eq!(info.error_code.as_deref(), Some("NOT_YET"));
    assert_eq!(info.failed_reason.as_ref(), Some(&error));
    assert_eq!((info.result, info.completed_at), (None, None));
    assert_eq!(info.input, Some(json!({"failures": 9})));
    let plugin = info.plugin.expect("it ran");
    assert_eq!((plugin.name.as_str(), plugin.digest.len()), ("flaky", 64));
    let attempts = info.attempts.expect("asked for");
    let story: Vec<_> = attempts.iter().map(|a| (a.attempt, a.outcome, a.will_retry)).collect();
    assert_eq!(story, [(2, AttemptOutcome::Failed, false), (1, AttemptOutcome::Failed, true)]);
    for attempt in &attempts {
        assert_eq!(attempt.error_code.as_deref(), Some("NOT_YET"));
        assert!(attempt.error_message.as_deref().is_some_and(|m| m.starts_with("attempt ")));
        assert!(attempt.started_at <= attempt.finished_at);
        assert!(attempt.host.hostname.is_some() && attempt.host.pid.is_some() && !attempt.host.id.is_empty());
        assert_eq!(attempt.plugin.as_ref().map(|p| &p.digest), Some(&plugin.digest));
        let used = attempt.used.expect("it ran");
        assert!(used.wall_ms > 0 && used.memory_bytes_peak > 0);
        assert!(attempt.log_tail.as_deref().is_some_and(|log| log.contains("fails")));
    }
    assert_eq!(info.failed_at, Some(attempts[0].finished_at), "the task ended with its last attempt");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_task_tells_what_its_attempt_used() {
    let stage = Stage::set().await;
    let handle = stage.client.send("misbehave.counter", json!(null)).await.expect("sent");
    assert_eq!(handle.get(Some(LONG)).await.expect("a result"), 1);
    let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
    let used = info.attempts.expect("asked for")[0].used.expect("it ran");
    assert!(used.wall_ms > 0 && used.memory_bytes_peak > 0, "{used:?}");
    assert_eq!(used.result_bytes, 1, "the result is `1`");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_is_planned_shows_when_it_is_due() {
    let stage = Stage::set().await;
    let args = json!({"failures": 9, "after_ms": 3_600_000});
    let handle = stage.client.send("flaky.later", args).await.expect("sent");
    let info = super::eventually("a planned retry", async || {
        let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
        (info.retry_count == 1).then_some(info)
    })
    .await;
    assert_eq!(info.status, Status::Pending);
    let attempts = info.attempts.expect("asked for");
    assert_eq!((attempts.len(), attempts[0].will_retry), (1, true));
    let pause = info.next_retry_at.expect("planned") - attempts[0].finished_at;
    assert_eq!(pause.num_seconds(), 3_600, "the guest's own wish wins over the policy");
    stage.clear().await;
}

/// The other process of the test below.
#[tokio::test]
async fn the_other_process() {
    let Ok(url) = std::env::var("HOSTLER_TEST_OTHER_URL") else { return };
    let id = std::env::var("HOSTLER_TEST_OTHER_ID").expect("an id").parse().expect("an id");
    let handle = Client::connect(&url).await.expect("a client").handle::<text::Counts>(id);
    let counts = handle.get(Some(LONG)).await.expect("a result");
    let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
    assert_eq!((counts.words, info.attempts.expect("asked for").len()), (2, 1));
    println!("the other process saw it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_enough_to_look_the_task_up_from_another_process() {
    let stage = Stage::set().await;
    let handle = stage.client.send("text.word_count", json!({"text": "a b"})).await.expect("sent");
    let mut other = tokio::process::Command::new(std::env::current_exe().expect("this program"));
    other.args(["--exact", "handle::info::the_other_process", "--nocapture"]);
    other.env("HOSTLER_TEST_OTHER_URL", stage.database.url());
    other.env("HOSTLER_TEST_OTHER_ID", handle.id().to_string());
    let output = other.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("the other process saw it"), "{said}");
    stage.clear().await;
}
