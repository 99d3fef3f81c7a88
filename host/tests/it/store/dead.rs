//! Hosts that die: who may say so, what their late writes do, and how their tasks come back.

use hostler::task::Session;
use hostler::{AttemptOutcome, Status, store};
use sqlx::Connection;

use super::stage::{
    HOST, Stage, claim_on, complete, forged, join, recover, retry, settle_of, somebody_waits, written,
};

/// The host that dies in these stories; the stage's own host is the judge.
const DEAD: Session = Session(2);

#[tokio::test]
async fn a_claim_that_waits_for_its_hosts_death_gets_nothing() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    let id = stage.send().await;
    let mut judge = stage.other().await;
    let mut judging = judge.begin().await.expect("a transaction");
    let poll = store::poll(&mut judging, HOST, &[], 0).await.expect("a look");
    let seen = *poll.hosts.iter().find(|host| host.session == DEAD).expect("alive");
    assert!(store::declare_lost(&mut judging, seen).await.expect("an answer"));

    // Its snapshot still sees the host alive.
    let (mut conn, lane) = (stage.other().await, stage.lane);
    let claim = tokio::spawn(async move { claim_on(&mut conn, DEAD, 1, lane).await });
    somebody_waits(&stage.database).await;
    judging.commit().await.expect("declared dead");
    assert!(claim.await.expect("no panic").is_empty());
    assert_eq!(stage.status(id).await, Status::Pending);
}

#[tokio::test]
async fn a_host_that_is_just_claiming_cannot_be_declared_dead() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    stage.send().await;
    let mut conn = stage.other().await;
    let mut claiming = conn.begin().await.expect("a transaction");
    assert_eq!(claim_on(&mut claiming, DEAD, 1, stage.lane).await.len(), 1);

    let poll = store::poll(&mut stage.conn, HOST, &[], 0).await.expect("a look");
    let seen = *poll.hosts.iter().find(|host| host.session == DEAD).expect("alive");
    assert!(
        !store::declare_lost(&mut stage.conn, seen).await.expect("at once"),
        "the judge comes back later"
    );
    claiming.commit().await.expect("claimed");
    assert!(store::declare_lost(&mut stage.conn, seen).await.expect("an answer"));
    assert_eq!(recover(&mut stage.conn).await.len(), 1, "nothing slipped through");
}

#[tokio::test]
async fn a_host_that_beat_since_it_was_seen_is_not_declared_dead() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    let poll = store::poll(&mut stage.conn, HOST, &[], 0).await.expect("a look");
    let seen = *poll.hosts.iter().find(|host| host.session == DEAD).expect("alive");
    store::beat(&mut stage.conn, DEAD, 0, false).await.expect("an answer").expect("alive");
    assert!(!store::declare_lost(&mut stage.conn, seen).await.expect("an answer"));
    stage.bury(DEAD).await;
    assert_eq!(
        store::beat(&mut stage.conn, DEAD, 0, false).await.expect("an answer"),
        None,
        "it learns of it"
    );
}

#[tokio::test]
async fn a_dead_hosts_late_result_is_refused() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    let id = stage.send().await;
    let claim = claim_on(&mut stage.conn, DEAD, 1, stage.lane).await.remove(0);
    stage.bury(DEAD).await;
    let late = [settle_of(claim, complete())];
    let answer = store::settle(&mut stage.conn, DEAD, &late).await.expect("an answer");
    assert_eq!(written(answer[0]), None);
    assert_eq!(stage.status(id).await, Status::Running, "until it is recovered");
}

#[tokio::test]
async fn a_row_of_a_dead_session_is_recovered_whenever_it_turns_up() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    stage.bury(DEAD).await;
    assert!(recover(&mut stage.conn).await.is_empty());
    stage.send().await;
    stage.execute("update hostler.task set session = 2, claim = 9, claimed_at = now(), attempt = 1").await;
    assert_eq!(recover(&mut stage.conn).await.len(), 1);
    stage.send().await;
    stage.execute("update hostler.task set session = 77, claim = 1, claimed_at = now(), attempt = 2").await;
    let recovered = recover(&mut stage.conn).await;
    assert_eq!(recovered.len(), 2, "nor need the session ever have been heard of");
}

#[tokio::test]
async fn recovery_waits_for_nobody() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    let (stuck, free) = (stage.send().await, stage.send().await);
    claim_on(&mut stage.conn, DEAD, 1, stage.lane).await;
    stage.bury(DEAD).await;
    let mut conn = stage.other().await;
    let mut asleep = conn.begin().await.expect("a transaction");
    let lock = "select from hostler.task where id = $1 for update";
    sqlx::query(lock).bind(stuck).execute(&mut *asleep).await.expect("locked, and then nothing more");

    let ids = |recovered: Vec<store::Recovered>| recovered.iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!(ids(recover(&mut stage.conn).await), [free]);
    asleep.rollback().await.expect("awake again");
    assert_eq!(ids(recover(&mut stage.conn).await), [stuck]);
}

#[tokio::test]
async fn a_lost_attempt_is_on_record_and_counted() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    let id = stage.send_with(|options| options.redeliveries_max = 1).await;
    let first = claim_on(&mut stage.conn, DEAD, 1, stage.lane).await.remove(0);
    stage.bury(DEAD).await;
    let recovered = recover(&mut stage.conn).await;
    assert_eq!(recovered[0].status, Status::Pending);
    let attempt = stage.store.attempts(id).await.expect("an answer").remove(0);
    assert_eq!((attempt.number, attempt.outcome), (1, AttemptOutcome::WorkerFailure));
    assert_eq!((attempt.session, attempt.claimed_at), (DEAD, first.claimed_at));
    let info = stage.info(id).await;
    assert_eq!((info.redeliveries, info.retries, info.releases), (1, 0, 0), "no retry was used up");

    // The host that takes it over dies as well: a poison pill.
    join(&mut stage.conn, Session(3)).await;
    let second = claim_on(&mut stage.conn, Session(3), 1, stage.lane).await.remove(0);
    assert_eq!((second.attempt, second.previous_error.as_deref()), (2, Some("WORKER_CRASHED")));
    stage.bury(Session(3)).await;
    let recovered = recover(&mut stage.conn).await;
    assert_eq!(recovered[0].status, Status::Failed);
    let info = stage.info(id).await;
    assert_eq!(info.error.expect("failed").code.as_str(), "WORKER_CRASHED");
    let last = info.last_attempt.expect("folded in");
    assert_eq!(
        (last.number, last.outcome, last.claimed_at),
        (2, AttemptOutcome::WorkerFailure, second.claimed_at)
    );
}

#[tokio::test]
async fn a_cancel_wins_over_the_loss_of_the_host() {
    let mut stage = Stage::new().await;
    join(&mut stage.conn, DEAD).await;
    let id = stage.send().await;
    claim_on(&mut stage.conn, DEAD, 1, stage.lane).await;
    let cancelled = stage.store.cancel(id).await.expect("an answer").expect("known");
    assert_eq!((cancelled.status, cancelled.ended), (Status::Running, false));
    stage.bury(DEAD).await;
    recover(&mut stage.conn).await;
    assert_eq!(stage.status(id).await, Status::Cancelled);
}

#[tokio::test]
async fn attempts_are_numbered_without_a_gap_whatever_ends_them() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let ends = [super::stage::release(), retry(), retry(), super::stage::release(), complete()];
    for (number, verdict) in (1..).zip(ends) {
        let _moved = store::promote(&mut stage.conn, 10).await.expect("an answer");
        let claim = stage.claim_one(number).await;
        let spare = forged(&claim);
        assert!(written(stage.settle(claim, verdict).await).is_some());
        assert_eq!(i64::from(spare.attempt), number);
    }
    let attempts = stage.store.attempts(id).await.expect("an answer");
    let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    let info = stage.info(id).await;
    assert_eq!((info.attempt, info.retries, info.releases), (5, 2, 2));
    assert_eq!(info.last_attempt.expect("folded in").number, 5);
}

#[tokio::test]
async fn a_connection_that_waits_for_locks_for_ever_is_told() {
    let mut stage = Stage::new().await;
    assert!(!store::waits_for_ever(&mut stage.conn).await.expect("an answer"));
    stage.execute("set lock_timeout = 0").await;
    assert!(store::waits_for_ever(&mut stage.conn).await.expect("an answer"));
}
