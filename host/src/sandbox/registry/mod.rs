//! The plugin directory: what is loaded, and the watch that keeps it so.
//!
//! A new file is loaded, a changed one swapped, a removed one unloaded, all in the background and one after the
//! other; [`Registry::current`] never waits. What has to be compiled waits for its turn beside all this. A broken,
//! half-copied or conflicting file never disturbs the others.

mod directory;
mod disk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::{Plugin, Sandbox, SandboxError};
use directory::Directory;

/// What the system reports is given so long to come to an end.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// A file must look the same at two looks so far apart.
const SETTLE: Duration = Duration::from_millis(200);
/// So many times at the start: a host that starts right after a build is to have the plugins it was built for.
const WAITS_AT_START: u32 = 10;
/// So long a host that starts waits for compilations; most are over by then.
const PATIENCE: Duration = Duration::from_secs(30);
/// The floor under the watch, which some file systems do not support.
const RESCAN: Duration = Duration::from_secs(1);

/// What is loaded at one moment.
#[derive(Debug, Default)]
pub struct Loaded {
    plugins: BTreeMap<String, Arc<Plugin>>,
    problems: Vec<Problem>,
    compiling: usize,
}

/// Why a file is not loaded, or not in its newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Loaded {
    /// The plugin that has the task with this full name, such as `text.word_count`.
    #[must_use]
    pub fn find(&self, task: &str) -> Option<Arc<Plugin>> {
        let (plugin, short) = task.split_once('.')?;
        self.plugins.get(plugin).filter(|plugin| plugin.task(short).is_some()).cloned()
    }

    /// The plugins, by name.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.values()
    }

    /// The files that did not load, by name.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many files wait to be compiled, or are just now. Old code of theirs is served meanwhile.
    #[must_use]
    pub fn compiling(&self) -> usize {
        self.compiling
    }
}

/// The plugin directory, watched until this is dropped.
pub struct Registry {
    shared: Arc<Shared>,
    watching: AbortHandle,
    // Stops reporting when dropped.
    _watcher: Option<RecommendedWatcher>,
}

struct Shared {
    current: ArcSwap<Loaded>,
    changes: watch::Sender<u64>,
}

impl Registry {
    /// Loads every `*.wasm` of the directory, which is made if it is not there, and watches it from then on. Files
    /// that were written just now are waited for until they stand still, for two seconds at most; those that do not
    /// follow in the background. So does what takes longer than 30 seconds to compile, see [`Loaded::compiling`].
    ///
    /// Must be called inside a tokio runtime, which does the watching; compiling and `describe` happen on the
    /// sandbox's threads. Dropping the future is safe.
    ///
    /// # Errors
    /// [`SandboxError::Directory`] if the directory can neither be read nor made. A broken file is no error, but one
    /// of [`Loaded::problems`].
    pub async fn open(sandbox: Arc<Sandbox>, dir: PathBuf) -> Result<Self, SandboxError> {
        Self::open_within(sandbox, dir, PATIENCE).await
    }

    /// The same, waiting for compilations as long as this.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_within(
        sandbox: Arc<Sandbox>,
        dir: PathBuf,
        patience: Duration,
    ) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Directory { path: dir.clone(), source };
        tokio::fs::create_dir_all(&dir).await.map_err(failed)?;
        sandbox.guard(dir.clone());
        let shared = Arc::new(Shared { current: ArcSwap::default(), changes: watch::Sender::new(0) });
        let woken = Arc::new(Notify::new());
        // Before the first look, so that nothing falls in between.
        let watcher = watch_directory(&dir, Arc::clone(&woken));

        let mut directory = Directory::new(sandbox, dir.clone(), Arc::clone(&shared));
        let mut settled = directory.look(true).await.map_err(failed)?;
        for _ in 0..WAITS_AT_START {
            if settled {
                break;
            }
            sleep(SETTLE).await;
            settled = directory.look(false).await.map_err(failed)?;
        }
        let compiled = async { while directory.compiled().await {} };
        if tokio::time::timeout(patience, compiled).await.is_err() {
            let waiting = shared.current.load().compiling();
            tracing::info!(waiting, "plugins are still to be compiled; what is ready is served");
        }
        let watching = tokio::spawn(watch_on(directory, settled, woken)).abort_handle();
        Ok(Self { shared, watching, _watcher: watcher })
    }

    /// What is loaded now. Never waits.
    #[must_use]
    pub fn current(&self) -> Arc<Loaded> {
        self.shared.current.load_full()
    }

    /// A counter that moves after each change of [`Self::current`].
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn watch_directory(dir: &Path, woken: Arc<Notify>) -> Option<RecommendedWatcher> {
    let wake = move |event: notify::Result<notify::Event>| {
        // Our own reading is an access too.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            woken.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(wake).and_then(|mut watcher| {
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .map_err(
            |error| tracing::info!(dir = %dir.display(), %error, "no file events here, looking every second"),
        )
        .ok()
}

async fn watch_on(mut directory: Directory, mut settled: bool, woken: Arc<Notify>) {
    loop {
        let pause = if settled { RESCAN } else { SETTLE };
        tokio::select! {
            () = woken.notified() => sleep(DEBOUNCE).await,
            () = sleep(pause) => {}
            true = directory.compiled() => continue,
        }
        settled = match directory.look(false).await {
            Ok(settled) => settled,
            // What was loaded stays: a directory that is gone for a moment is no order to stop.
            Err(error) => {
                directory.unreadable(&error);
                true
            }
        };
    }
}
