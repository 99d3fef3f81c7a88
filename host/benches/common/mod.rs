//! What the benches share: their own private server, the plugin, and the figures.
#![allow(dead_code, reason = "each bench is a program of its own and takes from here what it needs")]

pub(crate) mod cpu;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hostler::dispatch::HostConfig;
use hostler::embedded::{Server, Settings};
use sqlx::postgres::PgPoolOptions;

/// A durable private PostgreSQL in the target directory.
pub(crate) struct Base {
    server: Server,
    pub(crate) postgres: cpu::Postgres,
}

impl Base {
    /// Joins the server of this name; `extra` settings hold for as long as it runs.
    pub(crate) fn join(name: &str, extra: &[(&str, &str)]) -> Self {
        let data_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut settings = Settings::new(data_dir);
        settings.extra =
            extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let server = Server::join(&settings, &mut |_| {}).expect("a private PostgreSQL");
        let postgres = cpu::Postgres::of(&server);
        Self { server, postgres }
    }

    /// A new, empty database in place of any of this name; its URL.
    pub(crate) async fn database(&self, name: &str) -> String {
        self.drop_database(name).await;
        let admin = pool(&self.server.url("postgres")).await;
        sqlx::query(&format!("create database {name}")).execute(&admin).await.expect("a database");
        admin.close().await;
        self.server.url(name)
    }

    pub(crate) async fn drop_database(&self, name: &str) {
        let admin = pool(&self.server.url("postgres")).await;
        let sql = format!("drop database if exists {name} with (force)");
        sqlx::query(&sql).execute(&admin).await.expect("dropped");
        admin.close().await;
    }

    pub(crate) fn leave(self) {
        self.server.leave().expect("the server stops");
    }
}

/// A few connections for questions about the run.
pub(crate) async fn pool(url: &str) -> sqlx::PgPool {
    PgPoolOptions::new().max_connections(4).connect(url).await.expect("a pool")
}

/// Builds the plugin `misbehave`; the directory it stands in, alone.
pub(crate) fn plugins() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target = root.join("target/guests");
    let built = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--release", "--target", "wasm32-wasip2", "-p", "hostler-plugin-misbehave"])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "true")
        .env_remove("RUSTFLAGS")
        .status();
    assert!(
        built.is_ok_and(|s| s.success()),
        "the plugin does not build; run `rustup target add wasm32-wasip2`"
    );
    let dir = target.join("bench-plugins");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::copy(target.join("wasm32-wasip2/release/misbehave.wasm"), dir.join("misbehave.wasm"))
        .expect("copied");
    dir
}

/// Where hosts keep compiled code, so that a start in the middle of a run compiles nothing.
pub(crate) fn cache() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-cache");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).expect("a directory");
    dir
}

pub(crate) fn config(url: &str, plugins: &Path, slots: usize) -> HostConfig {
    HostConfig { slots, ..HostConfig::new(url, plugins) }
}

/// The arguments of a `misbehave.noop`, so many bytes of JSON.
pub(crate) fn args(bytes: usize) -> serde_json::Value {
    serde_json::json!({ "pad": "x".repeat(bytes - r#"{"pad":""}"#.len()) })
}

/// How far the server's log has come, in bytes.
pub(crate) async fn wal(pool: &sqlx::PgPool) -> f64 {
    sqlx::query_scalar("select (pg_current_wal_insert_lsn() - '0/0')::float8")
        .fetch_one(pool)
        .await
        .expect("a figure")
}

/// To so many digits behind the point.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}

/// The middle of these.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The command line: `--name value` pairs and words.
pub(crate) struct Options {
    pairs: Vec<(String, String)>,
    pub(crate) words: Vec<String>,
}

impl Options {
    /// Reads the command line; any name but these is refused.
    pub(crate) fn read(known: &[&str]) -> Self {
        let mut options = Self { pairs: Vec::new(), words: Vec::new() };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--") {
                // Cargo says so itself.
                Some("bench" | "test") => {}
                Some(name) if known.contains(&name) => {
                    options.pairs.push((name.to_owned(), args.next().expect("a value")));
                }
                Some(name) => panic!("unknown option --{name}; there are {known:?}"),
                None => options.words.push(arg),
            }
        }
        options
    }

    /// The number given under this name, or else this one.
    pub(crate) fn number(&self, name: &str, usual: f64) -> f64 {
        self.text(name).map_or(usual, |value| value.parse().expect("a number"))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts that a person typed")]
    pub(crate) fn count(&self, name: &str, usual: usize) -> usize {
        self.number(name, usual as f64) as usize
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}
