use chrono::TimeZone;

use super::*;
use crate::task::{Backoff, Used};

fn claim() -> Claim {
    Claim {
        id: uuid::Uuid::nil(),
        number: 1,
        task: "flaky.always".to_owned(),
        attempt: 1,
        retries: 0,
        redeliveries: 0,
        releases: 0,
        redeliveries_max: 3,
        max_retries: None,
        good_until: None,
        claimed_at: noon(),
        previous_error: None,
        args: Vec::new(),
    }
}

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 12, 0, 0).single().expect("a date")
}

fn once_after_10s() -> RetryPolicy {
    RetryPolicy {
        max_retries: 1,
        backoff: Backoff::Fixed(vec![Duration::from_secs(10)]),
        jitter: false,
        on: None,
    }
}

fn guest(code: &str, retry: GuestRetry) -> Outcome {
    Outcome::Failed(GuestFailure { code: code.to_owned(), message: "no".to_owned(), data: None, retry })
}

fn after(claim: &Claim, policy: &RetryPolicy, outcome: Outcome) -> Verdict {
    let report = Report {
        outcome,
        used: Used::default(),
        log_tail: String::new(),
        stderr_tail: "last words".to_owned(),
    };
    decide(claim, policy, report, noon(), 0.0)
}

fn code_of(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fail(error) | Verdict::Retry(error, _) => error.code.to_string(),
        other => panic!("no error in {other:?}"),
    }
}

#[test]
fn every_outcome_has_its_code() {
    let table = [
        (Outcome::BadResult("x".into()), "RETURN_TYPE_MISMATCH"),
        (Outcome::Trapped("unreachable".into()), "TRAPPED"),
        (Outcome::OutOfTime(5), "TASK_TIMEOUT"),
        (Outcome::OutOfCpu(5), "CPU_EXCEEDED"),
        (Outcome::OutOfMemory(5), "MEMORY_EXCEEDED"),
        (Outcome::StackExhausted, "STACK_EXHAUSTED"),
        (Outcome::OutputTooLarge(5), "OUTPUT_TOO_LARGE"),
        (Outcome::Denied("x".into()), "CAPABILITY_DENIED"),
        (guest("OUT_OF_STOCK", GuestRetry::ByPolicy), "OUT_OF_STOCK"),
        (guest("TRAPPED", GuestRetry::ByPolicy), "UNHANDLED_ERROR"),
        (guest("lower case", GuestRetry::ByPolicy), "UNHANDLED_ERROR"),
        (guest("ARGUMENT_TYPE_MISMATCH", GuestRetry::Never), "ARGUMENT_TYPE_MISMATCH"),
    ];
    for (outcome, code) in table {
        let verdict = after(&claim(), &RetryPolicy::default(), outcome);
        assert_eq!(code_of(&verdict), code);
        assert!(
            matches!(&verdict, Verdict::Fail(e) if e.cause.as_deref() == Some("last words")),
            "{verdict:?}"
        );
    }
    assert_eq!(
        after(&claim(), &once_after_10s(), Outcome::Returned(vec![b'1'])),
        Verdict::Complete(vec![b'1'])
    );
    assert_eq!(after(&claim(), &once_after_10s(), Outcome::Cancelled), Verdict::Cancel);
    assert_eq!(after(&claim(), &once_after_10s(), Outcome::Expired), Verdict::Expire);
}

#[test]
fn the_policy_grants_its_retries_and_no_more() {
    let policy = once_after_10s();
    let busy = || guest("BUSY", GuestRetry::ByPolicy);
    assert!(matches!(after(&claim(), &policy, busy()), Verdict::Retry(_, pause) if pause.as_secs() == 10));
    let second = Claim { attempt: 2, retries: 1, ..claim() };
    assert!(matches!(after(&second, &policy, busy()), Verdict::Fail(_)));
    let senders_own = Claim { max_retries: Some(0), ..claim() };
    assert!(matches!(after(&senders_own, &policy, busy()), Verdict::Fail(_)));
}

#[test]
fn the_guests_word_wins_within_the_policy() {
    let policy = once_after_10s();
    assert!(matches!(after(&claim(), &policy, guest("X", GuestRetry::Never)), Verdict::Fail(_)));
    let after_5ms = || guest("X", GuestRetry::AfterMs(5));
    assert!(matches!(after(&claim(), &policy, after_5ms()), Verdict::Retry(_, p) if p.as_millis() == 5));
    assert!(matches!(after(&claim(), &RetryPolicy::default(), after_5ms()), Verdict::Fail(_)));
    assert!(matches!(after(&claim(), &policy, guest("X", GuestRetry::AfterMs(u64::MAX))), Verdict::Fail(_)));
}

#[test]
fn no_retry_is_planned_at_or_after_good_until() {
    for (seconds, retried) in [(9, false), (10, false), (11, true)] {
        let claim = Claim { good_until: Some(noon() + chrono::Duration::seconds(seconds)), ..claim() };
        let verdict = after(&claim, &once_after_10s(), Outcome::Trapped("x".into()));
        assert_eq!(matches!(verdict, Verdict::Retry(..)), retried, "{seconds} s");
    }
}

#[test]
fn a_task_that_never_starts_twice_is_neither_retried_nor_released() {
    let once = Claim { redeliveries_max: 0, ..claim() };
    assert!(matches!(after(&once, &once_after_10s(), guest("X", GuestRetry::ByPolicy)), Verdict::Fail(_)));
    let interrupted = after(&once, &once_after_10s(), Outcome::Interrupted("shutdown".into()));
    assert_eq!(code_of(&interrupted), "WORKER_CRASHED");
}

#[test]
fn what_never_started_goes_back_whatever_else_holds() {
    let once = Claim { redeliveries_max: 0, ..claim() };
    let unstarted = || Outcome::Unstarted("no memory".into());
    assert_eq!(after(&once, &once_after_10s(), unstarted()), Verdict::Release("no memory".into()));
    let worn_out = Claim { releases: RELEASES_MAX, ..claim() };
    assert_eq!(code_of(&after(&worn_out, &once_after_10s(), unstarted())), "WORKER_CRASHED");
    for claim in [once, worn_out] {
        let postponed = after(&claim, &once_after_10s(), Outcome::Postponed("full".into()));
        assert_eq!(postponed, Verdict::Postpone("full".into()), "a host without room is nobody's fault");
    }
}

#[test]
fn releases_cost_no_retry_but_are_bounded() {
    let interrupted = || Outcome::Interrupted("shutdown".into());
    assert_eq!(after(&claim(), &once_after_10s(), interrupted()), Verdict::Release("shutdown".into()));
    let worn_out = Claim { releases: RELEASES_MAX, ..claim() };
    assert_eq!(code_of(&after(&worn_out, &once_after_10s(), interrupted())), "WORKER_CRASHED");
}
