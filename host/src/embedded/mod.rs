//! The private PostgreSQL that serves when nobody names a database.
//!
//! What comes in: a data directory. What goes out: a [`Server`], one use of a real, durable server that listens on a unix
//! socket in a directory only its owner may enter. What it relies on: `postgres` and `initdb` of the machine
//! ([`binaries`]), and file locks that survive in child processes.
//!
//! 1. Files, all under [`root_of`]: `gate.lock` (exclusive while somebody decides, starts or stops), `users.lock` (shared,
//!    held by every process that uses the server), `server.lock` (exclusive, held by the server's own processes, which
//!    inherit the descriptor), `data/`, `run/` with the socket, `server.log`.
//! 2. To join: take the gate, share `users.lock`, then try `server.lock`. Free means that no process of a server lives,
//!    whatever `postmaster.pid` says, so its left-overs are deleted and a server is started. Held means that one lives: it
//!    is adopted as soon as it answers.
//! 3. To leave: take the gate, drop the share of `users.lock`, then try that lock exclusively. Success means that we were
//!    the last one: the server is stopped.
//! 4. A new cluster is made in `data.new`, flushed by one `syncfs` and renamed, so `data/` is complete or absent.
//!
//! Why locks and not pids: pids are reused (always, after a container restarts), a zombie under an init that does not
//! reap answers `kill(pid, 0)` for ever, and a host killed within `initdb` leaves a child that goes on writing. A lock
//! lives exactly as long as the last process that holds it.
//!
//! What must never happen: two servers on one `data/`; a server stopped under another process's feet; a signal sent to a
//! process that is not our server; a durable directory run without fsync.
//!
//! All of it blocks. From async code, call it through `spawn_blocking`.

pub mod binaries;

mod account;
mod create;
mod error;
mod lock;
mod place;
mod postmaster;
mod server;
mod wire;

pub use error::EmbeddedError;
pub use place::root_of;
pub use server::{Left, Server};

use std::path::{Path, PathBuf};

/// The database that every cluster has from birth, for [`Server::url`].
///
/// `initdb` makes it, so there is no moment at which the cluster exists and its database does not.
pub const DATABASE: &str = "postgres";

/// What a caller decides about its private server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory as the user named it, for instance `./.hostler`. [`root_of`] tells where its files are.
    pub data_dir: PathBuf,
    /// Whether commits survive a crash of the machine. False is for tests only: no fsync, from `initdb` onwards.
    ///
    /// Decided when the directory is made; joining with the other value is refused.
    pub durable: bool,
    /// Server settings that come after ours and win over them. An adopted server keeps those it was started with.
    pub extra: Vec<(String, String)>,
}

impl Settings {
    /// Durable, with our server settings only.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Settings { data_dir: data_dir.into(), durable: true, extra: Vec::new() }
    }
}

/// Whether a private server has been made for this data directory; it may be stopped.
pub fn exists(data_dir: &Path) -> bool {
    place::Place::of(data_dir).has_data()
}
