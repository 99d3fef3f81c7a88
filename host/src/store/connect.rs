//! Connections, with the settings that the statements rely on.

use std::io::ErrorKind;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use super::error::StoreError;

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct Connect {
    pub(super) options: PgConnectOptions,
    place: String,
}

/// What a connection is for; it decides how its statements are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A host's hot loop: the same few statements over and over, planned once.
    Hot,
    /// A sender's: reads of history must be planned with the id at hand, to touch one partition alone.
    Cold,
}

impl Connect {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`], never with the password in it.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let bad = |reason: String| StoreError::BadUrl { url: without_password(url), reason };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(bad("it does not start with postgres://".to_owned()));
        }
        let options = PgConnectOptions::from_str(url).map_err(|e| bad(e.to_string()))?;
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
        Ok(Self { options, place: format!("{host}, database {database:?}") })
    }

    /// Where it leads, for messages; without the password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn options(&self, role: Role) -> PgConnectOptions {
        let options = self.options.clone();
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
        let common = [("jit", "off"), ("lock_timeout", "4s"), ("idle_in_transaction_session_timeout", "60s")];
        match role {
            Role::Hot => options
                .options(never_scan)
                .options(common)
                .options([("plan_cache_mode", "force_generic_plan")]),
            Role::Cold => options.options(common).options([("plan_cache_mode", "force_custom_plan")]),
        }
    }

    pub(super) fn unreachable(&self, error: &sqlx::Error) -> StoreError {
        let reason = match error {
            sqlx::Error::Database(e) => e.message().to_owned(),
            sqlx::Error::PoolTimedOut => "no connection within the time limit".to_owned(),
            other => other.to_string(),
        };
        StoreError::Unreachable { place: self.place.clone(), reason }
    }
}

/// A pooled connection that was idle for less is used unasked.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);

/// Waits for an answer no longer than this: a connection that fell silent is only told by its silence.
///
/// # Errors
/// [`StoreError::NoAnswer`], and those of what is asked. The connection that was asked is not to be used again.
pub async fn answer_within<T>(
    time: Duration,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(time, asked).await.unwrap_or(Err(StoreError::NoAnswer(time)))
}

/// Pauses before a crowded server is asked once more grow up to this.
const CROWDED: Duration = Duration::from_secs(2);

/// Opens one connection.
///
/// # Errors
/// [`StoreError::Unreachable`].
pub async fn conn(connect: &Connect, role: Role) -> Result<PgConnection, StoreError> {
    let options = connect.options(role);
    let mut pause = Duration::from_millis(10);
    loop {
        match PgConnection::connect_with(&options).await {
            // A unix socket whose queue is full refuses at once what TCP would let wait.
            Err(sqlx::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock && pause < CROWDED => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            answer => return answer.map_err(|e| connect.unreachable(&e)),
        }
    }
}

/// Opens a pool, and one connection in it, so that a wrong address is told now.
///
/// # Errors
/// [`StoreError::Unreachable`].
pub async fn pool(connect: &Connect, connections_max: u32) -> Result<PgPool, StoreError> {
    // A probe first: a pool repeats refused connections for the whole of its time limit.
    let probe = tokio::time::timeout(Duration::from_secs(15), conn(connect, Role::Cold)).await;
    match probe {
        Ok(probe) => {
            let _closed = probe?.close().await;
        }
        Err(_) => return Err(connect.unreachable(&sqlx::Error::PoolTimedOut)),
    }
    Ok(pool_of(connect, connections_max, Role::Cold, Trust::default()))
}

/// Since when pooled connections are to be asked whether they still live, because one of them did not. They
/// break together, as a rule, and each of them would cost somebody a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust(Arc<Mutex<Option<Instant>>>);

impl Trust {
    /// A connection turned out to be broken.
    pub(super) fn lost(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection that was idle for so long is used unasked.
    fn in_one_idle_for(&self, idle: Duration) -> bool {
        let lost = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle < IDLE_TRUSTED && lost.is_none_or(|lost| idle < lost.elapsed())
    }
}

/// A pool whose connections are opened when they are needed.
pub(super) fn pool_of(connect: &Connect, connections_max: u32, role: Role, trust: Trust) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .min_connections(0)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(Duration::from_secs(300))
        .max_lifetime(Duration::from_secs(1800))
        // A round trip at each use would cost more than it saves; but a connection that has been idle may
        // belong to a server that was restarted, and each of them would cost somebody a call.
        .test_before_acquire(false)
        .before_acquire(move |conn, meta| {
            let trusted = trust.in_one_idle_for(meta.idle_for);
            Box::pin(async move { Ok(trusted || conn.ping().await.is_ok()) })
        })
        .connect_lazy_with(connect.options(role))
}

fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => match url[scheme + 3..at].split_once(':') {
            Some((user, _)) => format!("{}{user}:***{}", &url[..scheme + 3], &url[at..]),
            None => url.to_owned(),
        },
        _ => url.to_owned(),
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
}
