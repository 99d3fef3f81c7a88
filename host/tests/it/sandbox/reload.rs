//! A plugin's file is replaced in every way people replace files, and what ran before ends as it began.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use hostler::sandbox::{Call, Loaded, Stop};
use hostler::task::Outcome;
use tokio::time::timeout;

use super::directory::{Plugins, another_build, put};
use super::{LONG, bytes, call, sandbox};

fn digest(loaded: &Loaded, task: &str) -> Option<String> {
    loaded.find(task).map(|plugin| plugin.digest().to_owned())
}

#[tokio::test]
async fn old_code_goes_with_its_last_attempt() {
    let sandbox = sandbox();
    let plugins = Plugins::open(Arc::clone(&sandbox), tempfile::tempdir().expect("directory")).await;
    let misbehave = bytes("misbehave");
    let there = |l: &Loaded| l.find("misbehave.noop").is_some();
    plugins.until("it is loaded", |d| put(&d.path("misbehave.wasm"), &misbehave), there).await;
    let old = plugins.registry.current().find("misbehave.noop").expect("loaded");
    let (left, before) = (Arc::downgrade(&old), old.digest().to_owned());
    let stop = Stop::new();
    let call = Call { stop: stop.clone(), ..call("spin_until_cancelled", "{}") };
    let inner = Arc::clone(&sandbox);
    let attempt = sandbox.spawn(async move { inner.run(&old, call).await });
    let newer = |l: &Loaded| digest(l, "misbehave.noop").is_some_and(|digest| digest != before);
    plugins
        .until("it is swapped", |d| put(&d.path("misbehave.wasm"), &another_build(&misbehave)), newer)
        .await;
    assert!(left.upgrade().is_some(), "an attempt runs it still");
    stop.cancel(LONG);
    let report = timeout(LONG, attempt).await.expect("in time").expect("no panic").expect("in order");
    assert!(matches!(report.outcome, Outcome::Returned(_)), "as it began: {report:?}");
    assert!(left.upgrade().is_none(), "nobody runs it any more");
}

#[tokio::test]
async fn a_slow_copy_is_told_and_ends_well() {
    let plugins = Plugins::open(sandbox(), tempfile::tempdir().expect("directory")).await;
    let text = bytes("text");
    let there = |l: &Loaded| l.find("text.word_count").is_some();
    plugins.until("it is loaded", |d| put(&d.path("text.wasm"), &text), there).await;
    let before = digest(&plugins.registry.current(), "text.word_count").expect("loaded");
    let newer = another_build(&text);
    // In place: the file shrinks to nothing, and grows in two steps.
    let mut file = File::create(plugins.path("text.wasm")).expect("opened");
    let half = newer.len() / 2;
    plugins
        .until(
            "half of it is no plugin",
            |_| file.write_all(&newer[..half]).and_then(|()| file.flush()).expect("written"),
            |l| l.problems().iter().any(|problem| problem.message.contains("truncated")),
        )
        .await;
    assert_eq!(
        digest(&plugins.registry.current(), "text.word_count").as_ref(),
        Some(&before),
        "the old code stays"
    );
    let swapped = |l: &Loaded| {
        l.problems().is_empty() && digest(l, "text.word_count").is_some_and(|digest| digest != before)
    };
    plugins.until("all of it is", |_| file.write_all(&newer[half..]).expect("written"), swapped).await;
}

#[tokio::test]
async fn a_file_that_is_deleted_and_made_again_is_loaded_again() {
    let plugins = Plugins::open(sandbox(), tempfile::tempdir().expect("directory")).await;
    let text = bytes("text");
    let there = |l: &Loaded| l.find("text.word_count").is_some();
    for _ in 0..3 {
        plugins.until("it is loaded", |d| put(&d.path("text.wasm"), &text), there).await;
        plugins
            .until("it is gone", |d| fs::remove_file(d.path("text.wasm")).expect("gone"), |l| !there(l))
            .await;
    }
}

#[tokio::test]
async fn a_link_is_followed_when_it_points_elsewhere() {
    let plugins = Plugins::open(sandbox(), tempfile::tempdir().expect("directory")).await;
    let text = bytes("text");
    let releases = tempfile::tempdir().expect("directory");
    let (first, second) = (releases.path().join("1"), releases.path().join("2"));
    fs::write(&first, &text).and_then(|()| fs::write(&second, another_build(&text))).expect("written");
    let link = |to: &std::path::Path, d: &Plugins| {
        let aside = d.path(".aside");
        symlink(to, &aside).and_then(|()| fs::rename(aside, d.path("text.wasm"))).expect("linked");
    };
    let there = |l: &Loaded| l.find("text.word_count").is_some();
    plugins.until("the first", |d| link(&first, d), there).await;
    let before = digest(&plugins.registry.current(), "text.word_count");
    plugins
        .until("the second", |d| link(&second, d), |l| there(l) && digest(l, "text.word_count") != before)
        .await;
    plugins.until("to nothing", |d| link(&releases.path().join("3"), d), |l| !there(l)).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_the_old_code_stays() {
    let plugins = Plugins::open(sandbox(), tempfile::tempdir().expect("directory")).await;
    let text = bytes("text");
    let there = |l: &Loaded| l.find("text.word_count").is_some();
    let well = |l: &Loaded| there(l) && l.problems().is_empty();
    let told = |l: &Loaded| there(l) && !l.problems().is_empty();
    plugins.until("it is loaded", |d| put(&d.path("text.wasm"), &text), well).await;
    let directory = |path: std::path::PathBuf| {
        fs::remove_file(&path).ok();
        fs::create_dir(path).expect("made");
    };
    // Nobody writes to it: whoever opened it to read would wait for ever.
    let pipe = |path: std::path::PathBuf| {
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("a path");
        fs::remove_dir(path).ok();
        // SAFETY: the name ends in NUL and lives until the call is over.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    };
    // As root reads what it likes, a path that leads through a file stands in for one that may not be read.
    let through_a_file =
        |d: &Plugins| symlink(d.path("text.wasm").join("x"), d.path("text.toml")).expect("linked");
    plugins.until("grants out of reach", through_a_file, told).await;
    plugins.until("no grants", |d| fs::remove_file(d.path("text.toml")).expect("gone"), well).await;
    plugins.until("grants are a directory", |d| directory(d.path("text.toml")), told).await;
    plugins.until("grants are a pipe", |d| pipe(d.path("text.toml")), told).await;
    plugins.until("no grants again", |d| fs::remove_file(d.path("text.toml")).expect("gone"), well).await;

    // Within the pause in which a change settles, so that the file never is away.
    let swap = |d: &Plugins| directory(d.path("text.wasm"));
    plugins.until("a directory in its place", swap, |l| !l.problems().is_empty()).await;
    let message = plugins.problem("text.wasm").expect("a problem");
    assert!(message.contains("no regular file"), "{message}");
    let back = |d: &Plugins| {
        fs::remove_dir(d.path("text.wasm")).expect("gone");
        put(&d.path("text.wasm"), &text);
    };
    plugins.until("it is back", back, well).await;
}
