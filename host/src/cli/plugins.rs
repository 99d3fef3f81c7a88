//! `hostler plugins`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::client::ListedSuspect;
use crate::sandbox::{Compiler, Plugin, Problem, Sandbox, SandboxConfig, read_grants};

use super::exit::{Code, Exit};
use super::{Context, output, quarantine, settings};

/// Loads the files of a plugin directory as a host would, and shows what they are.
///
/// Where there is a database, also which code is quarantined because hosts died while they ran it.
#[derive(Debug, Args)]
pub(super) struct Plugins {
    /// The plugin directory.
    #[arg(long, value_name = "DIR", default_value = "plugins/dist")]
    plugins: PathBuf,
    /// Shows the limits of each task, and who set them.
    #[arg(long)]
    limits: bool,
    /// Lets quarantined code run again: a plugin's name, or the beginning of a digest.
    #[arg(long, value_name = "NAME|DIGEST", conflicts_with = "limits")]
    lift: Option<String>,
}

/// What a directory holds.
pub(super) struct Directory {
    pub(super) plugins: Vec<Found>,
    pub(super) problems: Vec<Problem>,
}

/// A file that loads.
pub(super) struct Found {
    pub(super) plugin: Plugin,
    file: String,
    bytes: u64,
}

impl Plugins {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        if let Some(which) = &self.lift {
            return quarantine::lift(context, which).await;
        }
        let directory = context.signals.or(async { look(&*sandbox(context)?, &self.plugins).await }).await?;
        let suspects = match self.limits {
            true => None,
            false => quarantine::suspects(context).await,
        };
        self.show(context, directory, suspects)
    }

    fn show(
        &self,
        context: &Context,
        Directory { plugins, problems }: Directory,
        suspects: Option<Vec<ListedSuspect>>,
    ) -> Result<(), Exit> {
        if context.json() {
            let plugins: Vec<Value> = plugins.iter().map(to_json).collect();
            let problems: Vec<Value> =
                problems.iter().map(|p| json!({ "file": p.file, "message": p.message })).collect();
            let suspects = suspects.map(|suspects| quarantine::to_json(&suspects));
            return output::line(json!({ "plugins": plugins, "problems": problems, "suspects": suspects }));
        }
        if self.limits {
            return limits(&plugins, &problems);
        }
        let row = |found: &Found| {
            let tasks: Vec<&str> =
                found.plugin.descriptor().tasks.iter().map(|task| task.name.as_str()).collect();
            vec![
                found.plugin.name().to_owned(),
                found.plugin.version().to_owned(),
                format!("{:.12}", found.plugin.digest()),
                output::size(found.bytes),
                tasks.join(", "),
            ]
        };
        output::table(&["PLUGIN", "VERSION", "DIGEST", "SIZE", "TASKS"], plugins.iter().map(row).collect())?;
        for found in &plugins {
            let note = |note| output::line(format_args!("note: {}: {note}", found.plugin.name()));
            found.plugin.notes().iter().try_for_each(note)?;
        }
        for Problem { message, .. } in &problems {
            output::line(format_args!("problem: {message}"))?;
        }
        quarantine::show(&suspects.unwrap_or_default())?;
        if plugins.is_empty() && problems.is_empty() {
            output::note(format!("{} holds no plugins; `hostler build` makes some", self.plugins.display()));
        }
        Ok(())
    }
}

/// A sandbox for one command. It reads the cache of a host that runs here, and makes none of its own.
pub(super) fn sandbox(context: &Context) -> Result<Arc<Sandbox>, Exit> {
    sandbox_with(context, Some(context.cache_dir()).filter(|dir| dir.is_dir()))
}

/// The same, with compiled code kept there.
pub(super) fn sandbox_with(context: &Context, cache_dir: Option<PathBuf>) -> Result<Arc<Sandbox>, Exit> {
    let bounds = settings::bounds(context)?;
    let compiler = Some(Compiler::own(bounds.compile));
    Ok(Sandbox::start(SandboxConfig { slots: 2, cache_dir, bounds, compiler, ..SandboxConfig::default() })?)
}

/// One row for each limit of each task.
fn limits(plugins: &[Found], problems: &[Problem]) -> Result<(), Exit> {
    let mut rows = Vec::new();
    for Found { plugin, .. } in plugins {
        for task in &plugin.descriptor().tasks {
            rows.extend(plugin.effective_limits(&task.name).into_iter().map(|limit| {
                let source =
                    if limit.capped { format!("{}, capped", limit.source) } else { limit.source.to_string() };
                let task = format!("{}.{}", plugin.name(), task.name);
                vec![task, limit.name.to_owned(), limit.value.to_string(), source]
            }));
        }
    }
    output::table(&["TASK", "LIMIT", "VALUE", "FROM"], rows)?;
    problems.iter().try_for_each(|problem| output::line(format_args!("problem: {}", problem.message)))
}

/// Loads every file; of two with one name the first keeps it.
pub(super) async fn look(sandbox: &Sandbox, dir: &Path) -> Result<Directory, Exit> {
    let unreadable = |error| Exit::infrastructure(format!("the plugin directory {}: {error}", dir.display()));
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .map_err(unreadable)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|file| !file.starts_with('.') && file.ends_with(".wasm"))
        .collect();
    files.sort_unstable();
    let mut plugins: Vec<Found> = Vec::new();
    let mut problems = Vec::new();
    let mut owners = BTreeMap::new();
    for file in files {
        match load(sandbox, &dir.join(&file)).await {
            Ok((plugin, bytes)) => match owners.get(plugin.name()) {
                Some(owner) => {
                    let name = plugin.name();
                    let message =
                        format!("{file}: the plugin name {name:?} belongs to {owner}: remove one of the two");
                    problems.push(Problem { file, message });
                }
                None => {
                    owners.insert(plugin.name().to_owned(), file.clone());
                    plugins.push(Found { plugin, file, bytes });
                }
            },
            Err(Exit::Said(_, message)) => problems.push(Problem { file, message }),
            Err(other) => return Err(other),
        }
    }
    Ok(Directory { plugins, problems })
}

/// Loads one file with the grants beside it; the error names it.
pub(super) async fn load(sandbox: &Sandbox, path: &Path) -> Result<(Plugin, u64), Exit> {
    let beside = path.with_extension("toml");
    if let Some(dir) = path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned())) {
        sandbox.guard(dir);
    }
    let grants = match read_grants(&beside) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Exit::refused(format!("{}: {error}", beside.display()))),
    };
    load_with(sandbox, path, grants.as_deref()).await
}

/// Loads one file, whatever is granted to it; the error names it.
pub(super) async fn load_alone(sandbox: &Sandbox, path: &Path) -> Result<(Plugin, u64), Exit> {
    load_with(sandbox, path, None).await
}

async fn load_with(sandbox: &Sandbox, path: &Path, grants: Option<&str>) -> Result<(Plugin, u64), Exit> {
    let refused = |what: String| Exit::Said(Code::Refused, format!("{}: {what}", path.display()));
    let is_file = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.is_file();
    if !is_file {
        return Err(refused("is no file".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let size = bytes.len() as u64;
    match sandbox.load_granted(&stem, bytes, grants).await {
        Ok(plugin) => Ok((plugin, size)),
        Err(error) if error.fault.is_transient() => {
            Err(Exit::infrastructure(format!("{}: {}", path.display(), error.fault)))
        }
        Err(error) => Err(refused(error.fault.to_string())),
    }
}

fn to_json(found: &Found) -> Value {
    let plugin = &found.plugin;
    let tasks: Vec<Value> = plugin
        .descriptor()
        .tasks
        .iter()
        .map(|task| {
            json!({
                "name": format!("{}.{}", plugin.name(), task.name),
                "description": task.description,
                "args_schema": task.args_schema,
                "result_schema": task.result_schema,
                "policy": task.policy,
                "limits": limits_json(plugin, &task.name),
            })
        })
        .collect();
    json!({
        "name": plugin.name(), "version": plugin.version(), "digest": plugin.digest(),
        "file": found.file, "bytes": found.bytes, "imports": plugin.imports(), "notes": plugin.notes(), "tasks": tasks,
    })
}

fn limits_json(plugin: &Plugin, task: &str) -> Value {
    let one = |limit: crate::sandbox::Effective| {
        let told = json!({ "value": limit.value, "from": limit.source.to_string(), "capped": limit.capped });
        (limit.name.to_owned(), told)
    };
    Value::Object(plugin.effective_limits(task).into_iter().map(one).collect())
}
