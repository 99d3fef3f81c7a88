//! The protocol between claim, lease, settle and recovery as a small state machine, explored to its end: every order
//! of two hosts' steps, late commits, lost answers, stops, crashes and a crash of the database. As it is, no order
//! breaks a promise; and without any one of its rules, one is found that does. A second one, of sends that are repeated
//! and arrive late.

#[path = "model/explore.rs"]
mod explore;
#[path = "model/protocol.rs"]
mod protocol;
#[path = "model/sends.rs"]
mod sends;

use explore::{Explored, explore};
use protocol::{Rules, State};
use sends::Look;

fn run(rules: Rules) -> Explored {
    explore(State::begin(), |state| state.next(&rules), |state| state.broken(&rules))
}

/// The promise that is broken, and the steps that lead there.
fn broken(rules: Rules) -> &'static str {
    let found = run(rules).broken.expect("without this rule a promise breaks");
    println!("{}, after {} states:\n  {}", found.promise, found.states, found.steps.join("\n  "));
    found.promise
}

#[test]
fn as_it_is_no_order_of_steps_breaks_a_promise() {
    for (redeliveries_max, starts, claims) in [(0, 1, 2), (1, 1, 1)] {
        let explored = run(Rules { redeliveries_max, starts, claims, ..Rules::ALL });
        if let Some(found) = explored.broken {
            panic!("{}:\n  {}", found.promise, found.steps.join("\n  "));
        }
        println!(
            "redeliveries = {redeliveries_max}, {starts} starts, {claims} claims: {} states",
            explored.states
        );
        assert!(explored.states > 1_000, "{} states: that is no exploration", explored.states);
    }
}

#[test]
fn without_the_fence_a_lost_host_settles_for_another_one() {
    assert_eq!(broken(Rules { fence: protocol::Fence::None, ..Rules::ALL }), "who holds the claim settles");
}

#[test]
fn the_attempts_number_is_no_fence() {
    let rules = Rules { fence: protocol::Fence::Attempt, ..Rules::ALL };
    assert_eq!(broken(rules), "who holds the claim settles");
}

#[test]
fn recovery_once_for_each_death_leaves_what_was_locked() {
    let rules = Rules { recover_again: false, ..Rules::ALL };
    assert_eq!(broken(rules), "no task stays RUNNING for ever");
}

#[test]
fn without_a_lock_on_the_hosts_row_the_dead_write() {
    assert_eq!(broken(Rules { lock_host: false, ..Rules::ALL }), "the dead write nothing");
}

#[test]
fn a_claim_without_an_answer_that_is_not_fenced_off_may_commit_later() {
    let rules = Rules { fence_lost_claims: false, ..Rules::ALL };
    assert_eq!(broken(rules), "no task stays RUNNING for ever");
}

#[test]
fn a_claim_that_was_lost_in_a_crash_starts_twice_what_must_not() {
    let rules = Rules { durable_claims: false, redeliveries_max: 0, ..Rules::ALL };
    assert_eq!(broken(rules), "with redeliveries = 0 nothing starts twice");
}

fn run_sends(look: Look) -> Explored {
    explore(sends::State::begin(), |state| state.next(look), sends::State::broken)
}

fn broken_by(look: Look) -> &'static str {
    let found = run_sends(look).broken.expect("without this rule a promise breaks");
    println!("{}, after {} states:\n  {}", found.promise, found.states, found.steps.join("\n  "));
    found.promise
}

#[test]
fn a_send_that_looks_into_history_after_its_insert_may_come_as_late_and_as_often_as_it_likes() {
    let explored = run_sends(Look::After);
    if let Some(found) = explored.broken {
        panic!("{}:\n  {}", found.promise, found.steps.join("\n  "));
    }
    println!("sends: {} states", explored.states);
    assert!(explored.states > 100, "{} states: that is no exploration", explored.states);
}

#[test]
fn a_late_send_that_does_not_look_into_history_sends_the_task_again() {
    assert_eq!(broken_by(Look::Never), "one id is in one place");
}

#[test]
fn a_send_that_looks_before_its_insert_misses_what_ends_in_between() {
    assert_eq!(broken_by(Look::Before), "one id is in one place");
}
