//! `hostler build`: crates through cargo, projects in other languages through their compilers.

mod compile;
mod project;
mod stage;
mod tools;
mod uses;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) use compile::{JS_SDK, PYTHON_SDK};
use project::Project;

use super::cargo::{self, Package, Workspace};
use super::exit::{Code, Exit};
use super::{Context, output, plugins};

/// Compiles plugins into the drop directory: Rust crates, and projects in JavaScript and Python.
///
/// Without a name, all plugins of the workspace: plugins/*, plugins/js/* and plugins/python/*; where there is none, the
/// plugin in this directory. Adds the wasm target and the compilers of other languages where they are missing.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Plugins by name (text), package (hostler-plugin-text) or directory.
    #[arg(value_name = "PLUGIN")]
    names: Vec<String>,
    /// The drop directory; without, plugins/dist of the workspace.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Compiles them to native code as well, so that the next host loads them from its cache at once.
    #[arg(long)]
    precompile: bool,
    /// Where that is kept; without, as for `serve`: `cache` in the data directory.
    #[arg(long, value_name = "DIR", requires = "precompile")]
    cache_dir: Option<PathBuf>,
}

/// A component in the drop directory.
#[derive(Debug)]
pub(super) struct Built {
    name: String,
    pub(super) file: PathBuf,
    bytes: u64,
    digest: String,
    changed: bool,
}

/// What is to be built.
#[derive(Default)]
struct Wanted {
    /// Crates, by their workspaces.
    crates: BTreeMap<PathBuf, Vec<Package>>,
    projects: Vec<Project>,
    /// What holds `plugins/dist`, if anything does.
    root: Option<PathBuf>,
}

impl Build {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let here = std::env::current_dir()
            .map_err(|error| Exit::infrastructure(format!("the current directory: {error}")))?;
        let mut names = self.names;
        let wanted = match names.is_empty() {
            true => match all(&here).await {
                Err(none) if is_dir(&here, ".") => {
                    names.push(".".to_owned());
                    let this = named(&here, &names).await;
                    // Of a crate that is no plugin the workspace's word is the better one.
                    if here.join("Cargo.toml").is_file() { this.map_err(|_| none)? } else { this? }
                }
                all => all?,
            },
            false => named(&here, &names).await?,
        };
        let drop_dir =
            self.plugins.unwrap_or_else(|| wanted.root.as_deref().unwrap_or(&here).join("plugins/dist"));
        create(&drop_dir)?;
        let mut built = crates(context, &wanted.crates, &drop_dir).await?;
        for project in &wanted.projects {
            match compile::compile(&guests(&project.dir), project).await {
                Ok(component) => built.push(install(&project.plugin, &component, &drop_dir)?),
                // Nobody asked for it by name, and the others do without its tools.
                Err(Exit::Said(Code::Infrastructure, why)) if names.is_empty() => {
                    output::note(format!("{} is not built: {why}", project.plugin));
                }
                Err(exit) => return Err(exit),
            }
        }
        built.sort_by(|a, b| a.name.cmp(&b.name));
        if self.precompile {
            let cache_dir = self.cache_dir.unwrap_or_else(|| context.cache_dir());
            let sandbox = plugins::sandbox_with(context, Some(cache_dir))?;
            for built in &built {
                // With the grants beside it: what is wrong with those is told now, too.
                plugins::load(&sandbox, &built.file).await?;
            }
        }
        if context.json() {
            let built: Vec<Value> = built.iter().map(to_json).collect();
            return output::line(Value::from(built));
        }
        built.iter().try_for_each(|built| output::line(built.words()))
    }
}

impl Built {
    /// `text plugins/dist/text.wasm 279 KiB (sha256 abcdef012345)`.
    pub(super) fn words(&self) -> String {
        let (file, size) = (output::path(&self.file), output::size(self.bytes));
        format!("{} {file} {size} (sha256 {:.12})", self.name, self.digest)
    }
}

/// Builds all plugin crates of the workspace around `here`.
pub(super) async fn build_crates(
    context: &Context,
    here: &Path,
    drop_dir: &Path,
) -> Result<Vec<Built>, Exit> {
    let wanted = all(here).await?;
    create(drop_dir)?;
    crates(context, &wanted.crates, drop_dir).await
}

async fn crates(
    context: &Context,
    wanted: &BTreeMap<PathBuf, Vec<Package>>,
    drop_dir: &Path,
) -> Result<Vec<Built>, Exit> {
    let mut built = Vec::new();
    for (root, packages) in wanted {
        cargo::add_target(root).await?;
        for (package, component) in cargo::compile(root, packages, context.settings.verbose > 0).await? {
            let stem = component.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            built.push(install(&stem.unwrap_or(package.name), &component, drop_dir)?);
        }
    }
    built.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(built)
}

/// All plugins of the workspace around `here`, or, where there is none, the projects below `here`.
async fn all(here: &Path) -> Result<Wanted, Exit> {
    let workspace = Workspace::of(here).await;
    let root = workspace.as_ref().map_or(here, |workspace| &workspace.workspace_root).to_owned();
    let projects = Project::all(&root)?;
    let crates: Vec<Package> = match workspace {
        Ok(workspace) => workspace.plugins().cloned().collect(),
        Err(_) if !projects.is_empty() => Vec::new(),
        Err(exit) => return Err(exit),
    };
    if crates.is_empty() && projects.is_empty() {
        return Err(Exit::refused(format!(
            "no plugins in {}: name one, or make one with `hostler new`",
            output::path(&root.join("plugins"))
        )));
    }
    let crates = BTreeMap::from([(root.clone(), crates)]);
    Ok(Wanted { crates, projects, root: Some(root) })
}

/// The plugins of these names, packages and directories.
async fn named(here: &Path, names: &[String]) -> Result<Wanted, Exit> {
    let mut wanted = Wanted::default();
    let (dirs, names): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| is_dir(here, name));
    for name in dirs {
        let dir =
            here.join(name).canonicalize().map_err(|error| Exit::refused(format!("{name}: {error}")))?;
        if !dir.join("Cargo.toml").is_file() {
            wanted.projects.extend(Project::read(&dir)?);
            continue;
        }
        let workspace = Workspace::of(&dir).await?;
        let package = workspace.package_in(&dir).filter(|package| package.is_plugin());
        let package = package.ok_or_else(|| {
            Exit::refused(format!(
                "{name}: no plugin crate: its Cargo.toml needs [lib] crate-type = [\"cdylib\", \"rlib\"]"
            ))
        })?;
        wanted.crates.entry(workspace.workspace_root.clone()).or_default().push(package.clone());
    }
    if !names.is_empty() {
        let workspace = Workspace::of(here).await;
        let root = workspace.as_ref().map_or(here, |workspace| &workspace.workspace_root).to_owned();
        let mut projects = Project::all(&root)?;
        for name in names {
            match (projects.iter().position(|project| is_called(project, name)), &workspace) {
                (Some(at), _) => wanted.projects.push(projects.swap_remove(at)),
                (None, Ok(workspace)) => {
                    let package = package(workspace, &projects, name)?;
                    wanted.crates.entry(root.clone()).or_default().push(package);
                }
                (None, Err(_)) => {
                    return Err(Exit::refused(format!("no directory {name:?} here, and no workspace")));
                }
            }
        }
        wanted.root = Some(root);
    }
    Ok(wanted)
}

fn is_called(project: &Project, name: &str) -> bool {
    let bare = name.strip_prefix("hostler-plugin-").unwrap_or(name);
    bare.replace('-', "_") == project.plugin
}

/// Whether there is a project behind a name.
fn is_dir(here: &Path, name: &str) -> bool {
    ["Cargo.toml", "package.json", "pyproject.toml"].iter().any(|file| here.join(name).join(file).is_file())
}

fn package(workspace: &Workspace, projects: &[Project], name: &str) -> Result<Package, Exit> {
    let package = workspace
        .package(name)
        .or_else(|| workspace.package(&format!("hostler-plugin-{name}")))
        .or_else(|| workspace.package(&format!("hostler-plugin-{}", name.replace('_', "-"))));
    match package {
        Some(package) if package.is_plugin() => Ok(package.clone()),
        Some(package) => Err(Exit::refused(format!(
            "{} is no plugin: its Cargo.toml needs [lib] crate-type = [\"cdylib\", \"rlib\"]",
            package.name
        ))),
        None => {
            let crates = workspace.plugins();
            let mut known: Vec<&str> = crates
                .map(|package| package.name.strip_prefix("hostler-plugin-").unwrap_or(&package.name))
                .collect();
            known.extend(projects.iter().map(|project| project.plugin.as_str()));
            Err(Exit::refused(format!(
                "no plugin and no directory {name:?} here; the plugins of this workspace: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )))
        }
    }
}

/// Where guests are built: beside the lock of the workspace around a project, else within the project.
fn guests(dir: &Path) -> PathBuf {
    let root = dir.ancestors().find(|dir| dir.join("Cargo.lock").is_file());
    root.unwrap_or(dir).join("target/guests")
}

fn create(drop_dir: &Path) -> Result<(), Exit> {
    fs::create_dir_all(drop_dir).map_err(|error| undroppable(drop_dir, &error))
}

fn undroppable(drop_dir: &Path, error: &io::Error) -> Exit {
    Exit::infrastructure(format!("the drop directory {}: {error}", drop_dir.display()))
}

/// Puts a component in place at once: a host that watches the directory never sees half of it.
fn install(name: &str, component: &Path, drop_dir: &Path) -> Result<Built, Exit> {
    let built = put(name, component, drop_dir).map_err(|error| undroppable(drop_dir, &error))?;
    tracing::info!(file = %built.file.display(), changed = built.changed, "built");
    Ok(built)
}

fn put(name: &str, component: &Path, drop_dir: &Path) -> io::Result<Built> {
    let bytes = fs::read(component)?;
    let file = drop_dir.join(format!("{name}.wasm"));
    let changed = fs::read(&file).ok().as_ref() != Some(&bytes);
    if changed {
        let readable = fs::Permissions::from_mode(0o644);
        let mut whole = tempfile::Builder::new()
            .prefix(&format!(".{name}-"))
            .permissions(readable)
            .tempfile_in(drop_dir)?;
        whole.write_all(&bytes)?;
        whole.persist(&file).map_err(|error| error.error)?;
    }
    let digest = format!("{:x}", Sha256::digest(&bytes));
    Ok(Built { name: name.to_owned(), file, bytes: bytes.len() as u64, digest, changed })
}

fn to_json(built: &Built) -> Value {
    json!({
        "name": built.name, "file": built.file, "bytes": built.bytes, "sha256": built.digest,
        "changed": built.changed,
    })
}
