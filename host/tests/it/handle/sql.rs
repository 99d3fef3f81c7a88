//! Sending from any language: `hostler.send`.

use hostler::Include;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::Stage;
use crate::support::LONG;

async fn send(conn: &mut PgConnection, call: &str) -> Result<uuid::Uuid, (String, String)> {
    sqlx::query_scalar(&format!("select hostler.send({call})")).fetch_one(conn).await.map_err(|error| {
        let error = error.into_database_error().expect("the database refused");
        (error.code().expect("an SQLSTATE").into_owned(), error.message().to_owned())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn any_language_sends_in_any_transaction() {
    let stage = Stage::set().await;
    let mut conn = PgConnection::connect(stage.database.url()).await.expect("psql, so to speak");
    let mut tx = conn.begin().await.expect("a transaction");
    let lost = send(&mut tx, r#"'text.word_count', '{"text": "a"}'"#).await.expect("sent");
    tx.rollback().await.expect("rolled back");
    let mut tx = conn.begin().await.expect("a transaction");
    let kept = send(&mut tx, r#"'text.word_count', '{"text": "a b"}', wake => true"#).await.expect("sent");
    let binary = send(&mut tx, r#"'text.word_count', jsonb_build_object('text', 'a')"#).await.expect("sent");
    let bare = send(&mut tx, "'misbehave.counter'").await.expect("sent");
    tx.commit().await.expect("committed");

    let get = async |id| stage.client.handle::<serde_json::Value>(id).get(Some(LONG)).await;
    assert_eq!(get(kept).await.expect("a result")["words"], 2);
    assert_eq!(get(binary).await.expect("a result")["words"], 1);
    assert_eq!(get(bare).await.expect("a result"), 1);
    assert_eq!(get(lost).await.expect_err("rolled back").code.as_str(), "TASK_NOT_FOUND");
    assert_eq!(kept.get_version_num(), 7);

    let wrong = send(&mut conn, r#"'text.word_count', '{"txt": 1}'"#).await.expect("SQL knows no schema");
    let error = get(wrong).await.expect_err("the plugin does");
    assert_eq!(error.code.as_str(), "ARGUMENT_TYPE_MISMATCH");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_options_of_sql_are_those_of_the_sdk() {
    let stage = Stage::deserted().await;
    let mut conn = PgConnection::connect(stage.database.url()).await.expect("a connection");
    let call = r#"'text.word_count', '{"text": "a"}', queue => 'mail-out', priority => 3, delay => '1 hour',
        good_until => now() + interval '2 hours', retries => 2, redeliveries => 5, keep_input => false"#;
    let id = send(&mut conn, call).await.expect("sent");
    let handle = stage.client.handle::<serde_json::Value>(id);
    let info = handle.info(Include::INPUT).await.expect("an answer").expect("known");
    assert_eq!((info.queue.as_str(), info.priority), ("mail-out", 3));
    assert_eq!((info.max_retries, info.redeliveries_max), (2, 5));
    let delay = info.run_at.expect("delayed") - info.sent_at;
    assert_eq!((delay.num_minutes() + 1) / 10, 6, "{delay}");
    assert!(info.good_until > info.run_at);
    assert_eq!(info.input, Some(json!({"text": "a"})), "while it lives");
    handle.cancel().await.expect("cancelled");
    let info = handle.info(Include::INPUT).await.expect("an answer").expect("known");
    assert_eq!(info.input, None, "not kept");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_refuses_what_it_can_know_to_be_wrong_and_says_what_to_do() {
    let stage = Stage::deserted().await;
    let mut conn = PgConnection::connect(stage.database.url()).await.expect("a connection");
    let far = uuid::Uuid::from_u128(0x0000_0000_0001_7000_8000_0000_0000_0001);
    let refusals = [
        ("'Text.x'".to_owned(), "HS001", "task name 'Text.x'"),
        ("null".to_owned(), "HS001", "task name NULL"),
        ("'text.word_count', '{no'".to_owned(), "HS001", "the arguments are no JSON"),
        ("'text.word_count', '{}', queue => 'Q'".to_owned(), "HS001", "queue name 'Q'"),
        ("'text.word_count', '{}', priority => 0".to_owned(), "HS001", "priority 0"),
        ("'text.word_count', '{}', delay => '-1 s'".to_owned(), "HS001", "a delay"),
        ("'text.word_count', '{}', key => ''".to_owned(), "HS001", "a key has"),
        ("'text.word_count', '{}', retries => 21".to_owned(), "HS001", "retries are at most"),
        ("'text.word_count', '{}', retries => 1, redeliveries => 0".to_owned(), "HS001", "never start twice"),
        (format!("'text.word_count', '{{}}', id => '{far}'"), "HS001", "no UUIDv7 of about now"),
        ("'text.word_counts'".to_owned(), "HS002", "no host ever published"),
        ("'text.word_count', to_jsonb(repeat('x', 9000000))".to_owned(), "HS003", "9000002 bytes"),
    ];
    for (call, state, words) in refusals {
        let (code, message) = send(&mut conn, &call).await.expect_err(&call);
        assert_eq!(code, state, "{call}: {message}");
        assert!(message.contains(words), "{call}: {message}");
    }
    let unpublished = send(&mut conn, "'nobody.home', unpublished => true").await.expect("sent");
    let again = send(&mut conn, "'nobody.home', unpublished => true").await.expect("sent");
    assert_ne!(unpublished, again);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_or_id_with_the_same_command_is_the_same_task_in_sql_too() {
    let stage = Stage::set().await;
    let mut conn = PgConnection::connect(stage.database.url()).await.expect("a connection");
    let call = r#"'text.word_count', '{"text": "a"}', key => 'k'"#;
    let first = send(&mut conn, call).await.expect("sent");
    assert_eq!(send(&mut conn, call).await.expect("the same"), first);
    stage.client.handle::<serde_json::Value>(first).get(Some(LONG)).await.expect("a result");
    assert_eq!(send(&mut conn, call).await.expect("within the window"), first);
    let (code, message) = send(&mut conn, r#"'text.word_count', '{"text": "b"}', key => 'k'"#)
        .await
        .expect_err("another command");
    assert!(code == "HS005" && message.contains(&first.to_string()), "{message}");
    stage.execute("update hostler.key set window_seconds = 0").await;
    let fresh = send(&mut conn, call).await.expect("the window is over");
    assert_ne!(fresh, first);

    let id = uuid::Uuid::now_v7();
    let call = format!("'text.word_count', '{{\"text\": \"a\"}}', id => '{id}'");
    assert_eq!(send(&mut conn, &call).await.expect("sent"), id);
    stage.client.handle::<serde_json::Value>(id).get(Some(LONG)).await.expect("a result");
    assert_eq!(send(&mut conn, &call).await.expect("it is final, and stays so"), id);
    let live: i64 = sqlx::query_scalar("select count(*) from hostler.task where id = $1")
        .bind(id)
        .fetch_one(&mut conn)
        .await
        .expect("a count");
    assert_eq!(live, 0, "it does not run twice");
    let other = format!("'text.word_count', '{{\"text\": \"b\"}}', id => '{id}'");
    let (code, _) = send(&mut conn, &other).await.expect_err("another command");
    assert_eq!(code, "HS004");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_or_a_key_in_a_transaction_that_sees_the_past_is_refused() {
    let stage = Stage::deserted().await;
    let mut conn = PgConnection::connect(stage.database.url()).await.expect("a connection");
    for level in ["repeatable read", "serializable"] {
        for call in ["key => 'k'", &format!("id => '{}'", uuid::Uuid::now_v7())] {
            let mut tx =
                conn.begin_with(format!("begin isolation level {level}")).await.expect("a transaction");
            let (state, said) =
                send(&mut tx, &format!("'text.word_count', {call}")).await.expect_err("refused");
            assert!(state == "HS001" && said.contains(&level.to_uppercase()), "{state} {said}");
        }
        let mut tx = conn.begin_with(format!("begin isolation level {level}")).await.expect("a transaction");
        let task = || stage.client.task("text.word_count");
        let args = json!({"text": "a"});
        for task in [task().key("k"), task().id(uuid::Uuid::now_v7())] {
            let refused = task.send_in(&mut tx, &args).await.expect_err("refused");
            assert_eq!(refused.code.as_str(), "VALIDATION_FAILED");
            assert!(refused.message.contains("READ COMMITTED"), "{refused}");
        }
        // What nobody else can know of is new, whatever the transaction sees.
        let new = send(&mut tx, "'text.word_count'").await.expect("sent");
        let also = task().send_in(&mut tx, &args).await.expect("sent").id();
        tx.commit().await.expect("committed");
        for id in [new, also] {
            let info = stage.client.handle::<serde_json::Value>(id).info(Include::empty()).await;
            assert!(info.expect("an answer").is_some());
        }
    }
    stage.clear().await;
}
