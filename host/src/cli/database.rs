//! Whose database: the one that was named, or the private one in the data directory.
//!
//! Every command is one user of the private server. It leaves at its end, however that comes about, and
//! the last one out stops the server.

use std::time::Duration;

use crate::client::Client;
use crate::embedded::{self, Server};
use crate::store::{self, Connect};

use super::exit::Exit;
use super::{Context, output};

/// The wakes of a send go out at once, or find a database that is gone.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// What a command does where there is no private server yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Makes one, with its schema.
    Create,
    /// Looks only: exit 5, naming the directory.
    Existing,
}

/// One use of a database. Must be left.
#[derive(Debug)]
#[must_use = "leave() it"]
pub(super) struct Database {
    url: String,
    direct_url: Option<String>,
    server: Option<Server>,
}

impl Database {
    pub(super) async fn open(context: &Context, need: Need) -> Result<Self, Exit> {
        if let Some(url) = context.database_url() {
            let direct_url = context.direct_url().map(str::to_owned);
            return Ok(Self { url: url.to_owned(), direct_url, server: None });
        }
        let settings = embedded::Settings::new(&context.settings.data_dir);
        let joined = tokio::task::spawn_blocking(move || match need {
            Need::Create => Server::join(&settings, &mut |what| output::note(what)),
            Need::Existing => Server::attach(&settings),
        });
        let server = joined.await.map_err(|error| Exit::infrastructure(error.to_string()))??;
        let url = server.url(embedded::DATABASE);
        let database = Self { url, direct_url: None, server: Some(server) };
        if need == Need::Create {
            // Nobody else would give our own server its schema.
            let migrated = async { store::migrate(&database.connect()?).await };
            if let Err(error) = migrated.await {
                database.leave().await;
                return Err(error.into());
            }
        }
        Ok(database)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn direct_url(&self) -> Option<&str> {
        self.direct_url.as_deref()
    }

    /// The way to it.
    pub(super) fn connect(&self) -> Result<Connect, store::StoreError> {
        Connect::parse(&self.url)?.with_direct(self.direct_url())
    }

    /// The private server, where it is one.
    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// A client for one command.
    pub(super) async fn client(&self) -> Result<Client, Exit> {
        let mut client = Client::builder(&self.url).connections_max(2);
        if let Some(direct) = &self.direct_url {
            client = client.direct_url(direct);
        }
        Ok(client.connect().await?)
    }

    /// Ends this use. What goes wrong in it changes nothing of what the command did.
    pub(super) async fn leave(self) {
        let Some(server) = self.server else { return };
        match tokio::task::spawn_blocking(move || server.leave()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "left the private PostgreSQL uncleanly"),
            Err(error) => tracing::warn!(%error, "left the private PostgreSQL uncleanly"),
        }
    }
}

/// Runs a command's work with a client: connects, sends the last wakes, and leaves in every case.
pub(super) async fn with_client<T>(
    context: &Context,
    need: Need,
    work: impl AsyncFnOnce(&Client) -> Result<T, Exit>,
) -> Result<T, Exit> {
    let database = Database::open(context, need).await?;
    let worked = async {
        let client = database.client().await?;
        let done = work(&client).await;
        let _late = tokio::time::timeout(FLUSH_MAX, client.flush()).await;
        done
    };
    let done = context.signals.or(Box::pin(worked)).await;
    database.leave().await;
    done
}
