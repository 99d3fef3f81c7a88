//! Which code a host was loading when it died.
//!
//! A component is compiled apart from the host, but its code is taken in and asked to describe itself here. Nobody
//! knows of one that kills its host that way; should there be one, each start would be the next death. So a mark
//! stands on disk for as long as that takes. One that nobody holds any more is a death.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// So many deaths, one after the other, and the code is not loaded again.
const DEATHS_MAX: usize = 2;

/// The directory of the marks.
pub(super) struct Marks(PathBuf);

/// Stands for code that is being loaded, until this is dropped; then the code is cleared of what was held against it.
pub(super) struct Mark {
    dir: PathBuf,
    digest: String,
    path: PathBuf,
    // Locked, so that other hosts know that this one lives.
    _held: File,
}

impl Marks {
    /// Makes the directory at first use.
    pub(super) fn open(cache_dir: &Path) -> io::Result<Self> {
        let dir = cache_dir.join("loading");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self(dir))
    }

    /// The marks that speak against this code, if they are as many as it takes.
    pub(super) fn against(&self, digest: &str) -> Option<PathBuf> {
        let left = left(&self.0, digest);
        (left.len() >= DEATHS_MAX).then(|| self.0.join(format!("{digest}.*")))
    }

    pub(super) fn begin(&self, digest: &str) -> io::Result<Mark> {
        // Locked before it has its name: nobody is to take it for a dead one's.
        let file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.as_file().lock()?;
        let path = self.0.join(format!("{digest}.{}", uuid::Uuid::now_v7().simple()));
        let held = file.persist(&path).map_err(|error| error.error)?;
        Ok(Mark { dir: self.0.clone(), digest: digest.to_owned(), path, _held: held })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // The host outlived it, which clears it of earlier deaths as well.
        for path in left(&self.dir, &self.digest).iter().chain([&self.path]) {
            if let Err(error) = fs::remove_file(path) {
                tracing::debug!(path = %path.display(), %error, "a mark stays");
            }
        }
    }
}

/// The marks of this code whose hosts are dead.
fn left(dir: &Path, digest: &str) -> Vec<PathBuf> {
    let of_it = |path: &PathBuf| {
        path.file_stem().is_some_and(|stem| stem == digest)
            && File::open(path).is_ok_and(|file| file.try_lock().is_ok())
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(of_it).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_deaths_speak_against_code_and_a_life_clears_it() {
        let dir = tempfile::tempdir().expect("directory");
        let marks = Marks::open(dir.path()).expect("opened");
        let dead = |digest: &str, name: &str| {
            fs::write(dir.path().join("loading").join(format!("{digest}.{name}")), "").expect("written");
        };
        dead("aa", "1");
        dead("bb", "1");
        let other_host = marks.begin("aa").expect("marked");
        assert!(marks.against("aa").is_none(), "one died, the other one is at it");
        dead("aa", "2");
        assert!(marks.against("aa").is_some() && marks.against("bb").is_none());
        drop(other_host);
        assert!(marks.against("aa").is_none(), "somebody loaded it and lives");
        dead("bb", "2");
        assert!(marks.against("bb").is_some(), "each for itself");
    }
}
