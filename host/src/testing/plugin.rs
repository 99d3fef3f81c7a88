//! A compiled component, called directly.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use chrono::Utc;
use hostler_guest::TaskRef;

use crate::sandbox::{Call, PluginError, Sandbox, SandboxConfig, SandboxError, Stop, read_grants};
use crate::task::verdict::{Verdict, decide};
use crate::task::{Claim, Operational, Report, TaskError};

/// A plugin's component in a sandbox, without queue or database. Every call is a first attempt in a fresh
/// sandbox under the limits that a host applies, and is never retried.
pub struct Plugin {
    sandbox: Arc<Sandbox>,
    plugin: Arc<crate::sandbox::Plugin>,
}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}; `hostler build` compiles plugins", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The file is no plugin.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The sandbox does not start on this machine.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Plugin {
    /// Loads `NAME.wasm` as a host does, with the grants in `NAME.toml` beside it. Blocks for as long as compiling takes; any thread may call it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| LoadError::Read { path: path.to_owned(), error })?;
        let beside = path.with_extension("toml");
        let grants = match read_grants(&beside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            read => Some(read.map_err(|error| LoadError::Read { path: beside, error })?),
        };
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let sandbox = Sandbox::start(SandboxConfig { slots: 2, threads: 1, ..SandboxConfig::default() })?;
        let loading = sandbox.clone();
        let plugin =
            wait(&sandbox, async move { loading.load_granted(&stem, bytes, grants.as_deref()).await })?;
        Ok(Self { sandbox, plugin: Arc::new(plugin) })
    }

    /// What its attempts hold of the pool of sandboxes, and what its free places keep; see [`Sandbox::held`].
    #[doc(hidden)]
    #[must_use]
    pub fn held(&self) -> Option<(u64, usize)> {
        self.sandbox.held()
    }

    /// Calls a task: typed (`text::WordCount`), or by name with JSON, `"text.word_count"` or `"word_count"`.
    /// Blocks until it returns or its limits end it; any thread may call it.
    ///
    /// # Errors
    /// [`TaskError`], the very one that a handle's `get` would give if no retry were left.
    pub fn call<R: TaskRef>(&self, task: R, args: impl Borrow<R::Args>) -> Result<R::Output, TaskError> {
        let name = task.name();
        let short = name.strip_prefix(&format!("{}.", self.plugin.name())).unwrap_or(name);
        let Some(found) = self.plugin.task(short) else {
            let message = format!("the plugin {} has no task {name:?}", self.plugin.name());
            return Err(TaskError::new(Operational::WorkerResolutionError, message));
        };
        let args = serde_json::to_vec(args.borrow()).map_err(|error| {
            let message = format!("the arguments cannot be JSON: {error}");
            TaskError::new(crate::task::Contract::ArgumentTypeMismatch, message)
        })?;
        let claim = first_claim(name, args.clone());
        let call = Call {
            task: short.to_owned(),
            args,
            id: claim.id,
            attempt: claim.attempt,
            retries: 0,
            previous_error: None,
            limits: self.plugin.limits(&found.name),
            stop: Stop::new(),
            host_calls: None,
        };
        let (sandbox, plugin) = (self.sandbox.clone(), self.plugin.clone());
        let report = wait(&self.sandbox, async move { sandbox.run(&plugin, call).await });
        let report: Report =
            report.map_err(|error| TaskError::new(Operational::UnhandledError, error.to_string()))?;
        let result = match decide(&claim, &found.policy.retry(), report, claim.claimed_at, 0.0) {
            Verdict::Complete(result) => result,
            Verdict::Fail(error) | Verdict::Retry(error, _) => return Err(error),
            // Nobody cancels it, and it has no deadline of its own to start.
            Verdict::Cancel | Verdict::Expire => {
                return Err(TaskError::new(Operational::UnhandledError, "the call was interrupted"));
            }
            Verdict::Release(reason) | Verdict::Postpone(reason) => {
                return Err(TaskError::new(Operational::UnhandledError, reason));
            }
        };
        serde_json::from_slice(&result).map_err(|error| {
            let message = format!("the result does not fit the type that was asked for: {error}");
            TaskError::new(Operational::ResultDeserializationError, message)
        })
    }
}

fn first_claim(name: &str, args: Vec<u8>) -> Claim {
    Claim {
        id: uuid::Uuid::now_v7(),
        number: 1,
        task: name.to_owned(),
        attempt: 1,
        retries: 0,
        redeliveries: 0,
        releases: 0,
        redeliveries_max: 1,
        max_retries: Some(0),
        good_until: None,
        claimed_at: Utc::now(),
        previous_error: None,
        args,
    }
}

/// Runs a future on the sandbox's own threads and waits for it without a runtime, so that a test may be
/// asynchronous or not.
fn wait<T: Send + 'static>(sandbox: &Sandbox, future: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    sandbox.spawn(async move {
        let _gone = tell.send(future.await);
    });
    told.recv().expect("the sandbox outlives its calls, and a guest's panic is a report")
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.plugin.fmt(f)
    }
}
