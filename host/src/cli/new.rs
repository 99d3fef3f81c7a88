//! `hostler new`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::task::TaskName;

use super::cargo::Workspace;
use super::exit::Exit;
use super::{Context, output};

/// The plugin that a new crate starts with.
const LIB: &str = include_str!("template/lib.rs.txt");

/// Names that Rust or hostler has taken for something else.
const TAKEN: &[&str] = &[
    "alloc",
    "as",
    "async",
    "await",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "dist",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "fn",
    "for",
    "gen",
    "hostler",
    "hostler_guest",
    "if",
    "impl",
    "in",
    "let",
    "log",
    "loop",
    "match",
    "mod",
    "move",
    "mut",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "unsafe",
    "use",
    "where",
    "while",
    "yield",
];

/// Makes a plugin crate that builds, with its unit test.
///
/// In plugins/NAME of this repository, else in ./NAME.
#[derive(Debug, Args)]
pub(super) struct New {
    /// The plugin's name: a-z, 0-9, - and _, starting with a letter.
    name: String,
}

impl New {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let plugin = self.name.replace('-', "_");
        if !TaskName::is_part(&plugin) {
            let rule = "write a-z, 0-9, - and _, starting with a letter, at most 60 characters";
            return Err(Exit::refused(format!("{:?} is no plugin name: {rule}", self.name)));
        }
        if TAKEN.contains(&plugin.as_str()) {
            return Err(Exit::refused(format!(
                "{:?} means something else in Rust or hostler; take another",
                self.name
            )));
        }
        let here = std::env::current_dir()
            .map_err(|error| Exit::infrastructure(format!("the current directory: {error}")))?;
        let root = repository(&here).await;
        let dir = match &root {
            Some(root) => root.join("plugins").join(&self.name),
            None => here.join(&self.name),
        };
        // Made first: nothing that is there is touched.
        fs::create_dir_all(dir.parent().unwrap_or(&here)).map_err(|error| cannot(&dir, &error))?;
        fs::create_dir(&dir).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Exit::refused(format!("{} is there already", output::path(&dir))),
            _ => cannot(&dir, &error),
        })?;
        let manifest = manifest(&self.name, &plugin, root.is_some());
        write(&dir, &manifest, &LIB.replace("@NAME@", &plugin)).map_err(|error| cannot(&dir, &error))?;
        let package = format!("hostler-plugin-{}", self.name);
        let shown = output::path(&dir);
        let (test, build) = match root {
            Some(_) => (format!("cargo test -p {package}"), format!("hostler build {}", self.name)),
            None => (format!("(cd {shown} && cargo test)"), format!("hostler build ./{}", self.name)),
        };
        let call = format!(r#"hostler run plugins/dist/{plugin}.wasm greet '{{"name":"Ada"}}'"#);
        let send = format!(r#"hostler send {plugin}.greet '{{"name":"Ada"}}' --wait"#);
        if context.json() {
            return output::line(
                json!({ "dir": dir, "package": package, "plugin": plugin, "next": [test, build, call, send] }),
            );
        }
        output::line(format_args!(
            "made {shown}\n\nnext:\n  {test}\n  {build}\n  {call}\n\nwith a host running (hostler serve):\n  {send}"
        ))
    }
}

/// The root of hostler's own repository, if `here` is inside.
async fn repository(here: &Path) -> Option<PathBuf> {
    let workspace = Workspace::of(here).await.ok()?;
    let guest = workspace.package("hostler-guest")?;
    (guest.dir() == workspace.workspace_root.join("guest-sdk")).then(|| workspace.workspace_root.clone())
}

fn manifest(name: &str, plugin: &str, inside: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (package, dependency, lints) = match inside {
        true => (
            "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true",
            r#"{ path = "../../guest-sdk" }"#.to_owned(),
            "\n[lints]\nworkspace = true\n",
        ),
        false => ("version = \"0.1.0\"\nedition = \"2024\"", format!("{version:?}"), ""),
    };
    format!(
        r#"[package]
name = "hostler-plugin-{name}"
description = "A hostler plugin"
{package}
publish = false

[lib]
name = "{plugin}"
crate-type = ["cdylib", "rlib"]
doctest = false

[features]
default = ["export"]
# Exports the component. A crate that wants the types alone depends on this one without it.
export = []

[dependencies]
hostler-guest = {dependency}
{lints}"#
    )
}

fn write(dir: &Path, manifest: &str, lib: &str) -> io::Result<()> {
    fs::create_dir(dir.join("src"))?;
    fs::write(dir.join("src/lib.rs"), lib)?;
    // Last: cargo takes the directory for a crate from here on.
    fs::write(dir.join("Cargo.toml"), manifest)
}

fn cannot(dir: &Path, error: &io::Error) -> Exit {
    Exit::infrastructure(format!("cannot write {}: {error}", dir.display()))
}
