//! How long guests really ran, as they wrote it down themselves.
//!
//! A host that stands still cannot know what happens meanwhile, and neither can its guests: when it wakes they do what
//! they were about to do, until it has looked at its clock. Nothing else is an excuse: a host's lease ends before
//! another host may take its tasks back, and with it everything it runs. A crash of the database may take a claim back
//! whose guest runs.

use super::facts::Run;
use super::{Facts, Found};

/// A guest starts and returns before its attempt is closed: by its own host, or by those that took it for lost.
pub(super) fn guests_run_while_their_attempt_is_open(facts: &Facts, found: &mut Found) {
    const RULE: &str = "a guest runs while its attempt is open";
    for (task, runs) in &facts.runs {
        for run in runs {
            for closed_us in facts.closed_us(*task, run.number) {
                let mut acts = [("started", Some(run.started_us)), ("returned", run.ended_us)].into_iter();
                let late =
                    acts.find_map(|(act, at_us)| Some((act, at_us.filter(|at_us| *at_us > closed_us)?)));
                let Some((act, at_us)) = late else { continue };
                if !facts.stood_still(run, closed_us, at_us) && !facts.may_be_forgotten(run) {
                    let Run { number, host, .. } = run;
                    let late_us = at_us - closed_us;
                    found.of(RULE, *task, format!("attempt {number} {act} on {host} {late_us} us too late"));
                }
            }
        }
    }
}

/// No guest of a task runs while another one of the same task does.
pub(super) fn no_two_guests_run_at_once(facts: &Facts, found: &mut Found) {
    const RULE: &str = "no two guests of a task run at the same time";
    for (task, runs) in &facts.runs {
        for (n, first) in runs.iter().enumerate() {
            for second in &runs[n + 1..] {
                // One that was interrupted does not say when.
                if first.ended_us.is_none_or(|ended_us| ended_us <= second.started_us) {
                    continue;
                }
                // Of two attempts the older one has no business any more, even if it started later.
                let (older, younger) =
                    if first.number <= second.number { (first, second) } else { (second, first) };
                let last_us = older.ended_us.unwrap_or(older.started_us);
                if !facts.stood_still(older, younger.started_us, last_us) && !facts.may_be_forgotten(older) {
                    let (one, other) = ((older.number, &older.host), (younger.number, &younger.host));
                    found.of(
                        RULE,
                        *task,
                        format!("attempt {} on {} ran beside {} on {}", one.0, one.1, other.0, other.1),
                    );
                }
            }
        }
    }
}
