//! A host that stood still acts on nothing it held before.

use hostler::{AttemptOutcome, Status};
use sqlx::Connection;

use super::{Effects, act, ends, holds, info, plugins, serve, until, until_status};
use crate::support::{LONG, database, plugins_dir};

const A_CLAIM_WAITS: &str = "exists (select from pg_stat_activity where wait_event_type = 'Lock' \
    and datname = current_database() and query like '-- Claims tasks%')";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_stopped_past_its_lease_does_nothing_more_under_its_old_claims() {
    let database = database();
    let client = database.client().await;
    let effects = Effects::holding().await;
    let plugins = plugins(&effects);
    let host = serve(&database, plugins.path(), &["--lease", "2s"]);
    // It sees what becomes of the first one, and takes none of its tasks.
    let judge = serve(&database, plugins.path(), &["--lease", "2s", "--queues", "nobody"]);
    let work = act(&client, &effects, "work", 50).await;
    effects.reach(1).await;

    host.signal(libc::SIGSTOP);
    until_status(&work, Status::Pending).await;
    assert_eq!(work.cancel().await.expect("an answer"), Status::Cancelled);
    // The answer it waited for is there when it wakes up.
    effects.answer(1_000);
    host.signal(libc::SIGCONT);

    let later = act(&client, &effects, "later", 1).await;
    later.get(Some(LONG)).await.expect("it starts over under another session");
    assert_eq!(effects.seen(), ["work", "later"], "nothing more of what was no longer its own");
    let story = info(&work).await;
    assert_eq!((story.status, story.redeliveries), (Status::Cancelled, 1));
    assert_eq!(ends(&story), [(1, AttemptOutcome::WorkerFailure)], "what it had to settle was refused");
    assert_eq!(host.terminate(), Some(0));
    assert_eq!(judge.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_arrives_after_the_lease_starts_nothing() {
    let database = database();
    let client = database.client().await;
    // Its claims wait for locks for a quarter of that, and within it this one is held up and let go.
    let host = serve(&database, plugins_dir(), &["--lease", "12s"]);
    let mut conn = database.conn().await;
    let mut locked = conn.begin().await.expect("a transaction");
    sqlx::query("select from hostler.host for update").execute(&mut *locked).await.expect("locked");
    // It asks nobody for anything, which would be refused later on.
    let task = client.task("misbehave.noop").unpublished().send(serde_json::json!({})).await.expect("sent");
    until("its claim waits", async || holds(&database, A_CLAIM_WAITS).await).await;

    host.signal(libc::SIGSTOP);
    locked.rollback().await.expect("the claim goes on");
    until_status(&task, Status::Running).await;
    let silent = "clock_timestamp() - max(beat_at) > interval '12 seconds' from hostler.host";
    until("the lease is over", async || holds(&database, silent).await).await;
    // It may settle, but not beat: a lease that is confirmed first would let the attempt start, and rightly.
    let mut no_beats = conn.begin().await.expect("a transaction");
    sqlx::query("select from hostler.host for share").execute(&mut *no_beats).await.expect("locked");
    host.signal(libc::SIGCONT);
    until_status(&task, Status::Pending).await;
    no_beats.rollback().await.expect("it may beat");

    task.get(Some(LONG)).await.expect("once the lease is confirmed anew");
    let story = info(&task).await;
    assert_eq!(ends(&story), [(2, AttemptOutcome::Completed), (1, AttemptOutcome::Released)]);
    assert_eq!((story.redeliveries, story.retry_count), (0, 0), "it cost nothing");
    assert_eq!(host.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_arrives_after_good_until_starts_nothing() {
    let database = database();
    let client = database.client().await;
    let effects = Effects::answering().await;
    let plugins = plugins(&effects);
    let host = serve(&database, plugins.path(), &["--lease", "1m"]);
    let mut conn = database.conn().await;
    let mut locked = conn.begin().await.expect("a transaction");
    sqlx::query("select from hostler.host for update").execute(&mut *locked).await.expect("locked");
    let soon = chrono::Utc::now() + chrono::Duration::seconds(10);
    let args = serde_json::json!({"url": format!("{}/late", effects.origin())});
    let task = client.task("misbehave.fetch").good_until(soon).send(args).await.expect("sent");
    until("its claim waits", async || holds(&database, A_CLAIM_WAITS).await).await;

    host.signal(libc::SIGSTOP);
    locked.rollback().await.expect("the claim goes on");
    until_status(&task, Status::Running).await;
    let over = "good_until < clock_timestamp() from hostler.task";
    until("it is too late", async || holds(&database, over).await).await;
    host.signal(libc::SIGCONT);

    let error = task.get(Some(LONG)).await.expect_err("too late");
    assert_eq!(error.code.as_str(), "TASK_EXPIRED");
    assert_eq!(effects.seen(), Vec::<String>::new());
    assert_eq!(host.terminate(), Some(0));
}
