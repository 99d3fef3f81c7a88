//! Who holds vacuum back is named, and nobody else.

use std::time::Instant;

use hostler::store::{Connect, Store};

use crate::support::LONG;
use crate::support::cluster::{Cluster, Stop};

use super::stage::Stage;

#[tokio::test]
async fn who_holds_vacuum_back_is_named_and_an_idle_transaction_is_not() {
    let stage = Stage::new().await;
    let mut report = stage.other().await;
    let mut idle = stage.other().await;
    let holding = "set application_name = 'a report'; begin isolation level repeatable read; select 1";
    sqlx::raw_sql(holding).execute(&mut report).await.expect("a snapshot");
    let harmless = "set application_name = 'idle'; begin; select 1";
    sqlx::raw_sql(harmless).execute(&mut idle).await.expect("no snapshot");

    let named = stage.store.about(0, i32::MAX).await.expect("an answer").holding;
    assert!(named.len() == 1 && named[0].starts_with("a report, process "), "{named:?}");
    let later = stage.store.about(3_600, i32::MAX).await.expect("an answer").holding;
    assert!(later.is_empty(), "not for an hour yet: {later:?}");

    let writing = "update hostler.host set beat = beat";
    sqlx::raw_sql(writing).execute(&mut idle).await.expect("written");
    let named = stage.store.about(0, i32::MAX).await.expect("an answer").holding;
    assert!(named.len() == 2 && named.iter().any(|who| who.starts_with("idle, process ")), "{named:?}");

    for mut conn in [report, idle] {
        sqlx::raw_sql("rollback").execute(&mut conn).await.expect("over");
    }
    let nobody = stage.store.about(0, i32::MAX).await.expect("an answer").holding;
    assert!(nobody.is_empty(), "{nobody:?}");
}

async fn until_held(mut ask: impl AsyncFnMut() -> Vec<String>) -> Vec<String> {
    let ends = Instant::now() + LONG;
    loop {
        let named = ask().await;
        if !named.is_empty() {
            return named;
        }
        assert!(Instant::now() < ends, "nothing holds vacuum back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_and_a_slot_that_nobody_uses_hold_vacuum_back_too() {
    let primary = Cluster::start(&["wal_level=replica", "max_wal_senders=4", "max_prepared_transactions=2"]);
    let url = primary.database("jobs").await;
    let store =
        Store::new(hostler::store::pool(&Connect::parse(&url).expect("a URL"), 1).await.expect("a pool"));
    let holding = async |transactions| store.about(0, transactions).await.expect("an answer").holding;
    assert_eq!(holding(0).await, [""; 0]);
    primary.execute("jobs", "begin; update hostler.host set beat = beat; prepare transaction 'left'").await;
    let named = holding(0).await;
    assert!(named.len() == 1 && named[0].starts_with("the prepared transaction 'left' for "), "{named:?}");
    primary.execute("jobs", "rollback prepared 'left'").await;

    primary.execute("jobs", "select pg_create_physical_replication_slot('gone')").await;
    let follows = ["hot_standby_feedback=on", "primary_slot_name=gone", "max_prepared_transactions=2"];
    let mut standby = primary.standby(&follows);
    let named = until_held(async || holding(0).await).await;
    assert!(named[0].starts_with("the replication slot 'gone', "), "{named:?}");
    assert!(named[0].ends_with("see what its standby runs"), "{named:?}");
    assert_eq!(holding(1_000).await, [""; 0], "it is not far behind");
    tokio::task::block_in_place(|| standby.stop(Stop::Fast));
    let named = until_held(async || holding(1_000).await).await;
    assert!(named.len() == 1 && named[0].ends_with("which nobody uses: drop it"), "{named:?}");
}
