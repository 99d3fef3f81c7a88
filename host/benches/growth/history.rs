//! Millions of finished tasks: drains beside them, reads of the old ones, and the end of the oldest days.

use std::time::{Duration, Instant};

use hostler::Include;
use hostler::store::{self, Role};
use hostler::task::TaskId;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::Bench;
use crate::common::{median, round};
use crate::stage::{Drained, Stage, compare, ratios, start};

const DAYS: usize = 20;
const READS: usize = 200;

pub(crate) async fn run(bench: &Bench) -> Value {
    let rows = bench.options.count("rows", 10_000_000);
    let (without, with) = (Stage::new(bench, "without").await, Stage::new(bench, "with").await);
    let began = Instant::now();
    fill(&with, rows).await;
    let filled_seconds = round(began.elapsed().as_secs_f64(), 0);
    let drain = compare(bench, &without, &with).await;
    // Of the last drain there, and of every old day.
    let young = ids(&without, "true", READS).await;
    let mut old = Vec::new();
    for day in 1..=DAYS {
        let of_day = format!(
            "id between hostler.id_floor(now() - {day} * interval '1 day') and \
            hostler.id_floor(now() - ({day} - 1) * interval '1 day')"
        );
        old.extend(ids(&with, &of_day, READS / DAYS).await);
    }
    let reads = json!({ "without": reads(&without, &young).await, "with": reads(&with, &old).await });
    let retention = retention(bench, &without, &with).await;
    let bytes = with
        .number("select sum(pg_total_relation_size(inhrelid))::float8 from pg_inherits where inhparent = 'hostler.history'::regclass")
        .await;
    without.end(bench).await;
    with.end(bench).await;
    json!({
        "rows": rows, "filled_seconds": filled_seconds, "bytes_left": bytes, "drain": drain, "reads": reads,
        "retention": retention,
    })
}

/// Finished tasks of the last days, spread evenly, as hosts would have left them.
async fn fill(stage: &Stage, rows: usize) {
    stage.execute(&format!("select hostler.make_partitions(current_date - {DAYS}, {DAYS})")).await;
    let each = rows / DAYS;
    for day in 1..=DAYS {
        let sql = format!(
            "insert into hostler.history (id, sent_at, finished_at, fingerprint, session, claimed_at,
                memory_bytes_peak, lane, attempt, plugin, cpu_ms, wall_ms, status, outcome, retries, redeliveries,
                releases, redeliveries_max, result, args)
            select
                (left(hostler.id_floor(at)::text, 14) || '7' || substr(md5(n::text), 1, 3) || '-8'
                    || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12))::uuid,
                at, at, n, 1, at, 1114112, {lane}, 1, 1, 1, 1, 3, 1, 0, 0, 0, 3, '{{}}', convert_to('{args}', 'UTF8')
            from generate_series(1, {each}) n,
                lateral (select now() - {day} * interval '1 day' + n * interval '23 hours' / {each} as at) t",
            lane = stage.lane,
            args = crate::common::args(100),
        );
        stage.execute(&sql).await;
    }
    stage.execute("vacuum (analyze) hostler.history").await;
    stage.execute("checkpoint").await;
}

async fn ids(stage: &Stage, which: &str, count: usize) -> Vec<TaskId> {
    let sql = format!("select id from hostler.history where {which} order by id limit {count}");
    sqlx::query_scalar(&sql).fetch_all(&stage.pool).await.expect("ids")
}

/// What a sender pays who asks for one task, and what the server touches for it.
async fn reads(stage: &Stage, ids: &[TaskId]) -> Value {
    let (mut get, mut info) = (Vec::new(), Vec::new());
    let all = Include::RESULT | Include::FAILED_REASON | Include::ATTEMPTS;
    for id in ids {
        let handle = stage.client.handle::<Value>(*id);
        let began = Instant::now();
        handle.get(Some(Duration::from_secs(5))).await.expect("a result");
        get.push(began.elapsed().as_secs_f64() * 1e6);
        let began = Instant::now();
        stage.client.handle::<Value>(*id).info(all).await.expect("an answer").expect("a task");
        info.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let connect = store::Connect::parse(&stage.url).expect("a URL");
    let mut conn = store::conn(&connect, Role::Cold).await.expect("a connection");
    let id = ids[ids.len() / 2];
    let mut touched = Vec::new();
    for (name, sql, many) in [
        ("get", include_str!("../../sql/look_final.sql"), true),
        ("info", include_str!("../../sql/info.sql"), false),
        ("attempts", include_str!("../../sql/attempts.sql"), false),
    ] {
        let explain = format!("explain (analyze, buffers, format json) {sql}");
        let mut tx = conn.begin().await.expect("a transaction");
        let query = sqlx::query_scalar(&explain);
        let query = if many { query.bind(vec![id]) } else { query.bind(id) };
        let query = if name == "info" { query.bind(true).bind(true) } else { query };
        let plan: Value = query.fetch_one(&mut *tx).await.expect("a plan");
        let locks = "select count(*), count(*) filter (where not fastpath) from pg_locks
            where pid = pg_backend_pid() and locktype = 'relation' and relation >= 16384";
        let (all, slow): (i64, i64) = sqlx::query_as(locks).fetch_one(&mut *tx).await.expect("locks");
        tx.rollback().await.expect("over");
        let blocks = |key: &str| plan[0]["Plan"][key].as_i64().unwrap_or_default();
        touched.push(json!({
            "statement": name, "blocks": blocks("Shared Hit Blocks") + blocks("Shared Read Blocks"),
            "relations_locked": all, "of_these_not_fast": slow,
        }));
    }
    json!({
        "ids": ids.len(), "get_us_median": round(median(get), 0), "info_us_median": round(median(info), 0),
        "touched": touched,
    })
}

/// The older half of the days goes while a host drains; against a drain on the other database before and after it.
async fn retention(bench: &Bench, without: &Stage, with: &Stage) -> Value {
    let days = i32::try_from(DAYS / 2).expect("a small number");
    let before = without.drain(bench, bench.tasks()).await;
    let host = start(bench, &with.url).await;
    let dropping = tokio::spawn(drop_days(with.url.clone(), days));
    let during: Drained = with.drain_with_hosts(bench, bench.tasks(), &[]).await;
    let (dropped, refused, ms) = dropping.await.expect("an answer");
    host.drain(Duration::from_secs(5)).await;
    let after = without.drain(bench, bench.tasks()).await;
    json!({
        "days_dropped": dropped, "tries_refused_by_a_lock": refused,
        "ms_a_day_median": round(median(ms.clone()), 1), "ms_a_day_most": round(ms.into_iter().fold(0.0, f64::max), 1),
        "drain": ratios(&[before, after], &[during]),
    })
}

async fn drop_days(url: String, keep: i32) -> (usize, usize, Vec<f64>) {
    let connect = store::Connect::parse(&url).expect("a URL");
    let mut conn = store::conn(&connect, Role::Hot).await.expect("a connection");
    let (mut dropped, mut refused, mut ms) = (0, 0, Vec::new());
    loop {
        let began = Instant::now();
        match store::drop_day(&mut conn, keep).await {
            Ok(Some(_)) => {
                dropped += 1;
                ms.push(began.elapsed().as_secs_f64() * 1000.0);
            }
            Ok(None) => return (dropped, refused, ms),
            Err(error) => {
                refused += 1;
                assert!(refused < 1_000, "no day can be dropped: {error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
