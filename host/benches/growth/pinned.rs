//! A transaction that is held open keeps vacuum from removing whatever died since: what do claims cost, minute by
//! minute, while tasks go through at a steady rate?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hostler::store::{self, Role};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::Bench;
use crate::backends::{Backends, per_task};
use crate::common::{args, round};
use crate::stage::{Stage, TASK, start};

pub(crate) async fn run(bench: &Bench) -> Value {
    let minutes = bench.options.number("minutes", 10.0);
    let without = at_a_rate(bench, minutes, false).await;
    let with = at_a_rate(bench, minutes, true).await;
    let last = |run: &Value, kind: &str| run["last_to_first"][kind].as_f64().unwrap_or(f64::NAN);
    json!({
        "minutes": minutes,
        "last_to_first_claim": { "without": last(&without, "claim"), "with": last(&with, "claim") },
        "without": without, "with": with,
    })
}

async fn at_a_rate(bench: &Bench, minutes: f64, pinned: bool) -> Value {
    let rate = bench.options.number("rate", 5_000.0);
    let interval = Duration::from_secs_f64(bench.options.number("interval", 60.0));
    let stage = Stage::new(bench, "pinned").await;
    let host = start(bench, &stage.url).await;
    let sending = tokio::spawn(send_at(stage.url.clone(), rate));
    // The rate is reached and every connection is open before anything counts.
    tokio::time::sleep(Duration::from_secs(3).min(interval)).await;
    let pin = if pinned { Some(pin(&stage.url).await) } else { None };
    let mut backends = Backends::new(stage.pool.clone());
    let (began, mut intervals) = (Instant::now(), Vec::new());
    let mut before = (backends.sample(&bench.base.postgres).await, done(&stage).await);
    while began.elapsed().as_secs_f64() < minutes * 60.0 {
        tokio::time::sleep(interval).await;
        let now = (backends.sample(&bench.base.postgres).await, done(&stage).await);
        let mut figures = per_task(&before.0, &now.0, (now.1 - before.1).max(1.0));
        figures.insert("tasks", now.1 - before.1);
        intervals.push(figures);
        before = now;
    }
    // Asked while it is open; younger than a minute it is nobody's fault yet.
    let doctor = stage.client.about_server().await.expect("an answer").holding;
    sending.abort();
    if let Some(pin) = pin {
        pin.close().await.expect("closed");
    }
    host.drain(Duration::from_secs(30)).await;
    let dead = stage
        .number("select n_dead_tup::float8 from pg_stat_user_tables where relid = 'hostler.task'::regclass")
        .await;
    stage.end(bench).await;
    let edge = |kind: &str| {
        let figure =
            |at: Option<&BTreeMap<_, f64>>| at.and_then(|i| i.get(kind).copied()).unwrap_or(f64::NAN);
        round(figure(intervals.last()) / figure(intervals.first()), 2)
    };
    json!({
        "rate": rate, "interval_seconds": interval.as_secs_f64(), "doctor": doctor, "dead_tuples": dead,
        "last_to_first": { "claim": edge("claim"), "settle": edge("settle"), "poll": edge("poll"), "total": edge("total") },
        "database_cpu_us_per_task": intervals,
    })
}

/// Settled tasks, as the server counts deleted rows; up to a second late.
async fn done(stage: &Stage) -> f64 {
    stage
        .number("select n_tup_del::float8 from pg_stat_user_tables where relid = 'hostler.task'::regclass")
        .await
}

async fn pin(url: &str) -> PgConnection {
    let connect = store::Connect::parse(url).expect("a URL");
    let mut conn = store::conn(&connect, Role::Cold).await.expect("a connection");
    let sql =
        "set application_name = 'a report that takes long'; set idle_in_transaction_session_timeout = 0;
        begin isolation level repeatable read; select count(*) from hostler.kind";
    sqlx::raw_sql(sql).execute(&mut conn).await.expect("a snapshot");
    conn
}

/// Sends small batches at a steady rate until it is aborted; one that is late is made up for.
async fn send_at(url: String, rate: f64) {
    const PAUSE: Duration = Duration::from_millis(20);
    let client = hostler::Client::connect(&url).await.expect("a client");
    let args = args(256);
    let (began, mut sent) = (Instant::now(), 0.0);
    loop {
        let owed = (began.elapsed().as_secs_f64() * rate - sent).clamp(0.0, rate);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most a second's tasks"
        )]
        let batch = owed as usize;
        if batch > 0 {
            client.send_many(TASK, std::iter::repeat_n(&args, batch)).await.expect("sent");
            sent += batch as f64;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
