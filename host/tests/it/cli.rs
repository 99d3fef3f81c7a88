//! The real program, as people and other programs use it: exit codes and the shapes on stdout.

mod guests;
mod killed;
mod quarantine;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Database, LONG, component, database, own_plugins, plugins_dir};

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The one line on stdout.
    #[track_caller]
    fn line(&self) -> &str {
        let line = self.out.strip_suffix('\n').expect("a line");
        assert!(!line.contains('\n'), "{self:#?}");
        line
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(self.line()).expect("JSON on stdout")
    }

    /// The last line on stderr, as JSON.
    #[track_caller]
    fn error(&self) -> Value {
        let line = self.err.lines().last().expect("a line on stderr");
        serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON on stderr: {self:#?}"))
    }

    #[track_caller]
    fn tells(self, words: &str) -> Self {
        assert!(self.err.contains(words), "{words:?} in {self:#?}");
        self
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostler"));
    for name in ["DATABASE_URL", "HOSTLER_DIRECT_URL", "HOSTLER_CONFIG", "HOSTLER_DATA_DIR", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Said {
    said(&mut command(args))
}

fn said(command: &mut Command) -> Said {
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn on(database: &Database, args: &[&str]) -> Said {
    said(command(args).env("DATABASE_URL", database.url()))
}

/// A `hostler serve` that is ready. It is killed with this value, if it still runs.
pub(crate) struct Serving {
    child: Child,
    ready: String,
    lines: Receiver<String>,
}

impl Serving {
    pub(crate) fn start(database: &Database, plugins: &Path, more: &[&str]) -> Self {
        Self::start_on(database.url(), plugins, more)
    }

    pub(crate) fn start_on(url: &str, plugins: &Path, more: &[&str]) -> Self {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
        let mut serve = command(&["serve", "--slots", "8", "--plugins"]);
        serve.arg(plugins).arg("--cache-dir").arg(cache).args(more).env("DATABASE_URL", url);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let ready = lines.recv_timeout(LONG).expect("it gets ready");
        Self { child, ready, lines }
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: takes two numbers; the process is our child and was not waited for, so it is still that one.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        if signal == libc::SIGSTOP {
            // Its threads stop one after the other, and one of them may go on for a moment.
            let mut status = 0;
            // SAFETY: as above, and the status is ours.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) }, pid);
            assert!(libc::WIFSTOPPED(status), "it stands still");
        }
    }

    /// Sends SIGTERM and waits for the end; returns the exit code.
    pub(crate) fn terminate(self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        self.ended()
    }

    /// Waits for the end; returns the exit code.
    pub(crate) fn ended(mut self) -> Option<i32> {
        // Its stdout ends with it.
        assert_eq!(
            self.lines.recv_timeout(LONG),
            Err(RecvTimeoutError::Disconnected),
            "one line, and no more"
        );
        self.child.wait().expect("it ended").code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Sends, and returns the id that was printed.
fn send(database: &Database, task: &str, args: &Value) -> String {
    let sent = on(database, &["send", task, &args.to_string()]).ends(0);
    let id = sent.line().to_owned();
    uuid::Uuid::parse_str(&id).expect("an id alone");
    id
}

fn wait_until_running(database: &Database, id: &str) {
    let began = Instant::now();
    while on(database, &["info", id, "--json"]).ends(0).json()["status"] != "RUNNING" {
        assert!(began.elapsed() < LONG, "it never ran");
    }
}

const NO_TASK: &str = "018f0000-0000-7000-8000-000000000000";
const NO_SERVER: &str = "postgres://nobody@127.0.0.1:1/nothing";

#[test]
fn a_host_serves_what_is_sent() {
    let database = database();
    let serving = Serving::start(&database, plugins_dir(), &[]);
    let words: Vec<&str> = serving.ready.split(' ').collect();
    assert_eq!(words[..2], ["ready:", "host"], "{}", serving.ready);
    assert!(serving.ready.contains(" of 5 plugins from "), "{}", serving.ready);

    let sent = on(&database, &["send", "text.word_count", r#"{"text":"a b a"}"#, "--wait"]).ends(0);
    assert_eq!(sent.line(), r#"{"words":3,"lines":1,"bytes":5}"#, "as the task wrote it");

    let id = send(&database, "misbehave.sleep", &json!({ "ms": 4_000 }));
    on(&database, &["get", &id, "--timeout", "500ms"]).ends(3).tells("WAIT_TIMEOUT");
    let early = on(&database, &["get", &id, "--timeout", "0s", "--json"]).ends(3);
    assert_eq!((early.out.as_str(), &early.error()["code"]), ("", &json!("WAIT_TIMEOUT")));
    assert_eq!(on(&database, &["get", &id]).ends(0).line(), "4000");

    let args = r#"{"code":"SOLD_OUT","message":"none left"}"#;
    let failed = on(&database, &["send", "flaky.always_fail", args, "--wait", "--timeout", "1m"]).ends(1);
    assert_eq!(failed.out, "");
    assert_eq!(failed.error(), json!({ "code": "SOLD_OUT", "family": "user", "message": "none left" }));
    let trapped = on(&database, &["send", "misbehave.trap", "--wait"]).ends(1);
    assert_eq!(trapped.error()["code"], "TRAPPED");

    let mut piped = command(&["send", "text.word_count", "-", "--wait"]);
    piped.env("DATABASE_URL", database.url()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut piped = piped.spawn().expect("it runs");
    piped.stdin.take().expect("piped").write_all(br#"{"text":"x"}"#).expect("written");
    let mut out = String::new();
    piped.stdout.take().expect("piped").read_to_string(&mut out).expect("read");
    assert!(piped.wait().expect("it ended").success());
    assert_eq!(out, "{\"words\":1,\"lines\":1,\"bytes\":1}\n");
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn what_is_refused_never_runs() {
    let database = database();
    let serving = Serving::start(&database, plugins_dir(), &["--json"]);
    let ready: Value = serde_json::from_str(&serving.ready).expect("JSON");
    assert_eq!(
        (&ready["ready"], &ready["plugins"], &ready["problems"]),
        (&json!(true), &json!(5), &json!(0))
    );

    let near = on(&database, &["send", "text.word_cuont", "{}"]).ends(4);
    assert!(near.err.contains("UNKNOWN_TASK") && near.err.contains("text.word_count"), "{near:?}");
    assert_eq!(on(&database, &["send", "no.such", "--json"]).ends(4).error()["code"], "UNKNOWN_TASK");
    on(&database, &["send", "text.word_count", "{text"]).ends(2).tells("no valid JSON");
    on(&database, &["send", "text.word_count", "@/no/such/file"]).ends(2).tells("/no/such/file");
    on(&database, &["send", "text.word_count", r#"{"text":7}"#]).ends(2).tells("at /text");
    on(&database, &["send", "Not A Name", "{}"]).ends(2).tells("VALIDATION_FAILED");
    on(&database, &["send", "text.word_count", r#"{"text":"a"}"#, "--key", "k"]).ends(0);
    on(&database, &["send", "text.word_count", r#"{"text":"b"}"#, "--key", "k"])
        .ends(2)
        .tells("KEY_CONFLICT");
    for wrong in [["--delay", "soon"], ["--priority", "0"], ["--timeout", "1s"], ["--good-until", "x"]] {
        on(&database, &[&["send", "text.word_count", "{}"][..], &wrong].concat()).ends(2);
    }
    on(&database, &["get", NO_TASK]).ends(4).tells("TASK_NOT_FOUND");
    on(&database, &["info", NO_TASK]).ends(4);
    on(&database, &["cancel", NO_TASK]).ends(4);
    for usage in [&["get", "no-id"][..], &["frobnicate"], &[], &["send"]] {
        assert_eq!(run(usage).ends(2).out, "");
    }
}

#[test]
fn a_task_without_a_host_waits_and_is_cancelled() {
    let database = database();
    let sent = on(&database, &["send", "some.task", r#"{"a":1}"#, "--allow-unpublished", "--json"]).ends(0);
    let id = sent.json()["task_id"].as_str().expect("an id").to_owned();
    let sent = sent.tells("no host serves some.task");
    assert_eq!(sent.err.lines().count(), 1, "{sent:?}");

    let info = on(&database, &["info", &id]).ends(0);
    assert!(info.out.contains("PENDING") && info.out.contains("some.task"), "{info:?}");
    on(&database, &["get", &id, "--timeout", "0s"]).ends(3);
    assert_eq!(on(&database, &["cancel", &id]).ends(0).line(), "CANCELLED");
    assert_eq!(on(&database, &["cancel", &id]).ends(0).line(), "CANCELLED", "a final task stays as it is");
    let cancelled = on(&database, &["get", &id]).ends(1);
    assert_eq!(cancelled.error()["code"], "TASK_CANCELLED");

    let late = on(&database, &["send", "some.task", "--allow-unpublished", "--delay", "1h"]).ends(0);
    let info = on(&database, &["info", late.line(), "--json", "--attempts", "--input"]).ends(0).json();
    assert_eq!(
        (&info["status"], &info["attempts"], &info["input"]),
        (&json!("PENDING"), &json!([]), &json!({}))
    );
    assert!(info["run_at"].is_string(), "{info}");
}

#[test]
fn a_running_task_is_cancelled() {
    let database = database();
    let _serving = Serving::start(&database, plugins_dir(), &[]);
    let id = send(&database, "misbehave.sleep", &json!({ "ms": 50_000 }));
    wait_until_running(&database, &id);
    let asked = on(&database, &["cancel", &id]).ends(0).tells("cancel requested");
    assert_eq!(asked.line(), "RUNNING");
    assert_eq!(on(&database, &["cancel", &id, "--wait"]).ends(0).line(), "CANCELLED");
}

#[test]
fn sigterm_lets_attempts_finish() {
    let database = database();
    let serving = Serving::start(&database, plugins_dir(), &["--grace", "50s"]);
    let id = send(&database, "misbehave.sleep", &json!({ "ms": 1_500 }));
    wait_until_running(&database, &id);
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(on(&database, &["get", &id]).ends(0).line(), "1500");
    let info = on(&database, &["info", &id, "--json", "--attempts"]).ends(0).json();
    assert_eq!(info["attempts"].as_array().map(Vec::len), Some(1), "{info}");
    assert_eq!(on(&database, &["hosts", "--json"]).ends(0).line(), "[]", "it has left");
    assert_eq!(on(&database, &["hosts", "--json", "--all"]).ends(0).json()[0]["state"], "ended");
}

#[test]
fn a_directory_with_broken_files_is_served() {
    let database = database();
    let dir = own_plugins(&["text"]);
    fs::write(dir.path().join("junk.wasm"), "junk").expect("written");
    fs::copy(component("flaky"), dir.path().join("other.wasm")).expect("copied");
    let args = ["plugins", "--json", "--plugins", dir.path().to_str().expect("UTF-8")];
    let listed = run(&args).ends(0).json();
    assert_eq!(listed["plugins"][0]["tasks"][0]["name"], "text.word_count");
    assert_eq!(listed["problems"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(listed["problems"][0]["file"], "junk.wasm");

    // Files are taken as whole once they have been quiet for a while, broken ones too.
    let serving = Serving::start(&database, dir.path(), &[]);
    assert!(serving.ready.starts_with("ready: host "), "{}", serving.ready);
    let began = Instant::now();
    loop {
        let sent = on(&database, &["send", "text.word_count", r#"{"text":"a"}"#, "--wait"]);
        if sent.code == Some(0) {
            break;
        }
        assert!(sent.code == Some(4) && began.elapsed() < LONG, "{sent:?}");
    }
    let examined = on(&database, &["doctor", "--plugins", args[3]]).ends(5);
    assert!(examined.out.contains("FAIL plugin: ") && examined.out.contains("junk.wasm"), "{examined:?}");
    assert!(examined.out.contains("ok   schema: version"), "{examined:?}");
}

#[test]
fn lists_are_json_too() {
    let database = database();
    let serving = Serving::start(&database, plugins_dir(), &[]);
    let session = serving.ready.split(' ').nth(2).expect("a session");
    let tasks = on(&database, &["tasks", "--json"]).ends(0).json();
    let tasks = tasks.as_array().expect("a list");
    let count = tasks.iter().find(|task| task["name"] == "text.word_count").expect("it is served");
    assert_eq!((&count["hosts"], &count["args_schema"]["type"]), (&json!(1), &json!("object")));
    assert!(on(&database, &["tasks"]).ends(0).out.contains("text.word_count"));
    let hosts = on(&database, &["hosts", "--json"]).ends(0).json();
    assert_eq!((&hosts[0]["id"], &hosts[0]["state"]), (&json!(session), &json!("alive")));
    assert!(on(&database, &["hosts"]).ends(0).out.contains(session));
    let version = on(&database, &["migrate", "--status", "--json"]).ends(0).json();
    assert_eq!(version["version"], version["known"]);
    on(&database, &["migrate"]).ends(0);
    // One plugin, because a check compiles what it looks at.
    let dir = own_plugins(&["text"]);
    let health = ["doctor", "--json", "--plugins", dir.path().to_str().expect("UTF-8")];
    let health = on(&database, &health).ends(0);
    assert_eq!(health.json()["healthy"], true);
}

#[test]
fn a_direct_call_needs_no_database() {
    let text = component("text");
    let text = text.to_str().expect("UTF-8");
    for task in ["word_count", "text.word_count"] {
        let ran = run(&["run", text, task, r#"{"text":"a b a"}"#]).ends(0);
        assert_eq!(ran.line(), r#"{"words":3,"lines":1,"bytes":5}"#);
        // What it used is one line beside the result.
        let used = ["cpu ", " ms, wall ", " ms, memory ", " MiB, result 31 B\n"];
        assert!(used.iter().all(|words| ran.err.contains(words)) && ran.err.lines().count() == 1, "{ran:#?}");
    }
    let ran = run(&["run", text, "word_count", r#"{"text":"a"}"#, "--json"]).ends(0);
    assert!(ran.error()["memory_bytes_peak"].as_u64() >= Some(1 << 20), "{ran:#?}");
    run(&["run", text, "word_cuont"]).ends(4).tells("did you mean word_count?");
    run(&["run", text, "word_count", "{}"]).ends(2).tells("\"text\" is a required property");
    let flaky = component("flaky");
    let args = r#"{"code":"SOLD_OUT","message":"none left"}"#;
    let failed = run(&["run", flaky.to_str().expect("UTF-8"), "always_fail", args]).ends(1);
    assert_eq!((failed.out.as_str(), failed.err.lines().count()), ("", 2), "{failed:?}");
    assert_eq!(failed.error()["code"], "SOLD_OUT");
}

#[test]
fn a_file_that_is_no_plugin_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = fs::read(component("text")).expect("read");
    let files: [(&str, &[u8], &str); 4] = [
        ("words.wasm", b"These are words.", "is not WebAssembly"),
        ("core.wasm", b"\0asm\x01\0\0\0", "is a core module"),
        ("text.wasm", &whole[..whole.len() / 2], "is truncated"),
        ("other.wasm", &whole, "rename the file to text.wasm"),
    ];
    for (name, bytes, why) in files {
        let file = dir.path().join(name);
        fs::write(&file, bytes).expect("written");
        let file = file.to_str().expect("UTF-8");
        run(&["run", file, "word_count", r#"{"text":"a"}"#]).ends(2).tells(why).tells(file);
    }
    run(&["run", "/no/such.wasm", "x"]).ends(2).tells("/no/such.wasm");
    run(&["run", dir.path().to_str().expect("UTF-8"), "x"]).ends(2);
}

#[test]
fn without_a_database_nothing_is_pretended() {
    for args in
        [&["send", "text.word_count", "{}"][..], &["get", NO_TASK], &["tasks"], &["serve"], &["doctor"]]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let said = said(command(args).args(["--database-url", NO_SERVER]).current_dir(dir.path())).ends(5);
        assert!(said.out.contains("127.0.0.1:1") || said.err.contains("127.0.0.1:1"), "{said:?}");
    }
    run(&["tasks", "--database-url", "mysql://me:secret@db/x"]).ends(5).tells("mysql://me:***@db/x");
    let dir = tempfile::tempdir().expect("a directory");
    let named = dir.path().join("data");
    let place = hostler::embedded::root_of(&named);
    for args in [["get", NO_TASK], ["info", NO_TASK], ["cancel", NO_TASK], ["migrate", "--status"]] {
        said(command(&args).arg("--data-dir").arg(&named)).ends(5).tells(&place.display().to_string());
        assert!(!place.exists(), "looking makes nothing");
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused() {
    let database = database();
    let mut conn = database.conn().await;
    let newer = "insert into hostler._sqlx_migrations (version, description, success, checksum, execution_time) \
                 values (9999, 'of the future', true, '', 0)";
    sqlx::query(newer).execute(&mut conn).await.expect("inserted");
    for args in [&["send", "text.word_count", "{}"][..], &["get", NO_TASK], &["migrate"], &["tasks"]] {
        on(&database, args).ends(5).tells("use a newer hostler");
    }
    let dir = own_plugins(&[]);
    let serve = ["serve", "--plugins", dir.path().to_str().expect("UTF-8")];
    assert_eq!(on(&database, &serve).ends(5).tells("use a newer hostler").out, "");
}

#[test]
fn the_private_server_stops_with_its_last_user() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = hostler::embedded::root_of(dir.path());
    let private = |args: &[&str]| said(command(args).arg("--data-dir").arg(dir.path()));
    private(&["send", "some.task"]).ends(4).tells("UNKNOWN_TASK");
    let id = private(&["send", "some.task", "--allow-unpublished"]).ends(0).line().to_owned();
    assert!(!root.join("data/postmaster.pid").exists(), "it was stopped");
    private(&["get", &id, "--timeout", "0s"]).ends(3);
    assert_eq!(private(&["cancel", &id]).ends(0).line(), "CANCELLED");
    assert!(!root.join("data/postmaster.pid").exists(), "it was stopped");
    fs::remove_dir_all(root).expect("removed");
}

#[test]
fn a_new_plugin_is_made_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let new = |name: &str| said(command(&["new", name]).current_dir(dir.path()));
    let made = new("my-plugin").ends(0);
    assert!(made.out.contains("hostler build ./my-plugin"), "{made:?}");
    let lib = fs::read_to_string(dir.path().join("my-plugin/src/lib.rs")).expect("made");
    assert!(lib.contains(r#"hostler_guest::plugin!("my_plugin", [greet]);"#), "{lib}");
    new("my-plugin").ends(2).tells("is there already");
    for bad in ["My", "9x", "", "a/b", "self", "dist"] {
        new(bad).ends(2);
    }
    said(command(&["demo"]).current_dir(dir.path())).ends(2).tells("clone");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let database = database();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut tasks = command(&["tasks", "--json"]);
    tasks.env("DATABASE_URL", database.url()).stdout(writer).stderr(Stdio::piped());
    let output = tasks.spawn().and_then(Child::wait_with_output).expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(run(&["--version"]).ends(0).line().starts_with("hostler "));
}

#[tokio::test(flavor = "multi_thread")]
async fn bench_measures_and_leaves_nothing() {
    let database = database();
    let args = ["bench", "--tasks", "300", "--rounds", "5", "--slots", "16", "--idle", "1"];
    let told = on(&database, &args).ends(0).json();
    assert_eq!(
        (&told["bench"], &told["task"], &told["tasks"]),
        (&json!("hostler"), &json!("bench.noop"), &json!(300))
    );
    let figures = [
        "/send/per_second",
        "/drain/per_second",
        "/drain/wal_bytes_per_task",
        "/drain/host_cpu_us_per_task",
        "/drain/database_cpu_us_per_task",
        "/latency/result/p50_ms",
        "/latency/start/p50_ms",
        "/latency/result_of_sql/p50_ms",
        "/latency/result_of_sql_with_wake/p50_ms",
        "/latency/result_of_transaction/p50_ms",
        "/latency/result_of_transaction_with_wake/p50_ms",
        "/latency/result_beside_load/p99_ms",
        "/idle/seconds",
    ];
    for figure in figures {
        let found = told.pointer(figure).and_then(Value::as_f64);
        assert!(found.is_some_and(|n| n > 0.0), "{figure} in {told:#}");
    }
    let start = told.pointer("/latency/start/p50_ms").and_then(Value::as_f64);
    let result = told.pointer("/latency/result/max_ms").and_then(Value::as_f64);
    assert!(start < result, "a body starts before its result is there: {told:#}");
    // A task of one's own, and what it cannot do is no figure.
    let plugins = plugins_dir().to_str().expect("a path");
    let own = ["bench", "--tasks", "20", "--rounds", "2", "--idle", "1", "--plugins", plugins, "--task"];
    let told = on(&database, &[&own[..], &["text.word_count", "--args", r#"{"text":"a b"}"#]].concat())
        .ends(0)
        .json();
    assert_eq!(told["latency"]["start"], Value::Null);
    on(&database, &[&own[..], &["misbehave.abort", "--args", "{}"]].concat())
        .ends(5)
        .tells("did not complete");
    let left: i64 =
        sqlx::query_scalar("select count(*) from pg_database where datname like 'hostler_bench_%'")
            .fetch_one(&mut database.conn().await)
            .await
            .expect("a count");
    assert_eq!(left, 0);
}
