//! Keeps a server and everything else on cores of their own, so that the database is the limit and not the machine that
//! hosts share with it.

use std::fs;

use crate::common::cpu::Postgres;

/// The server has the last core and everything that this program starts has the others, until this is dropped.
pub(crate) struct Apart<'a> {
    server: &'a Postgres,
    cores: Vec<usize>,
}

impl<'a> Apart<'a> {
    pub(crate) fn keep(server: &'a Postgres) -> Self {
        let cores = allowed();
        let (last, others) = cores.split_last().expect("a core");
        assert!(!others.is_empty(), "this needs two cores");
        let apart = Self { server, cores: cores.clone() };
        apart.place(&[*last], others);
        apart
    }

    fn place(&self, server: &[usize], others: &[usize]) {
        self.server.pids().iter().for_each(|pid| restrict(*pid, server));
        restrict(i32::try_from(std::process::id()).expect("a pid"), others);
    }
}

impl Drop for Apart<'_> {
    fn drop(&mut self) {
        self.place(&self.cores, &self.cores);
    }
}

/// The cores that this thread may run on.
fn allowed() -> Vec<usize> {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let list =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list of cores");
    let number = |text: &str| text.trim().parse::<usize>().expect("a core");
    list.split(',')
        .flat_map(|range| match range.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(range)..=number(range),
        })
        .collect()
}

/// Every thread of a process; what it starts from now on inherits it.
fn restrict(pid: i32, cores: &[usize]) {
    // SAFETY: zero is a valid set, of no core.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: it only writes to the set, and panics where a core lies beyond it.
    cores.iter().for_each(|core| unsafe { libc::CPU_SET(*core, &mut set) });
    // A process, or a thread, may have ended meanwhile.
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let Some(thread) = thread.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // SAFETY: it only reads the set.
        unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &raw const set) };
    }
}
