//! The attempt that is running.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use super::wasm::bindings::hostler::plugin::attempt as source;

#[cfg(not(target_arch = "wasm32"))]
use super::testing::scope as source;

/// The task's id, a UUID. The same in every attempt: use it to make outside effects idempotent.
pub fn id() -> String {
    source::id()
}

/// The attempt's number, from 1. Never reused.
pub fn number() -> u32 {
    source::number()
}

/// How many failed attempts were retried before this one.
pub fn retries() -> u32 {
    source::retries()
}

/// How long until the host ends this attempt.
pub fn remaining() -> Duration {
    Duration::from_millis(source::remaining_ms())
}

/// The error code the attempt before this one ended with, if there was one.
pub fn previous_error() -> Option<String> {
    source::previous_error()
}
