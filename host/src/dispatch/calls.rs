//! What a running guest asks of this host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::sandbox::HostCalls;
use crate::store::{ANSWER_MAX, Doorbell, Kept, PgPool, SentChild, StoreError, within};
use crate::task::{Claim, NewChild, Session, TaskId};

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
    doorbell: Doorbell,
    /// Statements run with the host's other ones: a guest's threads may be busy.
    runtime: Handle,
    /// How far it says it is, until the next poll writes it down: a flood of reports costs one write.
    reported: Mutex<Option<(f32, String)>>,
    /// Whether the log has it that something failed: a guest may ask again for as long as it likes.
    failed: Arc<AtomicBool>,
}

impl Calls {
    pub(super) fn of(shift: &Arc<Shift>, claim: &Claim) -> Self {
        Self {
            session: shift.session(),
            task: claim.id,
            claim: claim.number,
            lease: shift.lease().clone(),
            pool: shift.guests_pool().clone(),
            doorbell: shift.shared().doorbell.clone(),
            runtime: Handle::current(),
            reported: Mutex::default(),
            failed: Arc::default(),
        }
    }

    pub(super) fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// The claim that every write is fenced by.
    pub(super) fn held(&self) -> (Session, TaskId, i64) {
        (self.session, self.task, self.claim)
    }

    /// Asks the database from the host's own threads. Started at once; what nobody waits for any more still ends, and
    /// so does what a connection that fell silent was asked: there are few of them, for all guests together.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send + 'static {
        let (asked, failed, task) =
            (self.runtime.spawn(within(ANSWER_MAX, question)), self.failed.clone(), self.task);
        async move { asked.await.map_err(|_| CLOSING.to_owned())?.map_err(|error| told(&error, task, &failed)) }
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
        let (pool, task) = (self.pool(), self.task);
        self.ask(async move { crate::store::recall(&pool, task, &name).await }).boxed()
    }

    fn keep(&self, name: String, value: Vec<u8>) -> BoxFuture<'static, Result<(), String>> {
        let (pool, held) = (self.pool(), self.held());
        let asked = self.ask(async move { crate::store::keep(&pool, held, &name, &value).await });
        async move {
            match asked.await? {
                Kept::Yes => Ok(()),
                Kept::Full => Err("the task keeps as many steps as it may".to_owned()),
                Kept::Lost => Err(LOST.to_owned()),
            }
        }
        .boxed()
    }

    fn send(&self, child: NewChild) -> BoxFuture<'static, Result<String, String>> {
        let (pool, held, doorbell) = (self.pool(), self.held(), self.doorbell.clone());
        let asked = self.ask(async move {
            let sent = crate::store::send_child(&pool, held, &child).await?;
            if let SentChild::Yes(_, Some(lane)) = sent {
                doorbell.lanes(vec![lane]);
            }
            Ok(sent)
        });
        async move {
            match asked.await? {
                SentChild::Yes(id, _) => Ok(id.to_string()),
                SentChild::Lost => Err(LOST.to_owned()),
                SentChild::Refused(why) => Err(why),
            }
        }
        .boxed()
    }
}

/// What a guest is told whose attempt has been given to somebody else.
pub(super) const LOST: &str = "the attempt is no longer this host's";
const CLOSING: &str = "the host is closing";

/// A guest learns that storage failed, and nothing about the database.
fn told(error: &StoreError, task: TaskId, failed: &AtomicBool) -> String {
    match failed.swap(true, Ordering::Relaxed) {
        false => tracing::warn!(%task, %error, "what a guest asked of the database failed"),
        true => tracing::debug!(%task, %error, "what a guest asked of the database failed again"),
    }
    "storage failed; try again".to_owned()
}
