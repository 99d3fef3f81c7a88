//! Paths that are opened once and judged by what was opened: whoever swaps one for a link afterwards gains nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Directory;

/// A granted directory, open from when the plugin was loaded until its last attempt is over.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Place {
    dir: Arc<File>,
    real: PathBuf,
    /// What the guest calls it.
    pub(in crate::sandbox) guest: String,
    /// Whether files in it may be written, made and removed.
    pub(in crate::sandbox) write: bool,
}

impl Place {
    /// # Errors
    /// It is not there or no directory, in words.
    pub(super) fn open(directory: &Directory) -> Result<Self, String> {
        let told = |error: io::Error| format!("the directory {}: {error}", directory.host.display());
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let dir = OpenOptions::new().read(true).custom_flags(flags).open(&directory.host).map_err(told)?;
        let real = descriptor(&dir).read_link().map_err(told)?;
        Ok(Self { dir: Arc::new(dir), real, guest: directory.guest.clone(), write: directory.write })
    }

    /// Leads to this very directory, whatever its old path leads to by now.
    pub(in crate::sandbox) fn path(&self) -> PathBuf {
        descriptor(&self.dir)
    }

    /// Where it was when it was opened, without links.
    pub(in crate::sandbox) fn real(&self) -> &Path {
        &self.real
    }
}

/// Reads a small file of text, and tells where it really is.
///
/// # Errors
/// As of opening and reading; also if it is no file, or a larger one.
pub(super) fn read_text(path: &Path, bytes_max: u64) -> io::Result<(String, PathBuf)> {
    // A pipe would keep the host waiting for whoever writes into it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let real = descriptor(&file).read_link()?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let mut text = String::new();
    let size = file.take(bytes_max + 1).read_to_string(&mut text)?;
    match size as u64 > bytes_max {
        true => Err(io::Error::other(format!("has more than {bytes_max} bytes"))),
        false => Ok((text, real)),
    }
}

fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
