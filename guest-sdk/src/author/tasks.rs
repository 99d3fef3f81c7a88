//! Sends other tasks: those that the plugin's grants name (`[send]` in `<plugin>.toml`), and not without end.
//!
//! ```
//! use hostler_guest::prelude::*;
//! use hostler_guest::testing::{Attempt, with_attempt};
//!
//! fn split(parts: u32) -> Result<Vec<String>, Failure> {
//!     // Each part has a key, so that another attempt at this task does not send it again.
//!     (0..parts).map(|n| tasks::child("image.thumbnail").key(format!("part {n}")).send(&json!({ "n": n }))).collect()
//! }
//!
//! let seen = with_attempt(Attempt::default(), || split(2));
//! assert_eq!(seen.sent.len(), 2);
//! ```

use std::time::Duration;

use serde::Serialize;

use super::failure::Failure;

#[cfg(target_arch = "wasm32")]
use super::wasm::send as pass;

#[cfg(not(target_arch = "wasm32"))]
use super::testing::scope::send as pass;

/// A task to be sent; nothing is sent before [`Child::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing is sent until send() is called"]
pub struct Child {
    task: String,
    key: Option<String>,
    delay: Option<Duration>,
}

/// Begins a send of the task with this full name (`text.word_count`).
pub fn child(task: impl Into<String>) -> Child {
    Child { task: task.into(), key: None, delay: None }
}

/// Sends a task as it is, and returns its id.
///
/// # Errors
/// As [`Child::send`].
pub fn send<A: Serialize + ?Sized>(task: &str, args: &A) -> Result<String, Failure> {
    child(task).send(args)
}

impl Child {
    /// Sent once by this task under this key, 1 to 200 bytes: a later attempt gets the same id. Without a key, each
    /// attempt sends another one.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Starts no sooner than this from now.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Sends it into this task's queue, with its priority, and returns its id. It is on disk then.
    ///
    /// # Errors
    /// `SEND_FAILED`, with the reason: no grant covers it, a limit is reached (which one), there is no such task, the
    /// key stands for something else, or storage failed.
    pub fn send<A: Serialize + ?Sized>(self, args: &A) -> Result<String, Failure> {
        let failed = |why: &str| Failure::new("SEND_FAILED", format!("sending {}: {why}", self.task));
        let args = serde_json::to_vec(args).map_err(|error| failed(&error.to_string()))?;
        let delay_ms = self.delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        pass(&self.task, &args, self.key.as_deref(), delay_ms).map_err(|why| failed(&why))
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::testing::{Attempt, with_attempt};

    #[test]
    fn what_is_sent_is_seen_and_a_key_is_sent_once() {
        let seen = with_attempt(Attempt::default(), || {
            let one = child("text.word_count").key("a").send("x")?;
            let again = child("text.word_count").key("a").send("x")?;
            let delayed = child("text.word_count").delay(Duration::from_secs(1)).send("y")?;
            Ok::<_, Failure>((one == again, one == delayed))
        });
        assert_eq!(seen.result, Ok((true, false)));
        let sent: Vec<_> = seen.sent.iter().map(|s| (s.args.as_str(), s.delay_ms)).collect();
        assert_eq!(sent, [("\"x\"", None), ("\"y\"", Some(1_000))]);
    }
}
