//! The settler: writes verdicts, as many as wait at once, each fenced by its own claim.
//!
//! Alone, a verdict waits for nobody. Where many come, the next batch gathers while one is being written, and
//! a small one waits a moment for more: a statement costs as much as some eighty of its rows, and with several
//! hosts on one database each of them would otherwise write many small ones. The moment is longer while tasks
//! wait for a slot: what counts then is how many are done, and a slot is free before its verdict is written. What cannot be
//! written because the database is away is held and tried again until the session is over; then the fence
//! would refuse it anyway. A verdict whose data the database can never take is found by halving its batch,
//! and replaced by an error that says so; if not even that can be written, or the task is final already, it is dropped.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::store::{PgConnection, Role, Settle, Settled, StoreError, within};
use crate::task::verdict::Verdict;
use crate::task::{Operational, TaskError};

use super::shift::Shift;

/// The largest batch: beyond it contention grows, and nothing is gained.
const BATCH_MAX: usize = 128;
/// Verdicts are written together up to this many bytes; one alone may be larger.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// A batch that follows one of at least this many is one of a stream, and waits for company…
const STREAM: usize = 16;
/// …until it has this many…
const COMPANY: usize = 64;
/// …or this long…
const LINGER: Duration = Duration::from_millis(2);
/// …and so long while more tasks wait than there are slots for.
const LINGER_BEFORE_BACKLOG: Duration = Duration::from_millis(20);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Settles until the session is over and nothing more comes.
pub(super) async fn settle_until_over(shift: Arc<Shift>, mut finished: mpsc::UnboundedReceiver<Settle>) {
    let mut settler = Settler { shift: shift.clone(), conn: None };
    let mut held: Vec<Settle> = Vec::new();
    let mut before = 0;
    loop {
        if held.is_empty() {
            let some = tokio::select! {
                biased;
                some = finished.recv_many(&mut held, BATCH_MAX) => some,
                () = shift.over.cancelled() => 0,
            };
            if some == 0 {
                return;
            }
        }
        if before >= STREAM {
            let linger = if shift.hints.backlog() { LINGER_BEFORE_BACKLOG } else { LINGER };
            gather(&mut finished, &mut held, linger).await;
        }
        before = held.len();
        let rest = held.split_off(whole_batch(&held));
        settler.write(std::mem::replace(&mut held, rest)).await;
    }
}

/// Waits a moment for more to be written with these.
async fn gather(finished: &mut mpsc::UnboundedReceiver<Settle>, held: &mut Vec<Settle>, linger: Duration) {
    let until = Instant::now() + linger;
    while held.len() < COMPANY {
        let more = finished.recv_many(held, BATCH_MAX - held.len());
        if !matches!(tokio::time::timeout_at(until, more).await, Ok(1..)) {
            return;
        }
    }
}

/// How many of these fit into one batch; at least one.
fn whole_batch(held: &[Settle]) -> usize {
    let mut bytes = 0;
    let fits = held.iter().take_while(|settle| {
        bytes += settle.bytes();
        bytes <= BATCH_BYTES_MAX
    });
    fits.count().max(1)
}

struct Settler {
    shift: Arc<Shift>,
    conn: Option<PgConnection>,
}

impl Settler {
    /// Writes these verdicts, however long it takes, unless the session ends before.
    async fn write(&mut self, settles: Vec<Settle>) {
        let (completed, others): (Vec<_>, Vec<_>) = settles.into_iter().partition(Settle::completes);
        let mut batches: Vec<_> = [others, completed].into_iter().filter(|batch| !batch.is_empty()).collect();
        let mut pause = PAUSE_MIN;
        while let Some(mut batch) = batches.pop() {
            let mut asked = self.ask(&batch).await;
            if let Err(error) = &asked
                && error.is_data_error()
                && let [settle] = &mut batch[..]
            {
                let error = error.to_string();
                match self.drop_double(settle).await {
                    Ok(true) => {
                        tracing::error!(
                            task.id = %settle.claim.id,
                            "the task was final already; it is removed, and its first end stays"
                        );
                        self.give_up(batch);
                        continue;
                    }
                    Ok(false) if is_replacement(settle) => {
                        tracing::error!(
                            task.id = %settle.claim.id, error,
                            "nothing can be stored for this task, not even that; what its attempt produced is dropped"
                        );
                        self.give_up(batch);
                        continue;
                    }
                    Ok(false) => {
                        tracing::error!(task.id = %settle.claim.id, error, "a verdict cannot be stored");
                        settle.verdict = unstorable(error);
                        settle.log_tail.clear();
                        batches.push(batch);
                        continue;
                    }
                    Err(failed) => asked = Err(failed),
                }
            }
            match asked {
                Ok(answers) => {
                    pause = PAUSE_MIN;
                    self.answered(&batch, &answers);
                }
                Err(error) if error.is_data_error() && batch.len() > 1 => {
                    let half = batch.split_off(batch.len() / 2);
                    batches.extend([half, batch]);
                }
                Err(error) => {
                    if self.shift.over.is_cancelled() {
                        return self.give_up(batches.into_iter().flatten().chain(batch));
                    }
                    tracing::warn!(%error, held = batch.len(), "a settle failed; it is tried again");
                    self.shift.reach.doubt();
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.shift.over.cancelled() => {}
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                    batches.push(batch);
                }
            }
        }
    }

    async fn ask(&mut self, batch: &[Settle]) -> Result<Vec<Settled>, StoreError> {
        let mut conn = self.conn().await?;
        let settling = crate::store::settle(&mut conn, self.shift.session(), batch);
        let answers = within(self.shift.shared().config.lease, settling).await;
        // After a refusal of its data a connection is as good as before; after anything else it is not.
        if answers.as_ref().map_or_else(StoreError::is_data_error, |_| true) {
            self.conn = Some(conn);
        }
        answers
    }

    async fn drop_double(&mut self, settle: &Settle) -> Result<bool, StoreError> {
        let mut conn = self.conn().await?;
        let dropping = crate::store::drop_double(&mut conn, self.shift.session(), settle);
        let dropped = within(self.shift.shared().config.lease, dropping).await?;
        self.conn = Some(conn);
        Ok(dropped)
    }

    async fn conn(&mut self) -> Result<PgConnection, StoreError> {
        match self.conn.take() {
            Some(conn) => Ok(conn),
            None => crate::store::conn(&self.shift.shared().connect, Role::Hot).await,
        }
    }

    fn answered(&self, batch: &[Settle], answers: &[Settled]) {
        let mut done = Vec::new();
        let mut lanes = Vec::new();
        let mut waits = false;
        for (settle, answer) in batch.iter().zip(answers) {
            match answer {
                Settled::Written { status, .. } if status.is_final() => done.push(settle.claim.id),
                Settled::Written { place: Some((lane, pos)), .. } if *lane != 0 => lanes.push((*lane, *pos)),
                Settled::Written { .. } => waits = true,
                Settled::ClaimLost => tracing::warn!(
                    task.id = %settle.claim.id, attempt = settle.claim.attempt,
                    "the claim was lost; what the attempt produced is dropped"
                ),
            }
            self.shift.end(settle.claim.id, settle.claim.number);
        }
        let doorbell = &self.shift.shared().doorbell;
        if !done.is_empty() {
            doorbell.done(done);
        }
        if !lanes.is_empty() {
            doorbell.lanes(lanes.iter().map(|(lane, _)| *lane).collect());
            self.shift.hints.found(lanes);
        }
        if waits {
            // Another waiting task may now be the first one due.
            self.shift.poll_now.notify_one();
        }
    }

    fn give_up(&self, settles: impl IntoIterator<Item = Settle>) {
        for settle in settles {
            self.shift.end(settle.claim.id, settle.claim.number);
        }
    }
}

/// Whether a verdict stands for one that could not be stored.
fn is_replacement(settle: &Settle) -> bool {
    matches!(&settle.verdict, Verdict::Fail(error) if error.code == Operational::WorkerSerializationError.into())
}

fn unstorable(cause: String) -> Verdict {
    let message = "what the attempt produced cannot be stored in the database";
    Verdict::Fail(TaskError::new(Operational::WorkerSerializationError, message).with_cause(cause))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settle(verdict: Verdict, log_tail: usize) -> Settle {
        let claim = crate::task::Claim {
            id: uuid::Uuid::nil(),
            number: 1,
            task: "some.task".to_owned(),
            attempt: 1,
            retries: 0,
            redeliveries: 0,
            releases: 0,
            redeliveries_max: 3,
            max_retries: None,
            good_until: None,
            claimed_at: chrono::DateTime::default(),
            previous_error: None,
            args: Vec::new(),
        };
        Settle { claim, verdict, used: None, plugin: None, log_tail: "x".repeat(log_tail) }
    }

    #[test]
    fn whatever_is_written_together_counts() {
        let mib = 1 << 20;
        let data = || json!("x".repeat(mib));
        let error = || TaskError::new(Operational::UnhandledError, "x");
        let kinds: [&dyn Fn() -> Settle; 4] = [
            &|| settle(Verdict::Complete(vec![b'x'; mib]), 0),
            &|| settle(Verdict::Complete(Vec::new()), mib),
            &|| settle(Verdict::Fail(error().with_data(data())), 0),
            &|| settle(Verdict::Retry(error().with_cause("x".repeat(mib)), Duration::ZERO), 0),
        ];
        for kind in kinds {
            let held: Vec<Settle> = (0..9).map(|_| kind()).collect();
            assert_eq!(whole_batch(&held), 3);
        }
        assert_eq!(whole_batch(&[settle(Verdict::Cancel, 5 * mib)]), 1, "one alone may be larger");
    }
}
