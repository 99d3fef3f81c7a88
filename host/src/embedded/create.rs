//! Making a cluster: all of it, durably, or nothing.
//!
//! `initdb` flushes about a thousand files one by one, which takes seconds on a slow disk. One `syncfs` after
//! `initdb --no-sync` is as durable and several times faster. Where there is no `syncfs`, `initdb` does it its own way.

use std::fs::{self, File};
use std::io;

use super::Settings;
use super::account::Account;
use super::binaries::Binaries;
use super::error::{self, EmbeddedError};
use super::lock;
use super::place::{self, Place};

/// Makes `data/`. Only with `server.lock` held, whose file `initdb` inherits: should we be killed meanwhile, the next
/// process finds the lock held until `initdb` has ended, and does not write beside it.
pub(super) fn cluster(
    place: &Place,
    settings: &Settings,
    binaries: &Binaries,
    account: Account,
    server_lock: &File,
) -> Result<(), EmbeddedError> {
    remove_remains(place)?;
    place::make_dir(&place.data_new, 0o700)?;
    account.give(&place.data_new).map_err(EmbeddedError::at(&place.data_new))?;
    initdb(place, settings, binaries, account, server_lock)?;
    match settings.durable {
        true => flush(place)?,
        false => drop(lock::open(&place.not_durable)?),
    }
    fs::rename(&place.data_new, &place.data).map_err(EmbeddedError::at(&place.data))?;
    // The rename is durable once the directory that holds both names is.
    let root = File::open(&place.root).map_err(EmbeddedError::at(&place.root))?;
    root.sync_all().map_err(EmbeddedError::at(&place.root))
}

/// Clears what a process that was killed while making a cluster has left.
fn remove_remains(place: &Place) -> Result<(), EmbeddedError> {
    let gone = |answer: io::Result<()>| match answer {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone(fs::remove_dir_all(&place.data_new)).map_err(EmbeddedError::at(&place.data_new))?;
    gone(fs::remove_file(&place.not_durable)).map_err(EmbeddedError::at(&place.not_durable))
}

fn initdb(
    place: &Place,
    settings: &Settings,
    binaries: &Binaries,
    account: Account,
    server_lock: &File,
) -> Result<(), EmbeddedError> {
    let program = binaries.dir.join("initdb");
    let mut command = account.command(&program);
    command
        .arg("--pgdata")
        .arg(&place.data_new)
        .args(["--username=postgres", "--encoding=UTF8", "--locale=C"])
        .args(["--data-checksums", "--no-instructions"])
        // Whoever may enter the socket's directory is the owner or root. Nothing else listens.
        .args(["--auth-local=trust", "--auth-host=reject"]);
    if cfg!(target_os = "linux") || !settings.durable {
        command.arg("--no-sync");
    }
    lock::inherit(&mut command, server_lock);
    let failed = |last_lines| EmbeddedError::InitFailed { program: program.clone(), last_lines };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        // What matters comes last and on stderr.
        false => Err(failed(error::last_lines(&[output.stdout, output.stderr].concat()))),
    }
}

#[cfg(target_os = "linux")]
fn flush(place: &Place) -> Result<(), EmbeddedError> {
    use std::os::fd::AsRawFd;

    let at = || EmbeddedError::at(&place.data_new);
    let dir = File::open(&place.data_new).map_err(at())?;
    // SAFETY: the descriptor is open for the length of the call.
    match unsafe { libc::syncfs(dir.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(at()(io::Error::last_os_error())),
    }
}

#[cfg(not(target_os = "linux"))]
fn flush(_: &Place) -> Result<(), EmbeddedError> {
    Ok(())
}
