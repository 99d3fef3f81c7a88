//! What the database may say, sorted by what can be done about it.

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL is not one.
    #[error("{url:?} is not a PostgreSQL URL ({reason}); write postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    BadUrl {
        /// What was given, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server cannot be reached or refuses us.
    #[error("cannot connect to the database at {place}: {reason}")]
    Unreachable {
        /// Host and database, without the password.
        place: String,
        /// The server's or the system's words.
        reason: String,
    },
    /// A pooler in transaction mode that does not keep track of prepared statements.
    #[error(
        "between here and the database is a pooler in transaction mode that does not keep track of prepared \
        statements, so answers would be mixed up: use PgBouncer 1.21 or newer with max_prepared_statements = 200, \
        or session mode, or connect to the server itself"
    )]
    Pooler,
    /// A pooler in transaction mode, for what needs a connection of its own.
    #[error(
        "the schema cannot be brought up to date through a pooler in transaction mode: set --direct-url or \
        HOSTLER_DIRECT_URL to the server's own address, or run `hostler migrate` with it"
    )]
    NotDirect,
    /// The schema is not there, or lacks what this program needs of it.
    #[error(
        "the database has no hostler schema, or that of an older hostler; run `hostler migrate`, or start a host with \
        `hostler serve`"
    )]
    NoSchema,
    /// A newer hostler has migrated this database.
    #[error(
        "the database's schema is version {found}, this program knows versions up to {known}: use a newer hostler"
    )]
    SchemaTooNew {
        /// The version in the database.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// A migration failed.
    #[error("the schema could not be brought up to date: {0}")]
    Migrate(String),
    /// A row holds what this version cannot read.
    #[error("a stored {what} cannot be read: {reason}")]
    Unreadable {
        /// Which value.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// An id that was made by a clock far from the database's.
    #[error(
        "the time in the id {id} is more than a day away from the database's clock; set the clock that made it"
    )]
    FarId {
        /// The id.
        id: crate::task::TaskId,
    },
    /// A send under an id or a key in a transaction that sees nothing that was committed since it began.
    #[error(
        "an id or a key needs a transaction in READ COMMITTED: this one does not see what was sent, or ended, since \
        it began, and the task might run twice"
    )]
    Isolated,
    /// A blocking call on a thread of an async runtime.
    #[error("a blocking call on a thread of an async runtime; use the async call")]
    AsyncContext,
    /// The connection leads nowhere any more, or the server is very busy.
    #[error("the database gave no answer within {seconds} s")]
    NoAnswer {
        /// How long it was waited for.
        seconds: u64,
    },
    /// Anything else the database says.
    #[error("the database says: {0}")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } => true,
            // Programs may come before their migration.
            Self::NoSchema => true,
            Self::Database(error) => match error.as_database_error().and_then(|e| e.code()) {
                // Connection, resources, operator intervention, deadlock and serialisation, lock timeout,
                // a read-only standby in the middle of a failover.
                Some(code) => {
                    ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class))
                        || ["55P03", "25006"].contains(&&*code)
                }
                None => matches!(
                    error,
                    sqlx::Error::Io(_)
                        | sqlx::Error::PoolTimedOut
                        | sqlx::Error::Protocol(_)
                        | sqlx::Error::WorkerCrashed
                        | sqlx::Error::PoolClosed
                ),
            },
            _ => false,
        }
    }

    /// Whether the data in the statement is at fault, so that it would fail the same way for ever.
    #[must_use]
    pub fn is_data_error(&self) -> bool {
        let Self::Database(error) = self else { return false };
        let code = error.as_database_error().and_then(|e| e.code());
        code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
    }

    /// None came within this time.
    pub(crate) fn no_answer(time: std::time::Duration) -> Self {
        Self::NoAnswer { seconds: time.as_secs() }
    }

    /// Names a missing schema as such; everything else stays as it is.
    pub(crate) fn from_query(error: sqlx::Error) -> Self {
        match error.as_database_error().and_then(|e| e.code()).as_deref() {
            // An unknown schema, table, column or function: nobody has migrated this database.
            Some("3F000" | "42P01" | "42703" | "42883") => Self::NoSchema,
            Some("HS006") => Self::Isolated,
            _ => Self::Database(error),
        }
    }
}
