//! CPU time: this process's, one backend's, and a whole server's.

use std::fs;
use std::time::Duration;

use hostler::embedded::Server;

/// CPU time of this process, user and system.
pub(crate) fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only writes to the struct it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The same in milliseconds.
pub(crate) fn cpu_ms() -> f64 {
    cpu().as_secs_f64() * 1000.0
}

/// CPU time of another process with one thread, to the nanosecond; zero once it is gone.
pub(crate) fn of_process(pid: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or_default();
    Duration::from_nanos(ns)
}

/// CPU time of another process with many threads, in steps of 10 ms.
pub(crate) fn of_process_with_threads(pid: u32) -> Duration {
    let fields = stat(&pid.to_string()).unwrap_or_default();
    ticks(&fields, &[UTIME, STIME])
}

/// The processes of one server.
pub(crate) struct Postgres {
    postmaster: i32,
}

impl Postgres {
    pub(crate) fn of(server: &Server) -> Self {
        let file = server.root().join("data/postmaster.pid");
        let text = fs::read_to_string(&file).expect("a running server");
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        Self { postmaster: pid.expect("a pid") }
    }

    /// CPU time of all its processes since its start, those that are gone included.
    pub(crate) fn cpu(&self) -> Duration {
        let postmaster = self.postmaster.to_string();
        let gone = stat(&postmaster).map(|fields| ticks(&fields, &[CUTIME, CSTIME])).unwrap_or_default();
        gone + self.pids().into_iter().map(of_process).sum::<Duration>()
    }

    /// The processes it has now.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let postmaster = self.postmaster.to_string();
        let children = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let pid: i32 = name.parse().ok()?;
            let parent = stat(&name)?.get(PARENT)?.clone();
            (parent == postmaster).then_some(pid)
        });
        std::iter::once(self.postmaster).chain(children).collect()
    }

    pub(crate) fn cpu_ms(&self) -> f64 {
        self.cpu().as_secs_f64() * 1000.0
    }
}

// Of `/proc/PID/stat`, counted from behind the process's name.
const PARENT: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;
const CUTIME: usize = 13;
const CSTIME: usize = 14;

fn stat(pid: &str) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String], which: &[usize]) -> Duration {
    let ticks = |index: &usize| fields.get(*index)?.parse::<u64>().ok();
    Duration::from_millis(which.iter().filter_map(ticks).sum::<u64>() * 10)
}
