//! `hostler send`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use crate::client::{Client, Include, SendErrorCode, TaskHandle};

use super::database::{Need, with_client};
use super::exit::Exit;
use super::{Context, input, output, wait};

/// Sends a task and prints its id; with --wait, its result.
///
/// When it returns, the task is on disk: it runs as soon as a host that serves it is there.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// The task's full name, such as text.word_count.
    task: String,
    /// Its arguments: JSON, @FILE, or - for stdin. Without, {}.
    #[arg(value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    args: Option<String>,
    /// Due no sooner than this from now, such as 10s or 1h30m.
    #[arg(long, value_name = "DURATION", value_parser = input::duration)]
    delay: Option<Duration>,
    /// Never started at or after this: an instant (RFC 3339), or a duration from now.
    #[arg(long, value_name = "TIME", value_parser = input::instant)]
    good_until: Option<DateTime<Utc>>,
    /// The queue it stands in.
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// From 1, which comes first, to 100.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i16).range(1..=100))]
    priority: i16,
    /// Idempotency key: the same command with the same key is the same task.
    #[arg(long)]
    key: Option<String>,
    /// Failed attempts that are tried again, over the plugin's own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=20))]
    retries: Option<u32>,
    /// Accepts a name that no host has published: the task waits until one does. Arguments go unchecked.
    #[arg(long)]
    allow_unpublished: bool,
    /// Waits for the result, as `get` does.
    #[arg(long)]
    wait: bool,
    /// How long to wait; without, for ever.
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = input::duration)]
    timeout: Option<Duration>,
}

impl Send {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let args = context.signals.or(input::arguments(self.args.as_deref())).await?;
        with_client(context, Need::Create, async |client| {
            let handle = self.send(client, &args).await?;
            tell_if_nobody_serves(&handle).await;
            match (self.wait, context.json()) {
                (true, _) => wait::print_result(client, handle.id(), self.timeout).await,
                (false, true) => output::line(json!({ "task_id": handle.id() })),
                (false, false) => output::line(handle.id()),
            }
        })
        .await
    }

    async fn send(&self, client: &Client, args: &Value) -> Result<TaskHandle<Value>, Exit> {
        let mut send = client.task(self.task.as_str()).priority(self.priority);
        if let Some(delay) = self.delay {
            send = send.delay(delay);
        }
        if let Some(instant) = self.good_until {
            send = send.good_until(instant);
        }
        if let Some(queue) = &self.queue {
            send = send.queue(queue);
        }
        if let Some(key) = &self.key {
            send = send.key(key);
        }
        if let Some(retries) = self.retries {
            send = send.retries(retries);
        }
        if self.allow_unpublished {
            send = send.unpublished();
        }
        match send.send(args).await {
            // The answer may have been lost after the commit; the same id again is the same task.
            Err(error)
                if error.code == SendErrorCode::EnqueueFailed
                    && error.payload.is_some()
                    && error.retryable =>
            {
                Ok(client.retry_send(&error).await?)
            }
            sent => Ok(sent?),
        }
    }
}

/// The task is safe either way, so a look that fails is not worth a word.
async fn tell_if_nobody_serves(handle: &TaskHandle<Value>) {
    if let Ok(Some(info)) = handle.info(Include::empty()).await
        && info.hosts_serving == 0
        && !info.status.is_final()
    {
        let name = info.task_name;
        output::note(format!(
            "no host serves {name} now: the task waits until one does, such as `hostler serve`"
        ));
    }
}
