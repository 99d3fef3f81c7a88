//! An append-only lane at its best: entries are appended, a claim and a settle are one row to a batch, and nothing is
//! ever updated. Entries stand in a ring of tables, each emptied as a whole once it is settled.
//!
//! What it does without: any state of one task. No cancel, retry, delay, priority or key of one task, no refusal of
//! an id that was sent before, no usage of an attempt; one sender, whose positions have no gaps. A result is found
//! through its batch: by the range of its ids, which is narrow only as long as tasks end in the order they were sent.

use hostler::task::TaskId;
use sqlx::Row;

use crate::meter::Watched;

const RING: usize = 4;

const SCHEMA: &str = "
create sequence position;
create table claimed (
    first bigint primary key,
    last bigint not null,
    session bigint not null,
    claimed_at timestamptz not null default clock_timestamp()
);
create table receipt (
    first bigint primary key,
    session bigint not null,
    finished_at timestamptz not null default clock_timestamp(),
    lowest uuid not null,
    highest uuid not null,
    ids uuid[] not null,
    results bytea[] not null
);
-- Compressing one result after the other is not what is compared here.
alter table receipt alter ids set storage external, alter results set storage external;
create index receipt_by_id on receipt (lowest);";

#[derive(Default)]
pub(crate) struct Lane {
    statements: Vec<[String; 2]>,
    /// The table that takes entries, and the one that is claimed from.
    table: usize,
    first: i64,
    held: Vec<TaskId>,
}

impl Lane {
    pub(crate) async fn set_up(watched: &mut Watched) -> Self {
        watched.execute(SCHEMA).await;
        let mut statements = Vec::new();
        for n in 0..RING {
            let table = format!(
                "create table entry_{n} (pos bigint primary key, sent_at timestamptz not null default \
                 clock_timestamp(), id uuid not null, fingerprint bigint not null, args bytea not null)"
            );
            watched.execute(&table).await;
            let send = format!(
                "insert into entry_{n} (pos, id, fingerprint, args)
                select nextval('position'), new.id, new.fingerprint, new.args
                from unnest($1::uuid[], $2::bytea[], $3::bigint[]) as new (id, args, fingerprint)"
            );
            // Of two hosts that ask at once, the row of the second conflicts, and it gets nothing.
            let claim = format!(
                "with head as materialized (
                    select coalesce((select last from claimed order by first desc limit 1), 0) as last
                ),
                due as materialized (
                    select e.pos, e.id, e.sent_at, e.args
                    from head, lateral (
                        select * from entry_{n} where pos > head.last order by pos limit $1
                    ) e
                ),
                won as (
                    insert into claimed (first, last, session)
                    select min(pos), max(pos), 1 from due having count(*) > 0
                    on conflict do nothing
                    returning first
                )
                select due.*, won.first
                from (select set_config('synchronous_commit', 'off', true)) durability, won, due
                order by pos"
            );
            statements.push([send, claim]);
        }
        Self { statements, ..Self::default() }
    }

    pub(crate) async fn send(&mut self, sender: &mut Watched, ids: &[TaskId], args: &[u8]) {
        let args = vec![args; ids.len()];
        let fingerprints = vec![0x5eed_i64; ids.len()];
        let query = sqlx::query(&self.statements[self.table][0]).bind(ids).bind(args).bind(fingerprints);
        let sent = query.execute(&mut sender.conn).await.expect("sent");
        assert_eq!(sent.rows_affected(), ids.len() as u64);
    }

    pub(crate) async fn claim(&mut self, host: &mut Watched, batch: usize) -> usize {
        let limit = i64::try_from(batch).expect("a small number");
        let query = sqlx::query(&self.statements[self.table][1]).bind(limit);
        let rows = query.fetch_all(&mut host.conn).await.expect("claimed");
        let take = |row: &sqlx::postgres::PgRow| (row.get::<TaskId, _>(1), row.get::<Vec<u8>, _>(3));
        self.held = rows.iter().map(take).map(|(id, _args)| id).collect();
        self.first = rows.first().map_or(self.first, |row| row.get(4));
        self.held.len()
    }

    pub(crate) async fn settle(&mut self, host: &mut Watched, result: &[u8]) {
        let results = vec![result; self.held.len()];
        let sql = "insert into receipt (first, session, lowest, highest, ids, results)
            select c.first, c.session, $2, $3, $4, $5
            from claimed c where c.first = $1 and c.session = 1";
        let lowest = self.held.iter().min().expect("a batch");
        let highest = self.held.iter().max().expect("a batch");
        let query =
            sqlx::query(sql).bind(self.first).bind(lowest).bind(highest).bind(&self.held).bind(results);
        assert_eq!(query.execute(&mut host.conn).await.expect("settled").rows_affected(), 1);
    }

    /// Everything that was sent is settled: its table is emptied, and the next one takes over.
    pub(crate) async fn rotate(&mut self, host: &mut Watched) {
        host.execute(&format!("truncate entry_{}", self.table)).await;
        self.table = (self.table + 1) % RING;
    }

    pub(crate) const LOOK: &str = "
        select batch.result
        from unnest($1::uuid[]) as wanted (id)
        cross join lateral (
            select r.results[array_position(r.ids, wanted.id)] as result
            from receipt r
            where r.lowest <= wanted.id and r.highest >= wanted.id and wanted.id = any (r.ids)
            order by r.lowest desc
            limit 1
        ) batch";
}
