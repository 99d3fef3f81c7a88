//! Components that know nothing of hostler: `plugins/geometry`, and smaller ones.

use hostler::dispatch::{Host, HostConfig};
use hostler::sandbox::{Fault, Limits};
use hostler::task::{GuestRetry, Outcome};
use serde_json::{Value, json};

use super::{LONG, call, sandbox};
use crate::support::{database, geometry, host_config};

async fn loaded() -> hostler::sandbox::Plugin {
    let bytes = std::fs::read(geometry()).expect("the component is built");
    sandbox().load("geometry", bytes).await.expect("loaded")
}

async fn run(task: &str, args: Value) -> Outcome {
    let (sandbox, plugin, call) = (sandbox(), loaded().await, call(task, &args.to_string()));
    let inner = sandbox.clone();
    sandbox
        .spawn(async move { inner.run(&plugin, call).await })
        .await
        .expect("no panic")
        .expect("a report")
        .outcome
}

async fn returned(task: &str, args: Value) -> Value {
    match run(task, args).await {
        Outcome::Returned(json) => serde_json::from_slice(&json).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_any_component_are_tasks_with_names_and_schemas_of_its_own() {
    let plugin = loaded().await;
    let tasks: Vec<&str> = plugin.descriptor().tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(tasks, ["divide", "figures_area", "figures_centre", "nothing", "same", "use_up"]);
    assert_eq!((plugin.name(), plugin.version()), ("geometry", "1.2.0"));
    let area = plugin.task("figures_area").expect("a task");
    assert_eq!(area.description, "example:geometry/figures@1.2.0#area");
    assert_eq!(area.args_schema["required"], json!(["figure"]));
    let circle = &area.args_schema["properties"]["figure"]["oneOf"][1]["properties"];
    assert_eq!(circle["circle"]["anyOf"][0], json!({ "type": "number" }));
    assert_eq!(plugin.task("nothing").expect("a task").result_schema, json!({ "type": "null" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_survive_the_component() {
    let mut all = json!({
        "yes": true,
        "small": [-128, 255, -32768, 65535, -2147483648_i64, 4294967295_u64],
        "large": [i64::MIN, u64::MAX],
        "floats": [0.1, -0.0],
        "letter": "🦀",
        "text": "Grüße\u{0}",
        "bytes": "AAH/",
        "side": "right_hand",
        "styles": ["dashed", "filled_in"],
        "maybe": { "some": null },
        "outcome": { "err": "no" },
        "empty_outcome": { "ok": null },
        "nested": [[], [{ "ok": null }, { "err": "left" }]],
    });
    assert_eq!(returned("same", json!({ "value": all.clone() })).await, all);
    for (field, others) in [
        ("maybe", json!([null, { "some": "x" }, { "some": "" }])),
        ("outcome", json!([{ "ok": 7 }, { "err": "" }])),
        ("empty_outcome", json!([{ "err": null }])),
        ("styles", json!([[], ["filled_in"]])),
        ("floats", json!([["NaN", "Infinity"], [3.4e38, 5e-324], ["-Infinity", 1.7976931348623157e308]])),
    ] {
        for other in others.as_array().expect("some") {
            all[field] = other.clone();
            assert_eq!(returned("same", json!({ "value": all.clone() })).await[field], *other);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_functions_error_is_the_tasks_failure() {
    let failed = async |task: &str, args: Value| match run(task, args).await {
        Outcome::Failed(failure) => {
            let data = failure.data.map(|data| serde_json::from_slice::<Value>(&data).expect("JSON"));
            (failure.code, failure.message, data, failure.retry)
        }
        other => panic!("{other:?}"),
    };
    let (code, message, data, retry) = failed("figures_area", json!({ "figure": { "circle": -1.5 } })).await;
    assert_eq!((code.as_str(), message.as_str()), ("NEGATIVE_RADIUS", "negative_radius: -1.5"));
    assert_eq!((data, retry), (Some(json!(-1.5)), GuestRetry::ByPolicy));
    let (code, message, data, _) = failed("divide", json!({ "dividend": 7, "divisor": "0" })).await;
    assert_eq!((code.as_str(), message.as_str()), ("TASK_FAILED", "7 cannot be divided by 0"));
    assert_eq!(data, None);
    let misfit = json!({ "figure": { "polygon": [{ "x": 1, "y": 2 }, { "x": 1 }] } });
    let (code, message, data, retry) = failed("figures_area", misfit).await;
    assert_eq!((code.as_str(), retry), ("ARGUMENT_TYPE_MISMATCH", GuestRetry::Never));
    assert_eq!(message, "at /figure/polygon/1: \"y\" is missing");
    assert_eq!(data, Some(json!({ "path": "/figure/polygon/1" })));
    assert_eq!(failed("figures_area", json!([])).await.0, "ARGUMENT_TYPE_MISMATCH");
    assert_eq!(failed("perimeter", json!({})).await.0, "WORKER_RESOLUTION_ERROR");

    let corners = json!({ "points": [{ "x": 0, "y": 0 }, { "x": 2, "y": 4 }] });
    assert_eq!(returned("figures_centre", corners).await, json!({ "x": 1.0, "y": 2.0 }));
    assert_eq!(returned("figures_centre", json!({ "points": [] })).await, Value::Null);
    assert_eq!(returned("nothing", Value::Null).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_any_component() {
    assert!(matches!(run("use_up", json!({})).await, Outcome::OutOfMemory(_)));
    // What arguments become in the host counts against the attempt's memory before there is any of it.
    let points = json!({ "points": vec![json!({ "x": 0, "y": 0 }); 2_000] });
    let (sandbox, plugin) = (sandbox(), loaded().await);
    let mut call = call("figures_centre", &points.to_string());
    call.limits = Limits { memory_bytes_max: 64 << 10, ..call.limits };
    let inner = sandbox.clone();
    let report = sandbox.spawn(async move { inner.run(&plugin, call).await }).await.expect("no panic");
    let Outcome::Failed(failure) = report.expect("a report").outcome else { panic!("it ran") };
    assert!(failure.message.contains("(memory_bytes_max)"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_told() {
    let load = async |text: &str| {
        let bytes = wat::parse_str(text).expect("a component");
        sandbox().load("any", bytes).await.map_err(|error| error.fault)
    };
    // A core function behind an export of each name.
    let with = |exports: &str| {
        format!(
            r#"(component
                (core module $m (func (export "f")) (func (export "g") (param i32)))
                (core instance $i (instantiate $m))
                (type $r (resource (rep i32)))
                {exports})"#
        )
    };
    let f = r#"(func (export "a-b") (canon lift (core func $i "f")))"#;
    let takes = r#"(export $s "s" (type $r))
        (func (export "take") (param "s" (own $s)) (canon lift (core func $i "g")))"#;
    let plugin = load(&with(&format!("{f}{takes}"))).await.expect("one is served");
    assert_eq!(plugin.descriptor().tasks.len(), 1);
    assert_eq!(plugin.notes(), ["take is not served: it uses a resource"]);
    let Err(Fault::NoGuest(notes)) = load(&with(takes)).await else { panic!("nothing is left to serve") };
    assert_eq!(notes, ["take is not served: it uses a resource"]);
    let twice = format!(
        r#"{f} (func $a (canon lift (core func $i "f"))) (instance (export "x:y/a") (export "b" (func $a)))"#
    );
    let Err(Fault::Ambiguous(what)) = load(&with(&twice)).await else { panic!("which is a_b?") };
    assert!(what.contains("a-b") && what.contains("x:y/a#b"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_component_is_served_by_a_host() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::copy(geometry(), dir.path().join("geometry.wasm")).expect("copied");
    let database = database();
    let config = HostConfig { plugins: dir.path().to_owned(), ..host_config(&database) };
    let host = Host::start(config).await.expect("a host");
    let client = database.client().await;
    let send = async |args: Value| client.send("geometry.divide", args).await;
    let nine = send(json!({ "dividend": 1_i64 << 60, "divisor": 1_i64 << 57 })).await.expect("sent");
    assert_eq!(nine.get(Some(LONG)).await.expect("a result"), json!(8));
    let failed = send(json!({ "dividend": 1, "divisor": 0 })).await.expect("sent");
    assert_eq!(failed.get(Some(LONG)).await.expect_err("it failed").code.as_str(), "TASK_FAILED");
    let refused = send(json!({ "dividend": "one", "divisor": 0 })).await.expect_err("a sender checks");
    assert!(refused.to_string().contains("/dividend"), "{refused}");
    host.drain(LONG).await;
}
