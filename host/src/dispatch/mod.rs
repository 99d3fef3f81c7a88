//! A host at work: claims tasks, runs their attempts, settles what came of them.
//!
//! A [`Host`] lives through shifts. A shift ([`shift`]) is one session in the database: from the row it
//! joins with to the row's end. In it work, side by side:
//!
//! 1. [`claims`]: takes free slots first, then claims as many tasks, and starts their attempts.
//! 2. [`attempt`]: one claim, from its start to its verdict, on the sandbox's threads.
//! 3. [`settles`]: writes verdicts, as many as there are at once.
//! 4. [`pulse`]: beats, polls, promotes, expires; [`judge`] says which other hosts are dead.
//! 5. [`upkeep`]: takes over from the dead, and keeps history in order.
//! 6. [`offers`]: publishes what the plugin directory holds.
//! 7. [`strays`]: keeps what the host holds and what the database says it holds the same.
//! 8. [`quarantine`]: keeps code away that kills hosts.
//!
//! No transaction and no pooled connection is held while guest code runs: claims are over before the
//! attempt starts, and settles begin after it ended. If this host is declared dead, its shift ends: its
//! attempts are interrupted, nothing it still holds can be written, and a new shift begins.

mod attempt;
mod calls;
mod claims;
mod clock;
mod judge;
mod offers;
mod pulse;
mod quarantine;
mod settles;
mod shift;
mod strays;
mod upkeep;
mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::sandbox::{Bounds, Compiler, Loaded, Registry, Sandbox, SandboxConfig, SandboxError};
use crate::store::{Between, Connect, Doorbell, Role, StoreError};
use crate::task::Session;

use shift::{Ended, Shift};

/// How a host works.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The database.
    pub database_url: String,
    /// The database past a pooler in transaction mode, for listening and migrating; `None` if there is none, or
    /// no other way.
    pub direct_url: Option<String>,
    /// The plugin directory; it is watched.
    pub plugins: PathBuf,
    /// Attempts at once.
    pub slots: usize,
    /// The queues it serves; `None` is all.
    pub queues: Option<Vec<String>>,
    /// How long it may be silent before other hosts take its tasks.
    pub lease: Duration,
    /// How long a cancelled attempt may go on by itself before it is interrupted.
    pub cancel_grace: Duration,
    /// How long final tasks stay on record, in days; at least one, which a repeated send relies on.
    pub retention_days: u32,
    /// Whether it listens for wakes; without, it polls.
    pub listen: bool,
    /// Whether it judges code by the hosts that died while they ran it. What other hosts quarantine is not run
    /// either way.
    pub quarantine: bool,
    /// Threads that run wasm; `None` is one for each core.
    pub wasm_threads: Option<usize>,
    /// What its guests may use and touch.
    pub bounds: Bounds,
    /// Where compiled code is kept.
    pub cache_dir: Option<PathBuf>,
    /// Compiles components apart from this process; `None` compiles them in it. See [`Compiler`].
    pub compiler: Option<Compiler>,
    /// Places in the pool of sandboxes, where they are not to be as many as slots: tests fill it with this.
    #[doc(hidden)]
    pub sandboxes: Option<usize>,
    /// Answers every task with null and runs no guest: benches measure dispatch alone with it.
    #[doc(hidden)]
    pub without_sandbox: bool,
}

impl HostConfig {
    /// The usual settings.
    #[must_use]
    pub fn new(database_url: impl Into<String>, plugins: impl Into<PathBuf>) -> Self {
        Self {
            database_url: database_url.into(),
            direct_url: None,
            plugins: plugins.into(),
            slots: 256,
            queues: None,
            lease: Duration::from_secs(15),
            cancel_grace: Duration::from_secs(2),
            retention_days: 30,
            listen: true,
            quarantine: true,
            wasm_threads: None,
            bounds: Bounds::default(),
            cache_dir: None,
            compiler: None,
            sandboxes: None,
            without_sandbox: false,
        }
    }
}

/// Why a host could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The sandbox or the plugin directory.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Less than a day of retention: a send may be repeated for half a day, and must find its first try.
    #[error("final tasks have to stay on record for at least one day, not {0}")]
    Retention(u32),
}

/// How a host stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Attempts that were interrupted at the end of the grace period and given back.
    pub interrupted: usize,
}

/// What all shifts of a host share.
struct Shared {
    config: HostConfig,
    connect: Connect,
    sandbox: Arc<Sandbox>,
    registry: Registry,
    doorbell: Doorbell,
    /// How many attempts it runs or has yet to settle.
    running: AtomicUsize,
    /// Set once: no more claims.
    draining: CancellationToken,
    /// Set once: interrupt what still runs.
    hurry: CancellationToken,
}

/// A running host. Dropped without [`Host::drain`] it works on until its runtime ends; that leaves what it
/// holds to the other hosts, once its lease is over.
pub struct Host {
    shared: Arc<Shared>,
    session: watch::Receiver<Option<Session>>,
    life: JoinHandle<usize>,
}

impl Host {
    /// Starts a host: brings the schema up to date, loads the plugins, joins, and serves. When it returns,
    /// the host claims.
    ///
    /// # Errors
    /// [`HostError`]. A plugin that cannot be loaded is none: see [`Host::loaded`].
    pub async fn start(mut config: HostConfig) -> Result<Self, HostError> {
        if config.retention_days == 0 {
            return Err(HostError::Retention(config.retention_days));
        }
        let connect = Connect::parse(&config.database_url)?
            .with_direct(config.direct_url.as_deref())?
            .with_lease(config.lease);
        let pooled = crate::store::between(&connect).await? == Between::Transactions;
        if pooled && config.listen && !connect.has_direct() {
            tracing::warn!(
                "a pooler in transaction mode passes no wakes on: this host polls; a direct URL would change that"
            );
            config.listen = false;
        }
        if pooled {
            let mut conn = crate::store::conn(&connect, Role::Hot).await?;
            if crate::store::waits_for_ever(&mut conn).await? {
                tracing::warn!(
                    "the pooler's connections wait for locks for ever, and one that stands still can hold up every host: \
                    give the pooler the line `connect_query` of docs/RELIABILITY.md, with `set lock_timeout`"
                );
            }
        }
        crate::store::migrate(&connect).await?;
        let threads = config.wasm_threads.unwrap_or_else(|| SandboxConfig::default().threads);
        let sandbox = Sandbox::start(SandboxConfig {
            slots: config.sandboxes.unwrap_or(config.slots),
            threads,
            bounds: config.bounds.clone(),
            cache_dir: config.cache_dir.clone(),
            compiler: config.compiler.clone(),
            names: None,
        })?;
        let registry = Registry::open(sandbox.clone(), config.plugins.clone()).await?;
        let shared = Arc::new(Shared {
            doorbell: Doorbell::start(connect.clone()),
            config,
            connect,
            sandbox,
            registry,
            running: AtomicUsize::new(0),
            draining: CancellationToken::new(),
            hurry: CancellationToken::new(),
        });
        let (tell_session, session) = watch::channel(None);
        let first = Shift::join(shared.clone(), None).await?;
        tell_session.send_replace(Some(first.session()));
        let life = tokio::spawn(live(shared.clone(), first, tell_session));
        Ok(Self { shared, session, life })
    }

    /// The plugins it has loaded, and the files it could not load.
    #[must_use]
    pub fn loaded(&self) -> Arc<Loaded> {
        self.shared.registry.current()
    }

    /// The session it works in now; `None` between two shifts.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        *self.session.borrow()
    }

    /// Changes when files of the plugin directory were loaded or unloaded.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.registry.changes()
    }

    /// How many attempts it runs; a hint.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::Relaxed)
    }

    /// Stops claiming, lets attempts finish for `grace`, then interrupts them and gives them back. When it
    /// returns, the host holds nothing and has left.
    ///
    /// Not cancel-safe: dropped, the host goes on draining in the background.
    pub async fn drain(self, grace: Duration) -> Drained {
        self.shared.draining.cancel();
        let mut life = self.life;
        let interrupted = match tokio::time::timeout(grace, &mut life).await {
            Ok(done) => done.unwrap_or_default(),
            Err(_) => {
                self.shared.hurry.cancel();
                life.await.unwrap_or_default()
            }
        };
        self.shared.doorbell.flush().await;
        Drained { interrupted }
    }
}

/// Shift after shift, until it is drained. Returns how many attempts the last one interrupted.
async fn live(shared: Arc<Shared>, first: Arc<Shift>, session: watch::Sender<Option<Session>>) -> usize {
    let mut shift = first;
    loop {
        match shift.work().await {
            Ended::Drained { interrupted } => return interrupted,
            Ended::Lost => tracing::warn!(
                session = %shift.session(),
                "this host was declared dead, or could not beat for a whole lease; it starts over"
            ),
        }
        session.send_replace(None);
        let lost = shift.session();
        let mut pause = Duration::from_millis(200);
        shift = loop {
            if shared.draining.is_cancelled() {
                return 0;
            }
            match Shift::join(shared.clone(), Some(lost)).await {
                Ok(shift) => break shift,
                Err(error) => {
                    tracing::warn!(%error, "cannot join; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        };
        session.send_replace(Some(shift.session()));
    }
}
