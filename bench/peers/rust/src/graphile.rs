//! graphile_worker (Rust), as its own `benches/perf_test.rs` sets it up.

use std::time::Duration;

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, Worker, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use sqlx::PgPool;

use crate::peer::{Payload, Peer, Running, started};

pub(crate) struct Graphile {
    utils: WorkerUtils,
}

impl TaskHandler for Payload {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        started();
        Ok::<(), String>(())
    }
}

/// Jobs in one call of `add_raw_jobs`.
const BATCH: usize = 1_000;

async fn worker(url: &str, connections: u32) -> Worker {
    let options = WorkerOptions::default()
        .database_url(url)
        .max_pg_conn(connections)
        .schema("graphile_worker")
        .concurrency(500)
        .poll_interval(Duration::from_millis(5))
        .local_queue(LocalQueueConfig::default().with_size(5_000))
        .complete_job_batch_delay(Duration::from_millis(5))
        .define_job::<Payload>();
    options.init().await.expect("a worker")
}

impl Peer for Graphile {
    async fn prepare(url: &str) {
        worker(url, 2).await.create_utils().migrate().await.expect("a schema");
    }

    async fn connect(url: &str) -> Graphile {
        Graphile { utils: worker(url, 2).await.create_utils() }
    }

    async fn send_many(&self, count: usize) {
        let job = RawJobSpec {
            identifier: Payload::IDENTIFIER.to_owned(),
            payload: serde_json::to_value(Payload::new()).expect("JSON"),
            spec: JobSpec::default(),
        };
        let mut left = count;
        while left > 0 {
            let jobs = vec![job.clone(); left.min(BATCH)];
            self.utils.add_raw_jobs(&jobs).await.expect("sent");
            left -= jobs.len();
        }
    }

    async fn send_one(&self) -> Option<Running> {
        self.utils.add_job(Payload::new(), JobSpec::default()).await.expect("sent");
        None
    }

    async fn worker(url: &str) -> Running {
        let worker = worker(url, 20).await;
        Box::pin(async move { worker.run().await.expect("a worker") })
    }

    async fn all_final(&self, pool: &PgPool, _: usize) -> bool {
        let left = sqlx::query_scalar("select exists (select from graphile_worker._private_jobs)");
        !left.fetch_one(pool).await.unwrap_or(true)
    }
}
