//! Tasks that send tasks: as far as they are granted, within their family's bounds, and once for each key.

use std::fs;

use hostler::{Client, TaskHandle};
use serde_json::{Value, json};

use super::{count, info, send, start, until};
use crate::support::{Database, LONG, database, own_plugins};

/// A host with `misbehave` alone, under these grants.
async fn granted(database: &Database, grants: &str) -> (hostler::dispatch::Host, tempfile::TempDir) {
    let dir = own_plugins(&["misbehave"]);
    fs::write(dir.path().join("misbehave.toml"), grants).expect("written");
    let host = start(database, |config| config.plugins = dir.path().to_owned()).await;
    (host, dir)
}

async fn sends(client: &Client, args: Value) -> Result<Value, hostler::TaskError> {
    send(client, "misbehave.send", args).await.get(Some(LONG)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_sends_another_one_which_names_it_as_its_parent() {
    let database = database();
    let client = database.client().await;
    let (host, _dir) = granted(&database, "[send]\ntasks = [\"misbehave.noop\"]").await;
    let parent = client.task("misbehave.send").queue("north").priority(7);
    let parent = parent.send(json!({"task": "misbehave.noop", "args": {}})).await.expect("sent");
    let id = parent.get(Some(LONG)).await.expect("it is granted");
    let child: TaskHandle<Value> = client.handle(id.as_str().expect("an id").parse().expect("a UUID"));
    assert_eq!(child.get(Some(LONG)).await.expect("it runs"), json!({}));
    let story = info(&child).await;
    assert_eq!(story.parent, Some(parent.id()));
    assert_eq!((story.queue.as_str(), story.priority), ("north", 7), "its parent's");

    let later = json!({"task": "misbehave.noop", "args": {}, "delay_ms": 400});
    let later = sends(&client, later).await.expect("sent");
    let later: TaskHandle<Value> = client.handle(later.as_str().expect("an id").parse().expect("a UUID"));
    later.get(Some(LONG)).await.expect("it runs");
    let story = info(&later).await;
    assert!(story.started_at.expect("it ran") >= story.run_at.expect("delayed"), "no sooner");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sent_is_told_with_the_reason() {
    let database = database();
    let client = database.client().await;
    let (host, _dir) = granted(&database, "[send]\ntasks = [\"misbehave.noop\", \"elsewhere.*\"]").await;
    for (args, code, words) in [
        (json!({"task": "elsewhere.a\0", "args": {}}), "SEND_FAILED", "write plugin.task"),
        (json!({"task": "misbehave.spin", "args": {}}), "CAPABILITY_DENIED", "add it to tasks in [send]"),
        (json!({"task": "elsewhere.any", "args": {}}), "SEND_FAILED", "UNKNOWN_TASK"),
        (json!({"task": "misbehave.noop", "args": {}, "key": ""}), "SEND_FAILED", "1 to 200 bytes"),
        (json!({"task": "misbehave.noop", "args": {}, "delay_ms": u64::MAX}), "SEND_FAILED", "100 years"),
    ] {
        let error = sends(&client, args).await.expect_err(words);
        assert_eq!(error.code.to_string(), code, "{error:?}");
        assert!(error.to_string().contains(words) || format!("{error:?}").contains(words), "{error:?}");
    }
    assert_eq!(count(&database, "select count(*) from hostler.child").await, 0);
    assert_eq!(count(&database, "select coalesce(sum(sent), 0) from hostler.family").await, 0);
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_key_every_attempt_sends_the_same_one() {
    let database = database();
    let client = database.client().await;
    let (host, _dir) = granted(&database, "[send]\ntasks = [\"misbehave.*\"]").await;
    let args =
        |key: Option<&str>| json!({"task": "misbehave.noop", "args": {}, "key": key, "fail_first": true});
    let parent = send(&client, "misbehave.send", args(Some("one"))).await;
    let id = parent.get(Some(LONG)).await.expect("the second attempt");
    let attempts = info(&parent).await.attempts.expect("asked for");
    assert!(attempts[1].error_message.as_deref().is_some_and(|said| id == said), "{attempts:?} {id}");
    let children = "select count(*) from hostler.child";
    assert_eq!(count(&database, children).await, 1);
    let other = send(&client, "misbehave.send", args(Some("one"))).await;
    assert_ne!(other.get(Some(LONG)).await.expect("sent"), id, "another task's keys are its own");
    sends(&client, args(None)).await.expect("sent");
    assert_eq!(count(&database, children).await, 4, "without a key each attempt sends one");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_is_bounded_by_its_family_and_its_depth() {
    for (grants, most, words) in [
        ("max = 4\ndepth_max = 2", 4 + 16, &["which is max in [send]", "TOO_DEEP"][..]),
        // Its members run at once and take their shares as they come.
        ("max = 10\nfamily_max = 25", 25, &["TOO_MANY: the task that began"]),
    ] {
        let database = database();
        let client = database.client().await;
        let (host, _dir) =
            granted(&database, &format!("[send]\ntasks = [\"misbehave.fork_bomb\"]\n{grants}")).await;
        let bomb = send(&client, "misbehave.fork_bomb", json!({})).await;
        let neighbour = send(&client, "misbehave.noop", json!({})).await;
        neighbour.get(Some(LONG)).await.expect("a neighbour finishes");
        bomb.get(Some(LONG)).await.expect("it is told, and goes on");
        until("the family is over", async || {
            count(&database, "select count(*) from hostler.task").await == 0
        })
        .await;
        let done = "select count(*) from hostler.history where status = 3";
        assert_eq!(count(&database, done).await, most + 2, "{grants}");
        let mut conn = database.conn().await;
        let errors: Vec<String> = sqlx::query_scalar(
            "select distinct convert_from(result, 'UTF8')::json ->> 'error' from hostler.history \
             where convert_from(result, 'UTF8') like '%error%'",
        )
        .fetch_all(&mut conn)
        .await
        .expect("results");
        for words in words {
            assert!(errors.iter().any(|error| error.contains(words)), "{words}: {errors:?}");
        }
        host.drain(LONG).await;
    }
}
