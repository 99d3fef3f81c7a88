//! Durability belongs to one statement: set inside it, gone after it.

use hostler::store::{self, Role};
use hostler::task::Session;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::stage::{HOST, Stage, claim_on, complete, fence_and_adopt, join, new_task, recover, settle_of};

async fn setting(conn: &mut PgConnection) -> String {
    sqlx::query_scalar("show synchronous_commit").fetch_one(conn).await.expect("a setting")
}

async fn set(conn: &mut PgConnection, value: &str) {
    let sql = format!("set synchronous_commit = {value}");
    sqlx::query(&sql).execute(conn).await.expect("set");
}

/// What a claim on this connection set for its own transaction; then it is undone.
async fn durability_of_a_claim(stage: &mut Stage, default: &str) -> String {
    set(&mut stage.conn, default).await;
    let lane = stage.lane;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    assert!(!claim_on(&mut tx, HOST, 1, lane).await.is_empty());
    let inside = setting(&mut tx).await;
    tx.rollback().await.expect("undone");
    assert_eq!(setting(&mut stage.conn).await, default, "nothing leaks");
    inside
}

#[tokio::test]
async fn a_usual_claim_waits_for_no_disk() {
    let mut stage = Stage::new().await;
    stage.send().await;
    for default in ["on", "off", "remote_apply"] {
        assert_eq!(durability_of_a_claim(&mut stage, default).await, "off");
    }
}

#[tokio::test]
async fn nor_does_a_claim_that_finds_nothing() {
    let mut stage = Stage::new().await;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    assert!(claim_on(&mut tx, HOST, 1, stage.lane).await.is_empty());
    assert_eq!(setting(&mut tx).await, "off");
}

#[tokio::test]
async fn a_hosts_claims_set_nothing_that_is_set() {
    let stage = Stage::new().await;
    let mut conn = store::conn(&stage.database.connect(), Role::Claiming).await.expect("a connection");
    assert_eq!(setting(&mut conn).await, "off");
    for (redeliveries, inside) in [(3, "off"), (0, "on"), (3, "off")] {
        stage.send_with(|options| options.redeliveries_max = redeliveries).await;
        let mut tx = conn.begin().await.expect("a transaction");
        assert_eq!(claim_on(&mut tx, HOST, 1, stage.lane).await.len(), 1);
        assert_eq!(setting(&mut tx).await, inside);
        tx.commit().await.expect("claimed");
    }
}

#[tokio::test]
async fn a_claim_of_what_must_not_start_twice_is_durable() {
    let mut stage = Stage::new().await;
    stage.send().await;
    stage.send_with(|options| options.redeliveries_max = 0).await;
    assert_eq!(durability_of_a_claim(&mut stage, "on").await, "on");
    assert_eq!(durability_of_a_claim(&mut stage, "off").await, "on", "whatever the role's default");
    assert_eq!(durability_of_a_claim(&mut stage, "remote_apply").await, "remote_apply", "more is left alone");
}

#[tokio::test]
async fn a_claim_of_what_was_lost_before_is_durable() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, Session(2)).await;
    stage.send().await;
    claim_on(&mut stage.conn, Session(2), 1, stage.lane).await;
    stage.bury(Session(2)).await;
    assert_eq!(recover(&mut stage.conn).await.len(), 1);
    assert_eq!(durability_of_a_claim(&mut stage, "off").await, "on");
}

#[tokio::test]
async fn a_send_and_a_settle_are_durable_whatever_the_default() {
    let mut stage = Stage::new().await;
    let options = stage.options();
    set(&mut stage.conn, "off").await;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    store::insert(&mut tx, &options, &[new_task(hostler::TaskId::now_v7())], true).await.expect("sent");
    assert_eq!(setting(&mut tx).await, "on");
    tx.commit().await.expect("sent");
    assert_eq!(setting(&mut stage.conn).await, "off");

    let claim = stage.claim_one(1).await;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    store::settle(&mut tx, HOST, &[settle_of(claim, complete())]).await.expect("settled");
    assert_eq!(setting(&mut tx).await, "on");
    tx.commit().await.expect("settled");
    assert_eq!(setting(&mut stage.conn).await, "off");
}

#[tokio::test]
async fn a_cancel_and_what_is_taken_over_are_durable_whatever_the_default() {
    let mut stage = Stage::new().await;
    set(&mut stage.conn, "off").await;
    let waiting = stage.send().await;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    let cancel = include_str!("../../../sql/cancel.sql");
    let rows = sqlx::query(cancel).bind(waiting).fetch_all(&mut *tx).await.expect("cancelled");
    assert_eq!(rows.len(), 1);
    assert_eq!(setting(&mut tx).await, "on");
    tx.rollback().await.expect("undone");

    let _running = stage.claim_one(1).await;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    assert_eq!(fence_and_adopt(&mut tx).await.len(), 1);
    assert_eq!(setting(&mut tx).await, "on");
    tx.rollback().await.expect("undone");

    stage.execute("update hostler.task set session = 77").await;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    assert_eq!(recover(&mut tx).await.len(), 1);
    assert_eq!(setting(&mut tx).await, "on");
    tx.commit().await.expect("taken back");

    set(&mut stage.conn, "on").await;
    let mut tx = stage.conn.begin().await.expect("a transaction");
    assert!(recover(&mut tx).await.is_empty());
    assert_eq!(setting(&mut tx).await, "off", "a look that finds nothing waits for no disk");
    tx.rollback().await.expect("undone");
    assert_eq!(setting(&mut stage.conn).await, "on", "nothing leaks");
}

#[tokio::test]
async fn the_callers_transaction_keeps_its_own_durability() {
    let stage = Stage::new().await;
    let client = stage.database.client().await;
    let mut conn = stage.cold().await;
    for default in ["off", "on"] {
        set(&mut conn, default).await;
        let mut tx = conn.begin().await.expect("a transaction");
        let send = client.task("some.task").unpublished().key(default);
        send.send_in(&mut tx, serde_json::json!({})).await.expect("sent");
        assert_eq!(setting(&mut tx).await, default);
        tx.commit().await.expect("the caller's");
    }
}
