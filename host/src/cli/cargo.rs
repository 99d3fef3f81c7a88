//! What the commands for plugin authors need of cargo: which crates there are, the wasm target, a build.
//!
//! Guests build into `target/guests` of their workspace, with nothing of the caller's flags: neither a
//! sanitizer nor a linker that is meant for this machine has any place in them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::exit::Exit;
use super::output::{self, Spinner};

/// What plugins are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// What a build for guests must not inherit.
const CLEARED: &[&str] = &[
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
    "CARGO_TARGET_WASM32_WASIP2_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
    "__CARGO_DEFAULT_LIB_METADATA",
];

/// A workspace, as cargo tells of it.
#[derive(Debug, Deserialize)]
pub(super) struct Workspace {
    pub(super) workspace_root: PathBuf,
    packages: Vec<Package>,
}

/// One crate.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Dependency {
    name: String,
}

impl Package {
    pub(super) fn is_plugin(&self) -> bool {
        self.targets.iter().any(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
    }

    pub(super) fn dir(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// Whether it uses another of these as a library.
    fn needs_one_of(&self, others: &HashSet<&str>) -> bool {
        self.dependencies.iter().any(|dependency| others.contains(dependency.name.as_str()))
    }
}

impl Workspace {
    /// The workspace that a directory belongs to.
    pub(super) async fn of(dir: &Path) -> Result<Self, Exit> {
        let args = ["metadata", "--no-deps", "--format-version", "1"];
        let output = cargo(dir).args(args).output().await.map_err(|error| no_program("cargo", &error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Exit::refused(format!("{}: {}", output::path(dir), said.trim())));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| {
            Exit::infrastructure(format!("cargo metadata said what hostler cannot read: {error}"))
        })
    }

    pub(super) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The crate in this very directory.
    pub(super) fn package_in(&self, dir: &Path) -> Option<&Package> {
        self.packages.iter().find(|package| package.dir() == dir)
    }

    /// The plugin crates that lie in `plugins`.
    pub(super) fn plugins(&self) -> impl Iterator<Item = &Package> {
        let plugins = self.workspace_root.join("plugins");
        self.packages.iter().filter(move |p| p.is_plugin() && p.dir().parent() == Some(&plugins))
    }
}

/// Whether the standard library for [`TARGET`] is there, for the toolchain that is used in `dir`.
pub(super) async fn has_target(dir: &Path) -> Result<bool, Exit> {
    let asked = Command::new("rustc").current_dir(dir).args(["--print", "sysroot"]).output().await;
    let asked = asked.map_err(|error| no_program("rustc", &error))?;
    let sysroot = String::from_utf8_lossy(&asked.stdout);
    if !asked.status.success() || sysroot.trim().is_empty() {
        let said = String::from_utf8_lossy(&asked.stderr);
        return Err(Exit::infrastructure(format!("rustc does not run: {}", said.trim())));
    }
    Ok(Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

/// Adds [`TARGET`] where it is missing.
pub(super) async fn add_target(dir: &Path) -> Result<(), Exit> {
    if has_target(dir).await? {
        return Ok(());
    }
    output::note(format!("rustup target add {TARGET}"));
    let spinner = Spinner::start(format!("adding the target {TARGET}"));
    let added = Command::new("rustup")
        .current_dir(dir)
        .args(["target", "add", TARGET])
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| {
            let without =
                "install the target with whatever installed Rust here, or Rust through https://rustup.rs";
            Exit::infrastructure(format!(
                "the target {TARGET} is missing and rustup does not run ({error}): {without}"
            ))
        })?;
    drop(spinner);
    match added.status.success() && has_target(dir).await? {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&added.stderr);
            Err(Exit::infrastructure(format!("`rustup target add {TARGET}` failed: {}", said.trim())))
        }
    }
}

/// Compiles crates of one workspace; returns each with its component. cargo is heard if it fails, or with
/// `aloud`.
pub(super) async fn compile(
    root: &Path,
    packages: &[Package],
    aloud: bool,
) -> Result<Vec<(Package, PathBuf)>, Exit> {
    // Two plugins in one build share their features; one that uses another as a library would then export
    // that one's tasks too. Such a crate is built by itself.
    let names: HashSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let (alone, together): (Vec<&Package>, Vec<&Package>) =
        packages.iter().partition(|p| p.needs_one_of(&names));
    let mut made = Vec::new();
    let groups = std::iter::once(together).chain(alone.into_iter().map(|package| vec![package]));
    for group in groups.filter(|group| !group.is_empty()) {
        made.extend(compile_together(root, &group, aloud).await?);
    }
    Ok(made)
}

async fn compile_together(
    root: &Path,
    packages: &[&Package],
    aloud: bool,
) -> Result<Vec<(Package, PathBuf)>, Exit> {
    let mut command = cargo(root);
    command
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--lib",
            "--message-format",
            "json-render-diagnostics",
        ])
        .env("CARGO_TARGET_DIR", root.join("target/guests"))
        // Line tables would make a component fifteen times as large.
        .env("CARGO_PROFILE_RELEASE_STRIP", "true")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .stdout(Stdio::piped())
        .stderr(if aloud { Stdio::inherit() } else { Stdio::piped() });
    for package in packages {
        command.args(["-p", &package.name]);
    }
    for name in CLEARED {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|error| no_program("cargo", &error))?;
    let spinner = Spinner::start("building plugins");
    let stderr = child.stderr.take().map(|mut stderr| {
        tokio::spawn(async move {
            let mut said = Vec::new();
            let _broken = stderr.read_to_end(&mut said).await;
            said
        })
    });
    let mut made = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        let mut crates = 0;
        while let Ok(Some(line)) = lines.next_line().await {
            let Ok(Message { manifest_path: Some(manifest), filenames, .. }) = serde_json::from_str(&line)
            else {
                continue;
            };
            crates += 1;
            spinner.say(format!("building plugins: {crates} crates done"));
            let component =
                filenames.into_iter().find(|file| file.extension().is_some_and(|end| end == "wasm"));
            let package = packages.iter().find(|package| package.manifest_path == manifest);
            made.extend(package.map(|package| (*package).clone()).zip(component));
        }
    }
    let status = child.wait().await.map_err(|error| no_program("cargo", &error))?;
    drop(spinner);
    if !status.success() {
        if let Some(said) = stderr {
            output::note(String::from_utf8_lossy(&said.await.unwrap_or_default()).trim_end());
        }
        return Err(Exit::refused("cargo could not build the plugins; what it says is above"));
    }
    Ok(made)
}

/// The message about a crate that is done.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

fn cargo(dir: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn no_program(program: &str, error: &std::io::Error) -> Exit {
    Exit::infrastructure(format!(
        "{program} does not run ({error}): building plugins needs Rust, see https://rustup.rs"
    ))
}
