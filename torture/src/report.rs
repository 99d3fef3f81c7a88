//! What a run comes to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::check::times::{percentile, recoveries_us};
use crate::check::{Facts, Violation};
use crate::log::{End, Event};

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) sends_acknowledged: usize,
    pub(crate) sends_unanswered: usize,
    pub(crate) transactions_committed: usize,
    pub(crate) transactions_rolled_back: usize,
    pub(crate) results_awaited: usize,
    pub(crate) cancels_answered: usize,
    /// Final tasks by status.
    pub(crate) tasks: BTreeMap<&'static str, usize>,
    /// Attempts on record, and how many of them were lost, released, failed and retried.
    pub(crate) attempts: usize,
    pub(crate) attempts_lost: usize,
    pub(crate) attempts_released: usize,
    pub(crate) attempts_retried: usize,
    /// Starts that guests wrote down, and ends.
    pub(crate) starts: usize,
    pub(crate) ends: usize,
    /// What the adversary did, by kind.
    pub(crate) faults: BTreeMap<String, usize>,
    /// Faults that came while the same host was still busy with the last one.
    pub(crate) faults_missed: u32,
    pub(crate) host_starts: usize,
    pub(crate) host_starts_failed: usize,
    /// From a kill to the close of each attempt that it cost.
    pub(crate) recovery: Times,
    /// The same where nothing else was broken meanwhile, and another host was there all the time.
    pub(crate) recovery_undisturbed: Times,
    pub(crate) violations: Vec<Violation>,
}

/// Durations in seconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Times {
    pub(crate) tasks: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Times {
    fn of(us: &[i64]) -> Self {
        let at = |percent| percentile(us, percent).map_or(0.0, seconds);
        Self { tasks: us.len(), p50: at(50), p99: at(99), max: at(100) }
    }
}

impl Report {
    pub(crate) fn of(facts: &Facts, violations: Vec<Violation>, seed: u64, seconds: u64) -> Self {
        let count = |is: fn(&Event) -> bool| facts.entries.iter().filter(|entry| is(&entry.event)).count();
        let mut faults: BTreeMap<String, usize> = BTreeMap::new();
        for entry in &facts.entries {
            if let Event::Fault { fault, .. } = &entry.event {
                *faults.entry(fault.clone()).or_default() += 1;
            }
        }
        let mut tasks: BTreeMap<&'static str, usize> = BTreeMap::new();
        for row in facts.finals.values() {
            let word = ["COMPLETED", "FAILED", "CANCELLED", "EXPIRED"];
            let index = usize::try_from(row.status - 3).unwrap_or(0);
            *tasks.entry(word.get(index).copied().unwrap_or("unknown")).or_default() += 1;
        }
        let closed = |outcome| facts.rows.closed.iter().filter(|closed| closed.outcome == outcome).count();
        let (recovery, recovery_undisturbed) = recoveries_us(facts);
        let asked = facts.orders.len();
        Self {
            seed,
            seconds,
            sends_acknowledged: facts.acks.len(),
            sends_unanswered: asked - facts.acks.len().min(asked),
            transactions_committed: facts.committed.len(),
            transactions_rolled_back: facts.rolled_back.len(),
            results_awaited: count(|event| matches!(event, Event::Got { .. } | Event::GotError { .. })),
            cancels_answered: count(|event| matches!(event, Event::Cancelled { .. })),
            attempts: facts.rows.closed.len()
                + facts.finals.values().filter(|row| row.outcome.is_some()).count(),
            attempts_lost: closed(5) + facts.finals.values().filter(|row| row.outcome == Some(5)).count(),
            attempts_released: closed(4),
            attempts_retried: closed(2),
            starts: facts.runs.values().map(Vec::len).sum(),
            ends: facts.runs.values().flatten().filter(|run| run.ended_us.is_some()).count(),
            tasks,
            faults,
            faults_missed: 0,
            host_starts: count(|event| matches!(event, Event::HostReady { .. })),
            host_starts_failed: count(|event| {
                matches!(event, Event::HostEnded { how: End::StartFailed, .. })
            }),
            recovery: Times::of(&recovery),
            recovery_undisturbed: Times::of(&recovery_undisturbed),
            violations,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration for people")]
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tasks, p50, p99, max } = self;
        write!(f, "{tasks} attempts, p50 {p50:.1} s, p99 {p99:.1} s, max {max:.1} s")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: Vec<(String, usize)>| {
            counts.into_iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ")
        };
        let tasks = list(self.tasks.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect());
        let faults = list(self.faults.iter().map(|(name, n)| (name.clone(), *n)).collect());
        writeln!(f, "seed {}, {} s", self.seed, self.seconds)?;
        writeln!(
            f,
            "sends         {} acknowledged, {} not; {} transactions committed, {} rolled back",
            self.sends_acknowledged,
            self.sends_unanswered,
            self.transactions_committed,
            self.transactions_rolled_back
        )?;
        writeln!(f, "tasks         {tasks}")?;
        writeln!(
            f,
            "attempts      {}, of them {} lost, {} released, {} failed and retried; {} starts, {} ends",
            self.attempts,
            self.attempts_lost,
            self.attempts_released,
            self.attempts_retried,
            self.starts,
            self.ends
        )?;
        writeln!(f, "answers       {} results, {} cancels", self.results_awaited, self.cancels_answered)?;
        writeln!(f, "faults        {faults}; {} came too early", self.faults_missed)?;
        writeln!(f, "hosts         {} starts, {} that failed", self.host_starts, self.host_starts_failed)?;
        writeln!(f, "recovery      {}", self.recovery)?;
        writeln!(f, "  undisturbed {}", self.recovery_undisturbed)?;
        for violation in self.violations.iter().take(VIOLATIONS_SHOWN) {
            writeln!(f, "VIOLATION     {violation}")?;
        }
        write!(f, "violations    {}", self.violations.len())
    }
}

const VIOLATIONS_SHOWN: usize = 40;
