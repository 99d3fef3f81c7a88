//! Cancelling, from wherever.

use hostler::{AttemptOutcome, Include, Status};
use serde_json::json;

use super::{Stage, until_running};
use crate::support::LONG;

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_task_is_cancelled_at_once() {
    let stage = Stage::deserted().await;
    let handle = stage.client.send("text.word_count", json!({"text": "a"})).await.expect("sent");
    assert_eq!(handle.cancel().await.expect("known"), Status::Cancelled);
    assert_eq!(handle.get(None).await.expect_err("no value").code.as_str(), "TASK_CANCELLED");
    let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
    assert_eq!((info.status, info.error_code), (Status::Cancelled, None));
    assert_eq!(info.attempts.map(|a| a.len()), Some(0), "no attempt was made");
    assert_eq!(stage.client.cancel(handle.id()).await.expect("known"), Status::Cancelled, "as it is");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_interrupted_in_its_sandbox_and_its_attempt_is_on_record() {
    let stage = Stage::set().await;
    // It never looks at the flag: after the grace it is dropped.
    let handle = stage.client.send("misbehave.sleep", json!({"ms": 3_600_000})).await.expect("sent");
    until_running(&handle).await;
    assert_eq!(stage.client.cancel(handle.id()).await.expect("known"), Status::Running);
    let info = handle.info(Include::empty()).await.expect("an answer").expect("known");
    assert!(info.cancel_requested || info.status == Status::Cancelled);
    assert_eq!(handle.get(Some(LONG)).await.expect_err("no value").code.as_str(), "TASK_CANCELLED");
    let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
    let attempts = info.attempts.expect("asked for");
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].outcome, attempts[0].will_retry), (AttemptOutcome::Cancelled, false));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_task_answers_with_what_it_is_and_an_unknown_one_with_not_found() {
    let stage = Stage::set().await;
    let handle = stage.client.send("text.word_count", json!({"text": "a"})).await.expect("sent");
    handle.get(Some(LONG)).await.expect("a result");
    assert_eq!(handle.cancel().await.expect("known"), Status::Completed);
    let error = stage.client.cancel(uuid::Uuid::now_v7()).await.expect_err("nobody sent it");
    assert_eq!(error.code.as_str(), "TASK_NOT_FOUND");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_its_retry_is_cancelled_without_an_error_of_its_own() {
    let stage = Stage::set().await;
    let args = json!({"failures": 9, "after_ms": 3_600_000});
    let handle = stage.client.send("flaky.later", args).await.expect("sent");
    super::eventually("a planned retry", async || {
        let info = handle.info(Include::empty()).await.expect("an answer").expect("known");
        (info.retry_count == 1).then_some(())
    })
    .await;
    assert_eq!(handle.cancel().await.expect("known"), Status::Cancelled);
    let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
    assert_eq!((info.status, info.error_code), (Status::Cancelled, None));
    let attempts = info.attempts.expect("asked for");
    assert_eq!((attempts.len(), attempts[0].error_code.as_deref()), (1, Some("NOT_YET")));
    stage.clear().await;
}
