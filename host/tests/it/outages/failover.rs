//! A primary that dies, and its standby that takes over.

use std::time::{Duration, Instant};

use hostler::Client;

use super::{LONG, host, send_at_last, until};
use crate::support::cluster::{Cluster, Stop};

#[tokio::test(flavor = "multi_thread")]
async fn after_the_primary_is_killed_work_goes_on_and_nothing_acknowledged_is_lost() {
    let mut primary = Cluster::start(&["wal_level=replica", "max_wal_senders=4", "synchronous_commit=on"]);
    primary.database("jobs").await;
    let standby = primary.standby(&["hot_standby=on"]);
    primary.execute("postgres", "alter system set synchronous_standby_names = 'standby'").await;
    primary.execute("postgres", "select pg_reload_conf()").await;
    let in_step = "select count(*) from pg_stat_replication where sync_state = 'sync'";
    until("the standby is in step", async || primary.count("postgres", in_step).await == 1).await;

    // One of them is given the servers in the other order, and one looks for wakes in vain at first.
    let url = primary.url_with(&standby, "jobs");
    let other_url = standby.url_with(&primary, "jobs");
    let client = Client::connect(&url).await.expect("a client");
    let hosts = [host(&url, |_| {}).await, host(&other_url, |_| {}).await];
    let sender = client.clone();
    let load = tokio::spawn(async move {
        let (mut sent, mut longest) = (Vec::new(), Duration::ZERO);
        while sent.len() < 200 {
            let began = Instant::now();
            sent.push(send_at_last(&sender, 5).await);
            longest = longest.max(began.elapsed());
        }
        println!("the longest send took {longest:?}");
        sent
    });
    let done = "select count(*) from hostler.history";
    until("some is done", async || primary.count("jobs", done).await >= 60).await;
    tokio::task::block_in_place(|| primary.stop(Stop::Kill));
    tokio::task::block_in_place(|| standby.promote());
    // Nobody follows it; else it would wait for one.
    standby.execute("postgres", "alter system set synchronous_standby_names = ''").await;
    standby.execute("postgres", "select pg_reload_conf()").await;

    let sent = load.await.expect("no panic");
    for handle in &sent {
        until("it is done", async || handle.get(Some(LONG)).await.is_ok()).await;
    }
    assert_eq!(standby.count("jobs", "select count(*) from hostler.history where status = 3").await, 200);
    assert_eq!(standby.count("jobs", "select count(*) from hostler.task").await, 0);
    assert_eq!(standby.count("jobs", "select count(*) from hostler.history where redeliveries > 0").await, 0);
    // A waiter is woken by the new one, too, and a fresh client finds it whatever the order.
    let late = Client::connect(&url).await.expect("the first server is gone");
    send_at_last(&late, 1).await.get(Some(LONG)).await.expect("a result");
    for host in hosts {
        host.drain(LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_server_takes_writes_the_error_names_them_all() {
    let primary = Cluster::start(&["wal_level=replica", "max_wal_senders=4"]);
    primary.database("jobs").await;
    let standby = primary.standby(&["hot_standby=on"]);
    let alone = format!("{},/nowhere", standby.url("jobs"));
    let error = Client::connect(&alone).await.expect_err("there is no primary").to_string();
    assert!(error.contains("it is a standby") && error.contains("/nowhere"), "{error}");
}
