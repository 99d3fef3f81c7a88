//! A whole host with a private database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{Client, ConnectError};
use crate::dispatch::{Host, HostConfig, HostError};
use crate::embedded::{DATABASE, EmbeddedError, Server, Settings, root_of};

/// A host at work on a PostgreSQL of its own, in a directory of its own; both are gone with this value.
///
/// It starts in about a second. Commits do not wait for the disk: it is for tests.
pub struct TestHost {
    client: Client,
    host: Host,
    server: OwnServer,
}

/// Why a test host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestHostError {
    /// No directory for the database.
    #[error("no temporary directory: {0}")]
    Directory(#[from] std::io::Error),
    /// No directory with compiled plugins.
    #[error("no directory plugins/dist in {} or above it; run `hostler build`, or name one with TestHost::with_plugins", .0.display())]
    NoPlugins(PathBuf),
    /// No PostgreSQL.
    #[error(transparent)]
    Server(#[from] EmbeddedError),
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file of the plugin directory is no plugin.
    #[error("{0}")]
    Plugin(String),
    /// The client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// The private server, stopped and removed when it is dropped.
struct OwnServer {
    server: Option<Server>,
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl TestHost {
    /// Starts a host with the plugins of the nearest `plugins/dist`, from the current directory upwards.
    ///
    /// # Errors
    /// [`TestHostError`].
    pub async fn start() -> Result<Self, TestHostError> {
        let here = std::env::current_dir()?;
        let found = here.ancestors().map(|dir| dir.join("plugins/dist")).find(|dir| dir.is_dir());
        Self::with_plugins(found.ok_or(TestHostError::NoPlugins(here))?).await
    }

    /// Starts a host with the plugins of this directory. All of them must load.
    ///
    /// # Errors
    /// [`TestHostError`].
    pub async fn with_plugins(plugins: impl AsRef<Path>) -> Result<Self, TestHostError> {
        let server = tokio::task::spawn_blocking(OwnServer::start).await.map_err(std::io::Error::other)??;
        let url = server.url();
        let config = HostConfig { slots: 8, ..HostConfig::new(&url, plugins.as_ref()) };
        let host = Host::start(config).await?;
        if let Some(problem) = host.loaded().problems().first() {
            return Err(TestHostError::Plugin(format!("{}: {}", problem.file, problem.message)));
        }
        let client = Client::connect(&url).await?;
        Ok(Self { client, host, server })
    }

    /// A client of its database.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its database, for a client or an application of the test's own.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Lets running attempts finish for `grace`, then takes everything down. Dropping does the same without
    /// waiting for attempts.
    pub async fn stop(self, grace: Duration) {
        self.host.drain(grace).await;
        drop(self.client);
        let server = self.server;
        let _stopped = tokio::task::spawn_blocking(move || drop(server)).await;
    }
}

impl OwnServer {
    fn start() -> Result<Self, TestHostError> {
        let dir = tempfile::Builder::new().prefix("hostler-test").tempdir()?;
        let data_dir = dir.path().join("data");
        let root = root_of(&data_dir);
        let settings = Settings { durable: false, ..Settings::new(&data_dir) };
        let server = Server::join(&settings, &mut |_| {})?;
        Ok(Self { server: Some(server), root, _dir: dir })
    }

    fn url(&self) -> String {
        self.server.as_ref().map_or_else(String::new, |server| server.url(DATABASE))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let _left = server.leave();
            // For root the files are elsewhere than in the temporary directory.
            let _gone = std::fs::remove_dir_all(&self.root);
        }
    }
}
