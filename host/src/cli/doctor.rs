//! `hostler doctor`.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{About, ListedHost};
use crate::embedded::{self, binaries};
use crate::store::{self, SCHEMA_VERSION};

use super::database::{Database, Need};
use super::exit::{Code, Exit};
use super::{Context, cargo, output, plugins};

/// Checks everything hostler relies on, and says what to do where something is wrong.
///
/// One line for each check: ok, warn or FAIL. Exit 5 if a FAIL is left.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Mends what it can: obtains PostgreSQL, adds the wasm target, brings the schema up to date.
    #[arg(long)]
    fix: bool,
    /// The plugin directory.
    #[arg(long, value_name = "DIR", default_value = "plugins/dist")]
    plugins: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

use Health::{Fail, Ok as Well, Warn};

/// What was found so far; each is told at once.
struct Findings {
    json: bool,
    all: Vec<Value>,
    failed: bool,
}

impl Findings {
    fn tell(&mut self, health: Health, what: &str, detail: impl fmt::Display) -> Result<(), Exit> {
        self.failed |= health == Fail;
        self.all.push(json!({ "health": health.to_string(), "check": what, "detail": detail.to_string() }));
        match self.json {
            true => Ok(()),
            false => output::line(format_args!("{health:<4} {what}: {detail}")),
        }
    }
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let mut found = Findings { json: context.json(), all: Vec::new(), failed: false };
        match context.database_url() {
            Some(_) => {
                found.tell(Well, "private PostgreSQL", "not used: a database URL is given")?;
                self.with_database(context, Need::Existing, &mut found).await?;
            }
            None => {
                context.signals.or(self.private(&mut found)).await?;
                let place = embedded::root_of(&context.settings.data_dir);
                match embedded::exists(&context.settings.data_dir) {
                    true => found.tell(Well, "data directory", place.display())?,
                    false if self.fix => {
                        found.tell(Well, "data directory", format_args!("making {}", place.display()))?
                    }
                    false => {
                        let how = "`hostler serve`, `demo` or `doctor --fix` makes it";
                        found.tell(
                            Warn,
                            "data directory",
                            format_args!("{} is not there yet; {how}", place.display()),
                        )?;
                    }
                }
                let need = if self.fix { Need::Create } else { Need::Existing };
                if need == Need::Create || embedded::exists(&context.settings.data_dir) {
                    self.with_database(context, need, &mut found).await?;
                }
            }
        }
        context.signals.or(self.authoring(context, &mut found)).await?;
        if context.json() {
            output::line(json!({ "healthy": !found.failed, "checks": found.all }))?;
        }
        if found.failed { Err(Exit::Silent(Code::Infrastructure)) } else { Ok(()) }
    }

    /// The server's programs.
    async fn private(&self, found: &mut Findings) -> Result<(), Exit> {
        let fix = self.fix;
        let looked = tokio::task::spawn_blocking(move || match fix {
            true => binaries::obtain(&mut |what| output::note(what)),
            false => binaries::find(None),
        });
        match looked.await.map_err(|error| Exit::infrastructure(error.to_string()))? {
            Ok(programs) => {
                let words = format!("{} in {}", programs.version, programs.dir.display());
                found.tell(Well, "PostgreSQL programs", words)
            }
            Err(error) => found.tell(Fail, "PostgreSQL programs", error),
        }
    }

    async fn with_database(&self, context: &Context, need: Need, found: &mut Findings) -> Result<(), Exit> {
        let database = match Database::open(context, need).await {
            Ok(database) => database,
            Err(Exit::Said(_, words)) => return found.tell(Fail, "server", words),
            Err(other) => return Err(other),
        };
        let done = context.signals.or(Box::pin(self.database(&database, found))).await;
        database.leave().await;
        done
    }

    async fn database(&self, database: &Database, found: &mut Findings) -> Result<(), Exit> {
        if let Some(server) = database.server() {
            let how = if server.adopted() { "was running" } else { "started for this check" };
            found.tell(Well, "server", format_args!("PostgreSQL {}, {how}", server.version()))?;
        }
        let client = match database.client().await {
            Ok(client) => client,
            Err(Exit::Said(_, words)) => return found.tell(Fail, "connection", words),
            Err(other) => return Err(other),
        };
        let connect = database.connect()?;
        found.tell(Well, "connection", connect.place())?;
        match client.about_server().await {
            Ok(about) => tell_about(&about, found)?,
            Err(error) => return found.tell(Fail, "server", error),
        }
        if self.fix
            && let Err(error) = store::migrate(&connect).await
        {
            return found.tell(Fail, "schema", error);
        }
        match client.schema_version().await? {
            Some(SCHEMA_VERSION) => found.tell(Well, "schema", format_args!("version {SCHEMA_VERSION}"))?,
            Some(old) => {
                let words = format!(
                    "version {old}, this program brings it to {SCHEMA_VERSION}: run `hostler migrate`"
                );
                found.tell(Warn, "schema", words)?;
            }
            None => return found.tell(Warn, "schema", "none yet: run `hostler migrate`, or start a host"),
        }
        let hosts = match client.hosts(false).await {
            Ok(hosts) => hosts,
            Err(error) => return found.tell(Fail, "hosts", error),
        };
        // Twice the usual lease: somebody else would have declared it dead by now, if there were anybody.
        let silent: Vec<&ListedHost> = hosts.iter().filter(|host| host.beat_age_seconds > 30.0).collect();
        match (hosts.len(), silent.len()) {
            (0, _) => found.tell(Warn, "hosts", "none is running: tasks wait until `hostler serve` does"),
            (all, 0) => found.tell(Well, "hosts", format_args!("{all} alive")),
            (all, some) => {
                let words = format!(
                    "{some} of {all} silent for more than 30s; the next host to start takes their tasks"
                );
                found.tell(Warn, "hosts", words)
            }
        }
    }

    /// What building plugins needs, and what was built.
    async fn authoring(&self, context: &Context, found: &mut Findings) -> Result<(), Exit> {
        let here = std::env::current_dir().unwrap_or_default();
        let target = match self.fix {
            true => cargo::add_target(&here).await.map(|()| true),
            false => cargo::has_target(&here).await,
        };
        match target {
            Ok(true) => found.tell(Well, "wasm target", cargo::TARGET)?,
            Ok(false) => {
                let words = format!(
                    "{0} is missing: `hostler build` or `rustup target add {0}` adds it",
                    cargo::TARGET
                );
                found.tell(Warn, "wasm target", words)?;
            }
            // Running plugins needs no Rust.
            Err(Exit::Said(_, words)) => found.tell(Warn, "wasm target", words)?,
            Err(other) => return Err(other),
        }
        let dir = self.plugins.display();
        if !self.plugins.is_dir() {
            return found.tell(
                Warn,
                "plugin directory",
                format_args!("{dir} is not there: `hostler build` makes it"),
            );
        }
        let sandbox = plugins::sandbox(context)?;
        let directory = match plugins::look(&sandbox, &self.plugins).await {
            Ok(directory) => directory,
            Err(Exit::Said(_, words)) => return found.tell(Fail, "plugin directory", words),
            Err(other) => return Err(other),
        };
        let tasks: usize = directory.plugins.iter().map(|found| found.plugin.descriptor().tasks.len()).sum();
        let words = format!("{dir} holds {} plugins with {tasks} tasks", directory.plugins.len());
        found.tell(if directory.plugins.is_empty() { Warn } else { Well }, "plugin directory", words)?;
        directory.problems.iter().try_for_each(|problem| found.tell(Fail, "plugin", &problem.message))
    }
}

/// The server's version and clock, and who holds vacuum back.
fn tell_about(about: &About, found: &mut Findings) -> Result<(), Exit> {
    found.tell(Well, "version", format_args!("PostgreSQL {}", about.server_version))?;
    let ahead_ms = (about.now_us - chrono::Utc::now().timestamp_micros()) / 1000;
    match ahead_ms.abs() {
        0..1_000 => found.tell(Well, "clock", format_args!("the database's differs by {ahead_ms} ms"))?,
        _ => {
            let words = format!(
                "the database's differs by {ahead_ms} ms: set this machine's, or good_until and delays surprise"
            );
            found.tell(Warn, "clock", words)?;
        }
    }
    match about.holding.as_slice() {
        [] => found.tell(Well, "vacuum", "nothing holds it back"),
        holding => found.tell(Warn, "vacuum", format_args!("held back by {}", holding.join("; "))),
    }
}
