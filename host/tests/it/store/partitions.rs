//! History by the day: an id alone leads to its partition, and a late finisher still finds a place.

use hostler::Status;
use hostler::store::{self, PgConnection};
use hostler::task::TaskId;
use sqlx::Connection;

use super::stage::{HOST, Stage, claim_on, complete, new_task, retry, settle_of, written};

/// PostgreSQL keeps so many of a transaction's locks where they cost nothing; beyond, all reads share one table.
const FAST_LOCKS: i64 = 16;

/// The locks of the open transaction: tables and indexes.
async fn locks(conn: &mut PgConnection) -> (i64, i64) {
    let sql = "select count(*), count(*) filter (where not fastpath) from pg_locks \
        where pid = pg_backend_pid() and locktype = 'relation' and relation >= 16384";
    sqlx::query_as(sql).fetch_one(conn).await.expect("locks")
}

#[tokio::test]
async fn reading_one_task_touches_one_day_among_forty() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.make_partitions(current_date - 30, 40)").await;
    let id = stage.send().await;
    let claim = stage.claim_one(1).await;
    assert_eq!(written(stage.settle(claim, retry()).await), Some(Status::Pending));
    stage.execute("update hostler.task set lane = home, pos = 1, run_at = null").await;
    let claim = stage.claim_one(2).await;
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));
    let mut conn = stage.cold().await;
    let look = include_str!("../../../sql/look_final.sql");
    let info = include_str!("../../../sql/info.sql");
    let attempts = include_str!("../../../sql/attempts.sql");
    // Prepared and repeated, as a client's connection does: the fifth time a generic plan would be tried.
    for _ in 0..7 {
        let mut tx = conn.begin().await.expect("a transaction");
        let found = sqlx::query(look).bind(vec![id]).fetch_all(&mut *tx).await.expect("look");
        let (count, slow) = locks(&mut tx).await;
        assert!(found.len() == 1 && count <= FAST_LOCKS / 2 && slow == 0, "look: {count} locks, {slow} slow");
        tx.rollback().await.expect("over");

        let mut tx = conn.begin().await.expect("a transaction");
        sqlx::query(info).bind(id).bind(true).bind(true).fetch_one(&mut *tx).await.expect("info");
        let (count, slow) = locks(&mut tx).await;
        assert!(count <= FAST_LOCKS + 4 && slow <= 4, "info: {count} locks, {slow} slow");
        tx.rollback().await.expect("over");

        let mut tx = conn.begin().await.expect("a transaction");
        let found = sqlx::query(attempts).bind(id).fetch_all(&mut *tx).await.expect("attempts");
        let (count, slow) = locks(&mut tx).await;
        assert!(found.len() == 1 && count <= FAST_LOCKS && slow == 0, "attempts: {count} locks, {slow} slow");
        tx.rollback().await.expect("over");
    }
}

#[tokio::test]
async fn a_send_a_claim_and_a_settle_take_cheap_locks_alone() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.make_partitions(current_date - 30, 40)").await;
    let (lane, options) = (stage.lane, stage.options());
    // Repeated, as a host's connection does.
    for number in 1..=7 {
        let mut tx = stage.conn.begin().await.expect("a transaction");
        let task = new_task(TaskId::now_v7());
        store::insert(&mut tx, &options, &[task], true).await.expect("sent");
        cheap("send", &mut tx).await;
        tx.commit().await.expect("sent");

        let mut tx = stage.conn.begin().await.expect("a transaction");
        let claims = claim_on(&mut tx, HOST, number, lane).await;
        cheap("claim", &mut tx).await;
        tx.commit().await.expect("claimed");

        let settles: Vec<_> = claims.into_iter().map(|claim| settle_of(claim, complete())).collect();
        assert_eq!(settles.len(), 1);
        let mut tx = stage.conn.begin().await.expect("a transaction");
        store::settle(&mut tx, HOST, &settles).await.expect("settled");
        cheap("settle", &mut tx).await;
        tx.commit().await.expect("settled");
    }
}

async fn cheap(statement: &str, conn: &mut PgConnection) {
    let (count, slow) = locks(conn).await;
    assert!(count > 0 && count <= FAST_LOCKS && slow == 0, "{statement}: {count} locks, {slow} slow");
}

#[tokio::test]
async fn a_task_that_ends_long_after_it_was_sent_has_a_place() {
    let mut stage = Stage::new().await;
    let old = uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000, 0);
    let id = TaskId::new_v7(old);
    stage.send_as(id).await;
    let claim = stage.claim_one(1).await;
    assert_eq!(written(stage.settle(claim, retry()).await), Some(Status::Pending));
    hostler::store::promote(&mut stage.conn, 1).await.expect("promoted");
    let claim = stage.claim_one(2).await;
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));
    for parent in ["history", "attempt"] {
        let sql = format!("select tableoid::regclass::text from hostler.{parent}");
        let place: String = sqlx::query_scalar(&sql).fetch_one(&mut stage.conn).await.expect("a place");
        assert_eq!(place, format!("hostler.{parent}_default"));
    }
    assert_eq!(stage.store.attempts(id).await.expect("an answer").len(), 1);
    assert_eq!(stage.status(id).await, Status::Completed);
}
