//! Idempotency keys: one task for each key, whoever sends at the same time.

use std::time::Duration;

use hostler::store::{self, KeyOutcome, PgConnection};
use hostler::task::TaskId;
use hostler::{Client, SendErrorCode, Status};
use serde_json::json;
use sqlx::Connection;

use super::stage::{Stage, complete, somebody_waits, written};

async fn take(conn: &mut PgConnection, task: TaskId) -> KeyOutcome {
    store::take_key(conn, 1, "k", task, 7, 3600).await.expect("an answer")
}

/// Two senders with the same key at once; the first one ends with a commit or not.
async fn two_at_once(commit: bool) -> (TaskId, TaskId, KeyOutcome) {
    let mut stage = Stage::new().await;
    let (first, second) = (TaskId::now_v7(), TaskId::now_v7());
    let options = stage.options();
    let mut other = stage.cold().await;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    assert_eq!(take(&mut tx, first).await, KeyOutcome::Taken);
    store::insert(&mut tx, &options, &[super::stage::new_task(first)], true).await.expect("sent");
    let waits = tokio::spawn(async move { take(&mut other, second).await });
    somebody_waits(&stage.database).await;
    if commit { tx.commit().await } else { tx.rollback().await }.expect("over");
    (first, second, waits.await.expect("no panic"))
}

#[tokio::test]
async fn of_two_senders_at_once_the_later_one_gets_the_first_ones_task() {
    let (first, _, outcome) = two_at_once(true).await;
    assert_eq!(outcome, KeyOutcome::Same(first));
}

#[tokio::test]
async fn a_key_whose_sender_rolled_back_is_free() {
    let (_, _, outcome) = two_at_once(false).await;
    assert_eq!(outcome, KeyOutcome::Taken);
}

#[tokio::test]
async fn the_same_command_is_the_same_task_and_another_one_is_refused() {
    let stage = Stage::new().await;
    let client = stage.database.client().await;
    let send = || client.task("some.task").unpublished().key("order-7");
    let first = send().send(json!({"n": 1})).await.expect("sent");
    let second = send().send(json!({"n": 1})).await.expect("the same");
    assert_eq!(first.id(), second.id());
    let refused = send().send(json!({"n": 2})).await.expect_err("another command");
    assert_eq!((refused.code, refused.task_id), (SendErrorCode::KeyConflict, Some(first.id())));
}

async fn with_key(client: &Client) -> TaskId {
    let send = client.task("some.task").unpublished().key("k");
    send.send(json!({})).await.expect("sent").id()
}

#[tokio::test]
async fn a_key_stays_taken_while_its_task_lives_and_for_its_window() {
    let mut stage = Stage::new().await;
    let builder = Client::builder(stage.database.url()).key_window(Duration::ZERO);
    let brief = builder.connect().await.expect("a client");
    let first = with_key(&brief).await;
    assert_eq!(with_key(&brief).await, first, "it lives, however short the window");
    let claim = stage.claim_one(1).await;
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));

    let long = stage.database.client().await;
    let second = with_key(&brief).await;
    assert_ne!(second, first, "the window is over");
    let claim = stage.claim_one(2).await;
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));
    let third = with_key(&long).await;
    assert_ne!(third, second, "the window is the one it was taken with");
    let claim = stage.claim_one(3).await;
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));
    assert_eq!(with_key(&brief).await, third, "final, but within its window");
}

#[tokio::test]
async fn a_send_that_is_repeated_after_its_keys_window_does_not_run_again() {
    let mut stage = Stage::new().await;
    // It reached the database, though its sender was told otherwise.
    let id = TaskId::now_v7();
    let taken = store::take_key(&mut stage.conn, 1, "k", id, 7, 0).await.expect("an answer");
    assert_eq!(taken, KeyOutcome::Taken);
    stage.store.insert(&stage.options(), &[super::stage::new_task(id)]).await.expect("sent");
    let claim = stage.claim_one(1).await;
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));

    let again = store::take_key(&mut stage.conn, 1, "k", id, 7, 0).await.expect("an answer");
    assert_eq!(again, KeyOutcome::Same(id), "nobody inserts an id that its own key remembers");
}
