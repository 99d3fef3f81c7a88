//! The command line: reads arguments and settings, calls the other rooms, and says what came of it.
//!
//! 1. [`main`] parses, sets logs and signals up, runs one command and turns its end into an exit code.
//! 2. Each command is one file: its arguments, its help text (the doc comments) and its code.
//! 3. What they share: [`exit`] (how a command ends), [`database`] (whose database), [`output`] (what is
//!    printed where), [`input`], [`wait`], [`signals`], [`logs`], [`cargo`], [`settings`].
//!
//! Other programs parse this. stdout carries what the contract promises and nothing else; words for people
//! go to stderr. What must never happen: a command that leaves the private PostgreSQL running with nobody
//! using it, because it failed or was interrupted.

mod bench;
mod build;
mod cancel;
mod cargo;
mod database;
mod demo;
mod doctor;
mod exit;
mod get;
mod hosts;
mod info;
mod input;
mod inspect;
mod logs;
mod migrate;
mod new;
mod output;
mod plugins;
mod quarantine;
mod rerun;
mod run;
mod send;
mod serve;
mod settings;
mod signals;
mod tasks;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use exit::{Code, Exit};
use signals::Signals;

/// Runs tasks as sandboxed WebAssembly components, dispatched through PostgreSQL.
///
/// Without a database URL, a private PostgreSQL is started in the data directory, and stopped by the last
/// command that uses it.
#[derive(Debug, Parser)]
#[command(name = "hostler", version, arg_required_else_help = true, after_help = exit::TABLE)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
struct Settings {
    /// The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE; of several hosts, the one that takes writes.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// The database past a pooler in transaction mode, for listening and for the schema.
    #[arg(long, global = true, env = "HOSTLER_DIRECT_URL", hide_env_values = true, value_name = "URL")]
    direct_url: Option<String>,
    /// Where the private PostgreSQL and compiled code are kept.
    #[arg(long, global = true, env = "HOSTLER_DATA_DIR", default_value = ".hostler", value_name = "DIR")]
    data_dir: PathBuf,
    /// What guests may use and touch: limits, a ceiling, grants. Without, hostler.toml here, if there is one.
    #[arg(long, global = true, env = "HOSTLER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints JSON, errors included.
    #[arg(long, global = true)]
    json: bool,
    /// Says more on stderr; twice: much more. RUST_LOG wins.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Send(send::Send),
    Get(get::Get),
    Info(info::Info),
    Cancel(cancel::Cancel),
    Rerun(rerun::Rerun),
    Run(run::Run),
    Build(build::Build),
    New(new::New),
    Bench(bench::Bench),
    Plugins(plugins::Plugins),
    Inspect(inspect::Inspect),
    Grants(inspect::Grants),
    Tasks(tasks::Tasks),
    Hosts(hosts::Hosts),
    Migrate(migrate::Migrate),
    Doctor(doctor::Doctor),
    /// Compiles what is on stdin, for a host that runs this as a process of its own.
    #[command(hide = true)]
    Compile {
        args: Vec<OsString>,
    },
}

/// What a command gets beside its own arguments.
#[derive(Debug)]
struct Context {
    settings: Settings,
    signals: Signals,
}

impl Context {
    /// The database that was named; an empty name is none.
    fn database_url(&self) -> Option<&str> {
        self.settings.database_url.as_deref().filter(|url| !url.is_empty())
    }

    /// Another way to the database that was named.
    fn direct_url(&self) -> Option<&str> {
        self.settings.direct_url.as_deref().filter(|url| !url.is_empty())
    }

    fn json(&self) -> bool {
        self.settings.json
    }

    /// Where compiled code is kept.
    fn cache_dir(&self) -> PathBuf {
        self.settings.data_dir.join("cache")
    }
}

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // Help and version are no errors; whoever closed stdout does not want them.
            let _closed = said.print();
            return ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(Code::Refused.number()));
        }
    };
    if let Command::Compile { args } = &cli.command {
        return crate::sandbox::compile_as_child(args);
    }
    let serves = matches!(cli.command, Command::Serve(_));
    logs::start(serves, cli.settings.verbose, serves && cli.settings.json);
    let json = cli.settings.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::infrastructure(format!("no threads: {error}")).tell(json),
    };
    // On a worker, where what it waits for is heard, and not one thread further.
    let done = runtime.block_on(runtime.spawn(run(cli)));
    let done = done.unwrap_or_else(|error| Err(Exit::infrastructure(error.to_string())));
    let code = done.map_or_else(|exit| exit.tell(json), |()| ExitCode::SUCCESS);
    // What is left reads stdin or compiles: nothing that anybody waits for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn run(cli: Cli) -> Result<(), Exit> {
    let signals = Signals::listen()
        .map_err(|error| Exit::infrastructure(format!("cannot listen for signals: {error}")))?;
    let context = Context { settings: cli.settings, signals };
    match cli.command {
        Command::Serve(serve) => Box::pin(serve.run(&context)).await,
        Command::Demo(demo) => Box::pin(demo.run(&context)).await,
        Command::Send(send) => Box::pin(send.run(&context)).await,
        Command::Get(get) => Box::pin(get.run(&context)).await,
        Command::Info(info) => Box::pin(info.run(&context)).await,
        Command::Cancel(cancel) => Box::pin(cancel.run(&context)).await,
        Command::Rerun(rerun) => Box::pin(rerun.run(&context)).await,
        Command::Run(run) => Box::pin(context.signals.or(run.run(&context))).await,
        Command::Build(build) => Box::pin(context.signals.or(build.run(&context))).await,
        Command::New(new) => Box::pin(context.signals.or(new.run(&context))).await,
        Command::Bench(bench) => Box::pin(bench.run(&context)).await,
        Command::Plugins(plugins) => Box::pin(plugins.run(&context)).await,
        Command::Inspect(inspect) => Box::pin(context.signals.or(inspect.run(&context))).await,
        Command::Grants(grants) => Box::pin(context.signals.or(grants.run(&context))).await,
        Command::Tasks(tasks) => Box::pin(tasks.run(&context)).await,
        Command::Hosts(hosts) => Box::pin(hosts.run(&context)).await,
        Command::Migrate(migrate) => Box::pin(migrate.run(&context)).await,
        Command::Doctor(doctor) => Box::pin(doctor.run(&context)).await,
        Command::Compile { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_in_order() {
        super::Cli::command().debug_assert();
    }
}
