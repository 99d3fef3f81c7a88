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
        words += &format!(" {} {:.0} % {}", bar(progress.fraction), progress.fraction * 100.0, progress.note);
    }
    if info.hosts_serving == 0 {
        words += ", no host serves it";
    }
    words
}

/// A fraction from 0 to 1 as a bar of 20 characters.
fn bar(fraction: f32) -> String {
    let full = (1..=20).filter(|step| f64::from(fraction) * 20.0 >= f64::from(*step)).count();
    format!("{}{}", "█".repeat(full), "░".repeat(20 - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_with_the_fraction() {
        let full = |fraction| bar(fraction).chars().filter(|c| *c == '█').count();
        assert_eq!([0.0, 0.04, 0.05, 0.5, 0.99, 1.0].map(full), [0, 0, 1, 10, 19, 20]);
        assert_eq!(bar(0.3).chars().count(), 20);
    }
}
