//! What `describe` tells the host: the descriptor, as JSON.

use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::entry::{Data, Plugin};

/// Package and version of the WIT this crate was built with.
const CONTRACT: &str = "hostler:plugin@0.1.0";

#[derive(Serialize)]
struct Descriptor<'a> {
    contract: &'a str,
    name: &'a str,
    version: &'a str,
    tasks: Vec<DescribedTask<'a>>,
}

#[derive(Serialize)]
struct DescribedTask<'a> {
    name: &'a str,
    description: &'a str,
    args_schema: Value,
    result_schema: Value,
    policy: &'a RawValue,
}

/// The descriptor of a plugin, UTF-8 JSON.
pub(crate) fn describe(plugin: &Plugin) -> Vec<u8> {
    let tasks = plugin.tasks.iter().map(|task| DescribedTask {
        name: task.name,
        description: task.description,
        args_schema: (task.args_schema)(),
        result_schema: (task.result_schema)(),
        policy: serde_json::from_str(task.policy).expect("the macro writes JSON"),
    });
    let descriptor =
        Descriptor { contract: CONTRACT, name: plugin.name, version: plugin.version, tasks: tasks.collect() };
    serde_json::to_vec(&descriptor).expect("a descriptor holds strings and JSON only")
}

/// What a task takes: the shape that it can read.
pub fn args_schema<T: Data>() -> Value {
    SchemaSettings::default().for_deserialize().into_generator().into_root_schema_for::<T>().into()
}

/// What a task takes that takes nothing.
pub fn no_args_schema() -> Value {
    json!({ "type": ["null", "object"], "maxProperties": 0 })
}

/// What a task returns: the shape that it writes, in which a field with a default is always there.
pub fn result_schema<T: Data>() -> Value {
    SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<T>().into()
}
