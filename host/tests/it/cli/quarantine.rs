//! Which code runs where. Code that kills its host again and again is not run any more, until somebody says so.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::{Serving, on, send, wait_until_running};
use crate::support::{Database, LONG, component, database, own_plugins};

/// Swaps other bytes in, as people are told to.
fn put(dir: &Path, bytes: &[u8]) {
    let part = dir.join(".part");
    fs::write(&part, bytes).and_then(|()| fs::rename(&part, dir.join("misbehave.wasm"))).expect("swapped");
}

fn status(database: &Database, id: &str) -> serde_json::Value {
    on(database, &["info", id, "--json"]).ends(0).json()["status"].clone()
}

fn wait_until_swapped(database: &Database, digest: &str) {
    let began = Instant::now();
    while !on(database, &["hosts", "--json"]).ends(0).out.contains(digest) {
        assert!(began.elapsed() < LONG, "{digest} is not served");
    }
}

#[test]
fn code_that_kills_its_hosts_is_quarantined_until_it_is_lifted() {
    let database = database();
    let lease = ["--lease", "1s"];
    // It lives on and judges. What it serves is not to blame.
    let judge = own_plugins(&["text"]);
    let _judge = Serving::start(&database, judge.path(), &lease);
    let dir = own_plugins(&["misbehave"]);
    let path = dir.path().to_str().expect("text");
    let first = Serving::start(&database, dir.path(), &lease);
    let deadly = send(&database, "misbehave.sleep", &json!({ "ms": 600_000 }));
    wait_until_running(&database, &deadly);
    let shown = on(&database, &["plugins", "--plugins", path, "--json"]).ends(0).json();
    assert_eq!(shown["suspects"], json!([]), "nothing happened yet");
    let digest = shown["plugins"][0]["digest"].as_str().expect("a digest").to_owned();
    // As if the guest had done it.
    drop(first);
    for lost in 1..=2 {
        let next = Serving::start(&database, dir.path(), &lease);
        let began = Instant::now();
        loop {
            let info = on(&database, &["info", &deadly, "--json"]).ends(0).json();
            if info["redeliveries"] == lost && info["status"] == "RUNNING" {
                break;
            }
            assert!(began.elapsed() < LONG, "it never ran again: {info}");
        }
        drop(next);
    }
    let began = Instant::now();
    loop {
        let listed = on(&database, &["plugins", "--plugins", path, "--json"]).ends(0).json();
        if listed["suspects"][0]["quarantined_at"].is_string() {
            assert_eq!(listed["suspects"][0]["digest"], json!(digest));
            break;
        }
        assert!(began.elapsed() < LONG, "{}", listed["suspects"]);
    }
    let shown = on(&database, &["plugins", "--plugins", path]).ends(0).out;
    assert!(shown.contains("quarantined: misbehave ") && shown.contains("3 hosts died"), "{shown}");
    assert!(shown.contains(&format!("--lift {digest:.12}")), "{shown}");

    let _host = Serving::start(&database, dir.path(), &lease);
    let waits = send(&database, "misbehave.noop", &json!({}));
    on(&database, &["send", "text.word_count", r#"{"text":""}"#, "--wait"]).ends(0);
    on(&database, &["get", &waits, "--timeout", "2s"]).ends(3);
    assert_eq!((status(&database, &waits), status(&database, &deadly)), (json!("PENDING"), json!("PENDING")));
    on(&database, &["cancel", &deadly]).ends(0);

    // Other code of the same plugin is not to blame.
    let old = fs::read(component("misbehave")).expect("read");
    put(dir.path(), &[&old[..], b"\0\x05\x04note"].concat());
    on(&database, &["get", &waits, "--timeout", "1m"]).ends(0);
    put(dir.path(), &old);
    let gone = Instant::now();
    while on(&database, &["hosts", "--json"]).ends(0).out.contains("misbehave ") {
        assert!(gone.elapsed() < LONG, "the old code is not served");
    }
    let waits = send(&database, "misbehave.noop", &json!({}));
    on(&database, &["get", &waits, "--timeout", "1s"]).ends(3);

    on(&database, &["plugins", "--lift", "nobody"]).ends(4).tells("nobody");
    let lifted = on(&database, &["plugins", "--lift", &digest[..12]]).ends(0);
    assert_eq!(lifted.line(), format!("lifted: misbehave {digest:.12}"));
    on(&database, &["get", &waits, "--timeout", "1m"]).ends(0);
    wait_until_swapped(&database, &digest[..12]);
    let attempts =
        on(&database, &["info", &deadly, "--attempts", "--json"]).ends(0).json()["attempts"].clone();
    for attempt in attempts.as_array().expect("attempts").iter().filter(|a| a["outcome"] == "WORKER_FAILURE")
    {
        assert_eq!(attempt["plugin"]["digest"], json!(digest), "{attempts}");
    }
}

#[test]
fn hosts_show_which_version_each_of_them_runs() {
    let database = database();
    let (one, other) = (own_plugins(&["misbehave"]), own_plugins(&["misbehave"]));
    let code = fs::read(component("misbehave")).expect("read");
    put(other.path(), &[&code[..], b"\0\x05\x04note"].concat());
    let _first = Serving::start(&database, one.path(), &[]);
    on(&database, &["hosts"]).ends(0);
    let _second = Serving::start(&database, other.path(), &[]);
    let hosts = on(&database, &["hosts", "--json"]).ends(0).json();
    let code = |at: usize| hosts[at]["plugins"][0].as_str().expect("a plugin").to_owned();
    assert!(code(0).starts_with("misbehave ") && code(1).starts_with("misbehave "), "{hosts}");
    assert_ne!(code(0), code(1));
    on(&database, &["hosts"]).ends(0).tells("misbehave runs in more than one version");
}
