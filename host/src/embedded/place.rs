//! Where the files are. Every process must compute the same answer, so nothing here depends on the environment.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::{self, Account};
use super::error::EmbeddedError;

/// Where root keeps what the server's user must be able to enter.
pub(super) const ROOTS_OF_ROOT: &str = "/var/lib/hostler";

/// The socket's name, which PostgreSQL derives from its port.
const SOCKET: &str = ".s.PGSQL.5432";

/// `sockaddr_un` takes 108 bytes on Linux, 104 on macOS, a final zero included.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// The directory that holds the private server's files for this data directory.
///
/// For a user this is the data directory itself, absolute and without symbolic links. For root, whose directories the
/// server's user often cannot enter, it is a directory under `/var/lib/hostler` named by a hash of that path.
pub fn root_of(data_dir: &Path) -> PathBuf {
    let real = resolved(data_dir);
    match account::we_are_root() {
        true => Path::new(ROOTS_OF_ROOT).join(short_hash(&real)),
        false => real,
    }
}

/// The paths of one private server.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) data: PathBuf,
    pub(super) data_new: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) log: PathBuf,
    pub(super) gate_lock: PathBuf,
    pub(super) users_lock: PathBuf,
    pub(super) server_lock: PathBuf,
    /// Present where the cluster was made without fsync.
    pub(super) not_durable: PathBuf,
    named: PathBuf,
}

impl Place {
    pub(super) fn of(data_dir: &Path) -> Place {
        let root = root_of(data_dir);
        Place {
            data: root.join("data"),
            data_new: root.join("data.new"),
            socket_dir: socket_dir_of(&root),
            log: root.join("server.log"),
            gate_lock: root.join("gate.lock"),
            users_lock: root.join("users.lock"),
            server_lock: root.join("server.lock"),
            not_durable: root.join("not-durable"),
            named: resolved(data_dir),
            root,
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.socket_dir.join(SOCKET)
    }

    pub(super) fn has_data(&self) -> bool {
        self.data.join("PG_VERSION").is_file()
    }

    /// The major version of the cluster.
    pub(super) fn data_version(&self) -> Result<u32, EmbeddedError> {
        let file = self.data.join("PG_VERSION");
        let text = fs::read_to_string(&file).map_err(EmbeddedError::at(&file))?;
        text.trim().parse().map_err(|_| {
            let found = format!("{:?} is no PostgreSQL version", text.trim());
            EmbeddedError::at(&file)(io::Error::new(io::ErrorKind::InvalidData, found))
        })
    }

    /// Makes the root, and for root a note of which data directory it belongs to.
    pub(super) fn make_root(&self) -> Result<(), EmbeddedError> {
        if account::we_are_root() {
            // The server's user passes through both, so root's umask must not close them.
            make_dir(Path::new(ROOTS_OF_ROOT), 0o755)?;
            make_dir(&self.root, 0o711)?;
            let note = self.root.join("belongs-to");
            let path = self.named.as_os_str().as_bytes();
            return fs::write(&note, path).map_err(EmbeddedError::at(&note));
        }
        fs::create_dir_all(self.root.parent().unwrap_or(&self.root))
            .map_err(EmbeddedError::at(&self.root))?;
        make_dir(&self.root, 0o700)
    }

    /// Makes the socket's directory, empty of what a dead server left. Only with `server.lock` held.
    pub(super) fn make_socket_dir(&self, account: Account) -> Result<(), EmbeddedError> {
        let at = || EmbeddedError::at(&self.socket_dir);
        make_dir(&self.socket_dir, 0o700)?;
        // The short directory stands where others may write: somebody could have put theirs, or a link, there first.
        let found = fs::symlink_metadata(&self.socket_dir).map_err(at())?;
        if !found.is_dir() || (found.uid() != account.uid && found.uid() != account::our_uid()) {
            let refused = io::Error::new(io::ErrorKind::PermissionDenied, "it is somebody else's");
            return Err(at()(refused));
        }
        account.give(&self.socket_dir).map_err(at())?;
        fs::set_permissions(&self.socket_dir, fs::Permissions::from_mode(0o700)).map_err(at())?;
        for entry in fs::read_dir(&self.socket_dir).map_err(at())? {
            let path = entry.map_err(at())?.path();
            fs::remove_file(&path).map_err(EmbeddedError::at(&path))?;
        }
        Ok(())
    }
}

/// Makes one directory; one that exists keeps its mode.
pub(super) fn make_dir(path: &Path, mode: u32) -> Result<(), EmbeddedError> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(EmbeddedError::at(path))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !path.is_file() => Ok(()),
        Err(error) => Err(EmbeddedError::at(path)(error)),
    }
}

/// `run` in the root, unless its path does not fit a socket address or needs quoting somewhere on its way (in the
/// server's list of directories, in a URL).
fn socket_dir_of(root: &Path) -> PathBuf {
    let usual = root.join("run");
    let bytes = usual.as_os_str().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(byte);
    if bytes.iter().all(plain) && bytes.len() + 1 + SOCKET.len() <= SOCKET_PATH_BYTES_MAX {
        return usual;
    }
    let name = format!("hostler-{}-{}", account::our_uid(), short_hash(root));
    Path::new("/tmp").join(name)
}

fn short_hash(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Absolute and free of symbolic links, also where the last parts do not exist yet.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        if let Ok(mut real) = existing.canonicalize() {
            for part in missing.into_iter().rev() {
                match part {
                    // What does not exist is no link, so this is right and not only nearly so.
                    Component::ParentDir => drop(real.pop()),
                    part => real.push(part),
                }
            }
            return real;
        }
        match (existing.components().next_back(), existing.parent()) {
            (Some(part), Some(parent)) => {
                missing.push(part);
                existing = parent;
            }
            _ => return absolute,
        }
    }
}
