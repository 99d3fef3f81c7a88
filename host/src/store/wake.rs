//! Wakes: hints that something may have changed. Nothing relies on them; they only save time.
//!
//! A notifying commit holds a lock on every other commit of the database until it is on disk, so nobody
//! rings inside a transaction that carries data: a [`Doorbell`] rings after the commit, in a transaction
//! of its own that waits for no disk. It rings at once; what comes while it rings, or faster than once a
//! millisecond for long, is gathered into one more ring. Whoever listens in the same process hears it without the
//! way through the server ([`Hub`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::Connection;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::task::{Session, TaskId};

use super::connect::{Connect, Role, conn};
use super::error::StoreError;
use super::hub::{Hub, unsigned};
use super::{Lane, sql, within};

/// The channels that wakes travel on.
pub mod channel {
    /// To hosts: lanes that got tasks, as numbers with commas; 0 is the waiting room.
    pub const LANES: &str = "hostler_lanes";
    /// To waiters: ids of tasks that became final, packed.
    pub const DONE: &str = "hostler_done";
    /// To one host, named by its session: look for cancels.
    pub const CANCEL: &str = "hostler_cancel";
}

/// PostgreSQL refuses payloads of 8,000 bytes; an id takes 22, a signature 17.
const IDS_MAX: usize = 360;
const LANES_MAX: usize = 600;
/// While a ring is under way, further ones are gathered. In the long run there is one in this time; so many
/// more may come at once, so that whoever asks one thing after the other never waits for the next one.
const GATHER: Duration = Duration::from_millis(1);
const AT_ONCE: u32 = 16;
/// A ring that takes longer is of no use, and its connection may lead nowhere.
const RING_MAX: Duration = Duration::from_secs(5);

/// A hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// These lanes got tasks.
    Lanes(Vec<Lane>),
    /// These tasks became final.
    Done(Vec<TaskId>),
    /// The same, heard within this process: it does not mean that what others ring is heard, too.
    DoneHere(Vec<TaskId>),
    /// This host has cancels to look for.
    Cancel(Session),
    /// Notifications may have been lost: look at everything.
    Lost,
    /// Nobody listens, until the next [`Wake::Lost`].
    Deaf,
}

enum Ring {
    Lanes(Vec<Lane>),
    Done(Vec<TaskId>),
    Cancel(Session),
    Flush(tokio::sync::oneshot::Sender<()>),
}

/// Rings for one process, through one connection that it opens when it first rings.
#[derive(Debug, Clone)]
pub struct Doorbell {
    rings: mpsc::UnboundedSender<Ring>,
}

impl Doorbell {
    /// Starts the doorbell's tasks on the current runtime; they end with the last handle.
    #[must_use]
    pub fn start(connect: Connect) -> Self {
        let hub = Hub::of(&connect);
        let (rings, heard) = mpsc::unbounded_channel();
        let (pass_on, gathered) = mpsc::unbounded_channel();
        tokio::spawn(gather_until_closed(hub.clone(), heard, pass_on));
        tokio::spawn(ring_until_closed(connect, hub, gathered));
        Self { rings }
    }

    /// These lanes got tasks.
    pub fn lanes(&self, lanes: Vec<Lane>) {
        let _gone = self.rings.send(Ring::Lanes(lanes));
    }

    /// These tasks became final.
    pub fn done(&self, ids: Vec<TaskId>) {
        let _gone = self.rings.send(Ring::Done(ids));
    }

    /// This host has cancels to look for.
    pub fn cancel(&self, session: Session) {
        let _gone = self.rings.send(Ring::Cancel(session));
    }

    /// Returns when everything rung before is out, or could not be sent. Cancel-safe.
    pub async fn flush(&self) {
        let (done, wait) = tokio::sync::oneshot::channel();
        if self.rings.send(Ring::Flush(done)).is_ok() {
            let _gone = wait.await;
        }
    }
}

/// What goes out together.
#[derive(Debug, Default)]
struct Gathered {
    lanes: BTreeSet<Lane>,
    done: Vec<TaskId>,
    sessions: BTreeSet<Session>,
    flushes: Vec<tokio::sync::oneshot::Sender<()>>,
}

impl Gathered {
    fn add(&mut self, ring: Ring) {
        match ring {
            Ring::Lanes(some) => self.lanes.extend(some),
            Ring::Done(some) => self.done.extend(some),
            Ring::Cancel(session) => {
                self.sessions.insert(session);
            }
            Ring::Flush(flush) => self.flushes.push(flush),
        }
    }

    fn join(&mut self, later: Self) {
        self.lanes.extend(later.lanes);
        self.done.extend(later.done);
        self.sessions.extend(later.sessions);
        self.flushes.extend(later.flushes);
    }

    fn tell(&self, hub: &Hub) {
        if !self.lanes.is_empty() {
            hub.ring(channel::LANES, &Wake::Lanes(self.lanes.iter().copied().collect()));
        }
        if !self.done.is_empty() {
            hub.ring(channel::DONE, &Wake::DoneHere(self.done.clone()));
        }
        for session in &self.sessions {
            hub.ring(channel::CANCEL, &Wake::Cancel(*session));
        }
    }

    /// In payloads that PostgreSQL takes. A cancel is not signed: versions before could not read it.
    fn payloads(&self, hub: &Hub) -> [(&'static str, Vec<String>); 3] {
        let sign = |payload: String, between: &str| payload + between + hub.signature();
        let lanes: Vec<Lane> = self.lanes.iter().copied().collect();
        let lanes = lanes.chunks(LANES_MAX).map(|some| sign(pack_lanes(some), ",")).collect();
        let ids = self.done.chunks(IDS_MAX).map(|some| sign(pack_ids(some), "")).collect();
        let sessions = self.sessions.iter().map(ToString::to_string).collect();
        [(channel::LANES, lanes), (channel::DONE, ids), (channel::CANCEL, sessions)]
    }
}

/// Tells this process, and paces what goes on to the server.
async fn gather_until_closed(
    hub: Arc<Hub>,
    mut heard: mpsc::UnboundedReceiver<Ring>,
    pass_on: mpsc::UnboundedSender<Gathered>,
) {
    let mut batch = Vec::new();
    let mut paid_until = Instant::now();
    while heard.recv_many(&mut batch, 10_000).await > 0 {
        let mut gathered = Gathered::default();
        batch.drain(..).for_each(|ring| gathered.add(ring));
        gathered.tell(&hub);
        let _over = pass_on.send(gathered);
        paid_until = paid_until.max(Instant::now()) + GATHER;
        tokio::time::sleep_until(paid_until - GATHER * AT_ONCE).await;
    }
}

/// Tells the server, and through it everybody else.
async fn ring_until_closed(connect: Connect, hub: Arc<Hub>, mut gathered: mpsc::UnboundedReceiver<Gathered>) {
    let mut open = None;
    while let Some(mut ring) = gathered.recv().await {
        while let Ok(more) = gathered.try_recv() {
            ring.join(more);
        }
        for (channel, payloads) in ring.payloads(&hub) {
            if payloads.is_empty() {
                continue;
            }
            if open.is_none() {
                open = conn(&connect, Role::Hot).await.ok();
            }
            // A ring that fails is a wake lost: the polling floor finds what it was about.
            let Some(conn) = open.as_mut() else { continue };
            let ring = async { Ok(sql!("notify").bind(channel).bind(payloads).fetch_one(conn).await?) };
            if let Err(error) = within(RING_MAX, ring).await {
                tracing::debug!(%error, "a wake was lost");
                open = None;
            }
        }
    }
}

/// Hears what is rung in this process, and on a connection of its own what everybody else rings.
#[derive(Debug)]
pub struct Listener {
    wakes: mpsc::UnboundedReceiver<Wake>,
    /// Lives as long as somebody listens, whoever rings meanwhile.
    _hub: Arc<Hub>,
}

/// Between two tries to listen again.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Listener {
    /// Listens on these channels from now on. Within a runtime only.
    #[must_use]
    pub fn new(connect: &Connect, channels: &[&'static str]) -> Self {
        let (listener, tell) = Self::start(connect, channels);
        let hub = listener._hub.clone();
        tokio::spawn(listen_until_dropped(connect.direct(), channels.to_vec(), hub, tell));
        listener
    }

    /// Hears what is rung in this process, and nothing else.
    #[must_use]
    pub fn here(connect: &Connect, channels: &[&'static str]) -> Self {
        Self::start(connect, channels).0
    }

    fn start(connect: &Connect, channels: &[&'static str]) -> (Self, mpsc::UnboundedSender<Wake>) {
        let hub = Hub::of(connect);
        let (tell, wakes) = mpsc::unbounded_channel();
        hub.listen(channels.to_vec(), tell.clone());
        (Self { wakes, _hub: hub }, tell)
    }

    /// The next wake. Once the connection listens, and again after each loss, it is [`Wake::Lost`]: what happened
    /// elsewhere before the listening began was not heard. A loss itself is [`Wake::Deaf`]. Never fails: without a
    /// connection it tries again, at growing intervals of up to 5 s. Cancel-safe.
    pub async fn next(&mut self) -> Wake {
        match self.wakes.recv().await {
            Some(wake) => wake,
            // The hub can tell for as long as this listener lives.
            None => std::future::pending().await,
        }
    }
}

async fn listen_until_dropped(
    connect: Connect,
    channels: Vec<&'static str>,
    hub: Arc<Hub>,
    tell: mpsc::UnboundedSender<Wake>,
) {
    let listening = async {
        let mut pause = PAUSE_MIN;
        loop {
            match listen(&connect, &channels).await {
                Ok(mut listener) => {
                    pause = PAUSE_MIN;
                    let _gone = tell.send(Wake::Lost);
                    // The driver hides reconnects after an error: both mean that wakes may be lost.
                    while let Ok(Some(heard)) = listener.try_recv().await {
                        if !hub.has_told(heard.payload())
                            && let Some(wake) = read(heard.channel(), unsigned(heard.payload()))
                        {
                            let _gone = tell.send(wake);
                        }
                    }
                    let _gone = tell.send(Wake::Deaf);
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot listen for wakes; polling goes on");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    };
    tokio::select! {
        () = listening => {}
        () = tell.closed() => {}
    }
}

async fn listen(connect: &Connect, channels: &[&'static str]) -> Result<PgListener, StoreError> {
    // Finds the server that takes writes: the driver's listener would go where it went before.
    let _closed = conn(connect, Role::Hot).await?.close().await;
    // A pool of one: the driver's listener wants a pool, and this connection must be no one else's.
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(5))
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_with(connect.options(Role::Hot))
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen_all(channels.iter().copied()).await?;
    Ok(listener)
}

fn read(channel: &str, payload: &str) -> Option<Wake> {
    match channel {
        channel::LANES => Some(Wake::Lanes(payload.split(',').filter_map(|n| n.parse().ok()).collect())),
        channel::DONE => Some(Wake::Done(unpack_ids(payload))),
        channel::CANCEL => i64::from_str_radix(payload, 16).ok().map(|n| Wake::Cancel(Session(n))),
        _ => None,
    }
}

fn pack_lanes(lanes: &[Lane]) -> String {
    lanes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Ids as a payload, 22 characters each.
#[must_use]
pub fn pack_ids(ids: &[TaskId]) -> String {
    let mut packed = String::with_capacity(ids.len() * 22);
    for id in ids {
        URL_SAFE_NO_PAD.encode_string(id.as_bytes(), &mut packed);
    }
    packed
}

/// The ids in a payload; what cannot be read is left out.
#[must_use]
pub fn unpack_ids(packed: &str) -> Vec<TaskId> {
    let words = packed.as_bytes().chunks_exact(22);
    words
        .filter_map(|word| {
            let bytes = URL_SAFE_NO_PAD.decode(word).ok()?;
            TaskId::from_slice(&bytes).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_travel_packed() {
        let ids: Vec<TaskId> = (0..IDS_MAX).map(|_| uuid::Uuid::now_v7()).collect();
        let packed = pack_ids(&ids);
        assert_eq!(unpack_ids(&packed), ids);
        assert!(unpack_ids("not ids").is_empty());
    }

    #[test]
    fn a_signature_fits_in_and_older_versions_read_past_it() {
        let hub = Hub::of(&Connect::parse("postgres://signed/jobs").expect("a URL"));
        let many = Gathered {
            lanes: (i32::MIN..).take(LANES_MAX).collect(),
            done: (0..IDS_MAX).map(|_| uuid::Uuid::now_v7()).collect(),
            ..Gathered::default()
        };
        let [(_, lanes), (_, ids), _] = many.payloads(&hub);
        for payload in lanes.iter().chain(&ids) {
            assert!(payload.len() < 8_000 && hub.has_told(payload), "PostgreSQL's limit");
        }
        // As versions before read them: the whole payload.
        assert_eq!(unpack_ids(&ids[0]), many.done);
        let expected = Some(Wake::Lanes(many.lanes.into_iter().collect()));
        assert_eq!(read(channel::LANES, &lanes[0]), expected);
        assert_eq!(read(channel::LANES, unsigned(&lanes[0])), expected);
    }

    #[test]
    fn a_session_travels_as_it_is_shown() {
        let session = Session(0x1234_5678_9abc);
        assert_eq!(read(channel::CANCEL, &session.to_string()), Some(Wake::Cancel(session)));
    }
}
