//! The system's own package, for root on Debian, Ubuntu and their kin.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::obtain::{at, run};

/// What is run, for people.
pub(super) const INSTALL: &str = "apt-get install -y --no-install-recommends postgresql";

const APT_GET: &str = "/usr/bin/apt-get";

/// Read by the package's installation script, and not by us.
const CLUSTERS: &str = "/etc/postgresql-common/createcluster.conf";

pub(super) fn is_here() -> bool {
    Path::new(APT_GET).is_file()
}

/// Installs the package, without the cluster on port 5432 that it would make and start.
pub(super) fn install(progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    let before = forbid_cluster().map_err(at(Path::new(CLUSTERS)))?;
    // A machine just made has no package lists, and the list of a long-lived one may name packages that are gone.
    let answer = install_once(progress).or_else(|_| {
        run(apt_get().arg("update"), progress)?;
        install_once(progress)
    });
    if let Some(before) = before {
        // The administrator's file is only borrowed. One that was not there stays as we wrote it.
        fs::write(CLUSTERS, before).map_err(at(Path::new(CLUSTERS)))?;
    }
    answer
}

fn install_once(progress: &mut dyn FnMut(&str)) -> Result<(), String> {
    let words = INSTALL.split(' ').skip(1);
    run(apt_get().args(words), progress)
}

fn apt_get() -> Command {
    let mut command = Command::new(APT_GET);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The file's content before, if there was one.
fn forbid_cluster() -> io::Result<Option<Vec<u8>>> {
    const LINE: &[u8] = b"\ncreate_main_cluster = false\n";
    let file = Path::new(CLUSTERS);
    let before = match fs::read(file) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    // The last line wins.
    let text = [before.as_deref().unwrap_or_default(), LINE].concat();
    fs::write(file, text)?;
    Ok(before)
}
