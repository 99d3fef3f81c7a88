//! What the author of a hostler plugin uses.
//!
//! ```
//! use hostler_guest::prelude::*;
//!
//! #[data]
//! pub struct Args {
//!     pub text: String,
//! }
//!
//! #[data]
//! pub struct Counts {
//!     pub words: u64,
//!     pub lines: u64,
//! }
//!
//! /// Counts words and lines.
//! #[task(retries = 3, backoff = exponential(base = "1s", max = "1m"), timeout = "30s")]
//! pub fn word_count(args: Args) -> Result<Counts, Failure> {
//!     Ok(Counts {
//!         words: args.text.split_whitespace().count() as u64,
//!         lines: args.text.lines().count() as u64,
//!     })
//! }
//!
//! hostler_guest::plugin!("text", [word_count]);
//! # fn main() {}
//! ```
//!
//! In the order in which a task meets them:
//!
//! 1. [`task`](macro@task) keeps the function as it is and adds a unit type beside it (`WordCount`) that stands for the task.
//! 2. [`plugin!`] names the plugin, gives those types their full names ([`Task::NAME`]) and exports the component.
//! 3. [`attempt`], [`log`](mod@log), [`progress`], [`cancellation`], [`checkpoint`] and [`tasks`] are what a running task may ask of its host.
//! 4. [`Failure`] is how a task says no.
//! 5. [`testing`] is the same world without a host: a task is unit-tested natively, by calling it.
//!
//! Without the default feature `author` only [`Task`] and [`TaskRef`] remain: what a sender needs to know about a plugin.

mod task;

pub use task::{Task, TaskRef};

#[cfg(feature = "author")]
mod author;

#[cfg(all(feature = "author", target_arch = "wasm32"))]
pub use author::keyvalue;
#[cfg(all(feature = "author", not(target_arch = "wasm32")))]
pub use author::testing;
#[cfg(feature = "author")]
pub use author::{Plugin, attempt, cancellation, checkpoint, failure, log, prelude, progress, tasks};
#[cfg(feature = "author")]
pub use failure::{Failure, Retry};
#[cfg(feature = "author")]
pub use hostler_guest_macros::{data, plugin, task};
#[cfg(feature = "author")]
pub use {schemars, serde, serde_json};

/// What the macros' expansions name. Not for people: it changes without notice.
#[cfg(feature = "author")]
#[doc(hidden)]
pub mod __private {
    pub use crate::author::describe::{args_schema, no_args_schema, result_schema};
    pub use crate::author::entry::{Define, Entry, Returned, plugin, run, run_without_args};
    #[cfg(target_arch = "wasm32")]
    pub use crate::author::wasm::{bindings, describe_export, run_export};
}
