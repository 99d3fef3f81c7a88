//! The plugin `torture`: tasks that leave a line in a log outside when they start and another one when they end, and
//! whose results follow from their arguments, so that a checker can tell from the log and the database what happened.
//!
//! Each host writes a file of its own in the granted directory, named by the granted variable `HOST`.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use hostler_guest::prelude::*;
use hostler_guest::serde_json;

/// Where the host lets the guest write.
pub const EFFECTS: &str = "/effects";

/// Which build this is. The bench makes another one by replacing these bytes in the component.
pub static BUILD: &str = "torture-build-a";

/// What an attempt is to do.
#[data]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What the result is made of.
    pub n: u64,
    /// How long it takes, in milliseconds.
    pub ms: u64,
    /// How many attempts fail, not counting lost and released ones.
    pub failures: u32,
    /// Nothing but weight.
    #[serde(default)]
    pub ballast: String,
}

/// What came of it.
#[data]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worked {
    /// [`mix`] of `n`.
    pub mixed: u64,
    /// The number of the attempt.
    pub attempt: u32,
    /// The host that ran it.
    pub host: String,
    /// The build that ran.
    pub build: String,
}

/// What stands in the log: a guest's first act, or its last one.
#[data]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The task's id.
    pub task: String,
    /// The attempt's number.
    pub attempt: u32,
    /// The machine's clock, microseconds since 1970.
    pub at_us: u64,
    /// The host that ran it.
    pub host: String,
    /// It is about to return. A guest that was interrupted, or died with its host, leaves no such line.
    pub ends: bool,
}

/// Does the work; a failure is final.
#[task(timeout = "20s")]
pub fn work(args: Job) -> Result<Worked, Failure> {
    body(args)
}

/// Does the work; a failure is retried up to three times.
#[task(retries = 3, backoff = fixed("150ms"), jitter = false, timeout = "20s")]
pub fn stubborn(args: Job) -> Result<Worked, Failure> {
    body(args)
}

/// Leaves its line and computes for ever; its timeout is 400 ms.
#[task(timeout = "400ms")]
pub fn spin(args: Job) -> Result<Worked, Failure> {
    leave_line(&host(), false)?;
    let mut turns = args.n;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// A number that follows from another one, and that nobody comes by in any other way.
#[must_use]
pub fn mix(n: u64) -> u64 {
    (0..16).fold(n, |mixed, turn| (mixed ^ turn).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

fn body(args: Job) -> Result<Worked, Failure> {
    let host = host();
    leave_line(&host, false)?;
    thread::sleep(Duration::from_millis(args.ms));
    leave_line(&host, true)?;
    if attempt::retries() < args.failures {
        return Err(Failure::new("NOT_YET", format!("{} attempts are to fail", args.failures)));
    }
    Ok(Worked { mixed: mix(args.n), attempt: attempt::number(), host, build: black_box(BUILD).to_owned() })
}

fn host() -> String {
    std::env::var("HOST").unwrap_or_default()
}

/// One write of one line at the end of the file: no other attempt's line can stand within it.
fn leave_line(host: &str, ends: bool) -> Result<(), Failure> {
    let at_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let at_us = u64::try_from(at_us).unwrap_or(u64::MAX);
    let line = Line { task: attempt::id(), attempt: attempt::number(), at_us, host: host.to_owned(), ends };
    let mut line =
        serde_json::to_string(&line).map_err(|error| Failure::new("NO_LINE", error.to_string()))?;
    line.push('\n');
    let mut file = OpenOptions::new().append(true).create(true).open(format!("{EFFECTS}/{host}.log"))?;
    Ok(file.write_all(line.as_bytes())?)
}

hostler_guest::plugin!("torture", [work, stubborn, spin]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_follow_from_the_arguments_alone() {
        assert_eq!(mix(7), mix(7));
        assert_ne!(mix(7), mix(8));
    }
}
