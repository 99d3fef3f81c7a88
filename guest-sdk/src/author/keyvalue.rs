//! `wasi:keyvalue`, as its standard has it: buckets of values that outlive the task. The plugin's grants name them
//! (`[keyvalue]` in `<plugin>.toml`).
//!
//! ```ignore
//! let visits = keyvalue::open("visits")?;
//! let seen = keyvalue::increment(&visits, "page", 1)?;
//! ```

pub use super::wasm::bindings::wasi::keyvalue::atomics::increment;
pub use super::wasm::bindings::wasi::keyvalue::store::{Bucket, Error, KeyResponse, open};
