//! A sender's reference to one task.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use crate::store::Look;
use crate::task::{Ending, Operational, Retrieval, Status, TaskError, TaskId};

use super::error::broker;
use super::{Client, Include, TaskInfo, info};

/// One task, from the sender's side. Cheap to clone; clones share what they learn.
#[derive(Debug)]
pub struct TaskHandle<T> {
    client: Client,
    id: TaskId,
    name: Option<String>,
    /// When this client began to send it, if it is known to have arrived.
    sent_at: Option<Instant>,
    /// The final answer, once it is known: UTF-8 JSON or an error that stays.
    answer: Arc<OnceLock<Result<Vec<u8>, TaskError>>>,
    output: PhantomData<fn() -> T>,
}

impl<T> Clone for TaskHandle<T> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            id: self.id,
            name: self.name.clone(),
            sent_at: self.sent_at,
            answer: self.answer.clone(),
            output: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> TaskHandle<T> {
    pub(super) fn new(client: Client, id: TaskId, name: Option<String>, sent_at: Option<Instant>) -> Self {
        Self { client, id, name, sent_at, answer: Arc::default(), output: PhantomData }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The task's id; keep it to look the task up later, from any process.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The task's full name, if the handle came from a send.
    #[must_use]
    pub fn task_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Waits for the result: for ever with `None`, else until the time is over, with one last look.
    ///
    /// A final answer is kept on the handle: asking again costs no query. Cancel-safe.
    ///
    /// # Errors
    /// [`TaskError`]; its family says what to do. `WAIT_TIMEOUT` (with `timeout_ms` and the last known
    /// `status` in `data`), `TASK_NOT_FOUND` and `BROKER_ERROR` are not final and are never kept: ask again.
    /// `TASK_CANCELLED`, `TASK_EXPIRED`, `RESULT_NOT_AVAILABLE`, `RESULT_DESERIALIZATION_ERROR` and every
    /// error of the task's own are final.
    pub async fn get(&self, timeout: Option<Duration>) -> Result<T, TaskError> {
        let json = match self.answer.get() {
            Some(answer) => answer.clone()?,
            None => self.wait(timeout).await?,
        };
        serde_json::from_slice(&json).map_err(|error| {
            let message = format!("the result does not fit the type that was asked for: {error}");
            let error = TaskError::new(Operational::ResultDeserializationError, message);
            error.with_data(json!({ "expected": std::any::type_name::<T>() }))
        })
    }

    /// Metadata, without waiting; `None` if the id is unknown. Two queries, three with attempts.
    ///
    /// # Errors
    /// `BROKER_ERROR` alone.
    pub async fn info(&self, include: Include) -> Result<Option<TaskInfo>, TaskError> {
        info::read(&self.client.inner.store, self.id, include).await.map_err(broker)
    }

    /// Cancels the task. A PENDING one is cancelled when this returns; a RUNNING one is told, interrupted in
    /// its sandbox after a grace period, and ends `CANCELLED` unless it completes first: then this returns
    /// `RUNNING`. A final task stays as it is.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `BROKER_ERROR`.
    pub async fn cancel(&self) -> Result<Status, TaskError> {
        let cancelled = self.client.inner.store.cancel(self.id).await.map_err(broker)?;
        let cancelled = cancelled.ok_or_else(|| self.not_found())?;
        if let Some(session) = cancelled.session {
            self.client.inner.doorbell.cancel(session);
        }
        if cancelled.ended {
            self.client.inner.doorbell.done(vec![self.id]);
        }
        Ok(cancelled.status)
    }

    /// Tells hosts about a task that was sent inside a transaction, after its commit; without, they find it
    /// within a second.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND` (not committed, perhaps), `BROKER_ERROR`.
    pub async fn wake(&self) -> Result<(), TaskError> {
        let lane = self.client.inner.store.lane_of(self.id).await.map_err(broker)?;
        let lane = lane.ok_or_else(|| self.not_found())?;
        self.client.inner.doorbell.lanes(vec![lane]);
        Ok(())
    }

    async fn wait(&self, timeout: Option<Duration>) -> Result<Vec<u8>, TaskError> {
        // Registered before the row is read: a task that becomes final in between is heard of.
        let mut waiting = self.client.inner.waiters.register(self.id);
        let ends = timeout.map(|timeout| Instant::now() + timeout);
        let waiters = &self.client.inner.waiters;
        let status = match self.sent_at.is_some_and(|sent_at| waiters.heard_nothing_of(self.id, sent_at)) {
            true => Status::Pending,
            false => match self.look().await? {
                Looked::Final(answer) => return answer,
                Looked::Live(status) => status,
            },
        };
        let look = match ends {
            None => waiting.done().await,
            Some(ends) => match tokio::time::timeout_at(ends, waiting.done()).await {
                Ok(look) => look,
                // One last look: the wake may have been lost.
                Err(_) => match self.look().await? {
                    Looked::Final(answer) => return answer,
                    Looked::Live(status) => return Err(self.timed_out(timeout, status)),
                },
            },
        };
        match self.judge(look) {
            Looked::Final(answer) => answer,
            // Waiters are told of final tasks alone.
            Looked::Live(_) => Err(self.timed_out(timeout, status)),
        }
    }

    async fn look(&self) -> Result<Looked, TaskError> {
        match self.client.inner.looks.look(self.id).await? {
            Some(look) => Ok(self.judge(look)),
            None => Err(self.not_found()),
        }
    }

    /// Turns what was seen into an answer, and keeps a final one.
    fn judge(&self, look: Look) -> Looked {
        let answer = match (look.status, look.result, look.error) {
            (Status::Pending | Status::Running, ..) => return Looked::Live(look.status),
            (Status::Completed, Some(result), _) => Ok(result),
            (Status::Failed, _, Some(error)) => Err(error),
            (Status::Cancelled, ..) => Err(TaskError::new(Ending::TaskCancelled, "the task was cancelled")),
            (Status::Expired, ..) => {
                Err(TaskError::new(Ending::TaskExpired, "the task's good_until passed before it could start"))
            }
            (status, ..) => Err(TaskError::new(
                Retrieval::ResultNotAvailable,
                format!("the task is {status}, but its payload is no longer stored"),
            )),
        };
        Looked::Final(self.answer.get_or_init(|| answer).clone())
    }

    fn not_found(&self) -> TaskError {
        TaskError::new(Retrieval::TaskNotFound, format!("no task has the id {}", self.id))
    }

    fn timed_out(&self, timeout: Option<Duration>, status: Status) -> TaskError {
        let ms = u64::try_from(timeout.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let message = format!("the task is {status} after {ms} ms of waiting; it may still run, ask again");
        TaskError::new(Retrieval::WaitTimeout, message)
            .with_data(json!({ "timeout_ms": ms, "status": status }))
    }
}

enum Looked {
    Final(Result<Vec<u8>, TaskError>),
    Live(Status),
}
