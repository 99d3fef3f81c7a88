//! One id, two tables: whatever moves at the same time, a task is in one of them and is found.

use hostler::Status;
use hostler::store::{self, Cancel, Cancelled, SendOptions, Store, StoreError};
use hostler::task::TaskId;
use hostler::task::verdict::Verdict;
use sqlx::Connection;

use super::stage::{
    HOST, Stage, claim_on, complete, new_task, release, retry, settle_of, somebody_waits, written,
};

#[tokio::test]
async fn a_resend_that_races_with_the_settle_does_not_run_the_task_again() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let claim = stage.claim_one(1).await;
    let options = stage.options();
    let mut settling = stage.conn.begin().await.expect("a transaction");
    let settled = store::settle(&mut settling, HOST, &[settle_of(claim, complete())]).await.expect("settled");
    assert_eq!(written(settled[0]), Some(Status::Completed));

    let store = stage.store.clone();
    let resend = tokio::spawn(async move { again(&store, &options, id).await });
    somebody_waits(&stage.database).await;
    settling.commit().await.expect("settled");
    assert_eq!(resend.await.expect("no panic").expect("an answer"), Vec::<TaskId>::new());
    assert_eq!(stage.places(id).await, (0, 1));
}

#[tokio::test]
async fn a_resend_of_a_live_task_leaves_it_as_it_is() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let claim = stage.claim_one(1).await;
    let new = again(&stage.store, &stage.options(), id).await.expect("an answer");
    assert_eq!(new, Vec::<TaskId>::new());
    assert_eq!(written(stage.settle(claim, complete()).await), Some(Status::Completed));
}

#[tokio::test]
async fn what_is_sent_as_new_and_is_not_is_refused_as_a_whole() {
    let stage = Stage::new().await;
    let id = stage.send().await;
    let other = TaskId::now_v7();
    let both = [new_task(other), new_task(id)];
    let refused = stage.store.insert(&stage.options(), &both).await.expect_err("one of them lives");
    assert!(refused.is_data_error() && !refused.is_transient(), "{refused}");
    assert_eq!(stage.places(other).await, (0, 0));
    assert_eq!(stage.places(id).await, (1, 0));
}

/// Sends an id that may have been sent before; the ids that were new.
async fn again(store: &Store, options: &SendOptions, id: TaskId) -> Result<Vec<TaskId>, StoreError> {
    let mut tx = store.pool().begin().await?;
    let new = store::insert_again(&mut tx, options, &[new_task(id)], true, true).await?;
    tx.commit().await?;
    Ok(new)
}

/// Cancels while another transaction moves the task and has not committed; the move is made by `moves`.
macro_rules! cancel_during {
    ($stage:ident, $id:ident, $conn:ident => $moves:expr) => {{
        let mut $conn = $stage.conn.begin().await.expect("a transaction");
        $moves;
        let (store, id) = ($stage.store.clone(), $id);
        let cancel = tokio::spawn(async move { store.cancel(id).await });
        somebody_waits(&$stage.database).await;
        $conn.commit().await.expect("moved");
        let found = cancel.await.expect("no panic").expect("an answer");
        found.expect("a task that moves is not unknown")
    }};
}

#[tokio::test]
async fn a_cancel_that_waits_for_a_promotion_cancels() {
    let mut stage = Stage::new().await;
    let id = stage.send_with(|options| options.delay_ms = Some(0)).await;
    let cancelled: Cancelled = cancel_during!(stage, id, conn => {
        let moved = store::promote(&mut conn, 10).await.expect("promoted");
        assert_eq!(moved.len(), 1);
    });
    assert_eq!((cancelled.status, cancelled.ended), (Status::Cancelled, true));
}

#[tokio::test]
async fn a_cancel_that_waits_for_a_claim_reaches_the_running_task() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let lane = stage.lane;
    let cancelled: Cancelled = cancel_during!(stage, id, conn => {
        assert_eq!(claim_on(&mut conn, HOST, 1, lane).await.len(), 1);
    });
    assert_eq!((cancelled.status, cancelled.session), (Status::Running, Some(HOST)));
}

#[tokio::test]
async fn a_cancel_that_waits_for_the_settle_tells_the_final_state() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let claim = stage.claim_one(1).await;
    let cancelled: Cancelled = cancel_during!(stage, id, conn => {
        let settles = [settle_of(claim, complete())];
        store::settle(&mut conn, HOST, &settles).await.expect("settled");
    });
    assert_eq!((cancelled.status, cancelled.ended), (Status::Completed, false));
}

#[tokio::test]
async fn a_cancel_that_waits_for_a_retry_cancels_what_waits_then() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let claim = stage.claim_one(1).await;
    let cancelled: Cancelled = cancel_during!(stage, id, conn => {
        let settles = [settle_of(claim, retry())];
        store::settle(&mut conn, HOST, &settles).await.expect("settled");
    });
    assert_eq!((cancelled.status, cancelled.ended), (Status::Cancelled, true));
    assert_eq!(stage.places(id).await, (0, 1));
}

async fn settle_during_a_cancel(verdict: Verdict) -> Option<Status> {
    let mut stage = Stage::new().await;
    stage.send().await;
    let claim = stage.claim_one(1).await;
    let mut conn = stage.other().await;
    let mut cancelling = conn.begin().await.expect("a transaction");
    let mark = "update hostler.task set cancel_requested = true";
    sqlx::query(mark).execute(&mut *cancelling).await.expect("marked, not committed");
    let mut hot = stage.other().await;
    let settle =
        tokio::spawn(async move { store::settle(&mut hot, HOST, &[settle_of(claim, verdict)]).await });
    somebody_waits(&stage.database).await;
    cancelling.commit().await.expect("marked");
    written(settle.await.expect("no panic").expect("an answer")[0])
}

#[tokio::test]
async fn a_cancel_beats_a_retry_and_a_release_that_it_overtakes() {
    assert_eq!(settle_during_a_cancel(retry()).await, Some(Status::Cancelled));
    assert_eq!(settle_during_a_cancel(release()).await, Some(Status::Cancelled));
}

#[tokio::test]
async fn a_result_that_is_there_beats_a_cancel() {
    assert_eq!(settle_during_a_cancel(complete()).await, Some(Status::Completed));
}

#[tokio::test]
async fn a_cancel_of_a_running_task_is_found_with_the_poll() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let _running = stage.claim_one(1).await;
    stage.store.cancel(id).await.expect("an answer").expect("known");
    let poll = store::poll(&mut stage.conn, HOST, &[], 0).await.expect("a look");
    assert_eq!(poll.cancels, [Cancel { task: id, claim: 1 }]);
    let earlier = Cancel { task: id, claim: 0 };
    store::cancels_seen(&mut stage.conn, HOST, &[earlier]).await.expect("an answer");
    let poll = store::poll(&mut stage.conn, HOST, &[], 0).await.expect("a look");
    assert_eq!(poll.cancels.len(), 1, "that was another claim");
    store::cancels_seen(&mut stage.conn, HOST, &poll.cancels).await.expect("an answer");
    let poll = store::poll(&mut stage.conn, HOST, &[], 0).await.expect("a look");
    assert!(poll.cancels.is_empty());
    let unknown = stage.store.cancel(TaskId::now_v7()).await.expect("an answer");
    assert_eq!(unknown, None);
}
