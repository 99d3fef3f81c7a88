//! Idempotency keys that meet.

use hostler::store::{KeyOutcome, PgConnection, insert, take_key};
use hostler::task::TaskId;

use super::ledger::{Ledger, complete, new_task, settle, settle_of};
use super::{race, race_then};

/// Takes the key `k` for a new task and sends it, as a client does in one transaction.
async fn send(
    conn: &mut PgConnection,
    kind: i32,
    options: &hostler::store::SendOptions,
    window_seconds: i32,
) -> KeyOutcome {
    let task = new_task();
    let taken =
        take_key(conn, kind, "k", task.id, task.fingerprint, window_seconds).await.expect("an answer");
    if taken == KeyOutcome::Taken {
        insert(conn, options, &[task], true).await.expect("sent");
    }
    taken
}

async fn holder(ledger: &mut Ledger) -> TaskId {
    super::scalar(&mut ledger.conn, "select task from hostler.key where key = 'k'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_of_one_key() {
    let mut ledger = Ledger::open().await;
    let (kind, options) = (ledger.kind, ledger.options());
    let (first, second) = race(
        &ledger.database,
        async |c| send(c, kind, &options, 60).await,
        async |c| send(c, kind, &options, 60).await,
    )
    .await;
    let id = holder(&mut ledger).await;
    assert_eq!((first, second), (KeyOutcome::Taken, KeyOutcome::Same(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_of_a_key_whose_time_is_over() {
    let mut ledger = Ledger::open().await;
    let session = ledger.join().await;
    let (kind, options) = (ledger.kind, ledger.options());
    assert_eq!(send(&mut ledger.conn, kind, &options, 0).await, KeyOutcome::Taken);
    let done = settle_of(ledger.claim(session).await.expect("due"), complete());
    settle(&mut ledger.conn, session, &done).await;
    // The first one has locked the key and not yet given it away when the second one comes. That one waits
    // for the lock, and must then see a task that was sent after it began to wait.
    let lock = "select from hostler.key where key = 'k' for update";
    let (_, second, first) = race_then(
        &ledger.database,
        async |c| sqlx::raw_sql(lock).execute(c).await.expect("locked"),
        async |c| send(c, kind, &options, 60).await,
        async |c| send(c, kind, &options, 60).await,
    )
    .await;
    let id = holder(&mut ledger).await;
    assert_eq!((first, second), (KeyOutcome::Taken, KeyOutcome::Same(id)));
    assert_eq!(ledger.claim(session).await.map(|claimed| claimed.claim.id), Some(id));
    assert!(ledger.claim(session).await.is_none(), "one key, one task");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_reuse_against_settle() {
    let mut ledger = Ledger::open().await;
    let session = ledger.join().await;
    let (kind, options) = (ledger.kind, ledger.options());
    assert_eq!(send(&mut ledger.conn, kind, &options, 0).await, KeyOutcome::Taken);
    let old = holder(&mut ledger).await;

    // The settle is not committed yet: the key still belongs to the running task.
    let done = settle_of(ledger.claim(session).await.expect("due"), complete());
    let (_, taken) = race(
        &ledger.database,
        async |c| settle(c, session, &done).await,
        async |c| send(c, kind, &options, 0).await,
    )
    .await;
    assert_eq!(taken, KeyOutcome::Same(old));
    // Now it is, and the window of no seconds is over.
    assert_eq!(send(&mut ledger.conn, kind, &options, 0).await, KeyOutcome::Taken);

    // The reuse is first: it holds the key, and the settle does not care.
    let new = holder(&mut ledger).await;
    let done = settle_of(ledger.claim(session).await.expect("due"), complete());
    let (taken, _) = race(
        &ledger.database,
        async |c| send(c, kind, &options, 0).await,
        async |c| settle(c, session, &done).await,
    )
    .await;
    assert_eq!(taken, KeyOutcome::Same(new));
    ledger.check(new).await;
    ledger.check(old).await;
}
