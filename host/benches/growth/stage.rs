//! A database with a host over it: what a drain costs there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hostler::Client;
use hostler::dispatch::{Host, HostConfig};
use serde_json::{Value, json};

use crate::Bench;
use crate::backends::{Backends, per_task};
use crate::common::{args, cache, config, cpu, median, pool, round};

/// The task that everything is measured with.
pub(crate) const TASK: &str = "misbehave.noop";

/// One database of a case.
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) pool: sqlx::PgPool,
    pub(crate) client: Client,
    /// The lane of [`TASK`].
    pub(crate) lane: i32,
    name: String,
}

/// What a drain cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drained {
    pub(crate) per_second: f64,
    /// For each task, of this process and of the whole server.
    pub(crate) host_us: f64,
    pub(crate) database_us: f64,
    /// The same by what backends did, where it was looked at.
    pub(crate) by_kind: BTreeMap<&'static str, f64>,
}

impl Stage {
    /// A new database that knows the task.
    pub(crate) async fn new(bench: &Bench, name: &str) -> Self {
        let name = format!("growth_{name}");
        let url = bench.base.database(&name).await;
        // A host publishes what it has, then leaves the field.
        start(bench, &url).await.drain(Duration::from_secs(5)).await;
        let client = Client::connect(&url).await.expect("a client");
        let pool = pool(&url).await;
        let sql = "select l.id from hostler.lane l join hostler.kind k on k.id = l.kind where k.name = $1";
        let lane = sqlx::query_scalar(sql).bind(TASK).fetch_one(&pool).await.expect("a lane");
        Self { url, pool, client, lane, name }
    }

    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    pub(crate) async fn number(&self, sql: &str) -> f64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Sends tasks in one transaction to a host that waits for them; from that commit to the last one final.
    pub(crate) async fn drain(&self, bench: &Bench, tasks: usize) -> Drained {
        let host = start(bench, &self.url).await;
        self.looked_around().await;
        let drained = self.drain_with_hosts(bench, tasks, &[]).await;
        host.drain(Duration::from_secs(5)).await;
        drained
    }

    /// Waits until a new host has looked at everything once, so that no drain is billed for it: it also looks through the
    /// whole table for what the one before it may have left.
    pub(crate) async fn looked_around(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let sql = "select hostler.recovery_due(r, interval '1 hour') from hostler.recovery r";
        while sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("an answer") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The same with hosts that are there already; `processes` are those outside of this one.
    pub(crate) async fn drain_with_hosts(&self, bench: &Bench, tasks: usize, processes: &[u32]) -> Drained {
        let host_cpu =
            || cpu::cpu() + processes.iter().map(|pid| cpu::of_process_with_threads(*pid)).sum::<Duration>();
        let args = args(100);
        let handles = self.client.send_many(TASK, std::iter::repeat_n(&args, tasks)).await.expect("sent");
        let mut backends = Backends::new(self.pool.clone());
        let spent = backends.sample(&bench.base.postgres).await;
        let (began, host, database) = (Instant::now(), host_cpu(), bench.base.postgres.cpu());
        // Among the last to end; only then is it worth asking for all of them.
        handles.last().expect("one at least").get(None).await.expect("a result");
        while self.waiting().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let (host, database) = (host_cpu() - host, bench.base.postgres.cpu() - database);
        let us = |spent: Duration| spent.as_secs_f64() * 1e6 / tasks as f64;
        Drained {
            per_second: tasks as f64 / seconds,
            host_us: us(host),
            database_us: us(database),
            by_kind: per_task(&spent, &backends.sample(&bench.base.postgres).await, tasks as f64),
        }
    }

    async fn waiting(&self) -> bool {
        let sql = "select exists (select from hostler.task where lane = $1)";
        sqlx::query_scalar(sql).bind(self.lane).fetch_one(&self.pool).await.expect("an answer")
    }

    pub(crate) async fn end(self, bench: &Bench) {
        self.pool.close().await;
        bench.base.drop_database(&self.name).await;
    }
}

pub(crate) async fn start(bench: &Bench, url: &str) -> Host {
    let config = HostConfig { cache_dir: Some(cache()), ..config(url, &bench.plugins, bench.slots()) };
    Host::start(config).await.expect("a host")
}

/// Drains without and with the burden in turns; the first of each warms up.
pub(crate) async fn compare(bench: &Bench, without: &Stage, with: &Stage) -> Value {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..=bench.rounds() {
        let (a, b) = (without.drain(bench, bench.tasks()).await, with.drain(bench, bench.tasks()).await);
        if round > 0 {
            first.push(a);
            second.push(b);
        }
    }
    ratios(&first, &second)
}

/// The medians of both, and how the second relates to the first.
pub(crate) fn ratios(without: &[Drained], with: &[Drained]) -> Value {
    let middle = |many: &[Drained], what: fn(&Drained) -> f64| median(many.iter().map(what).collect());
    let pair = |what: fn(&Drained) -> f64, digits| {
        let (a, b) = (middle(without, what), middle(with, what));
        json!({ "without": round(a, digits), "with": round(b, digits), "ratio": round(b / a, 3) })
    };
    let mut figures = json!({
        "drain_per_second": pair(|d| d.per_second, 0),
        "host_cpu_us_per_task": pair(|d| d.host_us, 1),
        "database_cpu_us_per_task": pair(|d| d.database_us, 1),
    });
    let kinds: BTreeSet<&str> = without.iter().chain(with).flat_map(|d| d.by_kind.keys().copied()).collect();
    for kind in kinds {
        let middle =
            |many: &[Drained]| median(many.iter().filter_map(|d| d.by_kind.get(kind).copied()).collect());
        figures["database_by_kind"][kind] = json!({ "without": middle(without), "with": middle(with) });
    }
    figures
}
