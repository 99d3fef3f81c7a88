//! Round after round of real tasks, each of which grows old and goes: is a database that ran them all slower or larger
//! than one that only ever ran what is kept?

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hostler::Client;
use hostler::dispatch::{Host, HostConfig};
use hostler::store::{self, Role};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Bench;
use crate::ageing::{self, Retained};
use crate::backends::{Backends, per_task};
use crate::common::{args, cache, config, cpu, round};
use crate::stage::{Drained, Stage, TASK, ratios};

/// Fails once, is retried, and sends a [`TASK`] with each attempt, under one key: it is one task.
const RETRIED: &str = "misbehave.send";
/// The last rounds, which stay, and which the fresh database runs as well.
const KEPT: usize = 2;
/// Senders of keys at once.
const SENDERS: usize = 8;
/// A key that outlives the day of its task, which then has to go by its own time.
const LATE: Duration = Duration::from_hours(60);
/// Beyond this, and beyond what making and dropping days and emptying indexes leaves once and for all, a database is
/// larger than its kept part.
const SIZE_RATIO_MAX: f64 = 1.1;
const ROOM_BYTES: f64 = 4_194_304.0;
/// What differs by less is not told.
const PART_BYTES: i64 = 65_536;

pub(crate) async fn run(bench: &Bench) -> Value {
    let work = Work::of(bench.options.count("tasks", 500_000));
    let rounds = bench.options.count("rounds", 20).max(KEPT + 1);
    let plugins = plugins(bench);
    let old = Run::new(bench, "old", &plugins).await;
    let (mut passed, began) = (Vec::new(), Instant::now());
    for nth in 1..=rounds - KEPT {
        let figures = old.round(bench, &work, nth).await;
        let filled = Size::of(&old.stage).await;
        ageing::pass(&old.stage).await;
        let retained = ageing::retain(&old.stage).await;
        // Two days of autovacuum, which rounds without a pause leave no time for.
        old.tidy().await;
        let (left, rows) = (Size::of(&old.stage).await, rows(&old.stage).await);
        for (table, left) in
            [("history", work.late), ("attempt", work.late), ("key", work.late), ("child", 0)]
        {
            assert_eq!(rows[table], left, "of {table}, after round {nth}: {rows:?}");
        }
        passed.push(line(&figures, &filled, &left, retained, &rows));
        eprintln!("round {nth} of {rounds}, {:.0} s: {}", began.elapsed().as_secs_f64(), passed[nth - 1]);
    }
    // Time enough for what outlived its day.
    ageing::pass(&old.stage).await;
    ageing::retain(&old.stage).await;
    let fresh = Run::new(bench, "fresh", &plugins).await;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for nth in rounds - KEPT + 1..=rounds {
        // Nobody's drain is billed for what another one left to autovacuum.
        old.tidy().await;
        fresh.tidy().await;
        first.push(fresh.round(bench, &work, nth).await);
        fresh.tidy().await;
        second.push(old.round(bench, &work, nth).await);
    }
    for run in [&fresh, &old] {
        ageing::retain(&run.stage).await;
        run.tidy().await;
    }
    let kept = compare(&fresh.stage, &old.stage).await;
    fresh.stage.end(bench).await;
    old.stage.end(bench).await;
    let of =
        |what: fn(&Figures) -> &Drained, many: &[Figures]| many.iter().map(what).cloned().collect::<Vec<_>>();
    let mut send = ratios(&of(|f| &f.sent, &first), &of(|f| &f.sent, &second));
    let rate = send.as_object_mut().and_then(|send| send.remove("drain_per_second"));
    send["send_per_second"] = rate.expect("a rate");
    json!({
        "tasks_a_round": work.all(), "rounds": rounds, "kept_rounds": KEPT, "of_a_round": work.json(),
        "vacuum": "by hand, twice, before each drain of the last rounds, and before all sizes but `filled_bytes`",
        "seconds": round(began.elapsed().as_secs_f64(), 0),
        "send": send,
        "drain": ratios(&of(|f| &f.drained, &first), &of(|f| &f.drained, &second)),
        "kept": kept, "passed": passed,
    })
}

/// The plugin, with the grant to send.
fn plugins(bench: &Bench) -> PathBuf {
    let dir = bench.plugins.with_file_name("bench-plugins-that-send");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::copy(bench.plugins.join("misbehave.wasm"), dir.join("misbehave.wasm")).expect("copied");
    std::fs::write(dir.join("misbehave.toml"), format!("[send]\ntasks = [\"{TASK}\"]\n")).expect("written");
    dir
}

/// What a round consists of.
struct Work {
    plain: usize,
    /// With a key for a day.
    keyed: usize,
    /// Retried; each is two tasks, for what it sends.
    retried: usize,
    /// Retried, and with a key for longer.
    late: usize,
}

impl Work {
    fn of(tasks: usize) -> Self {
        let (keyed, retried, late) = (tasks / 100, tasks / 100, (tasks / 1_000).max(1));
        Self { plain: tasks.saturating_sub(keyed + 2 * (retried + late)).max(1), keyed, retried, late }
    }

    fn all(&self) -> usize {
        self.plain + self.keyed + 2 * (self.retried + self.late)
    }

    fn json(&self) -> Value {
        json!({
            "plain": self.plain, "with_a_key": self.keyed, "failed_once": self.retried,
            "failed_once_with_a_key_that_outlives_the_day": self.late, "sent_by_tasks": self.retried + self.late,
        })
    }
}

/// What a round's sends and its drain cost.
struct Figures {
    sent: Drained,
    drained: Drained,
}

/// A database of the case.
struct Run {
    stage: Stage,
    plugins: PathBuf,
    /// Of [`RETRIED`].
    lane: i32,
    /// Whose keys last longer.
    late: Client,
}

impl Run {
    async fn new(bench: &Bench, name: &str, plugins: &std::path::Path) -> Self {
        let stage = Stage::new(bench, name).await;
        let sql = "select l.id from hostler.lane l join hostler.kind k on k.id = l.kind where k.name = $1";
        let lane = sqlx::query_scalar(sql).bind(RETRIED).fetch_one(&stage.pool).await.expect("a lane");
        let late = Client::builder(&stage.url).key_window(LATE).connect().await.expect("a client");
        Self { stage, plugins: plugins.to_owned(), lane, late }
    }

    /// Sends everything, then lets a host come and drain it.
    async fn round(&self, bench: &Bench, work: &Work, nth: usize) -> Figures {
        let tasks = work.all() as f64;
        let sample = || (Instant::now(), cpu::cpu(), bench.base.postgres.cpu());
        let between = |from: (Instant, Duration, Duration), to: (Instant, Duration, Duration)| {
            let us = |spent: Duration| spent.as_secs_f64() * 1e6 / tasks;
            Drained {
                per_second: tasks / (to.0 - from.0).as_secs_f64(),
                host_us: us(to.1 - from.1),
                database_us: us(to.2.saturating_sub(from.2)),
                ..Drained::default()
            }
        };
        let began = sample();
        self.send(work, nth).await;
        let sent = between(began, sample());
        let config = config(&self.stage.url, &self.plugins, bench.slots());
        let host = Host::start(HostConfig { cache_dir: Some(cache()), ..config }).await.expect("a host");
        let mut backends = Backends::new(self.stage.pool.clone());
        let spent = backends.sample(&bench.base.postgres).await;
        let began = sample();
        self.drained().await;
        let mut drained = between(began, sample());
        drained.by_kind = per_task(&spent, &backends.sample(&bench.base.postgres).await, tasks);
        while self.stage.number("select count(*)::float8 from hostler.task").await > 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        host.drain(Duration::from_secs(5)).await;
        Figures { sent, drained }
    }

    async fn send(&self, work: &Work, nth: usize) {
        let args = args(100);
        let retried = json!({ "task": TASK, "args": args, "key": "one", "fail_first": true });
        let keyed = async |client: &Client, task: &'static str, args: &Value, count: usize| {
            let mut senders = JoinSet::new();
            for sender in 0..SENDERS {
                let (client, args) = (client.clone(), args.clone());
                senders.spawn(async move {
                    for n in (sender..count).step_by(SENDERS) {
                        client.task(task).key(format!("{nth}/{n}")).send(&args).await.expect("sent");
                    }
                });
            }
            senders.join_all().await;
        };
        keyed(&self.stage.client, TASK, &args, work.keyed).await;
        keyed(&self.late, RETRIED, &retried, work.late).await;
        let client = &self.stage.client;
        client.send_many(RETRIED, std::iter::repeat_n(&retried, work.retried)).await.expect("sent");
        client.send_many(TASK, std::iter::repeat_n(&args, work.plain)).await.expect("sent");
    }

    /// Until nothing waits or runs any more.
    async fn drained(&self) {
        // Positions of a lane only grow: the next look begins where this one ended, and not with all that is dead.
        let sql = "select
            (select pos from hostler.task where lane = $1 and pos >= $2 order by pos limit 1),
            (select pos from hostler.task where lane = $3 and pos >= $4 order by pos limit 1),
            exists (select from hostler.task where lane = 0)";
        let connect = store::Connect::parse(&self.stage.url).expect("a URL");
        let mut conn = store::conn(&connect, Role::Hot).await.expect("a connection");
        let mut from = (0, 0);
        loop {
            let look = sqlx::query_as(sql).bind(self.stage.lane).bind(from.0).bind(self.lane).bind(from.1);
            let (first, second, resting): (Option<i64>, Option<i64>, bool) =
                look.fetch_one(&mut conn).await.expect("an answer");
            if first.is_none() && second.is_none() && !resting {
                return;
            }
            from = (first.unwrap_or(from.0), second.unwrap_or(from.1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What autovacuum does in time.
    async fn tidy(&self) {
        // Pages of an index that the first one emptied, the second one hands out again.
        self.stage.execute("vacuum (analyze)").await;
        self.stage.execute("vacuum (analyze)").await;
        self.stage.execute("checkpoint").await;
    }
}

/// In bytes, but for the last two.
struct Size {
    database: f64,
    catalogue: f64,
    task: f64,
    task_dead: f64,
    relations: f64,
}

impl Size {
    async fn of(stage: &Stage) -> Self {
        let sql = "select pg_database_size(current_database())::float8,
            (select sum(pg_total_relation_size(oid))::float8 from pg_class
                where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r'),
            pg_total_relation_size('hostler.task')::float8,
            (select n_dead_tup::float8 from pg_stat_user_tables where relid = 'hostler.task'::regclass),
            (select count(*)::float8 from pg_class)";
        let (database, catalogue, task, task_dead, relations) =
            sqlx::query_as(sql).fetch_one(&stage.pool).await.expect("figures");
        Self { database, catalogue, task, task_dead, relations }
    }

    fn json(&self) -> Value {
        json!({
            "database_bytes": self.database, "catalogue_bytes": self.catalogue, "task_bytes": self.task,
            "task_dead_tuples": self.task_dead, "relations": self.relations,
        })
    }
}

/// Of every table.
async fn rows(stage: &Stage) -> BTreeMap<String, usize> {
    let sql =
        "select string_agg(format('select %L, count(*) from hostler.%I', relname, relname), ' union all ')
        from pg_class
        where relnamespace = 'hostler'::regnamespace and relkind in ('r', 'p') and not relispartition";
    let sql: String = sqlx::query_scalar(sql).fetch_one(&stage.pool).await.expect("tables");
    let rows: Vec<(String, i64)> = sqlx::query_as(&sql).fetch_all(&stage.pool).await.expect("counts");
    rows.into_iter().map(|(table, rows)| (table, usize::try_from(rows).expect("a count"))).collect()
}

fn line(
    figures: &Figures,
    filled: &Size,
    left: &Size,
    retained: Retained,
    rows: &BTreeMap<String, usize>,
) -> Value {
    let mut line = json!({
        "send_per_second": round(figures.sent.per_second, 0),
        "send_database_cpu_us_per_task": round(figures.sent.database_us, 1),
        "drain_per_second": round(figures.drained.per_second, 0),
        "drain_database_cpu_us_per_task": figures.drained.by_kind,
        "filled_bytes": filled.database, "rows": rows.values().sum::<usize>(),
        "retention_seconds": round(retained.seconds, 2), "days_dropped": retained.days_dropped,
        "refused_by_a_lock": retained.refused,
    });
    for (name, value) in left.json().as_object().expect("an object") {
        line[name] = value.clone();
    }
    line
}

/// What both databases hold in the end; the older one may have forgotten hosts that the other one still knows.
async fn compare(fresh: &Stage, old: &Stage) -> Value {
    let (of_fresh, of_old) = (rows(fresh).await, rows(old).await);
    let unlike: Vec<_> = of_old
        .iter()
        .filter(|(table, rows)| match table.as_str() {
            "host" | "served" => **rows > of_fresh[*table],
            _ => **rows != of_fresh[*table],
        })
        .collect();
    assert!(unlike.is_empty(), "more rows than the fresh database has: {of_old:?} against {of_fresh:?}");
    let (parts_of_fresh, parts_of_old) = (parts(fresh).await, parts(old).await);
    let parts: BTreeMap<_, _> = parts_of_old
        .iter()
        .map(|(name, bytes)| (name, [parts_of_fresh.get(name).copied().unwrap_or_default(), *bytes]))
        .filter(|(_, [fresh, old])| (fresh - old).abs() >= PART_BYTES)
        .collect();
    let (fresh, old) = (Size::of(fresh).await, Size::of(old).await);
    let sizes = json!({
        "size_ratio": round(old.database / fresh.database, 3), "fresh": fresh.json(), "old": old.json(),
        "bytes_of_what_differs": parts, "rows": of_old,
    });
    assert_eq!(fresh.relations, old.relations, "as many relations");
    assert!(old.database <= fresh.database * SIZE_RATIO_MAX + ROOM_BYTES, "it is larger: {sizes}");
    sizes
}

/// Tables and indexes apart.
async fn parts(stage: &Stage) -> BTreeMap<String, i64> {
    let sql = "select relname::text, case relkind when 'r' then pg_table_size(oid) else pg_relation_size(oid) end
        from pg_class
        where relkind in ('r', 'i') and relnamespace in ('hostler'::regnamespace, 'pg_catalog'::regnamespace)";
    let parts: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&stage.pool).await.expect("sizes");
    parts.into_iter().collect()
}
