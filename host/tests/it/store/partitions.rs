//! History by the day: an id alone leads to its partition, and a late finisher still finds a place.

use std::collections::BTreeMap;

use hostler::Status;
use hostler::store::{self, PgConnection};
use hostler::task::TaskId;
use sqlx::Connection;

use super::stage::{HOST, Stage, claim_on, complete, new_task, retry, settle_of, written};

/// PostgreSQL keeps so many of a transaction's locks where they cost nothing; beyond, all reads share one table.
const FAST_LOCKS: i64 = 16;

/// Each statement is looked at so many times, as often as a connection's plans may change…
const ROUNDS: usize = 100;
/// …and has all its locks where they cost nothing in one of seven at least: a table that is being made in another test
/// may stand in the way, for longer than a few looks take.
const DISTURBED: usize = ROUNDS * 6 / 7;

/// What statements lock: tables and indexes.
#[derive(Default)]
struct Locks(BTreeMap<&'static str, usize>);

impl Locks {
    /// Those of the open transaction after this statement.
    async fn cheap(&mut self, statement: &'static str, most: i64, conn: &mut PgConnection) {
        let sql = "select count(*), count(*) filter (where not fastpath) from pg_locks \
            where pid = pg_backend_pid() and locktype = 'relation' and relation >= 16384";
        let (count, slow): (i64, i64) = sqlx::query_as(sql).fetch_one(conn).await.expect("locks");
        assert!(count > 0 && count <= most, "{statement}: {count} locks");
        let disturbed = self.0.entry(statement).or_default();
        *disturbed += usize::from(slow > 0);
        assert!(*disturbed <= DISTURBED, "{statement}: {count} locks, {slow} in the shared table, once more");
    }
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
    let day = chrono::Utc::now().format("%Y%m%d").to_string();
    let look_day = include_str!("../../../sql/look_day.sql").replace("20000101", &day);
    let look = include_str!("../../../sql/look_final.sql");
    let info = include_str!("../../../sql/info.sql");
    let names = include_str!("../../../sql/info_names.sql");
    let attempts = include_str!("../../../sql/attempts.sql");
    // Prepared and repeated, as a client's connection does: the fifth time a generic plan would be tried.
    let mut locks = Locks::default();
    for _ in 0..ROUNDS {
        let reads = [
            ("look_day", sqlx::query(&look_day).bind(vec![id]), FAST_LOCKS / 4),
            ("look", sqlx::query(look).bind(vec![id]), FAST_LOCKS / 2),
            ("info", sqlx::query(info).bind(id).bind(true).bind(true), FAST_LOCKS),
            ("names", sqlx::query(names).bind(stage.lane).bind(HOST.0).bind(1).bind(true), FAST_LOCKS),
            ("attempts", sqlx::query(attempts).bind(id), FAST_LOCKS),
        ];
        for (name, read, most) in reads {
            let mut tx = conn.begin().await.expect("a transaction");
            assert_eq!(read.fetch_all(&mut *tx).await.expect(name).len(), 1, "{name}");
            locks.cheap(name, most, &mut tx).await;
            tx.rollback().await.expect("over");
        }
    }
}

#[tokio::test]
async fn hot_statements_take_cheap_locks_alone() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.make_partitions(current_date - 30, 40)").await;
    let (lane, options) = (stage.lane, stage.options());
    // Repeated, as a host's connection does.
    let mut locks = Locks::default();
    for number in (1..).take(ROUNDS) {
        let mut tx = stage.conn.begin().await.expect("a transaction");
        let task = new_task(TaskId::now_v7());
        store::insert(&mut tx, &options, &[task], true).await.expect("sent");
        locks.cheap("send", FAST_LOCKS, &mut tx).await;
        tx.commit().await.expect("sent");

        let mut tx = stage.conn.begin().await.expect("a transaction");
        let claims = claim_on(&mut tx, HOST, number, lane).await;
        locks.cheap("claim", FAST_LOCKS, &mut tx).await;
        tx.commit().await.expect("claimed");

        let settles: Vec<_> = claims.into_iter().map(|claim| settle_of(claim, complete())).collect();
        assert_eq!(settles.len(), 1);
        let mut tx = stage.conn.begin().await.expect("a transaction");
        store::settle(&mut tx, HOST, &settles).await.expect("settled");
        locks.cheap("settle", FAST_LOCKS, &mut tx).await;
        tx.commit().await.expect("settled");

        let mut tx = stage.conn.begin().await.expect("a transaction");
        store::poll(&mut tx, HOST, &[lane], 0).await.expect("polled");
        locks.cheap("poll", FAST_LOCKS, &mut tx).await;
        tx.commit().await.expect("polled");

        stage.send_with(|options| options.delay_ms = Some(0)).await;
        let mut tx = stage.conn.begin().await.expect("a transaction");
        assert_eq!(store::promote(&mut tx, 10).await.expect("promoted"), [(lane, 1)]);
        locks.cheap("promote", FAST_LOCKS, &mut tx).await;
        // The next round has one task to claim.
        tx.rollback().await.expect("over");
        stage.execute("delete from hostler.task").await;
    }
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
