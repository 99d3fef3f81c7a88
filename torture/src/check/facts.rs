//! The evidence, in a form that rules can ask.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::Context;
use torture::Start;
use uuid::Uuid;

use super::rows::{Closed, Final, Rows};
use crate::log::{self, Entry, Event};
use crate::order::Order;

/// A time in which something was so, in microseconds since 1970, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

impl Span {
    pub(crate) fn holds(self, at_us: i64) -> bool {
        (self.from_us..=self.to_us).contains(&at_us)
    }
}

/// What is known of a run.
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
    /// By task, in the order of their time.
    pub(crate) starts: HashMap<Uuid, Vec<Start>>,
    /// The processes that a pid has meant.
    pub(crate) hosts_of_pid: HashMap<i32, Vec<String>>,
    /// When the database was away after a crash: asynchronous commits of the time before may be lost.
    pub(crate) outages: Vec<Span>,
    /// When each place's process stood still.
    pub(crate) stops: HashMap<usize, Vec<Span>>,
}

impl Facts {
    /// Of the log, the guests' lines and the database of a run.
    pub(crate) fn gather(log: &Path, effects: &Path, rows: Rows) -> anyhow::Result<Self> {
        let mut starts: Vec<Start> = Vec::new();
        for file in std::fs::read_dir(effects).with_context(|| effects.display().to_string())? {
            starts.extend(log::read::<Start>(&file?.path())?);
        }
        Self::of(log::read(log)?, starts, rows)
    }

    pub(crate) fn of(entries: Vec<Entry>, starts: Vec<Start>, rows: Rows) -> anyhow::Result<Self> {
        let mut facts = Self::default();
        for Entry { at_us, event } in &entries {
            facts.take(*at_us, event);
        }
        for start in starts {
            let task = Uuid::parse_str(&start.task).context("a guest's line names no task")?;
            facts.starts.entry(task).or_default().push(start);
        }
        for starts in facts.starts.values_mut() {
            starts.sort_by_key(|start| start.at_us);
        }
        facts.finals = rows.finals.iter().map(|row| (row.id, row.clone())).collect();
        for closed in &rows.closed {
            facts.closed.entry(closed.task).or_default().push(closed.clone());
        }
        Ok(Self { entries, rows, ..facts })
    }

    fn take(&mut self, at_us: i64, event: &Event) {
        match event {
            Event::Intent { order } => {
                self.orders.insert(order.id, order.clone());
                self.intended_us.insert(order.id, at_us);
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
            Event::Fault { fault, host: Some(host), ms } if fault == "stop" => {
                // Both signals come a little later than the entry.
                let ms = i64::try_from(*ms).unwrap_or(0);
                let span = Span { from_us: at_us, to_us: at_us + (ms + 500) * 1_000 };
                self.stops.entry(*host).or_default().push(span);
            }
            _ => {}
        }
    }

    /// The task's closed attempts that were followed by another one.
    pub(crate) fn closed(&self, task: Uuid) -> &[Closed] {
        self.closed.get(&task).map_or(&[], Vec::as_slice)
    }

    /// The task's starts.
    pub(crate) fn starts(&self, task: Uuid) -> &[Start] {
        self.starts.get(&task).map_or(&[], Vec::as_slice)
    }

    /// The processes that a session can have been.
    pub(crate) fn hosts_of_session(&self, session: i64) -> &[String] {
        let row = self.rows.sessions.iter().find(|row| row.session == session);
        row.and_then(|row| self.hosts_of_pid.get(&row.pid)).map_or(&[], Vec::as_slice)
    }

    /// Whether the database went down without a checkpoint in this time.
    pub(crate) fn crashed_within(&self, from_us: i64, to_us: i64) -> bool {
        self.outages.iter().any(|outage| outage.from_us <= to_us && from_us <= outage.to_us)
    }
}
