//! The whole trip, timed: a drain and a series of round trips. Prints one JSON line.
//!
//! `cargo bench -p hostler --bench trip [-- --tasks 50000 --rounds 200 --slots 256]`. The database is a
//! durable private one of the bench's own, in the target directory; `DATABASE_URL` is not looked at.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hostler::Client;
use hostler::dispatch::{Host, HostConfig};
use hostler::embedded::{Server, Settings};
use serde_json::json;

struct Options {
    tasks: usize,
    rounds: usize,
    slots: usize,
}

fn main() {
    let options = options();
    let plugins = plugins();
    let data_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-server");
    let server = Server::join(&Settings::new(data_dir), &mut |_| {}).expect("a private PostgreSQL");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let admin = sqlx::PgPool::connect(&server.url("postgres")).await.expect("the server");
        sqlx::query("drop database if exists bench with (force)").execute(&admin).await.expect("dropped");
        sqlx::query("create database bench").execute(&admin).await.expect("a database");
        let url = server.url("bench");
        let drain = drain(&url, &plugins, &options).await;
        let rounds = rounds(&url, &plugins, &options).await;
        println!("{}", json!({ "bench": "trip", "slots": options.slots, "drain": drain, "rounds": rounds }));
        sqlx::query("drop database bench with (force)").execute(&admin).await.expect("dropped");
    });
    drop(runtime);
    server.leave().expect("the server stops");
}

fn options() -> Options {
    let mut options = Options { tasks: 50_000, rounds: 200, slots: 256 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse().ok()).expect("a number");
        match arg.as_str() {
            "--tasks" => options.tasks = number(),
            "--rounds" => options.rounds = number(),
            "--slots" => options.slots = number(),
            // Cargo says so itself.
            "--bench" | "--test" => {}
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn plugins() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target = root.join("target/guests");
    let built = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--release", "--target", "wasm32-wasip2", "-p", "hostler-plugin-misbehave"])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "true")
        .env_remove("RUSTFLAGS")
        .status();
    assert!(
        built.is_ok_and(|s| s.success()),
        "the plugin does not build; run `rustup target add wasm32-wasip2`"
    );
    let dir = target.join("bench-plugins");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::copy(target.join("wasm32-wasip2/release/misbehave.wasm"), dir.join("misbehave.wasm"))
        .expect("copied");
    dir
}

fn config(url: &str, plugins: &Path, slots: usize) -> HostConfig {
    HostConfig { slots, ..HostConfig::new(url, plugins) }
}

/// Sends everything, then lets one host drain it; from the first claim to the last task final.
async fn drain(url: &str, plugins: &Path, options: &Options) -> serde_json::Value {
    // A host publishes the task, then leaves the field.
    let host = Host::start(config(url, plugins, options.slots)).await.expect("a host");
    host.drain(Duration::from_secs(5)).await;
    let client = Client::connect(url).await.expect("a client");
    let pool = sqlx::PgPool::connect(url).await.expect("a pool");
    let pad = "x".repeat(100 - r#"{"pad":""}"#.len());
    let args = json!({ "pad": pad });
    let began = Instant::now();
    client.send_many("misbehave.noop", std::iter::repeat_n(&args, options.tasks)).await.expect("sent");
    let send_seconds = began.elapsed().as_secs_f64();

    let database_before = postgres_cpu_ms();
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
    let database_cpu = postgres_cpu_ms() - database_before;
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
        "drain_per_second": (tasks / seconds).round(),
        "host_cpu_us_per_task": (cpu * 1000.0 / tasks * 10.0).round() / 10.0,
        "database_cpu_us_per_task": (database_cpu * 1000.0 / tasks * 10.0).round() / 10.0,
        "drain_wal_bytes_per_task": (wal_bytes / tasks).round(),
        "hot_ratio": (hot * 1000.0).round() / 1000.0,
    })
}

/// One task after the other, from send to result in hand.
async fn rounds(url: &str, plugins: &Path, options: &Options) -> serde_json::Value {
    let host = Host::start(config(url, plugins, options.slots)).await.expect("a host");
    let client = Client::connect(url).await.expect("a client");
    let mut took: Vec<f64> = Vec::new();
    for round in 0..options.rounds + 20 {
        let began = Instant::now();
        let handle = client.send("misbehave.noop", json!({"pad": "x"})).await.expect("sent");
        handle.get(Some(Duration::from_secs(30))).await.expect("a result");
        // The first ones open connections and fill caches.
        if round >= 20 {
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    host.drain(Duration::from_secs(5)).await;
    took.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = ((took.len() as f64 - 1.0) * share).round() as usize;
        (took[index] * 100.0).round() / 100.0
    };
    json!({ "rounds": took.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) })
}

async fn wal(pool: &sqlx::PgPool) -> f64 {
    sqlx::query_scalar("select (pg_current_wal_insert_lsn() - '0/0')::float8")
        .fetch_one(pool)
        .await
        .expect("a figure")
}

/// CPU time of this process, user and system.
fn cpu_ms() -> f64 {
    // SAFETY: the buffer is a whole rusage, and the call only writes to it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        let ms = |t: libc::timeval| t.tv_sec as f64 * 1000.0 + t.tv_usec as f64 / 1000.0;
        ms(usage.ru_utime) + ms(usage.ru_stime)
    }
}

/// CPU time of all processes named postgres; the machine is expected to run no others.
fn postgres_cpu_ms() -> f64 {
    let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once(')')?;
        if !name.ends_with("(postgres") {
            return None;
        }
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        Some(ticks * 10.0)
    });
    stats.sum()
}
