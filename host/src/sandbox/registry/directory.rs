//! One directory's files, and what became of each.

use std::collections::BTreeMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Loaded, Problem, Shared};
use crate::sandbox::error::{Fault, PluginError};
use crate::sandbox::grants::GRANTS_BYTES_MAX;
use crate::sandbox::load::{COMPONENT_BYTES_MAX, digest};
use crate::sandbox::{Plugin, Sandbox};

/// At the start, a file this old is taken as finished without a second look.
const OLD: Duration = Duration::from_secs(1);

pub(super) struct Directory {
    sandbox: Arc<Sandbox>,
    dir: PathBuf,
    shared: Arc<Shared>,
    files: BTreeMap<String, Entry>,
    /// Which file holds a plugin's name; the first to come keeps it.
    owners: BTreeMap<String, String>,
    unreadable: Option<String>,
}

/// What is known of one file.
#[derive(Default)]
struct Entry {
    seen: Option<Prints>,
    /// As of when it was read last.
    read: Option<Prints>,
    /// Of both, the file of grants included.
    digest: Option<String>,
    /// The newest version that loaded.
    plugin: Option<Arc<Plugin>>,
    problem: Option<String>,
}

/// Tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    inode: u64,
    size: u64,
    modified: SystemTime,
    /// Of any kind, in nanoseconds; programs that copy can set the time of writing, but not this one.
    changed: (i64, i64),
}

/// A component, and the grants beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prints {
    component: Print,
    grants: Option<Print>,
}

impl Prints {
    fn are_old(&self) -> bool {
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

impl Directory {
    pub(super) fn new(sandbox: Arc<Sandbox>, dir: PathBuf, shared: Arc<Shared>) -> Self {
        let (files, owners) = (BTreeMap::new(), BTreeMap::new());
        Self { sandbox, dir, shared, files, owners, unreadable: None }
    }

    /// Looks at every file once; reads those that changed and have settled. Says whether all have.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) async fn look(&mut self, at_start: bool) -> io::Result<bool> {
        let dir = self.dir.clone();
        let listed = blocking(move || list(&dir)).await?;
        let known = self.files.len();
        self.files.retain(|file, _| listed.contains_key(file));
        if known != self.files.len() || self.unreadable.take().is_some() {
            self.publish();
        }
        let mut settled = true;
        for (file, found) in listed {
            let entry = self.files.entry(file.clone()).or_default();
            let print = match found {
                Ok(print) => print,
                Err(fault) => {
                    // There, but out of reach: no order to unload what it was.
                    (entry.seen, entry.read, entry.digest) = (None, None, None);
                    entry.problem = Some(fault.to_string());
                    self.publish();
                    continue;
                }
            };
            let twice = entry.seen.replace(print) == Some(print);
            if entry.read == Some(print) {
                continue;
            }
            let finished = twice || (at_start && print.are_old());
            if !finished {
                settled = false;
                continue;
            }
            settled &= self.read(&file, print).await;
        }
        Ok(settled)
    }

    /// Keeps what is loaded and tells about the directory.
    pub(super) fn unreadable(&mut self, error: &io::Error) {
        self.unreadable =
            Some(format!("the plugin directory cannot be read: {error}; what was loaded stays"));
        self.publish();
    }

    /// Reads and loads one file. Says whether that is the end of it.
    async fn read(&mut self, file: &str, print: Prints) -> bool {
        let stem = file.strip_suffix(".wasm").unwrap_or(file).to_owned();
        let path = self.dir.join(file);
        let loaded = match blocking(move || read_both(&path, print)).await {
            Ok(None) => return false,
            Ok(Some((bytes, grants))) => {
                let of_grants = grants.as_deref().map(|text| digest(text.as_bytes())).unwrap_or_default();
                let digest = digest(&bytes) + &of_grants;
                let entry = self.files.entry(file.to_owned()).or_default();
                if entry.digest.as_ref() == Some(&digest) {
                    entry.read = Some(print);
                    return true;
                }
                entry.digest = Some(digest);
                self.sandbox.load_granted(&stem, bytes, grants.as_deref()).await
            }
            Err(fault) => Err(PluginError { file: file.to_owned(), fault }),
        };
        let entry = self.files.entry(file.to_owned()).or_default();
        let done = match loaded {
            Ok(plugin) => {
                entry.plugin = Some(Arc::new(plugin));
                entry.problem = None;
                true
            }
            Err(error) => {
                entry.problem = Some(error.fault.to_string());
                let transient = error.fault.is_transient();
                if transient {
                    entry.digest = None;
                }
                !transient
            }
        };
        // A transient fault is tried again at the next look.
        entry.read = done.then_some(print);
        self.publish();
        true
    }

    /// Puts the state together, tells what is new in it and swaps it in.
    fn publish(&mut self) {
        let next = self.assemble();
        let last = self.shared.current.load();
        let same = |a: &Loaded, b: &Loaded| {
            a.problems == b.problems
                && a.plugins.values().map(Arc::as_ptr).eq(b.plugins.values().map(Arc::as_ptr))
        };
        if same(&next, &last) {
            return;
        }
        for problem in next.problems.iter().filter(|problem| !last.problems.contains(problem)) {
            let stays = self.files.get(&problem.file).is_some_and(|entry| entry.plugin.is_some());
            let (file, message) = (&problem.file, &problem.message);
            tracing::warn!(file, old_code_stays = stays, "plugin not loaded: {message}");
        }
        for (name, plugin) in &next.plugins {
            match last.plugins.get(name) {
                Some(before) if Arc::ptr_eq(before, plugin) => {}
                before => tracing::info!(
                    plugin = name,
                    version = plugin.version(),
                    digest = plugin.digest(),
                    replaces = before.map(|before| before.digest()),
                    "plugin loaded"
                ),
            }
        }
        for name in last.plugins.keys().filter(|name| !next.plugins.contains_key(*name)) {
            tracing::info!(plugin = name, "plugin unloaded");
        }
        self.shared.current.store(Arc::new(next));
        self.shared.changes.send_modify(|count| *count += 1);
    }

    fn assemble(&mut self) -> Loaded {
        let holds = |file: &String, name: &String| {
            let plugin = self.files.get(file).and_then(|entry| entry.plugin.as_ref());
            plugin.is_some_and(|plugin| plugin.name() == name)
        };
        self.owners.retain(|name, file| holds(file, name));
        let mut next = Loaded::default();
        for (file, entry) in &self.files {
            let tell = |message| Problem { file: file.clone(), message };
            if let Some(plugin) = &entry.plugin {
                let owner = self.owners.entry(plugin.name().to_owned()).or_insert_with(|| file.clone());
                if owner == file {
                    next.plugins.insert(plugin.name().to_owned(), Arc::clone(plugin));
                } else {
                    let name = plugin.name();
                    next.problems.push(tell(format!(
                        "the plugin name {name:?} belongs to {owner}: remove one of the two"
                    )));
                }
            }
            next.problems.extend(entry.problem.clone().map(tell));
        }
        next.problems.extend(self.unreadable.clone().map(|message| Problem { file: String::new(), message }));
        next
    }
}

/// The plugin files of a directory, and what is under such a name and cannot be one.
fn list(dir: &Path) -> io::Result<BTreeMap<String, Result<Prints, Fault>>> {
    let mut files = BTreeMap::new();
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
        files.insert(name, prints);
    }
    Ok(files)
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
fn read_both(path: &Path, prints: Prints) -> Result<Option<(Vec<u8>, Option<String>)>, Fault> {
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

/// Runs file work on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(join) => match join.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and the caller with it.
            Err(_) => std::future::pending().await,
        },
    }
}
