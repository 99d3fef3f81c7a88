//! Which backend does what: a host's connections keep to one kind of statement each, and statements say in their
//! first line what they are for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::cpu;

/// How statements begin, and what they are called here.
const KINDS: &[(&str, &str)] = &[
    ("-- Claims tasks for a host", "claim"),
    ("-- Writes verdicts", "settle"),
    ("-- What a host asks", "poll"),
    ("-- Sends tasks of one lane", "send"),
];

/// CPU time of each kind so far, of everything else as `other`, and of the server as a whole.
pub(crate) type Spent = BTreeMap<&'static str, Duration>;

/// Samples a database's backends; what they last ran tells their kind, and a backend keeps it.
pub(crate) struct Backends {
    pool: sqlx::PgPool,
    kinds: BTreeMap<i32, &'static str>,
}

impl Backends {
    pub(crate) fn new(pool: sqlx::PgPool) -> Self {
        Self { pool, kinds: BTreeMap::new() }
    }

    /// Learns the backends there are; between two samples, so that the next one knows them.
    pub(crate) async fn learn(&mut self) {
        let sql = "select pid, query from pg_stat_activity
            where datname = current_database() and backend_type = 'client backend'";
        let found: Vec<(i32, String)> = sqlx::query_as(sql).fetch_all(&self.pool).await.expect("backends");
        for (pid, query) in found {
            if let Some((_, kind)) = KINDS.iter().find(|(begin, _)| query.starts_with(begin)) {
                self.kinds.insert(pid, kind);
            }
        }
    }

    pub(crate) async fn sample(&mut self, postgres: &crate::common::cpu::Postgres) -> Spent {
        self.learn().await;
        let mut spent = Spent::from([("total", postgres.cpu())]);
        for (pid, kind) in &self.kinds {
            *spent.entry(kind).or_default() += cpu::of_process(*pid);
        }
        let known: Duration = KINDS.iter().filter_map(|(_, kind)| spent.get(kind)).sum();
        spent.insert("other", spent["total"].saturating_sub(known));
        spent
    }
}

/// What each kind took for each of so many tasks, in microseconds.
pub(crate) fn per_task(before: &Spent, after: &Spent, tasks: f64) -> BTreeMap<&'static str, f64> {
    let us = |(kind, now): (&&'static str, &Duration)| {
        let spent = now.saturating_sub(before.get(kind).copied().unwrap_or_default());
        (*kind, crate::common::round(spent.as_secs_f64() * 1e6 / tasks, 2))
    };
    after.iter().map(us).collect()
}
