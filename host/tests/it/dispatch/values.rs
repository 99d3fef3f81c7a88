//! Values that outlive their tasks: in granted buckets, within their bounds, whatever host reads them.

use std::fs;
use std::time::Duration;

use hostler::TaskError;
use hostler::dispatch::Host;
use serde_json::{Value, json};

use super::{count, send, start, until};
use crate::support::{Database, LONG, database, own_plugins};

async fn host(database: &Database, grants: &str) -> (Host, tempfile::TempDir) {
    let dir = own_plugins(&["misbehave"]);
    fs::write(dir.path().join("misbehave.toml"), grants).expect("written");
    let host = start(database, |config| config.plugins = dir.path().to_owned()).await;
    (host, dir)
}

async fn store(database: &Database, args: Value) -> Result<Value, TaskError> {
    let client = database.client().await;
    send(&client, "misbehave.store", args).await.get(Some(LONG)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_outlives_its_task_and_its_host() {
    let database = database();
    let grants = "[keyvalue]\nbuckets = [\"one\", \"two\"]";
    let (first, _dir) = host(&database, grants).await;
    let args = json!({"bucket": "one", "set": [["b", 3], ["a", 5], ["gone", 1]], "delete": ["gone", "never"],
        "increment": "n"});
    let seen = store(&database, args).await.expect("granted");
    assert_eq!(seen, json!({"values": [["b", 3], ["a", 5], ["n", 1]], "number": 1}));
    first.drain(LONG).await;

    let (second, _dir) = host(&database, grants).await;
    let again = json!({"bucket": "one", "set": [["a", 0]], "increment": "n"});
    let seen = store(&database, again).await.expect("granted");
    assert_eq!(seen, json!({"values": [["b", 3], ["a", 0], ["n", 1]], "number": 2}));
    let other = store(&database, json!({"bucket": "two"})).await.expect("granted");
    assert_eq!(other["values"], json!([]), "another bucket");
    second.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_add_up_whoever_counts_at_the_same_time() {
    let database = database();
    let (host, _dir) = host(&database, "[keyvalue]\nbuckets = [\"one\"]").await;
    let client = database.client().await;
    let many = (0..20).map(|_| json!({"bucket": "one", "increment": "n"}));
    let handles = client.send_many("misbehave.store", many).await.expect("sent");
    let mut seen = Vec::new();
    for handle in handles {
        seen.push(handle.get(Some(LONG)).await.expect("granted")["number"].as_u64().expect("a number"));
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_for_a_bucket_is_cancelled_and_holds_nobody_up() {
    let database = database();
    let dir = own_plugins(&["misbehave"]);
    fs::write(dir.path().join("misbehave.toml"), "[keyvalue]\nbuckets = [\"one\"]").expect("written");
    let host = start(&database, |config| {
        config.plugins = dir.path().to_owned();
        // Locks are waited for as long as a quarter of it, which is longer than this test takes.
        config.lease = Duration::from_secs(120);
    })
    .await;
    let args = json!({"bucket": "one", "set": [["a", 1]]});
    store(&database, args.clone()).await.expect("granted");
    let mut holder = database.conn().await;
    let hold = "begin; select from hostler.bucket for update";
    sqlx::raw_sql(hold).execute(&mut holder).await.expect("locked");

    let client = database.client().await;
    let stuck = send(&client, "misbehave.store", args.clone()).await;
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    until("it waits for the bucket", async || count(&database, waits).await == 1).await;
    stuck.cancel().await.expect("its task is not locked meanwhile");
    let ended = stuck.get(Some(LONG)).await.expect_err("cancelled");
    assert_eq!(ended.code.to_string(), "TASK_CANCELLED");
    assert_eq!(count(&database, waits).await, 1, "the attempt did not wait for the end of that");

    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("unlocked");
    store(&database, args).await.expect("the next one finds it free");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_and_one_that_is_not_granted_are_told() {
    let database = database();
    let grants = "[keyvalue]\nbuckets = [\"one\"]\nkeys_max = 2\nbytes_max = 100\nvalue_bytes_max = 60";
    let (host, _dir) = host(&database, grants).await;
    for (args, code, words) in [
        (json!({"bucket": "other"}), "CAPABILITY_DENIED", "add it to buckets in [keyvalue]"),
        (json!({"bucket": "one", "set": [["a", 61]]}), "TASK_FAILED", "value_bytes_max"),
        (json!({"bucket": "one", "set": [["a", 50], ["b", 50]]}), "TASK_FAILED", "100 bytes (bytes_max)"),
        (json!({"bucket": "one", "set": [["b", 1], ["c", 1]]}), "TASK_FAILED", "2 (keys_max)"),
        (json!({"bucket": "one", "increment": "b"}), "TASK_FAILED", "no decimal number"),
        (json!({"bucket": "one", "set": [["", 1]]}), "TASK_FAILED", "1 to 512 bytes"),
    ] {
        let error = store(&database, args.clone()).await.expect_err(words);
        assert_eq!(error.code.to_string(), code, "{args}: {error:?}");
        assert!(format!("{error:?}").contains(words), "{args}: {error:?}");
    }
    let left =
        store(&database, json!({"bucket": "one", "set": [["a", 40]]})).await.expect("there is room again");
    assert_eq!(left["values"], json!([["a", 40], ["b", 1]]));
    host.drain(LONG).await;
}
