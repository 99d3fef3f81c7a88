//! Where a project is put together for its compiler: its own files, the guest SDK and the contract, under
//! `target/guests`. Nothing is written beside the sources.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::project::{Lang, Project};

/// The contract, as the component's compiler reads it.
const WIT: &[(&str, &str)] = &[
    ("guest.wit", include_str!("../../../../wit/guest.wit")),
    ("host.wit", include_str!("../../../../wit/host.wit")),
    ("world.wit", include_str!("../../../../wit/world.wit")),
    ("deps/keyvalue/atomic.wit", include_str!("../../../../wit/deps/keyvalue/atomic.wit")),
    ("deps/keyvalue/store.wit", include_str!("../../../../wit/deps/keyvalue/store.wit")),
];

/// One project's place under `target/guests`. One process at a time has it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    /// Where the packages of others are.
    pub(super) packages: PathBuf,
    _lock: File,
}

/// The files of a build by their places in the stage, and what they add up to.
pub(super) struct Files {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Stage {
    /// Waits until nobody else builds this project.
    pub(super) fn open(guests: &Path, project: &Project) -> io::Result<Self> {
        let dir = guests.join(project.lang.directory()).join(&project.plugin);
        fs::create_dir_all(&dir)?;
        let lock = File::create(dir.join(".lock"))?;
        lock.lock()?;
        let packages = dir.join(match project.lang {
            // Where the compiler looks for them, above the sources.
            Lang::JavaScript => "node_modules",
            Lang::Python => "packages",
        });
        Ok(Self { dir, packages, _lock: lock })
    }

    /// What the compiler takes for the project's directory.
    pub(super) fn sources(&self) -> PathBuf {
        self.dir.join("src")
    }

    pub(super) fn wit(&self) -> PathBuf {
        self.dir.join("wit")
    }

    pub(super) fn component(&self, project: &Project) -> PathBuf {
        self.dir.join(format!("{}.wasm", project.plugin))
    }

    /// Whether the component was built from exactly these files.
    pub(super) fn is_built(&self, project: &Project, digest: &str) -> bool {
        self.component(project).is_file() && self.mark("component").is_ok_and(|built| built == digest)
    }

    /// Notes what the component was built from.
    pub(super) fn built(&self, digest: &str) -> io::Result<()> {
        fs::write(self.mark_file("component"), digest)
    }

    /// Whether the packages are those of this list.
    pub(super) fn has_packages(&self, digest: &str) -> bool {
        self.packages.is_dir() && self.mark("packages").is_ok_and(|had| had == digest)
    }

    /// Begins a new set of packages: what was there is gone.
    pub(super) fn clear_packages(&self) -> io::Result<()> {
        let _none = fs::remove_file(self.mark_file("packages"));
        clear(&self.packages)
    }

    /// Notes which packages are there.
    pub(super) fn got_packages(&self, digest: &str) -> io::Result<()> {
        fs::write(self.mark_file("packages"), digest)
    }

    /// Puts exactly these files in place.
    pub(super) fn write(&self, files: &Files) -> io::Result<()> {
        let _none = fs::remove_file(self.mark_file("component"));
        clear(&self.sources())?;
        clear(&self.wit())?;
        for (path, bytes) in &files.files {
            let path = self.dir.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
            fs::write(path, bytes)?;
        }
        Ok(())
    }

    fn mark(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.mark_file(name))
    }

    fn mark_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.from"))
    }
}

impl Files {
    /// The contract and the files of a project that end like this. Hidden files, `target` and `node_modules` are
    /// nobody's sources.
    pub(super) fn of(project: &Project, ends: &[&str]) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        let wit = WIT.iter().map(|(name, text)| (Path::new("wit").join(name), text.as_bytes().to_vec()));
        files.extend(wit);
        let mut open = vec![PathBuf::new()];
        while let Some(inner) = open.pop() {
            for entry in fs::read_dir(project.dir.join(&inner))? {
                let entry = entry?;
                let name = entry.file_name();
                let path = inner.join(&name);
                let name = name.to_string_lossy();
                let skipped = ["target", "node_modules", "__pycache__"];
                if name.starts_with('.') || skipped.contains(&name.as_ref()) {
                    continue;
                }
                match entry.file_type()?.is_dir() {
                    true => open.push(path),
                    false if ends.iter().any(|end| name.ends_with(end)) => {
                        files.insert(Path::new("src").join(&path), fs::read(entry.path())?);
                    }
                    false => {}
                }
            }
        }
        Ok(Self { files })
    }

    /// Adds a file, in place of one of the project's.
    pub(super) fn add(&mut self, path: impl AsRef<Path>, text: &str) {
        self.files.insert(path.as_ref().to_owned(), text.as_bytes().to_vec());
    }

    pub(super) fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(Path::new(path)).map(Vec::as_slice)
    }

    /// Names and contents, and what compiles them.
    pub(super) fn digest(&self, tool: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(tool);
        for (path, bytes) in &self.files {
            let path = path.to_string_lossy();
            digest.update(format!("\n{} {} {path}\n", path.len(), bytes.len()));
            digest.update(bytes);
        }
        format!("{:x}", digest.finalize())
    }
}

/// Makes a directory empty.
fn clear(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(dir),
    }
}
