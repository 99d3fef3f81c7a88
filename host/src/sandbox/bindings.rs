//! The contract's WIT as Rust types; the only file that knows the generated names.

#[allow(missing_docs, unreachable_pub, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        world: "plugin",
        path: "../wit",
        imports: { "hostler:plugin/checkpoint": async },
        exports: { default: async },
    });
}

pub(super) use generated::PluginPre as GuestPre;
pub(super) use generated::exports::hostler::plugin::guest::{Failure, Retry};
pub(super) use generated::hostler::plugin::{attempt, cancellation, checkpoint, log, progress};

/// The exported interface's full name.
pub(super) const GUEST: &str = "hostler:plugin/guest@0.1.0";
