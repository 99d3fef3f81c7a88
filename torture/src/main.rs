//! `hostler-torture`: the proof that nothing is lost.
//!
//! Real hosts as processes, a private PostgreSQL, senders with a seeded mix of tasks, and a seeded adversary that
//! kills, stops, cuts off and restarts whatever it finds. When it has left and everything has come to rest, a checker
//! proves from append-only logs and the database that every promise was kept. docs/torture.md tells how to read it.
//!
//! 1. [`run`] sets everything up and takes it down. What it sets up: [`database`], [`pooler`], [`host`], [`wire`] with what it
//!    has [`held`], [`build`].
//! 2. [`order`] says what is sent and [`sender`] sends it; [`schedule`] says what is broken and [`adversary`] breaks it.
//! 3. [`log`] keeps what happened; [`check`] judges it; [`report`] tells.
//! 4. [`harm`] and [`tamper`] break hostler itself, for the checker to find.

mod adversary;
mod build;
mod check;
mod database;
mod harm;
mod held;
mod host;
mod log;
mod order;
mod pooler;
mod report;
mod run;
mod schedule;
mod sender;
mod tamper;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use build::Hostler;
use harm::Harm;

/// Kills, stops and cuts off hostler at work, and proves that nothing was lost.
///
/// Exits with 0 if nothing was violated, 1 if something was, 2 if it could not run.
#[derive(Debug, Parser)]
#[command(name = "hostler-torture")]
struct Args {
    /// How long faults are made; coming to rest and checking take a little longer.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Decides what is sent and what is broken when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where logs and the database go; it must not exist, and is kept. Without, a directory that is kept if something was violated.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Hosts at once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    hosts: u8,
    /// Attempts at once in each host.
    #[arg(long, default_value_t = 24)]
    slots: usize,
    /// The hosts' lease, in milliseconds.
    #[arg(long, default_value_t = 3_000)]
    lease_ms: u64,
    /// Sends a second, all senders together.
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// Only these faults, by the words of the report: kill,stop,…
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    faults: Option<Vec<String>>,
    /// Hosts and senders poll instead of listening.
    #[arg(long)]
    no_listen: bool,
    /// A PgBouncer in transaction mode between hostler and the database: this one, or one that is found or fetched.
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pooler: Option<OsString>,
    /// Prints the report as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Breaks hostler itself, for the checker to find.
    #[arg(long = "break", value_enum, value_name = "WHAT")]
    harm: Option<Harm>,
}

impl Args {
    fn hosts(&self) -> usize {
        self.hosts.into()
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

fn main() -> ExitCode {
    if Hostler::is_this() {
        return hostler::cli::main();
    }
    let args = Args::parse();
    match torture(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
fn torture(args: &Args) -> anyhow::Result<bool> {
    let (dir, temporary) = match &args.dir {
        Some(dir) => {
            std::fs::create_dir(dir).with_context(|| dir.display().to_string())?;
            (std::path::absolute(dir)?, None)
        }
        None => {
            let temporary = tempfile::Builder::new().prefix("hostler-torture-").tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ran = runtime.block_on(async {
        tokio::select! {
            ran = run::run(args, &dir) => ran,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    let kept = !matches!(&ran, Ok(report) if report.violations.is_empty());
    if let Some(temporary) = temporary {
        if kept {
            eprintln!("logs are kept in {}", temporary.keep().display());
        } else {
            // For root the database is elsewhere.
            let _gone = std::fs::remove_dir_all(hostler::embedded::root_of(&dir.join("database")));
        }
    }
    let report = ran?;
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => println!("{report}"),
    }
    Ok(report.violations.is_empty())
}
