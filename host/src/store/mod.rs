//! The rows: the only room that knows SQL.
//!
//! Each statement is a file of `host/sql`, named for its verb, with one function here that runs it. Every
//! statement is one round trip and a transaction of its own, so nobody sleeps holding a lock; only a send
//! inside the caller's own transaction and a send with a key take more.
//!
//! A task is in exactly one of two tables: `task` until it is final, `history` from then on.

mod cancel;
mod claim;
mod connect;
mod error;
mod gauge;
mod host;
mod key;
mod list;
mod lookup;
mod migrate;
mod publish;
mod read;
mod send;
mod settle;
mod upkeep;
mod wake;

pub use cancel::Cancelled;
pub use claim::{Claimed, Mark, claim, fence};
use connect::Trust;
pub use connect::{Connect, Role, answer_within, conn, pool};
pub use error::StoreError;
pub use gauge::{Counters, Drained};
pub use host::{HostRow, Observation, Poll, beat, cancels_seen, declare_lost, join, leave, poll};
pub use key::{KeyOutcome, take_key};
pub use list::{About, ListedHost, ListedTask};
pub use lookup::{Kind, Lane, ServedLane};
pub use migrate::{SCHEMA_VERSION, migrate, refuse_newer, schema_version};
pub use publish::{Offer, Published, publish, serve};
pub use read::{AttemptRow, Look, TaskRow};
pub use send::{ANSWER_MAX, NewTask, SendOptions, fingerprint, insert, insert_again};
pub use settle::{Settle, Settled, settle};
pub use sqlx::{PgConnection, PgPool, Postgres, Transaction};
pub use upkeep::{Pruned, Recovered, drop_day, expire, make_partitions, progress, promote, prune, recover};
pub use wake::{Doorbell, Listener, Wake, channel, pack_ids, unpack_ids};

/// The rows, through pools of connections.
#[derive(Debug, Clone)]
pub struct Store {
    /// For what is read of history, and what runs in transactions: planned with the values at hand.
    pool: PgPool,
    /// For the few statements that everybody waits for, planned once.
    hot: PgPool,
    trust: Trust,
}

impl Store {
    /// A store over one open pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { hot: pool.clone(), pool, trust: Trust::default() }
    }

    /// A store that keeps connections for sends and waits apart from those for the rest; up to so many of
    /// each, opened when they are first needed.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`].
    pub async fn open(connect: &Connect, connections_max: u32) -> Result<Self, StoreError> {
        // A first connection, so that a wrong address is told now.
        pool(connect, 1).await?.close().await;
        let trust = Trust::default();
        let open = |role| connect::pool_of(connect, connections_max, role, trust.clone());
        Ok(Self { pool: open(Role::Cold), hot: open(Role::Hot), trust })
    }

    /// A connection may have broken: others that have not been used since are asked before they are.
    pub fn distrust(&self) {
        self.trust.lost();
    }

    /// What an error of a statement means; a broken connection is remembered.
    fn failed(&self, error: sqlx::Error) -> StoreError {
        let broken = match &error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
            // The server ends connections with these when it is stopped or told to.
            sqlx::Error::Database(said) => {
                said.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
            }
            _ => false,
        };
        if broken {
            self.trust.lost();
        }
        StoreError::from_query(error)
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
        sqlx::query::<sqlx::Postgres>(include_str!(concat!("../../sql/", $name, ".sql")))
    };
}
use sql;
