//! Direct calls: what a plugin's author or a sender uses in tests.

use hostler::testing::{Plugin, TestHost};
use serde_json::json;

use crate::support::{LONG, component, plugins_dir};

#[test]
fn a_task_is_called_natively() {
    let counts = text::word_count(text::WordCountArgs { text: "a b".to_owned() });
    assert_eq!(counts.expect("a result").words, 2);
}

#[test]
fn a_compiled_component_is_called_without_queue_or_database() {
    let text = Plugin::load(component("text")).expect("a plugin");
    let counts = text.call(text::WordCount, text::WordCountArgs { text: "a b".to_owned() });
    assert_eq!(counts.expect("a result").words, 2);
    assert_eq!(text.call("word_count", json!({"text": "a"})).expect("a result")["words"], 1);
    let error = text.call("text.word_count", json!({"text": 1})).expect_err("no text");
    assert_eq!(error.code.as_str(), "ARGUMENT_TYPE_MISMATCH");
    let error = text.call("text.nothing", json!({})).expect_err("no such task");
    assert_eq!(error.code.as_str(), "WORKER_RESOLUTION_ERROR");

    let flaky = Plugin::load(component("flaky")).expect("a plugin");
    let error = flaky.call("fail_then_succeed", json!({"failures": 2})).expect_err("a first attempt");
    assert_eq!(error.code.as_str(), "NOT_YET");
    let misbehave = Plugin::load(component("misbehave")).expect("a plugin");
    let error = misbehave.call("trap", json!(null)).expect_err("it panics");
    assert_eq!(error.code.as_str(), "TRAPPED");
    let error = Plugin::load("nowhere/text.wasm").expect_err("no file");
    assert!(error.to_string().contains("hostler build"), "{error}");
}

#[tokio::test]
async fn a_component_is_called_inside_a_runtime_too() {
    let text = Plugin::load(component("text")).expect("a plugin");
    assert_eq!(text.call("word_count", json!({"text": "a"})).expect("a result")["words"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_host_with_a_private_database_is_one_line() {
    let host = TestHost::with_plugins(plugins_dir()).await.expect("a host");
    let handle = host.client().send("text.word_count", json!({"text": "a b"})).await.expect("sent");
    assert_eq!(handle.get(Some(LONG)).await.expect("a result")["words"], 2);
    let url = host.url();
    host.stop(LONG).await;
    assert!(hostler::Client::connect(&url).await.is_err(), "the server is gone");
}
