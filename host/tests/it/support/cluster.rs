//! A PostgreSQL of a test's own, which it may stop, fill, freeze and replace.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use hostler::embedded::binaries;
use hostler::store::Connect;
use sqlx::{Connection, PgConnection};

use super::{LONG, on_own_runtime};

/// Who runs servers and poolers: they refuse to be root.
pub(crate) fn account() -> Option<(u32, u32)> {
    // SAFETY: it only reads the process's own credentials and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let id = |what, name| {
        let said = Command::new("id").args([what, name]).stderr(Stdio::null()).output().ok()?;
        String::from_utf8_lossy(&said.stdout).trim().parse().ok()
    };
    ["postgres", "nobody"].iter().find_map(|name| Some((id("-u", name)?, id("-g", name)?)))
}

/// A command that runs as that account.
pub(crate) fn as_account(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
        command.env_remove(name);
    }
    if let Some((uid, gid)) = account() {
        command.uid(uid).gid(gid);
    }
    command
}

/// A directory of that account's.
pub(crate) fn directory() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("hostler-pg").tempdir_in("/tmp").expect("a directory");
    give(dir.path());
    dir
}

pub(crate) fn give(path: &Path) {
    if let Some((uid, gid)) = account() {
        chown(path, Some(uid), Some(gid)).expect("given");
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).expect("private");
}

fn program(name: &str) -> PathBuf {
    binaries::find(None).expect("PostgreSQL").dir.join(name)
}

fn run(command: &mut Command) {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Stopped, if it still runs, and removed with this value.
pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    settings: Vec<String>,
    child: Option<Child>,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// Connections are ended, and everything is written down.
    Fast,
    /// As in a crash of one of its processes.
    Immediate,
    /// As by a loss of power, but for what the system still holds.
    Kill,
}

impl Cluster {
    /// A server with these settings beside the usual ones, as `name=value`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let dir = directory();
        let mut init = as_account(&program("initdb"));
        init.arg("-D").arg(dir.path().join("data"));
        init.args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync"]);
        run(&mut init);
        Self::on(dir, settings)
    }

    fn on(dir: tempfile::TempDir, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut cluster = Self { dir, settings, child: None };
        cluster.again();
        cluster
    }

    /// A copy of this server, which follows it until it is promoted.
    pub(crate) fn standby(&self, settings: &[&str]) -> Self {
        let dir = directory();
        let mut copy = as_account(&program("pg_basebackup"));
        copy.arg("-D").arg(dir.path().join("data")).args(["-R", "-c", "fast", "-X", "stream", "-N"]);
        copy.arg("-d")
            .arg(format!("host={} user=postgres application_name=standby", self.dir.path().display()));
        run(&mut copy);
        Self::on(dir, settings)
    }

    /// Starts the server after it was stopped.
    pub(crate) fn again(&mut self) {
        let mut server = as_account(&program("postgres"));
        server.arg("-D").arg(self.data());
        let socket = format!("unix_socket_directories={}", self.dir.path().display());
        let usual = ["listen_addresses=", "port=5432", "fsync=off", "shared_buffers=16MB", &socket];
        for setting in usual.into_iter().map(str::to_owned).chain(self.settings.iter().cloned()) {
            server.arg("-c").arg(setting);
        }
        let log = fs::OpenOptions::new().append(true).create(true).open(self.log()).expect("a log");
        self.child = Some(server.stderr(log).spawn().expect("it runs"));
        let answers = || self.try_conn("postgres").map(drop);
        let ends = Instant::now() + LONG;
        while answers().is_none() {
            assert!(Instant::now() < ends, "it never served: {}", self.words());
        }
    }

    /// Ends the server.
    pub(crate) fn stop(&mut self, how: Stop) {
        let Some(mut child) = self.child.take() else { return };
        let pid = i32::try_from(child.id()).expect("a pid");
        let signal = match how {
            Stop::Fast => libc::SIGINT,
            Stop::Immediate => libc::SIGQUIT,
            Stop::Kill => libc::SIGKILL,
        };
        // SAFETY: takes two numbers; the process is our child and was not waited for, so it is still that one.
        unsafe { libc::kill(pid, signal) };
        child.wait().expect("it ended");
    }

    /// Makes a standby the server that takes writes.
    pub(crate) fn promote(&self) {
        run(as_account(&program("pg_ctl")).arg("promote").arg("-w").arg("-D").arg(self.data()));
    }

    /// What it wrote into its log.
    pub(crate) fn words(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn socket_dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.dir.path().display())
    }

    /// One URL for both, this one first.
    pub(crate) fn url_with(&self, other: &Self, database: &str) -> String {
        format!("{},{}", self.url(database), other.dir.path().display())
    }

    /// With the schema in it.
    pub(crate) async fn database(&self, name: &str) -> String {
        self.execute("postgres", &format!("create database {name}")).await;
        let url = self.url(name);
        hostler::store::migrate(&Connect::parse(&url).expect("a URL")).await.expect("the schema");
        url
    }

    pub(crate) async fn execute(&self, database: &str, sql: &str) {
        let mut conn = self.conn(database).await;
        sqlx::raw_sql(sql).execute(&mut conn).await.expect(sql);
    }

    /// One number.
    pub(crate) async fn count(&self, database: &str, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.conn(database).await).await.expect(sql)
    }

    pub(crate) async fn conn(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.url(database)).await.expect("a connection")
    }

    fn try_conn(&self, database: &str) -> Option<()> {
        let url = self.url(database);
        on_own_runtime(async move { PgConnection::connect(&url).await.ok()?.close().await.ok() })
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}
