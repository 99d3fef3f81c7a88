//! A wire between hostler and the database that can be cut, slowed down and fall silent, and whose messages can come late.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::held;
use crate::tamper::Tamper;

/// What a connection does with its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Open,
    /// Every piece waits so long.
    Slow(Duration),
    /// Nothing passes any more, for good.
    Silent,
    /// What is sent is kept; answers pass.
    Held,
    /// The sender is cut off. What was kept is kept.
    Orphaned,
    /// What was kept is delivered, and nobody hears the answer.
    Late,
}

#[derive(Debug)]
struct State {
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
    /// One for each connection.
    open: TaskTracker,
}

impl Default for Lines {
    fn default() -> Self {
        let (cut, mood) = (CancellationToken::new(), watch::Sender::new(Mood::Open));
        Self { cut, mood, open: TaskTracker::new() }
    }
}

/// The server keeps a silent connection's place, and has not too many of them.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// A way from a port of this machine to the database, or several ways that are broken together. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    url: String,
    state: Arc<State>,
}

impl Wire {
    /// A wire that is whole.
    pub(crate) async fn to(socket: PathBuf, tamper: Option<Tamper>) -> anyhow::Result<Self> {
        let state = Arc::new(State { tamper, refusing: watch::Sender::new(false), lines: Mutex::default() });
        Ok(Self { url: lay(&state, socket).await?, state })
    }

    /// The database's URL through this wire.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The URL of something else that this wire leads to as well.
    pub(crate) async fn also_to(&self, socket: PathBuf) -> anyhow::Result<String> {
        lay(&self.state, socket).await
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

    /// Keeps what is sent over the open connections in the time `gather`, and cuts their senders off. What was kept
    /// reaches the server `by` later, or when it is calm; until it has, this does not return. New connections work.
    pub(crate) async fn hold(&self, gather: Duration, by: Duration, calm: CancellationToken) {
        let lines = self.state.next_lines();
        lines.mood.send_replace(Mood::Held);
        tokio::time::sleep(gather).await;
        lines.mood.send_replace(Mood::Orphaned);
        let _calm = tokio::time::timeout(by, calm.cancelled()).await;
        lines.mood.send_replace(Mood::Late);
        lines.open.close();
        lines.open.wait().await;
    }
}

/// Listens on a port of its own for what is to reach this socket. The URL of it.
async fn lay(state: &Arc<State>, socket: PathBuf) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port to listen on")?;
    let port = listener.local_addr()?.port();
    let state = state.clone();
    tokio::spawn(async move {
        loop {
            let Ok((client, _)) = listener.accept().await else { continue };
            if !*state.refusing.borrow() {
                let open = state.lines().open.clone();
                open.spawn(join(state.clone(), socket.clone(), client));
            }
        }
    });
    Ok(format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"))
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

async fn join(state: Arc<State>, socket: PathBuf, client: TcpStream) {
    let (cut, mood) = {
        let lines = state.lines();
        (lines.cut.clone(), lines.mood.subscribe())
    };
    let _nodelay = client.set_nodelay(true);
    let joined = async {
        let (from, to) = UnixStream::connect(&socket).await?.into_split();
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
    match &state.tamper {
        None => tokio::select! {
            ended = held::answers(from_server, to_client, mood.clone()) => ended,
            ended = held::messages(from_client, to_server, mood) => ended,
        },
        Some(tamper) => tokio::select! {
            ended = pass(from_server, to_client, mood) => ended,
            ended = tamper.forward(from_client, to_server) => ended,
        },
    }
}

/// Carries what is read, as slowly as the mood is, until there is no more.
pub(crate) async fn pass(
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
        stand_by(&mut mood).await;
        to.write_all(&buffer[..n]).await?;
    }
}

/// Returns when the mood lets a piece pass.
pub(crate) async fn stand_by(mood: &mut watch::Receiver<Mood>) {
    let now = *mood.borrow_and_update();
    if let Mood::Slow(by) = now {
        tokio::time::sleep(by).await;
    }
    if mood.wait_for(|mood| *mood != Mood::Silent).await.is_err() {
        // Whoever silenced it is gone; nothing comes through any more.
        std::future::pending::<()>().await;
    }
}
