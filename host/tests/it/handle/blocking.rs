//! The same calls for programs without a runtime.

use hostler::{Client, Include, Status};
use serde_json::json;

use super::Stage;
use crate::support::LONG;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_a_runtime_sends_waits_and_looks_up() {
    let stage = Stage::set().await;
    let url = stage.database.url().to_owned();
    let thread = std::thread::spawn(move || {
        let client = Client::connect_blocking(&url).expect("a client");
        let args = text::WordCountArgs { text: "a b".to_owned() };
        let handle = client.send_blocking(text::WordCount, args).expect("sent");
        assert_eq!(handle.get_blocking(Some(LONG)).expect("a result").words, 2);
        let info = handle.info_blocking(Include::empty()).expect("an answer").expect("known");
        assert_eq!(info.status, Status::Completed);
        let again = client.rerun_blocking(handle.id()).expect("sent once more");
        again.get_blocking(None).expect("a result");
        let later =
            client.task("text.word_count").delay(LONG).send_blocking(json!({"text": ""})).expect("sent");
        assert_eq!(later.cancel_blocking().expect("known"), Status::Cancelled);
        assert_eq!(client.cancel_blocking(later.id()).expect("known"), Status::Cancelled);
        client.flush_blocking();
        let many = client.task("text.word_count").send_many_blocking([json!({"text": ""})]).expect("sent");
        assert_eq!(many.len(), 1);
        (client, handle)
    });
    // Dropping a client that brought its own runtime is fine on a thread of another one.
    drop(tokio::task::spawn_blocking(|| thread.join().expect("no panic")).await.expect("no panic"));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_runtime_serves_threads_outside_of_it_too() {
    let stage = Stage::set().await;
    let client = stage.client.clone();
    let words = std::thread::spawn(move || {
        let handle = client.send_blocking("text.word_count", json!({"text": "a b c"})).expect("sent");
        handle.get_blocking(Some(LONG)).expect("a result")["words"].clone()
    });
    let words = tokio::task::spawn_blocking(|| words.join().expect("no panic")).await.expect("no panic");
    assert_eq!(words, 3);
    stage.clear().await;
}

#[tokio::test]
async fn inside_a_runtime_a_blocking_call_is_an_error_and_no_deadlock() {
    let stage = Stage::deserted().await;
    let error = Client::connect_blocking(stage.database.url()).expect_err("inside a runtime");
    assert!(error.to_string().contains("use the async call"), "{error}");
    let error = stage.client.send_blocking("text.word_count", json!({"text": ""})).expect_err("inside");
    assert_eq!((error.code.as_str(), error.retryable), ("ASYNC_CONTEXT", false));
    let handle = stage.client.send("text.word_count", json!({"text": ""})).await.expect("sent");
    let error = handle.get_blocking(None).expect_err("inside a runtime");
    assert_eq!((error.code.as_str(), error.is_transient()), ("ASYNC_CONTEXT", true));
    assert!(error.message.contains("spawn_blocking"), "it says what to do: {error}");
    assert!(handle.info_blocking(Include::empty()).is_err());
    handle.cancel().await.expect("cancelled");
    assert_eq!(handle.get(None).await.expect_err("cancelled").code.as_str(), "TASK_CANCELLED", "not kept");
    stage.clear().await;
}
