//! How much a plugin may say about itself: all of it is stored, and shown to people.

use super::descriptor::{Descriptor, TaskDescriptor};

/// How many tasks one plugin may have: each has a place in the database for ever.
pub(crate) const TASKS_MAX: usize = 256;
/// The longest version, in bytes.
pub(crate) const VERSION_BYTES_MAX: usize = 64;
/// One schema, in bytes of JSON.
pub(crate) const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// All descriptions, schemas and policies together, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;
/// What a description may become in memory, in bytes.
pub(super) const WEIGHT_MAX: u64 = 64 << 20;
/// The longest description of a task, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 8 << 10;
/// The longest policy of a task, in bytes of JSON.
const POLICY_BYTES_MAX: usize = 4 << 10;
/// The longest name, in bytes; what else it has to be is said by [`super::TaskName`].
const NAME_BYTES_MAX: usize = 60;

/// The first bound that is exceeded, by the field's name.
pub(super) fn check(descriptor: &Descriptor) -> Result<(), String> {
    let Descriptor { name, version, tasks, .. } = descriptor;
    at_most("its name", name.len(), NAME_BYTES_MAX)?;
    at_most("its version", version.len(), VERSION_BYTES_MAX)?;
    printable("its version", version, "")?;
    if tasks.len() > TASKS_MAX {
        return Err(format!("it exports {} tasks; a plugin has at most {TASKS_MAX}", tasks.len()));
    }
    let mut text = 0;
    for task in tasks {
        at_most("the name of a task", task.name.len(), NAME_BYTES_MAX)?;
        text += check_task(task).map_err(|why| format!("task {:?}: {why}", task.name))?;
        at_most("what it says of its tasks", text, TEXT_BYTES_MAX)?;
    }
    Ok(())
}

/// How much one task says, in bytes.
pub(crate) fn check_task(task: &TaskDescriptor) -> Result<usize, String> {
    at_most("its description", task.description.len(), DESCRIPTION_BYTES_MAX)?;
    printable("its description", &task.description, "\n\t")?;
    let (args, result) = (task.args_schema.to_string().len(), task.result_schema.to_string().len());
    at_most("args_schema", args, SCHEMA_BYTES_MAX)?;
    at_most("result_schema", result, SCHEMA_BYTES_MAX)?;
    let policy = serde_json::to_string(&task.policy).map_err(|error| error.to_string())?.len();
    at_most("its policy", policy, POLICY_BYTES_MAX)?;
    Ok(task.name.len() + task.description.len() + args + result + policy)
}

fn at_most(what: &str, bytes: usize, most: usize) -> Result<(), String> {
    match bytes > most {
        true => Err(format!("{what} has {bytes} bytes; at most {most} are allowed")),
        false => Ok(()),
    }
}

/// A database takes no NUL, and a terminal takes some others for orders.
fn printable(what: &str, text: &str, but: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() && !but.contains(*c)) {
        Some(found) => Err(format!("{what} has the control character U+{:04X}", u32::from(found))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::task::{CONTRACT, Descriptor, DescriptorError};

    /// Parses a description with one task `t`, but for what is changed.
    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut about =
            json!({ "contract": CONTRACT, "name": "p", "version": "1", "tasks": [{ "name": "t" }] });
        change(&mut about);
        match Descriptor::parse(about.to_string().as_bytes()) {
            Err(DescriptorError::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_field_is_bounded_and_named() {
        let many: Vec<Value> = (0..257).map(|n| json!({ "name": format!("t{n}") })).collect();
        let wide = json!({ "enum": ["x".repeat(250 << 10)] });
        let five: Vec<Value> =
            (0..5).map(|n| json!({ "name": format!("t{n}"), "args_schema": wide.clone() })).collect();
        let steps: Vec<u64> = vec![1_000_000; 1_000];
        for (words, why) in [
            ("its version has 65 bytes; at most 64", refused(|p| p["version"] = json!("1".repeat(65)))),
            ("its version has the control character U+001B", refused(|p| p["version"] = json!("\u{1b}[2J"))),
            ("its name has 61 bytes", refused(|p| p["name"] = json!("p".repeat(61)))),
            ("257 tasks; a plugin has at most 256", refused(|p| p["tasks"] = json!(many))),
            ("the name of a task has 99 bytes", refused(|p| p["tasks"][0]["name"] = json!("t".repeat(99)))),
            (
                "\"t\": its description has the control character U+0000",
                refused(|p| {
                    p["tasks"][0]["description"] = json!("a\0");
                }),
            ),
            (
                "its description has 8193 bytes; at most 8192",
                refused(|p| {
                    p["tasks"][0]["description"] = json!("a".repeat(8_193));
                }),
            ),
            ("args_schema has", refused(|p| p["tasks"][0]["args_schema"] = json!("a".repeat(256 << 10)))),
            ("result_schema has", refused(|p| p["tasks"][0]["result_schema"] = json!("a".repeat(256 << 10)))),
            ("what it says of its tasks has", refused(|p| p["tasks"] = json!(five))),
            (
                "its policy has",
                refused(|p| {
                    p["tasks"][0]["policy"] = json!({ "backoff": { "kind": "fixed", "delays_ms": steps } });
                }),
            ),
            (
                "bytes of memory",
                refused(|p| p["tasks"][0]["args_schema"] = json!(vec![json!({ "": 0 }); 100_000])),
            ),
        ] {
            assert!(why.contains(words), "{words}: {why:.200}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_told_in_a_short_line() {
        let odd = format!(
            r#"{{"contract":"{CONTRACT}","name":"p","version":"1","tasks":[{{"name":"t","policy":{{"backoff":{{"kind":"\u001b{}"}}}}}}]}}"#,
            "x".repeat(10_000)
        );
        let why = Descriptor::parse(odd.as_bytes()).expect_err("no such backoff").to_string();
        assert!(why.len() < 1_000 && !why.contains('\u{1b}'), "{why}");
    }
}
