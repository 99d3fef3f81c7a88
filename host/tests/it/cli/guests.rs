//! What the command line tells about guests: their limits, what they import, what they lack.

use std::fs;
use std::path::Path;

use super::{command, run, said};
use hostler::sandbox::{CompileLimits, Compiler, Fault, Sandbox, SandboxConfig};

use crate::support::{component, own_plugins};

#[test]
fn limits_are_shown_with_who_set_them() {
    let dir = own_plugins(&["text"]);
    let path = dir.path().to_str().expect("text");
    fs::write(dir.path().join("text.toml"), "[tasks.word_count.limits]\ntimeout_ms = 77\n").expect("written");
    let config = dir.path().join("hostler.toml");
    fs::write(&config, "[limits]\nlog_lines_max = 9\n[ceiling]\nargs_bytes_max = 10\n").expect("written");
    let config = config.to_str().expect("text");
    let shown = run(&["plugins", "--plugins", path, "--limits", "--config", config]).ends(0);
    let rows: Vec<Vec<&str>> = shown.out.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        &["text.word_count", "timeout_ms", "77", "task"][..],
        &["text.word_count", "log_lines_max", "9", "host"],
        &["text.word_count", "args_bytes_max", "10", "default,", "capped"],
    ] {
        assert!(rows.iter().any(|shown| shown == row), "{row:?} in {shown:#?}");
    }
    let json = run(&["plugins", "--plugins", path, "--config", config, "--json"]).ends(0).json();
    let tasks = json["plugins"][0]["tasks"].as_array().expect("tasks");
    let counts = tasks.iter().find(|task| task["name"] == "text.word_count").expect("the task");
    assert_eq!(counts["limits"]["timeout_ms"]["value"], 77, "{counts}");
    assert_eq!(counts["limits"]["args_bytes_max"]["capped"], true, "{counts}");
}

#[test]
fn a_mistake_in_a_file_is_told_with_file_key_and_the_nearest_key() {
    let dir = own_plugins(&["text"]);
    let file = dir.path().join("text.wasm");
    let file = file.to_str().expect("text");
    fs::write(dir.path().join("text.toml"), "[limits]\ntimeout = 1\n").expect("written");
    let refused = run(&["run", file, "word_count", r#"{"text": ""}"#]).ends(2);
    refused.tells("text.toml").tells("\"timeout\"").tells("\"timeout_ms\"");
    fs::remove_file(dir.path().join("text.toml")).expect("gone");
    fs::write(dir.path().join("hostler.toml"), "[ceilings]\n").expect("written");
    // Found in the working directory, without being named.
    let refused =
        said(command(&["run", file, "word_count", r#"{"text": ""}"#]).current_dir(dir.path())).ends(2);
    refused.tells("hostler.toml").tells("\"ceiling\"");
    run(&["run", file, "word_count", "{}", "--config", "/no/such/file"]).ends(2).tells("/no/such/file");
    run(&["inspect", file, "--config", "/no/such/file"]).ends(2).tells("/no/such/file");
}

#[test]
fn which_configuration_holds_is_logged() {
    let dir = own_plugins(&["text"]);
    let config = dir.path().join("other.toml");
    fs::write(&config, "[limits]\nlog_lines_max = 9\n").expect("written");
    let (plugins, config) = (dir.path().to_str().expect("text"), config.to_str().expect("text"));
    run(&["plugins", "--plugins", plugins, "-v", "--config", config]).ends(0).tells("other.toml");
    said(command(&["plugins", "--plugins", plugins, "-v"]).current_dir(dir.path()))
        .ends(0)
        .tells("no hostler.toml here");
}

#[test]
fn a_guest_may_not_write_where_plugins_are() {
    let dir = own_plugins(&["text"]);
    let file = dir.path().join("text.wasm");
    let grants = format!("[[directories]]\nhost = {:?}\nguest = \"/p\"\nwrite = true\n", dir.path());
    fs::write(dir.path().join("text.toml"), grants).expect("written");
    let refused = run(&["run", file.to_str().expect("text"), "word_count", r#"{"text": ""}"#]).ends(2);
    refused.tells("text.toml").tells("the host's own");
}

#[test]
fn a_component_is_shown_before_anybody_runs_it() {
    let file = component("misbehave");
    let file = file.to_str().expect("text");
    let shown = run(&["inspect", file]).ends(0).out;
    for words in
        ["wasi:http/outgoing-handler@", "hostler:plugin/guest@0.1.0", "  spin: ", "lacks: ", "size: "]
    {
        assert!(shown.contains(words), "{words:?} in {shown}");
    }
    let json = run(&["inspect", file, "--json"]).ends(0).json();
    assert!(json["tasks"].as_array().is_some_and(|tasks| tasks.len() > 10), "{json}");
    assert!(json["bytes"].as_u64() > Some(10_000), "{json}");
    let memory = json["memory_bytes"].as_u64().expect("a size");
    assert!(memory >= 1 << 20 && memory.is_multiple_of(64 << 10), "{memory}");
}

#[test]
fn the_grants_to_begin_with_are_a_file_that_reads() {
    let file = component("misbehave");
    let printed = run(&["grants", file.to_str().expect("text")]).ends(0).out;
    for words in ["# [[http]]", "# [send]", "# [keyvalue]", "misbehave.toml"] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let dir = own_plugins(&["misbehave"]);
    let path = dir.path().join("misbehave.wasm");
    let noop = ["run", path.to_str().expect("text"), "noop", "{}"];
    // As it is, and with every proposal taken up that needs no place on this machine.
    fs::write(dir.path().join("misbehave.toml"), &printed).expect("written");
    run(&noop).ends(0);
    let up_to_directories = printed.split("# It imports wasi:filesystem").next().expect("a beginning");
    let key = |line: &&str| {
        ["[[http]]", "origin = ", "methods = ", "private = "].iter().any(|k| line.starts_with(k))
    };
    let taken: Vec<&str> =
        up_to_directories.lines().map(|line| line.strip_prefix("# ").filter(key).unwrap_or(line)).collect();
    let taken = taken.join("\n");
    assert!(taken.contains("\n[[http]]\norigin = "), "{taken}");
    fs::write(dir.path().join("misbehave.toml"), taken).expect("written");
    run(&noop).ends(0);
}

#[test]
fn a_component_that_is_hard_to_compile_is_told_with_the_limit_it_met() {
    let dir = own_plugins(&["text"]);
    let config = dir.path().join("hostler.toml");
    fs::write(&config, "[compile]\nmemory_bytes_max = 50_000_000\n").expect("written");
    let (file, config) = (dir.path().join("text.wasm"), config.to_str().expect("text"));
    let file = file.to_str().expect("text");
    let args = ["run", file, "word_count", r#"{"text": ""}"#];
    run(&[&args[..], &["--config", config]].concat())
        .ends(2)
        .tells("cannot be compiled")
        .tells("memory_bytes_max");
    run(&args).ends(0);
}

/// Loads `text` with what is in this cache, and with a compiler that cannot be had.
async fn from_cache(cache: &Path, wasm: Vec<u8>) -> Result<(), Fault> {
    let program = "/no/such/compiler".into();
    let compiler = Some(Compiler { program, limits: CompileLimits::default() });
    let cache_dir = Some(cache.to_owned());
    let config = SandboxConfig { slots: 16, threads: 1, cache_dir, compiler, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    sandbox.load("text", wasm).await.map(drop).map_err(|error| error.fault)
}

#[tokio::test]
async fn what_was_precompiled_is_not_compiled_again_unless_it_was_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (plugins, cache) = (dir.path().join("plugins"), dir.path().join("cache"));
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    let args = ["build", "text", "--plugins", &path(&plugins), "--precompile", "--cache-dir", &path(&cache)];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut build = command(&args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO") && name != "CARGO_HOME" {
            build.env_remove(name);
        }
    }
    said(build.current_dir(root)).ends(0);
    let wasm = fs::read(plugins.join("text.wasm")).expect("built");
    from_cache(&cache, wasm.clone()).await.expect("nothing had to be compiled");

    let compiled: Vec<_> = fs::read_dir(&cache)
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "cwasm"))
        .collect();
    let [compiled] = compiled.as_slice() else { panic!("{compiled:?}") };
    let whole = fs::read(compiled).expect("compiled");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (what, changed) in [("cut", &whole[..whole.len() / 2]), ("flipped", &flipped), ("empty", &[])] {
        fs::write(compiled, changed).expect("changed");
        let fault = from_cache(&cache, wasm.clone()).await.expect_err("it has to be compiled");
        assert!(fault.to_string().contains("/no/such/compiler"), "{what}: {fault}");
    }
    fs::write(compiled, whole).expect("as it was");
    from_cache(&cache, wasm).await.expect("it counts again");
}
