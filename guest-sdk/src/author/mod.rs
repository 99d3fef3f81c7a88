//! The author's side: what comes in is a function with an attribute, what goes out is a component.
//!
//! `entry` and `describe` are plain Rust and run natively too; `wasm` alone knows the generated bindings. The modules
//! that a task calls (`attempt`, `log`, `progress`, `cancellation`, `checkpoint`, `tasks`) ask the host on wasm and the
//! test's scope elsewhere; `keyvalue` holds the bindings of a standard interface, on wasm alone.

pub mod attempt;
pub mod cancellation;
pub mod checkpoint;
pub mod failure;
#[cfg(target_arch = "wasm32")]
pub mod keyvalue;
pub mod log;
pub mod prelude;
pub mod progress;
pub mod tasks;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub(crate) mod describe;
pub(crate) mod entry;
#[cfg(target_arch = "wasm32")]
pub(crate) mod wasm;

pub use entry::Plugin;
