//! The plugin directory changes while tasks run.

use std::fs;
use std::path::Path;

use hostler::Status;
use serde_json::json;

use super::{count, info, is, send, start, until};
use crate::support::{LONG, component, database, own_plugins};

/// The same plugin in another file: with a custom section at its end, which nobody reads.
fn rebuilt(name: &str, dir: &Path) {
    let mut bytes = fs::read(component(name)).expect("the component");
    bytes.extend([0, 5, 4]);
    bytes.extend(b"note");
    let part = dir.join(".part");
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, dir.join(format!("{name}.wasm"))))
        .expect("swapped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_swapped_under_load_and_no_task_notices() {
    let database = database();
    let client = database.client().await;
    let dir = own_plugins(&["misbehave"]);
    let host = start(&database, |config| (config.plugins, config.slots) = (dir.path().to_owned(), 4)).await;
    let many = (0..200).map(|_| json!({"ms": 20}));
    let before = client.send_many("misbehave.sleep", many).await.expect("sent");
    before[0].get(Some(LONG)).await.expect("a result");
    let mut changes = host.changes();
    rebuilt("misbehave", dir.path());
    tokio::time::timeout(LONG, changes.changed()).await.expect("in time").expect("loaded");
    for handle in &before {
        handle.get(Some(LONG)).await.expect("a result, whichever code it ran");
    }
    until("the new code runs", async || {
        send(&client, "misbehave.noop", json!({})).await.get(Some(LONG)).await.expect("a result");
        count(&database, "select count(distinct plugin) from hostler.history").await == 2
    })
    .await;
    assert_eq!(count(&database, "select count(*) from hostler.history where attempt > 1").await, 0);
    host.drain(LONG).await;
}

/// `HOSTLER_TEST_REWRITES=1000 cargo test -p hostler --test it rewrites` for the full size.
#[tokio::test(flavor = "multi_thread")]
async fn rapid_rewrites_under_load_lose_no_task_and_fail_none() {
    let rewrites: u32 = std::env::var("HOSTLER_TEST_REWRITES").map_or(40, |n| n.parse().expect("a number"));
    let database = database();
    let client = database.client().await;
    let dir = own_plugins(&["misbehave"]);
    let host = start(&database, |config| (config.plugins, config.slots) = (dir.path().to_owned(), 8)).await;
    let code = fs::read(component("misbehave")).expect("the component");
    let file = dir.path().join("misbehave.wasm");
    let mut handles = Vec::new();
    for rewrite in 0..rewrites {
        let mut bytes = code.clone();
        bytes.extend([0, 9, 4]);
        bytes.extend(b"note");
        bytes.extend(rewrite.to_be_bytes());
        match rewrite % 3 {
            // As one should; as an editor does; and as `cp` does.
            0 => {
                let part = dir.path().join(".part");
                fs::write(&part, bytes).and_then(|()| fs::rename(&part, &file)).expect("renamed");
            }
            1 => fs::remove_file(&file).and_then(|()| fs::write(&file, bytes)).expect("made anew"),
            _ => fs::write(&file, bytes).expect("written in place"),
        }
        let some = (0..5).map(|n| json!({"ms": n * 5}));
        handles.extend(client.send_many("misbehave.sleep", some).await.expect("sent"));
    }
    for handle in &handles {
        handle.get(Some(LONG)).await.expect("a result, whichever code it ran");
    }
    assert_eq!(
        count(&database, "select count(*) from hostler.history where status = 3").await,
        5 * i64::from(rewrites)
    );
    assert_eq!(
        count(&database, "select count(*) from hostler.history where attempt > 1 or plugin is null").await,
        0
    );
    let newest = "select count(*) from hostler.history h join hostler.plugin p on p.id = h.plugin \
        where p.id = (select max(id) from hostler.plugin)";
    let wanted = {
        use sha2::Digest;
        format!("{:x}", sha2::Sha256::digest(fs::read(&file).expect("read")))
    };
    until("the newest code is served", async || host.loaded().plugins().any(|p| p.digest() == wanted)).await;
    until("it runs", async || {
        send(&client, "misbehave.noop", json!({})).await.get(Some(LONG)).await.expect("a result");
        count(&database, newest).await > 0
    })
    .await;
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_the_database_does_not_take_stops_nobody_else() {
    let database = database();
    let client = database.client().await;
    let refuses = "alter table hostler.kind add constraint refuses check (name not like 'text.%')";
    sqlx::query(refuses).execute(&mut database.conn().await).await.expect("altered");
    // A host that starts, and one that already runs when the plugin comes.
    for from_the_start in [true, false] {
        let dir = own_plugins(if from_the_start { &["misbehave", "text"] } else { &["misbehave"] });
        let host = start(&database, |config| config.plugins = dir.path().to_owned()).await;
        send(&client, "misbehave.noop", json!({}))
            .await
            .get(Some(LONG))
            .await
            .expect("the others are served");
        let mut changes = host.changes();
        rebuilt("text", dir.path());
        tokio::time::timeout(LONG, changes.changed()).await.expect("in time").expect("loaded");
        let spins = send(&client, "misbehave.sleep", json!({"ms": 600_000})).await;
        super::until_running(&spins).await;
        spins.cancel().await.expect("asked");
        until("a poll finds the cancel", async || is(&spins, Status::Cancelled).await).await;
        host.drain(LONG).await;
    }
    let dir = own_plugins(&["misbehave", "text"]);
    let host = start(&database, |config| config.plugins = dir.path().to_owned()).await;
    sqlx::query("alter table hostler.kind drop constraint refuses")
        .execute(&mut database.conn().await)
        .await
        .expect("altered");
    let waits = send(&client, "text.word_count", json!({"text": "x"})).await;
    rebuilt("text", dir.path());
    waits.get(Some(LONG)).await.expect("now it is taken");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_an_unloaded_plugin_wait_until_it_is_back() {
    let database = database();
    let client = database.client().await;
    let dir = own_plugins(&["misbehave", "text"]);
    let host = start(&database, |config| config.plugins = dir.path().to_owned()).await;
    let file = dir.path().join("misbehave.wasm");
    fs::remove_file(&file).expect("unloaded");
    until("nobody serves it", async || {
        let sql = "select count(*) from hostler.serving s join hostler.kind k on k.id = s.kind \
            where k.name = 'misbehave.noop'";
        count(&database, sql).await == 0
    })
    .await;
    let waits = send(&client, "misbehave.noop", json!({})).await;
    let other = send(&client, "text.word_count", json!({"text": "x"})).await;
    other.get(Some(LONG)).await.expect("the others go on");
    assert!(is(&waits, Status::Pending).await);
    assert_eq!(info(&waits).await.hosts_serving, 0);
    fs::copy(component("misbehave"), dir.path().join(".part")).expect("copied");
    fs::rename(dir.path().join(".part"), file).expect("loaded again");
    waits.get(Some(LONG)).await.expect("a result");
    host.drain(LONG).await;
}
