//! `hostler new`.

mod other;
mod rust;
mod taken;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::task::TaskName;

use super::cargo::Workspace;
use super::exit::Exit;
use super::{Context, output};

/// What a new plugin is made of, in the order in which it is written.
type Files = Vec<(PathBuf, String)>;

/// Makes a plugin that builds, with its unit test.
///
/// In plugins/NAME of this repository (plugins/js/NAME, plugins/python/NAME), else in ./NAME.
#[derive(Debug, Args)]
pub(super) struct New {
    /// The plugin's name: a-z, 0-9, - and _, starting with a letter.
    name: String,
    /// What it is written in.
    #[arg(long, value_enum, default_value = "rust")]
    lang: Lang,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lang {
    Rust,
    Js,
    Python,
}

impl New {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let Self { name, lang } = &self;
        let plugin = name.replace('-', "_");
        if !TaskName::is_part(&plugin) {
            let rule = "write a-z, 0-9, - and _, starting with a letter, at most 60 characters";
            return Err(Exit::refused(format!("{name:?} is no plugin name: {rule}")));
        }
        if taken::is_taken(*lang, &plugin) {
            return Err(Exit::refused(format!("{name:?} means something else here; take another")));
        }
        let here = std::env::current_dir()
            .map_err(|error| Exit::infrastructure(format!("the current directory: {error}")))?;
        let root = repository(&here).await;
        let dir = match (&root, lang) {
            (Some(root), Lang::Rust) => root.join("plugins").join(name),
            (Some(root), Lang::Js) => root.join("plugins/js").join(name),
            (Some(root), Lang::Python) => root.join("plugins/python").join(name),
            (None, _) => here.join(name),
        };
        // Made first: nothing that is there is touched.
        fs::create_dir_all(dir.parent().unwrap_or(&here)).map_err(|error| cannot(&dir, &error))?;
        fs::create_dir(&dir).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Exit::refused(format!("{} is there already", output::path(&dir))),
            _ => cannot(&dir, &error),
        })?;
        let files = match lang {
            Lang::Rust => rust::files(name, &plugin, root.as_deref()),
            Lang::Js => other::javascript(name, &plugin, root.as_deref()),
            Lang::Python => other::python(name, &plugin, root.as_deref()),
        };
        write(&dir, &files).map_err(|error| cannot(&dir, &error))?;
        self.tell(context, &dir, &plugin, root.is_some())
    }

    /// What to do next.
    fn tell(&self, context: &Context, dir: &Path, plugin: &str, inside: bool) -> Result<(), Exit> {
        let (name, shown) = (&self.name, output::path(dir));
        let package = format!("hostler-plugin-{name}");
        let test = match (self.lang, inside) {
            (Lang::Rust, true) => format!("cargo test -p {package}"),
            (Lang::Rust, false) => format!("(cd {shown} && cargo test)"),
            (Lang::Js, _) => format!("(cd {shown} && npm install && npm test)"),
            (Lang::Python, true) => {
                format!(
                    "(cd {shown} && PYTHONPATH=../../../guest-sdk/python python3 -m unittest discover tests)"
                )
            }
            (Lang::Python, false) => format!("(cd {shown} && python3 -m unittest discover tests)"),
        };
        let build = match inside {
            true => format!("hostler build {name}"),
            false => format!("hostler build ./{name}"),
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

fn write(dir: &Path, files: &Files) -> io::Result<()> {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn cannot(dir: &Path, error: &io::Error) -> Exit {
    Exit::infrastructure(format!("cannot write {}: {error}", dir.display()))
}
