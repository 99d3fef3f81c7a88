//! `hostler build`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cargo::{self, Package, Workspace};
use super::exit::Exit;
use super::{Context, output, plugins};

/// Compiles plugin crates into the drop directory.
///
/// Without a name, all plugins of the workspace (plugins/*). Adds the wasm target where it is missing.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Plugins by name (text), package (hostler-plugin-text) or directory.
    #[arg(value_name = "CRATE")]
    crates: Vec<String>,
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

impl Build {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let here = std::env::current_dir()
            .map_err(|error| Exit::infrastructure(format!("the current directory: {error}")))?;
        let built = build(context, &here, &self.crates, self.plugins).await?;
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

/// Builds the named crates, or all plugins of the workspace around `here`.
pub(super) async fn build(
    context: &Context,
    here: &Path,
    names: &[String],
    drop_dir: Option<PathBuf>,
) -> Result<Vec<Built>, Exit> {
    let mut drop_dir = drop_dir;
    let mut chosen: BTreeMap<PathBuf, Vec<Package>> = BTreeMap::new();
    if names.is_empty() || names.iter().any(|name| !is_dir(here, name)) {
        let workspace = Workspace::of(here).await?;
        let root = &workspace.workspace_root;
        drop_dir.get_or_insert_with(|| root.join("plugins/dist"));
        let mut packages = Vec::new();
        if names.is_empty() {
            packages.extend(workspace.plugins().cloned());
            if packages.is_empty() {
                return Err(Exit::refused(format!(
                    "no plugin crates in {}: name one, or make one with `hostler new`",
                    output::path(&root.join("plugins"))
                )));
            }
        }
        for name in names.iter().filter(|name| !is_dir(here, name)) {
            packages.push(named(&workspace, name)?);
        }
        chosen.entry(root.clone()).or_default().extend(packages);
    }
    for name in names.iter().filter(|name| is_dir(here, name)) {
        let dir =
            here.join(name).canonicalize().map_err(|error| Exit::refused(format!("{name}: {error}")))?;
        let workspace = Workspace::of(&dir).await?;
        let package = workspace.package_in(&dir).filter(|package| package.is_plugin());
        let package = package.ok_or_else(|| {
            Exit::refused(format!(
                "{name}: no plugin crate: its Cargo.toml needs [lib] crate-type = [\"cdylib\", \"rlib\"]"
            ))
        })?;
        chosen.entry(workspace.workspace_root.clone()).or_default().push(package.clone());
    }
    let drop_dir = drop_dir.unwrap_or_else(|| here.join("plugins/dist"));
    let failed = |error: io::Error| {
        Exit::infrastructure(format!("the drop directory {}: {error}", drop_dir.display()))
    };
    fs::create_dir_all(&drop_dir).map_err(failed)?;
    let mut built = Vec::new();
    for (root, packages) in &chosen {
        cargo::add_target(root).await?;
        for (package, component) in cargo::compile(root, packages, context.settings.verbose > 0).await? {
            let installed = install(&package, &component, &drop_dir).map_err(failed)?;
            tracing::info!(file = %installed.file.display(), changed = installed.changed, "built");
            built.push(installed);
        }
    }
    built.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(built)
}

/// A name with a Cargo.toml behind it is a directory.
fn is_dir(here: &Path, name: &str) -> bool {
    here.join(name).join("Cargo.toml").is_file()
}

fn named(workspace: &Workspace, name: &str) -> Result<Package, Exit> {
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
            let known: Vec<&str> = workspace
                .plugins()
                .map(|package| package.name.strip_prefix("hostler-plugin-").unwrap_or(&package.name))
                .collect();
            Err(Exit::refused(format!(
                "no crate and no directory {name:?} here; the plugins of this workspace: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )))
        }
    }
}

/// Puts a component in place at once: a host that watches the directory never sees half of it.
fn install(package: &Package, component: &Path, drop_dir: &Path) -> io::Result<Built> {
    let bytes = fs::read(component)?;
    let name = component
        .file_stem()
        .map_or_else(|| package.name.clone(), |stem| stem.to_string_lossy().into_owned());
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
    Ok(Built { name, file, bytes: bytes.len() as u64, digest, changed })
}

fn to_json(built: &Built) -> Value {
    json!({
        "name": built.name, "file": built.file, "bytes": built.bytes, "sha256": built.digest,
        "changed": built.changed,
    })
}
