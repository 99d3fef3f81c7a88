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
