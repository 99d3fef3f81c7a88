//! `hostler inspect` and `hostler grants`: what a component is, before anybody runs its tasks.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::sandbox::Plugin;

use super::exit::Exit;
use super::{Context, output, plugins};

/// Shows a component's imports, exports, tasks with their schemas, and sizes. Grants beside it are not looked at.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The component.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
}

/// Prints what a component imports beyond what every plugin gets, and a file of grants to begin with.
#[derive(Debug, Args)]
pub(super) struct Grants {
    /// The component.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let (plugin, bytes) = load(context, &self.file).await?;
        if context.json() {
            let tasks = &plugin.descriptor().tasks;
            return output::line(json!({
                "name": plugin.name(), "version": plugin.version(), "digest": plugin.digest(), "bytes": bytes,
                "memory_bytes": plugin.memory_bytes(), "imports": plugin.imports(), "exports": plugin.exports(),
                "lacks": plugin.notes(), "tasks": tasks,
            }));
        }
        output::line(format_args!("{} {} ({:.12})", plugin.name(), plugin.version(), plugin.digest()))?;
        let starts = plugin.memory_bytes().map_or_else(|| "unknown".to_owned(), output::size);
        output::line(format_args!("size: {}, memory at the start: {starts}", output::size(bytes)))?;
        for (what, names) in [("imports", plugin.imports()), ("exports", plugin.exports())] {
            output::line(format_args!("{what}:"))?;
            names.iter().try_for_each(|name| output::line(format_args!("  {name}")))?;
        }
        for note in plugin.notes() {
            output::line(format_args!("lacks: {note}"))?;
        }
        output::line("tasks:")?;
        for task in &plugin.descriptor().tasks {
            output::line(format_args!("  {}: {}", task.name, task.description))?;
            output::line(format_args!("    takes {}", task.args_schema))?;
            output::line(format_args!("    gives {}", task.result_schema))?;
        }
        Ok(())
    }
}

impl Grants {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let (plugin, _) = load(context, &self.file).await?;
        let imports = |prefix: &str| plugin.imports().iter().any(|import| import.starts_with(prefix));
        let mut lines = vec![
            format!(
                "# Grants of the plugin {}; they stand beside it, as {}.toml.",
                plugin.name(),
                self.stem()
            ),
            "# Nothing is granted until a # is taken away.".to_owned(),
        ];
        lines.extend(plugin.notes().iter().map(|note| format!("# It lacks: {note}")));
        if imports("wasi:http/") {
            lines.extend(HTTP.lines().map(str::to_owned));
        }
        if imports("hostler:plugin/tasks@") {
            lines.extend(SEND.lines().map(str::to_owned));
        }
        if imports("wasi:keyvalue/") {
            lines.extend(KEYVALUE.lines().map(str::to_owned));
        }
        if imports("wasi:filesystem/") {
            lines.extend(DIRECTORIES.lines().map(str::to_owned));
        }
        if imports("wasi:cli/environment") {
            lines.extend(ENVIRONMENT.lines().map(str::to_owned));
        }
        lines.extend(LIMITS.lines().map(str::to_owned));
        output::line(lines.join("\n"))
    }

    fn stem(&self) -> String {
        self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

const HTTP: &str = r#"
# It imports wasi:http: the servers it may ask.
# [[http]]
# origin = "https://api.example.com"
# methods = ["GET", "HEAD"]
# private = false"#;

const SEND: &str = r#"
# It imports hostler:plugin/tasks: the tasks it may send.
# [send]
# tasks = ["text.*"]
# max = 100
# family_max = 1000"#;

const KEYVALUE: &str = r#"
# It imports wasi:keyvalue: the buckets it may use. They are shared with whoever is granted the same name.
# [keyvalue]
# buckets = ["seen"]"#;

const DIRECTORIES: &str = r#"
# It imports wasi:filesystem, as everything does that was built with a standard library.
# [[directories]]
# host = "/srv/data"
# guest = "/data"
# write = false"#;

const ENVIRONMENT: &str = r#"
# [env]
# LANG = "en"
# [secrets.API_TOKEN]
# file = "/run/secrets/api-token"
# origins = ["https://api.example.com"]"#;

const LIMITS: &str = "
# [limits]
# timeout_ms = 60000";

/// Loads a component as it is, without grants, under the host's configuration.
async fn load(context: &Context, file: &std::path::Path) -> Result<(Plugin, u64), Exit> {
    plugins::load_alone(&*plugins::sandbox(context)?, file).await
}
