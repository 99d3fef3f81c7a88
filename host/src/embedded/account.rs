//! Whose processes the server's are. PostgreSQL refuses to run as root, so root lends it another user.

use std::env;
use std::ffi::CStr;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The user that runs the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

pub(super) fn our_uid() -> u32 {
    // SAFETY: geteuid only reads the process's own credentials and cannot fail.
    unsafe { libc::geteuid() }
}

pub(super) fn we_are_root() -> bool {
    our_uid() == 0
}

impl Account {
    /// The account for a cluster that may exist: we ourselves, or for root the cluster's owner, else `postgres`, else
    /// `nobody`.
    ///
    /// The owner comes first because a `postgres` account may appear after the cluster was made as `nobody`.
    pub(super) fn for_data(data: &Path) -> Account {
        if !we_are_root() {
            // SAFETY: getegid only reads the process's own credentials and cannot fail.
            let gid = unsafe { libc::getegid() };
            return Account { uid: our_uid(), gid };
        }
        let owner = data.metadata().ok().filter(|found| found.uid() != 0);
        owner
            .map(|found| Account { uid: found.uid(), gid: found.gid() })
            .or_else(|| named(c"postgres"))
            .or_else(|| named(c"nobody"))
            // Every Linux gives this number to nobody; initdb says what it lacks if there is no such user.
            .unwrap_or(Account { uid: 65534, gid: 65534 })
    }

    /// Makes the account the owner of a path. Nothing to do where the account is ourselves.
    pub(super) fn give(self, path: &Path) -> io::Result<()> {
        match we_are_root() {
            true => chown(path, Some(self.uid), Some(self.gid)),
            false => Ok(()),
        }
    }

    /// A command that runs as the account, with nothing of ours that could change what PostgreSQL does.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            // PGDATA, PGPORT, PGOPTIONS and their kind speak of some other server.
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command
            .env("LC_ALL", "C")
            // The account may not be allowed to enter the directory we stand in.
            .current_dir("/")
            .stdin(Stdio::null())
            // Ctrl-C in the terminal is for us; the server is stopped by whoever leaves last.
            .process_group(0);
        if we_are_root() {
            // std drops the supplementary groups by itself here.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}

fn named(name: &CStr) -> Option<Account> {
    let mut buffer = vec![0 as libc::c_char; 16 * 1024];
    // SAFETY: passwd is plain data for which all zeroes is a valid value.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found: *mut libc::passwd = std::ptr::null_mut();
    // SAFETY: every pointer is valid for the call, and the length is that of the buffer.
    let code =
        unsafe { libc::getpwnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found) };
    (code == 0 && !found.is_null() && entry.pw_uid != 0)
        .then_some(Account { uid: entry.pw_uid, gid: entry.pw_gid })
}
