//! The compilers of other languages: pinned, with checksums, fetched once by their registries' own clients.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::project::Lang;
use crate::cli::exit::Exit;
use crate::cli::output::Spinner;

const JS_MANIFEST: &str = include_str!("tools/package.json");
const JS_LOCK: &str = include_str!("tools/package-lock.json");
const PYTHON_LOCK: &str = include_str!("tools/requirements.txt");

impl Lang {
    /// The compiler and its version; a newer one means a newer lock.
    pub(super) const fn tool(self) -> &'static str {
        match self {
            Self::JavaScript => "componentize-qjs-0.4.5",
            Self::Python => "componentize-py-0.25.1",
        }
    }
}

/// The directory of a language's compiler, which is fetched if it is not there.
///
/// # Errors
/// [`Exit::infrastructure`] says which program is missing or could not fetch it.
pub(super) async fn obtain(guests: &Path, lang: Lang) -> Result<PathBuf, Exit> {
    let tools = guests.join("tools");
    let (home, begun) = (tools.join(lang.tool()), tools.join(format!(".{}", lang.tool())));
    let failed = |error: io::Error| Exit::infrastructure(format!("{}: {error}", tools.display()));
    fs::create_dir_all(&tools).map_err(failed)?;
    let lock = File::create(tools.join(format!("{}.lock", lang.tool()))).map_err(failed)?;
    // Somebody else's fetching is waited for, and then there is nothing left to fetch.
    let _lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
        .await
        .map_err(io::Error::other)
        .and_then(|locked| locked)
        .map_err(failed)?;
    if home.is_dir() {
        return Ok(home);
    }
    if begun.exists() {
        fs::remove_dir_all(&begun).map_err(failed)?;
    }
    fs::create_dir_all(&begun).map_err(failed)?;
    let _spinner = Spinner::start(format!("fetching {}", lang.tool()));
    match lang {
        Lang::JavaScript => {
            fs::write(begun.join("package.json"), JS_MANIFEST).map_err(failed)?;
            fs::write(begun.join("package-lock.json"), JS_LOCK).map_err(failed)?;
            // Not `npm ci`: it wants the bindings of all other machines to be in the registry too. What the lock
            // names is taken as it says, with its checksum.
            npm(&begun, &["install", "--no-save"]).await?;
        }
        Lang::Python => {
            let list = begun.join("requirements.txt");
            fs::write(&list, PYTHON_LOCK).map_err(failed)?;
            pip_install(&list, &begun, &["--require-hashes", "--no-deps"]).await?;
        }
    }
    fs::rename(&begun, &home).map_err(failed)?;
    Ok(home)
}

/// Installs what the lock of a directory names; no package's script runs.
pub(super) async fn npm(dir: &Path, how: &[&str]) -> Result<(), Exit> {
    let mut npm = Command::new("npm");
    npm.current_dir(dir).args(how).args(["--ignore-scripts", "--no-audit", "--no-fund"]);
    fetch(npm, "npm", "building JavaScript plugins needs Node.js 18 or newer, with npm").await
}

/// Installs what a list names into a directory; wheels alone, so no package's script runs.
pub(super) async fn pip_install(list: &Path, target: &Path, more: &[&str]) -> Result<(), Exit> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"])
        .args(["--no-input", "--root-user-action=ignore"])
        .args(more)
        .arg("--target")
        .arg(target)
        .arg("--requirement")
        .arg(list);
    if let Some(dir) = list.parent() {
        pip.current_dir(dir);
    }
    fetch(pip, "python3 -m pip", "building Python plugins needs Python 3.9 or newer, with pip").await
}

async fn fetch(mut command: Command, name: &str, needs: &str) -> Result<(), Exit> {
    let ran = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let ran = ran.map_err(|error| Exit::infrastructure(format!("{name} does not run ({error}): {needs}")))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    // npm goes on with its whole manual.
    let worth: Vec<&str> = said.lines().filter(|line| !line.starts_with("npm warn")).take(12).collect();
    Err(Exit::infrastructure(format!(
        "{name} failed: {}\n{needs}, and its package registry",
        worth.join("\n").trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locks_hold_the_tools_that_are_named() {
        let version = |lang: Lang| lang.tool().rsplit('-').next().expect("a version");
        assert!(JS_MANIFEST.contains(&format!("\"componentize-qjs\": {:?}", version(Lang::JavaScript))));
        let lock: serde_json::Value = serde_json::from_str(JS_LOCK).expect("JSON");
        let packages = lock["packages"].as_object().expect("packages");
        assert_eq!(packages["node_modules/componentize-qjs"]["version"], version(Lang::JavaScript));
        let pinned = |(name, package): (&String, &serde_json::Value)| {
            name.is_empty() || package["integrity"].as_str().is_some_and(|sum| sum.starts_with("sha512-"))
        };
        assert!(packages.iter().all(pinned), "a package without a checksum");
        assert!(PYTHON_LOCK.contains(&format!("componentize-py=={} ", version(Lang::Python))));
    }
}
