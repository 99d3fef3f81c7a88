//! The measurements.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use crate::client::Client;

use super::super::exit::Exit;
use super::cpu;
use super::stage::{HostProcess, Stage};

pub(super) const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Rounds that open connections and fill caches.
pub(super) const WARM_UP: u32 = 20;
const AN_HOUR: Duration = Duration::from_secs(3600);
const COMMITS: usize = 200;
/// The background load comes in gusts so far apart.
const GUST: Duration = Duration::from_millis(5);

#[derive(Debug, Serialize)]
pub(super) struct Send {
    pub(super) per_second: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Drain {
    pub(super) per_second: f64,
    /// Null where the process cannot be seen.
    pub(super) host_cpu_us_per_task: Option<f64>,
    /// Null where the server runs on another machine.
    pub(super) database_cpu_us_per_task: Option<f64>,
    pub(super) wal_bytes_per_task: f64,
}

/// Times of single rounds, in milliseconds, sorted.
#[derive(Debug)]
pub(super) struct Times(pub(super) Vec<f64>);

#[derive(Debug, Serialize)]
pub(super) struct Idle {
    pub(super) seconds: f64,
    pub(super) transactions_per_second: f64,
    pub(super) wal_bytes_per_second: f64,
    pub(super) host_cpu_percent: Option<f64>,
    pub(super) host_resident_bytes: Option<u64>,
}

/// What a commit waits for the disk: the median of durable commits less that of others, in microseconds.
pub(super) async fn flush(stage: &Stage) -> Result<f64, Exit> {
    let mut with = Vec::with_capacity(COMMITS);
    let mut without = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        with.push(stage.store().commit(true).await?.as_secs_f64() * 1e6);
        without.push(stage.store().commit(false).await?.as_secs_f64() * 1e6);
    }
    Ok((Times::new(with).at(0.5) - Times::new(without).at(0.5)).max(0.0))
}

/// Sends everything at once.
pub(super) async fn send(client: &Client, task: &str, args: &Value, tasks: u32) -> Result<Send, Exit> {
    let began = Instant::now();
    let many = std::iter::repeat_n(args, usize::try_from(tasks).unwrap_or(usize::MAX));
    client.send_many(task, many).await?;
    Ok(Send { per_second: f64::from(tasks) / began.elapsed().as_secs_f64() })
}

/// Lets one host drain what was sent: from the first claim to the last task final.
pub(super) async fn drain(stage: &Stage, tasks: u32) -> Result<Drain, Exit> {
    let before = stage.store().counters().await?;
    let server_before = cpu::of_server(before.pid);
    let mut host = stage.host().await?;
    finished(stage, &mut host).await?;
    let host_cpu = host.pid().and_then(cpu::of_process);
    let after = stage.store().counters().await?;
    let server_after = cpu::of_server(after.pid);
    host.stop().await?;
    let drained = stage.store().drained().await?;
    if drained.completed < i64::from(tasks) {
        let failed = i64::from(tasks) - drained.completed;
        return Err(Exit::infrastructure(format!(
            "{failed} of {tasks} tasks did not complete; what the task says alone: `hostler run`"
        )));
    }
    let tasks = f64::from(tasks);
    Ok(Drain {
        per_second: tasks / drained.seconds,
        host_cpu_us_per_task: host_cpu.map(|us| us / tasks),
        database_cpu_us_per_task: server_before.zip(server_after).map(|(from, to)| (to - from) / tasks),
        wal_bytes_per_task: (after.wal_bytes - before.wal_bytes) / tasks,
    })
}

/// One task after the other, from send to result in hand.
pub(super) async fn latency(client: &Client, task: &str, args: &Value, rounds: u32) -> Result<Times, Exit> {
    let mut times = Vec::new();
    for round in 0..rounds + WARM_UP {
        let began = Instant::now();
        client.send(task, args).await?.get(Some(ANSWER_MAX)).await?;
        if round >= WARM_UP {
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(Times::new(times))
}

/// From send to the first instructions of the body, which says what time it is.
pub(super) async fn start(client: &Client, rounds: u32) -> Result<Times, Exit> {
    let mut times = Vec::new();
    for round in 0..rounds + WARM_UP {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let handle = client.send("bench.now", json!({})).await?;
        let started = handle.get(Some(ANSWER_MAX)).await?.as_f64().unwrap_or_default();
        if round >= WARM_UP {
            times.push(started / 1e3 - began.as_secs_f64() * 1e3);
        }
    }
    Ok(Times::new(times))
}

/// As [`latency`], while others send so many a second; with how many they did send.
pub(super) async fn loaded(
    client: &Client,
    task: &str,
    args: &Value,
    rounds: u32,
    per_second: f64,
) -> Result<(Times, f64), Exit> {
    let gust = Times::count(per_second * GUST.as_secs_f64());
    let every = GUST.max(Duration::from_secs_f64(1.0 / per_second.max(0.001)));
    let sent = Mutex::new(0.0);
    let load = async {
        let mut gusts = tokio::time::interval(every);
        gusts.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            gusts.tick().await;
            match client.send_many(task, std::iter::repeat_n(args, gust)).await {
                Ok(handles) => *lock(&sent) += Times::precisely(handles.len()),
                Err(error) => return Exit::from(error),
            }
        }
    };
    let began = Instant::now();
    let times = tokio::select! {
        times = latency(client, task, args, rounds) => times?,
        failed = load => return Err(failed),
    };
    Ok((times, *lock(&sent) / began.elapsed().as_secs_f64()))
}

/// A host with nothing to do, and one client that waits for a task due in an hour.
pub(super) async fn idle(
    stage: &Stage,
    host: &HostProcess,
    task: &str,
    args: &Value,
    seconds: u32,
) -> Result<Idle, Exit> {
    let client = stage.client().await?;
    let waits = client.task(task).delay(AN_HOUR).send(args).await?;
    let watched = async {
        // The server's late counts come in.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let cpu_before = host.pid().and_then(cpu::of_process);
        let before = stage.store().counters().await?;
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
        let seconds = began.elapsed().as_secs_f64();
        let after = stage.store().counters().await?;
        Ok::<_, Exit>((cpu_before, before, seconds, after))
    };
    let (cpu_before, before, seconds, after) = tokio::select! {
        watched = watched => watched?,
        _never = waits.get(None) => return Err(Exit::infrastructure("a task ran before its time")),
    };
    let cpu_after = host.pid().and_then(cpu::of_process);
    waits.cancel().await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' work")]
    let transactions = (after.transactions - before.transactions) as f64;
    Ok(Idle {
        seconds,
        transactions_per_second: transactions / seconds,
        wal_bytes_per_second: (after.wal_bytes - before.wal_bytes) / seconds,
        host_cpu_percent: cpu_before.zip(cpu_after).map(|(from, to)| (to - from) / seconds / 1e4),
        host_resident_bytes: host.pid().and_then(cpu::resident),
    })
}

fn lock(sent: &Mutex<f64>) -> MutexGuard<'_, f64> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until every task is final, or the host is gone.
async fn finished(stage: &Stage, host: &mut HostProcess) -> Result<(), Exit> {
    while stage.store().left_over().await? {
        if let Some(status) = host.ended() {
            return Err(Exit::infrastructure(format!("the bench's host ended early: {status}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

impl Times {
    pub(super) fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// The time that this share of the rounds stayed within.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is an index"
    )]
    pub(super) fn at(&self, share: f64) -> f64 {
        let index = ((self.0.len().saturating_sub(1)) as f64 * share).round() as usize;
        self.0.get(index).copied().unwrap_or_default()
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of tasks")]
    fn precisely(count: usize) -> f64 {
        count as f64
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
    fn count(tasks: f64) -> usize {
        (tasks.round() as usize).max(1)
    }
}
