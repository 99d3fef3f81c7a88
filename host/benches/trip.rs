//! The whole trip, timed: a drain and a series of round trips. Prints one JSON line.
//!
//! `cargo bench -p hostler --bench trip [-- --tasks 50000 --rounds 200 --slots 256]`. The database is a
//! durable private one of the bench's own, in the target directory; `DATABASE_URL` is not looked at.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use hostler::Client;
use hostler::dispatch::Host;
use serde_json::json;

use common::cpu::{Postgres, cpu_ms};
use common::{Base, config, wal};

struct Options {
    tasks: usize,
    rounds: usize,
    slots: usize,
}

fn main() {
    let read = common::Options::read(&["tasks", "rounds", "slots"]);
    let options = Options {
        tasks: read.count("tasks", 50_000),
        rounds: read.count("rounds", 200),
        slots: read.count("slots", 256),
    };
    let plugins = common::plugins();
    let base = Base::join("bench-server", &[]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = base.database("bench").await;
        let drain = drain(&url, &base.postgres, &plugins, &options).await;
        let rounds = rounds(&url, &plugins, &options).await;
        println!("{}", json!({ "bench": "trip", "slots": options.slots, "drain": drain, "rounds": rounds }));
        base.drop_database("bench").await;
    });
    drop(runtime);
    base.leave();
}

/// Sends everything, then lets one host drain it; from the first claim to the last task final.
async fn drain(url: &str, postgres: &Postgres, plugins: &Path, options: &Options) -> serde_json::Value {
    // A host publishes the task, then leaves the field.
    let host = Host::start(config(url, plugins, options.slots)).await.expect("a host");
    host.drain(Duration::from_secs(5)).await;
    let client = Client::connect(url).await.expect("a client");
    let pool = sqlx::PgPool::connect(url).await.expect("a pool");
    let args = common::args(100);
    let began = Instant::now();
    client.send_many("misbehave.noop", std::iter::repeat_n(&args, options.tasks)).await.expect("sent");
    let send_seconds = began.elapsed().as_secs_f64();
    let copied_per_second = copy(&pool, &args.to_string(), options.tasks).await;

    let database_before = postgres.cpu_ms();
    let cpu_before = cpu_ms();
    let wal_before = wal(&pool).await;
    let host = Host::start(config(url, plugins, options.slots)).await.expect("a host");
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let left: i64 = sqlx::query_scalar("select count(*) from (select from hostler.task limit 1) t")
            .fetch_one(&pool)
            .await
            .expect("a count");
        if left == 0 {
            break;
        }
    }
    let cpu = cpu_ms() - cpu_before;
    let database_cpu = postgres.cpu_ms() - database_before;
    let wal_bytes = wal(&pool).await - wal_before;
    let (done, seconds): (i64, f64) = sqlx::query_as(
        "select count(*), extract(epoch from max(finished_at) - min(claimed_at))::float8 from hostler.history
         where status = 3 and outcome = 1 and result is not null",
    )
    .fetch_one(&pool)
    .await
    .expect("figures");
    assert_eq!(
        usize::try_from(done).expect("a count"),
        options.tasks,
        "every task has its result and attempt"
    );
    let hot: f64 = sqlx::query_scalar(
        "select coalesce(n_tup_hot_upd::float8 / nullif(n_tup_upd, 0), 1) from pg_stat_user_tables
         where schemaname = 'hostler' and relname = 'task'",
    )
    .fetch_one(&pool)
    .await
    .expect("figures");
    host.drain(Duration::from_secs(5)).await;
    let tasks = options.tasks as f64;
    json!({
        "tasks": done,
        "send_per_second": (tasks / send_seconds).round(),
        "bare_copy_per_second": copied_per_second.round(),
        "drain_per_second": (tasks / seconds).round(),
        "host_cpu_us_per_task": (cpu * 1000.0 / tasks * 10.0).round() / 10.0,
        "database_cpu_us_per_task": (database_cpu * 1000.0 / tasks * 10.0).round() / 10.0,
        "drain_wal_bytes_per_task": (wal_bytes / tasks).round(),
        "hot_ratio": (hot * 1000.0).round() / 1000.0,
    })
}

/// The same rows by a bare COPY into a table with the same columns, checks and indexes: what a bulk send could be at best.
async fn copy(pool: &sqlx::PgPool, args: &str, tasks: usize) -> f64 {
    let mut conn = pool.acquire().await.expect("a connection");
    let make = "create table hostler.bare (like hostler.task including all)";
    sqlx::query(make).execute(&mut *conn).await.expect("a table");
    let bytes: String = args.bytes().map(|byte| format!("{byte:02x}")).collect();
    // With its time: COPY inserts row by row where a default is volatile.
    let now = "2026-01-01 00:00:00+00";
    let row = |n: usize| format!("{}\t{n}\t7\t1\t1\t3\tt\t{now}\t\\\\x{bytes}\n", uuid::Uuid::now_v7());
    let rows: String = (0..tasks).map(row).collect();
    let into = "copy hostler.bare \
        (id, pos, fingerprint, lane, home, redeliveries_max, keep_input, sent_at, args) from stdin";
    let began = Instant::now();
    let mut copying = conn.copy_in_raw(into).await.expect("a copy");
    for chunk in rows.as_bytes().chunks(1 << 16) {
        copying.send(chunk).await.expect("taken");
    }
    let copied = copying.finish().await.expect("copied");
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(usize::try_from(copied).expect("a count"), tasks);
    sqlx::query("drop table hostler.bare").execute(&mut *conn).await.expect("gone");
    tasks as f64 / seconds
}

/// One task after the other, from send to result in hand: by a client that the host hears within this process, and in
/// turns by one that reaches the same database in other words, so that each wake takes the way through the server.
async fn rounds(url: &str, plugins: &Path, options: &Options) -> serde_json::Value {
    let host = Host::start(config(url, plugins, options.slots)).await.expect("a host");
    let here = Client::connect(url).await.expect("a client");
    // The same socket by another path.
    let other_url = url.replacen("host=", "host=%2F.", 1);
    assert_ne!(url, other_url);
    let elsewhere = Client::connect(&other_url).await.expect("a client");
    let mut took: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..options.rounds + 20 {
        for (client, took) in [&here, &elsewhere].into_iter().zip(&mut took) {
            let began = Instant::now();
            let handle = client.send("misbehave.noop", json!({"pad": "x"})).await.expect("sent");
            handle.get(Some(Duration::from_secs(30))).await.expect("a result");
            // The first ones open connections and fill caches.
            if round >= 20 {
                took.push(began.elapsed().as_secs_f64() * 1000.0);
            }
        }
    }
    host.drain(Duration::from_secs(5)).await;
    let [here, elsewhere] = took.map(|mut took| {
        took.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = ((took.len() as f64 - 1.0) * share).round() as usize;
            (took[index] * 100.0).round() / 100.0
        };
        json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) })
    });
    json!({ "rounds": options.rounds, "within_the_process": here, "through_the_server": elsewhere })
}
