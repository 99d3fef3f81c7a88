//! Starting the server, waiting until it serves, and stopping it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::Settings;
use super::account::Account;
use super::binaries::Binaries;
use super::error::{self, EmbeddedError};
use super::lock;
use super::place::Place;
use super::wire::{self, Answer};

/// Recovery after a crash can take minutes; a server that says so is waited for.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(300);

/// After this a fast stop becomes an immediate one. Both are safe, the second means recovery at the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The log is begun anew at the first start that finds it longer.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// What every private server is started with. Later ones win, so `Settings::extra` comes after these.
const OURS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "100"),
    ("shared_buffers", "128MB"),
    // No replicas and no base backups here, so the log need not carry what they want.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    // Statements are many and small: compiling or spreading one costs more than it saves.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    // Queues turn rows over quickly.
    ("autovacuum_naptime", "15s"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_checkpoints", "off"),
];

const DURABLE: &[(&str, &str)] = &[("fsync", "on"), ("full_page_writes", "on")];

/// Commits stay synchronous: without fsync that costs next to nothing, and they survive a killed server.
const NOT_DURABLE: &[(&str, &str)] = &[("fsync", "off"), ("full_page_writes", "off")];

/// Starts the server on `data/` and waits until it serves. Only with `server.lock` held: that lock is the proof that
/// `postmaster.pid` and the socket are left-overs, which PostgreSQL would trip over if their pid had been reused.
pub(super) fn start(
    place: &Place,
    settings: &Settings,
    binaries: &Binaries,
    account: Account,
    server_lock: &File,
    progress: &mut dyn FnMut(&str),
) -> Result<Child, EmbeddedError> {
    remove_stale_pid(place)?;
    place.make_socket_dir(account)?;

    let (log, log_start) = open_log(&place.log).map_err(EmbeddedError::at(&place.log))?;
    let failed = |last_lines: String| EmbeddedError::StartFailed { log: place.log.clone(), last_lines };
    let mut command = account.command(&binaries.dir.join("postgres"));
    command.arg("-D").arg(&place.data);
    set_all(&mut command, place, settings);
    let for_stdout = log.try_clone().map_err(EmbeddedError::at(&place.log))?;
    command.stdout(for_stdout).stderr(log);
    lock::inherit(&mut command, server_lock);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;

    let begun = Instant::now();
    let mut said = false;
    // Asked only once it says so itself: every question before that is a FATAL line in its log.
    while !(says_ready(place) && wire::ask(place) == Answer::Ready) {
        if let Ok(Some(status)) = child.try_wait() {
            let last_lines = log_since(&place.log, log_start);
            return Err(failed(format!("{status}: {last_lines}")));
        }
        if begun.elapsed() > START_PATIENCE {
            signal(&child, libc::SIGQUIT);
            return Err(failed(log_since(&place.log, log_start)));
        }
        if !said && begun.elapsed() > Duration::from_secs(2) {
            said = true;
            progress("the private PostgreSQL is still starting; after a crash it first repairs its data");
        }
        thread::sleep(lock::RETRY);
    }
    Ok(child)
}

/// Stops whatever server holds `server.lock`. False: one does, but its process cannot be seen from here.
pub(super) fn stop(place: &Place, server_lock: &File) -> Result<bool, EmbeddedError> {
    let free = || lock::try_exclusive(server_lock, &place.server_lock);
    if free()? {
        return Ok(true);
    }
    let Some(pid) = wire::listener_pid(place) else {
        // It may just have died. Otherwise it lives in another container, or its postmaster is dead and a last
        // statement still runs: neither is for us to kill.
        return lock::within(Duration::from_secs(1), free);
    };
    // SAFETY: kill takes no pointers; the kernel named this pid as the listener a moment ago, and the gate is ours, so
    // nobody else stops it.
    unsafe { libc::kill(pid, libc::SIGINT) };
    if lock::within(STOP_PATIENCE, free)? {
        return Ok(true);
    }
    if let Some(pid) = wire::listener_pid(place) {
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGQUIT) };
    }
    match lock::within(Duration::from_secs(5), free)? {
        true => Ok(true),
        false => Err(EmbeddedError::StopFailed { pid, log: place.log.clone() }),
    }
}

/// Deletes `postmaster.pid`, unless the process it names really works in `data/`, as a server does that somebody
/// started by hand and without our lock.
fn remove_stale_pid(place: &Place) -> Result<(), EmbeddedError> {
    let file = place.data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    if let Some(pid) = pid
        && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == place.data)
    {
        return Err(EmbeddedError::Foreign { dir: place.data.clone(), pid });
    }
    fs::remove_file(&file).map_err(EmbeddedError::at(&file))
}

/// The last line of `postmaster.pid` is the server's state.
fn says_ready(place: &Place) -> bool {
    const STATE: usize = 7;
    let text = fs::read_to_string(place.data.join("postmaster.pid")).unwrap_or_default();
    text.lines().nth(STATE).is_some_and(|state| state.trim() == "ready")
}

fn set_all(command: &mut Command, place: &Place, settings: &Settings) {
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    let by_durability = match settings.durable {
        true => DURABLE,
        false => NOT_DURABLE,
    };
    for (name, value) in OURS.iter().chain(by_durability) {
        set(name, value);
    }
    for (name, value) in &settings.extra {
        set(name, value);
    }
    // Last, because we could not find the server elsewhere.
    set("unix_socket_directories", &place.socket_dir.to_string_lossy());
}

/// The log, and where this start's part of it begins.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if fs::metadata(path).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let start = log.metadata()?.len();
    Ok((log, start))
}

fn log_since(path: &Path, start: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut log| {
        log.seek(SeekFrom::Start(start))?;
        log.read_to_end(&mut text)
    });
    match read {
        Ok(_) => error::last_lines(&text),
        Err(error) => error.to_string(),
    }
}

fn signal(child: &Child, signal: i32) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // SAFETY: kill takes no pointers; the child has not been waited for, so its pid is still its own.
        unsafe { libc::kill(pid, signal) };
    }
}
