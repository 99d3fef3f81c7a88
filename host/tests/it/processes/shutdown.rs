//! Hosts that are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hostler::{AttemptOutcome, Status};

use super::{Effects, act, ends, holds, info, plugins, serve, until};
use crate::support::{LONG, database};

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_interrupts_after_the_grace_and_uses_up_no_attempt() {
    let database = database();
    let client = database.client().await;
    let effects = Effects::holding().await;
    let plugins = plugins(&effects);
    let host = serve(&database, plugins.path(), &["--grace", "300ms"]);
    let task = act(&client, &effects, "work", 1).await;
    effects.reach(1).await;
    assert_eq!(host.terminate(), Some(0));
    let story = info(&task).await;
    assert_eq!((story.status, story.releases), (Status::Pending, 1));
    assert_eq!((story.retry_count, story.redeliveries), (0, 0));
    assert_eq!(ends(&story), [(1, AttemptOutcome::Released)]);
    assert!(holds(&database, "not exists (select from hostler.host where ended_at is null or lost)").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_exits_at_once() {
    let database = database();
    let client = database.client().await;
    let effects = Effects::holding().await;
    let plugins = plugins(&effects);
    let host = serve(&database, plugins.path(), &["--grace", "10m", "--lease", "2s"]);
    let task = act(&client, &effects, "work", 1).await;
    effects.reach(1).await;
    host.signal(libc::SIGTERM);
    until("it drains", async || holds(&database, "bool_or(draining) from hostler.host").await).await;
    assert_eq!(info(&task).await.status, Status::Running, "within the grace");
    assert_eq!(host.terminate(), Some(128 + libc::SIGTERM));

    // It left no word, so the lease decides.
    effects.answer(10);
    let heir = serve(&database, plugins.path(), &["--lease", "2s"]);
    task.get(Some(LONG)).await.expect("taken over");
    assert_eq!(
        ends(&info(&task).await),
        [(2, AttemptOutcome::Completed), (1, AttemptOutcome::WorkerFailure)]
    );
    assert_eq!(heir.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_and_repeats_nothing() {
    let database = database();
    let client = database.client().await;
    let effects = Effects::answering().await;
    let plugins = plugins(&effects);
    let mut hosts = [serve(&database, plugins.path(), &[]), serve(&database, plugins.path(), &[])];

    let enough = Arc::new(AtomicBool::new(false));
    let (sender, origin, stop) = (client.clone(), effects.origin().to_owned(), enough.clone());
    let load = tokio::spawn(async move {
        let mut sent = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let args = serde_json::json!({"url": format!("{origin}/{}", sent.len())});
            sent.push(sender.send("misbehave.fetch", args).await.expect("sent"));
        }
        sent
    });
    for round in 1..=2 {
        for host in &mut hosts {
            effects.reach(effects.seen().len() + 100).await;
            let next = serve(&database, plugins.path(), &[]);
            let old = std::mem::replace(host, next);
            assert_eq!(tokio::task::block_in_place(|| old.terminate()), Some(0), "in round {round}");
        }
    }
    enough.store(true, Ordering::Relaxed);
    let sent = load.await.expect("no panic");
    for handle in &sent {
        handle.get(Some(LONG)).await.expect("a result");
    }
    let mut seen = effects.seen();
    seen.sort_unstable_by_key(|n| n.parse::<usize>().expect("a number"));
    let all: Vec<String> = (0..sent.len()).map(|n| n.to_string()).collect();
    assert_eq!(seen, all, "each did its work once");
    let clean = "not exists (select from hostler.history where attempt > 1 or redeliveries > 0 or releases > 0) \
        and not exists (select from hostler.host where lost)";
    assert!(holds(&database, clean).await);
    for host in hosts {
        assert_eq!(tokio::task::block_in_place(|| host.terminate()), Some(0));
    }
}
