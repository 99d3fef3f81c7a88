//! Values of guests: written by who holds the claim alone, and counted without a drift.

use hostler::store::{self, BucketMax, ValueKey, Written};
use hostler::task::{Session, TaskId};

use super::stage::{HOST, Stage, release};

const MOST: BucketMax = BucketMax { keys: 10, bytes: 1_000 };

fn at(key: &str) -> ValueKey {
    ValueKey { bucket: "one".to_owned(), key: key.to_owned() }
}

#[tokio::test]
async fn a_value_is_written_by_who_holds_the_claim_alone() {
    let mut stage = Stage::new().await;
    let task = stage.send().await;
    let claim = stage.claim_one(1).await;
    let (held, pool) = ((HOST, task, claim.number), stage.store.pool().clone());
    let set = async |held: (Session, TaskId, i64)| {
        store::set_value(&pool, held, &at("a"), b"1", MOST).await.expect("an answer")
    };
    assert_eq!(set(held).await, Written::Yes(()));
    for other in [(HOST, task, claim.number + 1), (Session(99), task, claim.number), (HOST, TaskId::nil(), 1)]
    {
        assert_eq!(set(other).await, Written::Lost);
        let deleted = store::delete_value(&pool, other, &at("a")).await.expect("an answer");
        let added = store::add_value(&pool, other, &at("a"), 1, MOST).await.expect("an answer");
        assert_eq!((deleted, added), (Written::Lost, Written::Lost));
    }
    stage.settle(claim, release()).await;
    assert_eq!(set(held).await, Written::Lost, "the claim is over");
    assert_eq!(store::value(&pool, &at("a")).await.expect("an answer"), Some(b"1".to_vec()));
}

#[tokio::test]
async fn a_buckets_count_is_what_is_in_it() {
    let mut stage = Stage::new().await;
    let task = stage.send().await;
    let claim = stage.claim_one(1).await;
    let (held, pool) = ((HOST, task, claim.number), stage.store.pool().clone());
    let changes = (0..40).map(|n| {
        let (pool, key) = (pool.clone(), at(&format!("k{}", n % 7)));
        async move {
            match n % 4 {
                0 => drop(store::delete_value(&pool, held, &key).await.expect("an answer")),
                _ => drop(store::set_value(&pool, held, &key, &vec![0; n], MOST).await.expect("an answer")),
            }
        }
    });
    futures_util::future::join_all(changes).await;
    let sum = store::add_value(&pool, held, &at("n"), u64::MAX, MOST).await.expect("an answer");
    assert_eq!(sum, Written::Yes(u64::MAX));
    let beyond = store::add_value(&pool, held, &at("n"), 1, MOST).await.expect("an answer");
    assert_eq!(beyond, Written::TooLarge);
    let counts = "select b.keys::bigint = count(*) and b.bytes = sum(octet_length(v.key) + octet_length(v.value)) \
        from hostler.bucket b join hostler.value v on v.bucket = b.name group by b.name";
    let agree: bool = sqlx::query_scalar(counts).fetch_one(&pool).await.expect("counts");
    assert!(agree);
    stage.settle(claim, release()).await;
}

#[tokio::test]
async fn a_long_listing_goes_on_where_it_ended() {
    let stage = Stage::new().await;
    let pool = stage.store.pool();
    let fill = "insert into hostler.value (bucket, key, value) \
        select 'one', 'k' || n, '' from generate_series(1, 2300) n";
    sqlx::query(fill).execute(pool).await.expect("filled");
    let (mut seen, mut after) = (0, Some(0));
    while let Some(place) = after {
        let (keys, next) = store::value_keys(pool, "one", place).await.expect("an answer");
        (seen, after) = (seen + keys.len(), next);
    }
    assert_eq!(seen, 2_300);
    assert_eq!(store::value_keys(pool, "two", 0).await.expect("an answer"), (vec![], None));
}
