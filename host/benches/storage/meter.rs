//! What statements cost: their backend's CPU time, ours, and the bytes they add to the log.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use hostler::store::{Connect, Role};

use crate::common::cpu;

/// A connection whose backend is watched.
pub(crate) struct Watched {
    pub(crate) conn: PgConnection,
    pid: i32,
}

impl Watched {
    /// With the settings that hosts use, or senders.
    pub(crate) async fn open(url: &str, role: Role) -> Self {
        let connect = Connect::parse(url).expect("a URL");
        let mut conn = hostler::store::conn(&connect, role).await.expect("a connection");
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut conn).await.expect("a pid");
        Self { conn, pid }
    }

    pub(crate) async fn execute(&mut self, sql: &str) {
        sqlx::raw_sql(sql).execute(&mut self.conn).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    pub(crate) async fn close(self) {
        self.conn.close().await.expect("closed");
    }
}

/// A sum of what steps cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) database: Duration,
    pub(crate) client: Duration,
    pub(crate) wal_bytes: f64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            database: self.database + other.database,
            client: self.client + other.client,
            wal_bytes: self.wal_bytes + other.wal_bytes,
        }
    }
}

/// A point in time to count from.
pub(crate) struct Start {
    wal: f64,
    database: Duration,
    client: Duration,
}

/// Asks for the log's end through a connection of its own, so that the question is on nobody's bill.
pub(crate) struct Meter {
    probe: PgConnection,
}

impl Meter {
    pub(crate) async fn open(url: &str) -> Self {
        Self { probe: PgConnection::connect(url).await.expect("a connection") }
    }

    pub(crate) async fn start(&mut self, watched: &Watched) -> Start {
        let wal = self.wal().await;
        Start { wal, database: cpu::of_process(watched.pid), client: cpu::cpu() }
    }

    pub(crate) async fn stop(&mut self, start: Start, watched: &Watched) -> Cost {
        let (client, database) = (cpu::cpu() - start.client, cpu::of_process(watched.pid) - start.database);
        Cost { database, client, wal_bytes: self.wal().await - start.wal }
    }

    async fn wal(&mut self) -> f64 {
        let sql = "select (pg_current_wal_insert_lsn() - '0/0')::float8";
        sqlx::query_scalar(sql).fetch_one(&mut self.probe).await.expect("a figure")
    }

    pub(crate) async fn close(self) {
        self.probe.close().await.expect("closed");
    }
}
