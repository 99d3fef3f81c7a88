//! From a task's name and JSON to its function and back.

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::failure::Failure;

/// A plugin: its name, its version and its tasks. [`plugin!`](crate::plugin) makes the one of your crate, `PLUGIN`.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) tasks: &'static [Entry],
}

/// One task, its types forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The short name.
    pub name: &'static str,
    /// The doc comment.
    pub description: &'static str,
    /// JSON; only what the author set.
    pub policy: &'static str,
    /// What it takes, made when `describe` asks.
    pub args_schema: fn() -> Value,
    /// What it returns, made when `describe` asks.
    pub result_schema: fn() -> Value,
    /// From JSON to JSON.
    pub run: fn(Vec<u8>) -> Result<Vec<u8>, Failure>,
}

/// What `#[task]` knows about a function. The plugin's name is not in it, so it is less than a `Task`.
pub trait Define {
    /// The parameter's type, or `()`.
    type Args;
    /// The `T` of `Result<T, Failure>`.
    type Output;
    /// The rest.
    const ENTRY: Entry;
}

/// What may travel as arguments or result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments or the result of a task",
    label = "needs `#[data]` where it is defined",
    note = "`#[data]` derives `Serialize`, `Deserialize` and `JsonSchema`"
)]
pub trait Data: Serialize + DeserializeOwned + JsonSchema {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + JsonSchema> Data for T {}

/// What a task's function may return.
#[diagnostic::on_unimplemented(
    message = "a task returns `Result<T, Failure>`, not `{Self}`",
    label = "not a `Result<T, hostler_guest::Failure>`",
    note = "`T` is any type that serde can write and read; `()` if there is nothing to say"
)]
pub trait Returned {
    /// `T`.
    type Output;
}

impl<T> Returned for Result<T, Failure> {
    type Output = T;
}

/// The one way to make a `Plugin`, for `plugin!`.
pub const fn plugin(name: &'static str, version: &'static str, tasks: &'static [Entry]) -> Plugin {
    Plugin { name, version, tasks }
}

/// Runs the task with this short name.
pub(crate) fn dispatch(plugin: &Plugin, task: &str, args: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match plugin.tasks.iter().find(|entry| entry.name == task) {
        Some(entry) => (entry.run)(args),
        None => Err(unknown(plugin, task)),
    }
}

/// Runs a function of one parameter. The raw arguments are gone before it starts: they count against its memory.
pub fn run<A, T>(args: Vec<u8>, task: impl FnOnce(A) -> Result<T, Failure>) -> Result<Vec<u8>, Failure>
where
    A: Data,
    T: Data,
{
    let parsed = parse(args)?;
    result(task(parsed)?)
}

/// Runs a function without a parameter.
pub fn run_without_args<T: Data>(
    args: Vec<u8>,
    task: impl FnOnce() -> Result<T, Failure>,
) -> Result<Vec<u8>, Failure> {
    let Nothing = parse(args)?;
    result(task()?)
}

fn parse<A: DeserializeOwned>(args: Vec<u8>) -> Result<A, Failure> {
    serde_json::from_slice(&args).map_err(|error| mismatch::<A>(&args, &error))
}

#[cold]
fn unknown(plugin: &Plugin, task: &str) -> Failure {
    let known: Vec<_> = plugin.tasks.iter().map(|entry| entry.name).collect();
    let message = format!("the plugin `{}` has no task `{task}`; it has: {}", plugin.name, known.join(", "));
    Failure::new("WORKER_RESOLUTION_ERROR", message).never()
}

/// Reads the arguments a second time to find out where they do not fit: the first time is the fast one.
#[cold]
fn mismatch<A: DeserializeOwned>(args: &[u8], error: &serde_json::Error) -> Failure {
    let mut reader = serde_json::Deserializer::from_slice(args);
    let path = match serde_path_to_error::deserialize::<_, A>(&mut reader) {
        Err(error) => error.path().to_string(),
        // All was read and something follows: no field is at fault.
        Ok(_) => ".".to_owned(),
    };
    let message = if path == "." { error.to_string() } else { format!("{path}: {error}") };
    Failure::new("ARGUMENT_TYPE_MISMATCH", message).never().with_data(json!({ "path": path }))
}

fn result(value: impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(&value).map_err(|error| {
        Failure::new("RESULT_NOT_JSON", format!("the task's result is no JSON: {error}")).never()
    })
}

/// No arguments: `null` or `{}`.
struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Empty;

        impl<'de> Visitor<'de> for Empty {
            type Value = Nothing;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("no arguments: null or {}")
            }

            fn visit_unit<E: Error>(self) -> Result<Nothing, E> {
                Ok(Nothing)
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Nothing, M::Error> {
                match map.next_entry::<String, IgnoredAny>()? {
                    None => Ok(Nothing),
                    Some((key, _)) => {
                        Err(M::Error::custom(format!("unknown field `{key}`, expected no arguments")))
                    }
                }
            }
        }

        deserializer.deserialize_any(Empty)
    }
}
