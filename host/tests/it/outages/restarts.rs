//! Servers that restart while everybody is at work.

use std::time::{Duration, Instant};

use hostler::Client;

use super::{LONG, host, send_at_last, until};
use crate::support::cluster::{Cluster, Stop};

const TASKS: usize = 150;

/// Restarts the server twice under load; then everything that was acknowledged is there, once, and done.
async fn restart(how: Stop) {
    let mut cluster = Cluster::start(&[]);
    let url = cluster.database("jobs").await;
    let client = Client::connect(&url).await.expect("a client");
    let one = host(&url, |_| {}).await;
    let two = host(&url, |config| config.listen = false).await;
    let sender = client.clone();
    let load = tokio::spawn(async move {
        let (mut sent, mut longest) = (Vec::new(), Duration::ZERO);
        while sent.len() < TASKS {
            let began = Instant::now();
            sent.push(send_at_last(&sender, 20).await);
            longest = longest.max(began.elapsed());
        }
        println!("the longest send took {longest:?}");
        sent
    });
    let done = "select count(*) from hostler.history";
    for share in [30, 90] {
        until("more is done", async || cluster.count("jobs", done).await >= share).await;
        tokio::task::block_in_place(|| {
            cluster.stop(how);
            cluster.again();
        });
    }
    let sent = load.await.expect("no panic");
    for handle in &sent {
        until("it is done", async || handle.get(Some(LONG)).await.is_ok()).await;
    }
    assert_eq!(cluster.count("jobs", "select count(*) from hostler.history where status = 3").await, 150);
    assert_eq!(cluster.count("jobs", "select count(*) from hostler.history where redeliveries > 0").await, 0);
    assert_eq!(cluster.count("jobs", "select count(*) from hostler.host where lost").await, 0);
    until("nothing is left over", async || {
        cluster.count("jobs", "select count(*) from hostler.task").await == 0
    })
    .await;
    one.drain(LONG).await;
    two.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_loses_and_repeats_nothing() {
    restart(Stop::Fast).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_loses_nothing_that_was_acknowledged() {
    restart(Stop::Immediate).await;
}
