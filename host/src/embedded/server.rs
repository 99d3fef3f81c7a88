//! One use of the private server: joining, what a user needs to know, leaving.

use std::fs::{self, File};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use super::account::Account;
use super::error::EmbeddedError;
use super::lock;
use super::place::Place;
use super::wire::{self, Answer};
use super::{Settings, binaries, create, postmaster};

/// A server that lives but answers nothing for so long needs a person.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Stopping takes at most 25 s, so whoever holds the gate longer while we leave is stuck.
const LEAVE_PATIENCE: Duration = Duration::from_secs(30);

/// What leaving did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// We were the last user; the server is stopped.
    Stopped,
    /// The server runs on, for its other users or out of our reach.
    StillUsed,
}

/// One use of the private server. While any process holds one, the server runs.
///
/// Dropping it leaves, too; [`Server::leave`] also says what came of it. A process that is killed is no user any more,
/// but does not stop the server: the next one to join adopts it and stops it in the end.
#[derive(Debug)]
#[must_use = "dropping it leaves the server, and stops it if nobody else uses it"]
pub struct Server {
    place: Place,
    version: u32,
    adopted: bool,
    /// The server, where we started it: it must be waited for, or it stays a zombie as long as we live.
    child: Option<Child>,
    /// Our share of `users.lock`. None: we have left.
    users: Option<File>,
}

impl Server {
    /// Joins the private server of a data directory: adopts it if it runs, starts it if not, makes it if there is none.
    ///
    /// `progress` hears, in half a sentence, about whatever takes long enough for a person to wonder. Blocks until the
    /// server serves: 20–100 ms, about a second where a cluster has to be made, minutes after a crash under load.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::NoBinaries`] and [`EmbeddedError::WrongVersion`] if there is nothing to start;
    /// [`EmbeddedError::DirectoryNotUsable`], [`EmbeddedError::OtherDurability`] and [`EmbeddedError::Foreign`] if the
    /// directory is not ours to use; [`EmbeddedError::Busy`] if a server lives and does not answer, or another process
    /// does not finish starting or stopping it; [`EmbeddedError::InitFailed`], [`EmbeddedError::StartFailed`].
    pub fn join(settings: &Settings, progress: &mut dyn FnMut(&str)) -> Result<Server, EmbeddedError> {
        let place = Place::of(&settings.data_dir);
        // Before anything is written: a machine without PostgreSQL gets no empty directory.
        if !place.has_data() {
            binaries::find(None)?;
        }
        place.make_root()?;
        enter(place, settings, progress)
    }

    /// Joins like [`Server::join`], but makes nothing where nothing is. For commands that only look.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::NotCreated`] if there is no server yet, otherwise as for [`Server::join`].
    pub fn attach(settings: &Settings) -> Result<Server, EmbeddedError> {
        let place = Place::of(&settings.data_dir);
        match place.has_data() {
            true => enter(place, settings, &mut |_| {}),
            false => Err(EmbeddedError::NotCreated { dir: place.root }),
        }
    }

    /// Whether there is a server to attach to, running or not.
    pub fn is_there(settings: &Settings) -> bool {
        Place::of(&settings.data_dir).has_data()
    }

    /// The URL of one of its databases, complete enough that no `PG…` variable of the environment changes its meaning.
    ///
    /// [`DATABASE`](super::DATABASE) always exists.
    pub fn url(&self, database: &str) -> String {
        let database = percent_encoded(database.as_bytes());
        let host = percent_encoded(self.place.socket_dir.as_os_str().as_encoded_bytes());
        format!("postgres://postgres@localhost:5432/{database}?host={host}&sslmode=disable")
    }

    /// PostgreSQL's major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The directory of its files, see [`root_of`](super::root_of).
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// The directory of its socket: `run` in the root, or a short one under `/tmp` where that path is too long.
    pub fn socket_dir(&self) -> &Path {
        &self.place.socket_dir
    }

    /// Whether it already ran when we joined.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Leaves, and stops the server if nobody else uses it. Close the connections first: a stop ends them.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::StopFailed`] if it does not stop, [`EmbeddedError::Busy`] if another process does not finish
    /// starting or stopping it. We have left all the same.
    pub fn leave(mut self) -> Result<Left, EmbeddedError> {
        self.depart()
    }

    fn depart(&mut self) -> Result<Left, EmbeddedError> {
        let Some(users) = self.users.take() else {
            return Ok(Left::StillUsed);
        };
        let at_users = || EmbeddedError::at(&self.place.users_lock);
        let gate = take_gate(&self.place, LEAVE_PATIENCE);
        // Unlocked and not only closed: a child that another thread is starting right now may have a copy of the
        // descriptor, and would keep the lock until it has become another program.
        users.unlock().map_err(at_users())?;
        let gate = gate?;
        let last = lock::try_exclusive(&users, &self.place.users_lock)?;
        let stopped = match last {
            true => lock::open(&self.place.server_lock)
                .and_then(|server_lock| postmaster::stop(&self.place, &server_lock)),
            false => Ok(false),
        };
        if matches!(stopped, Ok(true)) {
            // Of no use until the next start makes it anew; in /tmp it would be litter. Not empty: not worth an error.
            let _ = fs::remove_dir(&self.place.socket_dir);
        }
        users.unlock().map_err(at_users())?;
        drop(gate);
        if !stopped? {
            return Ok(Left::StillUsed);
        }
        if let Some(mut child) = self.child.take() {
            // Its lock is gone, so it is ending, or has long been dead.
            child.wait().map_err(EmbeddedError::at(&self.place.data))?;
        }
        Ok(Left::Stopped)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.depart() {
            tracing::warn!(%error, "left the private PostgreSQL uncleanly");
        }
    }
}

/// What joining and attaching share. The root exists.
fn enter(place: Place, settings: &Settings, progress: &mut dyn FnMut(&str)) -> Result<Server, EmbeddedError> {
    // Whoever holds the gate may be waiting for a recovery.
    let gate = take_gate(&place, postmaster::START_PATIENCE + SILENCE_MAX)?;
    let users = lock::open(&place.users_lock)?;
    let shared = lock::within(SILENCE_MAX, || lock::try_shared(&users, &place.users_lock))?;
    if !shared {
        return Err(busy(&place, &place.users_lock, SILENCE_MAX, "another process is stuck leaving"));
    }
    check_durability(&place, settings)?;
    let server_lock = lock::open(&place.server_lock)?;
    let adopted = adopt(&place, &server_lock)?;
    let child = match adopted {
        true => None,
        false => Some(start(&place, settings, &server_lock, progress)?),
    };
    // Only now, when the server or nobody holds it: closing our file is not unlocking it, the server's copy lives on.
    drop(server_lock);
    drop(gate);
    let version = place.data_version()?;
    tracing::debug!(root = %place.root.display(), version, adopted, "joined the private PostgreSQL");
    Ok(Server { version, adopted, child, users: Some(users), place })
}

/// True: a server lives and serves. False: none lives, and `server_lock` is now ours.
fn adopt(place: &Place, server_lock: &File) -> Result<bool, EmbeddedError> {
    let begun = Instant::now();
    let mut heard = begun;
    while !lock::try_exclusive(server_lock, &place.server_lock)? {
        match wire::ask(place) {
            Answer::Ready => return Ok(true),
            // It recovers, or shuts down: both end.
            Answer::NotNow if begun.elapsed() < postmaster::START_PATIENCE => heard = Instant::now(),
            Answer::NotNow | Answer::Nothing => {}
        }
        if heard.elapsed() > SILENCE_MAX {
            let what = "a process of an earlier PostgreSQL lives and has not answered";
            return Err(busy(place, &place.server_lock, SILENCE_MAX, what));
        }
        thread::sleep(lock::RETRY);
    }
    Ok(false)
}

fn start(
    place: &Place,
    settings: &Settings,
    server_lock: &File,
    progress: &mut dyn FnMut(&str),
) -> Result<Child, EmbeddedError> {
    let account = Account::for_data(&place.data);
    let version = match place.has_data() {
        true => Some(place.data_version()?),
        false => None,
    };
    let binaries = binaries::find(version).map_err(|error| error.about(&place.data))?;
    if version.is_none() {
        progress(&format!("making a private PostgreSQL {} in {}", binaries.version, place.root.display()));
        create::cluster(place, settings, &binaries, account, server_lock)?;
    }
    postmaster::start(place, settings, &binaries, account, server_lock, progress)
}

/// Fsync is a promise about everything ever written, so it cannot change from one start to the next.
fn check_durability(place: &Place, settings: &Settings) -> Result<(), EmbeddedError> {
    let made = !place.not_durable.exists();
    match place.has_data() && made != settings.durable {
        true => {
            Err(EmbeddedError::OtherDurability { dir: place.root.clone(), made, asked: settings.durable })
        }
        false => Ok(()),
    }
}

/// Waits for the gate; it opens again when the file is closed.
fn take_gate(place: &Place, patience: Duration) -> Result<File, EmbeddedError> {
    let gate = lock::open(&place.gate_lock)?;
    match lock::within(patience, || lock::try_exclusive(&gate, &place.gate_lock))? {
        true => Ok(gate),
        false => Err(busy(
            place,
            &place.gate_lock,
            patience,
            "another hostler process has not finished starting or stopping the private PostgreSQL",
        )),
    }
}

fn busy(place: &Place, lock: &Path, patience: Duration, what: &'static str) -> EmbeddedError {
    EmbeddedError::Busy { what, seconds: patience.as_secs(), lock: lock.to_owned(), log: place.log.clone() }
}

fn percent_encoded(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                encoded.push(char::from(*byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
