//! The plugin directory: files come, change, break, quarrel and go.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use hostler::sandbox::{CompileLimits, Compiler, Loaded, Registry, Sandbox, SandboxConfig};
use hostler::task::Outcome;
use tokio::time::timeout;

use super::files::rename;
use super::{LONG, bytes, call, run, sandbox};

/// A plugin directory under test.
pub(super) struct Plugins {
    dir: tempfile::TempDir,
    pub(super) registry: Registry,
}

impl Plugins {
    pub(super) async fn open(sandbox: Arc<Sandbox>, dir: tempfile::TempDir) -> Self {
        let registry = Registry::open(sandbox, dir.path().join("plugins")).await.expect("opened");
        Self { dir, registry }
    }

    pub(super) fn path(&self, file: &str) -> std::path::PathBuf {
        self.dir.path().join("plugins").join(file)
    }

    /// Does something and waits until the registry shows it.
    pub(super) async fn until(&self, what: &str, act: impl FnOnce(&Self), seen: impl Fn(&Loaded) -> bool) {
        let mut changes = self.registry.changes();
        act(self);
        let wait = async {
            while !seen(&self.registry.current()) {
                changes.changed().await.expect("the registry is there");
            }
        };
        let problems = || format!("{:?}", self.registry.current().problems());
        timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{what}: {}", problems()));
    }

    pub(super) fn problem(&self, file: &str) -> Option<String> {
        let loaded = self.registry.current();
        loaded.problems().iter().find(|problem| problem.file == file).map(|problem| problem.message.clone())
    }
}

/// As people are told to: write aside, then rename.
pub(super) fn put(path: &Path, bytes: &[u8]) {
    let aside = path.with_extension("tmp");
    fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, path)).expect("written");
}

/// The same component with another digest: an empty custom section at its end.
pub(super) fn another_build(bytes: &[u8]) -> Vec<u8> {
    [bytes, b"\0\x06\x05build"].concat()
}

#[tokio::test]
async fn a_directory_is_followed() {
    let sandbox = sandbox();
    let plugins = Plugins::open(Arc::clone(&sandbox), tempfile::tempdir().expect("directory")).await;
    assert_eq!(plugins.registry.current().plugins().count(), 0, "it was made, and is empty");

    let text = bytes("text");
    plugins
        .until(
            "a new file is loaded",
            |d| put(&d.path("text.wasm"), &text),
            |l| l.find("text.word_count").is_some(),
        )
        .await;
    let old = plugins.registry.current().find("text.word_count").expect("loaded");
    assert!(plugins.registry.current().find("text.no_such_task").is_none());

    let digest = old.digest().to_owned();
    let newer = |l: &Loaded| l.plugins().any(|p| p.name() == "text" && p.digest() != digest);
    plugins
        .until("a changed file is swapped", |d| put(&d.path("text.wasm"), &another_build(&text)), newer)
        .await;
    let report = run(&sandbox, &old, call("word_count", r#"{"text": "still here"}"#)).await;
    assert!(matches!(report.outcome, Outcome::Returned(_)), "old code runs on: {report:?}");

    let current = plugins.registry.current().find("text.word_count").expect("loaded");
    plugins
        .until("garbage is told", |d| put(&d.path("text.wasm"), b"garbage"), |l| !l.problems().is_empty())
        .await;
    let kept = plugins.registry.current().find("text.word_count").expect("the old code stays");
    assert!(Arc::ptr_eq(&kept, &current));
    assert_eq!(plugins.problem("text.wasm").as_deref(), Some("is not WebAssembly"));

    let gone = |l: &Loaded| l.plugins().count() == 0 && l.problems().is_empty();
    plugins
        .until("a removed file is unloaded", |d| fs::remove_file(d.path("text.wasm")).expect("gone"), gone)
        .await;
}

#[tokio::test]
async fn broken_files_do_not_disturb_their_neighbours() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("plugins");
    fs::create_dir(&path).expect("made");
    let write = |name: &str, bytes: &[u8]| -> io::Result<()> { fs::write(path.join(name), bytes) };
    let text = bytes("text");
    let broken = [
        ("garbage.wasm", &b"hello"[..], "is not WebAssembly"),
        ("core.wasm", b"\0asm\x01\0\0\0", "core module"),
        ("half.wasm", &text[..text.len() / 2], "truncated"),
        ("elf.wasm", b"\x7fELF\x02\x01\x01", "is not WebAssembly"),
        ("words.wasm", &text, "rename the file to text.wasm"),
    ];
    for (name, bytes, _) in broken {
        write(name, bytes).expect(name);
    }
    for (name, bytes) in
        [("text.wasm", &text[..]), (".text.wasm", b"x"), ("a.wasm.part", b"x"), ("b.tmp", b"x")]
    {
        write(name, bytes).expect(name);
    }
    let plugins = Plugins::open(sandbox(), dir).await;
    let all = |l: &Loaded| l.problems().len() == broken.len() && l.find("text.word_count").is_some();
    plugins.until("all are looked at", |_| {}, all).await;
    for (name, _, words) in broken {
        let message = plugins.problem(name).expect(name);
        assert!(message.contains(words), "{name}: {message}");
    }
}

#[tokio::test]
async fn the_first_of_two_files_with_one_name_keeps_it() {
    let (dir, sandbox) = (tempfile::tempdir().expect("directory"), sandbox());
    let plugins = Plugins::open(sandbox, dir).await;
    // No example plugin has a `_` in its name; one letter of `misbehave` becomes one, wherever the name stands.
    let bytes = rename(&bytes("misbehave"), b"misbehave", b"mis_ehave");
    plugins
        .until(
            "the first",
            |d| put(&d.path("mis_ehave.wasm"), &bytes),
            |l| l.find("mis_ehave.noop").is_some(),
        )
        .await;
    let first = plugins.registry.current().find("mis_ehave.noop").expect("loaded");
    plugins
        .until(
            "the second is a problem",
            |d| put(&d.path("mis-ehave.wasm"), &another_build(&bytes)),
            |l| l.problems().len() == 1,
        )
        .await;
    let message = plugins.problem("mis-ehave.wasm").expect("a problem");
    assert!(message.contains("belongs to mis_ehave.wasm") && message.contains("serve neither"), "{message}");
    assert!(Arc::ptr_eq(&first, &plugins.registry.current().find("mis_ehave.noop").expect("the incumbent")));
    plugins
        .until(
            "the second follows",
            |d| fs::remove_file(d.path("mis_ehave.wasm")).expect("gone"),
            |l| {
                l.problems().is_empty()
                    && l.find("mis_ehave.noop").is_some_and(|p| p.digest() != first.digest())
            },
        )
        .await;
}

#[tokio::test]
async fn of_two_files_with_one_name_at_the_start_neither_gets_it() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("plugins");
    fs::create_dir(&path).expect("made");
    let bytes = rename(&bytes("misbehave"), b"misbehave", b"mis_ehave");
    fs::write(path.join("mis_ehave.wasm"), &bytes).expect("written");
    fs::write(path.join("mis-ehave.wasm"), another_build(&bytes)).expect("written");
    fs::write(path.join("text.wasm"), self::bytes("text")).expect("written");
    let plugins = Plugins::open(sandbox(), dir).await;
    let loaded = plugins.registry.current();
    assert!(loaded.find("mis_ehave.noop").is_none(), "one of them is a stranger's");
    assert!(loaded.find("text.word_count").is_some());
    for (file, other) in [("mis_ehave.wasm", "mis-ehave.wasm"), ("mis-ehave.wasm", "mis_ehave.wasm")] {
        let message = plugins.problem(file).expect("told");
        assert!(message.contains(other) && message.contains("neither is served"), "{file}: {message}");
    }
    plugins
        .until(
            "the one that is left gets it",
            |d| fs::remove_file(d.path("mis-ehave.wasm")).expect("gone"),
            |l| l.find("mis_ehave.noop").is_some() && l.problems().is_empty(),
        )
        .await;
}

#[tokio::test]
async fn what_takes_long_to_compile_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("plugins");
    fs::create_dir(&path).expect("made");
    // A compiler that comes to an end when it is told to, as it says by a pipe that nobody has opened yet.
    let (pipe, compiler) = (dir.path().join("pipe"), dir.path().join("compiler"));
    let script = format!(
        "#!/bin/sh\nif [ -p {pipe:?} ]; then read -r go < {pipe:?}; fi\nexec {:?} \"$@\"\n",
        env!("CARGO_BIN_EXE_hostler")
    );
    fs::write(&compiler, script).expect("written");
    fs::set_permissions(&compiler, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("executable");
    let config = SandboxConfig {
        slots: 4,
        threads: 1,
        cache_dir: Some(dir.path().join("code")),
        compiler: Some(Compiler { program: compiler, limits: CompileLimits::default() }),
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    sandbox.load("text", bytes("text")).await.expect("compiled, and kept");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs");
    assert!(made.success());

    fs::write(path.join("misbehave.wasm"), bytes("misbehave")).expect("written");
    fs::write(path.join("text.wasm"), bytes("text")).expect("written");
    let registry = Registry::open_within(sandbox, path, Duration::ZERO).await.expect("opened");
    let loaded = registry.current();
    assert!(loaded.find("text.word_count").is_some(), "{loaded:?}");
    assert!(loaded.find("misbehave.noop").is_none() && loaded.compiling() == 1, "{loaded:?}");
    assert_eq!(loaded.problems(), []);

    let plugins = Plugins { dir, registry };
    let next = another_build(&bytes("text"));
    let removed = |l: &Loaded| l.find("text.word_count").is_none();
    plugins
        .until("files are followed", |d| fs::remove_file(d.path("text.wasm")).expect("gone"), removed)
        .await;
    put(&plugins.path("text.wasm"), &next);
    let both = |l: &Loaded| l.compiling() == 2;
    plugins.until("another one waits for its turn", |_| {}, both).await;
    fs::rename(&pipe, pipe.with_extension("open")).expect("renamed");
    let go = || fs::write(pipe.with_extension("open"), "go\n").expect("told");
    let all = |l: &Loaded| {
        l.find("misbehave.noop").is_some() && l.find("text.word_count").is_some() && l.compiling() == 0
    };
    plugins.until("both are there", |_| go(), all).await;
}

#[tokio::test]
async fn grants_are_followed_like_the_component_beside_them() {
    let plugins = Plugins::open(sandbox(), tempfile::tempdir().expect("directory")).await;
    let limit =
        |l: &Loaded| l.find("text.word_count").map(|plugin| plugin.limits("word_count").log_bytes_max);
    let grants = |d: &Plugins, text: &str| put(&d.path("text.toml"), text.as_bytes());
    let text = bytes("text");
    plugins.until("no grants", |d| put(&d.path("text.wasm"), &text), |l| limit(l) == Some(256 << 10)).await;
    plugins.until("new grants", |d| grants(d, "[limits]\nlog_bytes_max = 7"), |l| limit(l) == Some(7)).await;
    plugins
        .until("changed grants", |d| grants(d, "[limits]\nlog_bytes_max = 8"), |l| limit(l) == Some(8))
        .await;
    plugins
        .until("broken grants", |d| grants(d, "[limits]\nlog_bytes = 9"), |l| !l.problems().is_empty())
        .await;
    let told = plugins.problem("text.wasm").expect("a problem");
    assert!(told.contains("text.toml") && told.contains("log_bytes_max"), "{told}");
    assert_eq!(limit(&plugins.registry.current()), Some(8), "the old ones stay");
    let gone = |d: &Plugins| fs::remove_file(d.path("text.toml")).expect("gone");
    plugins.until("no grants again", gone, |l| limit(l) == Some(256 << 10) && l.problems().is_empty()).await;
}
