//! Waiting for a task, as `get` and `--wait` do.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::client::{Client, Include, TaskHandle, TaskInfo};
use crate::task::{TaskError, TaskId};

use super::exit::Exit;
use super::output::{self, Spinner};

/// Between two looks at what a spinner shows.
const LOOK: Duration = Duration::from_millis(500);

/// Waits, and prints the result as the task wrote it.
pub(super) async fn print_result(client: &Client, id: TaskId, timeout: Option<Duration>) -> Result<(), Exit> {
    let result = result(&client.handle(id), timeout).await?;
    output::line(result.get())
}

/// Waits, with a spinner where a person looks on.
pub(super) async fn result(
    handle: &TaskHandle<Box<RawValue>>,
    timeout: Option<Duration>,
) -> Result<Box<RawValue>, TaskError> {
    tokio::select! {
        biased;
        answer = handle.get(timeout) => answer,
        never = show(handle) => never,
    }
}

async fn show<T>(handle: &TaskHandle<Box<RawValue>>) -> T {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let spinner = Spinner::start(format!("waiting for {}", handle.id()));
    loop {
        tokio::time::sleep(LOOK).await;
        if let Ok(Some(info)) = handle.info(Include::empty()).await {
            spinner.say(story(&info));
        }
    }
}

fn story(info: &TaskInfo) -> String {
    let mut words = format!("{} {}", info.task_name, info.status);
    if info.attempt > 1 {
        words += &format!(", attempt {}", info.attempt);
    }
    if let Some(progress) = &info.progress {
        words += &format!(", {:.0} % {}", progress.fraction * 100.0, progress.note);
    }
    if info.hosts_serving == 0 {
        words += ", no host serves it";
    }
    words
}
