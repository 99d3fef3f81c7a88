//! Outages that outlast a lease.

use std::time::{Duration, Instant};

use hostler::{AttemptOutcome, Client, SendErrorCode, Status};
use serde_json::json;

use super::{LONG, host, info, nap, send_at_last, until};
use crate::handle::wire::Wire;
use crate::support::cluster::{Cluster, Stop};

const LEASE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_lease_makes_no_poison_pill() {
    let mut cluster = Cluster::start(&[]);
    let url = cluster.database("jobs").await;
    let client = Client::connect(&url).await.expect("a client");
    let hosts = [host(&url, |c| c.lease = LEASE).await, host(&url, |c| c.lease = LEASE).await];
    // One survives no lost host at all.
    let task = client.task("misbehave.step").redeliveries(1).unpublished();
    let task = task.send(json!({"steps": 1, "ms": 1, "stay": true})).await.expect("sent");
    // A busy machine may give it back once more, for want of a lease that holds.
    let mut attempt = 0;
    let runs_anew = async |attempt: &mut u32| {
        until("it runs", async || {
            let story = info(&task).await;
            let anew = story.status == Status::Running && story.attempt > *attempt;
            if anew {
                *attempt = story.attempt;
            }
            anew
        })
        .await;
    };
    for _ in 0..3 {
        runs_anew(&mut attempt).await;
        let running = || hosts.iter().map(hostler::dispatch::Host::running).sum::<usize>();
        cluster.stop(Stop::Fast);
        let error = client.send("misbehave.noop", json!({})).await.expect_err("nobody is there");
        assert_eq!((error.code, error.retryable), (SendErrorCode::EnqueueFailed, true));
        // It waits to be given back: nothing can be written, and nothing is lost.
        assert_eq!(running(), 1);
        let began = Instant::now();
        until("the lease is long over", async || began.elapsed() > LEASE * 2).await;
        assert_eq!(running(), 1);
        tokio::task::block_in_place(|| cluster.again());
    }
    runs_anew(&mut attempt).await;
    let story = info(&task).await;
    assert_eq!((story.redeliveries, story.retry_count), (0, 0));
    assert!(story.releases >= 3, "{}", story.releases);
    let attempts = story.attempts.expect("asked for");
    assert!(attempts.iter().all(|attempt| attempt.outcome == AttemptOutcome::Released), "{attempts:?}");
    assert_eq!(cluster.count("jobs", "select count(*) from hostler.host where lost").await, 0);
    task.cancel().await.expect("an answer");
    for host in hosts {
        host.drain(LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_told_to_stop_during_an_outage_stops_when_its_lease_is_over() {
    let mut cluster = Cluster::start(&[]);
    let url = cluster.database("jobs").await;
    let client = Client::connect(&url).await.expect("a client");
    let host = host(&url, |c| c.lease = LEASE).await;
    let task = nap(&client, 25_000).await;
    until("it runs", async || info(&task).await.status == Status::Running).await;
    cluster.stop(Stop::Fast);
    let drained = tokio::time::timeout(LONG, host.drain(Duration::ZERO)).await.expect("it ends");
    assert_eq!(drained.interrupted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_given_up() {
    let database = crate::support::database();
    let wire = Wire::to(database.url()).await;
    let host = host(wire.url(), |c| c.lease = LEASE).await;
    let client = Client::connect(wire.url()).await.expect("a client");
    nap(&client, 1).await.get(Some(LONG)).await.expect("a result");
    let running = nap(&client, 500).await;
    until("it runs", async || info(&running).await.status == Status::Running).await;
    wire.silence();
    // Sooner or later: what gets no answer says so, and may be repeated.
    send_at_last(&client, 1).await.get(Some(LONG)).await.expect("a result");
    running.get(Some(LONG)).await.expect("settled on another connection");
    assert_eq!(info(&running).await.attempt, 1);
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_connections_are_refused_asks_at_its_usual_pace() {
    let database = crate::support::database();
    let wire = Wire::to(database.url()).await;
    let host = host(wire.url(), |c| c.lease = LEASE).await;
    wire.cut();
    let (began, before) = (Instant::now(), wire.attempts());
    until("a lease is over", async || began.elapsed() > LEASE).await;
    let asked = wire.attempts() - before;
    // Three beats a lease, each tried ten times, and little else; without a pause it is thousands a second.
    assert!((10..400).contains(&asked), "{asked}");
    let client = wire.client().connect().await;
    assert!(client.is_err(), "still refused");
    host.drain(Duration::ZERO).await;
}
