//! What a host's neighbours and its heartbeat notice of guests that take all they can get.
//!
//! `cargo bench -p hostler --bench fairness [-- spinners cancels waiters plugins]`, all of them if none is named; each
//! prints one line of JSON, or fails where not all guests do what they are to do. `--guests N`
//! is how many spin or wait, or how many plugins there are, `--seconds N` how long.
//!
//! - `spinners`: a timer of the host's runtime, and the round trip of short tasks, with and without spinning guests.
//! - `cancels`: from the end of the grace to the end of a guest that spins, sleeps, calls the host, or waits for an
//!   HTTP answer that never comes.
//! - `waiters`: that many guests at once in one host that wait for an HTTP answer, and the memory each takes.
//! - `plugins`: that many plugins loaded from a warm cache.

#[path = "../common/mod.rs"]
mod common;

mod cancels;
mod plugins;
mod spinners;
mod waiters;

use std::path::PathBuf;
use std::time::Duration;

use common::{Base, Options};
use serde_json::{Value, json};

/// What every case needs.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) base: Base,
    pub(crate) plugins: PathBuf,
}

fn main() {
    if std::env::args().any(|arg| arg == waiters::SERVER) {
        waiters::serve();
    }
    let options = Options::read(&["guests", "seconds"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let base = Base::join("fairness", &[]);
    let bench = Bench { options, base, plugins: common::plugins() };
    let wanted = |name: &str| bench.options.words.is_empty() || bench.options.words.iter().any(|w| w == name);
    let show = |name: &str, value: Value| println!("{}", json!({ name: value }));
    if wanted("spinners") {
        show("spinners", runtime.block_on(spinners::run(&bench)));
    }
    if wanted("cancels") {
        show("cancels", runtime.block_on(cancels::run(&bench)));
    }
    if wanted("waiters") {
        show("waiters", runtime.block_on(waiters::run(&bench)));
    }
    if wanted("plugins") {
        show("plugins", runtime.block_on(plugins::run(&bench)));
    }
    runtime.shutdown_background();
    bench.base.leave();
}

/// The middle, the hundredth and the worst of these, in milliseconds.
pub(crate) fn spread(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |share: f64| {
        let last = times.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index of a short list"
        )]
        let time = times.get((last as f64 * share).round() as usize).copied().unwrap_or_default();
        common::round(time.as_secs_f64() * 1000.0, 2)
    };
    json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0), "of": times.len() })
}
