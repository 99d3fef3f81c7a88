//! What a bench works on: a database, a plugin directory and host processes of its own.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::store::{self, Connect, Store};

use super::super::Context;
use super::super::exit::Exit;
use super::Bench;

/// `noop` and `now`.
const PLUGIN: &str = include_str!("plugin.wat");
/// How the names of a bench's databases begin.
pub(in crate::cli) const DATABASE: &str = "hostler_bench_";
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(60);

/// Everything a bench made. Must be struck.
#[must_use = "strike() it"]
pub(super) struct Stage {
    database: String,
    url: String,
    store: Store,
    plugins: PathBuf,
    config: Option<PathBuf>,
    slots: u32,
    without_sandbox: bool,
    dir: tempfile::TempDir,
}

/// A host, in a process of its own; ended when it is dropped.
pub(super) struct HostProcess(Child);

impl Stage {
    pub(super) async fn set(context: &Context, beside: &str, bench: &Bench) -> Result<Self, Exit> {
        let files = |error: std::io::Error| Exit::infrastructure(format!("no temporary directory: {error}"));
        let dir = tempfile::Builder::new().prefix("hostler-bench").tempdir().map_err(files)?;
        let plugins = match &bench.plugins {
            Some(plugins) => plugins.clone(),
            None => own_plugin(dir.path())?,
        };
        let database = format!("{DATABASE}{:08x}", fastrand::u32(..));
        let url = Connect::parse(beside)?.beside(&database);
        Connect::create_database(&url).await.map_err(|error| {
            Exit::infrastructure(format!(
                "cannot make the database {database} to measure in: {error}; the role needs CREATEDB, \
                or leave --database-url out to measure on a private server"
            ))
        })?;
        match open(&url).await {
            Ok(store) => {
                let (slots, without_sandbox) = (bench.slots, bench.without_sandbox);
                let config = context.settings.config.clone();
                Ok(Self { database, url, store, plugins, config, slots, without_sandbox, dir })
            }
            Err(error) => {
                let _left = Connect::drop_database(&url).await;
                Err(error.into())
            }
        }
    }

    /// Removes everything; what cannot be removed is named.
    pub(super) async fn strike(self) {
        self.store.pool().close().await;
        if let Err(error) = Connect::drop_database(&self.url).await {
            tracing::warn!(database = self.database, %error, "the bench's database could not be removed");
        }
        let dir = self.dir.path().to_owned();
        if let Err(error) = self.dir.close() {
            tracing::warn!(dir = %dir.display(), %error, "the bench's directory could not be removed");
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) async fn client(&self) -> Result<Client, Exit> {
        Ok(Client::connect(&self.url).await?)
    }

    /// Starts a host; it is at work when this returns.
    pub(super) async fn host(&self) -> Result<HostProcess, Exit> {
        let failed = |what: String| Exit::infrastructure(format!("the bench's host did not start: {what}"));
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(program);
        command.args(["serve", "--leash", "--slots", &self.slots.to_string()]);
        command.arg("--plugins").arg(&self.plugins);
        command.arg("--cache-dir").arg(self.dir.path().join("cache"));
        if self.without_sandbox {
            command.arg("--without-sandbox");
        }
        // By the environment: everybody may read a process's arguments, and a URL may hold a password.
        command.env("DATABASE_URL", &self.url).env("RUST_LOG", "warn");
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let Some(stdout) = child.stdout.take() else { return Err(failed("no stdout".to_owned())) };
        let mut lines = BufReader::new(stdout).lines();
        match tokio::time::timeout(START_MAX, lines.next_line()).await {
            Ok(Ok(Some(_ready))) => Ok(HostProcess(child)),
            _ => Err(failed("it said nothing; `hostler doctor` checks the set-up".to_owned())),
        }
    }
}

impl HostProcess {
    pub(super) fn pid(&self) -> Option<u32> {
        self.0.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Lets it drain and leave.
    pub(super) async fn stop(mut self) -> Result<(), Exit> {
        let failed = |what: &str| Exit::infrastructure(format!("the bench's host did not stop: {what}"));
        let pid =
            self.0.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| failed("it is gone"))?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| failed(&error.to_string()))?;
        match tokio::time::timeout(STOP_MAX, self.0.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(&status.to_string())),
            Ok(Err(error)) => Err(failed(&error.to_string())),
            Err(_) => Err(failed("it is still draining")),
        }
    }
}

async fn open(url: &str) -> Result<Store, store::StoreError> {
    let connect = Connect::parse(url)?;
    store::migrate(&connect).await?;
    Ok(Store::new(store::pool(&connect, 2).await?))
}

fn own_plugin(dir: &Path) -> Result<PathBuf, Exit> {
    let failed = |error: String| Exit::infrastructure(format!("the bench's plugin: {error}"));
    let plugins = dir.join("plugins");
    std::fs::create_dir(&plugins).map_err(|error| failed(error.to_string()))?;
    let component = wat::parse_str(PLUGIN).map_err(|error| failed(error.to_string()))?;
    std::fs::write(plugins.join("bench.wasm"), component).map_err(|error| failed(error.to_string()))?;
    Ok(plugins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_plugin_is_a_component_with_both_tasks() {
        let component = wat::parse_str(PLUGIN).expect("well written");
        let text = String::from_utf8_lossy(&component);
        for part in ["hostler:plugin/guest@0.1.0", "\"noop\"", "\"now\""] {
            assert!(text.contains(part), "{part}");
        }
    }
}
