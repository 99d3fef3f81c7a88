//! One command on its way into the database: written, keyed, repeated.

use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::store::{ANSWER_MAX, KeyOutcome, NewTask, SendOptions, StoreError};
use crate::task::TaskId;

use super::error::{SendError, SendErrorCode, SendPayload};
use super::{Client, TaskHandle};

const ARGS_BYTES_WARN: usize = 1 << 20;

/// A send is repeated by itself this often, after a pause that doubles.
const RESENDS_MAX: u32 = 3;
const RESEND_PAUSE: Duration = Duration::from_millis(200);
const RESEND_PAUSE_MAX: Duration = Duration::from_secs(2);

/// A failed send is repeated up to this long after its first try. History is kept for a day at least, so
/// within this time a first try that did commit is still on record, even if its task is final: the repeat
/// finds it and runs nothing twice.
const RETRY_SEND_MAX: Duration = Duration::from_secs(12 * 3600);

/// Repeats a failed send with the same id.
pub(super) async fn retry(
    client: &Client,
    error: &SendError,
) -> Result<TaskHandle<serde_json::Value>, SendError> {
    let payload = match &error.payload {
        Some(payload) if error.code == SendErrorCode::EnqueueFailed => payload,
        None if error.code == SendErrorCode::EnqueueFailed => {
            return Err(invalid(
                "what was sent with many others is not repeated alone; none of them was sent, \
                or all were: look one up, or send them one by one with ids of your own",
            ));
        }
        _ => return Err(invalid(format!("a send that failed with {} is not repeated", error.code))),
    };
    let age = age(payload.task.id);
    if age > RETRY_SEND_MAX {
        let hours = age.as_secs() / 3600;
        return Err(invalid(format!(
            "the first try is {hours} hours old; its task may be done and forgotten by now: send it anew"
        )));
    }
    let command = SendPayload::clone(payload);
    let id = commit(client, command, true).await?;
    Ok(TaskHandle::new(client.clone(), id, Some(payload.name.to_string()), None))
}

/// Writes one command and rings for it; repeats what failed for a passing reason, if the client is set so.
/// `again`: it may have been sent before.
pub(super) async fn commit(
    client: &Client,
    mut command: SendPayload,
    again: bool,
) -> Result<TaskId, SendError> {
    let mut sent = once(client, &mut command, again).await;
    let mut pause = RESEND_PAUSE;
    for _ in 0..if client.inner.settings.resend { RESENDS_MAX } else { 0 } {
        match &sent {
            Err(error) if error.code == SendErrorCode::EnqueueFailed && error.retryable => {
                tracing::debug!(%error, "a send failed; it is repeated");
            }
            _ => break,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RESEND_PAUSE_MAX);
        sent = once(client, &mut command, true).await;
    }
    if sent.is_ok() {
        ring(client, &command.options);
    }
    sent
}

async fn once(client: &Client, command: &mut SendPayload, again: bool) -> Result<TaskId, SendError> {
    resolve(client, command).await?;
    let store = &client.inner.store;
    let failed = |error: StoreError| {
        store.distrust();
        SendError::enqueue(&error).with_payload(command.clone())
    };
    if command.key.is_none() && !command.own_id && !again {
        // Nobody has this id yet: one statement is enough.
        match store.insert(&command.options, std::slice::from_ref(&command.task)).await {
            // A role whose transactions see the past: ours, below, do not.
            Err(StoreError::Isolated) => {}
            sent => return sent.map(|()| command.task.id).map_err(failed),
        }
    }
    let mut conn = crate::store::lend(store.pool()).await.map_err(failed)?;
    let writing = async {
        let mut tx = crate::store::begin(&mut conn).await.map_err(failed)?;
        // A first try without a key was the one statement above, and may still be on its way.
        let late = command.own_id || (again && command.key.is_none());
        let id = write(&mut tx, command, window_seconds(client), true, late).await?;
        tx.commit().await.map_err(|e| failed(e.into()))?;
        Ok(id)
    };
    let answer = tokio::time::timeout(ANSWER_MAX, writing).await;
    let written = answer.unwrap_or_else(|_| Err(failed(StoreError::no_answer(ANSWER_MAX))));
    if written.as_ref().is_err_and(|error| error.code == SendErrorCode::EnqueueFailed) {
        store.distrust();
        // It may answer no more, and must not commit what is repeated elsewhere.
        conn.give_up();
    }
    written
}

/// Checks a command against what its task's plugin published, and completes it from there. What was complete
/// stays as it is: a repeated command must not become another one because a plugin was changed meanwhile.
///
/// # Errors
/// An `ENQUEUE_FAILED` of this step can be repeated like one of the insert: it carries the command.
pub(super) async fn resolve(client: &Client, command: &mut SendPayload) -> Result<(), SendError> {
    let repeatable = |error: SendError, command: &SendPayload| match error.code {
        SendErrorCode::EnqueueFailed => error.with_payload(command.clone()),
        _ => error,
    };
    let catalogue = &client.inner.catalogue;
    if command.kind.is_none() {
        let entry = catalogue.task(&command.name, command.unpublished).await;
        let entry = entry.map_err(|error| repeatable(error, command))?;
        let entry = catalogue.validate(&command.name, entry, &command.task.args).await;
        let entry = entry.map_err(|error| repeatable(error, command))?;
        let redeliveries = command.redeliveries.or(entry.policy.redeliveries).unwrap_or(3);
        let retries = command
            .options
            .max_retries
            .map_or(entry.policy.max_retries.unwrap_or(0), |n| n.unsigned_abs().into());
        if redeliveries == 0 && retries > 0 {
            return Err(invalid(
                "redeliveries = 0 means never start twice, which retries would do: set retries to 0",
            ));
        }
        let lane = catalogue.lane(entry.kind, command.queue.as_str(), command.priority).await;
        command.options.lane = lane.map_err(|e| repeatable(SendError::enqueue(&e), command))?;
        command.options.redeliveries_max = i16::try_from(redeliveries).unwrap_or(i16::MAX);
        command.options.keep_input = command.keep_input.or(entry.policy.keep_input).unwrap_or(true);
        command.kind = Some(entry.kind);
        command.task.fingerprint = fingerprint(command.name.as_str(), &command.options, &command.task.args);
    }
    Ok(())
}

/// Inserts a command that may have been sent before through this connection, taking its key first; `durable` and
/// `late` as in the store's `insert_again`.
pub(super) async fn write(
    conn: &mut crate::store::PgConnection,
    command: &SendPayload,
    window_seconds: i32,
    durable: bool,
    late: bool,
) -> Result<TaskId, SendError> {
    let failed = |error: StoreError| SendError::enqueue(&error).with_payload(command.clone());
    let NewTask { id, fingerprint, .. } = command.task;
    if let Some(key) = &command.key {
        let kind = command.kind.expect("only a resolved command is written");
        let taken = crate::store::take_key(conn, kind, key, id, fingerprint, window_seconds).await;
        match taken.map_err(failed)? {
            KeyOutcome::Taken => {}
            KeyOutcome::Same(id) => return Ok(id),
            KeyOutcome::Other(holder) => {
                let message = format!(
                    "the key {key:?} was used for another command, task {holder}; use another key or send the same"
                );
                let mut error = SendError::refused(SendErrorCode::KeyConflict, message);
                error.task_id = Some(holder);
                return Err(error);
            }
        }
    }
    let tasks = std::slice::from_ref(&command.task);
    let new = crate::store::insert_again(conn, &command.options, tasks, durable, late).await;
    let new = new.map_err(failed)?;
    if new.is_empty() {
        // The id was there: the same command is a success, whatever became of it since.
        let stored = crate::store::fingerprint(conn, id).await.map_err(failed)?;
        if stored != Some(fingerprint) {
            let message = format!("the id {id} belongs to another command");
            return Err(
                SendError::refused(SendErrorCode::PayloadMismatch, message).with_payload(command.clone())
            );
        }
    }
    Ok(id)
}

/// Arguments as JSON, within the client's limit.
pub(super) fn encode<A: ?Sized + Serialize>(
    client: &Client,
    task: &str,
    args: &A,
) -> Result<Vec<u8>, SendError> {
    let args = serde_json::to_vec(args).map_err(|e| invalid(format!("the arguments cannot be JSON: {e}")))?;
    let max = client.inner.settings.args_bytes_max;
    if args.len() > max {
        let message = format!(
            "the arguments are {} bytes of JSON, the limit is {max}; send a reference to large data instead",
            args.len()
        );
        return Err(SendError::refused(SendErrorCode::PayloadTooLarge, message));
    }
    if args.len() > ARGS_BYTES_WARN {
        let mut warned = client.inner.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(task.to_owned()) {
            let bytes = args.len();
            tracing::warn!(task, bytes, "large arguments; consider sending a reference to the data");
        }
    }
    Ok(args)
}

pub(super) fn invalid(message: impl Into<String>) -> SendError {
    SendError::refused(SendErrorCode::ValidationFailed, message)
}

pub(super) fn window_seconds(client: &Client) -> i32 {
    i32::try_from(client.inner.settings.key_window.as_secs()).unwrap_or(i32::MAX)
}

/// Of everything that makes one command another.
pub(super) fn fingerprint(name: &str, options: &SendOptions, args: &[u8]) -> i64 {
    finish(head(name, options), args)
}

/// What the fingerprints of one send have in common.
pub(super) fn head(name: &str, options: &SendOptions) -> Sha256 {
    Sha256::new_with_prefix(format!("{name}\0{options:?}\0"))
}

/// A fingerprint from its [`head`].
pub(super) fn finish(head: Sha256, args: &[u8]) -> i64 {
    let digest: [u8; 32] = head.chain_update(args).finalize().into();
    i64::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ])
}

/// Tells hosts where to look.
pub(super) fn ring(client: &Client, options: &SendOptions) {
    client.inner.doorbell.lanes(vec![if options.delay_ms.is_some() { 0 } else { options.lane }]);
}

/// How long ago an id was made, by the clock it was made with.
fn age(id: TaskId) -> Duration {
    let made = id.get_timestamp().map(|at| {
        let (seconds, nanos) = at.to_unix();
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    });
    made.and_then(|made| made.elapsed().ok()).unwrap_or_default()
}
