//! The only module that knows the generated bindings.

use std::time::Duration;

use super::describe;
use super::entry::{self, Plugin};
use super::failure::{Failure, Retry};
use super::log::Level;

/// What wit-bindgen makes of `wit/`. Public because the export macro names it from within the plugin's crate.
#[allow(missing_docs, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "granted",
        // What no plugin calls is not linked, but names its types.
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_plugin",
        default_bindings_module: "hostler_guest::__private::bindings",
    });
}

use bindings::exports::hostler::plugin::guest;

pub(crate) fn log(level: Level, message: &str) {
    use bindings::hostler::plugin::log as host;

    let level = match level {
        Level::Trace => host::Level::Trace,
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::write(level, message);
}

pub(crate) fn send(
    task: &str,
    args: &[u8],
    key: Option<&str>,
    delay_ms: Option<u64>,
) -> Result<String, String> {
    bindings::hostler::plugin::tasks::send(task, args, key, delay_ms)
}

/// The body of the export `describe`.
pub fn describe_export(plugin: &Plugin) -> Vec<u8> {
    describe::describe(plugin)
}

/// The body of the export `run`.
pub fn run_export(plugin: &Plugin, task: &str, args: Vec<u8>) -> Result<Vec<u8>, guest::Failure> {
    entry::dispatch(plugin, task, args).map_err(to_wit)
}

fn to_wit(failure: Failure) -> guest::Failure {
    let Failure { code, message, data, retry } = failure;
    guest::Failure {
        code,
        message,
        data: data.map(|data| data.to_string().into_bytes()),
        retry: match retry {
            Retry::ByPolicy => guest::Retry::ByPolicy,
            Retry::Never => guest::Retry::Never,
            Retry::After(delay) => guest::Retry::AfterMs(milliseconds(delay)),
        },
    }
}

fn milliseconds(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}
