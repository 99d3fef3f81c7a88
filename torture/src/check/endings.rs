//! How tasks ended, and what senders were told about it.

use std::collections::HashMap;

use torture::{Worked, mix};

use super::attempts::WORKER_FAILURE;
use super::rows::Final;
use super::{Facts, Found};
use crate::log::{End, Event};
use crate::order::{Body, Order};

pub(super) const COMPLETED: i16 = 3;
pub(super) const FAILED: i16 = 4;
pub(super) const CANCELLED: i16 = 5;
pub(super) const EXPIRED: i16 = 6;

/// A result is what the body makes of these arguments, and the code on record made it.
pub(super) fn results_are_what_the_body_returned(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a result is what the body returned";
    let mut builds: HashMap<i32, String> = HashMap::new();
    for row in facts.finals.values().filter(|row| row.status == COMPLETED) {
        let Some(order) = facts.orders.get(&row.id) else { continue };
        let Some(worked) = worked(row) else {
            found.of(RULE, row.id, format!("its result cannot be read: {:?}", row.result));
            continue;
        };
        if worked.mixed != mix(order.n) {
            found.of(RULE, row.id, format!("{} became {}, not {}", order.n, worked.mixed, mix(order.n)));
        }
        let build = row.plugin.map(|plugin| builds.entry(plugin).or_insert_with(|| worked.build.clone()));
        if build.is_some_and(|build| *build != worked.build) {
            found.of(RULE, row.id, format!("{} ran, and another build is on record", worked.build));
        }
    }
}

/// The result of a fenced attempt is nobody's result: number and process are those of the claim that settled.
pub(super) fn results_come_from_the_claim_that_settled(facts: &Facts, found: &mut Found) {
    const RULE: &str = "no attempt is settled by a claim that was fenced";
    for row in facts.finals.values().filter(|row| row.status == COMPLETED) {
        let (Some(worked), Some(session)) = (worked(row), row.session) else { continue };
        if i64::from(worked.attempt) != i64::from(row.attempt) {
            found.of(
                RULE,
                row.id,
                format!("attempt {} returned what attempt {} ended with", worked.attempt, row.attempt),
            );
        } else if !facts.hosts_of_session(session).contains(&worked.host) {
            let hosts = facts.hosts_of_session(session);
            found.of(RULE, row.id, format!("host {} returned what {hosts:?} settled", worked.host));
        }
    }
}

/// How a task may end follows from what it was sent to do and from what its record says happened to it.
pub(super) fn tasks_end_as_they_can(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a task ends as it can";
    for row in facts.finals.values() {
        let Some(order) = facts.orders.get(&row.id) else { continue };
        if row.task != order.body.task() {
            found.of(RULE, row.id, format!("it was sent as {} and is {}", order.body.task(), row.task));
        }
        if let Err(why) = can_end(order, row) {
            let code = row.error_code.as_deref().unwrap_or("no error");
            found.of(RULE, row.id, format!("{why}: status {}, {code}", row.status));
        }
    }
}

fn can_end(order: &Order, row: &Final) -> Result<(), &'static str> {
    let code = row.error_code.as_deref();
    // What was sent without retries has none, whatever its plugin says.
    let retries = if order.redeliveries == Some(0) { 0 } else { order.body.retries() };
    match row.status {
        COMPLETED if order.body == Body::Spin => Err("what never returns was completed"),
        COMPLETED if order.failures > retries => Err("what always fails was completed"),
        COMPLETED if u32::try_from(row.retries).unwrap_or(0) < order.failures => Err("a failure was skipped"),
        COMPLETED => Ok(()),
        CANCELLED if order.cancel_after_ms.is_none() => Err("nobody cancelled it"),
        CANCELLED => Ok(()),
        EXPIRED if order.good_until_us.is_none() => Err("it has no good_until"),
        EXPIRED => Ok(()),
        FAILED if code == Some("WORKER_CRASHED") => match row.outcome {
            Some(WORKER_FAILURE) if row.redeliveries < row.redeliveries_max => Err("it had lives left"),
            Some(WORKER_FAILURE) => Ok(()),
            // Interrupted, and not to be started again.
            Some(_) if row.redeliveries_max == 0 => Ok(()),
            _ => Err("it was not lost"),
        },
        FAILED if order.body == Body::Spin => match code {
            Some("TASK_TIMEOUT" | "CPU_EXCEEDED") => Ok(()),
            _ => Err("it can only run out of time"),
        },
        FAILED if code == Some("NOT_YET") && order.failures > u32::try_from(row.retries).unwrap_or(0) => {
            // Past its good_until it is not retried.
            let given_up = u32::try_from(row.retries).unwrap_or(0) < retries && order.good_until_us.is_none();
            if given_up { Err("it had retries left") } else { Ok(()) }
        }
        _ => Err("it cannot end so"),
    }
}

/// What a waiter or a canceller was told is what is on record.
pub(super) fn answers_stay_true(facts: &Facts, found: &mut Found) {
    const RULE: &str = "an answer stays true";
    for entry in &facts.entries {
        let (id, told) = match &entry.event {
            Event::Got { id, result } => (id, result),
            Event::GotError { id, code } => (id, code),
            // Marked, and whatever came first won.
            Event::Cancelled { answer, .. } if answer == "RUNNING" => continue,
            Event::Cancelled { id, answer } => (id, answer),
            _ => continue,
        };
        let Some(row) = facts.finals.get(id) else {
            found.of(RULE, *id, format!("told {told}, and nothing is on record"));
            continue;
        };
        let right = match &entry.event {
            Event::Got { result, .. } => row.result.as_deref().is_some_and(|json| same_json(json, result)),
            Event::GotError { code, .. } => code_of(row) == Some(code.as_str()),
            _ => word(row.status) == told,
        };
        if !right {
            found.of(RULE, *id, format!("told {told}, on record {} {:?}", word(row.status), row.error_code));
        }
    }
}

/// A host that works ends when it is told to or killed, and it can end.
pub(super) fn hosts_live_until_they_are_ended(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a host lives until it is ended";
    for entry in &facts.entries {
        if let Event::HostEnded { host, how: how @ (End::GaveUp | End::DrainFailed), .. } = &entry.event {
            found.anywhere(RULE, format!("host {host}: {how:?}; see its log"));
        }
    }
}

fn worked(row: &Final) -> Option<Worked> {
    serde_json::from_str(row.result.as_deref()?).ok()
}

fn same_json(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    read(one).is_some() && read(one) == read(other)
}

fn word(status: i16) -> &'static str {
    match status {
        COMPLETED => "COMPLETED",
        FAILED => "FAILED",
        CANCELLED => "CANCELLED",
        EXPIRED => "EXPIRED",
        _ => "not final",
    }
}

/// The code that a waiter is told.
fn code_of(row: &Final) -> Option<&str> {
    match row.status {
        CANCELLED => Some("TASK_CANCELLED"),
        EXPIRED => Some("TASK_EXPIRED"),
        FAILED => row.error_code.as_deref(),
        _ => None,
    }
}
