//! Three ways to store tasks, with the same work: what each costs the database and what it leaves behind.
//!
//! `cargo bench -p hostler --bench storage [-- --tasks 20000 --batch 100]`. One JSON line for each design, then one
//! for each with a transaction held open that keeps vacuum from removing anything. docs/storage.md says what came of
//! it. The private server writes no full-page images, which depend on checkpoints and not on the design, and does
//! not vacuum by itself: what a design leaves behind is counted, and then vacuumed on the bill.

#[path = "../common/mod.rs"]
mod common;
mod lane;
mod meter;
mod product;
mod run;
mod wide;

use serde_json::json;

use common::Base;

/// What is done, for each design alike.
pub(crate) struct Options {
    pub(crate) tasks: usize,
    pub(crate) batch: usize,
    /// Tasks that wait at a time.
    pub(crate) backlog: usize,
    /// Of the arguments.
    pub(crate) args_bytes: usize,
    pub(crate) result_bytes: usize,
}

fn main() {
    let read = common::Options::read(&["tasks", "batch", "backlog", "args-bytes", "result-bytes"]);
    let options = Options {
        tasks: read.count("tasks", 20_000),
        batch: read.count("batch", 100),
        backlog: read.count("backlog", 2_000),
        args_bytes: read.count("args-bytes", 256),
        result_bytes: read.count("result-bytes", 64),
    };
    let base = Base::join("bench-storage-server", &[("full_page_writes", "off"), ("autovacuum", "off")]);
    // One thread, so that the process's CPU time is that of the statement under way.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for pinned in [false, true] {
            for (name, design) in run::designs(pinned) {
                let url = base.database("storage").await;
                let figures = run::run(&url, design, &options, pinned).await;
                println!(
                    "{}",
                    json!({ "bench": "storage", "design": name, "pinned": pinned, "tasks": options.tasks,
                        "batch": options.batch, "figures": figures })
                );
                base.drop_database("storage").await;
            }
        }
    });
    drop(runtime);
    base.leave();
}
