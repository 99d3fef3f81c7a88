//! What went wrong, and whose turn it is.

use hostler::{ErrorCode, Include, TaskError};
use serde_json::json;

use super::Stage;
use crate::support::LONG;

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_code_from_a_guest_is_refused_with_a_diagnostic() {
    let stage = Stage::set().await;
    let handle = stage.client.send("misbehave.reserved_code", json!(null)).await.expect("sent");
    let error = handle.get(Some(LONG)).await.expect_err("it always fails");
    assert_eq!(error.code.as_str(), "UNHANDLED_ERROR");
    assert!(error.message.contains("\"TRAPPED\", which is reserved for the host"), "{error}");
    let info = handle.info(Include::empty()).await.expect("an answer").expect("known");
    assert_eq!(info.error_code.as_deref(), Some("UNHANDLED_ERROR"));

    // A task may say anything in its message; only the family makes a code one of the host's.
    let trap = stage.client.send("misbehave.trap", json!(null)).await.expect("sent");
    let error = trap.get(Some(LONG)).await.expect_err("it traps");
    assert_eq!(error.code, hostler::task::Sandbox::Trapped.into());
    let json = serde_json::to_string(&error).expect("JSON");
    assert_eq!(serde_json::from_str::<TaskError>(&json).expect("both ways"), error);
    let forged = json.replace("\"sandbox\"", "\"user\"");
    let forged: TaskError = serde_json::from_str(&forged).expect("JSON");
    assert_eq!(forged.code, ErrorCode::User("TRAPPED".to_owned()));
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn never_wins_over_the_policy() {
    let stage = Stage::set().await;
    let handle = stage.client.send("flaky.never", json!(null)).await.expect("sent");
    assert_eq!(handle.get(Some(LONG)).await.expect_err("it fails").code.as_str(), "POINTLESS");
    let info = handle.info(Include::ATTEMPTS).await.expect("an answer").expect("known");
    assert_eq!((info.max_retries, info.retry_count), (5, 0));
    assert_eq!(info.attempts.map(|attempts| attempts.len()), Some(1));
    stage.clear().await;
}

/// The cells of the tables of `docs/errors.md`, by table.
fn tables() -> Vec<Vec<Vec<String>>> {
    let guide = include_str!("../../../../docs/errors.md");
    let mut tables = Vec::new();
    for line in guide.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<String> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        match cells[0].as_str() {
            "code" => tables.push(Vec::new()),
            rule if rule.starts_with("---") => {}
            _ => tables.last_mut().expect("a table begins with its head").push(cells),
        }
    }
    tables
}

#[test]
fn the_guide_tells_of_every_code_and_no_other() {
    let [of_tasks, of_sends] = tables().try_into().expect("two tables");
    let told: Vec<_> = of_tasks.iter().map(|cells| (cells[0].clone(), cells[1].clone())).collect();
    let codes: Vec<_> = ErrorCode::reserved()
        .map(|code| {
            let family = serde_json::to_value(code.family()).expect("JSON");
            (format!("`{code}`"), family.as_str().expect("a word").to_owned())
        })
        .collect();
    assert_eq!(told, codes);
    let told: Vec<_> = of_sends.iter().map(|cells| cells[0].clone()).collect();
    let codes: Vec<_> = hostler::SendErrorCode::ALL.iter().map(|code| format!("`{code}`")).collect();
    assert_eq!(told, codes);
    for cells in of_tasks.iter().chain(&of_sends) {
        assert!(cells[1..].iter().all(|cell| !cell.is_empty()), "{cells:?} says everything");
    }
}

#[test]
fn every_code_is_produced_somewhere() {
    let mut sources = String::new();
    let mut left = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if !path.ends_with("task/code.rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                // What follows are unit tests.
                sources.push_str(text.split("#[cfg(test)]").next().expect("a first part"));
            }
        }
    }
    for code in ErrorCode::reserved() {
        // `Retrieval(WaitTimeout)` is produced as `Retrieval::WaitTimeout`.
        let written = format!("{code:?}").replace('(', "::").replace(')', "");
        assert!(sources.contains(&written), "nothing produces {code}");
    }
}
