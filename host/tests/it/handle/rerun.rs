//! A final task once more.

use hostler::{Include, RerunError, Status};
use serde_json::json;

use super::Stage;
use crate::support::LONG;

#[tokio::test(flavor = "multi_thread")]
async fn a_final_task_is_sent_once_more_with_the_same_input_and_names_its_parent() {
    let stage = Stage::set().await;
    let task = stage.client.task(text::WordCount).priority(7).retries(2);
    let first = task.send(text::WordCountArgs { text: "a b".to_owned() }).await.expect("sent");
    first.get(Some(LONG)).await.expect("a result");
    let again = first.rerun().await.expect("sent once more");
    assert_ne!(again.id(), first.id());
    assert_eq!(again.get(Some(LONG)).await.expect("a result").words, 2);
    let info = again.info(Include::INPUT).await.expect("an answer").expect("known");
    assert_eq!(info.parent, Some(first.id()));
    assert_eq!((info.priority, info.max_retries, info.attempt), (7, 2, 1));
    assert_eq!(info.input, Some(json!({"text": "a b"})));

    let third = stage.client.rerun(again.id()).await.expect("by id, and of a rerun");
    let info = third.info(Include::empty()).await.expect("an answer").expect("known");
    assert_eq!(info.parent, Some(again.id()));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_once_more_says_why() {
    let stage = Stage::deserted().await;
    let unknown = uuid::Uuid::now_v7();
    let error = stage.client.rerun(unknown).await.expect_err("nobody sent it");
    assert!(matches!(error, RerunError::NotFound(id) if id == unknown), "{error}");

    let live = stage.client.send("text.word_count", json!({"text": ""})).await.expect("sent");
    let error = live.rerun().await.expect_err("it may still run");
    assert!(matches!(error, RerunError::NotFinal { status: Status::Pending, .. }), "{error}");

    let secret = stage.client.task("text.word_count").keep_input(false);
    let secret = secret.send(json!({"text": ""})).await.expect("sent");
    secret.cancel().await.expect("cancelled");
    let error = secret.rerun().await.expect_err("its input is gone");
    assert!(matches!(error, RerunError::InputNotKept(_)), "{error}");
    stage.clear().await;
}
