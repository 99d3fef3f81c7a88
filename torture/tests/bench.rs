//! The bench itself: a short run finds nothing wrong, and what is broken on purpose is found.

use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Each bench has a server and hosts of its own: at once they would torture the machine instead.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs the bench; its exit code and its report.
fn torture(args: &[&str]) -> (Option<i32>, Value) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Command::new(env!("CARGO_BIN_EXE_hostler-torture")).args(args).arg("--json").output();
    let bench = bench.expect("the bench runs");
    let said = String::from_utf8_lossy(&bench.stdout);
    let report = serde_json::from_str(&said).unwrap_or_else(|error| {
        panic!("{error}: {said}{}", String::from_utf8_lossy(&bench.stderr));
    });
    (bench.status.code(), report)
}

fn rules(report: &Value) -> Vec<&str> {
    let violations = report["violations"].as_array().expect("violations");
    violations.iter().filter_map(|violation| violation["rule"].as_str()).collect()
}

#[test]
fn a_minute_of_torture_loses_nothing() {
    let (code, report) = torture(&["--minutes", "1", "--seed", "1"]);
    assert_eq!((code, rules(&report)), (Some(0), vec![]), "{report}");
    assert!(report["tasks"]["COMPLETED"].as_u64() > Some(100), "{report}");
    assert!(report["attempts_lost"].as_u64() > Some(0), "nothing was put to the test: {report}");
}

#[test]
fn a_pooler_in_between_loses_nothing_either() {
    let obtain = std::env::var_os("HOSTLER_TEST_OBTAIN").map(|_| "obtain");
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/pgbouncer"));
    let answer = script.arg("new").args(obtain).output().expect("it runs");
    if obtain.is_none() && answer.status.code() == Some(5) {
        eprintln!("skipped: there is no PgBouncer of the new kind");
        return;
    }
    let why = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "HOSTLER_TEST_OBTAIN is set, which needs a PgBouncer: {why}");
    let (code, report) = torture(&["--minutes", "0.3", "--seed", "5", "--pooler"]);
    assert_eq!((code, rules(&report)), (Some(0), vec![]), "{report}");
    assert!(report["tasks"]["COMPLETED"].as_u64() > Some(20), "{report}");
}

#[test]
fn a_lost_row_is_missed() {
    let (code, report) = torture(&["--minutes", "0.05", "--break", "lose-a-row"]);
    assert_eq!(code, Some(1));
    assert!(rules(&report).contains(&"an acknowledged send is there exactly once, and final"), "{report}");
}

#[test]
fn an_attempt_that_is_settled_twice_is_noticed() {
    let (code, report) = torture(&["--minutes", "0.05", "--break", "settle-twice"]);
    assert_eq!(code, Some(1));
    let rule = "attempts are numbered from 1 without a gap, and each is settled once";
    assert!(rules(&report).contains(&rule), "{report}");
}

#[test]
fn living_hosts_whose_tasks_are_taken_back_are_found_out() {
    let (code, report) = torture(&["--minutes", "0.2", "--break", "recover", "--faults", "kill"]);
    assert_eq!(code, Some(1));
    assert!(rules(&report).contains(&"no two guests of a task run at the same time"), "{report}");
    assert!(rules(&report).contains(&"a guest runs while its attempt is open"), "{report}");
}

#[test]
fn hosts_without_a_fence_are_found_out() {
    // Hosts that stand still for longer than their lease, and come back to write what they had. Whether one had
    // anything just then is chance.
    let found = (1..=4).any(|seed| {
        let seed = seed.to_string();
        let (code, report) = torture(&[
            "--minutes",
            "0.4",
            "--seed",
            &seed,
            "--break",
            "fence",
            "--faults",
            "stop",
            "--lease-ms",
            "1000",
        ]);
        let fenced = [
            "no attempt is settled by a claim that was fenced",
            "attempts are numbered from 1 without a gap, and each is settled once",
        ];
        code == Some(1) && rules(&report).iter().any(|rule| fenced.contains(rule))
    });
    assert!(found);
}
