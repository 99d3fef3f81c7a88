//! The rows: the only room that knows SQL.
//!
//! Each statement is a file of `host/sql`, named for its verb, with one function here that runs it. Every
//! statement is one round trip and a transaction of its own, so nobody sleeps holding a lock; only a send
//! inside the caller's own transaction and a send with a key take more.
//!
//! A task is in exactly one of two tables: `task` until it is final, `history` from then on.

mod bulk;
mod cancel;
mod checkpoint;
mod child;
mod claim;
mod connect;
mod error;
mod gauge;
mod host;
mod hub;
mod key;
mod list;
mod lookup;
mod migrate;
mod publish;
mod quarantine;
mod read;
mod send;
mod settle;
mod strays;
mod upkeep;
mod value;
mod wake;

pub use bulk::Bulk;
pub use cancel::Cancelled;
pub use checkpoint::{Kept, keep, recall, sweep};
pub use child::{SentChild, send_child, sweep_families};
pub use claim::{Claimed, Mark, adopt, claim, fence};
use connect::Trust;
pub use connect::{Between, Connect, Lent, Role, aim, between, conn, idle_pool, lend, pool, waits_for_ever};
pub use error::StoreError;
pub use gauge::{Counters, Drained};
pub use host::{Cancel, HostRow, Observation, Poll, beat, cancels_seen, declare_lost, join, leave, poll};
pub use key::{KeyOutcome, take_key};
pub use list::{About, ListedHost, ListedTask};
pub use lookup::{Kind, Lane, ServedLane, served_lanes};
pub use migrate::{SCHEMA_VERSION, migrate, refuse_newer, schema_version};
pub use publish::{Offer, Published, publish, serve};
pub use quarantine::{Barred, Charge, ListedSuspect, charge, strikes, survived};
pub use read::{AttemptRow, Look, TaskRow};
pub use send::{NewTask, SendOptions, begin, fingerprint, insert, insert_again, sees_present};
pub use settle::{Settle, Settled, drop_double, settle};
pub use sqlx::{PgConnection, PgPool, Postgres, Transaction};
pub use strays::{Stretch, claims_lost, strays};
pub use upkeep::{
    Pruned, Recovered, Walked, drop_cancels_left, drop_day, expire, make_partitions, progress, promote,
    prune, recover,
};
pub use value::{BucketMax, ValueKey, Written, add_value, delete_value, set_value, value, value_keys};
pub use wake::{Doorbell, Listener, Wake, channel, pack_ids, unpack_ids};

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use tokio_util::sync::DropGuard;

/// A server that is gone may take long to be found out.
const ACQUIRE_SLOW: Duration = Duration::from_millis(500);

/// A connection whose other end vanished without a word is given up after this long. Until the system notices by
/// itself it takes a quarter of an hour.
pub const ANSWER_MAX: Duration = Duration::from_secs(15);

/// What this statement, or these, answer within this time. What gets no answer may have happened all the same, and
/// its connection must not be used again.
///
/// # Errors
/// [`StoreError::NoAnswer`], and what they say.
pub async fn within<T>(
    time: Duration,
    asks: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(time, asks).await;
    answer.unwrap_or_else(|_| Err(StoreError::no_answer(time)))
}

/// The rows, through pools of connections.
#[derive(Debug, Clone)]
pub struct Store {
    /// For what is read of history, and what runs in transactions: planned with the values at hand.
    pool: PgPool,
    /// For the few statements that everybody waits for, planned once.
    hot: PgPool,
    trust: Trust,
    /// Leads the pools to another server, where there are several.
    following: Option<Arc<DropGuard>>,
}

impl Store {
    /// A store over one open pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { hot: pool.clone(), pool, trust: Trust::default(), following: None }
    }

    /// A store that keeps connections for sends and waits apart from those for the rest; up to so many of
    /// each, opened when they are first needed. Within a runtime only.
    #[must_use]
    pub fn open(connect: &Connect, connections_max: u32) -> Self {
        let trust = Trust::default();
        let open = |role| connect::pool_of(connect, connections_max, role, trust.clone());
        let (pool, hot) = (open(Role::Cold), open(Role::Hot));
        let pools = vec![(pool.clone(), Role::Cold), (hot.clone(), Role::Hot)];
        let following = connect::follow(connect, pools, &trust);
        Self { pool, hot, trust, following }
    }

    /// A connection may have broken: others that have not been used since are asked before they are.
    pub fn distrust(&self) {
        self.trust.lost();
    }

    /// What an error of a statement means; a broken connection is remembered.
    fn failed(&self, error: sqlx::Error) -> StoreError {
        let broken = match &error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
            // The server ends connections with these when it is stopped or told to; or it is no longer the one
            // that takes writes.
            sqlx::Error::Database(said) => said
                .code()
                .is_some_and(|code| code.starts_with("57P") || code.starts_with("08") || code == "25006"),
            sqlx::Error::PoolTimedOut => true,
            _ => false,
        };
        if broken {
            self.trust.lost();
        }
        StoreError::from_query(error)
    }

    /// The rows that one statement answers, on a connection of this pool.
    async fn rows(
        &self,
        pool: &PgPool,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut conn: Lent = pool.acquire().await.map_err(|error| self.failed(error))?.into();
        let asks = async { query.fetch_all(&mut *conn).await.map_err(|error| self.failed(error)) };
        let answer = within(ANSWER_MAX, asks).await;
        if let Err(StoreError::NoAnswer { .. }) = answer {
            conn.give_up();
            self.trust.lost();
        }
        answer
    }

    /// A connection for a send. Where there are several servers, a long wait sets off the search for the one that
    /// takes writes.
    async fn send_conn(&self) -> Result<Lent, StoreError> {
        if self.following.is_none() {
            return lend(&self.hot).await;
        }
        let mut acquiring = std::pin::pin!(lend(&self.hot));
        match tokio::time::timeout(ACQUIRE_SLOW, &mut acquiring).await {
            Ok(acquired) => acquired,
            Err(_) => {
                self.trust.lost();
                acquiring.await
            }
        }
    }

    /// For transactions of keyed and repeated sends, and for reading stories.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// For plain sends, one or many.
    #[must_use]
    pub fn sends(&self) -> &PgPool {
        &self.hot
    }
}

/// Runs the statement in this file of `host/sql`.
macro_rules! sql {
    ($name:literal) => {
        sqlx::query::<sqlx::Postgres>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/sql/",
            $name,
            ".sql"
        )))
    };
}
use sql;
