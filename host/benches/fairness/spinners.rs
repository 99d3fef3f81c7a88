//! Guests that spin, beside a heartbeat and beside short tasks.

use std::time::{Duration, Instant};

use hostler::Client;
use hostler::dispatch::{Host, HostConfig};
use serde_json::{Value, json};

use crate::common::{cache, config};
use crate::{Bench, spread};

pub(crate) async fn run(bench: &Bench) -> Value {
    let guests = bench.options.count("guests", 64);
    let seconds = Duration::from_secs_f64(bench.options.number("seconds", 5.0));
    let url = bench.base.database("fairness_spinners").await;
    let config = config(&url, &bench.plugins, guests + 16);
    let host = Host::start(HostConfig { cache_dir: Some(cache()), ..config }).await.expect("a host");
    let client = Client::connect(&url).await.expect("a client");
    trip(&client).await;
    let alone = measure(&client, seconds).await;
    let many = std::iter::repeat_n(json!({}), guests);
    let spinners = client.send_many("misbehave.spin_until_cancelled", many).await.expect("sent");
    while host.running() < guests {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let beside = measure(&client, seconds).await;
    let spun = host.running();
    for spinner in &spinners {
        spinner.cancel().await.expect("cancelled");
    }
    host.drain(Duration::from_secs(30)).await;
    bench.base.drop_database("fairness_spinners").await;
    assert_eq!(spun, guests, "all of them spin");
    json!({ "guests": spun, "alone": alone, "beside": beside })
}

/// How late a timer of 5 ms is on the runtime that beats, and how long a short task takes from send to result.
async fn measure(client: &Client, time: Duration) -> Value {
    let ends = Instant::now() + time;
    let timer = tokio::spawn(async move {
        let mut late = Vec::new();
        while Instant::now() < ends {
            let due = Instant::now() + Duration::from_millis(5);
            tokio::time::sleep_until(due.into()).await;
            late.push(due.elapsed());
        }
        late
    });
    let mut trips = Vec::new();
    while Instant::now() < ends {
        trips.push(trip(client).await);
    }
    json!({ "timer_late": spread(timer.await.expect("no panic")), "short_task": spread(trips) })
}

async fn trip(client: &Client) -> Duration {
    let began = Instant::now();
    let handle = client.send("misbehave.noop", &json!({})).await.expect("sent");
    handle.get(Some(Duration::from_secs(60))).await.expect("a result");
    began.elapsed()
}
