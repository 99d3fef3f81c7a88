//! A pooled connection while somebody uses it.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;

use super::super::ANSWER_MAX;
use super::super::error::StoreError;

/// One connection out of a pool. Back there it is asked once more whether it lives, as the pool does with each; the
/// pool alone would wait for that answer for ever, and where a network fell silent it would be short of one connection
/// until the system gave it up, a quarter of an hour later.
#[derive(Debug)]
pub struct Lent {
    conn: PoolConnection<Postgres>,
    given_up: bool,
}

/// The next free connection of this pool.
///
/// # Errors
/// [`StoreError::Database`]: none was free within the pool's time limit, or none could be opened.
pub async fn lend(pool: &PgPool) -> Result<Lent, StoreError> {
    Ok(pool.acquire().await?.into())
}

impl Lent {
    /// It may answer no more: it is closed instead of being used again.
    pub fn give_up(&mut self) {
        self.given_up = true;
    }
}

impl From<PoolConnection<Postgres>> for Lent {
    fn from(conn: PoolConnection<Postgres>) -> Self {
        Self { conn, given_up: false }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.given_up {
            return self.conn.close_on_drop();
        }
        // Hidden in the pool's documentation, but there for this. Where no runtime is, dropping it closes.
        let back = self.conn.return_to_pool();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(ANSWER_MAX, back));
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
