//! More work than there is room for, and neighbours that take all they can.

use std::time::Duration;

use serde_json::json;
use sqlx::Connection;

use super::{count, send, start, until};
use crate::support::{LONG, database};

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_sandbox_goes_back_and_uses_up_nothing() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |config| (config.slots, config.sandboxes) = (12, Some(1))).await;
    let many = (0..24).map(|_| json!({"ms": 100}));
    let mut sent = client.send_many("misbehave.sleep", many).await.expect("sent");
    for _ in 0..6 {
        // It never starts twice, and it has not started.
        let once = client.task("misbehave.sleep").redeliveries(0).unpublished();
        sent.push(once.send(json!({"ms": 100})).await.expect("sent"));
    }
    for handle in sent {
        handle.get(Some(LONG)).await.expect("a result");
    }
    let released = "select count(*) from hostler.attempt where outcome = 4";
    assert!(count(&database, released).await > 0, "twelve slots, three places");
    let unharmed =
        "select count(*) from hostler.history where status = 3 and retries + redeliveries + releases = 0";
    assert_eq!(count(&database, unharmed).await, 30);
    assert_eq!(count(&database, "select count(*) from hostler.attempt where outcome <> 4").await, 0);
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_yet_ends_the_claims() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |config| (config.slots, config.lease) = (2, Duration::from_secs(2))).await;
    let mut conn = database.conn().await;
    let mut holding = conn.begin().await.expect("a transaction");
    sqlx::query("lock table hostler.history in exclusive mode").execute(&mut *holding).await.expect("locked");
    let sent = client.send_many("misbehave.noop", (0..100).map(|_| json!({}))).await.expect("sent");
    // Four for each slot wait to be written, and then as many as there are slots may be under way.
    until("more ends than can be written", async || host.running() > 8).await;
    let began = tokio::time::Instant::now();
    until("settles were tried again and again", async || {
        assert!(host.running() <= 10, "{}", host.running());
        began.elapsed() > Duration::from_secs(3)
    })
    .await;
    assert!(count(&database, "select count(*) from hostler.task where session is not null").await <= 10);
    holding.rollback().await.expect("unlocked");
    for handle in sent {
        handle.get(Some(LONG)).await.expect("a result");
    }
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_spinning_guests_short_tasks_end_and_the_host_counts_as_alive() {
    let database = database();
    let client = database.client().await;
    let lease = Duration::from_secs(3);
    let judge =
        start(&database, |config| (config.lease, config.queues) = (lease, Some(vec!["other".to_owned()])))
            .await;
    let host = start(&database, |config| (config.lease, config.slots) = (lease, 72)).await;
    let session = host.session();
    let mut spinners = Vec::new();
    for _ in 0..64 {
        spinners.push(send(&client, "misbehave.spin_until_cancelled", json!({})).await);
    }
    until("all of them spin", async || host.running() == 64).await;
    for handle in client.send_many("misbehave.noop", (0..100).map(|_| json!({}))).await.expect("sent") {
        handle.get(Some(LONG)).await.expect("a result");
    }
    let beats = format!("select beat from hostler.host where session = {}", session.expect("it works").0);
    let before = count(&database, &beats).await;
    until("it beats", async || count(&database, &beats).await > before).await;
    for spinner in &spinners {
        spinner.cancel().await.expect("cancelled");
    }
    until("all of them have ended", async || host.running() == 0).await;
    assert_eq!(count(&database, "select count(*) from hostler.host where lost").await, 0);
    assert_eq!(host.session(), session);
    host.drain(LONG).await;
    judge.drain(LONG).await;
}
