//! What the tests stand on: built plugins, fresh databases, and hosts on them.

pub(crate) mod cluster;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hostler::Client;
use hostler::dispatch::{Host, HostConfig};
use hostler::embedded::{Server, Settings};
use hostler::store::{Connect, PgConnection, Role};

/// Longer than anything takes on a busy machine; a test that waits this long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The example plugins, built once a run. The directory is shared: copy from it, never write to it.
pub(crate) fn plugins_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let target = root.join("target/guests");
        let names = ["text", "markdown", "image", "flaky", "misbehave"];
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root).args(["build", "--release", "--locked", "--target", "wasm32-wasip2"]);
        for name in names {
            cargo.args(["-p", &format!("hostler-plugin-{name}")]);
        }
        cargo.args(["-p", "hostler-plugin-geometry"]);
        // What is set for the host's own build would build every guest anew, or wrongly.
        for (name, _) in std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO") && name != "CARGO_HOME" || name.contains("RUSTFLAGS")
        }) {
            cargo.env_remove(name);
        }
        cargo.env("CARGO_TARGET_DIR", &target);
        cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "false").env("CARGO_PROFILE_RELEASE_STRIP", "true");
        add_wasm_target();
        let built = cargo.status().expect("cargo runs");
        assert!(built.success(), "the plugins do not build");
        let dir = target.join("test-plugins");
        std::fs::create_dir_all(&dir).expect("the plugin directory");
        for name in names {
            let from = target.join(format!("wasm32-wasip2/release/{name}.wasm"));
            let to = dir.join(format!("{name}.wasm"));
            // Rename, so that a host of another test process never sees half a file.
            let part = dir.join(format!(".{name}.{}", std::process::id()));
            std::fs::copy(&from, &part).and_then(|_| std::fs::rename(&part, &to)).expect("a copied plugin");
        }
        dir
    })
}

/// The example of a component that knows nothing of hostler. It is not in the directory of the others, whose tests
/// count what they find.
pub(crate) fn geometry() -> PathBuf {
    plugins_dir().with_file_name("wasm32-wasip2/release/geometry.wasm")
}

/// One component of the example plugins.
pub(crate) fn component(name: &str) -> PathBuf {
    plugins_dir().join(format!("{name}.wasm"))
}

fn add_wasm_target() {
    let root = Command::new("rustc").args(["--print", "target-libdir", "--target", "wasm32-wasip2"]).output();
    let there = root.is_ok_and(|out| {
        out.status.success() && Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir()
    });
    if !there {
        let added = Command::new("rustup").args(["target", "add", "wasm32-wasip2"]).status();
        assert!(added.is_ok_and(|s| s.success()), "run `rustup target add wasm32-wasip2`");
    }
}

/// A directory with copies of these plugins, for a test that changes it.
pub(crate) fn own_plugins(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for name in names {
        std::fs::copy(component(name), dir.path().join(format!("{name}.wasm"))).expect("a copied plugin");
    }
    dir
}

/// A database of the test's own, with the schema in it; dropped with this value.
pub(crate) struct Database {
    name: String,
    url: String,
}

impl Database {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn connect(&self) -> Connect {
        Connect::parse(&self.url).expect("a good URL")
    }

    /// A connection of the test's own, as a host's hot loop has.
    pub(crate) async fn conn(&self) -> PgConnection {
        hostler::store::conn(&self.connect(), Role::Hot).await.expect("a connection")
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.url).await.expect("a client")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        // Dropping is tidiness alone: the whole cluster lives in the target directory.
        on_own_runtime(async move {
            let mut conn = admin().await;
            let sql = format!("drop database if exists {name} with (force)");
            let _left = sqlx::query(&sql).execute(&mut conn).await;
        });
    }
}

/// A fresh database.
pub(crate) fn database() -> Database {
    static TEMPLATE: OnceLock<()> = OnceLock::new();
    TEMPLATE.get_or_init(|| on_own_runtime(make_template()));
    let name = format!("t_{}", uuid::Uuid::now_v7().simple());
    let create = name.clone();
    on_own_runtime(async move {
        let mut conn = admin().await;
        let sql = format!("create database {create} template {TEMPLATE_NAME}");
        sqlx::query(&sql).execute(&mut conn).await.expect("a database");
    });
    Database { url: server_url(&name), name }
}

const TEMPLATE_NAME: &str = "hostler_template";

async fn make_template() {
    let mut conn = admin().await;
    // Several test processes may come here at once; and the schema may have changed since the last run.
    let steps = [
        "select pg_advisory_lock(42)".to_owned(),
        format!("drop database if exists {TEMPLATE_NAME} with (force)"),
        format!("create database {TEMPLATE_NAME}"),
    ];
    for step in steps {
        sqlx::query(&step).execute(&mut conn).await.expect("the template database");
    }
    let connect = Connect::parse(&server_url(TEMPLATE_NAME)).expect("a good URL");
    hostler::store::migrate(&connect).await.expect("the schema");
}

async fn admin() -> PgConnection {
    let connect = Connect::parse(&server_url("postgres")).expect("a good URL");
    hostler::store::conn(&connect, Role::Cold).await.expect("the server")
}

/// The private server of this test process. It leaves when the process ends.
fn server_url(database: &str) -> String {
    static SERVER: Mutex<Option<Server>> = Mutex::new(None);
    extern "C" fn leave() {
        let server = SERVER.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            let _left = server.leave();
        }
    }
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let server = server.get_or_insert_with(|| {
        let data_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("server");
        let extra = vec![("max_connections".to_owned(), "300".to_owned())];
        let settings = Settings { data_dir, durable: false, extra };
        // SAFETY: `leave` is a plain function that may run once, at the end of the process.
        unsafe { libc::atexit(leave) };
        Server::join(&settings, &mut |_| {}).expect("a private PostgreSQL")
    });
    server.url(database)
}

/// Runs a future to its end on a runtime of its own, from inside a test's runtime too.
pub(crate) fn on_own_runtime<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(future)
        });
        done.join().expect("the future ends")
    })
}

/// Settings of a small host on this database.
pub(crate) fn host_config(database: &Database) -> HostConfig {
    HostConfig {
        slots: 16,
        wasm_threads: Some(2),
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")),
        ..HostConfig::new(database.url(), plugins_dir())
    }
}

/// A host on this database with the example plugins.
pub(crate) async fn host(database: &Database) -> Host {
    let host = Host::start(host_config(database)).await.expect("a host");
    let loaded = host.loaded();
    assert_eq!((loaded.plugins().count(), loaded.problems()), (5, [].as_slice()));
    host
}
