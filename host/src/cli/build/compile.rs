//! From a project to a component.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::project::{Lang, Project};
use super::stage::{Files, Stage};
use super::tools;
use super::uses::{self, ENTRY, Power, WORLD};
use crate::cli::exit::Exit;
use crate::cli::output::{self, Spinner};

macro_rules! sdk {
    ($dir:literal: $($file:literal)+) => {
        &[$(($file, include_str!(concat!("../../../../guest-sdk/", $dir, "/", $file)))),+]
    };
}

/// The guest SDK of each language, as it goes into components.
pub(in crate::cli) const JS_SDK: &[(&str, &str)] = sdk!("js": "package.json" "index.js" "component.js"
    "failure.js" "fakes.js" "host.js" "keyvalue.js" "power.js" "schema.js" "serve.js" "task.js" "tasks.js" "testing.js"
    "text.js" "units.js");
pub(in crate::cli) const PYTHON_SDK: &[(&str, &str)] = sdk!("python/hostler_guest": "__init__.py" "component.py"
    "failure.py" "fakes.py" "host.py" "keyvalue.py" "serve.py" "shape.py" "task.py" "tasks.py" "testing.py" "units.py");

/// Builds a component, or finds that nothing has changed since the last time.
///
/// # Errors
/// [`Exit::refused`] if the sources are at fault, [`Exit::infrastructure`] if a tool is.
pub(super) async fn compile(guests: &Path, project: &Project) -> Result<PathBuf, Exit> {
    let failed = |error: io::Error| {
        Exit::infrastructure(format!("{}: {error}", output::path(&guests.join(project.lang.directory()))))
    };
    let files = gather(project)
        .map_err(|error| Exit::refused(format!("the sources in {}: {error}", output::path(&project.dir))))?;
    let stage = Stage::open(guests, project).map_err(failed)?;
    let digest = files.digest(project.lang.tool());
    if stage.is_built(project, &digest) {
        return Ok(stage.component(project));
    }
    let tool = tools::obtain(guests, project.lang).await?;
    let spinner = Spinner::start(format!("building {}", project.plugin));
    stage.write(&files).map_err(failed)?;
    packages(&stage, project, &files, failed).await?;
    let powers = uses::used(&stage, project).await?;
    for (path, text) in fitted(project, &powers) {
        std::fs::write(stage.dir.join(path), text).map_err(failed)?;
    }
    let command = match project.lang {
        Lang::JavaScript => javascript(&stage, project, &tool),
        Lang::Python => python(&stage, project, &tool),
    };
    run(command, project).await?;
    drop(spinner);
    stage.built(&digest).map_err(failed)?;
    Ok(stage.component(project))
}

fn gather(project: &Project) -> io::Result<Files> {
    let mut files = match project.lang {
        Lang::JavaScript => Files::of(project, &[".js", ".mjs", ".cjs", ".json"])?,
        Lang::Python => Files::of(project, &[".py", ".txt", ".json", ".toml", ".whl"])?,
    };
    let (at, sdk) = match project.lang {
        Lang::JavaScript => ("node_modules/hostler-guest", JS_SDK),
        Lang::Python => ("hostler_guest", PYTHON_SDK),
    };
    for (file, text) in sdk {
        files.add(format!("src/{at}/{file}"), text);
    }
    let (look, text) = uses::look(project.lang);
    files.add(look, text);
    // What it uses is known once its packages are there; until then, with everything.
    for (path, text) in fitted(project, &Power::ALL) {
        files.add(path, &text);
    }
    Ok(files)
}

/// What depends on the powers that a project uses: the world, and the entry.
fn fitted(project: &Project, powers: &[Power]) -> [(String, String); 2] {
    [(format!("wit/{WORLD}.wit"), uses::world(powers)), uses::entry(project, powers)]
}

/// Gets the packages that the project's lock names, unless they are there.
async fn packages(
    stage: &Stage,
    project: &Project,
    files: &Files,
    failed: impl Fn(io::Error) -> Exit,
) -> Result<(), Exit> {
    let lock = match project.lang {
        Lang::JavaScript => "package-lock.json",
        Lang::Python => "requirements.txt",
    };
    let locked = files.get(&format!("src/{lock}"));
    if project.depends && locked.is_none() {
        let dir = output::path(&project.dir);
        return Err(Exit::refused(format!("{dir} uses packages and has no {lock}: run `npm install` there")));
    }
    let list = locked.filter(|_| project.depends).unwrap_or_default();
    let digest = format!("{:x}", Sha256::digest(list));
    if stage.has_packages(&digest) {
        return Ok(());
    }
    stage.clear_packages().map_err(&failed)?;
    match project.lang {
        _ if !project.depends => {}
        Lang::JavaScript => {
            for file in ["package.json", lock] {
                std::fs::copy(stage.sources().join(file), stage.dir.join(file)).map_err(&failed)?;
            }
            tools::npm(&stage.dir, &["ci", "--omit=dev"]).await?;
        }
        Lang::Python => tools::pip_install(&stage.sources().join(lock), &stage.packages, &[]).await?,
    }
    stage.got_packages(&digest).map_err(failed)
}

fn javascript(stage: &Stage, project: &Project, tool: &Path) -> Command {
    let mut command = Command::new("node");
    command
        .arg(tool.join("node_modules/componentize-qjs/bin/componentize-qjs"))
        .arg("--wit")
        .arg(stage.wit())
        .args(["--world", WORLD, "--sync"])
        .arg("--module-root")
        .arg(&stage.dir)
        .arg("--js")
        .arg(stage.sources().join(format!("{ENTRY}.mjs")))
        .arg("--output")
        .arg(stage.component(project));
    command
}

fn python(stage: &Stage, project: &Project, tool: &Path) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-c", "import sys; from componentize_py import script; sys.exit(script())"])
        .env("PYTHONPATH", tool)
        .arg("--wit-path")
        .arg(stage.wit())
        .args(["--world", WORLD, "componentize", ENTRY, "--python-path"])
        .arg(stage.sources())
        .arg("--python-path")
        .arg(&stage.packages)
        .arg("--output")
        .arg(stage.component(project));
    command
}

/// Runs a compiler. It runs the plugin's own code up to its first task, so it is heard if that fails.
async fn run(mut command: Command, project: &Project) -> Result<(), Exit> {
    let ran = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let ran = ran.map_err(|error| Exit::infrastructure(format!("the compiler does not run: {error}")))?;
    if ran.status.success() {
        return Ok(());
    }
    for said in [ran.stdout, ran.stderr] {
        output::note(String::from_utf8_lossy(&said).trim_end());
    }
    let dir = output::path(&project.dir);
    Err(Exit::refused(format!("{dir} could not be built; what the compiler says is above")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_sdk_goes_into_components() {
        let guest_sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
        for (dir, end, sdk) in [("js", ".js", JS_SDK), ("python/hostler_guest", ".py", PYTHON_SDK)] {
            for entry in std::fs::read_dir(guest_sdk.join(dir)).expect("the SDK").flatten() {
                let name = entry.file_name().into_string().expect("text");
                assert!(!name.ends_with(end) || sdk.iter().any(|(file, _)| *file == name), "{dir}/{name}");
            }
        }
    }
}
