//! Code that kills its host before it runs at all.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hostler::sandbox::{Loaded, Registry, Sandbox, SandboxConfig};

use super::crafted::never_described;
use super::directory::another_build;
use super::{LONG, bytes};
use crate::support::{Database, database};

fn marks(cache: &Path) -> usize {
    let named = |name: &str| !name.starts_with('.');
    let entries = fs::read_dir(cache.join("loading")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(named)).count()
}

/// A host that is killed while it loads, as if the plugin had done it.
fn die(database: &Database, plugins: &Path, cache: &Path) {
    let before = marks(cache);
    let mut host = Command::new(env!("CARGO_BIN_EXE_hostler"))
        .args(["serve", "--plugins"])
        .arg(plugins)
        .arg("--cache-dir")
        .arg(cache)
        .env("DATABASE_URL", database.url())
        .env_remove("HOSTLER_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let began = Instant::now();
    while marks(cache) == before {
        assert!(began.elapsed() < LONG, "it never came to it");
        std::thread::yield_now();
    }
    host.kill().expect("killed");
    host.wait().expect("it ended");
    assert_eq!(marks(cache), before + 1, "the mark outlives it");
}

async fn loaded(plugins: &Path, cache: &Path) -> std::sync::Arc<Loaded> {
    let cache_dir = Some(cache.to_owned());
    let config = SandboxConfig { slots: 2, threads: 1, cache_dir, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    Registry::open(sandbox, plugins.to_owned()).await.expect("opened").current()
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_kills_its_host_twice_while_it_is_loaded_is_not_loaded_again() {
    let database = database();
    let dir = tempfile::tempdir().expect("directory");
    let (plugins, cache) = (dir.path().join("plugins"), dir.path().join("code"));
    fs::create_dir(&plugins).expect("made");
    fs::write(plugins.join("crafted.wasm"), never_described()).expect("written");
    for _ in 0..2 {
        die(&database, &plugins, &cache);
    }
    fs::write(plugins.join("text.wasm"), bytes("text")).expect("written");
    let told = loaded(&plugins, &cache).await;
    let [problem] = told.problems() else { panic!("{:?}", told.problems()) };
    assert!(problem.message.contains("killed its host twice"), "{problem:?}");
    assert!(told.find("text.word_count").is_some(), "its neighbour is served");
    assert_eq!(marks(&cache), 2, "and has left no mark");
    // Other code is not to blame.
    fs::write(plugins.join("crafted.wasm"), another_build(&never_described())).expect("written");
    let told = loaded(&plugins, &cache).await;
    assert!(told.problems()[0].message.contains("does not describe itself"), "{:?}", told.problems());
}
