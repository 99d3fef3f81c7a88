//! Sending.

use std::time::Duration;

use hostler::{Client, Include, SendErrorCode};
use serde_json::json;

use super::Stage;
use super::wire::Wire;
use crate::support::LONG;

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_send_is_no_handle_and_says_what_to_do() {
    let stage = Stage::deserted().await;
    let send = async |task: &str, args| stage.client.send(task, args).await.expect_err("refused");

    let error = send("text.word_count", json!({"text": 5})).await;
    assert_eq!((error.code, error.retryable), (SendErrorCode::ValidationFailed, false));
    assert!(error.message.contains("at /text") && error.message.contains("\"string\""), "{error}");
    let error = send("text.word_count", json!({})).await;
    assert!(error.message.contains("\"text\"") && error.message.contains("required"), "{error}");

    let error = send("text.wordcount", json!({})).await;
    assert_eq!(error.code, SendErrorCode::UnknownTask);
    assert!(error.message.contains("did you mean text.word_count"), "{error}");
    let error = send("Not A Name", json!({})).await;
    assert_eq!(error.code, SendErrorCode::ValidationFailed);
    assert!(error.message.contains("plugin.task"), "{error}");

    let unknown = stage.client.task("later.comes").unpublished().send(json!({})).await.expect("accepted");
    let info = unknown.info(Include::empty()).await.expect("an answer").expect("known");
    assert_eq!(info.hosts_serving, 0, "and reported as waiting for a host");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_arguments_are_refused_before_anything_is_sent() {
    let stage = Stage::deserted().await;
    let small = Client::builder(stage.database.url()).args_bytes_max(100).connect().await.expect("a client");
    let error = small.send("text.word_count", json!({"text": "x".repeat(100)})).await.expect_err("too large");
    assert_eq!(error.code, SendErrorCode::PayloadTooLarge);
    assert!(error.message.contains("111 bytes") && error.message.contains("limit is 100"), "{error}");
    let many = [json!({"text": "x"}), json!({"text": "x".repeat(100)})];
    let error = small.send_many("text.word_count", many).await.expect_err("the second is too large");
    assert_eq!(error.code, SendErrorCode::PayloadTooLarge);
    let pending = small.tasks().await.expect("a list").iter().map(|task| task.pending).sum::<i64>();
    assert_eq!(pending, 0, "all or none");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_first_send_of_a_task_a_send_is_one_statement() {
    let stage = Stage::deserted().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = Client::builder(wire.url()).connect().await.expect("a client");
    let send = async || client.send("text.word_count", json!({"text": "a"})).await.expect("sent");
    send().await;
    client.flush().await;
    let before = wire.statements();
    let mut rings = 0;
    for _ in 0..10 {
        send().await;
        client.flush().await;
        rings += 1;
    }
    assert_eq!(wire.statements() - before, 10 + rings, "the insert, and the doorbell's ring beside it");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_the_same_command_the_same_task() {
    let stage = Stage::set().await;
    let send = async |key: &str, text: &str| {
        stage.client.task("text.word_count").key(key).send(json!({"text": text})).await
    };
    let first = send("k", "a").await.expect("sent");
    assert_eq!(send("k", "a").await.expect("the same").id(), first.id());
    first.get(Some(LONG)).await.expect("a result");
    assert_eq!(send("k", "a").await.expect("within its window").id(), first.id());
    let error = send("k", "b").await.expect_err("another command");
    assert_eq!((error.code, error.task_id), (SendErrorCode::KeyConflict, Some(first.id())));
    assert_ne!(send("other", "a").await.expect("sent").id(), first.id());
    stage.execute("update hostler.key set window_seconds = 0").await;
    assert_ne!(send("k", "b").await.expect("the window is over").id(), first.id());
    assert_eq!(send("", "a").await.expect_err("no key").code, SendErrorCode::ValidationFailed);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_the_callers_own_is_one_command_and_close_to_now() {
    let stage = Stage::set().await;
    let id = uuid::Uuid::now_v7();
    let send =
        async |id, text: &str| stage.client.task("text.word_count").id(id).send(json!({"text": text})).await;
    let handle = send(id, "a").await.expect("sent");
    handle.get(Some(LONG)).await.expect("a result");
    assert_eq!(send(id, "a").await.expect("the same, final by now").id(), id);
    assert_eq!(send(id, "b").await.expect_err("another").code, SendErrorCode::PayloadMismatch);

    for days in [-2_i64, 2] {
        let at = chrono::Utc::now() + chrono::Duration::days(days);
        let seconds = u64::try_from(at.timestamp()).expect("after 1970");
        let far = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
        let error = send(far, "a").await.expect_err("far from the database's clock");
        assert_eq!(error.code, SendErrorCode::ValidationFailed);
        assert!(error.message.contains("more than a day away"), "{error}");
        assert!(stage.client.handle::<()>(far).info(Include::empty()).await.expect("an answer").is_none());
    }
    let error = send(uuid::Uuid::from_u128(7), "a").await.expect_err("no UUIDv7");
    assert!(error.message.contains("UUIDv7"), "{error}");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_task_waits_for_its_time_and_a_late_one_expires() {
    let stage = Stage::set().await;
    let delay = Duration::from_millis(300);
    let handle =
        stage.client.task("text.word_count").delay(delay).send(json!({"text": ""})).await.expect("sent");
    handle.get(Some(LONG)).await.expect("a result");
    let info = handle.info(Include::empty()).await.expect("an answer").expect("known");
    let (due, started) = (info.run_at.expect("delayed"), info.started_at.expect("it ran"));
    assert!(due - info.sent_at >= chrono::Duration::milliseconds(299) && started >= due);

    // No retry is planned at or after `good_until`: the first failure is the last.
    let soon = chrono::Utc::now() + Duration::from_secs(1_000);
    let args = json!({"failures": 1, "after_ms": 3_600_000});
    let handle = stage.client.task("flaky.later").good_until(soon).send(args).await.expect("sent");
    assert_eq!(handle.get(Some(LONG)).await.expect_err("failed").code.as_str(), "NOT_YET");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_tasks_go_in_one_call() {
    let stage = Stage::deserted().await;
    let many = (0..100_000).map(|n| json!({"text": n.to_string()}));
    let handles = stage.client.send_many("text.word_count", many).await.expect("sent");
    let distinct: std::collections::HashSet<_> = handles.iter().map(hostler::TaskHandle::id).collect();
    assert_eq!(distinct.len(), 100_000);
    let tasks = stage.client.tasks().await.expect("a list");
    let pending = tasks.iter().find(|task| task.name == "text.word_count").expect("published").pending;
    assert_eq!(pending, 100_000);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_database_costs_an_idle_client_no_call() {
    let stage = Stage::deserted().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = Client::connect(wire.url()).await.expect("a client");
    let some = (0..5).map(|_| client.send("text.word_count", json!({"text": "a"})));
    for sent in futures_util::future::join_all(some).await {
        sent.expect("sent");
    }
    client.flush().await;
    wire.cut();
    // Connections that were used within the second are trusted: four polls of somebody who waits take longer.
    let clock = Wire::to(stage.database.url()).await;
    let waiter = clock.client().connect().await.expect("a client");
    let waits = waiter.task("text.word_count").delay(LONG).send(json!({"text": ""})).await.expect("sent");
    let waits = tokio::spawn(async move { waits.get(None).await });
    let polls_from = clock.statements();
    clock.statements_reach(polls_from + 6).await;
    waits.abort();
    wire.mend(&stage.client).await;
    for _ in 0..5 {
        client.send("text.word_count", json!({"text": "a"})).await.expect("sent");
    }
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_streamed_is_what_one_by_one_would_be() {
    let stage = Stage::deserted().await;
    let tomorrow = chrono::Utc::now() + chrono::Duration::days(1);
    let task = |rich: bool| {
        let task = stage.client.task("text.word_count");
        if !rich {
            return task;
        }
        let task = task.queue("later").priority(3).retries(2).redeliveries(5).keep_input(false);
        task.good_until(tomorrow).delay(Duration::from_secs(3_600))
    };
    let mut conn = stage.database.conn().await;
    for rich in [false, true] {
        let args = json!({"text": "a \u{0} b"});
        task(rich).send(&args).await.expect("sent");
        // More than one piece.
        let many = task(rich).send_many(std::iter::repeat_n(&args, 2_000)).await.expect("sent");
        let rows: Vec<(uuid::Uuid, bool, serde_json::Value)> = sqlx::query_as(
            "delete from hostler.task returning id,
                run_at is null or (pos = (extract(epoch from run_at) * 1000000)::bigint
                    and run_at - sent_at between interval '59 minutes' and interval '61 minutes'),
                to_jsonb(task) - 'id' - 'pos' - 'sent_at' - 'run_at'
                    || jsonb_build_object('now', abs(extract(epoch from clock_timestamp() - sent_at)) < 60)",
        )
        .fetch_all(&mut conn)
        .await
        .expect("rows");
        let sent: std::collections::BTreeSet<_> = rows.iter().map(|row| row.0).collect();
        assert!(sent.len() == 2_001 && many.iter().all(|handle| sent.contains(&handle.id())));
        assert!(rows.iter().all(|row| row.1 && row.2 == rows[0].2), "{:?}", rows[0]);
        assert_eq!(rows[0].2["now"], true);
    }
    stage.clear().await;
}
