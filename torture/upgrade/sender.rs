//! A sender for `torture/upgrade/run`: one client that is never restarted. It sends until its stdin ends, and prints the id of
//! each task that was acknowledged, or a line that begins with BAD. Laid into `host/examples` of a version, it is built by
//! `cargo build --workspace --example sender`.

use std::time::{Duration, Instant};

use hostler::{Client, SendError, Status, TaskHandle};
use serde_json::{Value, json};

async fn sent(
    client: &Client,
    mut answer: Result<TaskHandle<Value>, SendError>,
) -> Option<TaskHandle<Value>> {
    for _ in 0..200 {
        match answer {
            Ok(handle) => {
                println!("{}", handle.id());
                return Some(handle);
            }
            Err(error) if error.retryable => {
                eprintln!("repeated: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                answer = client.retry_send(&error).await;
            }
            Err(error) => {
                println!("BAD send: {error}");
                return None;
            }
        }
    }
    println!("BAD send: gave up");
    None
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| "sdk".to_owned());
    let client =
        Client::connect(&std::env::var("DATABASE_URL").expect("DATABASE_URL")).await.expect("connected");
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = over.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        flag.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let mut slowest = Duration::ZERO;
    let mut n = 0u64;
    while !over.load(std::sync::atomic::Ordering::Relaxed) {
        n += 1;
        let job = |ms: u64, failures: u64| json!({"n": n, "ms": ms, "failures": failures});
        let began = Instant::now();
        match n % 10 {
            0 => {
                sent(&client, client.task("torture.stubborn").send(job(2, 2)).await).await;
            }
            1 => {
                let key = format!("{name}-{n}");
                let one = sent(&client, client.task("torture.work").key(&key).send(job(1, 0)).await).await;
                let two = sent(&client, client.task("torture.work").key(&key).send(job(1, 0)).await).await;
                if let (Some(one), Some(two)) = (one, two)
                    && one.id() != two.id()
                {
                    println!("BAD key {key} is two tasks: {} {}", one.id(), two.id());
                }
            }
            2 => {
                sent(
                    &client,
                    client.task("torture.work").delay(Duration::from_millis(1500)).send(job(1, 0)).await,
                )
                .await;
            }
            3 => {
                let waits = client.task("torture.work").delay(Duration::from_secs(60)).send(job(1, 0)).await;
                if let Some(handle) = sent(&client, waits).await {
                    match handle.cancel().await {
                        Ok(Status::Cancelled) => {}
                        other => println!("BAD cancel of a waiting task {}: {other:?}", handle.id()),
                    }
                }
            }
            4 => {
                let running = client.task("torture.work").send(job(3000, 0)).await;
                if let Some(handle) = sent(&client, running).await {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    if let Err(error) = handle.cancel().await {
                        println!("BAD cancel {}: {error}", handle.id());
                    }
                }
            }
            5 => match client.task("torture.work").send_many((0..20).map(|_| job(1, 0))).await {
                Ok(handles) => handles.iter().for_each(|handle| println!("{}", handle.id())),
                // What a failed one sent is not acknowledged.
                Err(error) => eprintln!("send_many: {error}"),
            },
            6 => {
                sent(&client, client.task("torture.work").send(job(800, 0)).await).await;
            }
            7 => {
                let once = client.task("torture.work").redeliveries(0).retries(0).send(job(50, 0)).await;
                sent(&client, once).await;
            }
            8 => {
                if let Some(handle) = sent(&client, client.task("torture.work").send(job(1, 0)).await).await {
                    match handle.get(Some(Duration::from_secs(60))).await {
                        Ok(value) if value["attempt"].as_u64() >= Some(1) => {}
                        other => println!("BAD get {}: {other:?}", handle.id()),
                    }
                }
            }
            _ => {
                let mut id_of = client.task("torture.work");
                let id = uuid::Uuid::now_v7();
                id_of = id_of.id(id);
                sent(&client, id_of.send(job(1, 0)).await).await;
                // By hand, as somebody does who heard no answer.
                sent(&client, client.task("torture.work").id(id).send(job(1, 0)).await).await;
            }
        }
        slowest = slowest.max(began.elapsed().saturating_sub(Duration::from_millis(300)));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    eprintln!("{name}: {n} rounds, the slowest {:.1} s", slowest.as_secs_f64());
}
