//! awa on its queue storage: COPY in, receipts for claims. The runner sets how completions are batched.

use std::time::Duration;

use ::awa::worker::TransitionWorkerRole;
use ::awa::{
    Client, InsertOpts, InsertParams, JobArgs, JobContext, JobError, JobResult, QueueConfig, QueueStorage,
    QueueStorageConfig, Worker, migrations,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::peer::{self, Payload, Peer, Running, started};

const QUEUE: &str = "bench";
/// Jobs in one COPY.
const BATCH: usize = 10_000;
/// The default, and what its own benchmark runs with.
const QUEUE_ROTATE: Duration = Duration::from_millis(1_000);
const LEASE_ROTATE: Duration = Duration::from_millis(50);

/// Everything that counts as completed. Its own `queue_counts` joins claims with their closures, which takes longer than
/// the drain.
const DONE: &str = "
    select ((select coalesce(sum(completed_count), 0) from awa.receipt_completion_batches)
          + (select coalesce(sum(pruned_completed_count), 0) from awa.queue_terminal_rollups)
          + (select count(*) from awa.done_entries))::bigint";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Noop(Payload);

impl JobArgs for Noop {
    fn kind() -> &'static str {
        "noop"
    }
}

struct NoopWorker;

#[async_trait::async_trait]
impl Worker for NoopWorker {
    fn kind(&self) -> &'static str {
        Noop::kind()
    }

    async fn perform(&self, _: &JobContext) -> Result<JobResult, JobError> {
        started();
        Ok(JobResult::Completed)
    }
}

pub(crate) struct Awa {
    pool: PgPool,
    store: QueueStorage,
}

impl Awa {
    fn jobs(count: usize) -> Vec<InsertParams> {
        let opts = InsertOpts { queue: QUEUE.into(), ..InsertOpts::default() };
        let job = ::awa::model::insert::params_with(&Noop(Payload::new()), opts).expect("a job");
        vec![job; count]
    }
}

impl Peer for Awa {
    async fn prepare(url: &str) {
        let pool = peer::pool(url, 2).await;
        migrations::run(&pool).await.expect("a schema");
        let store = QueueStorage::new(QueueStorageConfig::default()).expect("a store");
        store.install(&pool).await.expect("queue storage");
    }

    async fn connect(url: &str) -> Awa {
        let store = QueueStorage::new(QueueStorageConfig::default()).expect("a store");
        Awa { pool: peer::pool(url, 2).await, store }
    }

    async fn send_many(&self, count: usize) {
        let mut left = count;
        while left > 0 {
            let jobs = Awa::jobs(left.min(BATCH));
            self.store.enqueue_params_copy(&self.pool, &jobs).await.expect("sent");
            left -= jobs.len();
        }
    }

    async fn send_one(&self) -> Option<Running> {
        self.store.enqueue_params_batch(&self.pool, &Awa::jobs(1)).await.expect("sent");
        None
    }

    async fn worker(url: &str) -> Running {
        let pool = peer::pool(url, 20).await;
        let queue = QueueConfig {
            max_workers: 2_048,
            poll_interval: Duration::from_millis(50),
            // Only jobs without a deadline go the short way, through receipts.
            deadline_duration: Duration::ZERO,
            ..QueueConfig::default()
        };
        let client = Client::builder(pool)
            .queue(QUEUE, queue)
            .queue_storage(QueueStorageConfig::default(), QUEUE_ROTATE, LEASE_ROTATE)
            .transition_role(TransitionWorkerRole::QueueStorageTarget)
            .register_worker(NoopWorker)
            .build()
            .expect("a client");
        Box::pin(async move {
            client.start().await.expect("a worker");
            std::future::pending().await
        })
    }

    async fn all_final(&self, pool: &PgPool, count: usize) -> bool {
        let done: i64 = sqlx::query_scalar(DONE).fetch_one(pool).await.expect("a count");
        usize::try_from(done).is_ok_and(|done| done >= count)
    }
}
