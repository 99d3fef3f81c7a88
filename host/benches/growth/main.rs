//! What a task costs when the database is not empty, not idle and not alone: real hosts over real tables.
//!
//! `cargo bench -p hostler --bench growth -- CASE… [options]`, one JSON line a case. Each compares the same work with
//! and without its burden; where it can, in turns. Options that a case does not know it ignores; the values given
//! here are the usual ones.
//!
//! | case | burden | options |
//! |---|---|---|
//! | `history` | finished tasks of 20 days | `--rows 10000000 --tasks 20000 --rounds 3` |
//! | `pending` | tasks that nobody here serves; a long backlog of one lane | `--rows 1000000 --tasks 20000 --rounds 3` |
//! | `delayed` | tasks in the waiting room | `--rows 100000 --tasks 20000 --rounds 3` |
//! | `names` | plugins' names and lanes of others | `--rows 1000 --tasks 20000 --rounds 3` |
//! | `hosts` | rows of hosts, half of them alive | `--rows 64 --tasks 20000 --rounds 3` |
//! | `pinned` | a transaction held open | `--minutes 10 --rate 5000 --interval 60` |
//! | `steady` | time: sending and draining without a pause | `--minutes 10 --backlog 50000 --interval 60` |
//! | `hosts4` | 1, 2 and 4 hosts, each a process | `--tasks 50000 --rounds 3`, `--native 1` without guests, `--apart 1` with a core for the database alone |
//! | `retained` | the past: rounds of tasks that grew old and went, on their way through the product's own retention | `--tasks 500000 --rounds 20`, the last two of which stay |
//! | `sleepers` | guests asleep at once | `--tasks 10000 --seconds 20` |
//!
//! `--slots 256` is what a host runs at once. The server is a durable private one in the target directory.

mod ageing;
mod backends;
#[path = "../common/mod.rs"]
mod common;
mod cores;
mod crowd;
mod fleet;
mod history;
mod pinned;
mod retained;
mod sleepers;
mod stage;
mod steady;

use std::path::PathBuf;

use common::{Base, Options};

/// What every case works with.
pub(crate) struct Bench {
    pub(crate) base: Base,
    pub(crate) plugins: PathBuf,
    pub(crate) options: Options,
}

impl Bench {
    pub(crate) fn tasks(&self) -> usize {
        self.options.count("tasks", 20_000)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.options.count("rounds", 3)
    }

    pub(crate) fn slots(&self) -> usize {
        self.options.count("slots", 256)
    }
}

const KNOWN: &[&str] = &[
    "rows", "tasks", "rounds", "slots", "minutes", "rate", "interval", "backlog", "seconds", "native",
    "apart", "as-host",
];

fn main() {
    let options = Options::read(KNOWN);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Some(url) = options.text("as-host") {
        return runtime.block_on(fleet::be_a_host(url, &options));
    }
    assert!(!options.words.is_empty(), "name a case; the head of this file lists them");
    let cases = options.words.clone();
    let bench = Bench { base: Base::join("bench-growth-server", &[]), plugins: common::plugins(), options };
    runtime.block_on(async {
        for case in &cases {
            let figures = match case.as_str() {
                "history" => history::run(&bench).await,
                "pending" => crowd::pending(&bench).await,
                "delayed" => crowd::delayed(&bench).await,
                "names" => crowd::names(&bench).await,
                "hosts" => crowd::hosts(&bench).await,
                "pinned" => pinned::run(&bench).await,
                "steady" => steady::run(&bench).await,
                "hosts4" => fleet::run(&bench).await,
                "retained" => retained::run(&bench).await,
                "sleepers" => sleepers::run(&bench).await,
                other => panic!("no case {other}; the head of this file lists them"),
            };
            println!("{}", serde_json::json!({ "bench": "growth", "case": case, "figures": figures }));
        }
    });
    drop(runtime);
    bench.base.leave();
}
