//! Tells whoever waits how far the attempt is.

#[cfg(target_arch = "wasm32")]
use super::wasm::bindings::hostler::plugin::progress as sink;

#[cfg(not(target_arch = "wasm32"))]
use super::testing::scope as sink;

/// Reports a fraction from 0 to 1 and a short note.
///
/// Cheap: the host keeps the newest and writes at its own pace.
pub fn report(fraction: f64, note: impl AsRef<str>) {
    sink::report(fraction, note.as_ref());
}
