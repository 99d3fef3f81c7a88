//! `hostler new` in each language: the project tests itself, builds and runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{Stage, done, hostler, root};
use crate::support::{LONG, on_own_runtime};

struct New {
    dir: tempfile::TempDir,
    project: PathBuf,
}

impl New {
    /// A project outside of this repository, and the commands that it says come next.
    fn make(lang: &str) -> (Self, Vec<String>) {
        let dir = tempfile::tempdir().expect("a directory");
        let made = hostler(dir.path(), &["new", "my-plugin", "--lang", lang, "--json"]).output();
        let made = made.expect("it runs");
        assert!(made.status.success(), "{made:?}");
        let told: Value = serde_json::from_slice(&made.stdout).expect("JSON");
        let next = told["next"].as_array().expect("commands");
        let next = next.iter().map(|next| next.as_str().expect("a command").to_owned()).collect();
        let project = dir.path().join("my-plugin");
        // Compilers are fetched once, for all tests.
        symlink(root().join("target"), project.join("target")).expect("a link");
        (Self { dir, project }, next)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.project.join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let before = fs::read_to_string(self.file(name)).expect("a file");
        fs::write(self.file(name), before + text).expect("written");
    }

    /// Runs a command that was told, as a shell would.
    fn follow(&self, next: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", next]).current_dir(self.dir.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        // As from a terminal: cargo's own variables for this test are none of its.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG"))
        {
            shell.env_remove(name);
        }
        let output = shell.env("CARGO_TARGET_DIR", tmp("new-natively")).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{next}: {}{said}", String::from_utf8_lossy(&output.stdout));
    }

    /// Builds it; `false` where that cannot be done.
    fn build(&self) -> bool {
        done(&mut hostler(self.dir.path(), &["build", "./my-plugin"]))
    }

    /// Builds it without a name, from within.
    fn builds_from_within(&self) {
        assert!(done(&mut hostler(&self.project, &["build"])));
        assert!(self.file("plugins/dist/my_plugin.wasm").is_file());
    }

    /// Runs a task, and keeps what was compiled for it: for Python, that takes most of the time.
    fn call(&self, task: &str, args: &Value) -> Output {
        let data = tmp("new-data");
        fs::create_dir_all(data.join("cache")).expect("a directory");
        fs::set_permissions(data.join("cache"), Permissions::from_mode(0o700)).expect("its own");
        let args = args.to_string();
        let mut run = hostler(self.dir.path(), &["run", "-v", "plugins/dist/my_plugin.wasm", task, &args]);
        run.arg("--data-dir").arg(data).output().expect("it runs")
    }

    #[track_caller]
    fn run(&self, task: &str, args: &Value) -> Value {
        let output = self.call(task, args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// What a task says that fails.
    #[track_caller]
    fn fail(&self, task: &str, args: &Value) -> String {
        let output = self.call(task, args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// What it imports of what an operator has to grant.
    fn asks_for(&self) -> Vec<&'static str> {
        let component = fs::read(self.dir.path().join("plugins/dist/my_plugin.wasm")).expect("a component");
        let text = String::from_utf8_lossy(&component);
        let powers = [
            "hostler:plugin/tasks@0.1.0",
            "wasi:keyvalue/atomics@0.2.0-draft",
            "wasi:keyvalue/store@0.2.0-draft",
        ];
        powers.into_iter().filter(|power| text.contains(power)).collect()
    }

    /// Without grants, a task that uses one is told which line to add.
    fn is_told_what_it_lacks(&self) {
        for (args, line) in [
            (json!({ "page": "a" }), "add [keyvalue] with buckets"),
            (json!({ "page": "" }), "add [send] with tasks"),
        ] {
            let said = self.fail("visit", &args);
            assert!(said.contains("CAPABILITY_DENIED") && said.contains(line), "{said}");
        }
    }

    /// On a host and with the grants: steps are done once, children run, values stay. One host for all of it, since
    /// each compiles the component.
    fn works_on_a_host(&self) {
        let plugins = self.dir.path().join("plugins/dist");
        let grants = "[send]\ntasks = [\"my_plugin.greet\"]\n[keyvalue]\nbuckets = [\"pages\"]\n";
        fs::write(plugins.join("my_plugin.toml"), grants).expect("written");
        on_own_runtime(async {
            let stage = Stage::set(&plugins).await;
            // Two steps, and a failure between them: the second attempt goes on with what the first one kept.
            let seen = stage.get("my_plugin.steps", json!({})).await.expect("the second attempt");
            assert_eq!(seen, json!({ "first": { "attempt": 1, "text": "Grüße 🦀" }, "second": 2 }));
            for visits in 1..=2 {
                let seen =
                    stage.get("my_plugin.visit", json!({ "page": "Grüße 🦀" })).await.expect("granted");
                let keys = json!(["Grüße 🦀", "last"]);
                assert_eq!(
                    (&seen["visits"], &seen["last"], &seen["keys"]),
                    (&json!(visits), &json!("Grüße 🦀"), &keys)
                );
                assert_eq!(seen["there"], json!([true, false]));
                // Once under its key, however often it is asked for.
                assert_eq!(seen["child"], seen["again"], "{seen}");
                let id = seen["child"].as_str().and_then(|id| id.parse().ok()).expect("an id");
                let child = stage.client.handle::<Value>(id);
                assert_eq!(child.get(Some(LONG)).await.expect("sent"), json!({ "text": "Hello, 🦀!" }));
            }
            let told = stage.get("my_plugin.refused", json!({})).await.expect("it handles them");
            let told: Vec<&str> =
                told.as_array().expect("failures").iter().map(|told| told.as_str().expect("words")).collect();
            for (told, words) in told.iter().zip([
                "KEYVALUE_FAILED: the bucket ",
                "1 to 512 bytes",
                "no decimal number",
                "SEND_FAILED: sending my_plugin.visit: ",
                "KEY_CONFLICT",
            ]) {
                assert!(told.contains(words), "{words:?} in {told:?}");
            }
            assert!(
                told[0].ends_with("it is not granted") && told[3].ends_with("add it to tasks in [send]"),
                "{told:?}"
            );
            assert_eq!(told.len(), 5);
            stage.host.drain(LONG).await;
        });
    }

    fn greets(&self) {
        assert_eq!(self.run("greet", &json!({ "name": "Ada" })), json!({ "text": "Hello, Ada!" }));
    }
}

fn tmp(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_new_plugin_in_rust_tests_itself_builds_and_runs() {
    let (new, next) = New::make("rust");
    // Outside of the repository it names the SDK's release; here that is the one beside it.
    let sdk = root().join("guest-sdk");
    new.append("Cargo.toml", &format!("\n[patch.crates-io]\nhostler-guest = {{ path = {sdk:?} }}\n"));
    fs::copy(root().join("Cargo.lock"), new.file("Cargo.lock")).expect("the versions that are here");
    new.follow(&next[0]);
    assert!(new.build());
    new.builds_from_within();
    new.greets();
}

/// Sends tasks and uses no bucket.
const SENDS_JS: &str = r#"
import { send } from "hostler-guest/tasks";

export const again = task(() => send("my_plugin.greet", { name: "Ada" }));
"#;

/// Does both, in a module of its own.
const PAGES_JS: &str = r#"
import { Failure, task } from "hostler-guest";
import * as keyvalue from "hostler-guest/keyvalue";
import * as tasks from "hostler-guest/tasks";

const pages = keyvalue.bucket("pages");

export const visit = task(({ page }) => {
  const greet = () => tasks.send("my_plugin.greet", { name: "🦀" }, { key: "greet", delayMs: 1 });
  const child = page ? undefined : greet();
  const visits = pages.increment(page);
  pages.set("last", page);
  pages.set("gone", Uint8Array.of(0, 255));
  if (pages.get("gone")?.[1] !== 255) throw new Error("bytes");
  pages.delete("gone");
  const there = [pages.exists(page), pages.exists("gone")];
  return { visits, last: pages.text("last"), keys: [...pages.keys()], there, child: greet(), again: greet() };
});

export const refused = task(() => {
  pages.set("odd", "many");
  return [
    () => keyvalue.bucket("other").get("a"),
    () => pages.get(""),
    () => pages.increment("odd"),
    () => tasks.send("my_plugin.visit", {}),
    () => [1, 2].map((name) => tasks.send("my_plugin.greet", { name }, { key: "one" })),
  ].map((call) => {
    try {
      return JSON.stringify(call() ?? null);
    } catch (failure) {
      return failure instanceof Failure ? `${failure.code}: ${failure.message}` : String(failure);
    }
  });
});
"#;

#[test]
fn a_new_plugin_in_javascript_tests_itself_builds_and_runs() {
    let (new, next) = New::make("js");
    if !new.build() {
        return;
    }
    new.builds_from_within();
    assert!(new.asks_for().is_empty(), "what it does not use");
    new.greets();
    new.follow(&next[0]);

    // What it imports is what its component asks for, and no more.
    new.append("index.js", SENDS_JS);
    assert!(new.build());
    assert_eq!(new.asks_for(), ["hostler:plugin/tasks@0.1.0"]);

    // What an author may stumble over: the engine's own numbers were drawn when the component was built.
    let odd = r#"
export const odd = task(({ how }) => {
  if (how === "broken") return undefined.length;
  console.log("said", { how });
  return [Math.random(), Math.random()];
});

import { checkpoint, fixed } from "hostler-guest";

export const steps = task({ retries: 1, backoff: fixed("10ms") }, () => {
  const first = checkpoint.step("first", () => ({ attempt: attempt.number(), text: "Grüße 🦀" }));
  if (attempt.number() === 1) throw new Error("half-way");
  return { first, second: checkpoint.step("second", () => attempt.number()) };
});
"#;
    new.append("index.js", odd);
    fs::write(new.file("pages.js"), PAGES_JS).expect("written");
    new.append("index.js", "export { refused, visit } from \"./pages.js\";\n");
    assert!(new.build());
    let drawn: Vec<Value> = (0..2).map(|_| new.run("odd", &json!({}))).collect();
    assert_ne!(drawn[0], drawn[1]);
    assert_ne!(drawn[0][0], drawn[0][1]);
    assert!(
        drawn
            .iter()
            .flat_map(|drawn| drawn.as_array().expect("two"))
            .all(|n| (0.0..1.0).contains(&n.as_f64().expect("a number")))
    );
    let said = new.fail("odd", &json!({ "how": "broken" }));
    assert!(said.contains("TASK_FAILED") && said.contains("TypeError"), "{said}");
    assert_eq!(new.asks_for().len(), 3, "both powers");
    new.is_told_what_it_lacks();
    new.works_on_a_host();

    // A mistake is told by the compiler, and the component that was there stays.
    new.append("index.js", "\nexport const twice = task({ retrys: 3 }, () => 1);\n");
    let refused = hostler(new.dir.path(), &["build", "./my-plugin"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("no option retrys"), "{said}");
    new.greets();
}

#[test]
fn a_new_plugin_in_python_tests_itself_builds_and_runs() {
    let (new, next) = New::make("python");
    if !new.build() {
        return;
    }
    assert!(new.asks_for().is_empty(), "what it does not use");
    new.greets();
    new.follow(&next[0]);
    let odd = r#"

import random
import small


@task()
def odd(how: str = "") -> list[float]:
    if how == "broken":
        return {}[how]
    print("said", how)
    return [random.random(), small.ANSWER]


from typing import Any

from hostler_guest import Fixed, checkpoint


@task(retries=1, backoff=Fixed("10ms"))
def steps() -> dict[str, Any]:
    first = checkpoint.step("first", lambda: {"attempt": attempt.number(), "text": "Grüße 🦀"})
    if attempt.number() == 1:
        raise RuntimeError("half-way")
    return {"first": first, "second": checkpoint.step("second", attempt.number)}


from pages import refused, visit
"#;
    new.append("my_plugin.py", odd);
    fs::write(new.file("pages.py"), PAGES_PYTHON).expect("written");
    small_package(&new.project);
    assert!(new.build());
    let drawn: Vec<Value> = (0..2).map(|_| new.run("odd", &json!({}))).collect();
    assert_ne!(drawn[0], drawn[1]);
    assert_eq!(drawn[0][1], json!(42));
    let said = new.fail("odd", &json!({ "how": "broken" }));
    assert!(
        said.contains("TASK_FAILED") && said.contains("KeyError") && said.contains("Traceback"),
        "{said}"
    );
    assert_eq!(new.asks_for().len(), 3, "both powers");
    new.is_told_what_it_lacks();
    new.works_on_a_host();
    let inspected = hostler(new.dir.path(), &["inspect", "plugins/dist/my_plugin.wasm"]).output();
    let shown = String::from_utf8(inspected.expect("it runs").stdout).expect("text");
    assert!(shown.contains("wasi:sockets/"), "an import like any other: {shown}");
    let lacks: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("lacks: ")).collect();
    assert!(
        lacks.len() == 2 && !lacks.concat().contains("wasi:sockets/"),
        "what a line would grant: {shown}"
    );
}

/// Sends tasks and uses a bucket, in a module of its own.
const PAGES_PYTHON: &str = r#"
from datetime import timedelta
from typing import Any

from hostler_guest import (
    Failure,
    keyvalue,
    task,
    tasks,
)

PAGES = keyvalue.bucket("pages")


@task()
def visit(page: str) -> dict[str, Any]:
    def greet() -> str:
        return tasks.send("my_plugin.greet", {"name": "🦀"}, key="greet", delay=timedelta(milliseconds=1))

    if not page:
        greet()
    visits = PAGES.increment(page)
    PAGES.set("last", page)
    PAGES.set("gone", b"\x00\xff")
    assert PAGES.get("gone") == b"\x00\xff"
    PAGES.delete("gone")
    there = [PAGES.exists(page), PAGES.exists("gone")]
    last = (PAGES.get("last") or b"").decode()
    return {"visits": visits, "last": last, "keys": list(PAGES.keys()), "there": there, "child": greet(), "again": greet()}


@task()
def refused() -> list[str]:
    PAGES.set("odd", "many")
    told = []
    for call in (
        lambda: keyvalue.bucket("other").get("a"),
        lambda: PAGES.get(""),
        lambda: PAGES.increment("odd"),
        lambda: tasks.send("my_plugin.visit", {}),
        lambda: [tasks.send("my_plugin.greet", {"name": name}, key="one") for name in "ab"],
    ):
        try:
            told.append(repr(call()))
        except Failure as failure:
            told.append(str(failure))
    return told
"#;

/// A package of somebody else: a wheel beside the project, named by its list of packages.
fn small_package(project: &Path) {
    let make = r#"
import zipfile
with zipfile.ZipFile("small-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("small.py", "ANSWER = 42\n")
    wheel.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
    wheel.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("small-1.0.dist-info/RECORD", "")
"#;
    let made = Command::new("python3").args(["-c", make]).current_dir(project).status().expect("it runs");
    assert!(made.success());
    fs::write(project.join("requirements.txt"), "./small-1.0-py3-none-any.whl\n").expect("written");
}
