//! A task's world without a host: for native tests.
//!
//! ```
//! use hostler_guest::prelude::*;
//! use hostler_guest::testing::{Attempt, with_attempt};
//!
//! fn third_time_lucky() -> Result<(), Failure> {
//!     log::info!("try {}", attempt::number());
//!     if attempt::number() < 3 { Err(Failure::new("NOT_YET", "too early")) } else { Ok(()) }
//! }
//!
//! let seen = with_attempt(Attempt { number: 3, ..Attempt::default() }, third_time_lucky);
//! assert_eq!(seen.result, Ok(()));
//! assert_eq!(seen.messages(), ["try 3"]);
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::describe;
use super::entry::{self, Plugin};
use super::failure::Failure;
use super::log::Level;

pub(crate) mod scope;

/// What a task can ask about its attempt. Start from [`Attempt::default`], the first attempt of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The task's id.
    pub id: String,
    /// The attempt's number, from 1.
    pub number: u32,
    /// How many failed attempts were retried before this one.
    pub retries: u32,
    /// How long until the host would end this attempt. It does not run down.
    pub remaining: Duration,
    /// The error code of the attempt before this one.
    pub previous_error: Option<String>,
    /// Whether cancelling was asked for.
    pub cancelled: bool,
    /// What earlier attempts kept: JSON by the steps' names.
    pub kept: BTreeMap<String, Vec<u8>>,
}

impl Default for Attempt {
    fn default() -> Self {
        Self {
            id: "00000000-0000-0000-0000-000000000000".to_owned(),
            number: 1,
            retries: 0,
            remaining: Duration::from_secs(60),
            previous_error: None,
            cancelled: false,
            kept: BTreeMap::new(),
        }
    }
}

/// What happened in a scope, in order.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "look at the result, the lines and the reports"]
pub struct Seen<R> {
    /// What the closure returned.
    pub result: R,
    /// The lines logged.
    pub lines: Vec<(Level, String)>,
    /// The progress reported: fraction and note.
    pub progress: Vec<(f64, String)>,
    /// What is kept now, by this attempt and by those before it.
    pub kept: BTreeMap<String, Vec<u8>>,
    /// The tasks sent, one for each key.
    pub sent: Vec<Sent>,
}

/// A task that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What it got for an id.
    pub id: String,
    /// Its full name.
    pub task: String,
    /// JSON.
    pub args: String,
    /// What the sending task calls it.
    pub key: Option<String>,
    /// Starts no sooner than so many milliseconds later.
    pub delay_ms: Option<u64>,
}

impl<R> Seen<R> {
    /// The lines logged, without their levels.
    pub fn messages(&self) -> Vec<&str> {
        self.lines.iter().map(|(_, message)| message.as_str()).collect()
    }
}

/// Runs `body` as if it were this attempt, on this thread.
///
/// Outside of any scope a task sees [`Attempt::default`], log lines go to stderr, and progress goes nowhere.
pub fn with_attempt<R>(attempt: Attempt, body: impl FnOnce() -> R) -> Seen<R> {
    scope::run(attempt, body)
}

/// What the component's `describe` tells the host.
///
/// # Panics
///
/// If it is no JSON, which would be a fault of this crate.
pub fn describe(plugin: &Plugin) -> Value {
    serde_json::from_slice(&describe::describe(plugin)).expect("describe returns JSON")
}

/// Runs a task by its short name as the host does: through JSON, in both directions.
///
/// # Errors
///
/// The task's own failure, or `ARGUMENT_TYPE_MISMATCH` or `WORKER_RESOLUTION_ERROR` from the SDK.
///
/// # Panics
///
/// If the result is no JSON, which would be a fault of this crate.
pub fn call(plugin: &Plugin, task: &str, args: &Value) -> Result<Value, Failure> {
    let result = entry::dispatch(plugin, task, args.to_string().into_bytes())?;
    Ok(serde_json::from_slice(&result).expect("a result is JSON"))
}
