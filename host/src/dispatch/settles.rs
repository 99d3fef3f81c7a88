//! The settler: writes verdicts, as many as wait at once, each fenced by its own claim.
//!
//! It lingers for nobody: while one batch is being written the next one gathers by itself. What cannot be
//! written because the database is away is held and tried again until the session is over; then the fence
//! would refuse it anyway. A verdict whose data the database can never take is found by halving its batch,
//! and replaced by an error that says so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::store::{PgConnection, Role, Settle, Settled, StoreError, answer_within};
use crate::task::verdict::Verdict;
use crate::task::{Operational, TaskError};

use super::shift::Shift;

/// The largest batch: beyond it contention grows, and nothing is gained.
const BATCH_MAX: usize = 128;
/// Results are written together up to this many bytes; one alone may be larger.
const BATCH_BYTES_MAX: usize = 4 << 20;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Settles until the session is over and nothing more comes.
pub(super) async fn settle_until_over(shift: Arc<Shift>, mut finished: mpsc::UnboundedReceiver<Settle>) {
    let mut settler = Settler { shift: shift.clone(), conn: None };
    let mut held: Vec<Settle> = Vec::new();
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
        let rest = held.split_off(whole_batch(&held));
        settler.write(std::mem::replace(&mut held, rest)).await;
    }
}

/// How many of these fit into one batch; at least one.
fn whole_batch(held: &[Settle]) -> usize {
    let mut bytes = 0;
    let fits = held.iter().take_while(|settle| {
        bytes += match &settle.verdict {
            Verdict::Complete(result) => result.len(),
            _ => settle.log_tail.len(),
        };
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
        let mut batches = vec![settles];
        let mut pause = PAUSE_MIN;
        while let Some(mut batch) = batches.pop() {
            match self.ask(&batch).await {
                Ok(answers) => {
                    pause = PAUSE_MIN;
                    self.answered(&batch, &answers);
                }
                Err(error) if error.is_data_error() && batch.len() > 1 => {
                    let half = batch.split_off(batch.len() / 2);
                    batches.extend([half, batch]);
                }
                Err(error) if error.is_data_error() && replaceable(&batch) => {
                    tracing::error!(task.id = %batch[0].claim.id, %error, "a verdict cannot be stored");
                    batch[0].verdict = unstorable(&error);
                    batch[0].log_tail.clear();
                    batches.push(batch);
                }
                Err(error) => {
                    if self.shift.over.is_cancelled() {
                        return self.give_up(batches.into_iter().flatten().chain(batch));
                    }
                    tracing::warn!(%error, held = batch.len(), "a settle failed; it is tried again");
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
        let open = self.conn.take();
        let asked = async {
            let mut conn = match open {
                Some(conn) => conn,
                None => crate::store::conn(&self.shift.shared().connect, Role::Hot).await?,
            };
            let answers = crate::store::settle(&mut conn, self.shift.session(), batch).await;
            Ok((conn, answers))
        };
        let (conn, answers) = answer_within(self.shift.shared().config.lease, asked).await?;
        // After a refusal of its data a connection is as good as before; after anything else it is not.
        if answers.as_ref().map_or_else(StoreError::is_data_error, |_| true) {
            self.conn = Some(conn);
        }
        answers
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

    fn give_up(&self, settles: impl Iterator<Item = Settle>) {
        for settle in settles {
            self.shift.end(settle.claim.id, settle.claim.number);
        }
    }
}

fn replaceable(batch: &[Settle]) -> bool {
    !matches!(&batch[0].verdict, Verdict::Fail(error) if error.code == Operational::WorkerSerializationError.into())
}

fn unstorable(error: &StoreError) -> Verdict {
    let message = "what the attempt produced cannot be stored in the database";
    Verdict::Fail(
        TaskError::new(Operational::WorkerSerializationError, message).with_cause(error.to_string()),
    )
}
