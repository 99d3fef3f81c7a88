//! Holds a server to a share of one core, so that the database is the limit and not the machine that hosts share
//! with it.

use std::fs;
use std::path::{Path, PathBuf};

/// Short, so that what a server may still do is spread evenly.
const PERIOD_US: f64 = 10_000.0;

/// Lets go of the server when it is dropped.
pub(crate) struct Throttle {
    group: PathBuf,
    back: PathBuf,
}

impl Throttle {
    /// Holds these processes, and those that they start, to this share of one core. Needs a control group that it may
    /// write to: as root, as a rule.
    pub(crate) fn hold(pids: &[i32], share: f64) -> Self {
        let ours = fs::read_to_string("/proc/self/cgroup").expect("control groups");
        let path = |controllers: &str| {
            ours.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (names, path) = rest.split_once(':')?;
                (names == controllers).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let name = format!("hostler-bench-{}", std::process::id());
        let both = "/sys/fs/cgroup/cpu,cpuacct";
        let (back, settings) = match (path("cpu"), path("cpu,cpuacct"), path("")) {
            (Some(path), _, _) => (Path::new("/sys/fs/cgroup/cpu").join(path), false),
            (_, Some(path), _) => (Path::new(both).join(path), false),
            (_, _, Some(path)) => (Path::new("/sys/fs/cgroup").join(path), true),
            _ => panic!("no control group for CPU time"),
        };
        let group = back.join(name);
        fs::create_dir(&group).expect("a control group: this needs root");
        let quota = (PERIOD_US * share).round();
        let set = |file: &str, value: String| fs::write(group.join(file), value).expect(file);
        if settings {
            set("cpu.max", format!("{quota} {PERIOD_US}"));
        } else {
            set("cpu.cfs_period_us", PERIOD_US.to_string());
            set("cpu.cfs_quota_us", quota.to_string());
        }
        let throttle = Self { group, back };
        for pid in pids {
            fs::write(throttle.group.join("cgroup.procs"), pid.to_string()).expect("moved");
        }
        throttle
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // One that came meanwhile may be left over.
        while fs::remove_dir(&self.group).is_err() {
            let held = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
            for pid in held.lines() {
                let _gone = fs::write(self.back.join("cgroup.procs"), pid);
            }
        }
    }
}
