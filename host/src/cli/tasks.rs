//! `hostler tasks`.

use clap::Args;
use serde_json::{Value, json};

use crate::client::ListedTask;

use super::database::{Need, with_client};
use super::exit::Exit;
use super::{Context, output};

/// Lists the task names that hosts have published, who serves them now, and what waits.
#[derive(Debug, Args)]
pub(super) struct Tasks {}

impl Tasks {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let tasks = with_client(context, Need::Existing, async |client| Ok(client.tasks().await?)).await?;
        if context.json() {
            let tasks: Vec<Value> = tasks.iter().map(to_json).collect();
            return output::line(Value::from(tasks));
        }
        if tasks.is_empty() {
            output::note("no host has published any task in this database; start one with `hostler serve`");
        }
        let row = |task: &ListedTask| {
            let hosts = match task.published_at {
                Some(_) => task.hosts.to_string(),
                None => "never published".to_owned(),
            };
            let description = task.description.lines().next().unwrap_or_default().to_owned();
            vec![task.name.clone(), hosts, task.pending.to_string(), task.running.to_string(), description]
        };
        let head = ["TASK", "HOSTS", "PENDING", "RUNNING", "DESCRIPTION"];
        output::table(&head, tasks.iter().map(row).collect())
    }
}

fn to_json(task: &ListedTask) -> Value {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    json!({
        "name": task.name,
        "description": task.description,
        "published_at": task.published_at,
        "hosts": task.hosts,
        "pending": task.pending,
        "running": task.running,
        "args_schema": parsed(&task.args_schema),
        "result_schema": parsed(&task.result_schema),
        "policy": parsed(&task.policy),
    })
}
