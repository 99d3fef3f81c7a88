//! hostler: a WebAssembly-plugin task host.
//!
//! A sender writes a row ([`Client::send`]); a host claims it, runs the task's body as a component in a
//! sandbox of its own, and settles what came of it; the sender's [`TaskHandle`] gets the result. The trip
//! of a task through these modules, and the walls between them, are drawn in `docs/ARCHITECTURE.md`.
//!
//! With `default-features = false, features = ["client"]` this crate is the host SDK alone: what a web
//! server links in order to send tasks, without wasmtime.

pub mod task;

#[doc(hidden)]
pub mod store;

#[cfg(feature = "host")]
#[doc(hidden)]
pub mod sandbox;

#[cfg(feature = "host")]
#[doc(hidden)]
pub mod dispatch;

pub mod client;

#[cfg(feature = "host")]
#[doc(hidden)]
pub mod embedded;

#[cfg(feature = "host")]
pub mod testing;

#[cfg(feature = "host")]
#[doc(hidden)]
pub mod cli;

/// The guides' code blocks are compiled with the tests.
#[cfg(all(doctest, feature = "host"))]
mod guides {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/errors.md")]
    mod errors {}
    #[doc = include_str!("../../docs/retries.md")]
    mod retries {}
    #[doc = include_str!("../../docs/retrieving-results.md")]
    mod retrieving_results {}
    #[doc = include_str!("../../docs/sending.md")]
    mod sending {}
    #[doc = include_str!("../../docs/testing.md")]
    mod testing {}
}

pub use client::{Client, Include, RerunError, SendError, SendErrorCode, TaskAttempt, TaskHandle, TaskInfo};
pub use task::{AttemptOutcome, ErrorCode, Status, TaskError, TaskId};
