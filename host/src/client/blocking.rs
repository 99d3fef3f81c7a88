//! The same calls for programs without an async runtime.
//!
//! A client has a home: the runtime it was connected on, or one of its own ([`Client::connect_blocking`]).
//! The blocking calls wait there. On a thread of a runtime they would stop what they wait for, at worst for
//! ever, so there they answer `ASYNC_CONTEXT` at once: use the async call, or, on a thread for blocking work
//! (`spawn_blocking`), `Handle::current().block_on(handle.get(None))`.

use std::borrow::Borrow;
use std::time::Duration;

use hostler_guest::TaskRef;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::task::{Retrieval, Status, TaskError, TaskId};

use super::{
    Client, ConnectError, Include, RerunError, Send, SendError, SendErrorCode, TaskHandle, TaskInfo,
};

/// The runtime that a client lives on.
#[derive(Debug)]
pub(super) struct Home {
    handle: Handle,
    own: Option<Runtime>,
}

/// A blocking call on a thread of a runtime.
#[derive(Debug)]
pub(super) struct InsideARuntime;

const ASYNC_CONTEXT: &str = "a blocking call on a thread of an async runtime would stop what it waits for: use \
    the async call, or Handle::block_on inside spawn_blocking";

impl Home {
    pub(super) fn of(handle: Handle) -> Self {
        Self { handle, own: None }
    }

    pub(super) fn own() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("hostler-client")
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), own: Some(runtime) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, InsideARuntime> {
        refuse_inside_a_runtime()?;
        Ok(self.handle.block_on(future))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(runtime) = self.own.take() {
            // Waiting for it would panic where the last handle is dropped on a thread of a runtime.
            runtime.shutdown_background();
        }
    }
}

pub(super) fn refuse_inside_a_runtime() -> Result<(), InsideARuntime> {
    if Handle::try_current().is_ok() { Err(InsideARuntime) } else { Ok(()) }
}

impl From<InsideARuntime> for TaskError {
    fn from(_: InsideARuntime) -> Self {
        Self::new(Retrieval::AsyncContext, ASYNC_CONTEXT)
    }
}

impl From<InsideARuntime> for SendError {
    fn from(_: InsideARuntime) -> Self {
        Self::refused(SendErrorCode::AsyncContext, ASYNC_CONTEXT)
    }
}

impl Client {
    /// Connects from a program that has no async runtime; the client brings a small one of its own.
    ///
    /// # Errors
    /// As [`Client::connect`]; [`ConnectError::AsyncContext`] on a thread of a runtime.
    pub fn connect_blocking(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect_blocking()
    }

    /// [`Client::send`] for callers without a runtime.
    ///
    /// # Errors
    /// As [`Client::send`]; `ASYNC_CONTEXT` on a thread of a runtime, and then nothing was sent.
    pub fn send_blocking<R: TaskRef>(
        &self,
        task: R,
        args: impl Borrow<R::Args>,
    ) -> Result<TaskHandle<R::Output>, SendError> {
        self.task(task).send_blocking(args)
    }

    /// [`Client::cancel`] for callers without a runtime.
    ///
    /// # Errors
    /// As [`Client::cancel`]; `ASYNC_CONTEXT`.
    pub fn cancel_blocking(&self, id: TaskId) -> Result<Status, TaskError> {
        self.inner.home.block_on(self.cancel(id))?
    }

    /// [`Client::rerun`] for callers without a runtime.
    ///
    /// # Errors
    /// As [`Client::rerun`]; `ASYNC_CONTEXT` inside [`RerunError::Send`].
    pub fn rerun_blocking(&self, id: TaskId) -> Result<TaskHandle<serde_json::Value>, RerunError> {
        self.inner.home.block_on(self.rerun(id)).map_err(SendError::from)?
    }

    /// [`Client::flush`] for callers without a runtime; nothing on a thread of one.
    pub fn flush_blocking(&self) {
        let _refused = self.inner.home.block_on(self.flush());
    }
}

impl<R: TaskRef> Send<'_, R> {
    /// [`Send::send`] for callers without a runtime.
    ///
    /// # Errors
    /// As [`Client::send_blocking`].
    pub fn send_blocking(self, args: impl Borrow<R::Args>) -> Result<TaskHandle<R::Output>, SendError> {
        self.client().inner.home.block_on(self.send(args))?
    }

    /// [`Send::send_many`] for callers without a runtime.
    ///
    /// # Errors
    /// As [`Client::send_many`]; `ASYNC_CONTEXT`.
    pub fn send_many_blocking<I>(self, many: I) -> Result<Vec<TaskHandle<R::Output>>, SendError>
    where
        I: IntoIterator,
        I::Item: Borrow<R::Args>,
    {
        self.client().inner.home.block_on(self.send_many(many))?
    }
}

impl<T: DeserializeOwned> TaskHandle<T> {
    /// [`TaskHandle::get`] for callers without a runtime.
    ///
    /// # Errors
    /// As [`TaskHandle::get`]; `ASYNC_CONTEXT` on a thread of a runtime, never kept on the handle.
    pub fn get_blocking(&self, timeout: Option<Duration>) -> Result<T, TaskError> {
        self.client().inner.home.block_on(self.get(timeout))?
    }

    /// [`TaskHandle::info`] for callers without a runtime.
    ///
    /// # Errors
    /// `BROKER_ERROR`, `ASYNC_CONTEXT`.
    pub fn info_blocking(&self, include: Include) -> Result<Option<TaskInfo>, TaskError> {
        self.client().inner.home.block_on(self.info(include))?
    }

    /// [`TaskHandle::cancel`] for callers without a runtime.
    ///
    /// # Errors
    /// As [`TaskHandle::cancel`]; `ASYNC_CONTEXT`.
    pub fn cancel_blocking(&self) -> Result<Status, TaskError> {
        self.client().inner.home.block_on(self.cancel())?
    }
}
