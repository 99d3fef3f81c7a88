//! A row that the database can never take. Guest bytes are stored as bytes, so no result, error or log can be
//! one: NUL, invalid UTF-8 and numbers beyond every range go in. What is left are values of our own columns.

use std::time::Duration;

use hostler::task::verdict::Verdict;
use hostler::{Status, store};

use super::stage::{HOST, Stage, complete, error, forged, settle_of, written};

#[tokio::test]
async fn whatever_a_guest_returns_can_be_stored() {
    let mut stage = Stage::new().await;
    let nasty: [&[u8]; 4] = [br#""\u0000""#, b"1e200000", b"\xff\xfe", b"\0"];
    for (number, result) in (1..).zip(nasty) {
        let id = stage.send().await;
        let claim = stage.claim_one(number).await;
        let settled = stage.settle(claim, Verdict::Complete(result.to_vec())).await;
        assert_eq!(written(settled), Some(Status::Completed));
        assert_eq!(stage.info(id).await.result.as_deref(), Some(result));
    }
}

#[tokio::test]
async fn a_poison_row_fails_its_batch_as_a_data_error_and_leaves_no_trace() {
    let mut stage = Stage::new().await;
    let (good, bad) = (stage.send().await, stage.send().await);
    let claims = stage.claim(1).await;
    let again: Vec<_> = claims.iter().map(forged).collect();
    let never = || Verdict::Retry(error(), Duration::from_millis(u64::MAX));
    let verdict = |id| if id == bad { never() } else { complete() };
    let batch: Vec<_> = claims
        .into_iter()
        .map(|claim| {
            let v = verdict(claim.id);
            settle_of(claim, v)
        })
        .collect();
    let refused =
        store::settle(&mut stage.conn, HOST, &batch).await.expect_err("a pause beyond all calendars");
    assert!(refused.is_data_error() && !refused.is_transient(), "{refused}");
    assert_eq!(stage.status(good).await, Status::Running, "all or nothing");

    // The same connection goes on with the halves.
    for claim in again {
        let verdict = verdict(claim.id);
        let is_bad = claim.id == bad;
        let half = [settle_of(claim, verdict)];
        assert_eq!(store::settle(&mut stage.conn, HOST, &half).await.is_err(), is_bad);
    }
    assert_eq!(stage.status(good).await, Status::Completed);
}
