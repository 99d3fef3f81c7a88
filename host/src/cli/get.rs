//! `hostler get`.

use std::time::Duration;

use clap::Args;

use crate::task::TaskId;

use super::database::{Need, with_client};
use super::exit::Exit;
use super::{Context, input, wait};

/// Waits for a task's result and prints it as JSON.
///
/// If there is none, the error is on stderr and the exit code says what kind it is.
#[derive(Debug, Args)]
pub(super) struct Get {
    /// The task's id.
    id: TaskId,
    /// How long to wait; without, for ever. 0s looks once.
    #[arg(long, value_name = "DURATION", value_parser = input::duration)]
    timeout: Option<Duration>,
}

impl Get {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        with_client(context, Need::Existing, async |client| {
            wait::print_result(client, self.id, self.timeout).await
        })
        .await
    }
}
