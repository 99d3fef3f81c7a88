//! What most queues do: one wide row for a task's whole life, its status in a partial index.

use hostler::task::TaskId;
use sqlx::Row;

use crate::meter::Watched;

/// The columns of hostler's `task` and `history` together.
const SCHEMA: &str = "
create sequence position;
create table wide (
    id uuid primary key,
    pos bigint not null,
    session bigint,
    claim bigint,
    claimed_at timestamptz,
    sent_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    run_at timestamptz,
    good_until timestamptz,
    fingerprint bigint not null,
    parent uuid,
    memory_bytes_peak bigint,
    lane int not null,
    attempt int not null default 0,
    plugin int,
    cpu_ms int,
    wall_ms int,
    status smallint not null default 1,
    outcome smallint,
    retries smallint not null default 0,
    redeliveries smallint not null default 0,
    releases smallint not null default 0,
    redeliveries_max smallint not null,
    max_retries smallint,
    cancel_requested boolean not null default false,
    error_family smallint,
    error_code text,
    error bytea,
    result bytea,
    log_tail bytea,
    args bytea not null
);
create index wide_pending on wide (lane, pos) where status = 1;";

const SEND: &str = "
insert into wide (id, pos, fingerprint, lane, redeliveries_max, args)
select new.id, nextval('position'), new.fingerprint, 1, 3, new.args
from unnest($1::uuid[], $2::bytea[], $3::bigint[]) as new (id, args, fingerprint)
on conflict (id) do nothing";

const CLAIM: &str = "
with picked as materialized (
    select ctid as place from wide where lane = 1 and status = 1 order by pos limit $1 for update skip locked
),
claimed as (
    update wide t
    set status = 2, session = 1, claim = $2, claimed_at = clock_timestamp(), attempt = attempt + 1
    from picked
    where t.ctid = picked.place
    returning t.id, t.pos, t.attempt, t.claimed_at, t.args
)
select claimed.* from (select set_config('synchronous_commit', 'off', true)) durability, claimed order by pos";

const SETTLE: &str = "
update wide t
set status = 3, outcome = 1, finished_at = clock_timestamp(), result = v.result, cpu_ms = 1, wall_ms = 1,
    memory_bytes_peak = 1048576, plugin = 1
from unnest($1::uuid[], $2::bytea[]) as v (id, result)
where t.id = v.id and t.session = 1 and t.claim = $3";

#[derive(Default)]
pub(crate) struct Wide {
    number: i64,
    held: Vec<TaskId>,
}

impl Wide {
    pub(crate) async fn set_up(watched: &mut Watched) -> Self {
        watched.execute(SCHEMA).await;
        Self::default()
    }

    pub(crate) async fn send(&mut self, sender: &mut Watched, ids: &[TaskId], args: &[u8]) {
        let args = vec![args; ids.len()];
        let fingerprints = vec![0x5eed_i64; ids.len()];
        let query = sqlx::query(SEND).bind(ids).bind(args).bind(fingerprints);
        let sent = query.execute(&mut sender.conn).await.expect("sent");
        assert_eq!(sent.rows_affected(), ids.len() as u64);
    }

    pub(crate) async fn claim(&mut self, host: &mut Watched, batch: usize) -> usize {
        self.number += 1;
        let limit = i64::try_from(batch).expect("a small number");
        let query = sqlx::query(CLAIM).bind(limit).bind(self.number);
        let rows = query.fetch_all(&mut host.conn).await.expect("claimed");
        // Arguments too are taken out of the answer, as a host would.
        let take = |row: &sqlx::postgres::PgRow| (row.get::<TaskId, _>(0), row.get::<Vec<u8>, _>(4));
        self.held = rows.iter().map(take).map(|(id, _args)| id).collect();
        self.held.len()
    }

    pub(crate) async fn settle(&mut self, host: &mut Watched, result: &[u8]) {
        self.held.sort_unstable();
        let results = vec![result; self.held.len()];
        let query = sqlx::query(SETTLE).bind(&self.held).bind(results).bind(self.number);
        let settled = query.execute(&mut host.conn).await.expect("settled");
        assert_eq!(settled.rows_affected(), self.held.len() as u64);
    }

    pub(crate) const LOOK: &str = "select id, status, result from wide where id = any ($1::uuid[])";
}
