//! A final task once more.

use serde_json::Value;

use crate::task::{Status, TaskError, TaskId};

use super::error::broker;
use super::{Client, SendError, TaskHandle};

/// Why a task was not sent once more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RerunError {
    /// No task has this id.
    #[error("no task has the id {0}")]
    NotFound(TaskId),
    /// The task may still bring a result of its own.
    #[error("the task {id} is {status}; only a final task is sent once more")]
    NotFinal {
        /// Which task.
        id: TaskId,
        /// Where it stands.
        status: Status,
    },
    /// The task was sent, or its plugin written, with `keep_input = false`.
    #[error("the arguments of the task {0} were not kept; send it anew")]
    InputNotKept(TaskId),
    /// The database could not be asked about it.
    #[error(transparent)]
    Broker(TaskError),
    /// The new task was refused, for instance because the task's schema has changed since.
    #[error(transparent)]
    Send(#[from] SendError),
}

pub(super) async fn rerun(client: &Client, id: TaskId) -> Result<TaskHandle<Value>, RerunError> {
    let row = client.inner.store.info(id, false, true).await.map_err(|e| RerunError::Broker(broker(e)))?;
    let row = row.ok_or(RerunError::NotFound(id))?;
    if !row.status.is_final() {
        return Err(RerunError::NotFinal { id, status: row.status });
    }
    // The very bytes: JSON that goes through a value may come out with other numbers.
    let args = row.args.ok_or(RerunError::InputNotKept(id))?;
    let mut again = client
        .task(row.task_name)
        .queue(row.queue)
        .priority(row.priority)
        .redeliveries(row.redeliveries_max)
        .keep_input(true)
        .unpublished()
        .parent(id);
    if let Some(retries) = row.max_retries {
        again = again.retries(retries);
    }
    Ok(again.send_bytes(args).await?)
}

impl<T: serde::de::DeserializeOwned> TaskHandle<T> {
    /// Sends this task's arguments once more, as a new task; see [`Client::rerun`].
    ///
    /// # Errors
    /// As [`Client::rerun`].
    pub async fn rerun(&self) -> Result<TaskHandle<T>, RerunError> {
        let again = rerun(self.client(), self.id()).await?;
        Ok(TaskHandle::new(self.client().clone(), again.id(), again.task_name().map(str::to_owned), None))
    }
}
