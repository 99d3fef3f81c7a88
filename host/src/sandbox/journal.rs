//! What a guest writes: stdout, stderr and `log`, line by line.
//!
//! A line becomes a tracing event and is kept in a bounded tail. Nothing here ever fails or blocks a guest's
//! write: what exceeds the budget is swallowed, and one marker line says how much.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::task::TaskId;

/// How much of the end is kept, in bytes.
const TAIL_BYTES: usize = 8 << 10;
/// A longer line is told in pieces.
const LINE_BYTES: usize = 4 << 10;
/// What a guest may hand over in one write, in bytes.
const WRITE_BYTES: usize = 64 << 10;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
    Log(tracing::Level),
}

/// One attempt's output, shared by the streams that write to it.
#[derive(Clone)]
pub(super) struct Journal(Arc<Mutex<Inner>>);

struct Inner {
    id: TaskId,
    attempt: u32,
    bytes_left: u64,
    lines_left: u64,
    bytes_dropped: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    all_tail: Tail,
    stderr_tail: Tail,
}

impl Journal {
    pub(super) fn new(id: TaskId, attempt: u32, bytes_max: u64, lines_max: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            id,
            attempt,
            bytes_left: bytes_max,
            lines_left: lines_max,
            bytes_dropped: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            all_tail: Tail::default(),
            stderr_tail: Tail::default(),
        })))
    }

    /// Takes one message of `log`, which may have several lines.
    pub(super) fn log(&self, level: tracing::Level, message: &str) {
        self.with(|inner| {
            for line in message.lines().flat_map(|line| line.as_bytes().chunks(LINE_BYTES)) {
                inner.line(Stream::Log(level), line);
            }
        });
    }

    /// Ends the journal: the last lines of everything, and those of stderr alone.
    pub(super) fn finish(&self) -> (String, String) {
        self.with(|inner| {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let rest = std::mem::take(inner.partial(stream));
                if !rest.is_empty() {
                    inner.line(stream, &rest);
                }
            }
            if inner.bytes_dropped > 0 {
                let marker = format!("[hostler: {} more bytes of output were dropped]", inner.bytes_dropped);
                tracing::warn!(target: "hostler::guest", task_id = %inner.id, attempt = inner.attempt, "{marker}");
                inner.all_tail.push(&marker);
            }
            (inner.all_tail.take(), inner.stderr_tail.take())
        })
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        self.with(|inner| {
            for piece in bytes.split_inclusive(|&b| b == b'\n') {
                let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
                inner.partial(stream).extend_from_slice(text);
                if ended || inner.partial(stream).len() >= LINE_BYTES {
                    let line = std::mem::take(inner.partial(stream));
                    line.chunks(LINE_BYTES).for_each(|line| inner.line(stream, line));
                }
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn partial(&mut self, stream: Stream) -> &mut Vec<u8> {
        if stream == Stream::Stderr { &mut self.stderr } else { &mut self.stdout }
    }

    fn line(&mut self, stream: Stream, bytes: &[u8]) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let size = bytes.len() as u64 + 1;
        let affordable = size <= self.bytes_left && self.lines_left > 0;
        if !affordable {
            // What comes after is dropped too, however short: a log with holes misleads.
            self.bytes_left = 0;
            self.bytes_dropped += size;
            if stream != Stream::Stderr {
                return;
            }
        }
        let text = plain(bytes);
        if stream == Stream::Stderr {
            // Kept beyond the budget, for it costs no more memory: a panic's words survive a flood.
            self.stderr_tail.push(&text);
        }
        if affordable {
            self.bytes_left -= size;
            self.lines_left -= 1;
            self.all_tail.push(&text);
            self.tell(stream, &text);
        }
    }

    fn tell(&self, stream: Stream, text: &str) {
        use tracing::Level;
        macro_rules! tell {
            ($level:expr, $stream:literal) => {
                tracing::event!(target: "hostler::guest", $level, task_id = %self.id, attempt = self.attempt,
                    stream = $stream, "{text}")
            };
        }
        match stream {
            Stream::Stdout => tell!(Level::INFO, "stdout"),
            Stream::Stderr => tell!(Level::INFO, "stderr"),
            Stream::Log(Level::TRACE) => tell!(Level::TRACE, "log"),
            Stream::Log(Level::DEBUG) => tell!(Level::DEBUG, "log"),
            Stream::Log(Level::INFO) => tell!(Level::INFO, "log"),
            Stream::Log(Level::WARN) => tell!(Level::WARN, "log"),
            Stream::Log(Level::ERROR) => tell!(Level::ERROR, "log"),
        }
    }
}

/// Text that a terminal and a database take: no escapes, no NUL.
fn plain(bytes: &[u8]) -> String {
    let replace = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    String::from_utf8_lossy(bytes).chars().map(replace).collect()
}

/// The last lines of something.
#[derive(Default)]
struct Tail(String);

impl Tail {
    fn push(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
        // Cut rarely, so that each byte moves about once.
        if self.0.len() > 2 * TAIL_BYTES {
            self.cut();
        }
    }

    fn take(&mut self) -> String {
        self.cut();
        std::mem::take(&mut self.0)
    }

    fn cut(&mut self) {
        let Some(mut start) = self.0.len().checked_sub(TAIL_BYTES).filter(|&n| n > 0) else { return };
        while !self.0.is_char_boundary(start) {
            start += 1;
        }
        // Whole lines, where there are any.
        let rest = &self.0[start..];
        start += rest.find('\n').map_or(0, |at| at + 1).min(rest.len().saturating_sub(1));
        self.0.drain(..start);
    }
}

/// One of a guest's two output streams.
#[derive(Clone)]
pub(super) struct Pipe {
    pub(super) stream: Stream,
    pub(super) journal: Journal,
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.journal.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.journal.write(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(bytes_max: u64) -> Journal {
        Journal::new(TaskId::nil(), 1, bytes_max, u64::MAX)
    }

    #[test]
    fn lines_are_counted_too() {
        let journal = Journal::new(TaskId::nil(), 1, u64::MAX, 2);
        journal.write(Stream::Stdout, b"1\n2\n3\n4\n");
        assert_eq!(journal.finish().0, "1\n2\n[hostler: 4 more bytes of output were dropped]\n");
    }

    #[test]
    fn lines_are_put_together_and_cleaned() {
        let journal = journal(1000);
        journal.write(Stream::Stdout, b"one\ntw");
        journal.write(Stream::Stderr, b"err \x1b[31m\0\n");
        journal.write(Stream::Stdout, b"o\r\nrest");
        journal.log(tracing::Level::WARN, "a\nb\tc");
        let (all, stderr) = journal.finish();
        assert_eq!(all, "one\nerr \u{fffd}[31m\u{fffd}\ntwo\na\nb\tc\nrest\n");
        assert_eq!(stderr, "err \u{fffd}[31m\u{fffd}\n");
    }

    #[test]
    fn a_flood_is_swallowed_with_one_marker_and_the_last_words_are_kept() {
        let journal = journal(10);
        for _ in 0..1000 {
            journal.write(Stream::Stdout, b"1234\n");
        }
        journal.write(Stream::Stderr, b"panicked\n");
        let (all, stderr) = journal.finish();
        assert_eq!(all, "1234\n1234\n[hostler: 4999 more bytes of output were dropped]\n");
        assert_eq!(stderr, "panicked\n");
    }

    #[test]
    fn the_tail_is_bounded_and_has_whole_lines() {
        let journal = journal(u64::MAX);
        for n in 0..10_000 {
            journal.log(tracing::Level::INFO, &format!("líne {n}"));
        }
        journal.write(Stream::Stderr, "é".repeat(50_000).as_bytes());
        let (all, stderr) = journal.finish();
        assert!(all.len() <= TAIL_BYTES && stderr.len() <= TAIL_BYTES, "{} {}", all.len(), stderr.len());
        assert!(all.ends_with('\n') && !stderr.is_empty());
    }
}
