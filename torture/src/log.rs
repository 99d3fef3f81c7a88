//! What happened, as an append-only log: one JSON object a line. The checker reads nothing else but this, the
//! guests' own lines and the database.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::Order;

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The machine's clock, microseconds since 1970.
    pub(crate) at_us: i64,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What senders were told, and what the adversary did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The run begins: the lease of its hosts.
    Began { lease_ms: u64 },
    /// About to be sent.
    Intent { order: Order },
    /// What was sent without an id has this one.
    Named { order: Uuid, id: Uuid },
    /// A send was acknowledged; with a key, possibly as an earlier task.
    Ack { id: Uuid, task: Uuid },
    /// A send that has to be right was refused.
    Refused { id: Uuid, code: String, message: String },
    /// A call got no answer for longer than anything may take.
    Hung { id: Uuid, call: String },
    /// A transaction's commit was acknowledged.
    Committed { tx: u64 },
    /// A transaction was rolled back, or ended before its commit was sent.
    RolledBack { tx: u64 },
    /// A cancel was answered with this status.
    Cancelled { id: Uuid, answer: String },
    /// A waiter was told the result.
    Got { id: Uuid, result: String },
    /// A waiter was told a final error.
    GotError { id: Uuid, code: String },
    /// A waiter was told something that is not final.
    NotGot { id: Uuid, code: String },
    /// A host process was started.
    HostStarted { host: String, pid: u32 },
    /// A host says that it is ready.
    HostReady { host: String },
    /// A host process is no more.
    HostEnded { host: String, pid: u32, how: End },
    /// The adversary does this, just now.
    Fault { fault: String, host: Option<usize>, ms: u64 },
    /// The process in this place, which stood still, was sent on.
    Continued { place: usize },
    /// The database serves again.
    Serving,
    /// The adversary has left, and everything was put right.
    Calm,
}

/// How a host process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// It was killed.
    Killed,
    /// It was told to end, and did.
    Drained,
    /// It was told to end, and something went wrong.
    DrainFailed,
    /// It could not start.
    StartFailed,
    /// It worked, and ended by itself.
    GaveUp,
}

/// Appends events; clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Mutex<File>>);

impl Log {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        Ok(Self(Arc::new(Mutex::new(file.with_context(|| path.display().to_string())?))))
    }

    /// Writes one line, at once.
    pub(crate) fn write(&self, event: Event) {
        let mut line = serde_json::to_vec(&Entry { at_us: now_us(), event }).expect("events are JSON");
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).expect("the log takes every line, or proves nothing");
    }
}

/// Reads a file of JSON lines.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut read = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| path.display().to_string())?;
        let parsed = serde_json::from_str(&line);
        read.push(parsed.with_context(|| format!("{}, line {}: {line:?}", path.display(), number + 1))?);
    }
    Ok(read)
}

/// The machine's clock, microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
