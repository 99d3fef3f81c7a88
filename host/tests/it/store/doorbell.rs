//! Wakes go out at once, and what comes meanwhile goes out together.

use std::collections::BTreeSet;

use hostler::TaskId;
use hostler::store::{Connect, Doorbell, Listener, Wake, channel, pack_ids};
use hostler::task::Session;

use crate::handle::wire::Wire;
use crate::support::{LONG, database};

async fn heard(listener: &mut Listener) -> Wake {
    tokio::time::timeout(LONG, listener.next()).await.expect("a wake")
}

/// PostgreSQL takes 7,999 bytes; an id takes 22, the number of a lane up to 11.
const MANY: usize = 2_000;

#[tokio::test]
async fn the_doorbell_rings_at_once_and_gathers_what_follows() {
    let database = database();
    let wire = Wire::to(database.url()).await;
    let mut listener = Listener::new(&database.connect(), &[channel::DONE, channel::LANES]);
    assert_eq!(heard(&mut listener).await, Wake::Lost, "it listens from here on");
    let bell = Doorbell::start(Connect::parse(wire.url()).expect("a URL"));

    let first = TaskId::now_v7();
    bell.done(vec![first]);
    // Nothing follows that it could wait for.
    assert_eq!(heard(&mut listener).await, Wake::Done(vec![first]));
    assert_eq!(wire.statements(), 1);

    let many: Vec<TaskId> = (0..MANY).map(|_| TaskId::now_v7()).collect();
    for id in &many {
        bell.done(vec![*id]);
    }
    let lanes = || i32::MAX - i32::try_from(MANY).expect("small")..i32::MAX;
    bell.lanes(lanes().collect());
    bell.flush().await;
    assert_eq!(wire.statements(), 3, "one for each channel");

    let (mut ids, mut places) = (Vec::new(), BTreeSet::new());
    while ids.len() < MANY || places.len() < MANY {
        match heard(&mut listener).await {
            Wake::Done(some) => ids.extend(some),
            Wake::Lanes(some) => places.extend(some),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ids, many, "in payloads that PostgreSQL takes");
    assert!(lanes().eq(places));
}

#[tokio::test]
async fn a_wake_that_cannot_go_out_disturbs_nobody() {
    let database = database();
    let wire = Wire::to(database.url()).await;
    let bell = Doorbell::start(Connect::parse(wire.url()).expect("a URL"));
    let mut listener = Listener::new(&database.connect(), &[channel::DONE]);
    assert_eq!(heard(&mut listener).await, Wake::Lost);
    wire.cut();
    bell.done(vec![TaskId::now_v7()]);
    bell.flush().await;
    wire.mend(&database.client().await).await;
    let id = TaskId::now_v7();
    bell.done(vec![id]);
    assert_eq!(heard(&mut listener).await, Wake::Done(vec![id]), "the lost one is left to the poll");
}

#[tokio::test]
async fn who_listens_in_the_same_process_hears_a_ring_once_and_without_the_server() {
    let database = database();
    let connect = database.connect();
    let mut listener = Listener::new(&connect, &[channel::DONE, channel::LANES]);
    assert_eq!(heard(&mut listener).await, Wake::Lost);
    let mut here = Listener::here(&connect, &[channel::CANCEL, channel::DONE]);
    let bell = Doorbell::start(connect.clone());
    let id = TaskId::now_v7();
    bell.done(vec![id]);
    bell.lanes(vec![7]);
    bell.cancel(Session(9));
    bell.flush().await;
    assert_eq!(heard(&mut here).await, Wake::DoneHere(vec![id]), "although it has no connection");
    assert_eq!(heard(&mut here).await, Wake::Cancel(Session(9)));
    // What the server passed on of these came before this one.
    let other = TaskId::now_v7();
    let notify = sqlx::query("select pg_notify($1, $2)").bind(channel::DONE).bind(pack_ids(&[other]));
    notify.execute(&mut database.conn().await).await.expect("rung");
    let mut wakes = Vec::new();
    while wakes.last() != Some(&Wake::Done(vec![other])) {
        wakes.push(heard(&mut listener).await);
    }
    let here = [Wake::Lanes(vec![7]), Wake::DoneHere(vec![id])];
    assert_eq!(wakes.len(), 3, "each once: {wakes:?}");
    assert!(here.iter().all(|wake| wakes.contains(wake)), "{wakes:?}");
}
