//! How long things took. On a machine where nothing is disturbed they take no longer than is promised; what a fault
//! falls into proves nothing.

use super::attempts::WORKER_FAILURE;
use super::facts::{Run, Span};
use super::{Facts, Found};
use crate::log::Event;

/// Until a host that lost no connection finds a cancel (600 ms), its grace for the guest (2 s), and as much again for
/// a machine that is busy.
const CANCEL_MAX_US: i64 = 5_200_000;

/// A task that was running when its cancel was answered is interrupted.
pub(super) fn cancels_reach_guests(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a guest is interrupted when its task is cancelled";
    for entry in &facts.entries {
        let Event::Cancelled { id, answer } = &entry.event else { continue };
        if answer != "RUNNING" {
            continue;
        }
        for Run { number, host, started_us, ended_us } in facts.runs(*id) {
            let Some(ended_us) = *ended_us else { continue };
            let span = Span { from_us: entry.at_us, to_us: ended_us };
            let late_us = ended_us - entry.at_us - CANCEL_MAX_US;
            if *started_us < entry.at_us && late_us > 0 && !facts.host_disturbed(host, span) {
                found.of(RULE, *id, format!("attempt {number} returned on {host} {late_us} us too late"));
            }
        }
    }
}

/// Beyond its lease, until the tasks of a killed host are taken back.
const RECOVERED_US: i64 = 2_000_000;

/// The tasks of a host that was killed, while nothing else was broken, are taken back in time: 99 of 100.
pub(super) fn lost_hosts_are_recovered_in_time(facts: &Facts, found: &mut Found) {
    const RULE: &str = "the tasks of a killed host are taken back within its lease and 2 s";
    let Some(lease_us) = facts.lease_us else { return };
    let (_, undisturbed) = recoveries_us(facts);
    let took_us = percentile(&undisturbed, 99).unwrap_or(0);
    if took_us > lease_us + RECOVERED_US {
        let of = undisturbed.len();
        found.anywhere(RULE, format!("99 % of {of} attempts took {} ms or less", took_us / 1_000));
    }
}

/// What a host that drains cannot finish it gives back itself: nobody waits for its lease.
pub(super) fn drains_hand_over_at_once(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a host that drains gives back what it has";
    for (host, drain) in &facts.drains {
        if facts.died_us.contains_key(host) || facts.host_disturbed(host, *drain) {
            continue;
        }
        for (task, session, number, claimed_us, finished_us) in lost(facts) {
            let its = facts.hosts_of_session(session) == [host.as_str()];
            if its && claimed_us <= drain.to_us && finished_us >= drain.from_us {
                let waited_us = finished_us - drain.from_us;
                found.of(RULE, task, format!("attempt {number} on {host} was lost {waited_us} us after it"));
            }
        }
    }
}

/// From each kill to the close of the attempts it cost, in order: all of them, and those of which nothing else that
/// was broken can have held anybody up.
pub(crate) fn recoveries_us(facts: &Facts) -> (Vec<i64>, Vec<i64>) {
    let (mut all, mut undisturbed) = (Vec::new(), Vec::new());
    for (_, session, _, claimed_us, finished_us) in lost(facts) {
        let deaths = facts.hosts_of_session(session).iter().filter_map(|host| facts.died_us.get(host));
        // Sessions of a process that was stopped end by that, and it is killed later.
        let Some(died_us) = deaths.copied().find(|died_us| (claimed_us..=finished_us).contains(died_us))
        else {
            continue;
        };
        all.push(finished_us - died_us);
        let span = Span { from_us: died_us, to_us: finished_us };
        if !facts.disturbed(span) && facts.somebody_saw(span) {
            undisturbed.push(finished_us - died_us);
        }
    }
    all.sort_unstable();
    undisturbed.sort_unstable();
    (all, undisturbed)
}

/// Of what is in order.
pub(crate) fn percentile(us: &[i64], percent: usize) -> Option<i64> {
    us.get((us.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

/// Attempts that were lost with their hosts: task, session, number, and when they were claimed and closed.
fn lost(facts: &Facts) -> impl Iterator<Item = (uuid::Uuid, i64, i32, i64, i64)> {
    let closed = facts.rows.closed.iter().filter(|closed| closed.outcome == WORKER_FAILURE);
    let closed = closed.map(|c| (c.task, c.session, c.number, c.claimed_us, c.finished_us));
    let ended = facts.rows.finals.iter().filter(|row| row.outcome == Some(WORKER_FAILURE));
    closed.chain(
        ended.filter_map(|row| Some((row.id, row.session?, row.attempt, row.claimed_us?, row.finished_us))),
    )
}
