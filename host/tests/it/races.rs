//! Two at once. Each race is run in both orders, and the order is forced: the first one holds its locks in
//! an open transaction while the second one starts, and commits only when the second one is blocked by it
//! or done. `property` runs whole sequences of moves against the table of legal ones.
//!
//! After each: one final state at most, attempts numbered without gaps, one row for each.

mod keys;
mod ledger;
mod property;
mod tasks;

use std::sync::Arc;

use hostler::store::PgConnection;
use tokio::sync::Mutex;

use crate::support::{Database, LONG};

/// Runs `first` in a transaction, then `second` beside it, and commits the first when the second one waits
/// for it or is done. Both answers.
async fn race<A, B>(
    database: &Database,
    first: impl AsyncFnOnce(&mut PgConnection) -> A,
    second: impl AsyncFnOnce(&mut PgConnection) -> B,
) -> (A, B) {
    let (a, b, ()) = race_then(database, first, second, async |_| {}).await;
    (a, b)
}

/// The same, with more for the first one to do once the second one waits for it.
async fn race_then<A, B, C>(
    database: &Database,
    first: impl AsyncFnOnce(&mut PgConnection) -> A,
    second: impl AsyncFnOnce(&mut PgConnection) -> B,
    rest: impl AsyncFnOnce(&mut PgConnection) -> C,
) -> (A, B, C) {
    let mut one = database.conn().await;
    let mut two = database.conn().await;
    let mut watcher = database.conn().await;
    let pid: i32 = scalar(&mut one, "select pg_backend_pid()").await;
    sqlx::raw_sql("begin").execute(&mut one).await.expect("a transaction");
    let a = first(&mut one).await;
    let done = Arc::new(Mutex::new(false));
    let racing = async {
        let b = second(&mut two).await;
        *done.lock().await = true;
        b
    };
    let commit = async {
        let blocked = format!(
            "select exists (select from pg_stat_activity a where {pid} = any (pg_blocking_pids(a.pid)))"
        );
        let wait = async { while !*done.lock().await && !scalar::<bool>(&mut watcher, &blocked).await {} };
        tokio::time::timeout(LONG, wait).await.expect("the second one waits or is done");
        let c = rest(&mut one).await;
        sqlx::raw_sql("commit").execute(&mut one).await.expect("committed");
        c
    };
    let (b, c) = tokio::join!(racing, commit);
    (a, b, c)
}

async fn scalar<T>(conn: &mut PgConnection, sql: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(conn).await.expect(sql)
}
