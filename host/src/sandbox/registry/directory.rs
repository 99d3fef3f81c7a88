//! One directory's files, and what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::disk::{Listed, Prints, list, read_both};
use super::{Loaded, Problem, Shared};
use crate::sandbox::error::{Fault, PluginError, panic_text};
use crate::sandbox::load::digest;
use crate::sandbox::{Plugin, Sandbox};

pub(super) struct Directory {
    sandbox: Arc<Sandbox>,
    dir: PathBuf,
    shared: Arc<Shared>,
    files: BTreeMap<String, Entry>,
    /// Which file holds a plugin's name. Of two that come at once none does: one of them is a stranger's.
    owners: BTreeMap<String, String>,
    /// What is compiled now, one at a time; dropped with this.
    compiling: JoinSet<Compiled>,
    /// Which file that is, and with which digest.
    under_way: Option<(String, String)>,
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
    /// It has to be compiled, and is not yet, or just now.
    to_compile: Option<Prints>,
    /// The newest version that loaded.
    plugin: Option<Arc<Plugin>>,
    problem: Option<String>,
}

/// What came of a compilation; `None` if the file is no longer what it was.
type Compiled = Option<Result<Plugin, PluginError>>;

impl Directory {
    pub(super) fn new(sandbox: Arc<Sandbox>, dir: PathBuf, shared: Arc<Shared>) -> Self {
        let (files, owners) = (BTreeMap::new(), BTreeMap::new());
        let compiling = JoinSet::new();
        Self { sandbox, dir, shared, files, owners, compiling, under_way: None, unreadable: None }
    }

    /// Looks at every file once; reads those that changed and have settled. Says whether all have. What has to be
    /// compiled is put off, and one of it begun.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) async fn look(&mut self, at_start: bool) -> io::Result<bool> {
        let dir = self.dir.clone();
        let Listed { files: listed, ways } = blocking(move || list(&dir)).await?;
        let known = self.files.len();
        self.files.retain(|file, _| listed.contains_key(file));
        let removed = known != self.files.len();
        // All of them before any is read: which ones share a name is told by their own names.
        for file in listed.keys().filter(|file| !self.files.contains_key(*file)).cloned().collect::<Vec<_>>()
        {
            self.files.insert(file, Entry::default());
        }
        self.sandbox.guard_ways(ways.values().flatten().cloned().collect());
        if removed || self.unreadable.take().is_some() {
            self.publish();
        }
        let mut settled = true;
        for (file, found) in listed {
            let astray = ways.get(&file).and_then(|way| self.astray(way));
            let entry = self.files.entry(file.clone()).or_default();
            let found = found.and_then(|print| match astray {
                Some(told) => Err(Fault::Unreadable(io::Error::other(told))),
                None => Ok(print),
            });
            let print = match found {
                Ok(print) => print,
                Err(fault) => {
                    // There, but out of reach: no order to unload what it was.
                    (entry.seen, entry.read, entry.digest, entry.to_compile) = (None, None, None, None);
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
        self.compile_next();
        Ok(settled)
    }

    /// Waits for the end of what is compiled now, takes it in and begins with the next one. Says whether there was
    /// any. Cancel-safe.
    pub(super) async fn compiled(&mut self) -> bool {
        let Some(done) = self.compiling.join_next().await else { return false };
        if let Some((file, digest)) = self.under_way.take() {
            self.take_in(&file, &digest, done);
        }
        self.compile_next();
        true
    }

    /// Where the guests of a plugin may write on the way to a file, in words.
    fn astray(&self, way: &BTreeSet<PathBuf>) -> Option<String> {
        let plugins = self.files.values().filter_map(|entry| entry.plugin.as_ref());
        let (plugin, place) = plugins.filter_map(|p| Some((p, p.powers()?.written(way)?))).next()?;
        let (name, place) = (plugin.name(), place.display());
        Some(format!("it leads through {place}, where guests of {name} may write"))
    }

    fn take_in(&mut self, file: &str, digest: &str, done: Result<Compiled, JoinError>) {
        let Some(entry) = self.files.get_mut(file).filter(|entry| entry.digest.as_deref() == Some(digest))
        else {
            // It is gone, or was read anew since.
            return;
        };
        let Some(prints) = entry.to_compile.take() else { return };
        let loaded = match done {
            Ok(Some(loaded)) => loaded,
            Ok(None) => {
                (entry.read, entry.digest) = (None, None);
                return;
            }
            Err(join) => Err(PluginError {
                file: file.to_owned(),
                fault: match join.try_into_panic() {
                    Ok(panic) => Fault::CompilerPanicked(panic_text(&*panic)),
                    Err(_) => Fault::Host("it was broken off".to_owned()),
                },
            }),
        };
        self.settle(file, prints, loaded);
    }

    /// Begins to compile the smallest of what waits for it: it is the least likely to keep the others.
    fn compile_next(&mut self) {
        if !self.compiling.is_empty() {
            return;
        }
        let waiting = self
            .files
            .iter()
            .filter_map(|(file, entry)| Some((entry.to_compile?, file.clone(), entry.digest.clone()?)));
        let Some((prints, file, digest)) = waiting.min_by_key(|(prints, ..)| prints.size()) else { return };
        let (sandbox, path, stem) = (Arc::clone(&self.sandbox), self.dir.join(&file), stem(&file).to_owned());
        self.under_way = Some((file.clone(), digest));
        self.compiling.spawn(async move {
            match blocking(move || read_both(&path, prints)).await {
                Ok(None) => None,
                Ok(Some((bytes, grants))) => {
                    Some(sandbox.load_granted(&stem, bytes, grants.as_deref()).await)
                }
                Err(fault) => Some(Err(PluginError { file, fault })),
            }
        });
    }

    /// Keeps what is loaded and tells about the directory.
    pub(super) fn unreadable(&mut self, error: &io::Error) {
        self.unreadable =
            Some(format!("the plugin directory cannot be read: {error}; what was loaded stays"));
        self.publish();
    }

    /// Reads and loads one file, or puts it off until it is compiled. Says whether it was what was seen.
    async fn read(&mut self, file: &str, print: Prints) -> bool {
        let path = self.dir.join(file);
        let loaded = match blocking(move || read_both(&path, print)).await {
            Ok(None) => return false,
            Ok(Some((bytes, grants))) => {
                let of_grants = grants.as_deref().map(|text| digest(text.as_bytes())).unwrap_or_default();
                let digest = digest(&bytes) + &of_grants;
                let entry = self.files.entry(file.to_owned()).or_default();
                if entry.digest.as_ref() == Some(&digest) {
                    entry.read = Some(print);
                    entry.to_compile = entry.to_compile.map(|_| print);
                    return true;
                }
                entry.digest = Some(digest);
                self.sandbox.load_cached(stem(file), bytes, grants.as_deref()).await
            }
            Err(fault) => Err(PluginError { file: file.to_owned(), fault }),
        };
        match loaded.transpose() {
            Some(loaded) => self.settle(file, print, loaded),
            None => {
                let entry = self.files.entry(file.to_owned()).or_default();
                (entry.read, entry.to_compile) = (Some(print), Some(print));
                self.publish();
            }
        }
        true
    }

    /// Keeps what came of a file as it was at `print`.
    fn settle(&mut self, file: &str, print: Prints, loaded: Result<Plugin, PluginError>) {
        let entry = self.files.entry(file.to_owned()).or_default();
        entry.to_compile = None;
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
    }

    /// Puts the state together, tells what is new in it and swaps it in.
    fn publish(&mut self) {
        let next = self.assemble();
        let last = self.shared.current.load();
        let same = |a: &Loaded, b: &Loaded| {
            a.problems == b.problems
                && a.compiling == b.compiling
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
        self.settle_names();
        let compiling = self.files.values().filter(|entry| entry.to_compile.is_some()).count();
        let mut next = Loaded { compiling, ..Loaded::default() };
        for (file, entry) in &self.files {
            let tell = |message| Problem { file: file.clone(), message };
            if let Some(plugin) = &entry.plugin {
                let name = plugin.name();
                match self.owners.get(name) {
                    Some(owner) if owner == file => {
                        next.plugins.insert(name.to_owned(), Arc::clone(plugin));
                    }
                    Some(owner) => next.problems.push(tell(format!(
                        "the plugin name {name:?} belongs to {owner}: remove one of the two; a host that starts \
                         now could not tell whose it is and would serve neither"
                    ))),
                    None if self.is_awaited(name) => {}
                    None => {
                        let others: Vec<&String> = self.loaded(name).filter(|other| *other != file).collect();
                        next.problems.push(tell(format!(
                            "the plugin name {name:?} is claimed by {others:?} as well, and neither is served: \
                             remove one of the two"
                        )));
                    }
                }
            }
            next.problems.extend(entry.problem.clone().map(tell));
        }
        next.problems.extend(self.unreadable.clone().map(|message| Problem { file: String::new(), message }));
        next
    }

    /// Gives each name that is nobody's to the one file that claims it.
    fn settle_names(&mut self) {
        let names: BTreeSet<String> =
            self.files.values().filter_map(|entry| Some(entry.plugin.as_ref()?.name().to_owned())).collect();
        for name in names {
            if self.owners.contains_key(&name) || self.is_awaited(&name) {
                continue;
            }
            let claim = {
                let mut claims = self.loaded(&name);
                claims.next().cloned().filter(|_| claims.next().is_none())
            };
            if let Some(file) = claim {
                self.owners.insert(name, file);
            }
        }
    }

    /// The files whose plugin has this name.
    fn loaded(&self, name: &str) -> impl Iterator<Item = &String> {
        let has = move |entry: &Entry| entry.plugin.as_ref().is_some_and(|plugin| plugin.name() == name);
        self.files.iter().filter(move |(_, entry)| has(entry)).map(|(file, _)| file)
    }

    /// Whether there is a file of this name of which nothing is known yet.
    fn is_awaited(&self, name: &str) -> bool {
        let unknown = |entry: &Entry| entry.plugin.is_none() && entry.problem.is_none();
        self.files.iter().any(|(file, entry)| unknown(entry) && stem(file).replace('-', "_") == name)
    }
}

fn stem(file: &str) -> &str {
    file.strip_suffix(".wasm").unwrap_or(file)
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
