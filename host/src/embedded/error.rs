//! What can go wrong, told so that the reader knows what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// Why the private PostgreSQL is not at hand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// Only an existing server was asked for, and there is none.
    #[error(
        "there is no private PostgreSQL in {}; `hostler serve` or `hostler demo` makes one, --data-dir names another directory, --database-url another server",
        dir.display()
    )]
    NotCreated {
        /// Where it would be.
        dir: PathBuf,
    },
    /// No `postgres` with its `initdb` was found.
    #[error("found no PostgreSQL server programs{where_looked}; {how}")]
    NoBinaries {
        /// Empty, or where a named directory pointed.
        where_looked: String,
        /// The command to run.
        how: String,
    },
    /// The server programs found do not fit the data.
    #[error(
        "the data in {} is of PostgreSQL {data}, found {}; install PostgreSQL {data} or set HOSTLER_POSTGRES_BIN to its directory of programs",
        dir.display(), listed(found)
    )]
    WrongVersion {
        /// The cluster.
        dir: PathBuf,
        /// Its major version.
        data: u32,
        /// The major versions on this machine.
        found: Vec<u32>,
    },
    /// Somebody holds a lock and does not get on.
    #[error("{what} for {seconds} s (its lock is {}); see {}, or end that process", lock.display(), log.display())]
    Busy {
        /// Who, and what it does not do.
        what: &'static str,
        /// How long we waited.
        seconds: u64,
        /// The file whose lock is held.
        lock: PathBuf,
        /// The server's log.
        log: PathBuf,
    },
    /// A server that was not started by us runs on our data.
    #[error("process {pid} runs a PostgreSQL on {} that hostler did not start; stop it with `pg_ctl stop -D {}`", dir.display(), dir.display())]
    Foreign {
        /// The cluster.
        dir: PathBuf,
        /// The postmaster.
        pid: i32,
    },
    /// The directory was made for tests and is asked for as a durable one, or the other way round.
    #[error("{} was made with durable={made}, so it cannot be used with durable={asked}; name another with --data-dir", dir.display())]
    OtherDurability {
        /// The root.
        dir: PathBuf,
        /// How it was made.
        made: bool,
        /// What was asked for.
        asked: bool,
    },
    /// A file or directory cannot be made, opened or changed.
    #[error("cannot use {}: {source}; give hostler access to it, or name another with --data-dir", dir.display())]
    DirectoryNotUsable {
        /// What was touched.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("{} failed: {last_lines}", program.display())]
    InitFailed {
        /// The `initdb` that ran.
        program: PathBuf,
        /// The end of what it said.
        last_lines: String,
    },
    /// The server ended at once, or did not get ready.
    #[error("PostgreSQL did not start: {last_lines} (log: {})", log.display())]
    StartFailed {
        /// The server's log.
        log: PathBuf,
        /// Its end.
        last_lines: String,
    },
    /// The server was told to stop and did not.
    #[error("PostgreSQL (process {pid}) did not stop; see {}", log.display())]
    StopFailed {
        /// The postmaster.
        pid: i32,
        /// The server's log.
        log: PathBuf,
    },
    /// No way to obtain server programs worked.
    #[error("could not obtain PostgreSQL: {}; {how}", tried.join("; "))]
    ObtainFailed {
        /// Each way, with what became of it.
        tried: Vec<String>,
        /// What to do by hand.
        how: String,
    },
}

impl EmbeddedError {
    /// For `map_err`: names the path that the failed call was about.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError + '_ {
        move |source| EmbeddedError::DirectoryNotUsable { dir: path.to_owned(), source }
    }

    /// Names the cluster that a version was wanted for, which whoever looks for programs does not know.
    pub(super) fn about(self, cluster: &Path) -> EmbeddedError {
        match self {
            EmbeddedError::WrongVersion { data, found, .. } => {
                EmbeddedError::WrongVersion { dir: cluster.to_owned(), data, found }
            }
            other => other,
        }
    }
}

fn listed(versions: &[u32]) -> String {
    match versions {
        [] => "none".to_owned(),
        _ => versions.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// The last lines of what a program said, for an error message.
pub(super) fn last_lines(text: &[u8]) -> String {
    const LINES: usize = 8;
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.len() {
        0 => "it said nothing".to_owned(),
        count => lines[count.saturating_sub(LINES)..].join(" | "),
    }
}
