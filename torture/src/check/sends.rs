//! What was promised to senders.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Facts, Found};
use crate::log::Event;

/// An acknowledged send is in the database once, and it is final.
pub(super) fn acknowledged_sends_exist_once_and_are_final(facts: &Facts, found: &mut Found) {
    const RULE: &str = "an acknowledged send is there exactly once, and final";
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for id in facts.rows.finals.iter().map(|row| row.id).chain(facts.rows.lives.iter().map(|row| row.id)) {
        *places.entry(id).or_default() += 1;
    }
    for (id, task) in &facts.acks {
        match places.get(task) {
            None => found.of(RULE, *task, format!("it was sent as {id} and is gone")),
            Some(1) if facts.finals.contains_key(task) => {}
            Some(1) => found.of(RULE, *task, "it is not final, and nothing is under way any more"),
            Some(n) => found.of(RULE, *task, format!("it is in {n} places")),
        }
    }
}

/// What is in the database was sent by somebody.
pub(super) fn nothing_exists_that_nobody_sent(facts: &Facts, found: &mut Found) {
    const RULE: &str = "nothing is there that nobody sent";
    let there = facts.rows.finals.iter().map(|row| row.id).chain(facts.rows.lives.iter().map(|row| row.id));
    for id in there.chain(facts.runs.keys().copied()) {
        if !facts.orders.contains_key(&id) {
            found.of(RULE, id, "it is in the database or was started");
        }
    }
}

/// Of a transaction there is everything or nothing; of one that was rolled back, nothing.
pub(super) fn transactions_are_whole(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a transaction sends all or nothing";
    let lives: HashSet<Uuid> = facts.rows.lives.iter().map(|row| row.id).collect();
    let is_there =
        |id: &Uuid| facts.finals.contains_key(id) || lives.contains(id) || facts.runs.contains_key(id);
    let mut together: HashMap<u64, Vec<Uuid>> = HashMap::new();
    for order in facts.orders.values() {
        if let Some(tx) = order.way.tx() {
            together.entry(tx).or_default().push(order.id);
        }
    }
    for (tx, ids) in together {
        let there = ids.iter().filter(|id| is_there(id)).count();
        if facts.rolled_back.contains(&tx) && there > 0 {
            found.of(
                RULE,
                ids[0],
                format!("transaction {tx} was rolled back, and {there} of its tasks are there"),
            );
        } else if facts.committed.contains(&tx) && there < ids.len() {
            let all = ids.len();
            found.of(
                RULE,
                ids[0],
                format!("transaction {tx} committed, and {there} of its {all} tasks are there"),
            );
        } else if there != 0 && there != ids.len() {
            let all = ids.len();
            found.of(RULE, ids[0], format!("transaction {tx} is there in part: {there} of {all} tasks"));
        }
    }
}

/// Whatever was sent under one key is one task.
pub(super) fn a_key_is_one_task(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a key is one task";
    let mut tasks: HashMap<&str, HashSet<Uuid>> = HashMap::new();
    for (id, task) in &facts.acks {
        if let Some(key) = facts.orders.get(id).and_then(|order| order.key.as_deref()) {
            tasks.entry(key).or_default().insert(*task);
        }
    }
    for (key, tasks) in &tasks {
        if let (Some(task), 2..) = (tasks.iter().next(), tasks.len()) {
            found.of(RULE, *task, format!("the key {key:?} was acknowledged as {} tasks", tasks.len()));
        }
    }
    let mut rows: HashMap<&str, Vec<Uuid>> = HashMap::new();
    for order in facts.orders.values().filter(|order| facts.finals.contains_key(&order.id)) {
        if let Some(key) = &order.key {
            rows.entry(key).or_default().push(order.id);
        }
    }
    for (key, ids) in rows.into_iter().filter(|(_, ids)| ids.len() > 1) {
        found.of(RULE, ids[0], format!("the key {key:?} has {} tasks in the database", ids.len()));
    }
}

/// The senders do nothing wrong, and every call ends.
pub(super) fn no_right_send_is_refused_and_no_call_hangs(facts: &Facts, found: &mut Found) {
    for entry in &facts.entries {
        match &entry.event {
            Event::Refused { id, code, message } => {
                found.of("a send that is right is not refused", *id, format!("{code}: {message}"));
            }
            Event::Hung { id, call } => {
                found.of("every call ends", *id, format!("{call} was given up after a minute"));
            }
            _ => {}
        }
    }
}
