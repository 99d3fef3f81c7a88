//! What a send can rely on: transactions that see the present, and notes of what may still arrive.

use hostler::store::{self, PgConnection, StoreError};
use hostler::task::TaskId;
use sqlx::Connection;

use super::stage::{Stage, new_task};

async fn raised(stage: &Stage) -> PgConnection {
    let mut conn = stage.other().await;
    let raise = "set default_transaction_isolation = 'repeatable read'";
    sqlx::query(raise).execute(&mut conn).await.expect(raise);
    conn
}

#[tokio::test]
async fn a_send_in_a_transaction_that_sees_the_past_is_refused() {
    let stage = Stage::new().await;
    let mut conn = raised(&stage).await;
    let task = [new_task(TaskId::now_v7())];
    let refused = store::insert(&mut conn, &stage.options(), &task, true).await.expect_err("refused");
    assert!(matches!(refused, StoreError::Isolated), "{refused}");
    let mut theirs = conn.begin().await.expect("a transaction");
    let refused = store::sees_present(&mut theirs).await.expect_err("it does not");
    assert!(matches!(refused, StoreError::Isolated), "{refused}");
    drop(theirs);
    let mut ours = store::begin(&mut conn).await.expect("a transaction of our own");
    store::sees_present(&mut ours).await.expect("it does");
    store::insert_again(&mut ours, &stage.options(), &task, true, true).await.expect("sent");
    ours.commit().await.expect("sent");
    assert_eq!(stage.places(task[0].id).await, (1, 0));
}

#[tokio::test]
async fn a_role_whose_transactions_see_the_past_sends_as_others_do() {
    let mut stage = Stage::new().await;
    let raise = "do $$ begin execute format('alter database %I set default_transaction_isolation = serializable', \
        current_database()); end $$";
    stage.execute(raise).await;
    let mut conn = stage.other().await;
    store::sees_present(&mut conn).await.expect("our own settings win");
    store::insert(&mut conn, &stage.options(), &[new_task(TaskId::now_v7())], true).await.expect("sent");
}

#[tokio::test]
async fn notes_of_repeated_sends_go_when_those_cannot_arrive_any_more() {
    let mut stage = Stage::new().await;
    let old = "insert into hostler.resent values (hostler.id_floor(now() - interval '2 days 1 minute')), \
        (hostler.id_floor(now() - interval '1 day 1 minute'))";
    stage.execute(old).await;
    let count = "select count(*) from hostler.resent";
    for (limit, left) in [(0, 2), (10, 1), (10, 1)] {
        store::prune(&mut stage.conn, 30, limit).await.expect("an answer");
        let now: i64 = sqlx::query_scalar(count).fetch_one(&mut stage.conn).await.expect("a count");
        assert_eq!(now, left);
    }
}
