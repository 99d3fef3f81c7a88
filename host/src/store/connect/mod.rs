//! Connections, with the settings that the statements rely on.
//!
//! 1. `url`: which servers a URL names.
//! 2. `open`: one connection, to the one that takes writes.
//! 3. `pool`: pools of them, for senders and waiters, which follow it.
//! 4. `lent`: one of a pool while somebody uses it.
//! 5. `pooler`: whether something stands in between that would mix statements up.

mod lent;
mod open;
mod pool;
mod pooler;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::error::StoreError;

pub use lent::{Lent, lend};
pub use open::conn;
pub(super) use pool::{Trust, as_a_poll, follow, pool_of};
pub use pool::{aim, idle_pool, pool};
pub use pooler::{Between, between, waits_for_ever};

/// How to reach the database. Clones share what they learn on the way.
#[derive(Debug, Clone)]
pub struct Connect {
    servers: Arc<Servers>,
    /// For listening and migrating, where a pooler stands in the way of the others.
    direct: Option<Arc<Servers>>,
    lease: Option<Duration>,
}

#[derive(Debug)]
struct Servers {
    list: Vec<Server>,
    /// Which of them took writes when it was last asked.
    current: AtomicUsize,
    /// Nothing is set at the start of a connection: whoever answers refuses that.
    bare: AtomicBool,
}

#[derive(Debug)]
struct Server {
    options: PgConnectOptions,
    /// For messages.
    place: String,
}

/// What a connection is for; it decides how its statements are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A host's hot loop: the same few statements over and over, planned once.
    Hot,
    /// A host's claims: hot, and a commit waits for no disk unless the statement asks for it: then for that of the
    /// server and those of its synchronous standbys, whatever the database's own setting is.
    Claiming,
    /// A sender's: reads of history must be planned with the id at hand, to touch one partition alone.
    Cold,
}

/// Nobody waits longer than this for a lock, and hosts less if their lease is short.
const LOCK_MAX: Duration = Duration::from_secs(4);
/// A client that stood still within its own transaction, with keys or rows locked, is waited for so long.
const IDLE_MAX: Duration = Duration::from_secs(60);

impl Connect {
    /// Reads a URL. It may name several servers; then the one that takes writes is used.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`], never with the password in it.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        Ok(Self { servers: Arc::new(Servers::parse(url)?), direct: None, lease: None })
    }

    /// With another URL for what a pooler in transaction mode cannot do: listening and migrating.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`].
    pub fn with_direct(mut self, url: Option<&str>) -> Result<Self, StoreError> {
        self.direct = url.map(Servers::parse).transpose()?.map(Arc::new);
        Ok(self)
    }

    /// For a host with this lease: it waits for no lock, and holds none while it stands still, for longer than
    /// a quarter of it. Others could not judge it otherwise.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Where it leads, for messages; without the password.
    #[must_use]
    pub fn place(&self) -> String {
        self.servers.list.iter().map(|server| server.place.as_str()).collect::<Vec<_>>().join(" or ")
    }

    /// The database it leads to, on whichever of its servers: two with the same words lead to the same one.
    pub(super) fn database(&self) -> String {
        let servers = self.servers.list.iter().map(|Server { options, .. }| {
            let place = options.get_socket().map(|socket| socket.display().to_string());
            let place = place.unwrap_or_else(|| options.get_host().to_owned());
            let database = options.get_database().unwrap_or(options.get_username());
            format!("{place}:{}/{database}", options.get_port())
        });
        servers.collect::<Vec<_>>().join(" ")
    }

    /// Where it leads now.
    fn current_place(&self) -> &str {
        &self.servers.list[self.servers.current.load(Ordering::Relaxed)].place
    }

    /// Past the pooler, if there is another way.
    pub(super) fn direct(&self) -> Self {
        match &self.direct {
            Some(direct) => Self { servers: direct.clone(), direct: None, lease: self.lease },
            None => self.clone(),
        }
    }

    /// Whether there is a way past a pooler.
    #[must_use]
    pub fn has_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Whether settings at the start of a connection were refused.
    fn is_bare(&self) -> bool {
        self.servers.bare.load(Ordering::Relaxed)
    }

    /// As the URL has it, of the server that took writes last.
    pub(super) fn plain(&self) -> PgConnectOptions {
        self.servers.list[self.servers.current.load(Ordering::Relaxed)].options.clone()
    }

    /// Of the server that took writes last.
    pub(super) fn options(&self, role: Role) -> PgConnectOptions {
        self.options_at(self.servers.current.load(Ordering::Relaxed), role)
    }

    fn options_at(&self, at: usize, role: Role) -> PgConnectOptions {
        let options = self.servers.list[at].options.clone();
        if self.servers.bare.load(Ordering::Relaxed) {
            return options.extra_float_digits(None);
        }
        // The hot tables are small most of the time; a plan made then must not become a scan of the whole
        // table once they have grown.
        // Nor may a claim of a few gather and sort all that waits.
        let never_scan = [
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("enable_sort", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
        ];
        let quarter = self.lease.map(|lease| lease / 4);
        let ms = |most: Duration| format!("{}ms", quarter.unwrap_or(most).min(most).as_millis());
        let common = [
            ("jit", "off".to_owned()),
            ("lock_timeout", ms(LOCK_MAX)),
            ("idle_in_transaction_session_timeout", ms(IDLE_MAX)),
            // Statements look again, and expect to see what they waited for.
            ("default_transaction_isolation", r"read\ committed".to_owned()),
        ];
        let hot = |options: PgConnectOptions| {
            let options = options.options(never_scan).options(common.clone());
            options.options([("plan_cache_mode", "force_generic_plan")])
        };
        match role {
            Role::Hot => hot(options),
            Role::Claiming => hot(options).options([("synchronous_commit", "off")]),
            Role::Cold => options.options(common).options([("plan_cache_mode", "force_custom_plan")]),
        }
    }
}

impl Servers {
    fn parse(url: &str) -> Result<Self, StoreError> {
        let servers = url::of_each_server(url);
        let servers =
            servers.map_err(|reason| StoreError::BadUrl { url: url::without_password(url), reason })?;
        let list = servers.into_iter().map(Server::new).collect();
        Ok(Self { list, current: AtomicUsize::new(0), bare: AtomicBool::new(false) })
    }
}

impl Server {
    fn new(options: PgConnectOptions) -> Self {
        let options = options
            .application_name("hostler")
            // Slow statements are told by our own spans; sqlx would print whole statements as warnings.
            .log_statements(log::LevelFilter::Trace)
            .log_slow_statements(log::LevelFilter::Debug, Duration::from_secs(5));
        let database = options.get_database().unwrap_or("(default)").to_owned();
        let host = options.get_socket().map_or_else(
            || format!("{}:{}", options.get_host(), options.get_port()),
            |socket| socket.display().to_string(),
        );
        Self { options, place: format!("{host}, database {database:?}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_shows() {
        let error = Connect::parse("mysql://me:secret@db/x").expect_err("another scheme");
        let words = error.to_string();
        assert!(words.contains("mysql://me:***@db/x") && !words.contains("secret"), "{words}");
        let connect = Connect::parse("postgres://me:secret@db:5433/jobs").expect("a URL");
        assert_eq!(connect.place(), "db:5433, database \"jobs\"");
    }

    #[test]
    fn nobody_waits_for_longer_than_a_third_of_the_lease() {
        let connect = Connect::parse("postgres://db/jobs?options=-c%20work_mem%3D8MB").expect("a URL");
        let set = |connect: &Connect| connect.options(Role::Hot).get_options().unwrap_or_default().to_owned();
        let client = set(&connect);
        assert!(client.starts_with("-c work_mem=8MB "), "what the URL sets stays: {client}");
        assert!(
            client.contains("lock_timeout=4000ms") && client.contains("session_timeout=60000ms"),
            "{client}"
        );
        let host = set(&connect.with_lease(Duration::from_secs(2)));
        assert!(host.contains("lock_timeout=500ms") && host.contains("session_timeout=500ms"), "{host}");
    }
}
