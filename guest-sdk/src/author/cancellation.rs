//! Cooperative cancellation.

#[cfg(target_arch = "wasm32")]
use super::wasm::bindings::hostler::plugin::cancellation as source;

#[cfg(not(target_arch = "wasm32"))]
use super::testing::scope as source;

/// Whether somebody asked for this task to be cancelled.
///
/// A long task asks now and then and returns what it has. One that does not ask is ended by the host after the grace
/// period.
pub fn requested() -> bool {
    source::requested()
}
