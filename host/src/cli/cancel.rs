//! `hostler cancel`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::client::{Client, Include};
use crate::task::{ErrorCode, Retrieval, Status, TaskError, TaskId};

use super::database::{Need, with_client};
use super::exit::Exit;
use super::{Context, input, output, wait};

/// Cancels a task, also a running one, and prints its status.
///
/// CANCELLED, or RUNNING if its host has been told and the attempt is about to be interrupted. A task that
/// was final already stays as it is.
#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The task's id.
    id: TaskId,
    /// Waits until the task has ended.
    #[arg(long)]
    wait: bool,
    /// How long to wait; without, for ever.
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = input::duration)]
    timeout: Option<Duration>,
}

impl Cancel {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        with_client(context, Need::Existing, async |client| {
            let mut status = client.cancel(self.id).await?;
            if self.wait && !status.is_final() {
                status = self.end(client).await?;
            }
            let requested = status == Status::Running;
            if context.json() {
                return output::line(
                    json!({ "task_id": self.id, "status": status, "cancel_requested": requested }),
                );
            }
            if requested {
                output::note("cancel requested: its host interrupts the attempt; --wait waits for that");
            }
            output::line(status)
        })
        .await
    }

    /// Waits for the end, whatever it is.
    async fn end(&self, client: &Client) -> Result<Status, TaskError> {
        let handle = client.handle(self.id);
        if let Err(error) = wait::result(&handle, self.timeout).await
            && error.is_transient()
        {
            return Err(error);
        }
        let info = handle.info(Include::empty()).await?;
        let gone = || TaskError::new(ErrorCode::from(Retrieval::TaskNotFound), "the task is gone");
        Ok(info.ok_or_else(gone)?.status)
    }
}
