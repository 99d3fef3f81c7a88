//! What a guest may call: WASI with nothing in it, and the contract's small interfaces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView, p2};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::bindings::{atomics, attempt, cancellation, checkpoint, keyvalue, log, progress, tasks};
use super::error::SandboxError;
use super::grants::Powers;
use super::http::{Asked, Requests};
use super::journal::{Journal, Pipe, Stream};
use super::limiter::Limiter;
use super::linked::Granted;
use super::listing::{self, Listings};
use super::meter::{CpuExceeded, Meter};
use super::reach::{Allowance, Reach};
use super::turns::Turns;
use super::{HostCalls, Limits, Stop};
use crate::task::TaskId;

/// The longest note of a progress report, in bytes.
const NOTE_BYTES_MAX: usize = 1 << 10;
/// The longest name of a durable step, in bytes.
const STEP_NAME_BYTES_MAX: usize = 200;
/// The largest durable step, in bytes.
const STEP_BYTES_MAX: usize = 1 << 20;
/// How many steps an attempt keeps that no host stands behind: with their size, they are bounded.
const STEPS_MAX: usize = 4;

/// One attempt as its guest sees it: the data of a store.
pub(super) struct Guest {
    pub(super) limiter: Limiter,
    pub(super) journal: Journal,
    facts: Facts,
    wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) listings: Listings,
    /// Made for plugins that have a grant.
    http: Option<Box<Requests>>,
    /// What it reaches through the database; nothing without a grant.
    pub(super) reach: Reach,
    /// How much it may still ask of the database.
    pub(super) allowance: Allowance,
    /// Steps of an attempt that no host stands behind.
    kept: BTreeMap<String, Vec<u8>>,
}

impl Guest {
    /// The first thing it asked for that its grants refuse.
    pub(super) fn denied(&self) -> Option<String> {
        let of_http = || self.http.as_ref()?.denied();
        of_http().or_else(|| self.reach.denied())
    }
}

/// What a guest may ask about its attempt.
#[derive(Clone)]
pub(super) struct Facts {
    pub(super) id: TaskId,
    pub(super) attempt: u32,
    pub(super) retries: u32,
    pub(super) previous_error: Option<String>,
    pub(super) deadline: Instant,
    pub(super) stop: Stop,
    pub(super) host_calls: Option<Arc<dyn HostCalls>>,
    pub(super) turns: Turns,
}

/// A fresh store for one attempt, with every limit set and with what the plugin is granted, if anything.
///
/// # Errors
/// [`SandboxError::Setup`]: the system has no descriptor left for a granted directory.
pub(super) fn store(
    engine: &Engine,
    facts: Facts,
    limits: &Limits,
    meter: &Arc<Meter>,
    powers: Option<&Powers>,
) -> Result<Store<Guest>, SandboxError> {
    let journal = Journal::new(facts.id, facts.attempt, limits.log_bytes_max, limits.log_lines_max);
    let pipe = |stream| Pipe { stream, journal: journal.clone() };
    let mut wasi = WasiCtx::builder();
    wasi.stdout(pipe(Stream::Stdout))
        .stderr(pipe(Stream::Stderr))
        .max_random_size(1 << 20)
        .allow_tcp(false)
        .allow_udp(false);
    let mut http = None;
    let mut reach = Reach::default();
    if let Some(powers) = powers {
        wasi.envs(&powers.env);
        for directory in &powers.directories {
            let perms = if directory.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            // By its descriptor: a guest that may write around it could swap its path for a link.
            wasi.preopened_dir(directory.path(), &directory.guest, perms).map_err(|error| {
                SandboxError::Setup(format!("the granted directory {}: {error}", directory.real().display()))
            })?;
        }
        let asked = Asked { host: facts.host_calls.clone(), stop: facts.stop.clone() };
        reach = Reach::new(powers, asked.clone());
        http = Some(Box::new(Requests::new(powers.http.clone(), limits, asked)));
    }
    let resources_max = usize::try_from(limits.resources_max).unwrap_or(usize::MAX);
    let mut table = ResourceTable::new();
    table.set_max_capacity(resources_max);
    let guest = Guest {
        limiter: Limiter::new(limits),
        journal,
        facts,
        wasi: wasi.build(),
        table,
        listings: Listings::default(),
        http,
        reach,
        allowance: Allowance::new(limits),
        kept: BTreeMap::new(),
    };
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    // Those of resources that the component defines itself; the host has no hand in making them.
    store.set_max_component_handles(resources_max);
    store.set_hostcall_fuel(super::result::hostcall_fuel(limits));

    let (meter, budget) = (Arc::clone(meter), Duration::from_millis(limits.cpu_ms_max));
    store.epoch_deadline_callback(move |_| {
        if meter.used_within() > budget {
            return Err(CpuExceeded.into());
        }
        // Not `Yield`: that wakes itself at once, and tokio would poll this guest again before its neighbours.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(meter.rest())))
    });
    // Before instantiation, which runs the guest's start functions: an unset deadline traps at once.
    store.set_epoch_deadline(1);
    Ok(store)
}

/// Links all that needs no grant ([`super::linked`]) and nothing else; made once.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    use p2::bindings::{cli, filesystem, random};
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    // io, clocks, random and stdio: the smallest set that wasmtime-wasi links by one call. No sockets.
    p2::add_to_linker_proxy_interfaces_async(l)?;
    random::insecure::add_to_linker::<Guest, WasiRandom>(l, |g| g.wasi.random())?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(l, |g| g.wasi.random())?;
    cli::environment::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::exit::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    // std imports the file system whether it uses it or not; there is no directory in it.
    filesystem::types::add_to_linker::<Guest, WasiFilesystem>(l, Guest::filesystem)?;
    filesystem::preopens::add_to_linker::<Guest, WasiFilesystem>(l, Guest::filesystem)?;
    listing::bound(l)?;

    attempt::add_to_linker::<Guest, HasSelf<Guest>>(l, |g| g)?;
    log::add_to_linker::<Guest, HasSelf<Guest>>(l, |g| g)?;
    progress::add_to_linker::<Guest, HasSelf<Guest>>(l, |g| g)?;
    cancellation::add_to_linker::<Guest, HasSelf<Guest>>(l, |g| g)?;
    checkpoint::add_to_linker::<Guest, HasSelf<Guest>>(l, |g| g)?;
    Ok(linker)
}

/// Links what its grants add for one plugin.
pub(super) fn link_granted(linker: &mut Linker<Guest>, granted: Granted) -> wasmtime::Result<()> {
    if granted.http {
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    }
    if granted.send {
        tasks::add_to_linker::<Guest, HasSelf<Guest>>(linker, |g| g)?;
    }
    if granted.keyvalue {
        keyvalue::add_to_linker::<Guest, HasSelf<Guest>>(linker, |g| g)?;
        atomics::add_to_linker::<Guest, HasSelf<Guest>>(linker, |g| g)?;
    }
    Ok(())
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        // `describe` runs with the plugin's linker and without its grants: whatever it asks for is refused.
        let requests = self
            .http
            .get_or_insert_with(|| Box::new(Requests::new(None, &Limits::DEFAULT, Asked::default())));
        WasiHttpCtxView { hooks: &mut requests.hooks, table: &mut self.table, ctx: &mut requests.ctx }
    }
}

impl attempt::Host for Guest {
    fn id(&mut self) -> String {
        self.facts.id.to_string()
    }

    fn number(&mut self) -> u32 {
        self.facts.attempt
    }

    fn retries(&mut self) -> u32 {
        self.facts.retries
    }

    fn remaining_ms(&mut self) -> u64 {
        let left = self.facts.deadline.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }

    fn previous_error(&mut self) -> Option<String> {
        self.facts.previous_error.clone()
    }
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Trace => tracing::Level::TRACE,
            log::Level::Debug => tracing::Level::DEBUG,
            log::Level::Info => tracing::Level::INFO,
            log::Level::Warn => tracing::Level::WARN,
            log::Level::Error => tracing::Level::ERROR,
        };
        self.journal.log(level, &message);
    }
}

impl progress::Host for Guest {
    fn report(&mut self, fraction: f64, mut note: String) {
        note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
        if let Some(host) = self.facts.host_calls.as_ref().filter(|_| !fraction.is_nan()) {
            host.progress(fraction.clamp(0.0, 1.0), &note);
        }
    }
}

impl checkpoint::Host for Guest {
    async fn recall(&mut self, name: String) -> Result<Option<Vec<u8>>, String> {
        named(&name)?;
        self.allowance.take(0)?;
        match &self.facts.host_calls {
            Some(host) => host.recall(name).await,
            None => Ok(self.kept.get(&name).cloned()),
        }
    }

    async fn keep(&mut self, name: String, value: Vec<u8>) -> Result<(), String> {
        named(&name)?;
        if value.len() > STEP_BYTES_MAX {
            return Err(format!("a step has at most {STEP_BYTES_MAX} bytes, this one has {}", value.len()));
        }
        self.allowance.take(name.len() + value.len())?;
        match &self.facts.host_calls {
            Some(host) => host.keep(name, value).await,
            None if self.kept.len() < STEPS_MAX || self.kept.contains_key(&name) => {
                self.kept.insert(name, value);
                Ok(())
            }
            None => Err("the task keeps as many steps as it may".to_owned()),
        }
    }
}

/// Whether a step can have this name.
fn named(name: &str) -> Result<(), String> {
    match name.is_empty() || name.len() > STEP_NAME_BYTES_MAX || name.contains('\0') {
        true => Err(format!("a step's name has 1 to {STEP_NAME_BYTES_MAX} bytes, and no NUL")),
        false => Ok(()),
    }
}

impl cancellation::Host for Guest {
    fn requested(&mut self) -> bool {
        self.facts.stop.is_cancelled()
    }
}
