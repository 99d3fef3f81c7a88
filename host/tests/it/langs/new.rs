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

    /// A host runs a task of two steps that fails between them, and goes on with what the first attempt kept.
    fn keeps_its_steps(&self) {
        let plugins = self.dir.path().join("plugins/dist");
        on_own_runtime(async {
            let stage = Stage::set(&plugins).await;
            let seen = stage.get("my_plugin.steps", json!({})).await.expect("the second attempt");
            assert_eq!(seen, json!({ "first": { "attempt": 1, "text": "Grüße 🦀" }, "second": 2 }));
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
    new.greets();
}

#[test]
fn a_new_plugin_in_javascript_tests_itself_builds_and_runs() {
    let (new, next) = New::make("js");
    if !new.build() {
        return;
    }
    new.greets();
    new.follow(&next[0]);

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
    new.keeps_its_steps();

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
"#;
    new.append("my_plugin.py", odd);
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
    new.keeps_its_steps();
    let inspected = hostler(new.dir.path(), &["inspect", "plugins/dist/my_plugin.wasm"]).output();
    let shown = String::from_utf8(inspected.expect("it runs").stdout).expect("text");
    assert!(shown.contains("wasi:sockets/"), "an import like any other: {shown}");
    assert!(!shown.contains("lacks:"), "nothing that a line would grant: {shown}");
}

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
