//! The files of a plugin directory: what they look like, what is in them, and where they really lie.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::sandbox::error::Fault;
use crate::sandbox::grants::GRANTS_BYTES_MAX;
use crate::sandbox::shape::COMPONENT_BYTES_MAX;

/// At the start, a file this old is taken as finished without a second look.
const OLD: Duration = Duration::from_secs(1);

/// More links on one way are a circle.
const LINKS_MAX: usize = 40;

/// Tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    inode: u64,
    size: u64,
    modified: SystemTime,
    /// Of any kind, in nanoseconds; programs that copy can set the time of writing, but not this one.
    changed: (i64, i64),
}

/// A component, and the grants beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prints {
    component: Print,
    grants: Option<Print>,
}

impl Prints {
    /// The component's size, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.component.size
    }

    pub(super) fn are_old(&self) -> bool {
        self.component.is_old() && self.grants.is_none_or(|grants| grants.is_old())
    }
}

impl Print {
    fn of(meta: &Metadata) -> Self {
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let changed = (meta.ctime(), meta.ctime_nsec());
        Self { inode: meta.ino(), size: meta.len(), modified, changed }
    }

    fn is_old(&self) -> bool {
        SystemTime::now().duration_since(self.modified).is_ok_and(|age| age > OLD)
    }
}

/// What a directory holds.
#[derive(Default)]
pub(super) struct Listed {
    /// The plugin files, and what is under such a name and cannot be one.
    pub(super) files: BTreeMap<String, Result<Prints, Fault>>,
    /// For each that is a link, or whose grants are: the directories it leads through, without links.
    pub(super) ways: BTreeMap<String, BTreeSet<PathBuf>>,
}

/// Looks at every plugin file of a directory, and follows the links among them.
pub(super) fn list(dir: &Path) -> io::Result<Listed> {
    let mut listed = Listed::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A name that is not UTF-8 is no plugin's name. Copies in progress have other endings or a leading dot.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || !name.ends_with(".wasm") {
            continue;
        }
        // A file that is gone again, or a link to nothing, is not there.
        let prints = match print(&entry.path()) {
            Ok(None) => continue,
            Ok(Some(component)) => {
                print(&entry.path().with_extension("toml")).map(|grants| Prints { component, grants })
            }
            Err(fault) => Err(fault),
        };
        let beside = entry.path().with_extension("toml");
        let linked = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        let ways: BTreeSet<PathBuf> =
            [entry.path(), beside].iter().filter(|path| linked(path)).flat_map(|path| way(path)).collect();
        if !ways.is_empty() {
            listed.ways.insert(name.clone(), ways);
        }
        listed.files.insert(name, prints);
    }
    Ok(listed)
}

/// The directories that decide what stands at a path: those with a link on the way, and the one with the file.
pub(super) fn way(path: &Path) -> BTreeSet<PathBuf> {
    let mut stations = BTreeSet::new();
    let Ok(path) = std::path::absolute(path) else { return stations };
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
    let mut rest: Vec<_> = parts(&path);
    while let Some(part) = rest.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(name)) => match fs::read_link(at.join(name)) {
                Ok(target) if links < LINKS_MAX => {
                    links += 1;
                    stations.insert(at.clone());
                    let target: Vec<_> = parts(&target);
                    rest.extend(target);
                }
                _ => at.push(name),
            },
            _ => {}
        }
    }
    stations.extend(at.parent().map(Path::to_owned));
    stations
}

/// What a file looks like; `None` if nothing is there.
fn print(path: &Path) -> Result<Option<Print>, Fault> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(Print::of(&meta))),
        // Opening a pipe would wait for whoever writes to it.
        Ok(_) => Err(Fault::Unreadable(io::Error::other(format!("{} is no regular file", path.display())))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::Unreadable(error)),
    }
}

/// A component and the text of its grants, or `None` if one is no longer the file that was seen.
#[expect(clippy::type_complexity, reason = "said in one line above")]
pub(super) fn read_both(path: &Path, prints: Prints) -> Result<Option<(Vec<u8>, Option<String>)>, Fault> {
    let Some(component) = read(path, prints.component, COMPONENT_BYTES_MAX)? else { return Ok(None) };
    let Some(print) = prints.grants else { return Ok(Some((component, None))) };
    let Some(grants) = read(&path.with_extension("toml"), print, GRANTS_BYTES_MAX)? else { return Ok(None) };
    let file = path.with_extension("toml").file_name().unwrap_or_default().to_string_lossy().into_owned();
    let grants =
        String::from_utf8(grants).map_err(|_| Fault::Grants { file, what: "is not UTF-8".to_owned() })?;
    Ok(Some((component, Some(grants))))
}

/// The file's content from one handle, or `None` if it is no longer the file that was seen.
fn read(path: &Path, print: Print, max: u64) -> Result<Option<Vec<u8>>, Fault> {
    // What was a file a moment ago may be a pipe by now, which must not be waited for.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Fault::Unreadable)?,
    };
    let meta = file.metadata().map_err(Fault::Unreadable)?;
    if !meta.is_file() || Print::of(&meta) != print {
        return Ok(None);
    }
    if print.size > max {
        return Err(Fault::TooLarge { bytes: print.size, max });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(print.size).unwrap_or_default());
    (&file).take(max + 1).read_to_end(&mut bytes).map_err(Fault::Unreadable)?;
    // Written to meanwhile, it may be half one version and half the other.
    let same = Print::of(&file.metadata().map_err(Fault::Unreadable)?) == print;
    Ok((same && bytes.len() as u64 == print.size).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_way_has_a_station_wherever_it_could_be_changed() {
        let dir = tempfile::tempdir().expect("directory");
        let root = dir.path().canonicalize().expect("real");
        fs::create_dir_all(root.join("releases/1"))
            .and_then(|()| fs::create_dir(root.join("links")))
            .expect("made");
        fs::create_dir(root.join("plugins"))
            .and_then(|()| fs::write(root.join("releases/1/a"), ""))
            .expect("made");
        symlink("../releases/1", root.join("links/current")).expect("linked");
        symlink(root.join("links/current/a"), root.join("plugins/a.wasm")).expect("linked");
        let within = |path: &str| -> Vec<PathBuf> {
            way(&root.join(path)).into_iter().filter(|station| station.starts_with(&root)).collect()
        };
        let expected = ["links", "plugins", "releases/1"].map(|path| root.join(path));
        assert_eq!(within("plugins/a.wasm"), expected);
        symlink("b", root.join("a")).and_then(|()| symlink("a", root.join("b"))).expect("linked");
        assert_eq!(within("a"), std::slice::from_ref(&root), "a circle has an end");
    }
}
