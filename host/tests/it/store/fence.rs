//! The claim is the fence; and what becomes of a claim whose answer was lost.

use hostler::store::Stretch;
use hostler::task::Claim;
use hostler::{AttemptOutcome, Status, TaskId};
use sqlx::Connection;

use hostler::store;

use super::stage::{
    HOST, Stage, claim_on, complete, fence_and_adopt, forged, release, somebody_waits, written,
};

#[tokio::test]
async fn a_released_claim_cannot_touch_the_next_one_of_the_same_session() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let first = stage.claim_one(1).await;
    let (held, late) = (forged(&first), forged(&first));
    assert_eq!(written(stage.settle(first, release()).await), Some(Status::Pending));
    let second = stage.claim_one(2).await;
    assert_eq!(second.attempt, 2);

    assert_eq!(written(stage.settle(held, release()).await), None, "the release that was held for an answer");
    assert_eq!(written(stage.settle(late, complete()).await), None);
    assert_eq!(stage.status(id).await, Status::Running);
    assert_eq!(written(stage.settle(second, complete()).await), Some(Status::Completed));
    let attempts = stage.store.attempts(id).await.expect("an answer");
    assert_eq!((attempts.len(), attempts[0].outcome), (1, AttemptOutcome::Released));
}

#[tokio::test]
async fn a_settle_that_is_repeated_changes_nothing() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let claim = stage.claim_one(1).await;
    let again = forged(&claim);
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));
    assert_eq!(written(stage.settle(again, complete()).await), None);
    assert_eq!(stage.places(id).await, (0, 1));
}

#[tokio::test]
async fn a_claim_that_is_still_on_its_way_is_waited_for_and_adopted() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let mut lost = stage.other().await;
    let mut on_its_way = lost.begin().await.expect("a transaction");
    let claim = claim_on(&mut on_its_way, HOST, 1, stage.lane).await.remove(0);

    let mut asks = stage.other().await;
    let fence = tokio::spawn(async move { fence_and_adopt(&mut asks).await });
    somebody_waits(&stage.database).await;
    on_its_way.commit().await.expect("committed, and nobody heard of it");
    let mut adopted = fence.await.expect("no panic");

    assert_eq!(adopted.len(), 1);
    let adopted = adopted.remove(0);
    assert_eq!(
        (adopted.id, adopted.number, adopted.attempt),
        (id, 2, 1),
        "the same attempt, under a new number"
    );
    assert_eq!(written(stage.settle(claim, complete()).await), None);
    assert_eq!(written(stage.settle(adopted, complete()).await), Some(Status::Completed));
}

#[tokio::test]
async fn a_claim_that_was_fenced_off_can_never_commit() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let mut other = stage.other().await;
    assert!(fence_and_adopt(&mut other).await.is_empty());

    assert!(stage.claim(1).await.is_empty(), "it arrives late");
    assert_eq!(stage.status(id).await, Status::Pending);
    assert_eq!(stage.claim(2).await.len(), 1, "later numbers claim on");
}

#[tokio::test]
async fn an_adoption_whose_answer_was_lost_is_repeated() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    stage.claim(1).await;
    let mut other = stage.other().await;
    for _ in 0..2 {
        // The first answer never arrives, and the host asks again with the same numbers.
        let adopted = fence_and_adopt(&mut other).await;
        let adopted: Vec<_> = adopted.iter().map(|claim| (claim.id, claim.number)).collect();
        assert_eq!(adopted, [(id, 2)]);
    }
}

#[tokio::test]
async fn what_a_host_holds_and_what_the_database_says_are_compared() {
    let mut stage = Stage::new().await;
    let (held, unknown, late) = (stage.send().await, stage.send().await, stage.send().await);
    stage.claim(1).await;
    let lose = format!("update hostler.task set claim = 3 where id = '{late}'");
    stage.execute(&lose).await;
    let never = TaskId::now_v7();
    let lost = store::claims_lost(&mut stage.conn, HOST, &[(held, 1), (unknown, 9), (never, 1)]).await;
    assert_eq!(lost.expect("an answer"), [(unknown, 9), (never, 1)]);

    let strays = strays(&mut stage, &[held], i64::MAX).await;
    let found: Vec<_> = strays.iter().map(|claim| (claim.id, claim.number)).collect();
    assert_eq!(found, [(unknown, 1)], "the third may be on its way to the host");
    for claim in strays {
        assert_eq!(written(stage.settle(claim, release()).await), Some(Status::Pending));
    }
}

#[tokio::test]
async fn strays_are_looked_for_in_stretches_up_to_where_the_host_has_claimed() {
    let mut stage = Stage::new().await;
    stage.send_many(12).await;
    let claimed = stage.claim(1).await;
    assert_eq!(claimed.len(), 12);
    let places = "select array_agg(pos order by pos) from hostler.task";
    let places: Vec<i64> = sqlx::query_scalar(places).fetch_one(&mut stage.conn).await.expect("places");
    // Two share a place at the end of a stretch, as what a failover brought back may.
    stage.execute(&format!("update hostler.task set pos = {} where pos = {}", places[3], places[4])).await;
    assert_eq!(strays(&mut stage, &[], i64::MAX).await.len(), 12);
    assert_eq!(
        strays(&mut stage, &[], places[6]).await.len(),
        7,
        "nothing behind the furthest claim is read"
    );
}

/// All of them up to this position, in stretches of four rows.
async fn strays(stage: &mut Stage, held: &[TaskId], to: i64) -> Vec<Claim> {
    let mut found = Vec::new();
    let mut left = Some(Stretch { lane: stage.lane, after: i64::MIN, to, rows: 4 });
    while let Some(stretch) = left {
        let (strays, next) = store::strays(&mut stage.conn, HOST, 2, held, stretch).await.expect("an answer");
        found.extend(strays);
        left = next;
    }
    found
}
