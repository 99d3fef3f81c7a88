//! Single answers that never arrive, on connections that stay open.

use std::time::Duration;

use chrono::Utc;
use hostler::{Client, Status};
use serde_json::json;

use super::{LONG, host, info, nap, until};
use crate::handle::wire::Wire;
use crate::support::{Database, database};

const LEASE: Duration = Duration::from_secs(2);

async fn count(database: &Database, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut database.conn().await).await.expect(sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_overtakes_the_answer_of_a_claim_is_acted_on() {
    let database = database();
    let client = database.client().await;
    let wire = Wire::to(database.url()).await;
    wire.stall("-- Claims tasks for a host");
    let host = host(wire.url(), |c| c.lease = LEASE).await;
    let task = nap(&client, 25_000).await;
    until("it is claimed", async || info(&task).await.status == Status::Running).await;
    assert!(wire.has_stalled());
    // The host hears of the cancel at once, and of the claim after a lease.
    task.cancel().await.expect("an answer");
    let beats = "select sum(beat)::bigint from hostler.host";
    let before = count(&database, beats).await;
    until("polls have seen it", async || count(&database, beats).await > before + 1).await;
    let error = task.get(Some(LONG)).await.expect_err("cancelled");
    assert_eq!(error.code.as_str(), "TASK_CANCELLED", "{error}");
    assert_eq!(info(&task).await.attempt, 1, "it ran, and was interrupted");
    until("it is struck off", async || count(&database, "select count(*) from hostler.cancel").await == 0)
        .await;
    host.drain(LONG).await;
}

/// Whatever the polls ask, one answer that stays away is not waited for.
async fn polls_go_on_after(words: &str, trigger: impl AsyncFnOnce(&Client)) {
    let database = database();
    let client = database.client().await;
    let wire = Wire::to(database.url()).await;
    let host = host(wire.url(), |c| (c.lease, c.listen) = (LEASE, false)).await;
    wire.stall(words);
    trigger(&client).await;
    until("an answer stays away", async || wire.has_stalled()).await;
    let task = client.task("misbehave.sleep").delay(Duration::from_millis(1)).unpublished();
    let task = task.send(json!({"ms": 1})).await.expect("sent");
    task.get(Some(LONG)).await.expect("promoted and run");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_go_on_after_a_promotion_that_falls_silent() {
    polls_go_on_after("-- Moves tasks whose time has come", async |client| {
        let task = client.task("misbehave.sleep").delay(Duration::from_millis(1)).unpublished();
        task.send(json!({"ms": 1})).await.expect("sent");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_go_on_after_an_expiry_that_falls_silent() {
    polls_go_on_after("-- Ends tasks whose `good_until` passed", async |client| {
        let soon = Utc::now() + Duration::from_millis(300);
        let task = client.task("nobody.serves_it").good_until(soon).unpublished();
        task.send(json!({})).await.expect("sent");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_go_on_after_a_cancel_whose_end_falls_silent() {
    polls_go_on_after("-- A host has seen these cancels", async |client| {
        let task = nap(client, 25_000).await;
        until("it runs", async || info(&task).await.status == Status::Running).await;
        task.cancel().await.expect("an answer");
    })
    .await;
}
