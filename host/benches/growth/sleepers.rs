//! Guests that sleep, all at once in one host: the memory each takes, and that all of them end.

use std::time::{Duration, Instant};

use hostler::dispatch::{Host, HostConfig};
use serde_json::{Value, json};

use crate::Bench;
use crate::common::{cache, config, cpu, round};
use crate::stage::Stage;

pub(crate) async fn run(bench: &Bench) -> Value {
    let guests = bench.options.count("tasks", 10_000);
    let seconds = bench.options.number("seconds", 20.0);
    let stage = Stage::new(bench, "sleepers").await;
    let config = config(&stage.url, &bench.plugins, guests);
    let host = Host::start(HostConfig { cache_dir: Some(cache()), ..config }).await.expect("a host");
    // One guest of each kind of memory has been there before anything counts.
    let nap = json!({ "ms": 1 });
    let first = stage.client.send("misbehave.sleep", &nap).await.expect("sent");
    first.get(Some(Duration::from_secs(30))).await.expect("a result");
    let idle = Memory::now();

    let args = json!({ "ms": seconds * 1000.0 });
    let args = json!({ "ms": args["ms"].as_f64().map(f64::round).map(|ms| ms as u64) });
    let handles =
        stage.client.send_many("misbehave.sleep", std::iter::repeat_n(&args, guests)).await.expect("sent");
    let (began, mut most, mut at_most, mut all_after) = (Instant::now(), 0, idle, None);
    let mut cpu_asleep = cpu::cpu();
    while began.elapsed().as_secs_f64() < seconds + 60.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let running = host.running();
        if running > most {
            (most, at_most) = (running, Memory::now());
        }
        if running == guests && all_after.is_none() {
            all_after = Some(began.elapsed().as_secs_f64());
            cpu_asleep = cpu::cpu();
        }
        if running < most && most == guests {
            break;
        }
    }
    let asleep = began.elapsed().as_secs_f64() - all_after.unwrap_or(0.0);
    let cpu_share = (cpu::cpu() - cpu_asleep).as_secs_f64() / asleep;
    for handle in &handles {
        handle.get(Some(Duration::from_secs(120))).await.expect("every guest ends");
    }
    let ended = began.elapsed().as_secs_f64();
    host.drain(Duration::from_secs(30)).await;
    stage.end(bench).await;
    let each =
        |bytes: fn(&Memory) -> f64| round((bytes(&at_most) - bytes(&idle)) / most.max(1) as f64 / 1024.0, 1);
    json!({
        "guests": guests, "at_once": most, "all_asleep_after_seconds": all_after.map(|s| round(s, 2)),
        "all_ended_after_seconds": round(ended, 1), "slept_seconds": seconds,
        "resident_kib_each": each(|m| m.resident), "page_tables_kib_each": each(|m| m.page_tables),
        "resident_mib_idle": round(idle.resident / 1048576.0, 1), "virtual_gib": round(at_most.virtual_bytes / 1e9, 0),
        "mappings": at_most.mappings, "cores_while_asleep": round(cpu_share, 3),
    })
}

/// Of this process, in bytes.
#[derive(Debug, Clone, Copy)]
struct Memory {
    resident: f64,
    page_tables: f64,
    virtual_bytes: f64,
    mappings: usize,
}

impl Memory {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name: &str| -> f64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
        };
        let mappings = std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().count();
        Self {
            resident: kib("VmRSS") * 1024.0,
            page_tables: kib("VmPTE") * 1024.0,
            virtual_bytes: kib("VmSize") * 1024.0,
            mappings,
        }
    }
}
