//! The handle keeps its promises: the conformance suite of sending, waiting and looking up.
//!
//! The names are the sentences of `docs/retrieving-results.md`, `docs/sending.md` and `docs/retries.md`.
//! Every test has a database, a host with the example plugins and a client of its own.

mod blocking;
mod cancel;
mod errors;
mod get;
mod info;
mod progress;
mod quiet;
mod rerun;
mod resend;
mod send;
mod sql;
mod thrift;
pub(crate) mod wire;

use hostler::dispatch::Host;
use hostler::{Client, Include, Status, TaskHandle};
use serde::de::DeserializeOwned;

use crate::support::{Database, LONG, database, host};

struct Stage {
    host: Host,
    client: Client,
    database: Database,
}

impl Stage {
    async fn set() -> Self {
        let database = database();
        let host = host(&database).await;
        let client = database.client().await;
        Self { host, client, database }
    }

    /// The plugins are published, and no host is there.
    async fn deserted() -> Self {
        let stage = Self::set().await;
        let Self { host, client, database } = stage;
        host.drain(LONG).await;
        // A second host that serves another queue alone: names are published, nothing is claimed.
        let config = hostler::dispatch::HostConfig {
            queues: Some(vec!["nobody".to_owned()]),
            ..crate::support::host_config(&database)
        };
        let host = Host::start(config).await.expect("a host");
        Self { host, client, database }
    }

    async fn clear(self) {
        self.host.drain(LONG).await;
    }

    async fn execute(&self, sql: &str) {
        let mut conn = self.database.conn().await;
        sqlx::raw_sql(sql).execute(&mut conn).await.expect(sql);
    }
}

/// Asks until the answer is there.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    // Asking without a pause would take the processor from whoever brings the answer about.
    let mut turns = tokio::time::interval(std::time::Duration::from_millis(5));
    let asking = async {
        loop {
            turns.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(LONG, asking).await.unwrap_or_else(|_| panic!("{what} within a minute"))
}

async fn until_running<T: DeserializeOwned>(handle: &TaskHandle<T>) {
    eventually("a running task", async || {
        let info = handle.info(Include::empty()).await.expect("an answer").expect("known");
        (info.status == Status::Running).then_some(())
    })
    .await;
}
