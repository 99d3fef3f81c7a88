//! How recovery and adoption walk: a stretch at a time, through all of the table, one host for all.

use hostler::store::{self, PgConnection};
use hostler::task::{Session, TaskId};
use serde_json::Value;
use sqlx::Connection;

use super::stage::{HOST, Stage, claim_on, join, recover};

const PAGES: i64 = 256;

/// Many waiting tasks; three of them, far apart, are held by this session under claim 1.
async fn crowd(stage: &mut Stage, session: Session) -> Vec<TaskId> {
    stage.send_many(1).await;
    let copies = "insert into hostler.task (id, pos, fingerprint, lane, home, redeliveries_max, keep_input, args) \
        select hostler.make_id(), nextval('hostler.position'), fingerprint, lane, home, 3, true, args \
        from hostler.task, generate_series(1, 200000)";
    stage.execute(copies).await;
    stage.execute("analyze hostler.task").await;
    let hold = "with three as (select ctid as place from hostler.task where pos in \
            (select unnest(array[min(pos), min(pos) + 100000, max(pos)]) from hostler.task)) \
        update hostler.task t set session = $1, claim = 1, claimed_at = now(), attempt = 1 \
        from three where t.ctid = three.place returning t.id";
    let held = sqlx::query_scalar(hold).bind(session.0).fetch_all(&mut stage.conn).await.expect("held");
    assert_eq!(held.len(), 3);
    held
}

async fn stretches(stage: &mut Stage) -> i64 {
    let sql = "select pg_relation_size('hostler.task') / current_setting('block_size')::bigint";
    let pages: i64 = sqlx::query_scalar(sql).fetch_one(&mut stage.conn).await.expect("its size");
    (pages + PAGES - 1) / PAGES
}

/// How many pages a statement with these arguments reads.
async fn pages_read(conn: &mut PgConnection, sql: &str, args: &str) -> i64 {
    sqlx::raw_sql(&format!("prepare walk as {sql}")).execute(&mut *conn).await.expect(sql);
    let explain = format!("explain (analyze, buffers, format json) execute walk({args})");
    let plan: Value =
        sqlx::query_scalar(&explain).persistent(false).fetch_one(&mut *conn).await.expect("a plan");
    let blocks = |key: &str| plan[0]["Plan"][key].as_i64().expect("a number");
    blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
}

#[tokio::test]
async fn recovery_finds_rows_anywhere_and_reads_one_stretch_at_a_time() {
    let mut stage = Stage::new().await;
    let mut held = crowd(&mut stage, Session(77)).await;
    let mut found = Vec::new();
    let mut walked = 0;
    loop {
        let stretch = store::recover(&mut stage.conn, 500, PAGES, true).await.expect("an answer");
        let stretch = stretch.expect("nobody else is at it");
        found.extend(stretch.recovered.iter().map(|r| r.id));
        walked += 1;
        if stretch.whole {
            break;
        }
    }
    found.sort_unstable();
    held.sort_unstable();
    assert_eq!(found, held);
    let all = stretches(&mut stage).await;
    assert!(
        all > 10 && (walked == all || walked + 1 == all),
        "{walked} of {all}: what it moved may have grown it"
    );

    let read = pages_read(&mut stage.conn, include_str!("../../../sql/recover.sql"), "500, 256, 0").await;
    assert!((PAGES..PAGES + 100).contains(&read), "{read} pages");
}

#[tokio::test]
async fn an_adoption_finds_rows_anywhere_and_reads_one_stretch_at_a_time() {
    let mut stage = Stage::new().await;
    let mut held = crowd(&mut stage, HOST).await;
    assert!(store::fence(&mut stage.conn, HOST, 2).await.expect("an answer"));
    let mut found = Vec::new();
    let mut next = Some(0);
    while let Some(page) = next {
        let adopting = store::adopt(&mut stage.conn, HOST, (1, 2), (page, PAGES), |_| String::new());
        let (adopted, then) = adopting.await.expect("an answer");
        found.extend(adopted.iter().map(|adopted| (adopted.claim.id, adopted.claim.number)));
        next = then;
    }
    found.sort_unstable();
    // A row that moved to a later page is met again.
    found.dedup();
    held.sort_unstable();
    assert_eq!(found, held.into_iter().map(|id| (id, 2)).collect::<Vec<_>>());

    let read = pages_read(&mut stage.conn, include_str!("../../../sql/adopt.sql"), "1, 1, 2, 512, 256").await;
    assert!((PAGES..PAGES + 100).contains(&read), "{read} pages");
}

#[tokio::test]
async fn a_full_batch_stays_where_it_is() {
    let mut stage = Stage::new().await;
    stage.send_many(5).await;
    claim_on(&mut stage.conn, HOST, 1, stage.lane).await;
    stage.execute("update hostler.task set session = 77").await;
    let mut sizes = Vec::new();
    loop {
        let walked =
            store::recover(&mut stage.conn, 2, PAGES, true).await.expect("an answer").expect("alone");
        sizes.push(walked.recovered.len());
        if walked.whole {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[tokio::test]
async fn one_host_looks_for_all_of_them_and_when_there_is_a_reason() {
    let mut stage = Stage::new().await;
    let due = async |stage: &mut Stage| {
        store::poll(&mut stage.conn, HOST, &[], 0).await.expect("a look").recovery_due
    };
    assert!(due(&mut stage).await, "nobody ever looked");
    recover(&mut stage.conn).await;
    assert!(!due(&mut stage).await);
    let none = store::recover(&mut stage.conn, 10, PAGES, false).await.expect("an answer");
    assert!(none.is_none(), "the next one is due in half a minute");

    join(&mut stage.conn, Session(2)).await;
    stage.send().await;
    claim_on(&mut stage.conn, Session(2), 1, stage.lane).await;
    stage.bury(Session(2)).await;
    assert!(due(&mut stage).await, "somebody died");
    let mut other = stage.other().await;
    let mut looking = other.begin().await.expect("a transaction");
    let walked = store::recover(&mut looking, 10, PAGES, false).await.expect("an answer").expect("due");
    assert_eq!(walked.recovered.len(), 1);
    let busy = store::recover(&mut stage.conn, 10, PAGES, false).await.expect("at once");
    assert!(busy.is_none(), "another one is at it");
    looking.commit().await.expect("taken back");

    stage.execute("update hostler.host set ended_at = now() - interval '1 hour' where session = 2").await;
    assert!(!due(&mut stage).await);
    stage.execute("update hostler.recovery set since = now() - interval '31 seconds'").await;
    assert!(due(&mut stage).await, "every half minute");
    stage.execute("update hostler.recovery set walked_pages = 20000").await;
    assert!(!due(&mut stage).await, "every minute, where the table has twice 10,000 pages");
    stage.execute("update hostler.recovery set since = now() - interval '61 seconds'").await;
    assert!(due(&mut stage).await);
    recover(&mut stage.conn).await;
    stage.execute("update hostler.recovery set since = now() - interval '31 seconds'").await;
    assert!(due(&mut stage).await, "the table is small");
    stage.execute("update hostler.recovery set since = now() + interval '1 hour'").await;
    assert!(due(&mut stage).await, "a server whose clock is behind took over");
}

#[tokio::test]
async fn what_was_locked_is_looked_for_again_after_a_second() {
    let mut stage = Stage::new().await;
    stage.send().await;
    claim_on(&mut stage.conn, HOST, 1, stage.lane).await;
    stage.execute("update hostler.task set session = 77").await;
    let mut conn = stage.other().await;
    let mut asleep = conn.begin().await.expect("a transaction");
    sqlx::query("select from hostler.task for update").execute(&mut *asleep).await.expect("locked");
    assert!(recover(&mut stage.conn).await.is_empty());
    asleep.rollback().await.expect("awake");
    stage.execute("update hostler.recovery set since = now() - interval '1.1 seconds'").await;
    let again = store::recover(&mut stage.conn, 10, PAGES, false).await.expect("an answer").expect("due");
    assert_eq!(again.recovered.len(), 1);
    let left: bool = sqlx::query_scalar("select left_some from hostler.recovery")
        .fetch_one(&mut stage.conn)
        .await
        .expect("a word");
    assert!(!left);
}

#[tokio::test]
async fn cancels_for_sessions_that_are_over_are_dropped() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, Session(2)).await;
    let ids = [stage.send().await, stage.send().await];
    claim_on(&mut stage.conn, Session(2), 1, stage.lane).await;
    let late = stage.send().await;
    let _running = stage.claim_one(1).await;
    for id in [ids[0], ids[1], late] {
        stage.store.cancel(id).await.expect("an answer").expect("known");
    }
    stage.bury(Session(2)).await;
    store::drop_cancels_left(&mut stage.conn).await.expect("an answer");
    let left: Vec<TaskId> =
        sqlx::query_scalar("select task from hostler.cancel").fetch_all(&mut stage.conn).await.expect("rows");
    assert_eq!(left, [late]);
}
