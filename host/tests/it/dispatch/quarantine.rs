//! Who is blamed for a lost host, and who is not.

use std::time::Duration;

use serde_json::json;

use super::{count, info, send, start, until, until_running};
use crate::support::{LONG, database};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_taken_for_dead_is_no_strike_against_what_it_ran() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |config| config.lease = Duration::from_secs(2)).await;
    let handle = send(&client, "misbehave.sleep", json!({"ms": 600_000})).await;
    for lost in 1..=3 {
        until_running(&handle).await;
        let before = host.session();
        let bury = "with dead as (update hostler.host set ended_at = now(), lost = true where ended_at is null \
            returning 1) select count(*) from dead";
        assert_eq!(count(&database, bury).await, 1);
        until("it starts over", async || host.session().is_some() && host.session() != before).await;
        until("it is on record", async || info(&handle).await.redeliveries == lost).await;
    }
    assert_eq!(count(&database, "select count(*) from hostler.strike").await, 3);
    assert_eq!(count(&database, "select count(*) from hostler.suspect").await, 0);
    send(&client, "misbehave.noop", json!({})).await.get(Some(LONG)).await.expect("it runs");
    handle.cancel().await.expect("cancelled");
    host.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_judges_nobody_does_not_when_it_starts_over_either() {
    for (judges, suspects) in [(true, 1), (false, 0)] {
        let database = database();
        let client = database.client().await;
        let host = start(&database, |config| config.quarantine = judges).await;
        let deaths = "with dead as (
                insert into hostler.host
                    (session, started_at, beat_at, ended_at, lost, pid, lease_ms, slots, hostname, version)
                select n, now() - (10 - n) * interval '5 s', now() - (10 - n) * interval '5 s' + interval '1 s', now(),
                    true, 1, 1, 1, '', ''
                from generate_series(1, 3) n
                returning session
            ),
            struck as (
                insert into hostler.strike (plugin, session)
                select p.id, dead.session from hostler.plugin p, dead where p.name = 'misbehave'
                returning 1
            )
            select count(*) from struck";
        assert_eq!(count(&database, deaths).await, 3);
        let before = host.session();
        let bury = "with dead as (update hostler.host set ended_at = now(), lost = true where ended_at is null \
            returning 1) select count(*) from dead";
        assert_eq!(count(&database, bury).await, 1);
        until("it starts over", async || host.session().is_some() && host.session() != before).await;
        assert_eq!(count(&database, "select count(*) from hostler.suspect").await, suspects);
        if !judges {
            send(&client, "misbehave.noop", json!({})).await.get(Some(LONG)).await.expect("it runs");
        }
        host.drain(LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspects_run_in_turns_and_the_others_all_the_time() {
    let database = database();
    let client = database.client().await;
    let host = start(&database, |_| {}).await;
    let suspect = "with put as (insert into hostler.suspect (plugin, suspect_until, reason) \
        select id, now() + interval '1 hour', 'a test' from hostler.plugin where name in ('misbehave', 'text') \
        returning 1) select count(*) from put";
    assert_eq!(count(&database, suspect).await, 2);
    let served = "select count(distinct p.name) from hostler.serving s join hostler.plugin p on p.id = s.plugin \
        where p.name in ('misbehave', 'text')";
    until("one of them is served", async || count(&database, served).await == 1).await;
    send(&client, "flaky.always_fail", json!({"code": "SO_IT_IS", "message": ""}))
        .await
        .get(Some(LONG))
        .await
        .expect_err("the others go on");
    // Whichever has to wait for its turn gets it.
    let one = send(&client, "misbehave.noop", json!({})).await;
    let other = send(&client, "text.word_count", json!({"text": ""})).await;
    one.get(Some(LONG)).await.expect("a result");
    other.get(Some(LONG)).await.expect("a result");
    host.drain(LONG).await;
}
