//! Each rule is shown a run in which nothing is wrong, and the same run with one thing wrong.

use torture::{Line, Worked, mix};
use uuid::Uuid;

use super::rows::{Closed, Final, Live, Rows, Session};
use super::{Facts, check};
use crate::log::{End, Entry, Event};
use crate::order::{Body, Order, Way};

/// A run: host `0-1` was killed with attempt 1 of a task, host `1-1` completed attempt 2.
#[derive(Clone)]
struct Run {
    entries: Vec<Entry>,
    lines: Vec<Line>,
    rows: Rows,
}

const TASK: Uuid = Uuid::from_u128(1);

fn order(id: Uuid) -> Order {
    Order {
        id,
        body: Body::Work,
        n: 7,
        ms: 5,
        failures: 0,
        ballast: 0,
        way: Way::Client,
        key: None,
        delay_ms: None,
        good_until_us: None,
        redeliveries: None,
        cancel_after_ms: None,
        named: true,
        wait: true,
    }
}

fn start(attempt: u32, at_us: u64, host: &str) -> Line {
    Line { task: TASK.to_string(), attempt, at_us, host: host.to_owned(), ends: false }
}

fn end(attempt: u32, at_us: u64, host: &str) -> Line {
    Line { ends: true, ..start(attempt, at_us, host) }
}

fn result(attempt: u32, host: &str) -> String {
    let worked = Worked { mixed: mix(7), attempt, host: host.to_owned(), build: "a".to_owned() };
    serde_json::to_string(&worked).expect("JSON")
}

impl Run {
    fn good() -> Self {
        let at = |at_us, event| Entry { at_us, event };
        let started = |host: &str, pid| Event::HostStarted { host: host.to_owned(), pid };
        let entries = vec![
            at(1, started("0-1", 10)),
            at(2, started("1-1", 11)),
            at(100, Event::Intent { order: order(TASK) }),
            at(200, Event::Ack { id: TASK, task: TASK }),
            at(400, Event::HostEnded { host: "0-1".to_owned(), pid: 10, how: End::Killed }),
            at(5_000, Event::Got { id: TASK, result: result(2, "1-1") }),
        ];
        let finished = Final {
            id: TASK,
            task: "torture.work".to_owned(),
            status: 3,
            outcome: Some(1),
            session: Some(21),
            attempt: 2,
            plugin: Some(1),
            retries: 0,
            redeliveries: 1,
            releases: 0,
            redeliveries_max: 3,
            claimed_us: Some(1_100),
            finished_us: 1_300,
            error_code: None,
            result: Some(result(2, "1-1")),
        };
        let lost =
            Closed { task: TASK, number: 1, session: 20, claimed_us: 300, finished_us: 1_000, outcome: 5 };
        let session = |session, pid, alive| Session { session, pid, running: 0, alive };
        let rows = Rows {
            finals: vec![finished],
            closed: vec![lost],
            sessions: vec![session(20, 10, false), session(21, 11, true)],
            ..Rows::default()
        };
        let lines = vec![start(1, 320, "0-1"), start(2, 1_120, "1-1"), end(2, 1_200, "1-1")];
        Self { entries, lines, rows }
    }

    /// Changes the order, as it was written down.
    fn order(&mut self, change: impl Fn(&mut Order)) {
        for entry in &mut self.entries {
            if let Event::Intent { order } = &mut entry.event {
                change(order);
            }
        }
    }

    fn event(&mut self, at_us: i64, event: Event) {
        self.entries.push(Entry { at_us, event });
    }

    fn stop(&mut self, place: usize, from_us: i64, to_us: i64) {
        self.event(from_us, Event::Fault { fault: "stop".to_owned(), host: Some(place), ms: 0 });
        self.event(to_us, Event::Continued { place });
    }

    fn task(&mut self) -> &mut Final {
        &mut self.rows.finals[0]
    }

    fn rules_broken(self) -> Vec<&'static str> {
        let facts = Facts::of(self.entries, self.lines, self.rows).expect("readable");
        let mut rules: Vec<&str> = check(&facts).into_iter().map(|violation| violation.rule).collect();
        rules.dedup();
        rules
    }
}

/// The rules that the good run breaks once this is changed.
fn after(change: impl FnOnce(&mut Run)) -> Vec<&'static str> {
    let mut run = Run::good();
    change(&mut run);
    run.rules_broken()
}

#[test]
fn a_good_run_breaks_no_rule() {
    assert_eq!(Run::good().rules_broken(), [""; 0]);
}

#[test]
fn an_acknowledged_task_has_to_be_there_once_and_final() {
    let rule = "an acknowledged send is there exactly once, and final";
    assert!(after(|run| run.rows.finals.clear()).contains(&rule));
    let live = Live { id: TASK, session: None, attempt: 2 };
    assert!(after(|run| run.rows.lives.push(live.clone())).contains(&rule));
    let unfinished = after(|run| {
        run.rows.finals.clear();
        run.rows.lives.push(live.clone());
    });
    assert!(unfinished.contains(&rule));
    assert!(unfinished.contains(&"at rest nothing runs, in the tables or in the hosts"));
}

#[test]
fn what_was_rolled_back_or_never_sent_must_not_be_there() {
    let rolled_back = after(|run| {
        run.order(|order| order.way = Way::In(1));
        run.event(150, Event::RolledBack { tx: 1 });
    });
    assert_eq!(rolled_back, ["a transaction sends all or nothing"]);
    let half = after(|run| {
        run.order(|order| order.way = Way::In(1));
        let other = Order { way: Way::In(1), ..order(Uuid::from_u128(2)) };
        run.event(101, Event::Intent { order: other });
    });
    assert_eq!(half, ["a transaction sends all or nothing"]);
    let unknown = after(|run| {
        let stranger = Final { id: Uuid::from_u128(3), ..run.task().clone() };
        run.rows.closed.push(Closed { task: stranger.id, ..run.rows.closed[0].clone() });
        run.rows.finals.push(stranger);
    });
    assert_eq!(unknown, ["nothing is there that nobody sent"]);
}

#[test]
fn a_key_has_one_task() {
    let two = after(|run| {
        run.order(|order| order.key = Some("k".to_owned()));
        let (id, key) = (Uuid::from_u128(2), Some("k".to_owned()));
        run.event(110, Event::Intent { order: Order { key, ..order(id) } });
        run.event(210, Event::Ack { id, task: id });
    });
    assert!(two.contains(&"a key is one task"));
}

#[test]
fn every_attempt_is_settled_once() {
    let rule = "attempts are numbered from 1 without a gap, and each is settled once";
    let twice = after(|run| {
        let again = Closed { number: 2, outcome: 1, claimed_us: 1_100, ..run.rows.closed[0].clone() };
        run.rows.closed.push(again);
    });
    assert!(twice.contains(&rule));
    assert!(after(|run| run.rows.closed.clear()).contains(&rule));
    let count = "retries, redeliveries and releases are what the record says";
    assert_eq!(after(|run| run.task().redeliveries = 0), [count]);
    let overlap = "an attempt begins after the one before has ended";
    assert_eq!(after(|run| run.task().claimed_us = Some(900)), [overlap]);
    assert!(
        after(|run| run.rows.sessions[1].running = 1)
            .contains(&"at rest nothing runs, in the tables or in the hosts")
    );
}

#[test]
fn an_attempt_is_not_open_for_ever() {
    let rule = "an attempt is closed in time";
    let open = |run: &mut Run| {
        run.rows.closed[0].finished_us = 50_000_000;
        run.task().claimed_us = Some(50_000_001);
        run.task().finished_us = 50_000_009;
        run.lines[1] = start(2, 50_000_002, "1-1");
        run.lines[2] = end(2, 50_000_003, "1-1");
    };
    assert_eq!(after(open), [rule]);
    let away = after(|run| {
        open(run);
        run.event(20_000_000, Event::Fault { fault: "restart".to_owned(), host: None, ms: 0 });
        run.event(26_000_000, Event::Serving);
    });
    assert_eq!(away, [""; 0], "nobody could close it while the database was away");
}

#[test]
fn what_was_sent_without_an_id_goes_by_the_one_that_was_told() {
    let named = after(|run| {
        run.order(|order| (order.id, order.named) = (Uuid::from_u128(9), false));
        run.event(190, Event::Named { order: Uuid::from_u128(9), id: TASK });
    });
    assert_eq!(named, [""; 0]);
    let never_told = after(|run| run.order(|order| order.id = Uuid::from_u128(9)));
    assert!(never_told.contains(&"nothing is there that nobody sent"));
}

#[test]
fn guests_start_as_the_record_says() {
    assert_eq!(after(|run| run.lines.push(start(3, 1_200, "1-1"))), ["every start is an attempt on record"]);
    let once = "a number starts once, unless the database crashed in between";
    assert_eq!(after(|run| run.lines.push(start(2, 1_200, "0-1"))), [once]);
    let crashed = after(|run| {
        run.event(1_150, Event::Fault { fault: "crash".to_owned(), host: None, ms: 0 });
        run.event(1_160, Event::Serving);
        run.lines.push(start(2, 1_200, "0-1"));
    });
    assert_eq!(crashed, [""; 0]);
    let never_twice = after(|run| run.order(|order| order.redeliveries = Some(0)));
    assert_eq!(never_twice, ["with redeliveries = 0 there is one start at most"]);
}

#[test]
fn nothing_starts_too_late_too_early_or_after_a_cancel() {
    let late = |run: &mut Run| {
        run.order(|order| order.good_until_us = Some(100_000));
        run.lines.drain(1..);
        run.lines.extend([start(2, 500_000, "1-1"), end(2, 500_100, "1-1")]);
        run.task().finished_us = 500_200;
    };
    assert_eq!(after(late), ["nothing starts at or after its good_until"]);
    let stopped = after(|run| {
        late(run);
        run.stop(1, 90_000, 290_000);
    });
    assert_eq!(stopped, [""; 0]);
    let stopped_before = after(|run| {
        late(run);
        run.stop(1, 20_000, 90_000);
    });
    assert_eq!(stopped_before, ["nothing starts at or after its good_until"], "it could have looked");
    let expired = |finished_us| {
        after(|run| {
            run.order(|order| order.good_until_us = Some(500_000));
            run.entries.pop();
            run.lines.drain(1..);
            let task = run.task();
            (task.status, task.outcome, task.result, task.finished_us) = (6, Some(4), None, finished_us);
        })
    };
    assert_eq!(expired(500_000), [""; 0]);
    assert_eq!(expired(499_999), ["nothing starts at or after its good_until"]);
    let early = after(|run| run.order(|order| order.delay_ms = Some(1)));
    assert_eq!(early, ["a delayed task waits for its time"]);
    let cancelled = after(|run| {
        run.order(|order| order.cancel_after_ms = Some(0));
        run.event(500, Event::Cancelled { id: TASK, answer: "RUNNING".to_owned() });
    });
    assert_eq!(cancelled, ["a cancelled task begins no further attempt"]);
}

const OPEN: &str = "a guest runs while its attempt is open";
const ALONE: &str = "no two guests of a task run at the same time";

#[test]
fn no_guest_starts_once_its_attempt_is_closed() {
    // Attempt 1 was closed at 1,000 as lost with its host, attempt 2 at 1,300 by its own.
    assert_eq!(after(|run| run.lines[0] = start(1, 1_001, "0-1")), [OPEN]);
    let settled = after(|run| {
        run.lines[1] = start(2, 1_301, "1-1");
        run.lines[2] = end(2, 1_302, "1-1");
    });
    assert_eq!(settled, [OPEN]);
    let released = after(|run| {
        run.rows.closed[0].outcome = 4;
        (run.task().redeliveries, run.task().releases) = (0, 1);
        run.lines[0] = start(1, 1_001, "0-1");
    });
    assert_eq!(released, [OPEN]);
    let woken = |place, woken_us| {
        after(|run| {
            run.lines[0] = start(1, 400_000, "0-1");
            run.stop(place, 310, woken_us);
        })
    };
    assert_eq!(woken(0, 390_000), [""; 0], "it had looked at its clock before it stood still");
    assert_eq!(woken(0, 90_000), [OPEN], "it woke long before");
    assert_eq!(woken(1, 390_000), [OPEN], "another one stood still");
}

#[test]
fn no_guest_returns_once_its_attempt_is_closed() {
    let late = |run: &mut Run| {
        // The next one starts later still.
        run.lines.push(end(1, 1_050, "0-1"));
    };
    assert_eq!(after(late), [OPEN]);
    let in_time = after(|run| run.lines.push(end(1, 990, "0-1")));
    assert_eq!(in_time, [""; 0]);
    let stopped = after(|run| {
        late(run);
        run.stop(0, 330, 1_040);
    });
    assert_eq!(stopped, [""; 0]);
}

#[test]
fn no_two_guests_of_a_task_run_at_once() {
    // Closed late enough for both, by a database that takes no notice.
    let beside = |run: &mut Run| {
        run.lines.push(end(1, 1_150, "0-1"));
        run.rows.closed[0].finished_us = 1_160;
        run.task().claimed_us = Some(1_160);
    };
    assert_eq!(after(beside), [ALONE]);
    let stopped = after(|run| {
        beside(run);
        run.stop(0, 330, 1_140);
    });
    assert_eq!(stopped, [""; 0], "its host stood still when the other one started");
    let other_stopped = after(|run| {
        beside(run);
        run.stop(1, 330, 1_140);
    });
    assert_eq!(other_stopped, [ALONE], "the host of the attempt in charge is no excuse");
    let crashed = after(|run| {
        beside(run);
        run.event(350, Event::Fault { fault: "crash".to_owned(), host: None, ms: 0 });
        run.event(360, Event::Serving);
    });
    assert_eq!(crashed, [""; 0], "the first claim may be forgotten");
    let one_after_the_other = after(|run| {
        beside(run);
        run.lines[1] = start(2, 1_150, "1-1");
    });
    assert_eq!(one_after_the_other, [""; 0]);
}

#[test]
fn a_guest_that_never_began_does_not_end() {
    let mut run = Run::good();
    run.lines.push(end(2, 1_250, "0-1"));
    assert!(Facts::of(run.entries, run.lines, run.rows).is_err());
}

#[test]
fn results_are_the_bodys_and_the_claims() {
    let told_otherwise = "an answer stays true";
    let wrong = after(|run| run.order(|order| order.n = 8));
    assert_eq!(wrong, ["a result is what the body returned"]);
    let fenced = "no attempt is settled by a claim that was fenced";
    assert_eq!(after(|run| run.task().result = Some(result(1, "0-1"))), [fenced, told_otherwise]);
    assert_eq!(after(|run| run.task().result = Some(result(2, "0-1"))), [fenced, told_otherwise]);
}

#[test]
fn tasks_end_as_they_can_and_answers_stay_true() {
    let rule = "a task ends as it can";
    assert_eq!(after(|run| run.order(|order| order.body = Body::Spin)), [rule]);
    let cancelled = after(|run| {
        run.task().status = 5;
        run.task().result = None;
    });
    assert_eq!(cancelled, [rule, "an answer stays true"]);
    let crashed = after(|run| {
        run.entries.pop();
        let task = run.task();
        (task.status, task.outcome, task.result) = (4, Some(5), None);
        task.error_code = Some("WORKER_CRASHED".to_owned());
    });
    assert_eq!(crashed, [rule], "it had two lives left");
}

#[test]
fn hosts_and_calls_end() {
    let how = End::GaveUp;
    let gave_up = after(|run| run.event(900, Event::HostEnded { host: "1-1".to_owned(), pid: 11, how }));
    assert_eq!(gave_up, ["a host lives until it is ended"]);
    let hung = after(|run| run.event(900, Event::Hung { id: TASK, call: "send".to_owned() }));
    assert_eq!(hung, ["every call ends"]);
    let refused = Event::Refused { id: TASK, code: "UNKNOWN_TASK".to_owned(), message: String::new() };
    assert_eq!(after(|run| run.event(900, refused)), ["a send that is right is not refused"]);
}

#[test]
fn a_cancel_reaches_the_guest() {
    let rule = "a guest is interrupted when its task is cancelled";
    // Attempt 2 began at 1,120.
    let heeded_after = |us: i64| {
        move |run: &mut Run| {
            run.order(|order| order.cancel_after_ms = Some(0));
            run.event(1_150, Event::Cancelled { id: TASK, answer: "RUNNING".to_owned() });
            run.lines[2] = end(2, u64::try_from(1_150 + us).expect("later"), "1-1");
            run.task().finished_us = 1_200 + us;
        }
    };
    assert_eq!(after(heeded_after(5_200_000)), [""; 0]);
    assert_eq!(after(heeded_after(5_200_001)), [rule]);
    let cut = |place| {
        after(|run| {
            heeded_after(6_000_000)(run);
            run.event(2_000, Event::Fault { fault: "cut".to_owned(), host: Some(place), ms: 10 });
        })
    };
    assert_eq!(cut(1), [""; 0], "its host may have heard of it too late");
    assert_eq!(cut(0), [rule], "another one was cut off");
}

#[test]
fn a_killed_hosts_tasks_are_taken_back_in_time() {
    let rule = "the tasks of a killed host are taken back within its lease and 2 s";
    // Host 0-1 died at 400.
    let taken_back_after = |us: i64| {
        move |run: &mut Run| {
            run.entries.insert(0, Entry { at_us: 0, event: Event::Began { lease_ms: 1_000 } });
            run.event(3, Event::HostReady { host: "1-1".to_owned() });
            run.entries.sort_by_key(|entry| entry.at_us);
            run.rows.closed[0].finished_us = 400 + us;
            run.task().claimed_us = Some(410 + us);
            run.task().finished_us = 500 + us;
            let us = u64::try_from(us).expect("later");
            run.lines[1] = start(2, 420 + us, "1-1");
            run.lines[2] = end(2, 430 + us, "1-1");
        }
    };
    assert_eq!(after(taken_back_after(3_000_000)), [""; 0]);
    assert_eq!(after(taken_back_after(3_000_001)), [rule]);
    let disturbed = after(|run| {
        taken_back_after(4_000_000)(run);
        run.event(2_000, Event::Fault { fault: "terminate".to_owned(), host: None, ms: 0 });
    });
    assert_eq!(disturbed, [""; 0]);
    let nobody_there = after(|run| {
        taken_back_after(4_000_000)(run);
        run.event(2_000, Event::HostEnded { host: "1-1".to_owned(), pid: 11, how: End::Drained });
    });
    assert_eq!(nobody_there, [""; 0], "its judge was gone");
}

#[test]
fn a_drain_waits_for_no_lease() {
    let rule = "a host that drains gives back what it has";
    // As in the good run attempt 1 ends as lost, at 1,000, but its host was told to drain.
    let drained = |run: &mut Run| {
        run.event(2, Event::HostReady { host: "0-1".to_owned() });
        run.event(350, Event::Fault { fault: "drain".to_owned(), host: Some(0), ms: 0 });
        let (host, how) = ("0-1".to_owned(), End::Drained);
        run.entries[4] = Entry { at_us: 400, event: Event::HostEnded { host, pid: 10, how } };
        run.entries.sort_by_key(|entry| entry.at_us);
    };
    assert_eq!(after(drained), [rule]);
    let given_back = after(|run| {
        drained(run);
        run.rows.closed[0].outcome = 4;
        (run.task().redeliveries, run.task().releases) = (0, 1);
    });
    assert_eq!(given_back, [""; 0]);
    let stopped = after(|run| {
        drained(run);
        run.stop(0, 340, 345);
        run.entries.sort_by_key(|entry| entry.at_us);
    });
    assert_eq!(stopped, [""; 0], "it stood still, and may have been taken for lost");
}
