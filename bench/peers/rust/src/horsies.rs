//! horsies (Rust). It has no bulk path: many senders at once on its connection pool come nearest.

use std::time::Duration;

use ::horsies::{AppConfig, Horsies as App, TaskError, TaskFunction, TaskResult, WorkerConfig};
use sqlx::PgPool;

use crate::peer::{Payload, Peer, Running, started};

/// Sends at once; its pool has 30 connections by default.
const SENDERS: usize = 30;

#[::horsies::task("noop")]
async fn noop(_input: Payload) -> Result<i32, TaskError> {
    started();
    Ok(0)
}

pub(crate) struct Horsies {
    _app: App,
    send: TaskFunction<Payload, i32>,
}

fn app(url: &str) -> (App, TaskFunction<Payload, i32>) {
    let mut app = App::new(AppConfig::for_database_url(url)).expect("an app");
    let send = noop::register(&mut app).expect("registered");
    (app, send)
}

impl Peer for Horsies {
    async fn prepare(url: &str) {
        let broker = app(url).0.get_broker().await.expect("a broker");
        broker.migrate().await.expect("a schema");
    }

    async fn connect(url: &str) -> Horsies {
        let (app, send) = app(url);
        app.get_broker().await.expect("a broker");
        Horsies { _app: app, send }
    }

    async fn send_many(&self, count: usize) {
        let senders = (0..SENDERS).map(|sender| {
            let send = self.send.clone();
            tokio::spawn(async move {
                for _ in (sender..count).step_by(SENDERS) {
                    send.send(Payload::new()).await.expect("sent");
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.expect("all sent");
        }
    }

    async fn send_one(&self) -> Option<Running> {
        let handle = self.send.send(Payload::new()).await.expect("sent");
        Some(Box::pin(async move {
            match handle.get(Some(Duration::from_secs(30))).await {
                TaskResult::Ok(_) => {}
                TaskResult::Err(error) => panic!("no result: {error:?}"),
            }
        }))
    }

    async fn worker(url: &str) -> Running {
        let (app, _) = app(url);
        // More at once, or a prefetch buffer, changes nothing: the database is what it waits for.
        let config = WorkerConfig { concurrency: 16, ..WorkerConfig::default() };
        Box::pin(async move { app.run_worker_with(config).await.expect("a worker") })
    }

    async fn all_final(&self, pool: &PgPool, count: usize) -> bool {
        let done =
            sqlx::query_scalar::<_, i64>("select count(*) from horsies_task_history").fetch_one(pool).await;
        usize::try_from(done.expect("a count")).is_ok_and(|done| done >= count)
    }
}
