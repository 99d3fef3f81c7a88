//! Where tracing goes: stderr, with as much as the command and its user want.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Hosts tell what they do; other commands only what is wrong. Libraries are heard from the second `-v` on.
pub(super) fn start(serves: bool, verbose: u8, json: bool) {
    let wanted = match verbose + u8::from(serves) {
        // What a guest says may look like an answer of ours.
        0 => "error,hostler=warn,hostler::guest=off",
        1 => "error,hostler=info",
        2 => "warn,hostler=debug",
        _ => "info,hostler=trace",
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::new(directives),
        _ => EnvFilter::new(wanted),
    };
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        // It would panic where stderr is closed.
        .log_internal_errors(false);
    // A second subscriber is refused; there is none but in tests.
    let _there = if json { logs.json().try_init() } else { logs.try_init() };
}
