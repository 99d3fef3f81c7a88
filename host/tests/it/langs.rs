//! Plugins in other languages, from the sources to a result.
//!
//! `hostler build` fetches pinned compilers through npm and pip. Where those cannot be had, these tests say so and do
//! nothing, unless HOSTLER_TEST_OBTAIN is set: then nothing may be missing, and root installs what the system lacks.

mod new;
mod uses;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use hostler::dispatch::{Host, HostConfig};
use hostler::{Client, SendErrorCode};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::support::{Database, LONG, database, host_config};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The example plugins in other languages, built once a run; `None` where that cannot be done.
fn plugins() -> Option<&'static Path> {
    static DIR: OnceLock<Option<PathBuf>> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = root().join("target/guests/lang-plugins");
        let args = ["build", "template", "table", "--plugins"];
        let mut build = hostler(root(), &args);
        done(build.arg(&dir)).then_some(dir)
    })
    .as_deref()
}

fn hostler(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostler"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        // What cargo sets for this test is not for the builds within it.
        if name.starts_with("CARGO") && name != "CARGO_HOME" || name.starts_with("HOSTLER") {
            command.env_remove(&*name);
        }
    }
    command.args(args).current_dir(dir);
    command
}

/// Runs a build. Whether it could be done: that packages cannot be had is no failure of the test unless it may not be.
#[track_caller]
fn done(command: &mut Command) -> bool {
    prepare();
    let Output { status, stderr, .. } = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&stderr);
    match status.code() {
        Some(0) => true,
        Some(5) if std::env::var_os("HOSTLER_TEST_OBTAIN").is_none() => {
            eprintln!("skipped: {said}");
            false
        }
        code => panic!("exit code {code:?}: {said}"),
    }
}

/// With HOSTLER_TEST_OBTAIN, root installs Node.js and pip where the system has none.
fn prepare() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        if std::env::var_os("HOSTLER_TEST_OBTAIN").is_none() {
            return;
        }
        let runs = |program: &str, args: &[&str]| {
            Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
        };
        let mut lacking = Vec::new();
        if !runs("npm", &["--version"]) {
            lacking.extend(["nodejs", "npm"]);
        }
        if !runs("python3", &["-m", "pip", "--version"]) {
            lacking.extend(["python3", "python3-pip"]);
        }
        if !lacking.is_empty() {
            let install = ["install", "--yes", "--no-install-recommends"];
            let installed =
                runs("apt-get", &["update"]) && runs("apt-get", &[&install[..], &lacking].concat());
            assert!(
                installed,
                "HOSTLER_TEST_OBTAIN is set, which needs {lacking:?}; apt-get did not install them"
            );
        }
    });
}

struct Stage {
    host: Host,
    client: Client,
    database: Database,
}

impl Stage {
    async fn set(plugins: &Path) -> Self {
        let database = database();
        let config = HostConfig { plugins: plugins.to_owned(), ..host_config(&database) };
        let host = Host::start(config).await.expect("a host");
        assert!(host.loaded().problems().is_empty(), "{:?}", host.loaded().problems());
        let client = database.client().await;
        Self { host, client, database }
    }

    async fn get(&self, task: &str, args: Value) -> Result<Value, hostler::TaskError> {
        // What takes long to compile is served later than the host is ready.
        let ends = Instant::now() + 3 * LONG;
        let mut turns = interval(Duration::from_millis(100));
        let sent = loop {
            match self.client.send(task, args.clone()).await {
                Err(error) if error.code == SendErrorCode::UnknownTask && Instant::now() < ends => {
                    turns.tick().await;
                }
                sent => break sent,
            }
        };
        sent.expect("sent").get(Some(LONG)).await
    }

    /// What a sender gets that nobody checked for.
    async fn unchecked(&self, task: &str, args: Value) -> hostler::TaskError {
        let mut conn = self.database.conn().await;
        let sql = "select hostler.send($1, $2)";
        let id: uuid::Uuid =
            sqlx::query_scalar(sql).bind(task).bind(args).fetch_one(&mut conn).await.expect("sent");
        let got = self.client.handle::<Value>(id).get(Some(LONG)).await;
        got.expect_err("it was accepted")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_javascript_serves_tasks() {
    let Some(plugins) = plugins() else { return };
    let stage = Stage::set(plugins).await;
    let order = json!({ "who": "Grüße <Ada> 🦀", "items": [{ "n": 1 }, { "n": 2 }] });
    let args = json!({ "template": "{{who}}:{{#items}} {{n}};{{/items}}", "values": order });
    let filled = stage.get("template.render", args).await.expect("a result");
    assert_eq!(filled, json!({ "text": "Grüße &lt;Ada&gt; 🦀: 1; 2;", "names": ["who", "items"] }));

    let args = json!({ "template": "{{a}}", "values": {}, "strict": true });
    let failed = stage.get("template.render", args).await.expect_err("a value is missing");
    assert_eq!((failed.code.as_str(), &failed.data), ("VALUE_MISSING", &Some(json!({ "missing": ["a"] }))));
    let refused = stage.unchecked("template.render", json!({ "template": 1, "values": {} })).await;
    assert_eq!(refused.code.as_str(), "ARGUMENT_TYPE_MISMATCH");
    assert!(refused.message.contains("/template"), "{refused:?}");
    stage.host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_python_serves_tasks() {
    let Some(plugins) = plugins() else { return };
    let stage = Stage::set(plugins).await;
    let csv = "item;price\ntea;3\nGrüße;1\n";
    let summary = stage.get("table.summarize", json!({ "csv_text": csv })).await.expect("a result");
    assert_eq!((&summary["rows"], &summary["delimiter"]), (&json!(2), &json!(";")));
    assert_eq!(summary["columns"][0]["most_common"], json!(["tea", "Grüße"]));
    assert_eq!(summary["columns"][1]["numbers"]["mean"], json!(2.0));

    let failed = stage.get("table.summarize", json!({ "csv_text": "" })).await.expect_err("no header");
    assert_eq!(failed.code.as_str(), "NO_HEADER");
    let refused = stage.unchecked("table.summarize", json!({ "csv_text": "a", "most_common": "b" })).await;
    assert_eq!(refused.code.as_str(), "ARGUMENT_TYPE_MISMATCH");
    assert!(refused.message.contains("/most_common"), "{refused:?}");
    stage.host.drain(LONG).await;
}

#[test]
fn what_is_built_already_is_not_built_again() {
    let Some(plugins) = plugins() else { return };
    let built = || {
        let output = hostler(root(), &["build", "template", "--json", "--plugins"]).arg(plugins).output();
        let output = output.expect("it runs");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    // A compiler writes other bytes each time, if only by the seed of its dictionaries.
    assert_eq!((&built()[0]["changed"], &built()[0]["name"]), (&json!(false), &json!("template")));
}

/// The helpers' and the examples' own tests, which need no component.
#[test]
fn guest_sdks_and_examples_pass_their_own_tests() {
    if plugins().is_none() {
        return;
    }
    let npm = |dir: &str, args: &[&str]| own_tests(dir, "npm", args);
    npm("guest-sdk/js", &["test"]);
    npm("plugins/js/template", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    npm("plugins/js/template", &["test"]);
    let unittest = ["-m", "unittest", "discover", "tests"];
    for dir in ["guest-sdk/python", "plugins/python/table"] {
        own_tests(dir, "python3", &unittest);
    }
}

fn own_tests(dir: &str, program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    command.args(args).current_dir(root().join(dir)).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.env("PYTHONPATH", root().join("guest-sdk/python")).output().expect("it runs");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{program} {args:?} in {dir}: {}", said.join("\n"));
}
