//! The private PostgreSQL of a run, and the ways to bring it down.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use hostler::embedded::{DATABASE, Server, Settings};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Mutex;

/// How long a crash of the server takes to be noticed, at most.
const NOTICED_WITHIN_MS: u64 = 5_000;

/// A server that can be brought down and up again. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    url: String,
    socket: PathBuf,
    settings: Settings,
    server: Arc<Mutex<Option<Server>>>,
}

impl Database {
    /// A new server below this directory.
    pub(crate) async fn create(dir: &Path) -> anyhow::Result<Self> {
        let settings = Settings::new(dir.join("database"));
        // A run in a directory of this name may have been killed: then its server still runs.
        let left = settings.clone();
        tokio::task::spawn_blocking(move || Server::attach(&left).and_then(Server::leave)).await?.ok();
        let _none = fs::remove_dir_all(hostler::embedded::root_of(&settings.data_dir));
        let server = join(&settings).await?;
        let url = server.url(DATABASE);
        let socket = server.socket_dir().join(".s.PGSQL.5432");
        Ok(Self { url, socket, settings, server: Arc::new(Mutex::new(Some(server))) })
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Its URL, past everything that is broken.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where its files are, and those of whoever belongs to it; they go with it.
    pub(crate) fn root(&self) -> PathBuf {
        hostler::embedded::root_of(&self.settings.data_dir)
    }

    /// Straight connections, opened as they are needed.
    pub(crate) fn pool(&self) -> anyhow::Result<PgPool> {
        Ok(PgPoolOptions::new().max_connections(2).min_connections(0).connect_lazy(&self.url)?)
    }

    /// Stops it with `immediate`: no checkpoint, what was not flushed is lost. Starts it again.
    pub(crate) async fn restart(&self) -> anyhow::Result<()> {
        let mut server = self.server.lock().await;
        signal(self.postmaster()?, Signal::QUIT);
        // Joining waits for the last of its processes.
        let next = join(&self.settings).await?;
        let last = server.replace(next);
        tokio::task::spawn_blocking(move || last.map(Server::leave)).await?.transpose()?;
        Ok(())
    }

    /// Kills one of the server's processes, which takes all the others down with it, and waits until it is back.
    pub(crate) async fn crash(&self) -> anyhow::Result<()> {
        let _nobody_restarts = self.server.lock().await;
        let mut conn = PgConnection::connect(&self.url).await?;
        let victim: Option<i32> = sqlx::query_scalar(
            "select pid from pg_stat_activity where application_name = 'hostler' order by random() limit 1",
        )
        .fetch_optional(&mut conn)
        .await?;
        let Some(victim) = victim else { return Ok(()) };
        signal(victim, Signal::KILL);
        // Until the crash was noticed this connection lives. The victim may have ended by itself in the meantime.
        for _ in 0..NOTICED_WITHIN_MS / 5 {
            if conn.ping().await.is_err() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        while PgConnection::connect(&self.url).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends so many of hostler's connections, whatever they are doing.
    pub(crate) async fn terminate(&self, connections: u32) -> anyhow::Result<u64> {
        let mut conn = PgConnection::connect(&self.url).await?;
        let ended = sqlx::query(
            "select pg_terminate_backend(pid)
            from (
                select pid from pg_stat_activity where application_name = 'hostler' order by random() limit $1
            ) victim",
        )
        .bind(i64::from(connections))
        .execute(&mut conn)
        .await?;
        Ok(ended.rows_affected())
    }

    /// Stops it, as its last user.
    pub(crate) async fn leave(&self) -> anyhow::Result<()> {
        let server = self.server.lock().await.take();
        tokio::task::spawn_blocking(move || server.map(Server::leave)).await?.transpose()?;
        Ok(())
    }

    fn postmaster(&self) -> anyhow::Result<i32> {
        let file = self.root().join("data/postmaster.pid");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        text.lines().next().and_then(|line| line.trim().parse().ok()).context("no pid in postmaster.pid")
    }
}

async fn join(settings: &Settings) -> anyhow::Result<Server> {
    let settings = settings.clone();
    Ok(tokio::task::spawn_blocking(move || Server::join(&settings, &mut |_| {})).await??)
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Gone already is as good.
        let _gone = kill_process(pid, signal);
    }
}
