//! Components made by hand: what no compiler makes, and somebody will send all the same.

use std::sync::Arc;

use chrono::Utc;
use hostler::sandbox::{Fault, Plugin, PluginError, Sandbox, SandboxConfig};
use hostler::task::verdict::{Verdict, decide};
use hostler::task::{Claim, Outcome, Report, RetryPolicy, TaskError, TaskId};

use super::{MIB, limited, run, sandbox};

/// More often than there are places in the pool of two slots.
const ROUNDS: usize = 5;

/// One component; each part is WebAssembly text, and a part left out behaves.
struct Crafted {
    /// Before everything else.
    component: &'static str,
    /// The main module's imports, and the arguments that bring them.
    imports: &'static str,
    with: &'static str,
    /// In the main module.
    module: &'static str,
    realloc: &'static str,
    describe: &'static str,
    run: &'static str,
}

const DESCRIBE: &str =
    "(i32.store (i32.const 16) (i32.const 1024)) (i32.store (i32.const 20) (i32.const $SIZE)) (i32.const 16)";
/// Answers with the bytes that `module` puts at 64, so many of them.
const ANSWER: &str = "(i32.store8 (i32.const 32) (i32.const 0)) (i32.store (i32.const 40) (i32.const 64)) (i32.store (i32.const 44) (local.get $n)) (i32.const 32)";

impl Default for Crafted {
    fn default() -> Self {
        Self {
            component: "",
            imports: "",
            with: "",
            module: r#"(data (i32.const 64) "null")"#,
            realloc: "(global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3)))",
            describe: DESCRIBE,
            run: "(local.set $n (i32.const 4)) $ANSWER",
        }
    }
}

impl Crafted {
    fn bytes(&self) -> Vec<u8> {
        let about = r#"{"contract":"hostler:plugin@0.1.0","name":"crafted","version":"0.1.0","tasks":[{"name":"$TASK","description":""}]}"#;
        let (one, other) = (about.replace("$TASK", "one"), about.replace("$TASK", "two"));
        let text = include_str!("crafted.wat")
            .replace("$COMPONENT", self.component)
            .replace("$IMPORTS", self.imports)
            .replace("$WITH", self.with)
            .replace("$MODULE", self.module)
            .replace("$REALLOC", self.realloc)
            .replace("$DESCRIBE", self.describe)
            .replace("$RUN", self.run)
            .replace("$ANSWER", ANSWER)
            .replace("$ONE", &one.replace('"', "\\\""))
            .replace("$TWO", &other.replace('"', "\\\""))
            .replace("$SIZE", &one.len().to_string());
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    async fn load(&self) -> Result<Arc<Plugin>, Fault> {
        let loaded = sandbox().load("crafted", self.bytes()).await;
        loaded.map(Arc::new).map_err(|PluginError { fault, .. }| fault)
    }

    /// What becomes of its one task, time and again; a neighbour still works, and every place is given back.
    async fn ends(&self, memory_bytes_max: u64) -> Result<Vec<u8>, TaskError> {
        let config = SandboxConfig { slots: 2, threads: 1, ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config).expect("a sandbox");
        let load = async |of: &Self| Arc::new(sandbox.load("crafted", of.bytes()).await.expect("loaded"));
        let (plugin, neighbour) = (load(self).await, load(&Self::default()).await);
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            let attempt =
                limited("one", "{}", |l| (l.memory_bytes_max, l.cpu_ms_max) = (memory_bytes_max, 200));
            all.push(judged(run(&sandbox, &plugin, attempt).await));
            assert_eq!(sandbox.places_taken(), Some(0), "{all:?}");
            let beside = run(&sandbox, &neighbour, limited("one", "{}", |_| {})).await;
            assert_eq!(beside.outcome, Outcome::Returned(b"null".to_vec()));
        }
        let last = all.pop().expect("there was one");
        for other in all {
            let code = |ended: &Result<_, TaskError>| ended.as_ref().err().map(|error| error.code.clone());
            assert_eq!(code(&other), code(&last));
        }
        last
    }

    /// The code and the words that it ends with.
    async fn fails(&self) -> (String, String) {
        let error = self.ends(32 * MIB).await.expect_err(self.run);
        (error.code.to_string(), error.message)
    }
}

/// What a host makes of an attempt at a task without retries.
fn judged(report: Report) -> Result<Vec<u8>, TaskError> {
    let claim = Claim {
        id: TaskId::now_v7(),
        number: 1,
        task: "crafted.one".to_owned(),
        attempt: 1,
        retries: 0,
        redeliveries: 0,
        releases: 0,
        redeliveries_max: 1,
        max_retries: Some(0),
        good_until: None,
        claimed_at: Utc::now(),
        previous_error: None,
        args: Vec::new(),
    };
    match decide(&claim, &RetryPolicy::default(), report, Utc::now(), 0.0) {
        Verdict::Complete(result) => Ok(result),
        Verdict::Fail(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_made_by_hand_works() {
    assert_eq!(Crafted::default().ends(32 * MIB).await, Ok(b"null".to_vec()));
}

#[tokio::test]
async fn many_memories_count_as_one() {
    let many = Crafted {
        component: "(core module $more (memory 300)) (core instance (instantiate $more)) (core instance (instantiate $more))",
        ..Crafted::default()
    };
    assert_eq!(many.ends(64 * MIB).await, Ok(b"null".to_vec()));
    let (code, words) = many.fails().await;
    assert!(code == "MEMORY_EXCEEDED" && words.contains("33554432"), "{code}: {words}");
    let more = "(core instance (instantiate $more))".repeat(20);
    let too_many = Crafted {
        component: Box::leak(format!("(core module $more (memory 0)) {more}").into_boxed_str()),
        ..Crafted::default()
    };
    let fault = too_many.load().await.expect_err("more than a component may have");
    assert!(fault.to_string().contains("exceeds the configured maximum"), "{fault}");
    assert!(!fault.is_transient(), "it would be tried for ever");
}

#[tokio::test]
async fn tables_have_an_end() {
    let tables = Crafted {
        module: r#"(data (i32.const 64) "null") (table $t 1 funcref)"#,
        run: "(loop $more (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $more)) unreachable",
        ..Crafted::default()
    };
    let (code, words) = tables.fails().await;
    assert!(
        code == "TRAPPED" && words.contains("20000 table elements (table_elements_max)"),
        "{code}: {words}"
    );
}

#[tokio::test]
async fn results_that_are_no_json_are_told_apart_from_traps() {
    for (module, run, words) in [
        (r#"(data (i32.const 64) "\ff\fe")"#, "(local.set $n (i32.const 2)) $ANSWER", "utf-8"),
        (r#"(data (i32.const 64) "{\"a\":")"#, "(local.set $n (i32.const 5)) $ANSWER", "EOF"),
        (
            "",
            "(memory.fill (i32.const 64) (i32.const 91) (i32.const 60000)) (local.set $n (i32.const 60000)) $ANSWER",
            "recursion",
        ),
        ("", "(local.set $n (i32.const 0)) $ANSWER", "EOF"),
    ] {
        let (code, said) = Crafted { module, run, ..Crafted::default() }.fails().await;
        assert!(code == "RETURN_TYPE_MISMATCH" && said.contains(words), "{run}: {code}: {said}");
    }
}

#[tokio::test]
async fn answers_that_point_nowhere_are_the_guests_fault() {
    let outside = "(i32.store8 (i32.const 32) (i32.const 0)) (i32.store (i32.const 40) (i32.const -16)) (i32.store (i32.const 44) (i32.const 100)) (i32.const 32)";
    let huge = "(i32.store8 (i32.const 32) (i32.const 0)) (i32.store (i32.const 40) (i32.const 0)) (i32.store (i32.const 44) (i32.const -1)) (i32.const 32)";
    for run in [
        outside,
        huge,
        // A pointer to the answer that leads out of the memory, or between two words of it.
        "(i32.const -4)",
        "(i32.const 33)",
        // Neither a result nor an error.
        "(i32.store8 (i32.const 32) (i32.const 7)) (i32.const 32)",
        // An error whose code is no text.
        "(i32.store8 (i32.const 32) (i32.const 1)) (i32.store8 (i32.const 64) (i32.const 255)) (i32.store (i32.const 40) (i32.const 64)) (i32.store (i32.const 44) (i32.const 1)) (i32.const 32)",
    ] {
        let (code, words) = Crafted { run, ..Crafted::default() }.fails().await;
        assert_eq!(code, "RETURN_TYPE_MISMATCH", "{run}: {words}");
    }
}

#[tokio::test]
async fn a_host_that_wants_memory_for_arguments_is_not_fooled() {
    for (realloc, wanted) in [
        ("(i32.const -8)", "RETURN_TYPE_MISMATCH"),
        ("unreachable", "TRAPPED"),
        ("(loop $ever (br $ever)) unreachable", "CPU_EXCEEDED"),
    ] {
        let (code, words) = Crafted { realloc, ..Crafted::default() }.fails().await;
        assert_eq!(code, wanted, "{realloc}: {words}");
    }
    // At an address of 3 nothing is wrong with text and bytes.
    let odd = Crafted { realloc: "(i32.const 3)", ..Crafted::default() };
    assert_eq!(odd.ends(32 * MIB).await, Ok(b"null".to_vec()));
}

#[tokio::test]
async fn a_plugin_that_says_what_nobody_can_store_is_refused_by_the_fields_name() {
    let says = |version: &str, description: &str| {
        let about = format!(
            r#"{{"contract":"hostler:plugin@0.1.0","name":"crafted","version":"{version}","tasks":[{{"name":"one","description":"{description}"}}]}}"#
        );
        let size = about.len();
        let text = about.replace('\\', "\\\\").replace('"', "\\\"");
        Crafted {
            module: Box::leak(format!("(data (i32.const 4096) \"{text}\")").into_boxed_str()),
            describe: Box::leak(
                format!("(i32.store (i32.const 16) (i32.const 4096)) (i32.store (i32.const 20) (i32.const {size})) (i32.const 16)")
                    .into_boxed_str(),
            ),
            ..Crafted::default()
        }
    };
    let long = "9".repeat(3_000);
    for (version, description, words) in [
        (r"1\u0000", "", "its version has the control character U+0000"),
        (&*long, "", "its version has 3000 bytes; at most 64"),
        ("1", r"\u001b[2J", "\"one\": its description has the control character U+001B"),
    ] {
        let fault = says(version, description).load().await.expect_err(words);
        assert!(!fault.is_transient() && fault.to_string().contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_plugin_that_does_not_describe_itself_is_refused() {
    for (describe, words) in [
        ("unreachable", "it trapped"),
        // By its CPU time, or on a busy machine by the clock.
        ("(loop $ever (br $ever)) unreachable", "does not describe itself"),
        ("(drop (memory.grow (i32.const 2000))) (i32.const 16)", "of memory"),
        (
            "(i32.store (i32.const 16) (i32.const 64)) (i32.store (i32.const 20) (i32.const 4)) (i32.const 16)",
            "",
        ),
    ] {
        let fault = Crafted { describe, ..Crafted::default() }.load().await.expect_err(describe);
        assert!(!fault.is_transient() && fault.to_string().contains(words), "{describe}: {fault}");
    }
    let starts =
        Crafted { module: r#"(func $start (loop $ever (br $ever))) (start $start)"#, ..Crafted::default() };
    let fault = starts.load().await.expect_err("it never is there");
    assert!(fault.to_string().contains("does not describe itself"), "{fault}");
}

#[tokio::test]
async fn a_plugin_that_says_something_else_each_time_is_held_to_what_it_said() {
    let fickle = Crafted {
        component: r#"(import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
            (core func $dice (canon lower (func $random "get-random-u64")))"#,
        imports: r#"(import "random" "dice" (func $dice (result i64)))"#,
        with: r#"(with "random" (instance (export "dice" (func $dice))))"#,
        describe: "(i32.store (i32.const 16) (i32.add (i32.const 1024) (i32.mul (i32.const 1024) (i32.and (i32.wrap_i64 (call $dice)) (i32.const 1))))) (i32.store (i32.const 20) (i32.const $SIZE)) (i32.const 16)",
        ..Crafted::default()
    };
    let (mut one, mut two) = (false, false);
    for _ in 0..200 {
        let plugin = fickle.load().await.expect("each time it is a plugin");
        let tasks: Vec<&str> = plugin.descriptor().tasks.iter().map(|task| task.name.as_str()).collect();
        match tasks.as_slice() {
            ["one"] => one = true,
            ["two"] => two = true,
            other => panic!("{other:?}"),
        }
        let named = tasks[0].to_owned();
        let other = if named == "one" { "two" } else { "one" };
        assert!(plugin.task(&named).is_some() && plugin.task(other).is_none());
        assert!(plugin.task(&named).is_some(), "it is not asked again");
        if one && two {
            return;
        }
    }
    panic!("the dice always fell the same way");
}

#[tokio::test]
async fn a_component_of_many_parts_has_room_in_every_slot() {
    let many = Crafted {
        component: "(core module $table (table 100 funcref)) (core module $memory (memory 1))
            (core instance (instantiate $memory)) (core instance (instantiate $memory))
            (core instance (instantiate $table)) (core instance (instantiate $table))
            (core instance (instantiate $table)) (core instance (instantiate $table))
            (core instance (instantiate $table)) (core instance (instantiate $table))",
        run: "(loop $ever (br $ever)) unreachable",
        ..Crafted::default()
    };
    let config = SandboxConfig { slots: 4, threads: 2, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    let plugin = Arc::new(sandbox.load("crafted", many.bytes()).await.expect("loaded"));
    let attempt = || {
        let (inner, plugin) = (Arc::clone(&sandbox), Arc::clone(&plugin));
        sandbox.spawn(async move { inner.run(&plugin, limited("one", "{}", |l| l.cpu_ms_max = 200)).await })
    };
    let all: Vec<_> = (0..4).map(|_| attempt()).collect();
    for one in all {
        let report = one.await.expect("no panic").expect("there is room for all of them");
        assert_eq!(report.outcome, Outcome::OutOfCpu(200));
    }
}
