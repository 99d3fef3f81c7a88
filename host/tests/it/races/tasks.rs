//! Moves of one task that meet.

use chrono::Utc;
use hostler::Status;
use hostler::store::{Settled, expire, insert_again};

use super::ledger::{Ledger, cancel, claim, complete, declare_lost, retry, settle, settle_of};
use super::race;

fn written(status: Status) -> impl Fn(&Settled) -> bool {
    move |settled| matches!(settled, Settled::Written { status: now, .. } if *now == status)
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_against_complete() {
    let mut ledger = Ledger::open().await;
    let session = ledger.join().await;

    // The cancel is first: the body that completed all the same wins.
    let id = ledger.send().await;
    let done = settle_of(ledger.claim(session).await.expect("due"), complete());
    let (asked, settled) =
        race(&ledger.database, async |c| cancel(c, id).await, async |c| settle(c, session, &done).await)
            .await;
    assert_eq!(asked, Some(2), "RUNNING: its host is asked");
    assert!(written(Status::Completed)(&settled), "{settled:?}");
    assert_eq!(ledger.check(id).await, Status::Completed);

    // The result is first: the cancel answers with what the task is.
    let id = ledger.send().await;
    let done = settle_of(ledger.claim(session).await.expect("due"), complete());
    let store = ledger.store.clone();
    let (settled, asked) = race(
        &ledger.database,
        async |c| settle(c, session, &done).await,
        async |_| store.cancel(id).await.expect("an answer").expect("known"),
    )
    .await;
    assert!(written(Status::Completed)(&settled));
    assert_eq!((asked.status, asked.ended), (Status::Completed, false));
    assert_eq!(ledger.check(id).await, Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn expire_against_claim() {
    let mut ledger = Ledger::open().await;
    let session = ledger.join().await;
    let late = |ledger: &Ledger| hostler::store::SendOptions {
        good_until: Some(Utc::now() + std::time::Duration::from_secs(2)),
        ..ledger.options()
    };
    // The claim is first: the sweep leaves it alone, whatever the time is when it commits.
    let options = late(&ledger);
    let id = ledger.send_with(&options).await;
    let (number, lane) = (ledger.number(), ledger.lane);
    let (claimed, expired) = race(
        &ledger.database,
        async |c| claim(c, session, number, lane).await,
        async |c| {
            while Utc::now() < options.good_until.expect("set") {}
            expire(c, 10).await.expect("an answer")
        },
    )
    .await;
    assert!(expired.is_empty());
    let claimed = claimed.expect("it was due");
    assert_eq!(ledger.check(id).await, Status::Running);
    // The host looks at the time once more before the first guest instruction.
    let verdict = hostler::task::verdict::Verdict::Expire;
    let settled = settle(&mut ledger.conn, session, &settle_of(claimed, verdict)).await;
    assert!(written(Status::Expired)(&settled));
    assert_eq!(ledger.check(id).await, Status::Expired);

    // The sweep is first: nothing is left to claim.
    let options = hostler::store::SendOptions { good_until: Some(Utc::now()), ..ledger.options() };
    let id = ledger.send_with(&options).await;
    let number = ledger.number();
    let (expired, claimed) = race(
        &ledger.database,
        async |c| expire(c, 10).await.expect("an answer"),
        async |c| claim(c, session, number, lane).await,
    )
    .await;
    assert_eq!(expired, [id]);
    assert!(claimed.is_none());
    assert_eq!(ledger.check(id).await, Status::Expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_against_cancel() {
    let mut ledger = Ledger::open().await;
    let session = ledger.join().await;

    // The cancel is first: no other attempt.
    let id = ledger.send().await;
    let again = settle_of(ledger.claim(session).await.expect("due"), retry());
    let (_, settled) =
        race(&ledger.database, async |c| cancel(c, id).await, async |c| settle(c, session, &again).await)
            .await;
    assert!(written(Status::Cancelled)(&settled), "{settled:?}");
    assert_eq!(ledger.check(id).await, Status::Cancelled);

    // The retry is first: the cancel looks again and finds it waiting.
    let id = ledger.send().await;
    let again = settle_of(ledger.claim(session).await.expect("due"), retry());
    let store = ledger.store.clone();
    let (settled, asked) = race(
        &ledger.database,
        async |c| settle(c, session, &again).await,
        async |_| store.cancel(id).await.expect("an answer").expect("known"),
    )
    .await;
    assert!(written(Status::Pending)(&settled), "{settled:?}");
    assert_eq!((asked.status, asked.ended), (Status::Cancelled, true));
    assert_eq!(ledger.check(id).await, Status::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn host_lost_against_settle_and_against_cancel() {
    let mut ledger = Ledger::open().await;
    let [dead, living] = [ledger.join().await, ledger.join().await];

    // Declared dead first: what the dead host still brings is dropped.
    let id = ledger.send().await;
    let done = settle_of(ledger.claim(dead).await.expect("due"), complete());
    let (lost, settled) =
        race(&ledger.database, async |c| declare_lost(c, dead).await, async |c| settle(c, dead, &done).await)
            .await;
    assert!(lost);
    assert_eq!(settled, Settled::ClaimLost);
    ledger.recover().await;
    assert_eq!(ledger.check(id).await, Status::Pending);
    assert!(ledger.claim(living).await.is_some(), "in front");
    assert!(ledger.claim(dead).await.is_none(), "the dead claim nothing");

    // The settle is first: the judge skips and comes back, and nothing is left to take.
    let dead = ledger.join().await;
    let id = ledger.send().await;
    let done = settle_of(ledger.claim(dead).await.expect("due"), complete());
    let (settled, lost) =
        race(&ledger.database, async |c| settle(c, dead, &done).await, async |c| declare_lost(c, dead).await)
            .await;
    assert!(written(Status::Completed)(&settled));
    assert!(!lost, "it waits for nobody");
    ledger.lose(dead).await;
    assert_eq!(ledger.check(id).await, Status::Completed);

    // A cancel beats the loss of the host.
    let dead = ledger.join().await;
    let id = ledger.send().await;
    ledger.claim(dead).await.expect("due");
    cancel(&mut ledger.conn, id).await;
    ledger.lose(dead).await;
    assert_eq!(ledger.check(id).await, Status::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_against_one_task() {
    let mut ledger = Ledger::open().await;
    let [one, two] = [ledger.join().await, ledger.join().await];
    let id = ledger.send().await;
    let (lane, numbers) = (ledger.lane, [ledger.number(), ledger.number()]);
    let (first, second) = race(
        &ledger.database,
        async |c| claim(c, one, numbers[0], lane).await,
        async |c| claim(c, two, numbers[1], lane).await,
    )
    .await;
    assert!(first.is_some() && second.is_none(), "the second one skips what the first one holds");
    assert_eq!(ledger.check(id).await, Status::Running);

    // A claim that another host's release gave back: the old claim can write nothing.
    let old = first.expect("claimed");
    ledger.lose(one).await;
    let new = ledger.claim(two).await.expect("requeued");
    assert_eq!((old.claim.attempt, new.claim.attempt), (1, 2));
    assert_eq!(settle(&mut ledger.conn, one, &settle_of(old, complete())).await, Settled::ClaimLost);
    assert_eq!(ledger.check(id).await, Status::Running);
    settle(&mut ledger.conn, two, &settle_of(new, complete())).await;
    assert_eq!(ledger.check(id).await, Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_against_settle() {
    let mut ledger = Ledger::open().await;
    let session = ledger.join().await;
    // A get that looks while the settle is under way sees the task in one place, before or after.
    let client =
        hostler::Client::builder(ledger.database.url()).listen(false).connect().await.expect("a client");
    let id = ledger.send().await;
    let done = settle_of(ledger.claim(session).await.expect("due"), complete());
    let handle = client.handle::<u32>(id);
    let waiting = handle.clone();
    let (_, (before, waiting)) = race(
        &ledger.database,
        async |c| settle(c, session, &done).await,
        async |_| {
            let before = handle.get(Some(std::time::Duration::ZERO)).await;
            (before, tokio::spawn(async move { waiting.get(None).await }))
        },
    )
    .await;
    let before = before.expect_err("not committed yet");
    assert_eq!(before.data.expect("data")["status"], "RUNNING");
    assert_eq!(waiting.await.expect("no panic").expect("the poll finds it"), 1);
    assert_eq!(handle.get(None).await.expect("kept"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_send_against_the_settle_of_the_first() {
    let mut ledger = Ledger::open().await;
    let session = ledger.join().await;
    let options = ledger.options();
    for settle_first in [true, false] {
        let task = super::ledger::new_task();
        let id = task.id;
        hostler::store::insert(&mut ledger.conn, &options, std::slice::from_ref(&task), true)
            .await
            .expect("sent");
        let done = settle_of(ledger.claim(session).await.expect("due"), complete());
        let resend = async |c: &mut hostler::store::PgConnection| {
            use sqlx::Connection;
            // The undo sees the settle only from a transaction that began with the insert.
            let mut tx = c.begin().await.expect("a transaction");
            let new = insert_again(&mut tx, &options, std::slice::from_ref(&task), true, true)
                .await
                .expect("an answer");
            tx.commit().await.expect("committed");
            new
        };
        let new = if settle_first {
            race(&ledger.database, async |c| settle(c, session, &done).await, resend).await.1
        } else {
            race(&ledger.database, resend, async |c| settle(c, session, &done).await).await.0
        };
        assert!(new.is_empty(), "the first one stays, settle first: {settle_first}");
        assert_eq!(ledger.check(id).await, Status::Completed);
        assert!(ledger.claim(session).await.is_none(), "it does not run again");
    }
}
