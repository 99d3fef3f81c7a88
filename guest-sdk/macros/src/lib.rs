//! The macros of `hostler-guest`, which re-exports and explains them.
//!
//! `options` turns the attribute's text into a policy, `signature` reads a function, `task`
//! and `plugin` write code, `name` and `unit` know what may be
//! written. Nothing here knows the host: the policy leaves as JSON in the descriptor.

mod data;
mod name;
mod options;
mod plugin;
mod signature;
mod task;
mod unit;

use proc_macro::TokenStream;

/// Makes a function a task of the plugin.
///
/// The function takes one owned value or nothing and returns `Result<T, Failure>`. It stays as it is and can be called
/// and tested directly. Beside it appears a unit type in camel case (`WordCount` for `word_count`) with the same
/// visibility: senders name the task by it. The doc comment becomes the task's description.
///
/// All options may be left out; the host's configuration then decides, and caps every one of them.
///
/// | option | meaning |
/// |---|---|
/// | `retries = 3` | how many failed attempts are tried again, 0 to 20 |
/// | `backoff = fixed("1s", "5s")` | the waits between them, in order; the last one repeats |
/// | `backoff = exponential(base = "1s", factor = 2.0, max = "1m")` | a growing wait; `factor` is 2.0 if left out |
/// | `jitter = true` | whether waits are spread a little |
/// | `retry_on = ["RATE_LIMITED"]` | only these codes are retried |
/// | `timeout = "30s"` | how long an attempt may take by the clock |
/// | `cpu = "5s"` | how long it may compute |
/// | `memory = "64 MiB"` | how much memory it may have |
/// | `redeliveries = 3` | how often a task may start again after its host died; 0 is at most once, and needs `retries = 0` |
/// | `result_max = "1 MiB"` | how large the result may be |
/// | `keep_input = false` | whether the arguments are kept after the end |
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Names the plugin and lists its tasks: `plugin!("text", [word_count, top_words]);`.
///
/// Once to a crate, in its root. It implements `Task` for each task, makes the constant `PLUGIN` for tests, and, on wasm32
/// and with the crate's feature `export`, exports the component. The version is the crate's. A task in a module is listed
/// by its path: `images::thumbnail`.
#[proc_macro]
pub fn plugin(input: TokenStream) -> TokenStream {
    plugin::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Derives `Serialize`, `Deserialize` and `JsonSchema` for a type that travels as arguments or result.
///
/// It is those three derives with the crates they come from spelled out, so that a plugin depends on `hostler-guest`
/// alone. `#[serde(…)]`, `#[schemars(…)]` and more derives go below it as usual.
#[proc_macro_attribute]
pub fn data(options: TokenStream, item: TokenStream) -> TokenStream {
    data::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
