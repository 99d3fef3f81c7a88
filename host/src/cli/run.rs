//! `hostler run`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

use crate::sandbox::{Call, Plugin, Stop};
use crate::task::verdict::{Verdict, decide};
use crate::task::{Claim, RetryPolicy, TaskDescriptor, TaskId, Used};

use super::exit::{Code, Exit};
use super::{Context, input, output, plugins};

/// Calls a task of a component directly, with no queue and no database, and prints its result as JSON. What it used stands
/// on stderr.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The component.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The task: word_count, or text.word_count.
    task: String,
    /// Its arguments: JSON, @FILE, or - for stdin. Without, {}.
    #[arg(value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    args: Option<String>,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let args = input::arguments(self.args.as_deref()).await?;
        let sandbox = plugins::sandbox(context)?;
        let (plugin, _) = plugins::load(&sandbox, &self.file).await?;
        let task = find(&plugin, &self.task)?;
        check(task, &args)?;
        let call = Call {
            task: task.name.clone(),
            args: args.to_string().into_bytes(),
            id: TaskId::now_v7(),
            attempt: 1,
            retries: 0,
            previous_error: None,
            limits: plugin.limits(&task.name),
            stop: Stop::new(),
            host_calls: None,
        };
        let claim = claim(&call, format!("{}.{}", plugin.name(), task.name));
        let runner = sandbox.clone();
        let ran = sandbox.spawn(async move { runner.run(&plugin, call).await }).await;
        let report = ran.map_err(|error| Exit::infrastructure(error.to_string()))??;
        let Used { cpu_ms, wall_ms, memory_bytes_peak, result_bytes } = report.used;
        let (memory, result) = (output::size(memory_bytes_peak), output::size(result_bytes.into()));
        match context.json() {
            true => output::note(serde_json::json!(report.used)),
            false => {
                output::note(format_args!(
                    "cpu {cpu_ms} ms, wall {wall_ms} ms, memory {memory}, result {result}"
                ));
            }
        }
        // What a host would decide, with no retries: there is nobody to try again.
        match decide(&claim, &RetryPolicy::default(), report, Utc::now(), 0.0) {
            Verdict::Complete(result) => output::line(String::from_utf8_lossy(&result)),
            Verdict::Fail(error) | Verdict::Retry(error, _) => Err(error.into()),
            other => Err(Exit::infrastructure(format!("the attempt was not finished: {other:?}"))),
        }
    }
}

/// The claim that a host would have.
fn claim(call: &Call, task: String) -> Claim {
    Claim {
        id: call.id,
        number: 0,
        task,
        attempt: call.attempt,
        retries: call.retries,
        redeliveries: 0,
        releases: 0,
        redeliveries_max: 1,
        max_retries: Some(0),
        good_until: None,
        claimed_at: DateTime::UNIX_EPOCH,
        previous_error: None,
        args: Vec::new(),
    }
}

fn find<'p>(plugin: &'p Plugin, wanted: &str) -> Result<&'p TaskDescriptor, Exit> {
    let short = wanted.strip_prefix(plugin.name()).and_then(|rest| rest.strip_prefix('.')).unwrap_or(wanted);
    plugin.task(short).ok_or_else(|| {
        let tasks = &plugin.descriptor().tasks;
        let mut near: Vec<(f64, &str)> =
            tasks.iter().map(|task| (strsim::jaro_winkler(short, &task.name), task.name.as_str())).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let hint = match near.first() {
            Some((likeness, name)) if *likeness > 0.8 => format!("did you mean {name}?"),
            _ => format!(
                "it has {}",
                tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        Exit::Said(Code::Unknown, format!("the plugin {} has no task {short:?}; {hint}", plugin.name()))
    })
}

/// The check that a send would make, so that nothing runs in vain.
fn check(task: &TaskDescriptor, args: &Value) -> Result<(), Exit> {
    // A schema that cannot be used checks nothing: the plugin checks for itself.
    let Ok(validator) = jsonschema::validator_for(&task.args_schema) else { return Ok(()) };
    let wrong: Vec<String> = validator
        .iter_errors(args)
        .take(5)
        .map(|error| match error.instance_path().as_str() {
            "" => error.to_string(),
            path => format!("at {path}: {error}"),
        })
        .collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Exit::refused(format!("the arguments do not fit {}: {}", task.name, wrong.join("; ")))),
    }
}
