//! Sends of running tasks: fenced as settles are, bounded over attempts, and forgotten with their families.

use hostler::store::{self, SentChild};
use hostler::task::{NewChild, Session, TaskId};

use super::stage::{HOST, Stage, complete, forged, join, release};

fn child(key: Option<&str>, args: &str) -> NewChild {
    NewChild {
        task: "some.task".to_owned(),
        args: args.to_owned(),
        key: key.map(str::to_owned),
        delay_ms: None,
        depth_max: 2,
        family_max: 3,
    }
}

/// A stage whose task may be sent by name.
async fn stage() -> Stage {
    let mut stage = Stage::new().await;
    stage.execute("update hostler.kind set published_at = now()").await;
    stage
}

impl Stage {
    async fn send_child(&self, held: (Session, TaskId, i64), child: &NewChild) -> SentChild {
        store::send_child(self.store.pool(), held, child).await.expect("an answer")
    }
}

fn id(sent: SentChild) -> TaskId {
    let SentChild::Yes(id, _) = sent else { panic!("{sent:?}") };
    id
}

fn refused(sent: &SentChild, words: &str) -> bool {
    matches!(sent, SentChild::Refused(why) if why.starts_with(words))
}

#[tokio::test]
async fn only_who_holds_the_claim_sends_a_child() {
    let mut stage = stage().await;
    let task = stage.send().await;
    let first = stage.claim_one(1).await;
    let held = (HOST, task, first.number);
    let one = id(stage.send_child(held, &child(Some("one"), "1")).await);
    assert_eq!(stage.info(one).await.parent, Some(task));
    for other in
        [(HOST, task, first.number + 1), (Session(99), task, first.number), (HOST, one, first.number)]
    {
        assert_eq!(stage.send_child(other, &child(None, "1")).await, SentChild::Lost);
    }
    let again = stage.send_child(held, &child(Some("one"), "1")).await;
    assert_eq!(again, SentChild::Yes(one, None), "the same key is the same task");
    assert!(refused(&stage.send_child(held, &child(Some("one"), "2")).await, "KEY_CONFLICT"));

    stage.settle(first, release()).await;
    assert_eq!(stage.send_child(held, &child(None, "1")).await, SentChild::Lost, "the claim is over");
}

#[tokio::test]
async fn a_dead_host_sends_nothing() {
    let mut stage = stage().await;
    let task = stage.send().await;
    let other = Session(2);
    join(&mut stage.conn, other).await;
    stage.session = other;
    let claim = forged(&stage.claim_one(1).await);
    stage.session = HOST;
    stage.bury(other).await;
    assert_eq!(stage.send_child((other, task, claim.number), &child(None, "1")).await, SentChild::Lost);
}

#[tokio::test]
async fn a_family_has_its_bounds_until_it_is_over() {
    let mut stage = stage().await;
    let root = stage.send().await;
    let claim = stage.claim_one(1).await;
    let (held, number) = ((HOST, root, claim.number), claim.number);
    let one = id(stage.send_child(held, &child(None, "1")).await);
    stage.settle(claim, complete()).await;
    assert_eq!(store::sweep_families(&mut stage.conn, 10).await.expect("swept"), 0, "one of it lives");
    assert_eq!(stage.send_child(held, &child(None, "1")).await, SentChild::Lost);

    let claim = stage.claim_one(number + 1).await;
    assert_eq!(claim.id, one);
    let held = (HOST, one, claim.number);
    let two = id(stage.send_child(held, &child(None, "1")).await);
    id(stage.send_child(held, &child(None, "1")).await);
    assert!(refused(&stage.send_child(held, &child(None, "1")).await, "TOO_MANY"), "three in all");
    stage.settle(claim, complete()).await;

    for claim in stage.claim(number + 2).await {
        let wide = NewChild { family_max: 10, ..child(None, "1") };
        let sent = stage.send_child((HOST, claim.id, claim.number), &wide).await;
        assert!(refused(&sent, "TOO_DEEP"), "{two}: {sent:?}");
        stage.settle(claim, complete()).await;
    }
    assert_eq!(store::sweep_families(&mut stage.conn, 10).await.expect("swept"), 1);
    let left: i64 = sqlx::query_scalar("select count(*) from hostler.child")
        .fetch_one(&mut stage.conn)
        .await
        .expect("a count");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_a_guest_does_wrong_is_its_answer_and_counts_for_nothing() {
    let mut stage = stage().await;
    let task = stage.send().await;
    let claim = stage.claim_one(1).await;
    let held = (HOST, task, claim.number);
    let unknown = NewChild { task: "no.such_task".to_owned(), ..child(None, "1") };
    let odd = NewChild { task: "'; drop table".to_owned(), ..child(None, "1") };
    for (wrong, words) in [(&unknown, "UNKNOWN_TASK"), (&odd, "VALIDATION_FAILED")] {
        for _ in 0..4 {
            let sent = stage.send_child(held, wrong).await;
            assert!(refused(&sent, words), "{sent:?}");
        }
    }
    id(stage.send_child(held, &child(None, "1")).await);
}
