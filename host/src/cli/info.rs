//! `hostler info`.

use std::fmt::Display;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use crate::client::{Include, TaskAttempt, TaskInfo};
use crate::task::{Retrieval, TaskError, TaskId};

use super::database::{Need, with_client};
use super::exit::Exit;
use super::{Context, output};

/// Shows what is known of a task, without waiting.
#[derive(Debug, Args)]
pub(super) struct Info {
    /// The task's id.
    id: TaskId,
    /// With its result.
    #[arg(long)]
    result: bool,
    /// With its whole error, if it failed.
    #[arg(long)]
    reason: bool,
    /// With its closed attempts, newest first.
    #[arg(long)]
    attempts: bool,
    /// With its attempts and the last lines each of them wrote.
    #[arg(long)]
    logs: bool,
    /// With its arguments, where they are kept.
    #[arg(long)]
    input: bool,
}

impl Info {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let wanted = [
            (self.result, Include::RESULT),
            (self.reason, Include::FAILED_REASON),
            (self.attempts || self.logs, Include::ATTEMPTS),
            (self.input, Include::INPUT),
        ];
        let include = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, include)| include).collect();
        let found = with_client(context, Need::Existing, async |client| {
            let handle = client.handle::<serde_json::Value>(self.id);
            Ok(handle.info(include).await?)
        });
        let Some(mut info) = found.await? else {
            return Err(
                TaskError::new(Retrieval::TaskNotFound, format!("no task has the id {}", self.id)).into()
            );
        };
        if !self.logs {
            info.attempts.iter_mut().flatten().for_each(|attempt| attempt.log_tail = None);
        }
        match context.json() {
            true => output::line(serde_json::to_string(&info).unwrap_or_default()),
            false => show(&info),
        }
    }
}

fn show(info: &TaskInfo) -> Result<(), Exit> {
    let row = |name: &str, value: &dyn Display| output::line(format_args!("{name:<12}{value}"));
    let maybe = |name: &str, value: Option<String>| value.map_or(Ok(()), |value| row(name, &value));
    row("task", &info.task_id)?;
    row("name", &info.task_name)?;
    let cancel = if info.cancel_requested { " (cancel requested)" } else { "" };
    row("status", &format!("{}{cancel}", info.status))?;
    maybe("progress", info.progress.as_ref().map(|p| format!("{:.0} % {}", p.fraction * 100.0, p.note)))?;
    row("queue", &format!("{}, priority {}", info.queue, info.priority))?;
    maybe("parent", info.parent.map(|parent| parent.to_string()))?;
    row("attempts", &info.attempt)?;
    row("retries", &format!("{} of {}", info.retry_count, info.max_retries))?;
    if info.redeliveries > 0 || info.releases > 0 {
        row("host lost", &format!("{} of {} times", info.redeliveries, info.redeliveries_max))?;
        row("given back", &format!("{} times", info.releases))?;
    }
    row("sent", &instant(info.sent_at))?;
    maybe("due", info.run_at.map(instant))?;
    maybe("next retry", info.next_retry_at.map(instant))?;
    maybe("good until", info.good_until.map(instant))?;
    maybe("started", info.started_at.map(instant))?;
    maybe("completed", info.completed_at.map(instant))?;
    maybe("ended", info.failed_at.map(instant))?;
    maybe(
        "host",
        info.host.as_ref().map(|host| match (&host.hostname, host.pid) {
            (Some(name), Some(pid)) => format!("{} ({name}, process {pid})", host.id),
            _ => host.id.clone(),
        }),
    )?;
    maybe("plugin", info.plugin.as_ref().map(|p| format!("{} {} ({:.12})", p.name, p.version, p.digest)))?;
    if !info.status.is_final() {
        row("served by", &format!("{} hosts", info.hosts_serving))?;
    }
    maybe("error", info.error_code.clone())?;
    let json = |value| serde_json::to_string(value).unwrap_or_default();
    maybe(
        "reason",
        info.failed_reason.as_ref().map(|reason| serde_json::to_string(reason).unwrap_or_default()),
    )?;
    maybe("input", info.input.as_ref().map(json))?;
    maybe("result", info.result.as_ref().map(json))?;
    info.attempts.iter().flatten().try_for_each(|attempt| output::line(story(attempt)))
}

/// One attempt, in a line of its own and one for each line that it wrote.
pub(super) fn story(attempt: &TaskAttempt) -> String {
    let took = (attempt.finished_at - attempt.started_at).to_std().unwrap_or_default();
    let took = output::duration(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
    let mut text = format!("#{} {} after {took}", attempt.attempt, attempt.outcome);
    if let Some(code) = &attempt.error_code {
        text += &format!(" {code}");
    }
    if let Some(message) = &attempt.error_message {
        text += &format!(": {message}");
    }
    if attempt.will_retry {
        text += " (tried again)";
    }
    if let Some(used) = attempt.used {
        let memory = output::size(used.memory_bytes_peak);
        text += &format!(" [cpu {} ms, memory {memory}]", used.cpu_ms);
    }
    for line in attempt.log_tail.iter().flat_map(|tail| tail.lines()) {
        text += &format!("\n     {line}");
    }
    text
}

fn instant(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
