//! Sending and draining without a pause: does the rate hold over checkpoints and autovacuums?

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Row;

use crate::Bench;
use crate::backends::{Backends, per_task};
use crate::common::{args, round, wal};
use crate::stage::{Stage, TASK, start};

/// Tasks of one send.
const BATCH: usize = 2_000;

pub(crate) async fn run(bench: &Bench) -> Value {
    let minutes = bench.options.number("minutes", 10.0);
    let backlog = bench.options.number("backlog", 50_000.0);
    let interval = Duration::from_secs_f64(bench.options.number("interval", 60.0));
    let stage = Stage::new(bench, "steady").await;
    let host = start(bench, &stage.url).await;
    let sending =
        tokio::spawn(send_without_pause(stage.url.clone(), stage.pool.clone(), stage.lane, backlog));
    tokio::time::sleep(Duration::from_secs(3).min(interval)).await;
    let mut backends = Backends::new(stage.pool.clone());
    let (began, mut intervals, mut rates) = (Instant::now(), Vec::new(), Vec::new());
    let mut before = Sample::take(bench, &stage, &mut backends).await;
    let first = before.upkeep.clone();
    while began.elapsed().as_secs_f64() < minutes * 60.0 {
        tokio::time::sleep(interval).await;
        let now = Sample::take(bench, &stage, &mut backends).await;
        let tasks = (now.done - before.done).max(1.0);
        let rate = tasks / (now.at - before.at).as_secs_f64();
        rates.push(rate);
        intervals.push(json!({
            "drain_per_second": round(rate, 0),
            "database_cpu_us_per_task": per_task(&before.spent, &now.spent, tasks),
            "wal_bytes_per_task": round((now.wal - before.wal) / tasks, 0),
            "task_bytes": now.task_bytes, "history_bytes": now.history_bytes,
        }));
        before = now;
    }
    sending.abort();
    host.drain(Duration::from_secs(30)).await;
    let (lowest, highest) = rates.iter().fold((f64::MAX, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
    let upkeep: serde_json::Map<String, Value> = before
        .upkeep
        .iter()
        .zip(&first)
        .map(|((name, after), (_, before))| ((*name).to_owned(), json!(after - before)))
        .collect();
    stage.end(bench).await;
    json!({
        "minutes": minutes, "backlog": backlog, "happened": upkeep,
        "last_to_first": round(rates.last().expect("an interval") / rates[0], 3),
        "lowest_to_highest": round(lowest / highest, 3),
        "intervals": intervals,
    })
}

struct Sample {
    at: Instant,
    done: f64,
    wal: f64,
    spent: crate::backends::Spent,
    task_bytes: i64,
    history_bytes: i64,
    upkeep: Vec<(&'static str, i64)>,
}

impl Sample {
    async fn take(bench: &Bench, stage: &Stage, backends: &mut Backends) -> Self {
        let sql = "select n_tup_del::float8 as done, pg_total_relation_size(relid)::int8 as task_bytes,
                (select sum(pg_total_relation_size(inhrelid)) from pg_inherits
                    where inhparent = 'hostler.history'::regclass)::int8 as history_bytes,
                autovacuum_count,
                (select sum(autovacuum_count) from pg_stat_user_tables where relname like 'history%')::int8 as of_history
            from pg_stat_user_tables
            where relid = 'hostler.task'::regclass";
        let row = sqlx::query(sql).fetch_one(&stage.pool).await.expect("figures");
        let (by_time, by_wal) = checkpoints(&stage.pool).await;
        Self {
            at: Instant::now(),
            done: row.get("done"),
            wal: wal(&stage.pool).await,
            spent: backends.sample(&bench.base.postgres).await,
            task_bytes: row.get("task_bytes"),
            history_bytes: row.get("history_bytes"),
            upkeep: vec![
                ("checkpoints_by_time", by_time),
                ("checkpoints_by_wal", by_wal),
                ("autovacuums_of_task", row.get("autovacuum_count")),
                ("autovacuums_of_history", row.get("of_history")),
            ],
        }
    }
}

/// Sends until it is aborted, and waits while too many tasks wait.
async fn send_without_pause(url: String, pool: sqlx::PgPool, lane: i32, backlog: f64) {
    let client = hostler::Client::connect(&url).await.expect("a client");
    let args = args(100);
    // The only sender: from the first that is left to the newest position, all wait or run.
    let sql = "select coalesce(
            (select last_value from hostler.position)
                - (select pos from hostler.task where lane = $1 order by pos limit 1), 0)::float8";
    loop {
        let waiting: f64 = sqlx::query_scalar(sql).bind(lane).fetch_one(&pool).await.expect("a count");
        if waiting < backlog {
            client.send_many(TASK, std::iter::repeat_n(&args, BATCH)).await.expect("sent");
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Since the server's start: those that were due, and those that the amount of WAL asked for. PostgreSQL 17 gave
/// them a view of their own.
async fn checkpoints(pool: &sqlx::PgPool) -> (i64, i64) {
    let version = "select current_setting('server_version_num')::int";
    let version: i32 = sqlx::query_scalar(version).fetch_one(pool).await.expect("a version");
    let sql = match version {
        170_000.. => "select num_timed, num_requested from pg_stat_checkpointer",
        _ => "select checkpoints_timed, checkpoints_req from pg_stat_bgwriter",
    };
    sqlx::query_as(sql).fetch_one(pool).await.expect("figures")
}
