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
