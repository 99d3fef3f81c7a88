//! The contract's WIT as Rust types; the only file that knows the generated names.

#[allow(missing_docs, unreachable_pub, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        world: "granted",
        path: "../wit",
        imports: {
            "hostler:plugin/checkpoint": async,
            "hostler:plugin/tasks": async,
            "wasi:keyvalue/store": async | trappable,
            "wasi:keyvalue/atomics": async | trappable,
        },
        exports: { default: async },
        with: { "wasi:keyvalue/store.bucket": crate::sandbox::reach::Bucket },
    });
}

pub(super) use generated::GrantedPre as GuestPre;
pub(super) use generated::exports::hostler::plugin::guest::{Failure, Retry};
pub(super) use generated::hostler::plugin::{attempt, cancellation, checkpoint, log, progress, tasks};
pub(super) use generated::wasi::keyvalue::{atomics, store as keyvalue};

/// The exported interface's full name.
pub(super) const GUEST: &str = "hostler:plugin/guest@0.1.0";
