//! `hostler serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::dispatch::{Host, HostConfig};
use crate::sandbox::Compiler;
use crate::task::QueueName;

use super::bench::stage::DATABASE;
use super::database::{Database, Need};
use super::exit::Exit;
use super::{Context, input, output, settings};

/// Runs a host: loads the plugins of a directory, watches it, and runs tasks until SIGTERM or SIGINT.
///
/// Prints one line when it is ready. The first signal stops claiming and lets attempts finish; a second one
/// exits at once.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The plugin directory; it is watched, and made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "plugins/dist")]
    plugins: PathBuf,
    /// Attempts at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: Option<u32>,
    /// The queues to serve; without, all.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    queues: Option<Vec<String>>,
    /// How long it may be silent before other hosts take its tasks; at least 1s.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = lease)]
    lease: Duration,
    /// How long attempts may take to finish after the signal, before they are given back.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = input::duration)]
    grace: Duration,
    /// How long final tasks stay on record, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    retention_days: u32,
    /// Polls instead of listening for wakes: for databases behind a pooler in transaction mode.
    #[arg(long)]
    no_listen: bool,
    /// Does not judge code by the hosts that died while they ran it: for machines whose hosts die of other causes,
    /// again and again.
    #[arg(long)]
    no_quarantine: bool,
    /// Where compiled code is kept, for this user alone; without, in the data directory.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Answers null without running the guest; for `hostler bench`.
    #[arg(long, hide = true)]
    without_sandbox: bool,
    /// Stops when stdin ends, too: whoever started it is gone then.
    #[arg(long, hide = true)]
    leash: bool,
}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        for queue in self.queues.iter().flatten() {
            QueueName::new(queue.as_str()).map_err(|error| Exit::refused(error.to_string()))?;
        }
        if !self.plugins.exists() {
            std::fs::create_dir_all(&self.plugins).map_err(|error| {
                Exit::infrastructure(format!(
                    "cannot make the plugin directory {}: {error}",
                    self.plugins.display()
                ))
            })?;
            output::note(format!(
                "made the plugin directory {}; `hostler build` fills it",
                self.plugins.display()
            ));
        }
        let database = Database::open(context, Need::Create).await?;
        let done = Box::pin(self.serve(context, &database)).await;
        database.leave().await;
        done
    }

    async fn serve(&self, context: &Context, database: &Database) -> Result<(), Exit> {
        let mut config = HostConfig::new(database.url(), &self.plugins);
        config.direct_url = database.direct_url().map(str::to_owned);
        if let Some(slots) = self.slots {
            config.slots = usize::try_from(slots).unwrap_or(config.slots);
        }
        config.bounds = settings::bounds(context)?;
        config.compiler = Some(Compiler::own(config.bounds.compile));
        config.queues.clone_from(&self.queues);
        config.lease = self.lease;
        config.listen = !self.no_listen;
        config.quarantine = !self.no_quarantine;
        config.retention_days = self.retention_days;
        config.cache_dir = Some(self.cache_dir.clone().unwrap_or_else(|| context.cache_dir()));
        if self.without_sandbox && !database.url().contains(DATABASE) {
            return Err(Exit::refused(
                "--without-sandbox answers tasks without running them; it is for benches alone",
            ));
        }
        config.without_sandbox = self.without_sandbox;
        let host = tokio::select! {
            host = Host::start(config) => host?,
            // Nothing was claimed yet, so nothing has to be given back.
            _ = context.signals.received() => return Ok(()),
        };
        let ready = self.ready(context, &host);
        self.told_to_stop(context).await;
        tracing::info!(grace = %output::duration(self.grace), running = host.running(), "draining");
        let drained = host.drain(self.grace).await;
        tracing::info!(interrupted = drained.interrupted, "drained");
        ready
    }

    async fn told_to_stop(&self, context: &Context) {
        let leash = async {
            if !self.leash {
                return std::future::pending().await;
            }
            let end =
                tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
            let _ended = end.await;
        };
        tokio::select! {
            _ = context.signals.received() => {}
            () = leash => {}
        }
    }

    fn ready(&self, context: &Context, host: &Host) -> Result<(), Exit> {
        let loaded = host.loaded();
        let tasks: usize = loaded.plugins().map(|plugin| plugin.descriptor().tasks.len()).sum();
        let plugins = loaded.plugins().count();
        let session = host.session().map(|session| session.to_string()).unwrap_or_default();
        let dir = self.plugins.display();
        if context.json() {
            return output::line(json!({
                "ready": true, "host": session, "tasks": tasks, "plugins": plugins,
                "dir": dir.to_string(), "problems": loaded.problems().len(), "compiling": loaded.compiling(),
            }));
        }
        let more = match loaded.compiling() {
            0 => String::new(),
            more => format!("; {more} more to be compiled"),
        };
        output::line(format_args!(
            "ready: host {session} serves {tasks} tasks of {plugins} plugins from {dir}{more}"
        ))
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    let lease = input::duration(text)?;
    let longest = Duration::from_secs(24 * 60 * 60);
    match (Duration::from_secs(1)..=longest).contains(&lease) {
        true => Ok(lease),
        false => Err("a lease is between 1s and 1day".to_owned()),
    }
}
