//! What is on record of each attempt.

use super::rows::Final;
use super::{Facts, Found};

/// Outcomes, as the schema numbers them.
pub(super) const FAILED: i16 = 2;
pub(super) const RELEASED: i16 = 4;
pub(super) const WORKER_FAILURE: i16 = 5;

/// Attempts are numbered 1, 2, 3 …, each closed once: by a row of its own or, the last one, by its task's end.
pub(super) fn numbers_have_no_gap_and_no_double(facts: &Facts, found: &mut Found) {
    const RULE: &str = "attempts are numbered from 1 without a gap, and each is settled once";
    for row in facts.finals.values() {
        let mut numbers: Vec<i32> = facts.closed(row.id).iter().map(|closed| closed.number).collect();
        numbers.extend(row.outcome.map(|_| row.attempt));
        numbers.sort_unstable();
        let expected: Vec<i32> = (1..=row.attempt).collect();
        if numbers != expected {
            found.of(
                RULE,
                row.id,
                format!("it made {} attempts, and on record are {numbers:?}", row.attempt),
            );
        }
    }
    let known = |task| facts.finals.contains_key(&task) || facts.rows.lives.iter().any(|row| row.id == task);
    for task in facts.closed.keys().filter(|task| !known(**task)) {
        found.of(RULE, *task, "attempts are on record of a task that is not there");
    }
}

/// Retries, lost hosts and releases are counted as they happened.
pub(super) fn counters_agree_with_the_record(facts: &Facts, found: &mut Found) {
    const RULE: &str = "retries, redeliveries and releases are what the record says";
    for row in facts.finals.values() {
        let count = |outcome| facts.closed(row.id).iter().filter(|closed| closed.outcome == outcome).count();
        let recorded = [FAILED, WORKER_FAILURE, RELEASED].map(count);
        let counted = [row.retries, row.redeliveries, row.releases].map(|n| usize::try_from(n).unwrap_or(0));
        // What met a host without room or lease was given back too, and that counts for nothing.
        if recorded[..2] != counted[..2] || recorded[2] < counted[2] {
            found.of(RULE, row.id, format!("counted {counted:?}, on record {recorded:?}"));
        }
    }
}

/// An attempt is claimed after the one before it was closed, and closed after it was claimed.
pub(super) fn no_two_are_open_at_once(facts: &Facts, found: &mut Found) {
    const RULE: &str = "an attempt begins after the one before has ended";
    for row in facts.finals.values() {
        let mut spans: Vec<(i32, i64, i64)> =
            facts.closed(row.id).iter().map(|c| (c.number, c.claimed_us, c.finished_us)).collect();
        spans.extend(last(row));
        spans.sort_unstable();
        let mut free_us = i64::MIN;
        for (number, claimed_us, finished_us) in spans {
            if claimed_us < free_us || finished_us < claimed_us {
                found.of(
                    RULE,
                    row.id,
                    format!("attempt {number} was claimed {} us too early", free_us - claimed_us),
                );
            }
            free_us = finished_us;
        }
    }
}

/// Bodies take a few seconds, hosts that stop a few more, and a lease is short here: what takes longer than all of
/// them together hung somewhere while its host lived on.
const ATTEMPT_MAX_US: i64 = 45_000_000;

/// An attempt is closed some time after it was claimed, whatever happens in between; while the database is away
/// nobody can.
pub(super) fn attempts_are_closed_in_time(facts: &Facts, found: &mut Found) {
    const RULE: &str = "an attempt is closed in time";
    for row in facts.finals.values() {
        let spans = facts.closed(row.id).iter().map(|c| (c.number, c.claimed_us, c.finished_us));
        for (number, claimed_us, finished_us) in spans.chain(last(row)) {
            let took_us = finished_us - claimed_us - facts.away_us(claimed_us, finished_us);
            if took_us > ATTEMPT_MAX_US {
                found.of(RULE, row.id, format!("attempt {number} was open for {} s", took_us / 1_000_000));
            }
        }
    }
}

/// The attempt that ended the task.
fn last(row: &Final) -> Option<(i32, i64, i64)> {
    row.outcome?;
    Some((row.attempt, row.claimed_us?, row.finished_us))
}

/// At rest the running rows are those that the hosts know of: none.
pub(super) fn nothing_runs_at_rest(facts: &Facts, found: &mut Found) {
    const RULE: &str = "at rest nothing runs, in the tables or in the hosts";
    for row in &facts.rows.lives {
        let running =
            row.session.map_or("PENDING".to_owned(), |session| format!("RUNNING in session {session}"));
        found.of(RULE, row.id, format!("{running}, attempt {}", row.attempt));
    }
    for host in facts.rows.sessions.iter().filter(|host| host.alive && host.running > 0) {
        found.anywhere(RULE, format!("session {} says that it runs {} attempts", host.session, host.running));
    }
}
