//! `hostler rerun`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::client::RerunError;
use crate::task::{ErrorCode, Retrieval, TaskError, TaskId};

use super::database::{Need, with_client};
use super::exit::Exit;
use super::{Context, input, output, wait};

/// Sends a final task once more, with the same arguments, as a new task that names it as its parent.
///
/// Prints the new task's id; with --wait, its result as `get` does.
#[derive(Debug, Args)]
pub(super) struct Rerun {
    /// The final task's id.
    id: TaskId,
    /// Waits for the new task's result.
    #[arg(long)]
    wait: bool,
    /// How long to wait; without, for ever.
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = input::duration)]
    timeout: Option<Duration>,
}

impl Rerun {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        with_client(context, Need::Existing, async |client| {
            let handle = client.rerun(self.id).await?;
            match (self.wait, context.json()) {
                (true, _) => wait::print_result(client, handle.id(), self.timeout).await,
                (false, true) => output::line(json!({ "task_id": handle.id(), "parent": self.id })),
                (false, false) => output::line(handle.id()),
            }
        })
        .await
    }
}

impl From<RerunError> for Exit {
    fn from(error: RerunError) -> Self {
        let words = error.to_string();
        match error {
            RerunError::NotFound(_) => TaskError::new(ErrorCode::from(Retrieval::TaskNotFound), words).into(),
            RerunError::Broker(error) => error.into(),
            RerunError::Send(error) => error.into(),
            _ => Self::refused(words),
        }
    }
}
