//! Time that passes: everything a database remembers becomes older at once, and then hosts' own retention has its turn.

use std::time::{Duration, Instant};

use hostler::store::{self, Role};

use crate::stage::Stage;

/// More than the retention, which keeps a day and then waits for the day to be over.
const PASSED: &str = "48 hours";
/// The shortest there is.
const KEPT_DAYS: i32 = 1;
/// As hosts look after history and recover.
const BATCH: i64 = 500;
const PAGES: i64 = 1_024;

/// Makes every time and every id in the schema older by two days; a day's partitions become those of the day that they
/// then belong to. Nothing may wait or run: a task's place in the waiting room is a time as well.
pub(crate) async fn pass(stage: &Stage) {
    // Whatever column comes later ages with the rest: nothing here is named but the partitions. While these are
    // apart, ids may leave their days, those in the default partitions included.
    let sql = format!(
        r"do $$
        declare
            passed constant interval := '{PASSED}';
            part record;
            day timestamp;
        begin
            for part in select i.inhparent::regclass as whole, i.inhrelid::regclass as name
                from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where c.relnamespace = 'hostler'::regnamespace and c.relname ~ '^(history|attempt)_[0-9]{{8}}$'
            loop
                execute format('alter table %s detach partition %s', part.whole, part.name);
            end loop;
            for part in select c.oid::regclass as name, string_agg(format(case a.atttypid
                    when 'uuid'::regtype then '%1$I = (left(hostler.id_floor(hostler.id_time(%1$I) - $1)::text, 13)
                        || right(%1$I::text, 23))::uuid'
                    else '%1$I = %1$I - $1' end, a.attname), ', ') as older
                from pg_class c join pg_attribute a on a.attrelid = c.oid
                where c.relnamespace = 'hostler'::regnamespace and c.relkind = 'r' and a.attnum > 0
                    and a.atttypid in ('uuid'::regtype, 'timestamptz'::regtype)
                group by c.oid
            loop
                execute format('update %s set %s', part.name, part.older) using passed;
            end loop;
            -- The oldest first: its name and its range are free.
            for part in select c.relname as name, split_part(c.relname, '_', 1) as whole,
                    to_date(right(c.relname, 8), 'YYYYMMDD') as day
                from pg_class c
                where c.relnamespace = 'hostler'::regnamespace and c.relkind = 'r'
                    and c.relname ~ '^(history|attempt)_[0-9]{{8}}$'
                order by c.relname
            loop
                day := part.day - passed;
                execute format('alter table hostler.%I rename to %I', part.name,
                    part.whole || to_char(day, '_YYYYMMDD'));
                execute format('alter index hostler.%I rename to %I', part.name || '_pkey',
                    part.whole || to_char(day, '_YYYYMMDD') || '_pkey');
                execute format('alter table hostler.%I attach partition hostler.%I for values from (%L) to (%L)',
                    part.whole, part.whole || to_char(day, '_YYYYMMDD'),
                    hostler.id_floor(day at time zone 'UTC'),
                    hostler.id_floor((day + interval '1 day') at time zone 'UTC'));
            end loop;
        end
        $$"
    );
    stage.execute(&sql).await;
}

/// What retention took, and what it met.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Retained {
    pub(crate) seconds: f64,
    pub(crate) days_dropped: usize,
    pub(crate) refused: usize,
}

/// What a host does that has been up meanwhile, with its own functions in its own order: a look for what the ended ones left,
/// without which they stay on record, and then history, until nothing more is over its time. A host leaves what is less
/// than a batch for the next hour, a key after its task for instance; these hours pass at once.
pub(crate) async fn retain(stage: &Stage) -> Retained {
    let connect = store::Connect::parse(&stage.url).expect("a URL");
    let mut conn = store::conn(&connect, Role::Hot).await.expect("a connection");
    let (began, mut retained) = (Instant::now(), Retained::default());
    while let Some(walked) = store::recover(&mut conn, BATCH, PAGES, false).await.expect("a look") {
        assert!(walked.recovered.is_empty(), "nothing was left");
        if walked.whole {
            store::drop_cancels_left(&mut conn).await.expect("dropped");
            break;
        }
    }
    loop {
        store::make_partitions(&mut conn).await.expect("partitions");
        match store::drop_day(&mut conn, KEPT_DAYS).await {
            Ok(Some(_)) => retained.days_dropped += 1,
            Ok(None) => {
                let pruned = store::prune(&mut conn, KEPT_DAYS, BATCH).await.expect("pruned");
                let swept = store::sweep(&mut conn, BATCH).await.expect("swept");
                let families = store::sweep_families(&mut conn, BATCH).await.expect("swept");
                if [pruned.tasks, pruned.keys, pruned.hosts, swept, families] == [0; 5] {
                    break;
                }
            }
            Err(error) => {
                // Somebody's lock; a host comes back after an hour.
                retained.refused += 1;
                assert!(retained.refused < 1_000, "no day can be dropped: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    retained.seconds = began.elapsed().as_secs_f64();
    retained
}
