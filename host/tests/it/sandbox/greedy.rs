//! Components of anybody's that ask for much of their host: of its memory with types and values, of its tables with
//! resources, of its database with steps.

use std::sync::Arc;

use hostler::sandbox::Plugin;
use hostler::task::Outcome;
use serde_json::{Value, json};

use super::{call, run, sandbox};

async fn served(bytes: &[u8]) -> Arc<Plugin> {
    Arc::new(sandbox().load("any", bytes.to_vec()).await.expect("a plugin"))
}

/// A component whose functions take, or give, one type by its address.
fn reflected(types: &str, core: &str, functions: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m
                (memory (export "memory") 8)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
                {core})
            (core instance $i (instantiate $m))
            (alias core export $i "memory" (core memory $memory))
            (alias core export $i "realloc" (core func $realloc))
            {types}
            {functions})"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// A tuple of `2^(depth + 1)` types or so, in a few lines, and as many functions that take one.
fn shared_tuples(depth: usize, functions: usize) -> Vec<u8> {
    let deeper = (1..=depth).map(|n| format!("(type $x{n} (tuple $x{m} $x{m}))", m = n - 1));
    let types = format!("(type $x0 (tuple u64)) {}", deeper.collect::<String>());
    let lifted = format!(
        r#"(func $f (param "p" $x{depth}) (canon lift (core func $i "f") (memory $memory) (realloc $realloc)))"#
    );
    let exports: String = (0..functions).map(|n| format!("(export \"f{n}\" (func $f))")).collect();
    reflected(&types, r#"(func (export "f") (param i32))"#, &format!("{lifted}{exports}"))
}

#[tokio::test]
async fn functions_that_share_large_types_take_no_memory_that_a_component_has_not_paid_for() {
    if !alone(
        "sandbox::greedy::functions_that_share_large_types_take_no_memory_that_a_component_has_not_paid_for",
    ) {
        return;
    }
    let bytes = shared_tuples(10, 250);
    assert!(bytes.len() < 40 << 10, "{}", bytes.len());
    let before = memory_kib("VmRSS");
    let plugin = served(&bytes).await;
    assert!(plugin.descriptor().tasks.len() < 10, "{:?}", plugin.descriptor().tasks.len());
    let grown = memory_kib("VmHWM") - before;
    assert!(grown < 250 << 10, "{grown} KiB");
}

#[tokio::test]
async fn functions_are_served_as_far_as_their_schemas_go_together() {
    let plugin = sandbox().load("any", shared_tuples(7, 250)).await.expect("some are served");
    let served = plugin.descriptor().tasks.len();
    assert!((2..100).contains(&served), "{served}");
    let notes = plugin.notes();
    assert!(
        notes[0].contains("is not served: the component's schemas are too large together"),
        "{}",
        notes[0]
    );
    assert_eq!(
        notes.last().map(String::as_str),
        Some(&*format!("{} more functions are not served", 200 - served))
    );
    let exports: String = (0..257).map(|n| format!("(export \"f{n}\" (func $f))")).collect();
    let functions = format!(r#"(func $f (canon lift (core func $i "f"))) {exports}"#);
    let many = reflected("", r#"(func (export "f"))"#, &functions);
    let error = sandbox().load("any", many).await.expect_err("too many");
    assert!(error.to_string().contains("more than 256 of its functions"), "{error}");
}

#[tokio::test]
async fn json_that_would_fill_the_hosts_memory_is_refused_before_it_is_parsed() {
    if !alone("sandbox::greedy::json_that_would_fill_the_hosts_memory_is_refused_before_it_is_parsed") {
        return;
    }
    let f = r#"(type $d (record (field "x" u8))) (export $t "t" (type $d))
        (func (export "f") (param "p" (list $t)) (canon lift (core func $i "f") (memory $memory) (realloc $realloc)))"#;
    let bytes = reflected("", r#"(func (export "f") (param i32 i32))"#, f);
    let plugin = served(&bytes).await;
    let bomb = format!(r#"{{"p":[{}]}}"#, [r#"{"":0}"#; 1 << 20].join(","));
    let (before, sandbox) = (memory_kib("VmRSS"), sandbox());
    let outcome = run(&sandbox, &plugin, call("f", &bomb)).await.outcome;
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, "ARGUMENT_TYPE_MISMATCH");
    assert!(failure.message.contains("134217728 bytes") && failure.message.contains("(memory_bytes_max)"));
    let grown = memory_kib("VmHWM") - before;
    assert!(grown < 100 << 10, "{grown} KiB");
}

#[tokio::test]
async fn a_result_takes_little_more_of_the_hosts_memory_than_it_may_have_bytes() {
    if !alone("sandbox::greedy::a_result_takes_little_more_of_the_hosts_memory_than_it_may_have_bytes") {
        return;
    }
    // 190,000 records of one byte each.
    let core = r#"(func (export "f") (result i32)
        (i32.store (i32.const 8) (i32.const 16)) (i32.store (i32.const 12) (i32.const 190000)) (i32.const 8))"#;
    let f = r#"(type $d (record (field "x" u8))) (export $t "t" (type $d))
        (func (export "f") (result (list $t)) (canon lift (core func $i "f") (memory $memory)))"#;
    let plugin = served(&reflected("", core, f)).await;
    let (before, sandbox) = (memory_kib("VmRSS"), sandbox());
    let outcome = run(&sandbox, &plugin, call("f", "{}")).await.outcome;
    let Outcome::Returned(json) = outcome else { panic!("{outcome:?}") };
    assert_eq!(json.len(), 190_000 * r#"{"x":0},"#.len() + 1);
    let grown = memory_kib("VmHWM") - before;
    assert!(grown < 80 << 10, "{grown} KiB");
    let mut small = call("f", "{}");
    small.limits.result_bytes_max = 1_000_000;
    let outcome = run(&sandbox, &plugin, small).await.outcome;
    assert_eq!(outcome, Outcome::OutputTooLarge(1_000_000));
}

#[tokio::test]
async fn resources_of_a_components_own_are_handles_like_all_others() {
    let text = r#"(component
        (type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core module $m
            (import "r" "new" (func $new (param i32) (result i32)))
            (func (export "f") (param i32) (result i32)
                (loop $more
                    (drop (call $new (i32.const 1)))
                    (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (i32.const 7)))
        (core instance $i (instantiate $m (with "r" (instance (export "new" (func $new))))))
        (func (export "f") (param "times" u32) (result u32) (canon lift (core func $i "f"))))"#;
    let (sandbox, bytes) = (sandbox(), wat::parse_str(text).expect("a component"));
    let plugin = served(&bytes).await;
    let hoards = async |times: u32| {
        let mut call = call("f", &json!({ "times": times }).to_string());
        call.limits.resources_max = 50;
        run(&sandbox, &plugin, call).await.outcome
    };
    assert_eq!(hoards(50).await, Outcome::Returned(b"7".to_vec()));
    let words = "the guest holds more than 50 handles (resources_max)";
    assert_eq!(hoards(51).await, Outcome::Trapped(words.to_owned()));
}

#[tokio::test]
async fn what_an_attempt_may_ask_of_the_database_has_an_end_with_nothing_granted() {
    let text = r#"(component
        (import "hostler:plugin/checkpoint@0.1.0" (instance $c
            (export "recall" (func (param "name" string) (result (result (option (list u8)) (error string)))))
            (export "keep" (func (param "name" string) (param "value" (list u8)) (result (result (error string)))))))
        (core module $memory
            (memory (export "memory") 4)
            (data (i32.const 0) "a\00")
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
        (core instance $memory (instantiate $memory))
        (alias core export $memory "memory" (core memory $m))
        (alias core export $memory "realloc" (core func $realloc))
        (core func $recall (canon lower (func $c "recall") (memory $m) (realloc $realloc)))
        (core func $keep (canon lower (func $c "keep") (memory $m) (realloc $realloc)))
        (core module $main
            (import "c" "memory" (memory 4))
            (import "c" "recall" (func $recall (param i32 i32 i32)))
            (import "c" "keep" (func $keep (param i32 i32 i32 i32 i32)))
            (func (export "recall") (param $from i32) (param $times i32) (result i32) (local $good i32)
                (loop $more
                    (call $recall (local.get $from) (i32.const 1) (i32.const 64))
                    (local.set $good (i32.add (local.get $good) (i32.eqz (i32.load8_u (i32.const 64)))))
                    (br_if $more (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
                (local.get $good))
            (func (export "keep") (param $bytes i32) (param $times i32) (result i32) (local $good i32)
                (loop $more
                    (call $keep (i32.const 0) (i32.const 1) (i32.const 8192) (local.get $bytes) (i32.const 64))
                    (local.set $good (i32.add (local.get $good) (i32.eqz (i32.load8_u (i32.const 64)))))
                    (br_if $more (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
                (local.get $good)))
        (core instance $main (instantiate $main (with "c" (instance
            (export "memory" (memory $m)) (export "recall" (func $recall)) (export "keep" (func $keep))))))
        (func (export "recall") (param "from" u32) (param "times" u32) (result u32)
            (canon lift (core func $main "recall")))
        (func (export "keep") (param "bytes" u32) (param "times" u32) (result u32)
            (canon lift (core func $main "keep"))))"#;
    let (sandbox, bytes) = (sandbox(), wat::parse_str(text).expect("a component"));
    let plugin = served(&bytes).await;
    // How many of them were heard.
    let heard = async |task: &str, args: Value| {
        let mut call = call(task, &args.to_string());
        (call.limits.database_calls_max, call.limits.database_bytes_max) = (20, 1_000);
        match run(&sandbox, &plugin, call).await.outcome {
            Outcome::Returned(json) => serde_json::from_slice::<u32>(&json).expect("a number"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(heard("recall", json!({ "from": 0, "times": 30 })).await, 20);
    assert_eq!(heard("recall", json!({ "from": 1, "times": 5 })).await, 0, "a NUL is no name");
    assert_eq!(heard("keep", json!({ "bytes": 1, "times": 30 })).await, 20);
    assert_eq!(heard("keep", json!({ "bytes": 99, "times": 15 })).await, 10, "what is replaced counts too");
}

/// Whether this is the process of this test alone, whose peak of memory is nobody else's. If not, it has run in one.
fn alone(test: &str) -> bool {
    const ALONE: &str = "HOSTLER_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut itself = std::process::Command::new(std::env::current_exe().expect("a program"));
    let output = itself.args(["--exact", test]).env(ALONE, "1").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// A line of this process's status.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect(name);
    line.trim().strip_suffix(" kB").expect("kilobytes").parse().expect("a number")
}
