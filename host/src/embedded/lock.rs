//! The three locks. They are `flock`s: they belong to the open file, so a child that inherits it holds the lock too.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::error::EmbeddedError;

/// How often a held lock, or a server that is not there yet, is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(5);

/// Opens a lock file, making it where it is missing. The lock is not taken.
pub(super) fn open(path: &Path) -> Result<File, EmbeddedError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(EmbeddedError::at(path))
}

/// Whether the exclusive lock could be taken at once.
pub(super) fn try_exclusive(file: &File, path: &Path) -> Result<bool, EmbeddedError> {
    taken(file.try_lock(), path)
}

/// Whether the shared lock could be taken at once.
pub(super) fn try_shared(file: &File, path: &Path) -> Result<bool, EmbeddedError> {
    taken(file.try_lock_shared(), path)
}

/// Tries until it succeeds; false after `patience`.
pub(super) fn within(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<bool, EmbeddedError>,
) -> Result<bool, EmbeddedError> {
    let deadline = Instant::now() + patience;
    loop {
        if attempt()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(RETRY);
    }
}

/// Lets the command's process, and every process it starts, keep this file and its lock.
pub(super) fn inherit(command: &mut Command, file: &File) {
    let descriptor = file.as_raw_fd();
    // The flag is cleared in the child only: cleared here, any process that another thread starts meanwhile would keep
    // the lock as well.
    let keep_open = move || {
        // SAFETY: fcntl is safe between fork and exec, and changes nothing but this descriptor's flag.
        match unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(keep_open) };
}

fn taken(answer: Result<(), TryLockError>, path: &Path) -> Result<bool, EmbeddedError> {
    match answer {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(EmbeddedError::at(path)(error)),
    }
}
