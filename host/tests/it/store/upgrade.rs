//! Databases that older programs made, and programs that are older than the database.

use std::borrow::Cow;
use std::path::Path;

use hostler::store::{SCHEMA_VERSION, migrate, schema_version};
use hostler::{AttemptOutcome, Include, Status, TaskId};
use serde_json::{Value, json};
use sqlx::migrate::Migrator;

use crate::handle::eventually;
use crate::support::{Database, LONG, database, host};

async fn all() -> Migrator {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"));
    Migrator::new(dir).await.expect("migrations")
}

/// A database as a program knew it whose newest schema had this version.
async fn of_version(version: i64) -> Database {
    let database = database();
    let mut conn = database.conn().await;
    let before = "drop schema hostler cascade; create schema hostler; set search_path = hostler";
    sqlx::raw_sql(before).execute(&mut conn).await.expect("as new");
    let known = all().await.iter().filter(|m| m.version <= version).cloned().collect();
    let then = Migrator { migrations: Cow::Owned(known), ..Migrator::DEFAULT };
    then.run_direct(&mut conn).await.expect("the schema of then");
    assert_eq!(schema_version(&mut conn).await.expect("an answer"), Some(version));
    database
}

/// What may be in a database when it is upgraded, one of each, in columns that every version has.
struct Live {
    pending: TaskId,
    delayed: TaskId,
    lost: TaskId,
    retried: TaskId,
    done: TaskId,
}

impl Live {
    async fn in_it(database: &Database) -> Self {
        let id = TaskId::now_v7;
        let live = Self { pending: id(), delayed: id(), lost: id(), retried: id(), done: id() };
        let Self { pending, delayed, lost, retried, done } = &live;
        let rows = format!(
            "set search_path = hostler;
            insert into kind (name, published_at) values ('misbehave.noop', now());
            insert into lane (kind, queue, priority) select id, 'default', 50 from kind;
            insert into host (session, pid, lease_ms, slots, hostname, version, ended_at, lost)
                values (5, 1, 1000, 1, 'elsewhere', '0', now(), true);
            insert into task (id, pos, fingerprint, lane, home, redeliveries_max, keep_input, args, attempt, retries,
                    session, claim, claimed_at, run_at)
                select t.id::uuid, t.pos, 1, case when t.run_at is null then l.id else 0 end, l.id, 3, true,
                    '{{}}', t.attempt, t.retries, t.session, t.session, case when t.session is not null then now() end,
                    t.run_at
                from lane l, (values
                    ('{pending}', nextval('position'), 0, 0, null::bigint, null::timestamptz),
                    ('{lost}', nextval('position'), 1, 0, 5, null),
                    ('{delayed}', 1, 0, 0, null, now()),
                    ('{retried}', 2, 1, 1, null, now())
                ) as t (id, pos, attempt, retries, session, run_at);
            insert into attempt (task, session, claimed_at, finished_at, number, outcome, error_family, error_code)
                values ('{retried}', 5, now(), now(), 1, 2, 6, 'NOT_YET');
            insert into history (id, sent_at, finished_at, fingerprint, lane, attempt, status, outcome, retries,
                    redeliveries, releases, redeliveries_max, claimed_at, session, result)
                select '{done}', now(), now(), 1, id, 1, 3, 1, 0, 0, 0, 3, now(), 5, '42' from lane;
            insert into key (kind, key, task, fingerprint, window_seconds) select id, 'k', '{done}', 1, 86400 from kind"
        );
        sqlx::raw_sql(&rows).execute(&mut database.conn().await).await.expect("live data");
        live
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_lives_in_an_older_database_lives_on_in_the_newest() {
    let versions: Vec<i64> = all().await.iter().map(|migration| migration.version).collect();
    for version in versions.iter().copied().filter(|version| *version < SCHEMA_VERSION) {
        let database = of_version(version).await;
        let live = Live::in_it(&database).await;
        let applied = migrate(&database.connect()).await.expect("upgraded");
        let newer: Vec<i64> = versions.iter().copied().filter(|newer| *newer > version).collect();
        assert_eq!(applied, newer, "from {version}");
        assert!(migrate(&database.connect()).await.expect("once").is_empty());

        let host = host(&database).await;
        let client = database.client().await;
        let of = |id| client.handle::<Value>(id);
        assert_eq!(of(live.done).get(Some(LONG)).await.expect("its old result"), 42);
        for id in [live.pending, live.delayed, live.lost, live.retried] {
            of(id).get(Some(LONG)).await.expect("a result");
        }
        let story = async |id| of(id).info(Include::ATTEMPTS).await.expect("an answer").expect("known");
        let lost = story(live.lost).await;
        assert_eq!((lost.attempt, lost.redeliveries), (2, 1));
        let ends: Vec<_> =
            story(live.retried).await.attempts.into_iter().flatten().map(|a| a.outcome).collect();
        assert_eq!(ends, [AttemptOutcome::Completed, AttemptOutcome::Failed]);
        let taken =
            client.task("misbehave.noop").key("k").send(json!({})).await.expect_err("the key is taken");
        assert_eq!(taken.task_id, Some(live.done));
        host.drain(LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_has_to_wait_keeps_nobody_else_waiting() {
    let database = of_version(6).await;
    let (mut held, mut other) = (database.conn().await, database.conn().await);
    sqlx::raw_sql("begin; lock table hostler.task in row exclusive mode")
        .execute(&mut held)
        .await
        .expect("held");
    let connect = database.connect();
    let migrating = tokio::spawn(async move { migrate(&connect).await });
    // It has come as far as it can, and has given way at least once.
    for _ in 0..2 {
        eventually("it waits for the table", async || waits(&mut other).await.then_some(())).await;
        eventually("it gives way", async || (!waits(&mut other).await).then_some(())).await;
    }
    let send =
        sqlx::raw_sql("select hostler.send('misbehave.noop', unpublished => true)").execute(&mut other);
    tokio::time::timeout(LONG, send).await.expect("not behind the migration").expect("sent");
    assert!(!migrating.is_finished());
    sqlx::raw_sql("commit").execute(&mut held).await.expect("let go");
    let applied = tokio::time::timeout(LONG, migrating).await.expect("in time").expect("no panic");
    assert_eq!(applied.expect("upgraded").last(), Some(&SCHEMA_VERSION));
}

async fn waits(conn: &mut sqlx::PgConnection) -> bool {
    let sql =
        "select exists (select from pg_locks where relation = 'hostler.task'::regclass and not granted)";
    sqlx::query_scalar(sql).fetch_one(conn).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_comes_before_its_migration_is_told_so_and_may_try_again() {
    let database = of_version(6).await;
    let client = database.client().await;
    let task = || client.task("misbehave.noop").unpublished();
    let one = task().send(json!({})).await.expect_err("too old");
    let many = task().send_many(vec![json!({}); 3]).await.expect_err("too old");
    for error in [one, many] {
        assert!(error.to_string().contains("hostler migrate"), "{error}");
        assert!(error.retryable, "{error}");
    }
    migrate(&database.connect()).await.expect("upgraded");
    task().send(json!({})).await.expect("sent");
}

/// During a rolling upgrade the first new host migrates, while the old ones work on. This one is old.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_older_than_the_database_works_on_until_it_ends() {
    let database = database();
    let host = host(&database).await;
    let client = database.client().await;
    // Migrations add, and take nothing away that the version before used.
    let newer = "alter table hostler.task add column of_the_future text;
        alter table hostler.history add column of_the_future text;
        alter table hostler.attempt add column of_the_future text;
        alter table hostler.host add column of_the_future text;
        insert into hostler._sqlx_migrations (version, description, success, checksum, execution_time)
            values (9999, 'of the future', true, '', 0)";
    sqlx::raw_sql(newer).execute(&mut database.conn().await).await.expect("a newer schema");
    client.send("misbehave.noop", json!({})).await.expect("sent").get(Some(LONG)).await.expect("a result");
    let retried = client.send("flaky.fail_then_succeed", json!({"failures": 1})).await.expect("sent");
    retried.get(Some(LONG)).await.expect("a result");
    let cancelled = client.task("misbehave.noop").delay(LONG).send(json!({})).await.expect("sent");
    assert_eq!(cancelled.cancel().await.expect("an answer"), Status::Cancelled);
    host.drain(LONG).await;
    let Err(error) = hostler::dispatch::Host::start(crate::support::host_config(&database)).await else {
        panic!("it started")
    };
    assert!(error.to_string().contains("use a newer hostler"), "{error}");
}
