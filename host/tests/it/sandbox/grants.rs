//! Files, variables and limits: what a grants file gives, and nothing beside it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use hostler::sandbox::{Bounds, Fault, GrantsFile, Limits, Plugin, Registry, Sandbox, SandboxConfig, Source};
use hostler::task::{Outcome, Report};

use super::{bytes, call, misbehave, run, sandbox};

async fn granted(grants: &str) -> Arc<Plugin> {
    let plugin = sandbox().load_granted("misbehave", bytes("misbehave"), Some(grants)).await;
    Arc::new(plugin.expect("granted"))
}

async fn refused(grants: &str) -> Fault {
    let loaded = sandbox().load_granted("misbehave", bytes("misbehave"), Some(grants)).await;
    loaded.expect_err("refused").fault
}

async fn at(plugin: &Arc<Plugin>, task: &str, path: &str) -> Report {
    run(&sandbox(), plugin, call(task, &format!(r#"{{"path": "{path}"}}"#))).await
}

fn directory(host: &Path, write: bool) -> String {
    format!("[[directories]]\nhost = {host:?}\nguest = \"/data\"\nwrite = {write}\n")
}

fn failed(report: &Report) -> bool {
    matches!(&report.outcome, Outcome::Failed(failure) if failure.code == "TASK_FAILED")
}

#[tokio::test]
async fn a_directory_ends_at_its_edge() {
    let dir = tempfile::tempdir().expect("directory");
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("made");
    fs::write(dir.path().join("outside"), "secret").expect("written");
    fs::write(data.join("inside"), "hello").expect("written");
    symlink(dir.path().join("outside"), data.join("absolute")).expect("linked");
    symlink("../outside", data.join("relative")).expect("linked");
    symlink("..", data.join("up")).expect("linked");

    for write in [false, true] {
        let plugin = granted(&directory(&data, write)).await;
        let read = at(&plugin, "read", "/data/inside").await;
        assert_eq!(read.outcome, Outcome::Returned(br#""hello""#.to_vec()));
        for path in
            ["/data/../outside", "/data/absolute", "/data/relative", "/data/up/outside", "/etc/passwd"]
        {
            let report = at(&plugin, "read", path).await;
            assert!(failed(&report), "{path}: {report:?}");
            let report = at(&plugin, "write", path).await;
            assert!(failed(&report), "{path}: {report:?}");
        }
    }
    assert_eq!(fs::read_to_string(dir.path().join("outside")).expect("read"), "secret");
}

#[tokio::test]
async fn a_directory_that_is_swapped_for_a_link_stays_the_one_that_was_granted() {
    let dir = tempfile::tempdir().expect("directory");
    let (outer, elsewhere) = (dir.path().join("outer"), dir.path().join("elsewhere"));
    let inner = outer.join("inner");
    fs::create_dir_all(&inner).and_then(|()| fs::create_dir(&elsewhere)).expect("made");
    fs::write(inner.join("file"), "granted").expect("written");
    fs::write(elsewhere.join("file"), "secret").expect("written");
    let grants =
        format!("{}[[directories]]\nhost = {inner:?}\nguest = \"/inner\"\n", directory(&outer, true));
    let plugin = granted(&grants).await;
    let read = async || at(&plugin, "read", "/inner/file").await;
    assert_eq!(read().await.outcome, Outcome::Returned(br#""granted""#.to_vec()));
    // What a guest may do that writes in the outer one.
    fs::rename(&inner, outer.join("moved")).expect("moved");
    symlink("../elsewhere", &inner).expect("linked");
    assert_eq!(read().await.outcome, Outcome::Returned(br#""granted""#.to_vec()));
    fs::remove_dir_all(outer.join("moved")).expect("removed");
    let gone = read().await;
    assert!(failed(&gone), "the guest's business, and no fault of the host's: {gone:?}");
    let fault = refused(&grants).await;
    assert!(fault.to_string().contains("where guests may write"), "nor at the next load: {fault}");
}

#[tokio::test]
async fn nobody_may_write_where_the_hosts_own_files_are() {
    let dir = tempfile::tempdir().expect("directory");
    let code = dir.path().join("code");
    let (cache_dir, inside) = (Some(code.clone()), code.join("inside"));
    let config = SandboxConfig { slots: 2, threads: 1, cache_dir, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    fs::create_dir(&inside).expect("made");
    let load = async |host: &Path, write| {
        let grants = directory(host, write);
        sandbox
            .load_granted("misbehave", bytes("misbehave"), Some(&grants))
            .await
            .map_err(|error| error.fault)
    };
    for host in [dir.path(), &code, &inside] {
        let fault = load(host, true).await.expect_err("refused");
        assert!(matches!(&fault, Fault::Grants { what, .. } if what.contains("the host's own")), "{fault}");
    }
    assert!(load(dir.path(), false).await.is_ok(), "reading changes nothing");
}

#[tokio::test]
async fn nobody_may_write_where_a_link_among_the_plugins_leads() {
    let dir = tempfile::tempdir().expect("directory");
    let (plugins, releases) = (dir.path().join("plugins"), dir.path().join("releases"));
    let (free, data) = (dir.path().join("free"), releases.join("1/data"));
    for path in [&plugins, &data, &free] {
        fs::create_dir_all(path).expect("made");
    }
    let code = dir.path().join("code");
    let config = SandboxConfig { slots: 2, threads: 1, cache_dir: Some(code), ..SandboxConfig::default() };
    fs::write(releases.join("1/text.wasm"), bytes("text")).expect("written");
    symlink("../releases/1/text.wasm", plugins.join("text.wasm")).expect("linked");
    fs::write(plugins.join("misbehave.wasm"), bytes("misbehave")).expect("written");
    let opened = async |host: &Path| {
        fs::write(plugins.join("misbehave.toml"), directory(host, true)).expect("written");
        let sandbox = Sandbox::start(config.clone()).expect("a sandbox");
        Registry::open(sandbox, plugins.clone()).await.expect("opened")
    };
    for host in [&releases, &releases.join("1"), dir.path()] {
        let registry = opened(host).await;
        let loaded = registry.current();
        let [problem] = loaded.problems() else { panic!("{host:?}: {:?}", loaded.problems()) };
        assert!(problem.message.contains("the host's own"), "{problem:?}");
        assert!(loaded.find("text.word_count").is_some(), "whoever is led to stays");
    }
    for host in [&free, &data] {
        let registry = opened(host).await;
        assert_eq!(registry.current().problems(), [], "{host:?}");
    }
    // A link that comes later leads where guests may write already.
    let registry = opened(&free).await;
    fs::write(free.join("text.wasm"), bytes("text")).expect("written");
    fs::remove_file(plugins.join("text.wasm")).expect("gone");
    symlink("../free/text.wasm", plugins.join("text.wasm")).expect("linked");
    let mut changes = registry.changes();
    let told = async {
        while registry.current().problems().is_empty() {
            changes.changed().await.expect("the registry is there");
        }
    };
    tokio::time::timeout(super::LONG, told).await.expect("told");
    let loaded = registry.current();
    let message = &loaded.problems()[0].message;
    assert!(message.contains("where guests of misbehave may write"), "{message}");
}

#[tokio::test]
async fn a_guest_holds_so_many_entries_of_directories_and_no_more() {
    let dir = tempfile::tempdir().expect("directory");
    for number in 0..30_000 {
        fs::File::create(dir.path().join(number.to_string())).expect("made");
    }
    let plugin = granted(&directory(dir.path(), false)).await;
    let listed = async |times: u32| {
        let args = format!(r#"{{"path": "/data", "times": {times}}}"#);
        run(&sandbox(), &plugin, call("list", &args)).await.outcome
    };
    assert_eq!(listed(1).await, Outcome::Returned(b"[1,1]".to_vec()));
    assert_eq!(listed(50).await, Outcome::Returned(b"[2,2]".to_vec()), "what is let go of counts no more");
}

#[tokio::test]
async fn handles_that_may_be_descriptors_are_shared_out() {
    // So many that a share is as small as it gets.
    let config = SandboxConfig { slots: 4_000_000, threads: 1, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    let load = async |grants| {
        let plugin = sandbox.load_granted("misbehave", bytes("misbehave"), grants).await;
        Arc::new(plugin.expect("loaded"))
    };
    // Two handles each time.
    let hoard = || call("hoard", r#"{"times": 200}"#);
    let alone = run(&sandbox, &load(None).await, hoard()).await;
    assert_eq!(alone.outcome, Outcome::Returned(b"200".to_vec()), "without grants no handle is a descriptor");
    let shared = run(&sandbox, &load(Some("[env]\nLANG = \"de\"")).await, hoard()).await;
    assert!(matches!(&shared.outcome, Outcome::Trapped(why) if why.contains("resource")), "{shared:?}");
}

#[tokio::test]
async fn read_only_is_read_only() {
    let dir = tempfile::tempdir().expect("directory");
    fs::write(dir.path().join("old"), "old").expect("written");
    let reader = granted(&directory(dir.path(), false)).await;
    for path in ["/data/old", "/data/new"] {
        let report = at(&reader, "write", path).await;
        assert!(failed(&report), "{path}: {report:?}");
    }
    assert_eq!(fs::read_to_string(dir.path().join("old")).expect("read"), "old");
    assert!(!dir.path().join("new").exists());
    let writer = granted(&directory(dir.path(), true)).await;
    assert!(matches!(at(&writer, "write", "/data/new").await.outcome, Outcome::Returned(_)));
    assert_eq!(fs::read_to_string(dir.path().join("new")).expect("read"), "trespassed");
}

#[tokio::test]
async fn without_grants_there_are_no_files_and_no_variables() {
    for task in ["read", "write"] {
        let report = misbehave(call(task, r#"{"path": "/etc/passwd"}"#)).await;
        assert!(failed(&report), "{report:?}");
    }
    let report = misbehave(call("variable", r#"{"path": "PATH"}"#)).await;
    assert_eq!(report.outcome, Outcome::Returned(b"null".to_vec()));
    let plugin = granted("[env]\nLANG = \"de\"").await;
    assert_eq!(at(&plugin, "variable", "LANG").await.outcome, Outcome::Returned(br#""de""#.to_vec()));
    assert_eq!(at(&plugin, "variable", "PATH").await.outcome, Outcome::Returned(b"null".to_vec()));
}

#[tokio::test]
async fn sends_and_buckets_are_told_when_they_lack_and_end_at_the_ceiling() {
    let notes = granted("").await.notes().join("\n");
    for line in ["add [send] with tasks = ", "add [keyvalue] with buckets = "] {
        assert!(notes.contains(line), "{line}: {notes}");
    }
    let store = call("store", r#"{"bucket": "one"}"#);
    let denied = misbehave(store.clone()).await;
    assert!(matches!(&denied.outcome, Outcome::Denied(what) if what.contains("wasi:keyvalue")), "{denied:?}");

    let grants = "[send]\ntasks = [\"text.*\", \"misbehave.*\"]\n[keyvalue]\nbuckets = [\"one\", \"two\"]";
    let alone = granted(grants).await;
    assert!(alone.notes().iter().all(|note| !note.contains("[send]") && !note.contains("[keyvalue]")));
    let nowhere = run(&sandbox(), &alone, store.clone()).await;
    assert!(failed(&nowhere), "granted, but there is no database here: {nowhere:?}");

    let ceiling = "[grants.send]\ntasks = [\"text.*\"]\n[grants.keyvalue]\nbuckets = [\"two\"]";
    let bounds = Bounds::parse(ceiling).expect("a configuration");
    let config = SandboxConfig { slots: 2, threads: 1, bounds, ..SandboxConfig::default() };
    let below = Sandbox::start(config).expect("a sandbox");
    let plugin = below.load_granted("misbehave", bytes("misbehave"), Some(grants)).await.expect("granted");
    let notes = plugin.notes().join("\n");
    for lost in ["sending misbehave.* is beyond the ceiling", "the bucket one is beyond the ceiling"] {
        assert!(notes.contains(lost), "{lost}: {notes}");
    }
    let plugin = Arc::new(plugin);
    let send = call("send", r#"{"task": "misbehave.noop", "args": {}}"#);
    for (call, words) in [(send, "beyond the ceiling"), (store, "\"one\" is not granted")] {
        let report = run(&below, &plugin, call).await;
        assert!(matches!(&report.outcome, Outcome::Denied(what) if what.contains(words)), "{report:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_granted_is_told_with_the_file() {
    let fault = refused("[limit]\ntimeout_ms = 1").await;
    let told = fault.to_string();
    assert!(
        told.contains("misbehave.toml") && told.contains(r#""limit""#) && told.contains(r#""limits""#),
        "{told}"
    );
    let fault = refused("[tasks.no_such_task.limits]\ntimeout_ms = 1").await;
    assert!(fault.to_string().contains("no_such_task") && !fault.is_transient(), "{fault}");
    let fault = refused(&directory(Path::new("/no/such/place"), false)).await;
    assert!(fault.to_string().contains("/no/such/place") && fault.is_transient(), "{fault}");
}

#[tokio::test]
async fn limits_come_from_host_author_plugin_and_task_below_the_ceiling() {
    let text = "[limits]\nlog_bytes_max = 5\n[ceiling]\nmemory_bytes_max = 50_000_000";
    let bounds = Bounds::parse(text).expect("a configuration");
    let config = SandboxConfig { slots: 2, threads: 1, bounds, ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).expect("a sandbox");
    let grants =
        "[limits]\ncpu_ms_max = 70\nmemory_bytes_max = 60_000_000\n[tasks.spin.limits]\ncpu_ms_max = 50";
    let plugin = sandbox.load_granted("misbehave", bytes("misbehave"), Some(grants)).await.expect("granted");
    let of = |task: &str, name: &str| {
        let limits = plugin.effective_limits(task);
        let found = limits.iter().find(|limit| limit.name == name).expect("a limit");
        (found.value, found.source, found.capped)
    };
    assert_eq!(of("spin", "timeout_ms"), (2_000, Source::Author, false));
    assert_eq!(of("spin", "cpu_ms_max"), (50, Source::Task, false));
    assert_eq!(of("noop", "cpu_ms_max"), (70, Source::Plugin, false));
    assert_eq!(of("noop", "memory_bytes_max"), (50_000_000, Source::Plugin, true));
    assert_eq!(of("noop", "log_bytes_max"), (5, Source::Host, false));
    assert_eq!(of("noop", "table_elements_max"), (20_000, Source::Default, false));

    let plugin = Arc::new(plugin);
    let spin = hostler::sandbox::Call { limits: plugin.limits("spin"), ..call("spin", "{}") };
    assert_eq!(run(&sandbox, &plugin, spin).await.outcome, Outcome::OutOfCpu(50), "and they hold");
}

#[test]
fn the_page_about_strangers_says_what_holds() {
    let page = include_str!("../../../../docs/running-strangers-code.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let (defaults, ceilings) = (Limits::DEFAULT.values(), Limits::CEILING.values());
    for (at, name) in Limits::NAMES.iter().enumerate() {
        let row = rows
            .iter()
            .find(|row| row[0] == format!("`{name}`"))
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!((row[2], row[3]), (&*defaults[at].to_string(), &*ceilings[at].to_string()), "{name}");
    }
    let mut examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let grants = GrantsFile::parse(examples.next().expect("grants")).expect("the example reads");
    assert_eq!((grants.http.len(), grants.secrets.len(), grants.tasks.len()), (2, 1, 1));
    let bounds = Bounds::parse(examples.next().expect("a configuration")).expect("the example reads");
    let ceiling = bounds.grants.expect("a ceiling");
    assert_eq!((ceiling.http.len(), ceiling.directories.len()), (1, 1));
    assert_eq!((ceiling.secrets.files.len(), ceiling.secrets.env.len()), (1, 1));
}
