//! What a claim takes, and what it leaves.

use chrono::{Duration, Utc};
use hostler::task::verdict::Verdict;
use hostler::{Status, store};
use sqlx::Connection;

use super::stage::{HOST, Stage, claim_on, written};

#[tokio::test]
async fn two_claims_at_once_take_different_tasks_and_wait_for_nothing() {
    let mut stage = Stage::new().await;
    let (first, second) = (stage.send().await, stage.send().await);
    let mut conn = stage.other().await;
    let mut claiming = conn.begin().await.expect("a transaction");
    let marks = [store::Mark { lane: stage.lane, after: 0 }];
    let one = store::claim(&mut claiming, HOST, 1, &marks, 1, |_| String::new()).await.expect("an answer");
    let rest = stage.claim(2).await;
    assert_eq!((one[0].claim.id, rest.len(), rest[0].id), (first, 1, second));
}

#[tokio::test]
async fn a_task_past_its_good_until_is_never_claimed_and_expires() {
    let mut stage = Stage::new().await;
    let past = Utc::now() - Duration::seconds(1);
    let id = stage.send_with(|options| options.good_until = Some(past)).await;
    assert!(stage.claim(1).await.is_empty());
    let poll = store::poll(&mut stage.conn, HOST, &[], 0).await.expect("a look");
    assert!(poll.late);
    assert_eq!(store::expire(&mut stage.conn, 10).await.expect("an answer"), [id]);
    assert_eq!(stage.status(id).await, Status::Expired);
}

#[tokio::test]
async fn a_task_that_waited_for_its_retry_too_long_expires_as_well() {
    let mut stage = Stage::new().await;
    let past = Utc::now() - Duration::seconds(1);
    let id = stage.send_with(|o| (o.good_until, o.delay_ms) = (Some(past), Some(3_600_000))).await;
    assert_eq!(store::expire(&mut stage.conn, 10).await.expect("an answer"), [id]);
}

#[tokio::test]
async fn good_until_is_judged_once_more_before_the_guest_starts() {
    let mut stage = Stage::new().await;
    let soon = Utc::now() + Duration::hours(1);
    let id = stage.send_with(|options| options.good_until = Some(soon)).await;
    let claim = stage.claim_one(1).await;
    assert!(claim.good_until.is_some(), "the host judges it by this");
    assert_eq!(written(stage.settle(claim, Verdict::Expire).await), Some(Status::Expired));
    let info = stage.info(id).await;
    assert_eq!((info.retries, info.releases, info.redeliveries, info.attempt), (0, 0, 0, 1));
}

#[tokio::test]
async fn a_claim_looks_only_behind_its_mark_and_the_poll_finds_the_late() {
    let mut stage = Stage::new().await;
    let mut conn = stage.other().await;
    let mut sender = conn.begin().await.expect("a transaction");
    let task = super::stage::new_task(hostler::TaskId::now_v7());
    store::insert(&mut sender, &stage.options(), &[task], false).await.expect("sent, not committed");
    stage.send().await;
    let marks = |after| [store::Mark { lane: stage.lane, after }];
    let name = |_| String::new();
    let early = store::claim(&mut stage.conn, HOST, 1, &marks(0), 10, name).await.expect("an answer");
    assert_eq!(early.len(), 1);
    sender.commit().await.expect("late");
    let mark = early[0].pos;
    assert!(
        store::claim(&mut stage.conn, HOST, 2, &marks(mark), 10, name).await.expect("an answer").is_empty()
    );
    let poll = store::poll(&mut stage.conn, HOST, &[stage.lane], 0).await.expect("a look");
    let late = early[0].pos - 1;
    assert_eq!(poll.waiting, [(stage.lane, late)], "where the host looks next");
    assert_eq!(claim_on(&mut stage.conn, HOST, 3, stage.lane).await.len(), 1);
}
