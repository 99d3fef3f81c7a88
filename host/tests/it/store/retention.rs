//! The end of history: days go as a whole, survivors stay their time, and what is still named is kept.

use hostler::Status;
use hostler::store::{self, Pruned};
use hostler::task::TaskId;
use sqlx::Connection;

use super::stage::{Stage, complete, retry, written};

const DAYS: i32 = 30;

/// An id as a sender made it so many days ago.
fn old_id(days: u64) -> TaskId {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    TaskId::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, now - days * 86_400, 0))
}

impl Stage {
    /// A task with this id that was retried once and completed, as of so many days ago.
    async fn done(&mut self, id: TaskId, finished_days: i32) {
        self.send_as(id).await;
        for (number, verdict) in [(1, retry()), (2, complete())] {
            let _moved = store::promote(&mut self.conn, 10).await.expect("promoted");
            let claim = self.claim_one(number).await;
            assert!(written(self.settle(claim, verdict).await).is_some());
        }
        let sql = format!(
            "update hostler.history set finished_at = now() - interval '{finished_days} days' where id = '{id}'"
        );
        self.execute(&sql).await;
    }

    async fn known(&self, id: TaskId) -> bool {
        let found = !self.store.look(&[id]).await.expect("an answer").is_empty();
        assert_eq!(
            !self.store.attempts(id).await.expect("an answer").is_empty(),
            found,
            "attempts go with it"
        );
        found
    }

    async fn drop_days(&mut self) -> usize {
        let mut dropped = 0;
        while store::drop_day(&mut self.conn, DAYS).await.expect("an answer").is_some() {
            dropped += 1;
        }
        dropped
    }

    async fn prune(&mut self) -> Pruned {
        store::prune(&mut self.conn, DAYS, 100).await.expect("an answer")
    }
}

#[tokio::test]
async fn days_over_their_time_are_dropped_and_the_others_stay() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.make_partitions(current_date - 40, 45)").await;
    let (old, young, fresh) = (old_id(35), old_id(20), TaskId::now_v7());
    stage.done(old, 35).await;
    stage.done(young, 20).await;
    stage.done(fresh, 0).await;
    assert!(stage.known(old).await);
    let dropped = stage.drop_days().await;
    assert!((9..=10).contains(&dropped), "{dropped} days");
    assert!(!stage.known(old).await && stage.known(young).await && stage.known(fresh).await);
}

#[tokio::test]
async fn a_task_that_ended_late_outlives_its_day_and_goes_when_its_own_time_is_over() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.make_partitions(current_date - 40, 45)").await;
    let (late, running) = (old_id(35), old_id(35));
    stage.done(late, 5).await;
    stage.send_as(running).await;
    let claim = stage.claim_one(1).await;
    assert_eq!(written(stage.settle(claim, retry()).await), Some(Status::Pending));
    stage.drop_days().await;
    assert!(stage.known(late).await, "within its time, with its attempts");
    assert!(stage.known(running).await, "not even over");
    assert_eq!(stage.prune().await.tasks, 0);

    stage.execute("update hostler.history set finished_at = now() - interval '31 days'").await;
    assert_eq!(stage.prune().await.tasks, 1);
    assert!(!stage.known(late).await && stage.known(running).await);
}

#[tokio::test]
async fn a_day_that_somebody_reads_is_left_for_the_next_hour() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.make_partitions(current_date - 40, 45)").await;
    let mut dump = stage.other().await;
    let mut reading = dump.begin().await.expect("a transaction");
    sqlx::query("select count(*) from hostler.history").execute(&mut *reading).await.expect("a dump");
    let refused = store::drop_day(&mut stage.conn, DAYS).await.expect_err("in use");
    assert!(refused.is_transient(), "{refused}");
    reading.rollback().await.expect("over");
    assert!(store::drop_day(&mut stage.conn, DAYS).await.expect("an answer").is_some());
}

#[tokio::test]
async fn settles_go_on_while_a_day_is_looked_through() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.make_partitions(current_date - 40, 45)").await;
    stage.done(old_id(35), 35).await;
    let mut other = stage.other().await;
    let mut holding = other.begin().await.expect("a transaction");
    sqlx::query("lock table hostler.key in access exclusive mode")
        .execute(&mut *holding)
        .await
        .expect("locked");
    // What stays is looked for among the keys too: there it stands still, again and again, until it gives up.
    let mut conn = stage.other().await;
    let dropping = tokio::spawn(async move { while store::drop_day(&mut conn, DAYS).await.is_err() {} });
    let locks = "select coalesce(bool_or(not granted and relation = 'hostler.key'::regclass), false), \
        coalesce(bool_or(granted and mode = 'AccessExclusiveLock' and relation = 'hostler.history'::regclass), false) \
        from pg_locks where database = (select oid from pg_database where datname = current_database())";
    let ends = std::time::Instant::now() + crate::support::LONG;
    let closed = loop {
        let (waits, closed): (bool, bool) =
            sqlx::query_as(locks).fetch_one(&mut stage.conn).await.expect("the locks");
        if waits {
            break closed;
        }
        assert!(std::time::Instant::now() < ends, "it never looked");
    };
    assert!(!closed, "no settle could be written");
    holding.rollback().await.expect("over");
    dropping.await.expect("dropped");
}

#[tokio::test]
async fn keys_go_after_their_tasks_and_hosts_after_their_time() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.make_partitions(current_date - 40, 45)").await;
    let (spent, held) = (old_id(35), old_id(36));
    for (id, key, window) in [(spent, "spent", 3_600), (held, "held", 100 * 86_400)] {
        store::take_key(&mut stage.conn, 1, key, id, 7, window).await.expect("taken");
        stage.done(id, 35).await;
    }
    stage.execute("update hostler.key set taken_at = now() - interval '35 days'").await;
    super::stage::join(&mut stage.conn, hostler::task::Session(2)).await;
    stage.execute("update hostler.host set ended_at = now() - interval '31 days' where session = 2").await;
    stage.drop_days().await;
    assert!(!stage.known(spent).await && stage.known(held).await, "a window keeps its task");
    assert_eq!(stage.prune().await, Pruned { tasks: 0, keys: 1, hosts: 0 }, "it may hold something yet");
    super::stage::recover(&mut stage.conn).await;
    assert_eq!(stage.prune().await, Pruned { tasks: 0, keys: 0, hosts: 1 });
    assert_eq!(stage.prune().await, Pruned { tasks: 0, keys: 0, hosts: 0 });
}

#[tokio::test]
async fn a_day_that_began_without_a_host_gets_its_partition_all_the_same() {
    let mut stage = Stage::new().await;
    stage.execute("select hostler.drop_oldest_day(now() + interval '30 days')").await;
    while store::drop_day(&mut stage.conn, -30).await.expect("an answer").is_some() {}
    let id = TaskId::now_v7();
    stage.done(id, 0).await;
    assert!(store::make_partitions(&mut stage.conn).await.expect("made") >= 10);
    assert!(stage.known(id).await);
    let sql = "select count(*) from hostler.history_default";
    let left: i64 = sqlx::query_scalar(sql).fetch_one(&mut stage.conn).await.expect("a count");
    assert_eq!(left, 0, "it moved to its day");
}
