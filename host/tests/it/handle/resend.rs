//! Sends whose answer was lost.

use hostler::SendErrorCode;
use serde_json::json;

use super::Stage;
use super::wire::Wire;
use crate::support::LONG;

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_answer_was_lost_is_repeated_by_hand_and_runs_once() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().connect().await.expect("a client");
    client.send("text.word_count", json!({"text": "warm up"})).await.expect("sent");

    wire.cut_after("only once");
    let error = client.send("text.word_count", json!({"text": "only once"})).await.expect_err("cut");
    assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true));
    let id = error.task_id.expect("the id it would have had");
    // The first one did commit; it is final before the second one comes.
    stage.client.handle::<serde_json::Value>(id).get(Some(LONG)).await.expect("a result");
    let handle = client.retry_send(&error).await.expect("the same command");
    assert_eq!(handle.id(), id);
    assert_eq!(handle.get(Some(LONG)).await.expect("a result")["words"], 2);
    let info = handle.info(hostler::Include::ATTEMPTS).await.expect("an answer").expect("known");
    assert_eq!(info.attempts.map(|attempts| attempts.len()), Some(1), "it ran once");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_arrives_after_its_repeat_is_done_runs_nothing_again() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().connect().await.expect("a client");
    client.send("text.word_count", json!({"text": "warm up"})).await.expect("sent");
    for repeat in ["by hand", "with its id", "from SQL"] {
        wire.keep_back(repeat);
        let args = json!({"text": repeat});
        let error = client.send("text.word_count", &args).await.expect_err("on its way");
        assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true), "{error}");
        let id = error.task_id.expect("the id it would have had");
        match repeat {
            "by hand" => drop(client.retry_send(&error).await.expect("sent")),
            "with its id" => {
                let again = stage.client.task("text.word_count").id(id);
                again.send(&args).await.expect("sent");
            }
            _ => {
                stage
                    .execute(&format!("select hostler.send('text.word_count', '{args}', id => '{id}')"))
                    .await
            }
        }
        let handle = stage.client.handle::<serde_json::Value>(id);
        handle.get(Some(LONG)).await.expect("a result");
        wire.deliver().await;
        let mut conn = stage.database.conn().await;
        let alive = "select count(*) from hostler.task where id = $1";
        let alive: i64 = sqlx::query_scalar(alive).bind(id).fetch_one(&mut conn).await.expect("a count");
        assert_eq!(alive, 0, "{repeat}: it is final and stays so");
    }
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_silent_connection_was_asked_is_given_up() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let asks = ["many", "key", "id", "hosts", "wake", "unpublished"];
    let delayed = stage.client.task("text.word_count").delay(LONG).send(json!({"text": "a"}));
    let id = delayed.await.expect("sent").id();
    let ask = async |client: &hostler::Client, what: &str, nth: &str| {
        let args = json!({"text": nth});
        let task = || client.task("text.word_count");
        match what {
            "many" => task().send_many([&args, &args]).await.map(drop).map_err(|e| e.to_string()),
            "key" => task().key(nth).send(&args).await.map(drop).map_err(|e| e.to_string()),
            "id" => {
                task().id(hostler::TaskId::now_v7()).send(&args).await.map(drop).map_err(|e| e.to_string())
            }
            "hosts" => client.hosts(false).await.map(drop).map_err(|e| e.to_string()),
            "wake" => client.handle::<()>(id).wake().await.map_err(|e| e.to_string()),
            _ => {
                let task = client.task(format!("a.{what}_{nth}")).unpublished();
                task.send(&args).await.map(drop).map_err(|e| e.to_string())
            }
        }
    };
    let mut clients = Vec::new();
    for what in asks {
        let client = wire.client().connect().await.expect("a client");
        ask(&client, what, "first").await.expect("the connection is open");
        clients.push((client, what));
    }
    // By then all connections are back in their pools, which is asked of the server, too.
    let _last = wire.client().connect().await.expect("a client");
    wire.silence();
    let given_up = clients.iter().map(async |(client, what)| {
        let answer = tokio::time::timeout(LONG, ask(client, what, "second")).await;
        let said = answer.unwrap_or_else(|_| panic!("{what} hangs")).expect_err("silence");
        assert!(said.contains("no answer within 15 s"), "{what}: {said}");
        // On another connection, once all of its own are given up.
        super::eventually(what, async || ask(client, what, "third").await.ok()).await;
    });
    futures_util::future::join_all(given_up).await;
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_is_repeated_by_itself_if_the_client_is_set_so() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().resend(true).connect().await.expect("a client");
    client.send("text.word_count", json!({"text": "warm up"})).await.expect("sent");
    for (key, text) in [(None, "plain resend"), (Some("k"), "resend with a key")] {
        wire.cut_after(text);
        let mut task = client.task("text.word_count");
        if let Some(key) = key {
            task = task.key(key);
        }
        let handle = task.send(json!({"text": text})).await.expect("the second try is answered");
        handle.get(Some(LONG)).await.expect("a result");
    }
    wire.cut();
    let error = client.send("text.word_count", json!({"text": "a"})).await.expect_err("for good");
    assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_send_that_failed_on_the_way_is_repeated() {
    let stage = Stage::deserted().await;
    let refused = stage.client.send("text.word_count", json!({})).await.expect_err("refused");
    let error = stage.client.retry_send(&refused).await.expect_err("the same call fails the same way");
    assert_eq!(error.code, SendErrorCode::ValidationFailed);
    assert!(error.message.contains("VALIDATION_FAILED is not repeated"), "{error}");

    // An id from yesterday: its task may be done and forgotten.
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().connect().await.expect("a client");
    client.send("text.word_count", json!({"text": "warm up"})).await.expect("sent");
    wire.cut();
    let made = chrono::Utc::now() - chrono::Duration::hours(13);
    let seconds = u64::try_from(made.timestamp()).expect("after 1970");
    let old = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
    let error = client.task("text.word_count").id(old).send(json!({"text": "a"})).await.expect_err("cut");
    wire.mend(&client).await;
    let error = client.retry_send(&error).await.expect_err("too old");
    assert!(error.message.contains("13 hours old"), "{error}");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_never_reached_the_database_is_repeated_too() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    // Nothing is known of the task yet: not even its name was looked up.
    let client = wire.client().connect().await.expect("a client");
    wire.cut();
    let error = client.task("text.word_count").key("k").send(json!({"text": "a b"})).await.expect_err("cut");
    assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true));
    let payload = error.payload.as_ref().expect("what there is to repeat");
    assert_eq!((payload.task_name(), payload.key()), ("text.word_count", Some("k")));
    wire.mend(&client).await;
    let handle = client.retry_send(&error).await.expect("sent");
    assert_eq!(Some(handle.id()), error.task_id);
    assert_eq!(handle.get(Some(LONG)).await.expect("a result")["words"], 2);
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_sent_through_one_connection_and_not_repeated_one_by_one() {
    let stage = Stage::set().await;
    let wire = Wire::to(stage.database.url()).await;
    let client = wire.client().connect().await.expect("a client");
    let many = (0..10).map(|n| json!({"text": n.to_string()}));
    assert_eq!(client.send_many("text.word_count", many.clone()).await.expect("sent").len(), 10);
    let refused = many.clone().chain([json!({"text": 1})]);
    let error = client.send_many("text.word_count", refused).await.expect_err("the last one");
    assert_eq!(error.code, SendErrorCode::ValidationFailed);
    wire.cut();
    let error = client.send_many("text.word_count", many).await.expect_err("cut");
    assert_eq!(error.code, SendErrorCode::EnqueueFailed);
    wire.mend(&client).await;
    let error = client.retry_send(&error).await.expect_err("there is no one to repeat");
    assert_eq!(error.code, SendErrorCode::ValidationFailed);
    stage.clear().await;
}
