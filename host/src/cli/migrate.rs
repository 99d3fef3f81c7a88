//! `hostler migrate`.

use clap::Args;
use serde_json::json;

use crate::store::{self, SCHEMA_VERSION};

use super::database::{Database, Need};
use super::exit::Exit;
use super::{Context, output};

/// Brings the database's schema up to date. Hosts do the same when they start.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Changes nothing: prints the versions.
    #[arg(long)]
    status: bool,
}

impl Migrate {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let need = if self.status { Need::Existing } else { Need::Create };
        let database = Database::open(context, need).await?;
        let done = context.signals.or(Box::pin(self.work(context, &database))).await;
        database.leave().await;
        done
    }

    async fn work(&self, context: &Context, database: &Database) -> Result<(), Exit> {
        let (applied, version) = match self.status {
            true => (Vec::new(), database.client().await?.schema_version().await?),
            false => (store::migrate(&database.connect()?).await?, Some(SCHEMA_VERSION)),
        };
        if context.json() {
            return output::line(json!({ "version": version, "known": SCHEMA_VERSION, "applied": applied }));
        }
        let words = match version {
            None => "no schema yet; `hostler migrate` makes it".to_owned(),
            Some(version) if version < SCHEMA_VERSION => {
                format!(
                    "schema version {version}; this program brings it to {SCHEMA_VERSION}: run `hostler migrate`"
                )
            }
            Some(version) if applied.is_empty() => format!("schema version {version}, up to date"),
            Some(version) => {
                let applied: Vec<String> = applied.iter().map(i64::to_string).collect();
                format!("schema version {version}, applied {}", applied.join(", "))
            }
        };
        output::line(words)
    }
}
