//! Setting a client up.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::store::{Between, Connect, Doorbell, Store};

use super::blocking::{Home, refuse_inside_a_runtime};
use super::catalogue::Catalogue;
use super::looks::Looks;
use super::waiters::Waiters;
use super::{Client, ConnectError, Inner};

/// Set to `1`, it suppresses the sends of every client built after that.
const SUPPRESS_SENDS: &str = "HOSTLER_SUPPRESS_SENDS";

/// How a client behaves.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) connections_max: u32,
    pub(super) listen: bool,
    pub(super) args_bytes_max: usize,
    pub(super) key_window: Duration,
    pub(super) resend: bool,
    pub(super) suppress_sends: bool,
}

/// Sets a client up; see [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "call connect() to get a client"]
pub struct ClientBuilder {
    url: String,
    direct_url: Option<String>,
    settings: Settings,
}

impl ClientBuilder {
    pub(super) fn new(url: &str) -> Self {
        let settings = Settings {
            connections_max: 10,
            listen: true,
            args_bytes_max: 8 << 20,
            key_window: Duration::from_secs(24 * 3600),
            resend: false,
            suppress_sends: std::env::var_os(SUPPRESS_SENDS).is_some_and(|value| value == "1"),
        };
        Self { url: url.to_owned(), direct_url: None, settings }
    }

    /// How many connections the client may use at once for plain sends and waits, and as many again for sends
    /// with a key and for reading stories; 10 unless set. They are opened when they are needed.
    /// Listening and waking take one each on top.
    pub fn connections_max(mut self, connections: u32) -> Self {
        self.settings.connections_max = connections.max(1);
        self
    }

    /// The database past a pooler in transaction mode, for listening: a pooler passes no wakes on, and without
    /// this the client polls.
    pub fn direct_url(mut self, url: impl Into<String>) -> Self {
        self.direct_url = Some(url.into());
        self
    }

    /// Whether waiting handles are woken by notifications; on unless set. Without, they poll, and hear hosts of this
    /// process alone: correct all the same, a little later. Off is for databases behind a pooler in transaction mode.
    pub fn listen(mut self, listen: bool) -> Self {
        self.settings.listen = listen;
        self
    }

    /// The largest arguments that are sent, in bytes of JSON; 8 MiB unless set. Larger ones are refused with
    /// `PAYLOAD_TOO_LARGE`; from 1 MiB on the client warns, once for each task.
    pub fn args_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.args_bytes_max = bytes;
        self
    }

    /// How long an idempotency key stays taken after its task is final; 24 hours unless set.
    pub fn key_window(mut self, window: Duration) -> Self {
        self.settings.key_window = window;
        self
    }

    /// Whether a send of one task that failed for a passing reason is repeated by itself, with the same id: up to three
    /// times, after 200, 400 and 800 ms. Off unless set; [`Client::retry_send`] does the same by hand.
    pub fn resend(mut self, resend: bool) -> Self {
        self.settings.resend = resend;
        self
    }

    /// Whether every send is refused with `SEND_SUPPRESSED` before anything reaches the database: for tests
    /// of code that sends. Off unless set, or unless the environment says `HOSTLER_SUPPRESS_SENDS=1`.
    pub fn suppress_sends(mut self, suppress: bool) -> Self {
        self.settings.suppress_sends = suppress;
        self
    }

    /// Connects. The client lives on the current runtime and is of no use once that is gone.
    ///
    /// # Errors
    /// [`ConnectError`]: the URL is wrong, the server cannot be reached, or its schema is newer than this
    /// program. A database without a schema is connected to: a host may be about to migrate it.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        self.connect_on(Home::of(Handle::current())).await
    }

    /// Connects from a program that has no async runtime; the client brings a small one of its own.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`]; [`ConnectError::AsyncContext`] on a thread of a runtime.
    pub fn connect_blocking(self) -> Result<Client, ConnectError> {
        refuse_inside_a_runtime().map_err(|_| ConnectError::AsyncContext)?;
        let home = Home::own().map_err(|error| ConnectError::Database(error.into()))?;
        let handle = home.handle().clone();
        handle.block_on(self.connect_on(home))
    }

    async fn connect_on(self, home: Home) -> Result<Client, ConnectError> {
        let connect = Connect::parse(&self.url)?.with_direct(self.direct_url.as_deref())?;
        let pooled = crate::store::between(&connect).await? == Between::Transactions;
        let store = Store::open(&connect, self.settings.connections_max);
        let mut conn = crate::store::lend(store.pool()).await?;
        crate::store::within(crate::store::ANSWER_MAX, crate::store::refuse_newer(&mut conn)).await?;
        drop(conn);
        let listen = self.settings.listen && (!pooled || connect.has_direct());
        let inner = Inner {
            catalogue: Catalogue::new(store.clone()),
            looks: Looks::new(store.clone()),
            waiters: Waiters::new(store.clone(), connect.clone(), listen, home.handle().clone()),
            store,
            doorbell: Doorbell::start(connect),
            settings: self.settings,
            warned: std::sync::Mutex::default(),
            home,
        };
        Ok(Client { inner: Arc::new(inner) })
    }
}
