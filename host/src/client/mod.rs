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

mod blocking;
mod builder;
mod catalogue;
mod command;
mod error;
mod handle;
mod heard;
mod info;
mod looks;
mod rerun;
mod send;
mod waiters;

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use hostler_guest::TaskRef;
use serde::de::DeserializeOwned;

use crate::store::{ANSWER_MAX, Doorbell, Store, StoreError, within};
use crate::task::{Status, TaskError, TaskId};

use blocking::Home;
use builder::Settings;
use catalogue::Catalogue;
use looks::Looks;
use waiters::Waiters;

pub use crate::store::{About, ListedHost, ListedSuspect, ListedTask, StoreError as ConnectError};
pub use builder::ClientBuilder;
pub use error::{SendError, SendErrorCode, SendPayload};
pub use handle::TaskHandle;
pub use info::{HostInfo, Include, PluginInfo, Progress, TaskAttempt, TaskInfo};
pub use rerun::RerunError;
pub use send::Send;

/// A transaction that holds vacuum back for less is everyday life.
const HELD_SECONDS: i32 = 60;
/// So is a standby whose oldest query is less than this behind.
const HELD_TRANSACTIONS: i32 = 100_000;

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
    looks: Looks,
    waiters: Waiters,
    settings: Settings,
    /// Tasks whose large arguments were warned of.
    warned: Mutex<BTreeSet<String>>,
    /// Dropped last: everything above works on it.
    home: Home,
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
        ClientBuilder::new(url)
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
    /// As [`Client::send`]; `VALIDATION_FAILED` if the error is not one to repeat, or more than twelve hours
    /// old: the first one's task may be done and forgotten by then. `PAYLOAD_MISMATCH` if that id belongs to
    /// another command.
    pub async fn retry_send(&self, error: &SendError) -> Result<TaskHandle<serde_json::Value>, SendError> {
        command::retry(self, error).await
    }

    /// Sends a final task's arguments once more, as a new task that names the old one as its `parent`: same
    /// queue, priority and numbers of retries; due at once, without key and `good_until`.
    ///
    /// # Errors
    /// [`RerunError`] says whether the task is unknown, not final, or its arguments were not kept.
    pub async fn rerun(&self, id: TaskId) -> Result<TaskHandle<serde_json::Value>, RerunError> {
        rerun::rerun(self, id).await
    }

    /// A handle to a task by its id, from any process. The type is the caller's word.
    #[must_use]
    pub fn handle<T: DeserializeOwned>(&self, id: TaskId) -> TaskHandle<T> {
        TaskHandle::new(self.clone(), id, None, None)
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

    /// The code that is quarantined because its hosts died, or suspected.
    ///
    /// # Errors
    /// `BROKER_ERROR`.
    pub async fn suspects(&self) -> Result<Vec<ListedSuspect>, TaskError> {
        self.inner.store.list_suspects().await.map_err(error::broker)
    }

    /// Lets quarantined code run again: a plugin's name, or the beginning of a digest, six digits at least. Hosts
    /// follow within a second. Returns names and digests; none if nothing fits.
    ///
    /// # Errors
    /// `BROKER_ERROR`.
    pub async fn lift(&self, which: &str) -> Result<Vec<(String, String)>, TaskError> {
        self.inner.store.lift(which).await.map_err(error::broker)
    }

    /// The task names that were ever published, who serves them, and what waits.
    ///
    /// # Errors
    /// `BROKER_ERROR`.
    pub async fn tasks(&self) -> Result<Vec<ListedTask>, TaskError> {
        self.inner.store.list_tasks().await.map_err(error::broker)
    }

    /// The server's version and clock, and what has held its vacuum back for more than a minute: transactions, also
    /// prepared ones, slots that nobody uses, and standbys far behind.
    ///
    /// # Errors
    /// `BROKER_ERROR`.
    pub async fn about_server(&self) -> Result<About, TaskError> {
        self.inner.store.about(HELD_SECONDS, HELD_TRANSACTIONS).await.map_err(error::broker)
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
        let mut conn = crate::store::lend(self.inner.store.pool()).await?;
        let version = within(ANSWER_MAX, crate::store::schema_version(&mut conn)).await;
        if let Err(StoreError::NoAnswer { .. }) = version {
            conn.give_up();
        }
        version
    }
}
