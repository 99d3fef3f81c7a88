//! `hostler bench`: what this machine and this database give.
//!
//! [`stage`] makes a database, a plugin directory and hosts of the bench's own; [`measure`] holds the
//! measurements, [`foreign`] those of senders that ring no doorbell, [`cpu`] reads processes' CPU time, [`report`] shows what came of it.

mod cpu;
mod foreign;
mod measure;
mod report;
pub(super) mod stage;

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::database::{Database, Need};
use super::exit::Exit;
use super::output::Spinner;
use super::{Context, input};

use report::Report;
use stage::Stage;

/// Measures send, drain, latency and idling on this machine, with a database of its own that it removes.
///
/// Hosts are processes of their own, as in earnest. Prints one line of JSON, and on a terminal a histogram.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Tasks to send at once and drain.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// Tasks to send one after the other, waiting for each result.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Attempts at once.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,
    /// How long to watch an idle host, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    idle: u32,
    /// A task of your own instead of one that does nothing; needs --plugins.
    #[arg(long, requires = "plugins")]
    task: Option<String>,
    /// Its arguments: JSON, @FILE, or - for stdin. Without, about 100 bytes of padding.
    #[arg(long, value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    args: Option<String>,
    /// The plugin directory it is in.
    #[arg(long, value_name = "DIR", requires = "task")]
    plugins: Option<PathBuf>,
    /// Answers null in the host, without a sandbox: what is left is dispatch and database.
    #[arg(long, conflicts_with_all = ["task", "plugins"])]
    without_sandbox: bool,
}

impl Bench {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let args = match &self.args {
            Some(given) => input::arguments(Some(given)).await?,
            None => serde_json::json!({ "pad": "x".repeat(90) }),
        };
        let database = Database::open(context, Need::Create).await?;
        let done = self.on_stage(context, &database, &args).await;
        database.leave().await;
        done?.show(context)
    }

    async fn on_stage(&self, context: &Context, database: &Database, args: &Value) -> Result<Report, Exit> {
        let stage = Stage::set(context, database.url(), self).await?;
        let done = context.signals.or(Box::pin(self.measure(&stage, args))).await;
        stage.strike().await;
        done
    }

    async fn measure(&self, stage: &Stage, args: &Value) -> Result<Report, Exit> {
        let spinner = Spinner::start("starting a host");
        let task = self.task.as_deref().unwrap_or("bench.noop");
        // A first host publishes what may be sent. It idles in an empty database: after a drain the server
        // is busy with its own upkeep for a while.
        let host = stage.host().await?;
        spinner.say("idling");
        let idle = measure::idle(stage, &host, task, args, self.idle).await?;
        host.stop().await?;
        // Another client: this one has not waited for anything yet, so it hears of nothing during the drain.
        let client = stage.client().await?;
        spinner.say("measuring the disk");
        let flush_us = measure::flush(stage).await?;
        spinner.say("sending");
        let send = measure::send(&client, task, args, self.tasks).await?;
        spinner.say("draining");
        let drain = measure::drain(stage, self.tasks).await?;
        spinner.say("one after the other");
        let host = stage.host().await?;
        let latency = measure::latency(&client, task, args, self.rounds).await?;
        let start = match self.task.is_some() || self.without_sandbox {
            true => None,
            false => Some(measure::start(&client, self.rounds).await?),
        };
        spinner.say("one after the other, from SQL and in transactions");
        let foreign = foreign::measure(stage, &client, task, args, self.rounds).await?;
        spinner.say("one after the other, beside a load");
        let (loaded, beside) =
            measure::loaded(&client, task, args, self.rounds, drain.per_second / 2.0).await?;
        host.stop().await?;
        Ok(Report {
            task: task.to_owned(),
            tasks: self.tasks,
            slots: self.slots,
            sandbox: !self.without_sandbox,
            server_version: stage.store().counters().await?.server_version,
            flush_us,
            send,
            drain,
            latency,
            start,
            foreign,
            loaded,
            beside,
            idle,
        })
    }
}
