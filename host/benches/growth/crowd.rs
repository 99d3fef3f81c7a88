//! Tables full of what does not concern the host: tasks of others, tasks of later, names, hosts.

use std::time::{Duration, Instant};

use hostler::store::{self, Role};
use hostler::task::Session;
use serde_json::{Value, json};

use crate::Bench;
use crate::backends::{Backends, per_task};
use crate::common::{args, cpu};
use crate::stage::{Drained, Stage, TASK, compare, ratios, start};

/// UUIDv7s of now.
const ID: &str = "(left(hostler.id_floor(clock_timestamp())::text, 14) || '7' || substr(md5(n::text), 1, 3) || '-8' \
    || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12))::uuid";

async fn stages(bench: &Bench) -> (Stage, Stage) {
    (Stage::new(bench, "without").await, Stage::new(bench, "with").await)
}

async fn end(bench: &Bench, without: Stage, with: Stage) {
    without.end(bench).await;
    with.end(bench).await;
}

/// Names that others serve, each with the lane that most sends use.
async fn strangers(stage: &Stage, names: usize) {
    let sql = format!(
        "insert into hostler.kind (name, published_at)
            select format('stranger%s.work', n), clock_timestamp() from generate_series(1, {names}) n;
        insert into hostler.lane (kind, queue, priority)
            select id, 'default', 50 from hostler.kind where name like 'stranger%';
        insert into hostler.plugin (name, version, digest)
            select format('stranger%s', n), '0.1.0', md5(n::text) from generate_series(1, {names}) n;"
    );
    stage.execute(&sql).await;
}

/// Tasks straight into the table, spread over the lanes of strangers.
async fn tasks_of_strangers(stage: &Stage, rows: usize) {
    let sql = format!(
        "insert into hostler.task (id, args, fingerprint, lane, home, pos, redeliveries_max, keep_input)
            select {ID}, convert_to('{}', 'UTF8'), 1, l.lanes[1 + n % cardinality(l.lanes)],
                l.lanes[1 + n % cardinality(l.lanes)], nextval('hostler.position'), 3, true
            from generate_series(1, {rows}) n,
                (select array_agg(l.id) as lanes from hostler.lane l join hostler.kind k on k.id = l.kind
                    where k.name like 'stranger%') l;",
        args(100)
    );
    stage.execute(&sql).await;
    vacuum(stage).await;
}

/// What the burden itself would have autovacuum do is done before anything is measured.
async fn vacuum(stage: &Stage) {
    stage.execute("vacuum (analyze) hostler.task").await;
    stage.execute("analyze").await;
    stage.execute("checkpoint").await;
}

pub(crate) async fn pending(bench: &Bench) -> Value {
    let rows = bench.options.count("rows", 1_000_000);
    let (without, with) = stages(bench).await;
    strangers(&with, 1).await;
    tasks_of_strangers(&with, rows).await;
    let unserved = compare(bench, &without, &with).await;
    end(bench, without, with).await;
    json!({ "rows": rows, "unserved": unserved, "same_lane": same_lane(bench, rows).await })
}

/// The first tasks of a lane, with nothing behind them and with a long backlog.
async fn same_lane(bench: &Bench, rows: usize) -> Value {
    let (without, with) = stages(bench).await;
    let args = args(100);
    with.client.send_many(TASK, std::iter::repeat_n(&args, rows)).await.expect("sent");
    vacuum(&with).await;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..=bench.rounds() {
        let tasks = bench.tasks();
        without.client.send_many(TASK, std::iter::repeat_n(&args, tasks * 2)).await.expect("sent");
        let (a, b) = (front(bench, &without, tasks).await, front(bench, &with, tasks).await);
        if round > 0 {
            first.push(a);
            second.push(b);
        }
    }
    end(bench, without, with).await;
    ratios(&first, &second)
}

/// Lets a host drain about so many tasks of the lane, whatever stands behind them.
async fn front(bench: &Bench, stage: &Stage, tasks: usize) -> Drained {
    // Positions of one sender have no gaps. Beyond the last task lies the next position. The look begins
    // where the last one ended: over what vacuum has not removed yet it would cost more than the drain.
    let first = "select coalesce(
            (select pos from hostler.task where lane = $1 and pos >= $2 order by pos limit 1),
            (select last_value + 1 from hostler.position))::float8";
    let place = async |from: f64| -> f64 {
        let query = sqlx::query_scalar(first).bind(stage.lane).bind(from as i64);
        query.fetch_one(&stage.pool).await.expect("a place")
    };
    let sample = || (Instant::now(), cpu::cpu(), bench.base.postgres.cpu());
    let host = start(bench, &stage.url).await;
    // What it did while it started is left out on both sides.
    stage.looked_around().await;
    let (from, began) = (place(0.0).await, sample());
    let mut backends = Backends::new(stage.pool.clone());
    let spent = backends.sample(&bench.base.postgres).await;
    let end = stage.number("select (last_value + 1)::float8 from hostler.position").await;
    let mut to = from;
    while to < end.min(from + tasks as f64) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        to = place(to).await;
    }
    let ended = sample();
    let all = backends.sample(&bench.base.postgres).await;
    host.drain(Duration::from_secs(5)).await;
    let done = (to - from).max(1.0);
    let us = |spent: Duration| spent.as_secs_f64() * 1e6 / done;
    Drained {
        per_second: done / (ended.0 - began.0).as_secs_f64(),
        host_us: us(ended.1 - began.1),
        database_us: us(ended.2 - began.2),
        by_kind: per_task(&spent, &all, done),
    }
}

pub(crate) async fn delayed(bench: &Bench) -> Value {
    let rows = bench.options.count("rows", 100_000);
    let (without, with) = stages(bench).await;
    let sql = format!(
        "insert into hostler.task
            (id, args, fingerprint, lane, home, pos, run_at, redeliveries_max, keep_input)
            select {ID}, convert_to('{}', 'UTF8'), 1, 0, {},
                (extract(epoch from due) * 1000000)::bigint, due, 3, true
            from generate_series(1, {rows}) n, lateral (select now() + interval '1 day' + n * interval '1 second' as due) d;",
        args(100),
        with.lane
    );
    with.execute(&sql).await;
    vacuum(&with).await;
    let drain = compare(bench, &without, &with).await;
    end(bench, without, with).await;
    json!({ "rows": rows, "drain": drain })
}

pub(crate) async fn names(bench: &Bench) -> Value {
    let names = bench.options.count("rows", 1_000);
    let (without, with) = stages(bench).await;
    strangers(&with, names).await;
    tasks_of_strangers(&with, names * 10).await;
    let drain = compare(bench, &without, &with).await;
    let served = with.number("select count(*)::float8 from hostler.kind where name like 'misbehave%'").await;
    end(bench, without, with).await;
    json!({ "names": names, "served": served, "waiting_for_each_name": 10, "drain": drain })
}

pub(crate) async fn hosts(bench: &Bench) -> Value {
    let rows = bench.options.count("rows", 64);
    let (without, with) = stages(bench).await;
    strangers(&with, 10).await;
    // A lease of a day: nobody is to declare them dead.
    let sql = format!(
        "insert into hostler.host (session, pid, lease_ms, slots, hostname, version, ended_at)
            select n, n, 86400000, 256, 'elsewhere', '0.1.0', case when n % 2 = 0 then clock_timestamp() end
            from generate_series(1, {rows}) n;
        insert into hostler.serving (session, kind, plugin)
            select h.session, k.id, p.id from hostler.host h, hostler.kind k
            join hostler.plugin p on k.name = p.name || '.work' where h.pid <= {rows} and h.ended_at is null;"
    );
    with.execute(&sql).await;
    vacuum(&with).await;
    let beating = tokio::spawn(beat(with.url.clone(), rows));
    let drain = compare(bench, &without, &with).await;
    beating.abort();
    end(bench, without, with).await;
    json!({ "rows": rows, "alive": rows.div_ceil(2), "drain": drain })
}

/// Beats for the hosts that are alive, each as often as a host does.
async fn beat(url: String, rows: usize) {
    let connect = store::Connect::parse(&url).expect("a URL");
    let mut conn = store::conn(&connect, Role::Hot).await.expect("a connection");
    let alive = rows.div_ceil(2);
    loop {
        for n in 0..alive {
            let session = Session(i64::try_from(2 * n + 1).expect("a small number"));
            store::beat(&mut conn, session, 0, false).await.expect("a beat");
            tokio::time::sleep(Duration::from_secs(5) / u32::try_from(alive).expect("a small number")).await;
        }
    }
}
