//! The evidence, in a form that rules can ask.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::Context;
use torture::Line;
use uuid::Uuid;

use super::rows::{Closed, Final, Rows};
use crate::log::{self, End, Entry, Event};
use crate::order::Order;

/// A time in which something was so, in microseconds since 1970, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

/// Somebody was disturbed: the host in this place, or everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disturbance {
    span: Span,
    place: Option<usize>,
}

/// A process from when it was ready until somebody meant to end it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    host: String,
    span: Span,
}

/// One guest at work, by its own lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// The attempt's number.
    pub(crate) number: i32,
    /// The process that it was in.
    pub(crate) host: String,
    pub(crate) started_us: i64,
    /// `None`: it was interrupted, or died with its host.
    pub(crate) ended_us: Option<i64>,
}

/// Between a host's look at the clock and the guest's look lie the making of its sandbox and, on a busy machine, other
/// programs' turns: with compilers beside it a thread may wait for tenths of a second.
pub(super) const SCHEDULED_US: i64 = 300_000;

/// What was not flushed when the database went down is younger than this.
pub(super) const LOST_US: i64 = 2_000_000;

/// After a disturbance so long goes by until connections are open again, and hosts have beaten and looked.
const SETTLED_US: i64 = 2_000_000;

/// What is known of a run of the bench.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) entries: Vec<Entry>,
    pub(crate) rows: Rows,
    pub(crate) orders: HashMap<Uuid, Order>,
    /// When each was about to be sent.
    pub(crate) intended_us: HashMap<Uuid, i64>,
    /// Acknowledged sends: the id that was sent and the task it became.
    pub(crate) acks: Vec<(Uuid, Uuid)>,
    pub(crate) committed: HashSet<u64>,
    pub(crate) rolled_back: HashSet<u64>,
    pub(crate) finals: HashMap<Uuid, Final>,
    pub(crate) closed: HashMap<Uuid, Vec<Closed>>,
    /// By task, in the order of their starts.
    pub(crate) runs: HashMap<Uuid, Vec<Run>>,
    /// The processes that a pid has meant.
    pub(crate) hosts_of_pid: HashMap<i32, Vec<String>>,
    /// When the database was away after a crash: asynchronous commits of the time before may be lost.
    pub(crate) outages: Vec<Span>,
    /// The hosts' lease, if anything is to be measured by it.
    pub(crate) lease_us: Option<i64>,
    /// The processes that were told to drain: when, and when they had ended.
    pub(crate) drains: Vec<(String, Span)>,
    /// When the processes that were killed died.
    pub(crate) died_us: HashMap<String, i64>,
    disturbances: Vec<Disturbance>,
    lives: Vec<Life>,
    /// When each place's process stood still. Stops with no more than a moment between them are one.
    pub(crate) stops: HashMap<usize, Vec<Span>>,
}

impl Span {
    fn meets(self, other: Self) -> bool {
        self.from_us <= other.to_us && other.from_us <= self.to_us
    }
}

/// `1-3` is the third process in place 1.
fn place_of(host: &str) -> Option<usize> {
    host.split('-').next()?.parse().ok()
}

impl Facts {
    /// Of the log, the guests' lines and the database of a run.
    pub(crate) fn gather(log: &Path, effects: &Path, rows: Rows) -> anyhow::Result<Self> {
        let mut lines: Vec<Line> = Vec::new();
        for file in std::fs::read_dir(effects).with_context(|| effects.display().to_string())? {
            lines.extend(log::read::<Line>(&file?.path())?);
        }
        Self::of(log::read(log)?, lines, rows)
    }

    pub(crate) fn of(entries: Vec<Entry>, mut lines: Vec<Line>, rows: Rows) -> anyhow::Result<Self> {
        let mut facts = Self::default();
        for Entry { at_us, event } in &entries {
            facts.take(*at_us, event);
        }
        lines.sort_by_key(|line| (line.at_us, line.ends));
        for line in lines {
            let task = Uuid::parse_str(&line.task).context("a guest's line names no task")?;
            let runs = facts.runs.entry(task).or_default();
            let at_us = i64::try_from(line.at_us).unwrap_or(i64::MAX);
            if !line.ends {
                let number = i32::try_from(line.attempt).unwrap_or(i32::MAX);
                runs.push(Run { number, host: line.host, started_us: at_us, ended_us: None });
                continue;
            }
            let is_its =
                |run: &&mut Run| run.host == line.host && i64::from(run.number) == i64::from(line.attempt);
            let run = runs.iter_mut().rev().find(is_its).context("a guest ended that never began")?;
            run.ended_us = Some(at_us);
        }
        facts.finals = rows.finals.iter().map(|row| (row.id, row.clone())).collect();
        for closed in &rows.closed {
            facts.closed.entry(closed.task).or_default().push(closed.clone());
        }
        Ok(Self { entries, rows, ..facts })
    }

    fn take(&mut self, at_us: i64, event: &Event) {
        self.take_disturbance(at_us, event);
        self.take_life(at_us, event);
        match event {
            Event::Began { lease_ms } => {
                self.lease_us = Some(i64::try_from(*lease_ms).unwrap_or(i64::MAX).saturating_mul(1_000));
            }
            Event::Intent { order } => {
                self.orders.insert(order.id, order.clone());
                self.intended_us.insert(order.id, at_us);
            }
            Event::Named { order, id } => {
                if let Some(order) = self.orders.remove(order) {
                    self.orders.insert(*id, Order { id: *id, ..order });
                }
                if let Some(intended_us) = self.intended_us.remove(order) {
                    self.intended_us.insert(*id, intended_us);
                }
            }
            Event::Ack { id, task } => self.acks.push((*id, *task)),
            Event::Committed { tx } => drop(self.committed.insert(*tx)),
            Event::RolledBack { tx } => drop(self.rolled_back.insert(*tx)),
            Event::HostStarted { host, pid } => {
                let pid = i32::try_from(*pid).unwrap_or_default();
                self.hosts_of_pid.entry(pid).or_default().push(host.clone());
            }
            Event::Fault { fault, .. } if fault == "restart" || fault == "crash" => {
                self.outages.push(Span { from_us: at_us, to_us: i64::MAX });
            }
            Event::Serving => {
                if let Some(outage) = self.outages.last_mut() {
                    outage.to_us = at_us;
                }
            }
            Event::Fault { fault, host: Some(place), .. } if fault == "stop" => {
                let stops = self.stops.entry(*place).or_default();
                match stops.last_mut() {
                    Some(last) if at_us - last.to_us < SCHEDULED_US => last.to_us = i64::MAX,
                    _ => stops.push(Span { from_us: at_us, to_us: i64::MAX }),
                }
            }
            Event::Continued { place } => {
                if let Some(stop) = self.stops.get_mut(place).and_then(|stops| stops.last_mut()) {
                    stop.to_us = at_us;
                }
            }
            _ => {}
        }
    }

    fn take_disturbance(&mut self, at_us: i64, event: &Event) {
        match event {
            Event::Fault { fault, host, ms } if !["kill", "drain", "swap"].contains(&&**fault) => {
                let ms = i64::try_from(*ms).unwrap_or(i64::MAX);
                // Until it serves again, which is said.
                let for_us = if ["restart", "crash"].contains(&&**fault) {
                    i64::MAX
                } else {
                    ms.saturating_mul(1_000)
                };
                let to_us = at_us.saturating_add(for_us).saturating_add(SETTLED_US);
                self.disturbances.push(Disturbance { span: Span { from_us: at_us, to_us }, place: *host });
            }
            Event::Serving => {
                let open = self.disturbances.iter_mut().filter(|one| one.span.to_us == i64::MAX);
                open.for_each(|one| one.span.to_us = at_us + SETTLED_US);
            }
            _ => {}
        }
    }

    fn take_life(&mut self, at_us: i64, event: &Event) {
        match event {
            Event::HostReady { host } => {
                let span = Span { from_us: at_us, to_us: i64::MAX };
                self.lives.push(Life { host: host.clone(), span });
            }
            Event::Fault { fault, host: Some(place), .. } if fault == "drain" => {
                let its = |life: &&mut Life| place_of(&life.host) == Some(*place);
                if let Some(life) = self.lives.iter_mut().rev().find(its) {
                    life.span.to_us = life.span.to_us.min(at_us);
                    self.drains.push((life.host.clone(), Span { from_us: at_us, to_us: i64::MAX }));
                }
            }
            Event::HostEnded { host, how, .. } => {
                if let Some(life) = self.lives.iter_mut().find(|life| life.host == *host) {
                    life.span.to_us = life.span.to_us.min(at_us);
                }
                if let Some((_, drain)) = self.drains.iter_mut().find(|(drained, _)| drained == host) {
                    drain.to_us = at_us;
                }
                if *how == End::Killed {
                    self.died_us.insert(host.clone(), at_us);
                }
            }
            _ => {}
        }
    }

    /// Whether anything but a kill, a drain or another build disturbed anybody in this time.
    pub(crate) fn disturbed(&self, span: Span) -> bool {
        self.disturbances.iter().any(|one| one.span.meets(span))
    }

    /// Whether anything disturbed this host in this time.
    pub(crate) fn host_disturbed(&self, host: &str, span: Span) -> bool {
        let place = place_of(host);
        self.disturbances
            .iter()
            .any(|one| (one.place.is_none() || one.place == place) && one.span.meets(span))
    }

    /// Whether a host was there all this time, to see what became of others.
    pub(crate) fn somebody_saw(&self, span: Span) -> bool {
        self.lives.iter().any(|life| life.span.from_us <= span.from_us && span.to_us < life.span.to_us)
    }

    /// The task's closed attempts that were followed by another one.
    pub(crate) fn closed(&self, task: Uuid) -> &[Closed] {
        self.closed.get(&task).map_or(&[], Vec::as_slice)
    }

    /// When the attempts of this number were closed, by rows of their own or by the task's end.
    pub(crate) fn closed_us(&self, task: Uuid, number: i32) -> impl Iterator<Item = i64> {
        let closed = self.closed(task).iter().filter(move |closed| closed.number == number);
        let last = self.finals.get(&task).filter(|row| row.attempt == number && row.outcome.is_some());
        closed.map(|closed| closed.finished_us).chain(last.map(|row| row.finished_us))
    }

    /// What guests did of this task, in the order of their starts.
    pub(crate) fn runs(&self, task: Uuid) -> &[Run] {
        self.runs.get(&task).map_or(&[], Vec::as_slice)
    }

    /// Whether this run's host may have stood still from before `missed_us`, which it could not see happen, until it
    /// let its guest do something at `acted_us`.
    pub(crate) fn stood_still(&self, run: &Run, missed_us: i64, acted_us: i64) -> bool {
        let mut stops = place_of(&run.host).and_then(|place| self.stops.get(&place)).into_iter().flatten();
        stops.any(|stop| stop.from_us <= missed_us && acted_us < stop.to_us.saturating_add(SCHEDULED_US))
    }

    /// Whether a crash of the database may have taken this run's claim back.
    pub(crate) fn may_be_forgotten(&self, run: &Run) -> bool {
        self.crashed_within(run.started_us - LOST_US, run.started_us + LOST_US)
    }

    /// The processes that a session can have been.
    pub(crate) fn hosts_of_session(&self, session: i64) -> &[String] {
        let row = self.rows.sessions.iter().find(|row| row.session == session);
        row.and_then(|row| self.hosts_of_pid.get(&row.pid)).map_or(&[], Vec::as_slice)
    }

    /// How much of this time the database was away.
    pub(crate) fn away_us(&self, from_us: i64, to_us: i64) -> i64 {
        let within = self.outages.iter().map(|away| away.to_us.min(to_us) - away.from_us.max(from_us));
        within.filter(|us| *us > 0).sum()
    }

    /// Whether the database went down without a checkpoint in this time.
    pub(crate) fn crashed_within(&self, from_us: i64, to_us: i64) -> bool {
        self.outages.iter().any(|outage| outage.from_us <= to_us && from_us <= outage.to_us)
    }
}
