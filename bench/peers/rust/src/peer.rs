//! What is the same for every peer: the measurements, and the lines that the runner reads.

use std::io::BufRead;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Notify;

pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Rounds that are not counted: they open connections and fill caches.
const WARM_UP: usize = 20;
const PAUSE: Duration = Duration::from_millis(2);

/// The payload of every job: 100 bytes of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Payload {
    pad: String,
}

impl Payload {
    pub(crate) fn new() -> Payload {
        Payload { pad: "x".repeat(100 - r#"{"pad":""}"#.len()) }
    }
}

/// One queue, driven through what its documentation recommends.
pub(crate) trait Peer: Sized {
    /// Makes the schema in an empty database.
    async fn prepare(url: &str);

    /// A sender, connected.
    async fn connect(url: &str) -> Self;

    /// Sends that many jobs through the bulk path.
    async fn send_many(&self, count: usize);

    /// Sends one job. Where the peer has results: what resolves with the result in hand.
    async fn send_one(&self) -> Option<Running>;

    /// A worker, connected as far as the peer allows before it takes work; awaiting it runs it.
    async fn worker(url: &str) -> Running;

    /// Whether that many jobs are final in the database, and none is left.
    async fn all_final(&self, pool: &PgPool, count: usize) -> bool;
}

static STARTS: OnceLock<Starts> = OnceLock::new();

enum Starts {
    Counted { goal: usize, seen: AtomicUsize, first: AtomicI64, reached: Notify },
    Printed,
}

/// To be called first thing by every handler.
pub(crate) fn started() {
    match STARTS.get() {
        Some(Starts::Counted { goal, seen, first, reached }) => {
            let before = seen.fetch_add(1, Ordering::Relaxed);
            if before == 0 {
                first.store(now_us(), Ordering::Relaxed);
            }
            if before + 1 == *goal {
                reached.notify_one();
            }
        }
        Some(Starts::Printed) => println!("{}", now_us()),
        None => {}
    }
}

/// The machine's wall clock, the same in every process.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_micros()).expect("a clock before the year 292,000")
}

pub(crate) async fn pool(url: &str, connections: u32) -> PgPool {
    let options =
        sqlx::postgres::PgPoolOptions::new().min_connections(connections).max_connections(connections);
    options.connect(url).await.expect("the database")
}

pub(crate) async fn send<P: Peer>(url: &str, count: usize) {
    let peer = P::connect(url).await;
    let began = Instant::now();
    peer.send_many(count).await;
    println!("{}", serde_json::json!({ "seconds": began.elapsed().as_secs_f64() }));
}

pub(crate) async fn drain<P: Peer>(url: &str, goal: usize) {
    let counted =
        Starts::Counted { goal, seen: AtomicUsize::new(0), first: AtomicI64::new(0), reached: Notify::new() };
    let starts = STARTS.get_or_init(|| counted);
    let Starts::Counted { seen, first, reached, .. } = starts else { unreachable!("set above") };
    let (peer, pool) = (P::connect(url).await, pool(url, 1).await);
    let worker = P::worker(url).await;
    println!("ready");
    wait_for_a_line();
    let worker = tokio::spawn(worker);
    tokio::select! {
        () = reached.notified() => {}
        ended = worker => panic!("the worker ended: {ended:?}"),
    }
    while !peer.all_final(&pool, goal).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seconds = (now_us() - first.load(Ordering::Relaxed)) as f64 / 1e6;
    println!("{}", serde_json::json!({ "seconds": seconds, "starts": seen.load(Ordering::Relaxed) }));
    // The runner reads this process's CPU time, then closes the pipe.
    wait_for_a_line();
    std::process::exit(0);
}

pub(crate) async fn serve<P: Peer>(url: &str) {
    assert!(STARTS.set(Starts::Printed).is_ok(), "set once");
    P::worker(url).await.await;
}

/// Reads the lines of a `serve`, one for each start.
pub(crate) async fn rounds<P: Peer>(url: &str, count: usize) {
    let peer = P::connect(url).await;
    let mut lines = std::io::stdin().lines();
    let (mut starts, mut results) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + count {
        // The job before has started; this lets it finish.
        tokio::time::sleep(PAUSE).await;
        let sent = now_us();
        let result = peer.send_one().await;
        let got = match result {
            Some(result) => {
                result.await;
                Some(now_us() - sent)
            }
            None => None,
        };
        let line = lines.next().expect("the worker lives").expect("a line");
        let started: i64 = line.trim().parse().expect("a time");
        if round >= WARM_UP {
            starts.push(started - sent);
            results.extend(got);
        }
    }
    println!("{}", serde_json::json!({ "start_us": starts, "result_us": results }));
    std::process::exit(0);
}

fn wait_for_a_line() {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("stdin");
}
