//! Runs guests: the only room that knows wasmtime.
//!
//! In come component files and [`Call`]s; out go [`Plugin`]s and reports ([`crate::task::Report`]). Every attempt gets
//! a fresh store, whatever happened before. What a guest does wrong is an outcome, a value; [`SandboxError`] means
//! that the host is at fault. Guests run on threads of their own ([`Sandbox::spawn`]): on a shared runtime, spinning
//! guests turned a 5 ms timer of the host into 584 ms, and that timer is the heartbeat.

mod attempt;
mod bindings;
mod cache;
mod compile;
mod descriptors;
mod engine;
mod error;
mod grants;
mod guest;
mod http;
mod journal;
mod limiter;
mod limits;
mod linked;
mod listing;
mod load;
mod marks;
mod meter;
mod plugin;
mod reach;
mod reflect;
mod registry;
mod result;
mod shape;
mod stop;
mod turns;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::task::Report;

use attempt::Phase;
pub use attempt::{Call, HostCalls};
pub use compile::{CompileLimits, Compiler, compile_as_child};
pub use error::{Fault, PluginError, SandboxError};
pub(crate) use grants::read_grants;
pub use grants::{
    Bounds, Directory, GrantsCeiling, GrantsFile, HttpRule, KeyValueRule, Origin, SecretRule, SecretSources,
    SendRule,
};
#[doc(hidden)]
pub use http::Names;
pub use limits::{Effective, Limits, SomeLimits, Source};
pub use plugin::Plugin;
pub use reach::{Listed, Values};
pub use registry::{Loaded, Problem, Registry};
pub use stop::Stop;

/// How a host runs its guests.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// How many attempts run at once; the pool is made for so many.
    pub slots: usize,
    /// What its guests may use and touch.
    pub bounds: Bounds,
    /// Threads that run wasm.
    pub threads: usize,
    /// Where compiled code is kept; nowhere if `None`. Only the host's user may have access.
    pub cache_dir: Option<PathBuf>,
    /// Compiles apart from this process; without, a component that is hard to compile takes this one's memory.
    pub compiler: Option<Compiler>,
    /// Looks up the names that guests ask for; the system does if `None`.
    #[doc(hidden)]
    pub names: Option<Names>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            slots: 4 * threads,
            bounds: Bounds::default(),
            threads,
            cache_dir: None,
            compiler: None,
            names: None,
        }
    }
}

/// The engine, the threads for wasm and what guests may call.
pub struct Sandbox {
    engine: Engine,
    linker: Arc<Linker<guest::Guest>>,
    bounds: Bounds,
    cache: Option<Arc<cache::Cache>>,
    marks: Option<Arc<marks::Marks>>,
    compiler: Option<Compiler>,
    names: Option<Names>,
    stack_bytes: u64,
    compiling: Arc<Semaphore>,
    turns: turns::Turns,
    /// How many handles an attempt with grants may hold: each may be a descriptor.
    handles_max: u64,
    own_dirs: Mutex<Vec<PathBuf>>,
    /// The directories that decide what the links among the plugins lead to.
    ways: Mutex<BTreeSet<PathBuf>>,
    // Taken by `drop` alone: the one for guests, and the one whose timers end them.
    runtime: Option<Runtime>,
    timers: Option<Runtime>,
}

impl Sandbox {
    /// Sets up the engine, its pool and the threads.
    ///
    /// A pool that does not fit the address space and a cache that cannot be trusted are told as warnings; the
    /// sandbox then works without. The process's limit of open files is raised as far as it may be.
    ///
    /// # Errors
    /// [`SandboxError::Setup`] or [`SandboxError::Threads`].
    pub fn start(config: SandboxConfig) -> Result<Arc<Self>, SandboxError> {
        let Bounds { limits, ceiling, .. } = &config.bounds;
        let stack_bytes = limits.within(ceiling).stack_bytes_max;
        let engine = engine::build(config.slots, ceiling, stack_bytes)?;
        let linker = guest::linker(&engine).map_err(|error| SandboxError::Setup(error::one_line(&error)))?;
        let handles_max = descriptors::share(descriptors::raise(), config.slots);
        let own_dirs = Mutex::new(config.cache_dir.iter().cloned().collect());
        let cache = config.cache_dir.and_then(|dir| match cache::Cache::open(&dir) {
            Ok(cache) => Some(Arc::new(cache)),
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "compiled code is not cached");
                None
            }
        });
        let marks = cache.as_ref().and_then(|cache| marks::Marks::open(cache.dir()).ok()).map(Arc::new);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("hostler-wasm")
            // After so many turns of guests, of 5 ms at most each, new attempts have theirs, and what the system
            // has for others. By itself tokio looks after 61, which spinning guests make a third of a second. What
            // ends attempts is timed apart all the same, see `turns`.
            .global_queue_interval(2)
            .event_interval(2)
            .enable_all()
            .build()
            .map_err(SandboxError::Threads)?;
        let timers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("hostler-timers")
            .enable_time()
            .build()
            .map_err(SandboxError::Threads)?;
        engine::start_ticking(&engine).map_err(SandboxError::Threads)?;
        Ok(Arc::new(Self {
            engine,
            linker: Arc::new(linker),
            bounds: config.bounds,
            cache,
            marks,
            compiler: config.compiler,
            names: config.names,
            stack_bytes,
            compiling: Arc::new(Semaphore::new(1)),
            turns: turns::Turns::new(config.threads, timers.handle().clone()),
            handles_max,
            own_dirs,
            ways: Mutex::default(),
            runtime: Some(runtime),
            timers: Some(timers),
        }))
    }

    /// How many places of the pool guests hold now: instances, memories, tables and stacks. `None` without a pool.
    #[must_use]
    pub fn places_taken(&self) -> Option<u64> {
        let pool = self.engine.pooling_allocator_metrics()?;
        let others = [pool.memories(), pool.tables(), pool.stacks()].map(|places| places as u64);
        Some(pool.component_instances() + pool.core_instances() + others.iter().sum::<u64>())
    }

    /// Runs a future on the threads for wasm.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle().spawn(future)
    }

    /// Runs one attempt in a fresh sandbox. Await it inside [`Self::spawn`], so that the guest uses its own threads.
    ///
    /// Whatever the guest does is in the report. A cancel within its grace lets a result or a failure that the guest
    /// returns win; everything else then counts as cancelled. Dropping the future kills the guest at once.
    ///
    /// # Errors
    /// Only where the host is at fault: [`SandboxError::Full`] if more attempts run than there are slots,
    /// [`SandboxError::Setup`] if the system gives no memory, [`SandboxError::Panicked`]. Give the attempt back.
    pub async fn run(&self, plugin: &Plugin, mut call: Call) -> Result<Report, SandboxError> {
        if plugin.powers().is_some() {
            call.limits.resources_max = call.limits.resources_max.min(self.handles_max);
        }
        attempt::run(&self.engine, &self.turns, plugin, call).await
    }

    /// What attempts hold of the pool now, in places, and what its free places keep of memory, in bytes. `None`
    /// without a pool.
    #[doc(hidden)]
    #[must_use]
    pub fn held(&self) -> Option<(u64, usize)> {
        let pool = self.engine.pooling_allocator_metrics()?;
        let parts = (pool.memories() + pool.tables() + pool.stacks()) as u64;
        let kept = pool.unused_memory_bytes_resident() + pool.unused_table_bytes_resident();
        Some((pool.component_instances() + pool.core_instances() + parts, kept))
    }

    /// From now on, no grant lets a guest write in this directory, above it or below it.
    pub(crate) fn guard(&self, dir: PathBuf) {
        self.own_dirs.lock().unwrap_or_else(PoisonError::into_inner).push(dir);
    }

    /// Nor in these, in place of those of the last time; writing below them is allowed.
    fn guard_ways(&self, ways: BTreeSet<PathBuf>) {
        *self.ways.lock().unwrap_or_else(PoisonError::into_inner) = ways;
    }

    fn ways(&self) -> BTreeSet<PathBuf> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn own_dirs(&self) -> Vec<PathBuf> {
        self.own_dirs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("the runtime is there until the sandbox is dropped").handle()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for runtime in [self.runtime.take(), self.timers.take()].into_iter().flatten() {
            // Waiting here would panic in an async context, and a guest in a long host call may take its time.
            runtime.shutdown_background();
        }
    }
}
