//! Waiting for a result.

use std::time::{Duration, Instant};

use hostler::{Client, TaskError};
use serde_json::json;

use super::wire::Wire;
use super::{Stage, until_running};
use crate::support::{LONG, database};

/// Gets twice; the second time must not touch the database.
async fn kept(
    wire: &Wire,
    client: &Client,
    handle: &hostler::TaskHandle<serde_json::Value>,
) -> Result<serde_json::Value, TaskError> {
    let first = handle.get(Some(LONG)).await;
    // The listener connects on its own, perhaps only now; that is no query.
    let queries = || wire.statements() - wire.listens();
    let before = queries();
    wire.cut();
    let clone = handle.clone();
    assert_eq!(handle.get(None).await, first, "the same answer");
    assert_eq!(clone.get(Some(Duration::ZERO)).await, first, "clones share it");
    assert_eq!(queries(), before, "no query");
    wire.mend(client).await;
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_answer_is_kept_and_the_second_get_makes_no_query() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().listen(false).connect().await.expect("a client");
    let code = |answer: Result<_, TaskError>| answer.expect_err("no value").code.to_string();

    let value = client.send("text.word_count", json!({"text": "a b"})).await.expect("sent");
    assert_eq!(kept(&wire, &client, &value).await.expect("a value")["words"], 2);

    let failure = json!({"code": "SOLD_OUT", "message": "none left"});
    let failed = client.send("flaky.always_fail", failure).await.expect("sent");
    assert_eq!(code(kept(&wire, &client, &failed).await), "SOLD_OUT");

    let cancelled = client.task("text.word_count").delay(LONG).send(json!({"text": ""})).await.expect("sent");
    cancelled.cancel().await.expect("cancelled");
    assert_eq!(code(kept(&wire, &client, &cancelled).await), "TASK_CANCELLED");

    let past = chrono::Utc::now() - Duration::from_secs(60);
    let expired =
        client.task("text.word_count").good_until(past).send(json!({"text": ""})).await.expect("sent");
    assert_eq!(code(kept(&wire, &client, &expired).await), "TASK_EXPIRED");

    let gone = client.send("text.word_count", json!({"text": ""})).await.expect("sent");
    client.handle::<serde_json::Value>(gone.id()).get(Some(LONG)).await.expect("done");
    stage.execute("update hostler.history set result = null").await;
    assert_eq!(code(kept(&wire, &client, &gone).await), "RESULT_NOT_AVAILABLE");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_another_type_is_an_error_that_is_kept_too() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().listen(false).connect().await.expect("a client");
    let sent = client.send("text.word_count", json!({"text": "a"})).await.expect("sent");
    let wrong = client.handle::<Vec<bool>>(sent.id());
    let error = wrong.get(Some(LONG)).await.expect_err("counts are no list");
    assert_eq!(error.code.as_str(), "RESULT_DESERIALIZATION_ERROR");
    assert!(error.is_final());
    let statements = wire.statements();
    assert_eq!(wrong.get(None).await.expect_err("as before"), error);
    assert_eq!(wire.statements(), statements);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_tells_the_last_status_and_asking_again_is_legitimate() {
    let stage = Stage::set().await;
    let handle = stage.client.send("misbehave.spin_until_cancelled", json!(null)).await.expect("sent");
    until_running(&handle).await;
    let timeout = Duration::from_millis(30);
    let error = handle.get(Some(timeout)).await.expect_err("it spins");
    assert_eq!(error.code.as_str(), "WAIT_TIMEOUT");
    assert_eq!(error.data, Some(json!({"timeout_ms": 30, "status": "RUNNING"})));
    assert!(error.is_transient());
    handle.cancel().await.expect("told");
    // The guest sees the flag and returns: a body that completed first wins.
    let noticed = handle.get(Some(LONG)).await.expect("asking again is legitimate");
    assert!(noticed["checks"].as_u64().is_some_and(|n| n > 0), "{noticed}");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_timeout_get_waits_for_ever() {
    let stage = Stage::deserted().await;
    let handle = stage.client.send("text.word_count", json!({"text": "a b c"})).await.expect("sent");
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.get(None).await }
    });
    let error = handle.get(Some(Duration::from_millis(20))).await.expect_err("nobody runs it");
    assert_eq!(error.data.expect("data")["status"], "PENDING");
    assert!(!waiting.is_finished());
    let host = crate::support::host(&stage.database).await;
    assert_eq!(waiting.await.expect("no panic").expect("a result")["words"], 3);
    host.drain(LONG).await;
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_found_and_broker_error_are_never_kept() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().connect().await.expect("a client");
    let id = uuid::Uuid::now_v7();
    let handle = client.handle::<serde_json::Value>(id);
    let error = handle.get(Some(LONG)).await.expect_err("nobody sent it");
    assert_eq!((error.code.as_str(), error.is_transient()), ("TASK_NOT_FOUND", true));
    wire.cut();
    let error = handle.get(Some(LONG)).await.expect_err("no database");
    assert_eq!((error.code.as_str(), error.is_transient()), ("BROKER_ERROR", true));
    wire.mend(&client).await;
    stage.client.task("text.word_count").id(id).send(json!({"text": "a"})).await.expect("sent");
    assert_eq!(handle.get(Some(LONG)).await.expect("found now")["words"], 1);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_found_when_notifications_are_lost_or_off() {
    let stage = Stage::deserted().await;
    let wires = [Wire::to(stage.database.url()).await, Wire::to(stage.database.url()).await];
    let deaf = wires[0].client().listen(false).connect().await.expect("a client");
    let cut_off = wires[1].client().connect().await.expect("a client");
    let sent = stage.client.send("text.word_count", json!({"text": "a"})).await.expect("sent");
    let waits = [&deaf, &cut_off].map(|client| {
        let handle = client.handle::<serde_json::Value>(sent.id());
        tokio::spawn(async move { handle.get(Some(LONG)).await })
    });
    // Twelve statements to connect, a first look, and more: what is waited for comes by polls from here on.
    for wire in &wires {
        wire.statements_reach(17).await;
        wire.cut();
    }
    let host = crate::support::host(&stage.database).await;
    sent.get(Some(LONG)).await.expect("done while nobody could hear of it");
    wires[0].mend(&deaf).await;
    wires[1].mend(&cut_off).await;
    for wait in waits {
        wait.await.expect("no panic").expect("found by the poll");
    }
    host.drain(LONG).await;
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_waiting_handles_share_one_connection_and_ask_twice_a_second() {
    let database = database();
    let wire = Wire::to(database.url()).await;
    let sender = database.client().await;
    let many = (0..10_000).map(|_| json!({}));
    let handles = sender.task("nobody.home").unpublished().send_many(many).await.expect("sent");

    let client = wire.client().connect().await.expect("a client");
    let ids = handles.iter().map(|handle| handle.id());
    let waits: Vec<_> = ids
        .map(|id| {
            let handle = client.handle::<serde_json::Value>(id);
            tokio::spawn(async move { handle.get(None).await })
        })
        .collect();
    let mut before = wire.statements();
    loop {
        // Until the first looks are over: a stretch with the pace of polls alone.
        let began = Instant::now();
        wire.statements_reach(before + 4).await;
        if began.elapsed() > Duration::from_millis(1_400) {
            break;
        }
        before = wire.statements();
    }
    assert!(wire.statements() < 1_000, "the first looks go together: {}", wire.statements());
    assert_eq!(wire.listens(), 1, "one connection listens for all");
    assert!(wire.connections() <= 11, "ten for queries and one that listens: {}", wire.connections());
    let began = Instant::now();
    let before = wire.statements();
    wire.statements_reach(before + 4).await;
    assert!(began.elapsed() > Duration::from_millis(1_400), "4 queries in {:?}", began.elapsed());

    // All of them hear of one cancel each.
    for handle in &handles[..3] {
        handle.cancel().await.expect("cancelled");
    }
    for wait in waits.into_iter().take(3) {
        let error = wait.await.expect("no panic").expect_err("cancelled");
        assert_eq!(error.code.as_str(), "TASK_CANCELLED");
    }
}
