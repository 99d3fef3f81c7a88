//! Every hostile behaviour in one table: its exact code, a neighbour that still works, and its places and its
//! memory given back.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;

use hostler::testing::Plugin;
use serde_json::{Value, json};

use crate::support::own_plugins;

/// More often than there are places in the pool: whoever keeps one is found out.
const ROUNDS: usize = 5;

/// What the free places of a pool for two may keep of memory, so that the next guest finds it warm: for each of four,
/// 128 KiB of each of four memories, and 16 KiB of each of eight tables.
const KEPT_BYTES_MAX: usize = (4 * (4 * 128 + 8 * 16)) << 10;

/// What an operator might write for a stranger, small enough for each limit to be met.
fn grants(data: &Path, port: u16) -> String {
    format!(
        r#"
        [[http]]
        origin = "http://127.0.0.1:{port}"
        private = true
        [[http]]
        origin = "http://localhost:{port}"
        [[http]]
        origin = "http://[::1]:{port}"
        [[http]]
        origin = "http://[::ffff:127.0.0.1]:{port}"
        [[http]]
        origin = "http://169.254.169.254"
        [[http]]
        origin = "http://10.0.0.1"
        [[directories]]
        host = {data:?}
        guest = "/data"
        [limits]
        timeout_ms = 20_000
        memory_bytes_max = 33_554_432
        result_bytes_max = 1_048_576
        log_bytes_max = 10_000
        [tasks.spin.limits]
        cpu_ms_max = 30
        [tasks.sleep.limits]
        timeout_ms = 50
        [tasks.spin_until_cancelled.limits]
        timeout_ms = 50
        [tasks.noop.limits]
        args_bytes_max = 20
        [tasks.hoard.limits]
        resources_max = 50
        [tasks.fetch.limits]
        http_requests_max = 3
        http_read_ms_max = 30
        "#
    )
}

#[test]
fn each_hostile_behaviour_has_its_code_and_hurts_nobody() {
    let dir = own_plugins(&["misbehave"]);
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("made");
    fs::write(dir.path().join("outside"), "secret").expect("written");
    fs::write(data.join("inside"), "hello").expect("written");
    symlink("../outside", data.join("link")).expect("linked");
    symlink("..", data.join("up")).expect("linked");
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a server");
    let port = silent.local_addr().expect("an address").port();
    fs::write(dir.path().join("misbehave.toml"), grants(&data, port)).expect("written");
    let plugin = Plugin::load(dir.path().join("misbehave.wasm")).expect("loaded");

    let url = |host: &str| json!({ "url": format!("http://{host}:{port}/") });
    let path = |path: &str| json!({ "path": path });
    let behaviours: Vec<(&str, Value, Option<&str>)> = vec![
        ("spin", json!({}), Some("CPU_EXCEEDED")),
        ("sleep", json!({ "ms": 600_000 }), Some("TASK_TIMEOUT")),
        ("spin_until_cancelled", json!({}), Some("TASK_TIMEOUT")),
        ("recurse", json!({}), Some("STACK_EXHAUSTED")),
        ("allocate", json!({ "mib": 64 }), Some("MEMORY_EXCEEDED")),
        ("big_result", json!({ "bytes": 1_048_576 }), Some("OUTPUT_TOO_LARGE")),
        ("big_result", json!({ "bytes": 8_000_000 }), Some("OUTPUT_TOO_LARGE")),
        ("shout", json!({ "bytes": 6_000_000 }), Some("TRAPPED")),
        ("flood", json!({ "lines": 5_000 }), None),
        ("pester", json!({ "times": 100_000 }), None),
        ("hoard", json!({ "times": 100 }), Some("TRAPPED")),
        ("trap", json!({}), Some("TRAPPED")),
        ("abort", json!({}), Some("TRAPPED")),
        ("exit", json!({ "code": 0 }), Some("TRAPPED")),
        ("exit", json!({ "code": 7 }), Some("TRAPPED")),
        ("reserved_code", json!({}), Some("UNHANDLED_ERROR")),
        ("noop", json!({ "pad": "more than twenty bytes" }), Some("ARGUMENT_TYPE_MISMATCH")),
        ("sleep", json!({ "ms": "long" }), Some("ARGUMENT_TYPE_MISMATCH")),
        ("counter", json!({}), None),
        ("connect", json!({ "to": "127.0.0.1:1" }), Some("CAPABILITY_DENIED")),
        ("fetch", url("127.0.0.1"), Some("FETCH_FAILED")),
        ("fetch", url("localhost"), Some("CAPABILITY_DENIED")),
        ("fetch", url("[::1]"), Some("CAPABILITY_DENIED")),
        ("fetch", url("[::ffff:127.0.0.1]"), Some("CAPABILITY_DENIED")),
        ("fetch", url("2130706433"), Some("CAPABILITY_DENIED")),
        ("fetch", url("user@127.0.0.1"), Some("CAPABILITY_DENIED")),
        ("fetch", json!({ "url": "http://169.254.169.254/" }), Some("CAPABILITY_DENIED")),
        ("fetch", json!({ "url": "http://10.0.0.1/" }), Some("CAPABILITY_DENIED")),
        ("fetch", json!({ "url": "https://example.com/" }), Some("CAPABILITY_DENIED")),
        ("fork_bomb", json!({}), Some("CAPABILITY_DENIED")),
        ("send", json!({ "task": "misbehave.noop", "args": {} }), Some("CAPABILITY_DENIED")),
        ("store", json!({ "bucket": "one" }), Some("CAPABILITY_DENIED")),
        ("read", path("/data/../outside"), Some("TASK_FAILED")),
        ("read", path("/data/link"), Some("TASK_FAILED")),
        ("read", path("/data/up/outside"), Some("TASK_FAILED")),
        ("read", path("/etc/passwd"), Some("TASK_FAILED")),
        ("write", path("/data/inside"), Some("TASK_FAILED")),
        ("write", path("/data/new"), Some("TASK_FAILED")),
    ];
    assert!(behaviours.len() >= 25);
    for round in 0..ROUNDS {
        for (task, args, code) in &behaviours {
            let ended = plugin.call(*task, args);
            let found = ended.as_ref().err().map(|error| error.code.to_string());
            assert_eq!(found.as_deref(), *code, "round {round}, {task} {args}: {ended:?}");
            let neighbour = plugin.call("noop", json!({})).expect("a neighbour finishes");
            assert_eq!(neighbour, json!({}), "after {task} {args}");
            let (places, bytes) = plugin.held().expect("a pool");
            assert_eq!(places, 0, "round {round}: {task} {args} keeps places");
            assert!(bytes <= KEPT_BYTES_MAX, "round {round}: {task} {args} leaves {bytes} bytes");
        }
    }
    assert_eq!(fs::read_to_string(data.join("inside")).expect("read"), "hello");
    assert_eq!(fs::read_dir(&data).expect("listed").count(), 3, "nothing new");
}
