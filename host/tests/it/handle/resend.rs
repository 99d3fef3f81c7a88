//! Sends whose answer was lost.

use hostler::SendErrorCode;
use serde_json::json;

use super::Stage;
use super::wire::Wire;
use crate::support::LONG;

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_answer_was_lost_is_repeated_by_hand_and_runs_once() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().connect().await.expect("a client");
    client.send("text.word_count", json!({"text": "warm up"})).await.expect("sent");

    wire.cut_after("only once");
    let error = client.send("text.word_count", json!({"text": "only once"})).await.expect_err("cut");
    assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true));
    let id = error.task_id.expect("the id it would have had");
    // The first one did commit; it is final before the second one comes.
    stage.client.handle::<serde_json::Value>(id).get(Some(LONG)).await.expect("a result");
    let handle = client.retry_send(&error).await.expect("the same command");
    assert_eq!(handle.id(), id);
    assert_eq!(handle.get(Some(LONG)).await.expect("a result")["words"], 2);
    let info = handle.info(hostler::Include::ATTEMPTS).await.expect("an answer").expect("known");
    assert_eq!(info.attempts.map(|attempts| attempts.len()), Some(1), "it ran once");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_is_repeated_by_itself_if_the_client_is_set_so() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().resend(true).connect().await.expect("a client");
    client.send("text.word_count", json!({"text": "warm up"})).await.expect("sent");
    for (key, text) in [(None, "plain resend"), (Some("k"), "resend with a key")] {
        wire.cut_after(text);
        let mut task = client.task("text.word_count");
        if let Some(key) = key {
            task = task.key(key);
        }
        let handle = task.send(json!({"text": text})).await.expect("the second try is answered");
        handle.get(Some(LONG)).await.expect("a result");
    }
    wire.cut();
    let error = client.send("text.word_count", json!({"text": "a"})).await.expect_err("for good");
    assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_send_that_failed_on_the_way_is_repeated() {
    let stage = Stage::deserted().await;
    let refused = stage.client.send("text.word_count", json!({})).await.expect_err("refused");
    let error = stage.client.retry_send(&refused).await.expect_err("the same call fails the same way");
    assert_eq!(error.code, SendErrorCode::ValidationFailed);
    assert!(error.message.contains("VALIDATION_FAILED is not repeated"), "{error}");

    // An id from yesterday: its task may be done and forgotten.
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().connect().await.expect("a client");
    client.send("text.word_count", json!({"text": "warm up"})).await.expect("sent");
    wire.cut();
    let made = chrono::Utc::now() - chrono::Duration::hours(13);
    let seconds = u64::try_from(made.timestamp()).expect("after 1970");
    let old = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
    let error = client.task("text.word_count").id(old).send(json!({"text": "a"})).await.expect_err("cut");
    wire.mend(&client).await;
    let error = client.retry_send(&error).await.expect_err("too old");
    assert!(error.message.contains("13 hours old"), "{error}");
    stage.clear().await;
}
