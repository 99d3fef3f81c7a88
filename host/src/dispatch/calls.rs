//! What a running guest asks of this host.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::sandbox::HostCalls;
use crate::store::{Kept, PgPool, StoreError};
use crate::task::{Claim, Session, TaskId};

use super::clock::Lease;
use super::shift::Shift;

/// What one attempt may ask for. It knows its claim, and can write nothing without it.
#[derive(Debug)]
pub(super) struct Calls {
    session: Session,
    task: TaskId,
    claim: i64,
    lease: Arc<Lease>,
    pool: PgPool,
    /// Statements run with the host's other ones: a guest's threads may be busy.
    runtime: Handle,
    /// How far it says it is, until the next poll writes it down: a flood of reports costs one write.
    reported: Mutex<Option<(f32, String)>>,
}

impl Calls {
    pub(super) fn of(shift: &Arc<Shift>, claim: &Claim) -> Self {
        Self {
            session: shift.session(),
            task: claim.id,
            claim: claim.number,
            lease: shift.lease().clone(),
            pool: shift.guests_pool().clone(),
            runtime: Handle::current(),
            reported: Mutex::default(),
        }
    }

    /// What was reported since the last call.
    pub(super) fn reported(&self) -> Option<(f32, String)> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl HostCalls for Calls {
    fn progress(&self, fraction: f64, note: &str) {
        #[expect(clippy::cast_possible_truncation, reason = "a fraction needs no more digits than are shown")]
        let fraction = fraction.clamp(0.0, 1.0) as f32;
        // NaN survives the clamp, and NUL has no place in a text column.
        let fraction = if fraction.is_nan() { 0.0 } else { fraction };
        let note = note.replace('\0', "\u{fffd}");
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = Some((fraction, note));
    }

    fn may_act(&self) -> bool {
        self.lease.holds()
    }

    fn recall(&self, name: String) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>> {
        let (pool, task) = (self.pool.clone(), self.task);
        let asked = self.runtime.spawn(async move { crate::store::recall(&pool, task, &name).await });
        async move { asked.await.map_err(|_| CLOSING.to_owned())?.map_err(|error| told(&error)) }.boxed()
    }

    fn keep(&self, name: String, value: Vec<u8>) -> BoxFuture<'static, Result<(), String>> {
        let (pool, held) = (self.pool.clone(), (self.session, self.task, self.claim));
        let asked = self.runtime.spawn(async move { crate::store::keep(&pool, held, &name, &value).await });
        async move {
            match asked.await.map_err(|_| CLOSING.to_owned())? {
                Ok(Kept::Yes) => Ok(()),
                Ok(Kept::Full) => Err("the task keeps as many steps as it may".to_owned()),
                Ok(Kept::Lost) => Err("the attempt is no longer this host's".to_owned()),
                Err(error) => Err(told(&error)),
            }
        }
        .boxed()
    }
}

const CLOSING: &str = "the host is closing";

/// A guest learns that storage failed, and nothing about the database.
fn told(error: &StoreError) -> String {
    tracing::warn!(%error, "a guest's step could not be kept or read");
    "storage failed; try again".to_owned()
}
