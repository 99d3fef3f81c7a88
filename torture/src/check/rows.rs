//! What the database holds when all is over; read only.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};
use uuid::Uuid;

/// A final task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Final {
    pub(crate) id: Uuid,
    pub(crate) task: String,
    pub(crate) status: i16,
    pub(crate) outcome: Option<i16>,
    pub(crate) session: Option<i64>,
    pub(crate) attempt: i32,
    pub(crate) plugin: Option<i32>,
    pub(crate) retries: i16,
    pub(crate) redeliveries: i16,
    pub(crate) releases: i16,
    pub(crate) redeliveries_max: i16,
    pub(crate) claimed_us: Option<i64>,
    pub(crate) finished_us: i64,
    pub(crate) error_code: Option<String>,
    pub(crate) result: Option<String>,
}

/// A task that is not final.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Live {
    pub(crate) id: Uuid,
    pub(crate) session: Option<i64>,
    pub(crate) attempt: i32,
}

/// A closed attempt that was followed by another one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Closed {
    pub(crate) task: Uuid,
    pub(crate) number: i32,
    pub(crate) session: i64,
    pub(crate) claimed_us: i64,
    pub(crate) finished_us: i64,
    pub(crate) outcome: i16,
}

/// A session of a host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    pub(crate) session: i64,
    pub(crate) pid: i32,
    pub(crate) running: i32,
    pub(crate) alive: bool,
}

/// Columns by the names of fields. The driver's derive would compile the driver twice, once for itself.
macro_rules! by_name {
    ($row:ident { $($field:ident),* }) => {
        impl FromRow<'_, PgRow> for $row {
            fn from_row(row: &PgRow) -> sqlx::Result<Self> {
                Ok(Self { $($field: row.try_get(stringify!($field))?),* })
            }
        }
    };
}

by_name!(Final {
    id,
    task,
    status,
    outcome,
    session,
    attempt,
    plugin,
    retries,
    redeliveries,
    releases,
    redeliveries_max,
    claimed_us,
    finished_us,
    error_code,
    result
});
by_name!(Live { id, session, attempt });
by_name!(Closed { task, number, session, claimed_us, finished_us, outcome });
by_name!(Session { session, pid, running, alive });

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) finals: Vec<Final>,
    pub(crate) lives: Vec<Live>,
    pub(crate) closed: Vec<Closed>,
    pub(crate) sessions: Vec<Session>,
    /// The task of each key.
    pub(crate) keys: HashMap<String, Vec<Uuid>>,
}

impl Rows {
    pub(crate) async fn read(pool: &PgPool) -> sqlx::Result<Self> {
        let finals = sqlx::query_as(
            "select h.id, k.name as task, h.status, h.outcome, h.session, h.attempt, h.plugin, h.retries,
                h.redeliveries, h.releases, h.redeliveries_max,
                (extract(epoch from h.claimed_at) * 1000000)::bigint as claimed_us,
                (extract(epoch from h.finished_at) * 1000000)::bigint as finished_us,
                h.error_code, convert_from(h.result, 'UTF8') as result
            from hostler.history h
            join hostler.lane l on l.id = h.lane
            join hostler.kind k on k.id = l.kind",
        );
        let lives = sqlx::query_as("select id, session, attempt from hostler.task");
        let closed = sqlx::query_as(
            "select task, number, session, outcome,
                (extract(epoch from claimed_at) * 1000000)::bigint as claimed_us,
                (extract(epoch from finished_at) * 1000000)::bigint as finished_us
            from hostler.attempt
            order by task, number",
        );
        let sessions =
            sqlx::query_as("select session, pid, running, ended_at is null as alive from hostler.host");
        let taken: Vec<(String, Uuid)> =
            sqlx::query_as("select key, task from hostler.key").fetch_all(pool).await?;
        let mut keys: HashMap<String, Vec<Uuid>> = HashMap::new();
        for (key, task) in taken {
            keys.entry(key).or_default().push(task);
        }
        Ok(Self {
            finals: finals.fetch_all(pool).await?,
            lives: lives.fetch_all(pool).await?,
            closed: closed.fetch_all(pool).await?,
            sessions: sessions.fetch_all(pool).await?,
            keys,
        })
    }
}
