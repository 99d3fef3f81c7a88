//! The plugin `flaky`: tasks that fail on purpose, to watch retries.

use hostler_guest::prelude::*;

/// How many attempts fail.
#[data]
#[derive(Debug)]
pub struct FailThenSucceedArgs {
    /// Attempts with a number up to this one fail.
    pub failures: u32,
}

/// The attempt that did it.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Succeeded {
    /// The attempt's number.
    pub attempt: u32,
    /// The code that the attempt before it ended with.
    pub previous_error: Option<String>,
}

/// Fails with `NOT_YET` as often as told, then succeeds. Retried up to 5 times, 200 ms apart.
#[task(retries = 5, backoff = fixed("200ms"), jitter = false, timeout = "10s")]
pub fn fail_then_succeed(args: FailThenSucceedArgs) -> Result<Succeeded, Failure> {
    not_before(args.failures)
}

/// How to fail.
#[data]
#[derive(Debug)]
pub struct AlwaysFailArgs {
    /// The code to fail with.
    pub code: String,
    /// The message to fail with.
    pub message: String,
}

/// Fails with the given code and message; never retried, for lack of retries.
#[task(retries = 0)]
pub fn always_fail(args: AlwaysFailArgs) -> Result<(), Failure> {
    log::warn!("failing with {}", args.code);
    Err(Failure::new(args.code, args.message))
}

/// How many attempts fail, and how long each asks to wait.
#[data]
#[derive(Debug)]
pub struct LaterArgs {
    /// Attempts with a number up to this one fail.
    pub failures: u32,
    /// Milliseconds until the next attempt.
    pub after_ms: u64,
}

/// Fails with `NOT_YET` as often as told and names the wait itself; its policy would have waited an hour.
#[task(retries = 5, backoff = fixed("1h"), timeout = "10s")]
pub fn later(args: LaterArgs) -> Result<Succeeded, Failure> {
    let delay = Duration::from_millis(args.after_ms);
    not_before(args.failures).map_err(|failure| failure.retry_after(delay))
}

/// Fails with `POINTLESS` and asks never to be retried, although 5 retries are left.
#[task(retries = 5, backoff = fixed("200ms"))]
pub fn never() -> Result<(), Failure> {
    log::warn!("failing for good");
    Err(Failure::new("POINTLESS", "no attempt can succeed").never())
}

/// What is to be done in steps.
#[data]
#[derive(Debug)]
pub struct StepsArgs {
    /// How many steps there are.
    pub steps: u32,
    /// How long the last one takes in the first attempt, in milliseconds.
    pub hold_ms: u64,
}

/// Does its steps, each once, whatever happens to its host; tells which attempt did each of them.
#[task(timeout = "5m")]
pub fn steps(args: StepsArgs) -> Result<Vec<u32>, Failure> {
    let one = |step| {
        checkpoint::step(&format!("step {step}"), || {
            if step == args.steps && attempt::number() == 1 {
                std::thread::sleep(Duration::from_millis(args.hold_ms));
            }
            Ok(attempt::number())
        })
    };
    (1..=args.steps).map(one).collect()
}

/// Fails in the attempts up to `failures`.
fn not_before(failures: u32) -> Result<Succeeded, Failure> {
    let attempt = attempt::number();
    if attempt <= failures {
        log::info!("attempt {attempt} fails, as the first {failures} do");
        return Err(Failure::new("NOT_YET", format!("attempt {attempt} of {failures} that fail")));
    }
    log::info!("attempt {attempt} succeeds");
    Ok(Succeeded { attempt, previous_error: attempt::previous_error() })
}

hostler_guest::plugin!("flaky", [fail_then_succeed, always_fail, later, never, steps]);

#[cfg(test)]
mod tests {
    use hostler_guest::testing::{Attempt, with_attempt};

    use super::*;

    #[test]
    fn the_attempt_after_the_failures_succeeds() {
        let run = |number| {
            let attempt =
                Attempt { number, previous_error: Some("NOT_YET".to_owned()), ..Attempt::default() };
            with_attempt(attempt, || fail_then_succeed(FailThenSucceedArgs { failures: 2 }))
        };
        assert_eq!(run(2).result.expect_err("attempt 2 is too early").code, "NOT_YET");
        let seen = run(3);
        let previous_error = Some("NOT_YET".to_owned());
        assert_eq!(seen.result, Ok(Succeeded { attempt: 3, previous_error }));
        assert_eq!(seen.messages(), ["attempt 3 succeeds"]);
    }

    #[test]
    fn steps_that_were_done_are_not_done_again() {
        let kept = [("step 1".to_owned(), b"1".to_vec())].into();
        let second = Attempt { number: 2, kept, ..Attempt::default() };
        let seen = with_attempt(second, || steps(StepsArgs { steps: 2, hold_ms: 0 }));
        assert_eq!(seen.result, Ok(vec![1, 2]));
    }

    #[test]
    fn a_failure_says_what_is_to_become_of_it() {
        let failure = later(LaterArgs { failures: 1, after_ms: 50 }).expect_err("the first attempt fails");
        assert_eq!(failure.retry, Retry::After(Duration::from_millis(50)));
        assert_eq!(never().expect_err("it always fails").retry, Retry::Never);
        let args = AlwaysFailArgs { code: "SOLD_OUT".to_owned(), message: "none left".to_owned() };
        assert_eq!(always_fail(args), Err(Failure::new("SOLD_OUT", "none left")));
    }
}
