//! Durable steps: what an attempt keeps, the attempts after it find, whatever ended this one.
//!
//! ```
//! use hostler_guest::prelude::*;
//!
//! fn import(url: &str) -> Result<u64, Failure> {
//!     let rows: Vec<String> = checkpoint::step("download", || Ok(vec![format!("row of {url}")]))?;
//!     checkpoint::step("store", || Ok(rows.len() as u64))
//! }
//!
//! assert_eq!(import("there"), Ok(1));
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;

#[cfg(target_arch = "wasm32")]
use super::wasm::bindings::hostler::plugin::checkpoint as store;

#[cfg(not(target_arch = "wasm32"))]
use super::testing::scope as store;

/// What this step gave when it was done before; else does it, and keeps what it gives before it returns.
///
/// A step whose attempt ends before it was kept is done again: make what it does outside idempotent. Steps are
/// known by their names within one task, and go with it.
///
/// # Errors
/// The step's own failure, of which nothing is kept, and those of [`recall`] and [`keep`].
pub fn step<T>(name: &str, body: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure>
where
    T: Serialize + DeserializeOwned,
{
    if let Some(kept) = recall(name)? {
        return Ok(kept);
    }
    let value = body()?;
    keep(name, &value)?;
    Ok(value)
}

/// What this attempt or an earlier one kept under this name.
///
/// # Errors
/// `CHECKPOINT_FAILED`: it cannot be told now, or it is no `T`.
pub fn recall<T: DeserializeOwned>(name: &str) -> Result<Option<T>, Failure> {
    let Some(kept) = store::recall(name).map_err(|why| failed(name, &why))? else { return Ok(None) };
    serde_json::from_slice(&kept).map(Some).map_err(|error| failed(name, &error.to_string()))
}

/// Keeps a value, at most 1 MiB as JSON, in place of what was there. It is on disk when this returns.
///
/// # Errors
/// `CHECKPOINT_FAILED`: it is not kept. A task keeps at most 256 steps of 4 MiB together.
pub fn keep<T: Serialize>(name: &str, value: &T) -> Result<(), Failure> {
    let json = serde_json::to_vec(value).map_err(|error| failed(name, &error.to_string()))?;
    store::keep(name, &json).map_err(|why| failed(name, &why))
}

fn failed(name: &str, why: &str) -> Failure {
    Failure::new("CHECKPOINT_FAILED", format!("the step {name:?}: {why}"))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::testing::{Attempt, with_attempt};

    #[test]
    fn a_step_is_done_once() {
        let kept = [("one".to_owned(), b"7".to_vec())].into();
        let seen = with_attempt(Attempt { kept, ..Attempt::default() }, || {
            let one = step("one", || -> Result<u8, Failure> { panic!("it was done before") })?;
            let two = step("two", || Ok(one + 1))?;
            let failed = step("three", || -> Result<u8, Failure> { Err(Failure::new("NO", "no")) });
            assert!(failed.is_err() && recall::<u8>("three")?.is_none());
            Ok::<_, Failure>((one, two, step("two", || Ok(0))?))
        });
        assert_eq!(seen.result, Ok((7, 8, 8)));
        assert_eq!(seen.kept.keys().collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn what_was_kept_as_another_type_is_told() {
        let kept = [("one".to_owned(), b"\"text\"".to_vec())].into();
        let seen = with_attempt(Attempt { kept, ..Attempt::default() }, || recall::<u8>("one"));
        assert_eq!(seen.result.map_err(|failure| failure.code), Err("CHECKPOINT_FAILED".to_owned()));
    }
}
