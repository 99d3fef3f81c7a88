//! The checker: proves from the logs and the database, and from nothing else, that nothing was lost.
//!
//! 1. [`facts`] gathers what senders were told, what guests left behind and what the database holds.
//! 2. Each rule is a function from facts to violations: [`sends`] (what was promised to senders), [`attempts`] (what
//!    is on record of each attempt), [`starts`] and [`runs`] (what guests really did), [`endings`] (how tasks ended),
//!    [`times`] (how long things took).
//!
//! A rule never asks whether something is likely. What it cannot tell from the evidence it does not call a violation;
//! docs/torture.md lists what that is.

mod attempts;
mod endings;
pub(crate) mod facts;
mod rows;
mod runs;
mod sends;
mod starts;
#[cfg(test)]
mod tests;
pub(crate) mod times;

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

pub(crate) use facts::Facts;
pub(crate) use rows::Rows;

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) task: Option<Uuid>,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule)?;
        if let Some(task) = self.task {
            write!(f, "task {task}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// What the rules have found so far.
#[derive(Debug, Default)]
pub(crate) struct Found(Vec<Violation>);

impl Found {
    fn of(&mut self, rule: &'static str, task: Uuid, what: impl Into<String>) {
        self.0.push(Violation { rule, task: Some(task), what: what.into() });
    }

    fn anywhere(&mut self, rule: &'static str, what: impl Into<String>) {
        self.0.push(Violation { rule, task: None, what: what.into() });
    }
}

/// Every violation there is evidence of.
pub(crate) fn check(facts: &Facts) -> Vec<Violation> {
    let mut found = Found::default();
    sends::acknowledged_sends_exist_once_and_are_final(facts, &mut found);
    sends::nothing_exists_that_nobody_sent(facts, &mut found);
    sends::transactions_are_whole(facts, &mut found);
    sends::a_key_is_one_task(facts, &mut found);
    sends::no_right_send_is_refused_and_no_call_hangs(facts, &mut found);
    attempts::numbers_have_no_gap_and_no_double(facts, &mut found);
    attempts::counters_agree_with_the_record(facts, &mut found);
    attempts::no_two_are_open_at_once(facts, &mut found);
    attempts::attempts_are_closed_in_time(facts, &mut found);
    attempts::nothing_runs_at_rest(facts, &mut found);
    starts::every_start_is_on_record(facts, &mut found);
    starts::a_number_starts_once(facts, &mut found);
    starts::what_never_starts_twice_did_not(facts, &mut found);
    starts::nothing_starts_late(facts, &mut found);
    starts::nothing_starts_early_or_after_its_cancel(facts, &mut found);
    runs::guests_run_while_their_attempt_is_open(facts, &mut found);
    runs::no_two_guests_run_at_once(facts, &mut found);
    endings::results_are_what_the_body_returned(facts, &mut found);
    endings::results_come_from_the_claim_that_settled(facts, &mut found);
    endings::tasks_end_as_they_can(facts, &mut found);
    endings::answers_stay_true(facts, &mut found);
    endings::hosts_live_until_they_are_ended(facts, &mut found);
    times::cancels_reach_guests(facts, &mut found);
    times::lost_hosts_are_recovered_in_time(facts, &mut found);
    times::drains_hand_over_at_once(facts, &mut found);
    found.0
}
