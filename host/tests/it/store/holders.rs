//! Who holds vacuum back is named, and nobody else.

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

    let named = stage.store.about(0).await.expect("an answer").holding;
    assert!(named.len() == 1 && named[0].starts_with("a report, process "), "{named:?}");
    let later = stage.store.about(3_600).await.expect("an answer").holding;
    assert!(later.is_empty(), "not for an hour yet: {later:?}");

    let writing = "update hostler.host set beat = beat";
    sqlx::raw_sql(writing).execute(&mut idle).await.expect("written");
    let named = stage.store.about(0).await.expect("an answer").holding;
    assert!(named.len() == 2 && named.iter().any(|who| who.starts_with("idle, process ")), "{named:?}");

    for mut conn in [report, idle] {
        sqlx::raw_sql("rollback").execute(&mut conn).await.expect("over");
    }
    let nobody = stage.store.about(0).await.expect("an answer").holding;
    assert!(nobody.is_empty(), "{nobody:?}");
}
