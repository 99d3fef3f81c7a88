//! Sending, with options.

use std::borrow::Borrow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostler_guest::TaskRef;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::store::{self, ANSWER_MAX, NewTask, SendOptions, StoreError, within};
use crate::task::{QueueName, TaskId, TaskName};

use super::command::{commit, encode, finish, head, invalid, resolve, ring, window_seconds, write};
use super::error::{SendError, SendErrorCode, SendPayload};
use super::{Client, TaskHandle};

/// Rows are streamed in pieces of about so many bytes: they fit into a socket's buffer, so that the server works on
/// one while the next is made.
const PIECE_BYTES: usize = 128 << 10;
/// What a row takes beside its arguments.
const ROW_BYTES: usize = 128;

/// A send with options; see [`Client::task`].
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until send(), send_many() or send_in() is called"]
pub struct Send<'c, R> {
    client: &'c Client,
    task: R,
    id: Option<TaskId>,
    delay: Option<Duration>,
    good_until: Option<DateTime<Utc>>,
    queue: Option<String>,
    priority: i16,
    key: Option<String>,
    retries: Option<u32>,
    redeliveries: Option<u32>,
    keep_input: Option<bool>,
    unpublished: bool,
    parent: Option<TaskId>,
}

impl<'c, R: TaskRef> Send<'c, R> {
    pub(super) fn new(client: &'c Client, task: R) -> Self {
        Self {
            client,
            task,
            id: None,
            delay: None,
            good_until: None,
            queue: None,
            priority: 50,
            key: None,
            retries: None,
            redeliveries: None,
            keep_input: None,
            unpublished: false,
            parent: None,
        }
    }

    pub(super) fn client(&self) -> &'c Client {
        self.client
    }

    pub(super) fn parent(mut self, parent: TaskId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Under this id, a UUIDv7 of the caller's making, for instance one that was written down before. The
    /// same command under the same id is the same task. Refused if its time is more than a day away from the
    /// database's clock: the id decides where the task's story is kept.
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = Some(id);
        self
    }

    /// Due no sooner than this from now, by the database's clock.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Never started at or after this instant, retries included; then it ends `EXPIRED`.
    pub fn good_until(mut self, instant: DateTime<Utc>) -> Self {
        self.good_until = Some(instant);
        self
    }

    /// Into this queue instead of `default`.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// From 1, which comes first, to 100; 50 unless set.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Idempotency key, per task name: while its task is live, and for a window after, the same command
    /// with the same key is that task, and another command with it is refused.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How many failed attempts are followed by another one, over the plugin's own number; at most 20.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// How many lost hosts the task survives, over the plugin's own number. 0: it never starts twice.
    pub fn redeliveries(mut self, redeliveries: u32) -> Self {
        self.redeliveries = Some(redeliveries);
        self
    }

    /// Whether the arguments are kept once the task is final.
    pub fn keep_input(mut self, keep: bool) -> Self {
        self.keep_input = Some(keep);
        self
    }

    /// Accepts a name that no host has published: it waits until one does. Arguments go unchecked.
    pub fn unpublished(mut self) -> Self {
        self.unpublished = true;
        self
    }

    /// Sends. When it returns, the task is on disk.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send(self, args: impl Borrow<R::Args>) -> Result<TaskHandle<R::Output>, SendError> {
        let args = encode(self.client, self.task.name(), args.borrow())?;
        self.send_bytes(args).await
    }

    /// Sends arguments that are JSON already, to the byte.
    pub(super) async fn send_bytes(self, args: Vec<u8>) -> Result<TaskHandle<R::Output>, SendError> {
        // A key or an id of the caller's own may lead to a task that was sent, and ended, long before.
        let began = (self.key.is_none() && self.id.is_none()).then(Instant::now);
        let id = self.commit(args).await?;
        Ok(self.handle(id, began))
    }

    /// Sends many, in one transaction.
    ///
    /// # Errors
    /// As [`Client::send_many`]; a key is refused with `VALIDATION_FAILED`.
    pub async fn send_many<I>(self, many: I) -> Result<Vec<TaskHandle<R::Output>>, SendError>
    where
        I: IntoIterator,
        I::Item: Borrow<R::Args>,
    {
        if self.key.is_some() || self.id.is_some() {
            return Err(invalid("a key or an id names one task; send them one by one"));
        }
        let rows = &self.client.inner.store;
        let failed = |error: StoreError| {
            rows.distrust();
            SendError::enqueue(&error)
        };
        let mut many = many.into_iter().peekable();
        let Some(first) = many.peek() else { return Ok(Vec::new()) };
        let first = self.encode(first.borrow())?;
        let mut command = self.draft(first)?;
        resolve(self.client, &mut command).await.map_err(SendError::without_payload)?;
        let catalogue = &self.client.inner.catalogue;
        let entry = catalogue.task(&command.name, self.unpublished).await?;
        // From here on with this one connection: a second one may not be there.
        let mut conn = store::lend(rows.sends()).await.map_err(failed)?;
        let began = Instant::now();
        let head = head(command.name.as_str(), &command.options);
        let mut handles = Vec::new();
        let mut next = || {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while bytes < PIECE_BYTES
                && let Some(args) = many.next()
            {
                let args = self.encode(args.borrow())?;
                entry.check(&command.name, &args)?;
                let fingerprint = finish(head.clone(), &args);
                let task = NewTask { id: uuid::Uuid::now_v7(), args, fingerprint };
                bytes += ROW_BYTES + task.args.len();
                handles.push(self.handle(task.id, Some(began)));
                batch.push(task);
            }
            Ok::<_, SendError>(batch)
        };
        let mut batch = next()?;
        let mut sending = async || {
            let mut tx = within(ANSWER_MAX, store::begin(&mut conn)).await.map_err(failed)?;
            let begun = within(ANSWER_MAX, store::Bulk::begin(&mut tx, &command.options)).await;
            let mut bulk = begun.map_err(failed)?;
            while !batch.is_empty() {
                within(ANSWER_MAX, bulk.send(&batch)).await.map_err(failed)?;
                batch = next()?;
            }
            within(ANSWER_MAX, bulk.finish()).await.map_err(failed)?;
            within(ANSWER_MAX, async { Ok(tx.commit().await?) }).await.map_err(failed)
        };
        let sent = sending().await;
        if sent.as_ref().is_err_and(|error| error.code == SendErrorCode::EnqueueFailed) {
            // It may answer no more.
            conn.give_up();
        }
        sent?;
        ring(self.client, &command.options);
        Ok(handles)
    }

    /// Sends inside the caller's own transaction.
    ///
    /// # Errors
    /// As [`Client::send_in`].
    pub async fn send_in(
        self,
        tx: &mut sqlx::PgConnection,
        args: impl Borrow<R::Args>,
    ) -> Result<TaskHandle<R::Output>, SendError> {
        let mut command = self.draft(self.encode(args.borrow())?)?;
        resolve(self.client, &mut command).await?;
        if command.key.is_some() || command.own_id {
            store::sees_present(tx)
                .await
                .map_err(|error| SendError::enqueue(&error).with_payload(command.clone()))?;
        }
        let id = write(tx, &command, window_seconds(self.client), false, command.own_id).await?;
        // It may never be committed: a wait for it has to look.
        Ok(self.handle(id, None))
    }

    async fn commit(&self, args: Vec<u8>) -> Result<TaskId, SendError> {
        let command = self.draft(args)?;
        commit(self.client, command, false).await
    }

    fn handle<T: DeserializeOwned>(&self, id: TaskId, sent_at: Option<Instant>) -> TaskHandle<T> {
        TaskHandle::new(self.client.clone(), id, Some(self.task.name().to_owned()), sent_at)
    }

    fn encode(&self, args: &R::Args) -> Result<Vec<u8>, SendError> {
        encode(self.client, self.task.name(), args)
    }

    /// The command as it was asked for, checked as far as that goes without the database.
    fn draft(&self, args: Vec<u8>) -> Result<SendPayload, SendError> {
        let name = TaskName::new(self.task.name()).map_err(|e| invalid(e.to_string()))?;
        let queue = match &self.queue {
            Some(queue) => QueueName::new(queue).map_err(|e| invalid(e.to_string()))?,
            None => QueueName::default(),
        };
        if !(1..=100).contains(&self.priority) {
            return Err(invalid(format!("priority {} is not between 1 and 100", self.priority)));
        }
        if self.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 255 || key.contains('\0')) {
            return Err(invalid("a key has 1 to 255 bytes, none of them NUL"));
        }
        if self.id.is_some_and(|id| id.get_version_num() != 7) {
            return Err(invalid("an id is a UUIDv7: its time decides where the task's story is kept"));
        }
        if self.retries.is_some_and(|n| n > 20) || self.redeliveries.is_some_and(|n| n > 1_000) {
            return Err(invalid("retries are at most 20, redeliveries at most 1000"));
        }
        // A century is as good as never, and keeps the sum within the database's calendar.
        let delay_ms = self.delay.map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
        if delay_ms.is_some_and(|ms| ms > 3_155_760_000_000) {
            return Err(invalid("a delay is at most 100 years"));
        }
        if self.client.inner.settings.suppress_sends {
            let message = "sends are suppressed, by the client's settings or HOSTLER_SUPPRESS_SENDS";
            return Err(SendError::refused(SendErrorCode::SendSuppressed, message));
        }
        Ok(SendPayload {
            name,
            queue,
            priority: self.priority,
            redeliveries: self.redeliveries,
            keep_input: self.keep_input,
            unpublished: self.unpublished,
            kind: None,
            task: NewTask { id: self.id.unwrap_or_else(uuid::Uuid::now_v7), args, fingerprint: 0 },
            options: SendOptions {
                lane: 0,
                delay_ms,
                good_until: self.good_until,
                redeliveries_max: 0,
                max_retries: self.retries.and_then(|n| i16::try_from(n).ok()),
                keep_input: true,
                parent: self.parent,
            },
            key: self.key.clone(),
            own_id: self.id.is_some(),
        })
    }
}
