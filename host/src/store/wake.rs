//! Wakes: hints that something may have changed. Nothing relies on them; they only save time.
//!
//! A notifying commit holds a lock on every other commit of the database until it is on disk, so nobody
//! rings inside a transaction that carries data: a [`Doorbell`] rings after the commit, in a transaction
//! of its own that waits for no disk. It rings at once; what comes while it rings, or faster than once a
//! millisecond for long, is gathered into one more ring.

use std::collections::BTreeSet;
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

/// PostgreSQL refuses payloads of 8,000 bytes; an id takes 22.
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
    /// Starts the doorbell's task on the current runtime; it ends with the last handle.
    #[must_use]
    pub fn start(connect: Connect) -> Self {
        let (rings, heard) = mpsc::unbounded_channel();
        tokio::spawn(ring_until_closed(connect, heard));
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

async fn ring_until_closed(connect: Connect, mut heard: mpsc::UnboundedReceiver<Ring>) {
    let mut open = None;
    let mut batch = Vec::new();
    let mut paid_until = Instant::now();
    while heard.recv_many(&mut batch, 10_000).await > 0 {
        let (mut lanes, mut done, mut sessions) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        let mut flushes = Vec::new();
        for ring in batch.drain(..) {
            match ring {
                Ring::Lanes(some) => lanes.extend(some),
                Ring::Done(some) => done.extend(some),
                Ring::Cancel(session) => {
                    sessions.insert(session);
                }
                Ring::Flush(flush) => flushes.push(flush),
            }
        }
        let lanes: Vec<Lane> = lanes.into_iter().collect();
        let lanes: Vec<String> = lanes.chunks(LANES_MAX).map(pack_lanes).collect();
        let ids: Vec<String> = done.chunks(IDS_MAX).map(pack_ids).collect();
        let sessions: Vec<String> = sessions.iter().map(ToString::to_string).collect();
        for (channel, payloads) in
            [(channel::LANES, lanes), (channel::DONE, ids), (channel::CANCEL, sessions)]
        {
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
        drop(flushes);
        paid_until = paid_until.max(Instant::now()) + GATHER;
        tokio::time::sleep_until(paid_until - GATHER * AT_ONCE).await;
    }
}

/// Listens on one connection; a lost connection is itself a wake.
#[derive(Debug)]
pub struct Listener {
    connect: Connect,
    channels: Vec<&'static str>,
    open: Option<PgListener>,
    pause: Duration,
}

/// Between two tries to listen again.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Listener {
    /// Will listen on these channels, from the first [`Listener::next`] on.
    #[must_use]
    pub fn new(connect: Connect, channels: Vec<&'static str>) -> Self {
        Self { connect: connect.direct(), channels, open: None, pause: PAUSE_MIN }
    }

    /// The next wake. The first one, and the one after each loss, is [`Wake::Lost`]: what happened before
    /// the listening began was not heard. A loss itself is [`Wake::Deaf`]. Never fails: without a connection it
    /// tries again, at growing intervals of up to 5 s.
    ///
    /// Not cancel-safe: what is dropped while it connects begins anew.
    pub async fn next(&mut self) -> Wake {
        loop {
            let Some(listener) = &mut self.open else {
                match self.listen().await {
                    Ok(listener) => {
                        self.open = Some(listener);
                        self.pause = PAUSE_MIN;
                        return Wake::Lost;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot listen for wakes; polling goes on");
                        tokio::time::sleep(self.pause).await;
                        self.pause = (self.pause * 2).min(PAUSE_MAX);
                        continue;
                    }
                }
            };
            match listener.try_recv().await {
                Ok(Some(heard)) => {
                    if let Some(wake) = read(heard.channel(), heard.payload()) {
                        return wake;
                    }
                }
                // The driver hides reconnects after an error: both mean that wakes may be lost.
                Ok(None) | Err(_) => {
                    self.open = None;
                    return Wake::Deaf;
                }
            }
        }
    }

    async fn listen(&self) -> Result<PgListener, StoreError> {
        // Finds the server that takes writes: the driver's listener would go where it went before.
        let _closed = conn(&self.connect, Role::Hot).await?.close().await;
        // A pool of one: the driver's listener wants a pool, and this connection must be no one else's.
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(self.connect.options(Role::Hot))
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen_all(self.channels.iter().copied()).await?;
        Ok(listener)
    }
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
        assert!(packed.len() < 8_000, "PostgreSQL's limit");
        assert_eq!(unpack_ids(&packed), ids);
        assert!(unpack_ids("not ids").is_empty());
    }

    #[test]
    fn a_session_travels_as_it_is_shown() {
        let session = Session(0x1234_5678_9abc);
        assert_eq!(read(channel::CANCEL, &session.to_string()), Some(Wake::Cancel(session)));
    }
}
