//! A task that is final and lives, which must not be. Whoever meets it removes it, the first end stays, and nobody
//! beside it is harmed.

use hostler::Status;
use hostler::store;
use hostler::task::{Session, TaskId};

use super::stage::{HOST, Stage, claim_on, complete, error, forged, join, new_task, settle_of, written};

impl Stage {
    /// A task that completed, and stands in its lane once more.
    async fn double(&mut self, change: &str) -> TaskId {
        let id = self.send().await;
        let claim = self.claim(90).await.into_iter().find(|claim| claim.id == id).expect("due");
        assert_eq!(written(self.settle(claim, complete()).await), Some(Status::Completed));
        self.store
            .insert(&self.options(), &[new_task(id)])
            .await
            .expect("nobody repeated it, so nobody looks");
        self.execute(&format!("update hostler.task set {change} where id = '{id}'")).await;
        // The claim above took those of before along.
        self.execute("update hostler.task set session = null, claim = null, claimed_at = null").await;
        id
    }

    async fn stays_as_it_was(&self, double: TaskId) {
        assert_eq!(self.places(double).await, (0, 1));
        let info = self.info(double).await;
        assert_eq!((info.status, info.result.as_deref()), (Status::Completed, Some(&b"1"[..])));
    }
}

#[tokio::test]
async fn a_double_is_dropped_by_its_settle_and_only_a_double_is() {
    let mut stage = Stage::new().await;
    let double = stage.double("attempt = 0").await;
    let healthy = stage.send().await;
    let claims = stage.claim(1).await;
    let batch = |stage: &[hostler::task::Claim]| -> Vec<_> {
        stage
            .iter()
            .map(|claim| settle_of(forged(claim), hostler::task::verdict::Verdict::Fail(error())))
            .collect()
    };
    let refused = store::settle(&mut stage.conn, HOST, &batch(&claims)).await.expect_err("one is final");
    assert!(refused.is_data_error(), "{refused}");
    for settle in batch(&claims) {
        let mut other = settle_of(forged(&settle.claim), complete());
        other.claim.number += 1;
        assert!(!store::drop_double(&mut stage.conn, HOST, &other).await.expect("an answer"), "fenced");
        assert!(
            !store::drop_double(&mut stage.conn, Session(77), &settle).await.expect("an answer"),
            "fenced"
        );
        let dropped = store::drop_double(&mut stage.conn, HOST, &settle).await.expect("an answer");
        assert_eq!(dropped, settle.claim.id == double);
    }
    let claim = claims.into_iter().find(|claim| claim.id == healthy).expect("claimed");
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));
    stage.stays_as_it_was(double).await;
}

#[tokio::test]
async fn a_double_expires_without_a_trace() {
    let mut stage = Stage::new().await;
    let past = "good_until = clock_timestamp()";
    let double = stage.double(past).await;
    let healthy = stage.send().await;
    stage.execute(&format!("update hostler.task set {past}")).await;
    assert_eq!(store::expire(&mut stage.conn, 10).await.expect("an answer"), [healthy]);
    assert_eq!(stage.status(healthy).await, Status::Expired);
    stage.stays_as_it_was(double).await;
}

#[tokio::test]
async fn a_cancel_of_a_double_tells_its_first_end() {
    let mut stage = Stage::new().await;
    let double = stage.double("attempt = 0").await;
    let cancelled = stage.store.cancel(double).await.expect("an answer").expect("known");
    assert_eq!((cancelled.status, cancelled.ended), (Status::Completed, false));
    stage.stays_as_it_was(double).await;
}

#[tokio::test]
async fn a_double_of_a_dead_host_keeps_nobody_from_recovery() {
    const DEAD: Session = Session(2);
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    let ends = stage.double("redeliveries_max = 0").await;
    let goes_on = stage.double("attempt = 0").await;
    stage
        .execute(&format!(
            "insert into hostler.attempt (task, number, session, claimed_at, finished_at, outcome) \
        values ('{goes_on}', 1, 1, now(), now(), 2)"
        ))
        .await;
    let healthy = stage.send().await;
    let mut conn = stage.other().await;
    assert_eq!(claim_on(&mut conn, DEAD, 1, stage.lane).await.len(), 3);
    stage.bury(DEAD).await;
    super::stage::recover(&mut stage.conn).await;
    stage.stays_as_it_was(ends).await;
    // Whose attempt failed goes back to its lane, and is found out when it is settled.
    let claims = stage.claim(1).await;
    let ids: Vec<_> = claims.iter().map(|claim| claim.id).collect();
    assert!(ids.contains(&healthy) && ids.contains(&goes_on) && ids.len() == 2, "{ids:?}");
    for claim in claims {
        let settle = settle_of(claim, complete());
        let dropped = store::drop_double(&mut stage.conn, HOST, &settle).await.expect("an answer");
        assert_eq!(dropped, settle.claim.id == goes_on);
    }
    stage.stays_as_it_was(goes_on).await;
}
