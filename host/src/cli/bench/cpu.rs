//! CPU time of processes on this machine, from /proc.

use std::fs;

/// User and system time of a process, in microseconds; `None` where it cannot be read.
pub(super) fn of_process(pid: u32) -> Option<f64> {
    let stat = Stat::read(pid)?;
    Some(stat.own_ticks * tick_us())
}

/// What the server whose process serves us has used, all of its processes together, those that ended
/// included; `None` if it is on another machine.
pub(super) fn of_server(backend: i32) -> Option<f64> {
    let backend = Stat::read(u32::try_from(backend).ok()?)?;
    if backend.name != "postgres" {
        return None;
    }
    let server = Stat::read(backend.parent)?;
    let alive = fs::read_dir("/proc").ok()?.flatten();
    let alive = alive.filter_map(|entry| Stat::read(entry.file_name().to_str()?.parse().ok()?));
    let children = alive.filter(|stat| stat.parent == backend.parent).map(|stat| stat.own_ticks);
    Some((server.own_ticks + server.ended_children_ticks + children.sum::<f64>()) * tick_us())
}

/// Resident memory of a process, in bytes.
pub(super) fn resident(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

struct Stat {
    name: String,
    parent: u32,
    own_ticks: f64,
    ended_children_ticks: f64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and brackets; the last bracket ends it.
        let (head, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Self {
            name: head.split_once('(')?.1.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: ticks(11)? + ticks(12)?,
            ended_children_ticks: ticks(13)? + ticks(14)?,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn tick_us() -> f64 {
    1e6 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_uses_time_and_memory_and_is_no_server() {
        let pid = std::process::id();
        assert!(super::of_process(pid).is_some());
        assert!(super::resident(pid).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(super::of_server(i32::try_from(pid).expect("a pid")), None);
    }
}
