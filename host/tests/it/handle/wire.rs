//! A wire between a client and the server that counts what goes over it, can be cut, and can deliver late.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) struct Wire {
    url: String,
    state: Arc<State>,
}

struct State {
    socket: PathBuf,
    statements: watch::Sender<usize>,
    listens: AtomicUsize,
    connections: AtomicUsize,
    attempts: AtomicUsize,
    refusing: AtomicBool,
    /// Cut in the middle of a statement that holds this text, after it reached the server.
    trap: Mutex<Option<Vec<u8>>>,
    /// Kept back is the statement that holds this text.
    late: Mutex<Option<Vec<u8>>>,
    kept: Mutex<Option<Kept>>,
    /// Silent from the first execution of a statement with this text on, which reaches the server; the others go on.
    stall: Mutex<Option<Vec<u8>>>,
    stalled: AtomicBool,
    cut: Mutex<CancellationToken>,
    silence: Mutex<CancellationToken>,
}

/// What has not reached the server yet, and the way there.
struct Kept {
    from_server: OwnedReadHalf,
    to_server: OwnedWriteHalf,
    bytes: Vec<u8>,
}

impl Wire {
    /// A wire to this database, whole.
    pub(crate) async fn to(database_url: &str) -> Self {
        let options = PgConnectOptions::from_str(database_url).expect("a good URL");
        let directory = options.get_socket().expect("the embedded server's socket");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let name = options.get_database().expect("a database");
        let state = Arc::new(State {
            socket: directory.join(".s.PGSQL.5432"),
            statements: watch::Sender::new(0),
            listens: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            refusing: AtomicBool::new(false),
            trap: Mutex::default(),
            late: Mutex::default(),
            kept: Mutex::default(),
            stall: Mutex::default(),
            stalled: AtomicBool::new(false),
            cut: Mutex::default(),
            silence: Mutex::default(),
        });
        let accepting = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepting.attempts.fetch_add(1, Ordering::SeqCst);
                if !accepting.refusing.load(Ordering::SeqCst) {
                    tokio::spawn(connect(accepting.clone(), client));
                }
            }
        });
        Self { url: format!("postgres://postgres@127.0.0.1:{port}/{name}?sslmode=disable"), state }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client with one connection for queries, so that a cut costs one call and no more.
    pub(crate) fn client(&self) -> hostler::client::ClientBuilder {
        hostler::Client::builder(&self.url).connections_max(1)
    }

    /// Statements that were executed so far, on all connections.
    pub(crate) fn statements(&self) -> usize {
        *self.state.statements.borrow()
    }

    /// Waits for this many statements.
    pub(crate) async fn statements_reach(&self, n: usize) {
        let mut seen = self.state.statements.subscribe();
        let reached = seen.wait_for(|now| *now >= n);
        tokio::time::timeout(crate::support::LONG, reached).await.expect("in time").expect("counted");
    }

    /// Connections that began to listen so far.
    pub(crate) fn listens(&self) -> usize {
        self.state.listens.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Connections that were asked for so far, refused ones too.
    pub(crate) fn attempts(&self) -> usize {
        self.state.attempts.load(Ordering::SeqCst)
    }

    /// Cuts every connection; new ones are refused until `mend`.
    pub(crate) fn cut(&self) {
        self.state.refusing.store(true, Ordering::SeqCst);
        self.state.cut();
    }

    /// Nothing goes through the connections there are any more, and nobody is told; new ones are as before.
    pub(crate) fn silence(&self) {
        std::mem::take(&mut *self.state.silence.lock().expect("whole")).cancel();
    }

    /// The first connection that prepares a statement with these words from now on hears nothing any more once it
    /// executes it: the server does it, and both ends stay open.
    pub(crate) fn stall(&self, words: &str) {
        *self.state.stall.lock().expect("whole") = Some(words.as_bytes().to_vec());
    }

    /// Whether that has happened.
    pub(crate) fn has_stalled(&self) -> bool {
        self.state.stalled.load(Ordering::SeqCst)
    }

    /// Lets connections through again, and returns when this client has one.
    pub(crate) async fn mend(&self, client: &hostler::Client) {
        self.state.refusing.store(false, Ordering::SeqCst);
        super::eventually("a new connection", async || client.hosts(false).await.ok()).await;
    }

    /// Cuts every connection, once, as soon as the server has answered a message that holds these words.
    pub(crate) fn cut_after(&self, words: &str) {
        *self.state.trap.lock().expect("whole") = Some(words.as_bytes().to_vec());
    }

    /// Keeps back the statement with these words, once; its sender loses the connection.
    pub(crate) fn keep_back(&self, words: &str) {
        *self.state.late.lock().expect("whole") = Some(words.as_bytes().to_vec());
    }

    /// Delivers what was kept back, and returns when the server is done with it.
    pub(crate) async fn deliver(&self) {
        let kept = self.state.kept.lock().expect("whole").take();
        let Kept { mut from_server, mut to_server, mut bytes } = kept.expect("something was kept back");
        // Terminate: the server closes when it has answered all that came before.
        bytes.extend([b'X', 0, 0, 0, 4]);
        to_server.write_all(&bytes).await.expect("taken");
        let mut answers = Vec::new();
        from_server.read_to_end(&mut answers).await.expect("it closes");
        assert!(!answers.is_empty(), "the server answered");
    }
}

impl State {
    fn cut(&self) {
        let mut cut = self.cut.lock().expect("whole");
        std::mem::take(&mut *cut).cancel();
    }
}

/// Whether the message has these words; then nobody waits for them any more.
fn holds(words: &Mutex<Option<Vec<u8>>>, message: &[u8]) -> bool {
    let mut waited = words.lock().expect("whole");
    let held = waited.as_ref().is_some_and(|words| message.windows(words.len()).any(|part| part == words));
    if held {
        *waited = None;
    }
    held
}

async fn connect(state: Arc<State>, client: TcpStream) {
    let cut = state.cut.lock().expect("whole").clone();
    let silence = state.silence.lock().expect("whole").clone();
    let Ok(server) = UnixStream::connect(&state.socket).await else { return };
    state.connections.fetch_add(1, Ordering::SeqCst);
    let _nodelay = client.set_nodelay(true);
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let (sprung, mut springs) = watch::channel(false);
    let mute = AtomicBool::new(false);
    let back = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
            if mute.load(Ordering::SeqCst) {
                state.stalled.store(true, Ordering::SeqCst);
                return std::future::pending().await;
            }
            if *springs.borrow_and_update() {
                // The server did it, and nobody will ever hear of it.
                state.cut();
                return;
            }
            if to_client.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    };
    let through = async {
        tokio::select! {
            () = back => None,
            forwarded = forward(&state, from_client, to_server, sprung, &mute) => forwarded.ok(),
        }
    };
    let kept = {
        let mut through = Box::pin(through);
        tokio::select! {
            () = cut.cancelled() => None,
            kept = &mut through => kept,
            // Both ends stay open.
            () = silence.cancelled() => {
                cut.cancelled().await;
                None
            }
        }
    };
    if let Some((to_server, bytes)) = kept {
        *state.kept.lock().expect("whole") = Some(Kept { from_server, to_server, bytes });
    }
    state.connections.fetch_sub(1, Ordering::SeqCst);
}

/// Forwards until one end is gone, or a statement is to be kept back: then these are the way and the statement.
async fn forward(
    state: &State,
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: OwnedWriteHalf,
    sprung: watch::Sender<bool>,
    mute: &AtomicBool,
) -> std::io::Result<(OwnedWriteHalf, Vec<u8>)> {
    // The startup message alone has no tag.
    let length = from.read_u32().await?;
    let mut message = vec![0; length as usize - 4];
    from.read_exact(&mut message).await?;
    to.write_u32(length).await?;
    to.write_all(&message).await?;
    let mut kept: Option<Vec<u8>> = None;
    let mut stalls = false;
    loop {
        let tag = from.read_u8().await?;
        let length = from.read_u32().await?;
        message.resize(length as usize - 4, 0);
        from.read_exact(&mut message).await?;
        // Execute, or a simple query: one statement each.
        if matches!(tag, b'E' | b'Q') {
            state.statements.send_modify(|n| *n += 1);
        }
        if tag == b'Q' && message.starts_with(b"LISTEN") {
            state.listens.fetch_add(1, Ordering::SeqCst);
        }
        if matches!(tag, b'Q' | b'B') && holds(&state.trap, &message) {
            sprung.send_replace(true);
        }
        stalls |= tag == b'P' && holds(&state.stall, &message);
        if tag == b'E' && stalls {
            mute.store(true, Ordering::SeqCst);
        }
        if matches!(tag, b'Q' | b'B') && holds(&state.late, &message) {
            kept = Some(Vec::new());
        }
        if let Some(mut bytes) = kept.take() {
            bytes.push(tag);
            bytes.extend(length.to_be_bytes());
            bytes.extend(&message);
            // Sync, or a simple query: the statement is complete.
            if matches!(tag, b'S' | b'Q') {
                return Ok((to, bytes));
            }
            kept = Some(bytes);
            continue;
        }
        to.write_u8(tag).await?;
        to.write_u32(length).await?;
        to.write_all(&message).await?;
    }
}
