//! Tasks that come back, after something odd.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use hostler_guest::prelude::*;

/// How long to sleep.
#[data]
#[derive(Debug)]
pub struct SleepArgs {
    /// Milliseconds.
    pub ms: u64,
}

/// Sleeps, using no CPU time, and returns how many milliseconds.
#[task]
pub fn sleep(args: SleepArgs) -> Result<u64, Failure> {
    thread::sleep(Duration::from_millis(args.ms));
    Ok(args.ms)
}

/// How to go on.
#[data]
#[derive(Debug)]
pub struct StepArgs {
    /// Steps, each with a report of its own.
    pub steps: u32,
    /// Milliseconds from one step to the next.
    pub ms: u64,
    /// Whether to stay after the last step until somebody cancels.
    #[serde(default)]
    pub stay: bool,
}

/// Reports its progress at each step, and returns how many steps it took.
#[task]
pub fn step(args: StepArgs) -> Result<u32, Failure> {
    for step in 1..=args.steps {
        thread::sleep(Duration::from_millis(args.ms));
        progress::report(f64::from(step) / f64::from(args.steps), format!("step {step} of {}", args.steps));
    }
    while args.stay && !cancellation::requested() {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(args.steps)
}

/// Fails with `TRAPPED`, a code that only the host may give.
#[task]
pub fn reserved_code() -> Result<(), Failure> {
    Err(Failure::new("TRAPPED", "a task that pretends to have trapped"))
}

/// Adds 1 to a static and returns it. In a fresh sandbox that is 1, always.
#[task]
pub fn counter() -> Result<u64, Failure> {
    static STARTS: AtomicU64 = AtomicU64::new(0);
    Ok(STARTS.fetch_add(1, Ordering::Relaxed) + 1)
}

/// How a cancelled task ended by itself.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Noticed {
    /// How often it asked before the answer was yes.
    pub checks: u64,
}

/// Computes until cancelling is asked for, then returns how often it asked.
#[task]
pub fn spin_until_cancelled() -> Result<Noticed, Failure> {
    let mut checks = 1;
    while !cancellation::requested() {
        checks += 1;
    }
    Ok(Noticed { checks })
}

/// Ballast.
#[data]
#[derive(Debug)]
pub struct NoopArgs {
    /// Makes the arguments larger; nobody reads it.
    #[serde(default)]
    pub pad: Option<String>,
}

/// Nothing.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Empty {}

/// Does nothing, as fast as it can: for benchmarks.
#[task]
pub fn noop(_args: NoopArgs) -> Result<Empty, Failure> {
    Ok(Empty {})
}

#[cfg(test)]
mod tests {
    use hostler_guest::testing::{self, Attempt, with_attempt};

    use super::*;

    #[test]
    fn a_native_process_is_no_fresh_sandbox() {
        assert_eq!((counter(), counter()), (Ok(1), Ok(2)));
    }

    #[test]
    fn a_cancelled_task_notices_at_once() {
        let seen = with_attempt(Attempt { cancelled: true, ..Attempt::default() }, spin_until_cancelled);
        assert_eq!(seen.result, Ok(Noticed { checks: 1 }));
    }

    #[test]
    fn each_step_is_reported() {
        let args = StepArgs { steps: 2, ms: 0, stay: false };
        let seen = with_attempt(Attempt::default(), || step(args));
        assert_eq!(seen.result, Ok(2));
        assert_eq!(seen.progress, [(0.5, "step 1 of 2".to_owned()), (1.0, "step 2 of 2".to_owned())]);
    }

    #[test]
    fn noop_takes_any_object() {
        for args in [json!({}), json!({ "pad": "xx" }), json!({ "other": [1, 2] })] {
            assert_eq!(testing::call(&crate::PLUGIN, "noop", &args), Ok(json!({})));
        }
    }

    #[test]
    fn the_rest_is_what_it_says() {
        assert_eq!(sleep(SleepArgs { ms: 1 }), Ok(1));
        assert_eq!(reserved_code().expect_err("it always fails").code, "TRAPPED");
    }
}

/// Where to connect to.
#[data]
#[derive(Debug)]
pub struct ConnectArgs {
    /// Address and port.
    pub to: String,
}

/// Opens a TCP connection, which no plugin is granted.
#[task]
pub fn connect(args: ConnectArgs) -> Result<(), Failure> {
    std::net::TcpStream::connect(args.to)?;
    Ok(())
}
