//! Several hosts on one database, each a process: the same backlog by 1, 2 and 4 of them.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use hostler::dispatch::{Host, HostConfig};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::Bench;
use crate::common::{Options, cache, config, median, plugins, round};
use crate::cores::Apart;
use crate::stage::{Drained, Stage};

const SIZES: [usize; 3] = [1, 2, 4];

pub(crate) async fn run(bench: &Bench) -> Value {
    let tasks = bench.options.count("tasks", 50_000);
    let stage = Stage::new(bench, "fleet").await;
    let apart = (bench.options.count("apart", 0) > 0).then(|| Apart::keep(&bench.base.postgres));
    let mut drained: Vec<Vec<Drained>> = vec![Vec::new(); SIZES.len()];
    for round in 0..=bench.rounds() {
        for (size, drained) in SIZES.iter().zip(&mut drained) {
            let hosts: Vec<Other> = (0..*size).map(|_| Other::start(bench, &stage.url)).collect();
            let pids: Vec<u32> = hosts.iter().map(|host| host.child.id()).collect();
            let figures = stage.drain_with_hosts(bench, tasks, &pids).await;
            hosts.into_iter().for_each(Other::end);
            if round > 0 {
                drained.push(figures);
            }
        }
    }
    let kept_apart = apart.is_some();
    drop(apart);
    stage.end(bench).await;
    let middle = |size: usize, what: fn(&Drained) -> f64| median(drained[size].iter().map(what).collect());
    let one = middle(0, |d| d.per_second);
    let figures = |size: usize| {
        let rate = middle(size, |d| d.per_second);
        json!({
            "hosts": SIZES[size], "drain_per_second": round(rate, 0), "to_one": round(rate / one, 3),
            "hosts_cpu_us_per_task": round(middle(size, |d| d.host_us), 1),
            "database_cpu_us_per_task": round(middle(size, |d| d.database_us), 1),
        })
    };
    json!({
        "tasks": tasks, "slots_of_each": bench.slots(), "native": native(&bench.options), "apart": kept_apart,
        "fleets": (0..SIZES.len()).map(figures).collect::<Vec<_>>(),
    })
}

/// Whether hosts answer without a guest.
fn native(options: &Options) -> bool {
    options.count("native", 0) > 0
}

/// This program once more, as a host.
struct Other {
    child: Child,
    /// Closing it tells the host to end.
    leash: ChildStdin,
}

impl Other {
    fn start(bench: &Bench, url: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--as-host", url, "--slots", &bench.slots().to_string()])
            .args(["--native", if native(&bench.options) { "1" } else { "0" }])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let said = child.stdout.take().expect("piped");
        BufReader::new(said).read_line(&mut line).expect("a word");
        assert_eq!(line.trim(), "ready");
        let leash = child.stdin.take().expect("piped");
        Self { child, leash }
    }

    fn end(self) {
        let Self { mut child, leash } = self;
        drop(leash);
        assert!(child.wait().expect("an end").success());
    }
}

/// Serves until its input ends.
pub(crate) async fn be_a_host(url: &str, options: &Options) {
    let slots = options.count("slots", 256);
    let config = HostConfig {
        cache_dir: Some(cache()),
        without_sandbox: native(options),
        ..config(url, &plugins(), slots)
    };
    let host = Host::start(config).await.expect("a host");
    println!("ready");
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await.expect("an end");
    host.drain(Duration::from_secs(5)).await;
}
