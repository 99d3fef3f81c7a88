//! What guests really did, as they wrote it down themselves.

use super::facts::{LOST_US, Run, SCHEDULED_US};
use super::{Facts, Found};
use crate::log::Event;

/// No guest runs unless its attempt is on record.
pub(super) fn every_start_is_on_record(facts: &Facts, found: &mut Found) {
    const RULE: &str = "every start is an attempt on record";
    for (task, runs) in &facts.runs {
        let Some(row) = facts.finals.get(task) else { continue };
        for Run { number, started_us, .. } in runs {
            // A crash of the database can take back a claim whose attempt runs.
            let forgotten = facts.crashed_within(started_us - LOST_US, row.finished_us);
            if *number < 1 || (*number > row.attempt && !forgotten) {
                found.of(RULE, *task, format!("attempt {number} was started, on record are {}", row.attempt));
            }
        }
    }
}

/// A number starts once. Only where the database lost an asynchronous claim in a crash may it start again.
pub(super) fn a_number_starts_once(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a number starts once, unless the database crashed in between";
    for (task, runs) in &facts.runs {
        for (n, run) in runs.iter().enumerate() {
            let Some(again) = runs[n + 1..].iter().find(|other| other.number == run.number) else {
                continue;
            };
            if !facts.crashed_within(run.started_us - LOST_US, again.started_us) {
                found.of(
                    RULE,
                    *task,
                    format!("attempt {} was started on {} and on {}", run.number, run.host, again.host),
                );
            }
        }
    }
}

/// `redeliveries = 0`: at most one start.
pub(super) fn what_never_starts_twice_did_not(facts: &Facts, found: &mut Found) {
    const RULE: &str = "with redeliveries = 0 there is one start at most";
    for order in facts.orders.values().filter(|order| order.redeliveries == Some(0)) {
        let runs = facts.runs(order.id);
        if runs.len() > 1 {
            let hosts: Vec<&str> = runs.iter().map(|run| run.host.as_str()).collect();
            found.of(RULE, order.id, format!("it was started on {hosts:?}"));
        }
    }
}

/// Nothing starts at or after its `good_until`. A process may be stopped between its look at the clock and the
/// guest's first instruction: what a stop covers proves nothing.
pub(super) fn nothing_starts_late(facts: &Facts, found: &mut Found) {
    const RULE: &str = "nothing starts at or after its good_until";
    for order in facts.orders.values() {
        let Some(until_us) = order.good_until_us else { continue };
        for run in facts.runs(order.id) {
            let late_us = run.started_us - until_us;
            if late_us >= SCHEDULED_US && !facts.stood_still(run, until_us, run.started_us) {
                found.of(RULE, order.id, format!("attempt {} started {late_us} us late", run.number));
            }
        }
        if let Some(row) = facts.finals.get(&order.id)
            && row.status == EXPIRED
            && row.finished_us < until_us
        {
            found.of(RULE, order.id, format!("it expired {} us too early", until_us - row.finished_us));
        }
    }
}

const EXPIRED: i16 = 6;

/// A delayed task is claimed when it is due, and none is claimed once its cancel was answered.
pub(super) fn nothing_starts_early_or_after_its_cancel(facts: &Facts, found: &mut Found) {
    const EARLY: &str = "a delayed task waits for its time";
    const CANCELLED: &str = "a cancelled task begins no further attempt";
    let claims = |task| {
        let closed = facts.closed(task).iter().map(|closed| closed.claimed_us);
        closed.chain(facts.finals.get(&task).and_then(|row| row.claimed_us))
    };
    for order in facts.orders.values() {
        if let (Some(ms), Some(intended_us)) = (order.delay_ms, facts.intended_us.get(&order.id)) {
            let due_us = intended_us + i64::try_from(ms).unwrap_or(0) * 1_000;
            if let Some(early) = claims(order.id).find(|claimed_us| *claimed_us < due_us) {
                found.of(EARLY, order.id, format!("it was claimed {} us early", due_us - early));
            }
        }
    }
    for entry in &facts.entries {
        if let Event::Cancelled { id, .. } = &entry.event
            && let Some(late) = claims(*id).find(|claimed_us| *claimed_us > entry.at_us)
        {
            found.of(CANCELLED, *id, format!("it was claimed {} us after the answer", late - entry.at_us));
        }
    }
}
