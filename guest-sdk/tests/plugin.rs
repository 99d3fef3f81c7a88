//! A plugin as its author writes it, seen as its host sees it: the descriptor, and runs through JSON.

#![allow(unexpected_cfgs, reason = "this crate is no plugin and has no feature `export`")]

use hostler_guest::prelude::*;
use hostler_guest::testing::{Attempt, call, describe, with_attempt};
use hostler_guest::{Task, TaskRef};

/// A pair.
#[data]
#[derive(Debug, PartialEq)]
pub struct Pair {
    /// Left.
    pub a: i32,
    /// Right, 1 if it is not there.
    #[serde(default = "one")]
    pub b: i32,
}

fn one() -> i32 {
    1
}

mod sums {
    use super::*;

    /// Adds "two" numbers.
    ///
    /// The second line.
    #[task(
        retries = 3, backoff = exponential(base = "1s", max = "1m"), jitter = true, retry_on = ["BUSY"],
        timeout = "30s", cpu = "5s", memory = "64 MiB", redeliveries = 3, result_max = "1 MiB", keep_input = false
    )]
    pub(crate) fn add(pair: Pair) -> Result<i32, Failure> {
        pair.a.checked_add(pair.b).ok_or_else(|| Failure::new("OVERFLOW", "too large").never())
    }
}

#[task]
fn r#match() -> Result<Pair, Failure> {
    let seen: u8 = "300".parse()?;
    Ok(Pair { a: seen.into(), b: 0 })
}

/// Asks about everything.
#[task]
fn ask() -> Result<Value, Failure> {
    progress::report(0.5, format!("{} left", attempt::remaining().as_secs()));
    log::debug!("retries {}", attempt::retries());
    log::error!("plain");
    Ok(json!([attempt::id(), attempt::number(), attempt::previous_error(), cancellation::requested()]))
}

hostler_guest::plugin!("maths", [sums::add, r#match, ask]);

#[test]
fn the_descriptor_is_what_the_host_reads() {
    let mut descriptor = describe(&PLUGIN);
    let args = descriptor["tasks"][0]["args_schema"].take();
    let result = descriptor["tasks"][1]["result_schema"].take();
    assert_eq!(args["required"], json!(["a"]), "a default need not be sent");
    assert_eq!(result["required"], json!(["a", "b"]), "a default is always returned");
    assert_eq!(args["properties"]["a"]["description"], "Left.");
    let integer = descriptor["tasks"][0]["result_schema"].take();
    assert_eq!(integer["type"], "integer");
    let policy = json!({
        "max_retries": 3,
        "backoff": { "kind": "exponential", "base_ms": 1000, "factor": 2.0, "max_ms": 60000 },
        "jitter": true, "retry_on": ["BUSY"], "timeout_ms": 30000, "cpu_ms_max": 5000,
        "memory_bytes_max": 67108864, "redeliveries": 3, "result_bytes_max": 1048576, "keep_input": false,
    });
    let nothing = json!({ "type": ["null", "object"], "maxProperties": 0 });
    let expected = json!({
        "contract": "hostler:plugin@0.1.0", "name": "maths", "version": env!("CARGO_PKG_VERSION"),
        "tasks": [
            { "name": "add", "description": "Adds \"two\" numbers.\n\nThe second line.", "args_schema": null,
              "result_schema": null, "policy": policy },
            { "name": "match", "description": "", "args_schema": nothing, "result_schema": null, "policy": {} },
            { "name": "ask", "description": "Asks about everything.", "args_schema": nothing,
              "result_schema": descriptor["tasks"][2]["result_schema"], "policy": {} },
        ],
    });
    assert_eq!(descriptor, expected);
}

#[test]
fn senders_have_names_and_types() {
    fn sent<T: TaskRef>(task: T, args: &T::Args) -> String {
        format!("{} {}", task.name(), serde_json::to_string(args).expect("a pair is JSON"))
    }
    assert_eq!(sent(sums::Add, &Pair { a: 1, b: 2 }), r#"maths.add {"a":1,"b":2}"#);
    assert_eq!(sent(Match, &()), "maths.match null");
    assert_eq!(<Ask as Task>::NAME, "maths.ask");
    assert_eq!(sums::add(Pair { a: 1, b: 2 }), Ok(3), "the function is still a function");
}

#[test]
fn a_run_goes_through_json() {
    assert_eq!(call(&PLUGIN, "add", &json!({ "a": 2 })), Ok(json!(3)));
    let failure = call(&PLUGIN, "add", &json!({ "a": i32::MAX })).expect_err("it overflows");
    assert_eq!((failure.code.as_str(), failure.retry), ("OVERFLOW", Retry::Never));
    let failure = call(&PLUGIN, "match", &json!(null)).expect_err("300 is no u8");
    assert_eq!((failure.code.as_str(), failure.retry), ("TASK_FAILED", Retry::ByPolicy));
}

#[test]
fn arguments_that_do_not_fit_name_their_place() {
    for (task, args, expected) in [
        ("add", json!({ "a": "x" }), r#"a: invalid type: string "x", expected i32"#),
        ("add", json!({ "b": 1 }), "missing field `a`"),
        ("match", json!({ "b": 1 }), "unknown field `b`, expected no arguments"),
        ("match", json!(7), "expected no arguments: null or {}"),
    ] {
        let failure = call(&PLUGIN, task, &args).expect_err(expected);
        assert_eq!((failure.code.as_str(), failure.retry), ("ARGUMENT_TYPE_MISMATCH", Retry::Never));
        assert!(failure.message.contains(expected), "{failure}");
    }
    assert!(call(&PLUGIN, "ask", &json!({})).is_ok());
}

#[test]
fn an_unknown_task_is_told_with_those_there_are() {
    let failure = call(&PLUGIN, "maths.add", &json!(null)).expect_err("names are short here");
    assert_eq!((failure.code.as_str(), failure.retry), ("WORKER_RESOLUTION_ERROR", Retry::Never));
    assert_eq!(failure.message, "the plugin `maths` has no task `maths.add`; it has: add, match, ask");
}

#[test]
fn a_scope_answers_and_collects() {
    let attempt = Attempt {
        id: "id".to_owned(),
        number: 4,
        retries: 2,
        remaining: Duration::from_secs(9),
        previous_error: Some("BUSY".to_owned()),
        cancelled: true,
        ..Attempt::default()
    };
    let seen = with_attempt(attempt, || {
        let inner = with_attempt(Attempt::default(), ask);
        assert_eq!(inner.messages(), ["retries 0", "plain"]);
        ask()
    });
    assert_eq!(seen.result, Ok(json!(["id", 4, "BUSY", true])));
    assert_eq!(seen.lines[0], (log::Level::Debug, "retries 2".to_owned()));
    assert_eq!(seen.progress, [(0.5, "9 left".to_owned())]);
    assert_eq!(ask(), Ok(json!(["00000000-0000-0000-0000-000000000000", 1, null, false])));
}
