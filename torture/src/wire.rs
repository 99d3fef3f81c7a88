//! A wire between hostler and the database that can be cut, slowed down and fall silent.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::tamper::Tamper;

/// What a connection does with its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Open,
    /// Every piece waits so long.
    Slow(Duration),
    /// Nothing passes any more, for good.
    Silent,
}

#[derive(Debug)]
struct State {
    socket: PathBuf,
    tamper: Option<Tamper>,
    /// New connections are refused.
    refusing: watch::Sender<bool>,
    lines: Mutex<Lines>,
}

/// The connections that are open at the moment share these; the next ones get new ones.
#[derive(Debug)]
struct Lines {
    cut: CancellationToken,
    mood: watch::Sender<Mood>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { cut: CancellationToken::new(), mood: watch::Sender::new(Mood::Open) }
    }
}

/// The server keeps a silent connection's place, and has not too many of them.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// A port of this machine that leads to the database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    port: u16,
    state: Arc<State>,
}

impl Wire {
    /// A wire that is whole.
    pub(crate) async fn to(socket: PathBuf, tamper: Option<Tamper>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port to listen on")?;
        let port = listener.local_addr()?.port();
        let state =
            Arc::new(State { socket, tamper, refusing: watch::Sender::new(false), lines: Mutex::default() });
        let accepting = state.clone();
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                if !*accepting.refusing.borrow() {
                    tokio::spawn(join(accepting.clone(), client));
                }
            }
        });
        Ok(Self { port, state })
    }

    /// The database's URL through this wire.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// Closes every connection and refuses new ones for so long.
    pub(crate) async fn cut(&self, time: Duration) {
        self.state.refusing.send_replace(true);
        self.state.next_lines().cut.cancel();
        tokio::time::sleep(time).await;
        self.state.refusing.send_replace(false);
    }

    /// Holds every piece back for `by`, for `time`; new connections are as fast as ever.
    pub(crate) async fn slow(&self, by: Duration, time: Duration) {
        let mood = self.state.lines().mood.clone();
        mood.send_replace(Mood::Slow(by));
        tokio::time::sleep(time).await;
        mood.send_if_modified(|mood| {
            let slow = *mood == Mood::Slow(by);
            if slow {
                *mood = Mood::Open;
            }
            slow
        });
    }

    /// The open connections carry nothing any more, and are closed when it is calm; new ones work.
    pub(crate) async fn silence(&self, calm: CancellationToken) {
        let lines = self.state.next_lines();
        lines.mood.send_replace(Mood::Silent);
        let _over = tokio::time::timeout(SILENT_MAX, calm.cancelled()).await;
        lines.cut.cancel();
    }
}

impl State {
    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the open connections to the caller.
    fn next_lines(&self) -> Lines {
        std::mem::take(&mut *self.lines())
    }
}

async fn join(state: Arc<State>, client: TcpStream) {
    let (cut, mood) = {
        let lines = state.lines();
        (lines.cut.clone(), lines.mood.subscribe())
    };
    let _nodelay = client.set_nodelay(true);
    let joined = async {
        let (from, to) = UnixStream::connect(&state.socket).await?.into_split();
        both(&state, client, from, to, mood).await
    };
    tokio::select! {
        () = cut.cancelled() => {}
        _ended = joined => {}
    }
}

async fn both(
    state: &State,
    client: TcpStream,
    from_server: impl AsyncRead + Unpin,
    to_server: impl AsyncWrite + Unpin,
    mood: watch::Receiver<Mood>,
) -> std::io::Result<()> {
    let (from_client, to_client) = client.into_split();
    let back = pass(from_server, to_client, mood.clone());
    match &state.tamper {
        None => tokio::select! {
            ended = back => ended,
            ended = pass(from_client, to_server, mood) => ended,
        },
        Some(tamper) => tokio::select! {
            ended = back => ended,
            ended = tamper.forward(from_client, to_server) => ended,
        },
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mood: watch::Receiver<Mood>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        let now = *mood.borrow_and_update();
        match now {
            Mood::Open => {}
            Mood::Slow(by) => tokio::time::sleep(by).await,
            Mood::Silent => {}
        }
        if mood.wait_for(|mood| *mood != Mood::Silent).await.is_err() {
            // Whoever silenced it is gone; nothing comes through any more.
            std::future::pending::<()>().await;
        }
        to.write_all(&buffer[..n]).await?;
    }
}
