//! The host SDK: what a program links in order to send tasks and get their results.
//!
//! ```no_run
//! use std::time::Duration;
//! use hostler::Client;
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("postgres://localhost/app").await?;
//! let handle = client.send("text.word_count", json!({"text": "a b a"})).await?;
//! let counts = handle.get(Some(Duration::from_secs(5))).await?;
//! println!("{counts}");
//! # Ok(())
//! # }
//! ```
//!
//! With the plugin's crate as a dependency the same is typed: `client.send(text::WordCount, Args { text })`.

mod catalogue;
mod error;
mod handle;
mod info;
mod send;
mod waiters;

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use hostler_guest::TaskRef;
use serde::de::DeserializeOwned;

use crate::store::{Connect, Doorbell, Store, StoreError};
use crate::task::{Status, TaskError, TaskId};

use catalogue::Catalogue;
use waiters::Waiters;

pub use crate::store::{About, ListedHost, ListedTask, StoreError as ConnectError};
pub use error::{SendError, SendErrorCode, SendPayload};
pub use handle::TaskHandle;
pub use info::{HostInfo, Include, PluginInfo, Progress, TaskAttempt, TaskInfo};
pub use send::Send;

/// Sends tasks and looks them up. Cheap to clone; clones share the connections, and all waiting handles of
/// a client share one connection that listens.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// What a client's clones and handles share.
#[derive(Debug)]
struct Inner {
    store: Store,
    catalogue: Catalogue,
    doorbell: Doorbell,
    waiters: Waiters,
    settings: Settings,
}

/// How a client behaves; see [`Client::builder`].
#[derive(Debug, Clone)]
struct Settings {
    connections_max: u32,
    listen: bool,
    args_bytes_max: usize,
    key_window: Duration,
}

/// Sets a client up.
#[derive(Debug, Clone)]
#[must_use = "call connect() to get a client"]
pub struct ClientBuilder {
    url: String,
    settings: Settings,
}

impl ClientBuilder {
    /// How many connections the client's sends and reads may use at once; 10 unless set. Listening and
    /// waking take one each on top.
    pub fn connections_max(mut self, connections: u32) -> Self {
        self.settings.connections_max = connections.max(1);
        self
    }

    /// Whether waiting handles are woken by notifications; on unless set. Without, they poll: correct all
    /// the same, a little later. Off is for databases behind a pooler in transaction mode.
    pub fn listen(mut self, listen: bool) -> Self {
        self.settings.listen = listen;
        self
    }

    /// The largest arguments that are sent, in bytes of JSON; 8 MiB unless set.
    pub fn args_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.args_bytes_max = bytes;
        self
    }

    /// How long an idempotency key stays taken after its task is final; 24 hours unless set.
    pub fn key_window(mut self, window: Duration) -> Self {
        self.settings.key_window = window;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError`]: the URL is wrong, the server cannot be reached, or its schema is newer than this
    /// program. A database without a schema is connected to: a host may be about to migrate it.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let connect = Connect::parse(&self.url)?;
        let pool = crate::store::pool(&connect, self.settings.connections_max).await?;
        let mut conn = pool.acquire().await?;
        crate::store::refuse_newer(&mut conn).await?;
        drop(conn);
        let store = Store::new(pool);
        let waiters = Waiters::new(store.clone(), self.settings.listen.then(|| connect.clone()));
        let inner = Inner {
            catalogue: Catalogue::new(store.clone()),
            store,
            doorbell: Doorbell::start(connect),
            waiters,
            settings: self.settings,
        };
        Ok(Client { inner: Arc::new(inner) })
    }
}

impl Client {
    /// Connects with the usual settings.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Sets a client up for `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub fn builder(url: &str) -> ClientBuilder {
        let settings = Settings {
            connections_max: 10,
            listen: true,
            args_bytes_max: 8 << 20,
            key_window: Duration::from_secs(24 * 3600),
        };
        ClientBuilder { url: url.to_owned(), settings }
    }

    /// Sends one task: typed (`text::WordCount`) or by name (`"text.word_count"`, with JSON).
    ///
    /// When it returns, the task is on disk. Not cancel-safe: a dropped future may have sent.
    ///
    /// # Errors
    /// [`SendError`]; its code says what to do, and nothing was sent unless the code is `ENQUEUE_FAILED`.
    pub async fn send<R: TaskRef>(
        &self,
        task: R,
        args: impl Borrow<R::Args>,
    ) -> Result<TaskHandle<R::Output>, SendError> {
        self.task(task).send(args).await
    }

    /// Sends many tasks with the same options in one transaction: all or none. Handles come back in the
    /// order of the arguments. Any number may be given: they are written in bounded batches.
    ///
    /// # Errors
    /// As [`Client::send`], for the first arguments that are refused.
    pub async fn send_many<R, I>(&self, task: R, many: I) -> Result<Vec<TaskHandle<R::Output>>, SendError>
    where
        R: TaskRef,
        I: IntoIterator,
        I::Item: Borrow<R::Args>,
    {
        self.task(task).send_many(many).await
    }

    /// Sends one task inside the caller's own transaction: it exists if and when that commits, as durably
    /// as that is set to. Hosts find it at their next poll, within a second; [`TaskHandle::wake`] after the
    /// commit makes it at once.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_in<R: TaskRef>(
        &self,
        tx: &mut sqlx::PgConnection,
        task: R,
        args: impl Borrow<R::Args>,
    ) -> Result<TaskHandle<R::Output>, SendError> {
        self.task(task).send_in(tx, args).await
    }

    /// Starts a send with options.
    pub fn task<R: TaskRef>(&self, task: R) -> Send<'_, R> {
        Send::new(self, task)
    }

    /// Repeats a send that failed with `ENQUEUE_FAILED`, with the same id: if the first one had reached the
    /// database after all, it is that task.
    ///
    /// # Errors
    /// As [`Client::send`]; `VALIDATION_FAILED` if the error is not one to repeat; `PAYLOAD_MISMATCH` if
    /// that id belongs to another command.
    pub async fn retry_send(&self, error: &SendError) -> Result<TaskHandle<serde_json::Value>, SendError> {
        send::retry(self, error).await
    }

    /// A handle to a task by its id, from any process. The type is the caller's word.
    #[must_use]
    pub fn handle<T: DeserializeOwned>(&self, id: TaskId) -> TaskHandle<T> {
        TaskHandle::new(self.clone(), id, None)
    }

    /// Cancels a task by its id; see [`TaskHandle::cancel`].
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `BROKER_ERROR`.
    pub async fn cancel(&self, id: TaskId) -> Result<Status, TaskError> {
        self.handle::<serde_json::Value>(id).cancel().await
    }

    /// The hosts that are alive; with `ended` also those that ended in the last day.
    ///
    /// # Errors
    /// `BROKER_ERROR`.
    pub async fn hosts(&self, ended: bool) -> Result<Vec<ListedHost>, TaskError> {
        self.inner.store.list_hosts(ended).await.map_err(error::broker)
    }

    /// The task names that were ever published, who serves them, and what waits.
    ///
    /// # Errors
    /// `BROKER_ERROR`.
    pub async fn tasks(&self) -> Result<Vec<ListedTask>, TaskError> {
        self.inner.store.list_tasks().await.map_err(error::broker)
    }

    /// The server's version and clock, and who holds its vacuum back.
    ///
    /// # Errors
    /// `BROKER_ERROR`.
    pub async fn about_server(&self) -> Result<About, TaskError> {
        self.inner.store.about().await.map_err(error::broker)
    }

    /// Returns once the wakes of all sends so far are out: for programs that send and end. Cancel-safe.
    pub async fn flush(&self) {
        self.inner.doorbell.flush().await;
    }

    /// Whether the database has a schema that this program can work with.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn schema_version(&self) -> Result<Option<i64>, ConnectError> {
        let mut conn = self.inner.store.pool().acquire().await.map_err(StoreError::Database)?;
        crate::store::schema_version(&mut conn).await
    }
}
