//! Durable steps: fenced as settles are, bounded, and swept up when their task has ended.

use hostler::store::{self, Kept};
use hostler::task::Session;

use super::stage::{HOST, Stage, complete, forged, join, release};

#[tokio::test]
async fn a_step_is_kept_by_who_holds_the_claim_alone() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let first = stage.claim_one(1).await;
    let pool = stage.store.pool().clone();
    let keep = async |held, name: &str, value: &[u8]| {
        store::keep(&pool, held, name, value).await.expect("an answer")
    };
    let recall = async |name: &str| store::recall(&pool, id, name).await.expect("an answer");

    let held = (HOST, id, first.number);
    assert_eq!(keep(held, "a", b"1").await, Kept::Yes);
    assert_eq!(keep(held, "a", b"2").await, Kept::Yes, "in place of the other");
    assert_eq!(keep((HOST, id, first.number + 1), "b", b"").await, Kept::Lost);
    assert_eq!(keep((Session(99), id, first.number), "b", b"").await, Kept::Lost);
    assert_eq!((recall("a").await, recall("b").await), (Some(b"2".to_vec()), None));

    stage.settle(first, release()).await;
    assert_eq!(keep(held, "a", b"3").await, Kept::Lost);
    let second = stage.claim_one(2).await;
    assert_eq!(keep(held, "a", b"3").await, Kept::Lost, "the claim before");
    assert_eq!(recall("a").await, Some(b"2".to_vec()), "it outlived its attempt");
    assert_eq!(store::sweep(&mut stage.conn, 10).await.expect("swept"), 0, "the task is not over");
    stage.settle(second, complete()).await;
    assert_eq!(store::sweep(&mut stage.conn, 10).await.expect("swept"), 1);
}

#[tokio::test]
async fn a_dead_host_keeps_nothing() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let other = Session(2);
    join(&mut stage.conn, other).await;
    stage.session = other;
    let claim = forged(&stage.claim_one(1).await);
    stage.session = HOST;
    stage.bury(other).await;
    let pool = stage.store.pool().clone();
    let kept = store::keep(&pool, (other, id, claim.number), "late", b"").await.expect("an answer");
    assert_eq!(kept, Kept::Lost);
}

#[tokio::test]
async fn a_task_keeps_only_so_much() {
    let mut stage = Stage::new().await;
    let id = stage.send().await;
    let claim = stage.claim_one(1).await;
    let pool = stage.store.pool().clone();
    let keep = async |name: String, size: usize| {
        let value = vec![0; size];
        store::keep(&pool, (HOST, id, claim.number), &name, &value).await.expect("an answer")
    };
    for at in 0..4 {
        assert_eq!(keep(format!("large {at}"), (1 << 20) - 100).await, Kept::Yes);
    }
    assert_eq!(keep("one more".to_owned(), 1_000).await, Kept::Full);
    assert_eq!(keep("large 0".to_owned(), 0).await, Kept::Yes, "less than before");
    for at in 0..252 {
        assert_eq!(keep(format!("small {at}"), 0).await, Kept::Yes);
    }
    assert_eq!(keep("one more".to_owned(), 0).await, Kept::Full);
}
