//! Pools for senders and waiters.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::error::StoreError;
use super::open::{conn, is_standby};
use super::{Connect, Role};

/// A pooled connection that was idle for less is used unasked.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);
/// The same for polls, which go on after one that failed: they use idle connections in turn, and to ask each of them
/// first would double their statements.
const IDLE_TRUSTED_BY_POLLS: Duration = Duration::from_secs(30);
/// A connection that does not say within this time that it lives is replaced.
const LIVES_MAX: Duration = Duration::from_secs(3);
/// Between two looks for the server that takes writes.
const LOOK: Duration = Duration::from_millis(200);

tokio::task_local! {
    static POLLING: ();
}

/// What these statements ask is asked again and again: a broken connection costs them nothing.
pub(in crate::store) async fn as_a_poll<T>(asks: impl Future<Output = T>) -> T {
    POLLING.scope((), asks).await
}

/// Opens a pool, and one connection before it, so that a wrong address is told now.
///
/// # Errors
/// [`StoreError::Unreachable`].
pub async fn pool(connect: &Connect, connections_max: u32) -> Result<PgPool, StoreError> {
    // A pool repeats refused connections for the whole of its time limit.
    let _closed = sqlx::Connection::close(conn(connect, Role::Cold).await?).await;
    Ok(pool_of(connect, connections_max, Role::Cold, Trust::default()))
}

/// A pool of the cold role whose connections are opened when they are needed.
#[must_use]
pub fn idle_pool(connect: &Connect, connections_max: u32) -> PgPool {
    pool_of(connect, connections_max, Role::Cold, Trust::default())
}

/// Lets an idle pool's next connections go to the server that took writes when somebody last connected.
pub fn aim(connect: &Connect, pool: &PgPool) {
    if connect.servers.list.len() > 1 {
        pool.set_connect_options(connect.options(Role::Cold));
    }
}

/// Since when pooled connections are to be asked whether they still lead anywhere, because one of them did not.
/// They break together, as a rule, and each of them would cost somebody a call.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Trust(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lost: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Trust {
    /// A connection turned out to be broken.
    pub(in crate::store) fn lost(&self) {
        *self.0.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.changed.notify_one();
    }

    /// Whether a connection that was idle for so long is used unasked.
    fn in_one_idle_for(&self, idle: Duration) -> bool {
        let lost = *self.0.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let most = POLLING.try_with(|()| IDLE_TRUSTED_BY_POLLS).unwrap_or(IDLE_TRUSTED);
        idle < most && lost.is_none_or(|lost| idle < lost.elapsed())
    }
}

/// A pool whose connections are opened when they are needed.
pub(in crate::store) fn pool_of(connect: &Connect, connections_max: u32, role: Role, trust: Trust) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .min_connections(0)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(Duration::from_secs(300))
        .max_lifetime(Duration::from_secs(1800))
        // A round trip at each use would cost more than it saves; but a connection that has been idle may
        // belong to a server that was restarted or demoted, and each of them would cost somebody a call.
        .test_before_acquire(false)
        .before_acquire(move |conn, meta| {
            let trusted = trust.in_one_idle_for(meta.idle_for);
            Box::pin(async move {
                let asks = tokio::time::timeout(LIVES_MAX, is_standby(conn));
                Ok(trusted || matches!(asks.await, Ok(Ok(false))))
            })
        })
        .connect_lazy_with(connect.options(role))
}

/// Leads pools to the server that takes writes, whenever one of their connections was lost; until it is dropped.
pub(in crate::store) fn follow(
    connect: &Connect,
    pools: Vec<(PgPool, Role)>,
    trust: &Trust,
) -> Option<Arc<DropGuard>> {
    if connect.servers.list.len() < 2 {
        return None;
    }
    let (connect, trust, over) = (connect.clone(), trust.clone(), CancellationToken::new());
    let guard = Arc::new(over.clone().drop_guard());
    let following = async move {
        loop {
            trust.0.changed.notified().await;
            let before = connect.servers.current.load(Ordering::Relaxed);
            while conn(&connect, Role::Cold).await.is_err() {
                sleep(LOOK).await;
            }
            if before != connect.servers.current.load(Ordering::Relaxed) {
                tracing::info!(server = connect.current_place(), "another server takes writes now");
            }
            for (pool, role) in &pools {
                pool.set_connect_options(connect.options(*role));
            }
        }
    };
    tokio::spawn(async move { over.run_until_cancelled(following).await });
    Some(guard)
}
