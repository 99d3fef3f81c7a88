//! One design, from the first send to what is left behind.

use hostler::store::Role;
use hostler::task::TaskId;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};

use crate::Options;
use crate::common::{args, round};
use crate::lane::Lane;
use crate::meter::{Cost, Meter, Watched};
use crate::product::Product;
use crate::wide::Wide;

/// A design by name; how to set one up is in [`Design`].
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Wide,
    Product { keep_input: bool, marked: bool },
    Lane,
}

enum Design {
    Wide(Wide),
    Product(Product),
    Lane(Lane),
}

/// What is compared. That hosts remember where they are matters only where vacuum cannot clean up.
pub(crate) fn designs(pinned: bool) -> Vec<(&'static str, Kind)> {
    let mut designs = vec![
        ("wide row", Kind::Wide),
        ("hot row and history", Kind::Product { keep_input: false, marked: true }),
        ("append-only lane", Kind::Lane),
    ];
    designs.push(match pinned {
        false => ("hot row and history, input kept", Kind::Product { keep_input: true, marked: true }),
        true => ("hot row and history, no mark", Kind::Product { keep_input: false, marked: false }),
    });
    designs
}

/// Sends a backlog, claims and settles it in batches, and again, until all tasks are done.
pub(crate) async fn run(url: &str, kind: Kind, options: &Options, pinned: bool) -> Value {
    let mut keeper = Watched::open(url, Role::Cold).await;
    let mut design = match kind {
        Kind::Wide => Design::Wide(Wide::set_up(&mut keeper).await),
        Kind::Product { keep_input, marked } => {
            Design::Product(Product::set_up(url, keep_input, marked).await)
        }
        Kind::Lane => Design::Lane(Lane::set_up(&mut keeper).await),
    };
    // As in a host: a sender, a claimer and a settler, each with a connection of its own.
    let mut sender = Watched::open(url, Role::Hot).await;
    let mut claimer = Watched::open(url, Role::Claiming).await;
    let mut settler = Watched::open(url, Role::Hot).await;
    let mut meter = Meter::open(url).await;
    let pin = if pinned { Some(pin(url).await) } else { None };

    let args = args(options.args_bytes).to_string().into_bytes();
    let result = args_of(options.result_bytes);
    let (mut send, mut claim, mut settle) = (Cost::default(), Cost::default(), Cost::default());
    let mut claims_us: Vec<(usize, f64)> = Vec::new();
    let mut ids: Vec<TaskId> = Vec::new();
    while ids.len() < options.tasks {
        let wave = options.backlog.min(options.tasks - ids.len());
        let mut left = wave;
        while left > 0 {
            let new: Vec<TaskId> = (0..options.batch.min(left)).map(|_| TaskId::now_v7()).collect();
            let start = meter.start(&sender).await;
            design.send(&mut sender, &new, &args).await;
            send = send + meter.stop(start, &sender).await;
            left -= new.len();
            ids.extend(new);
        }
        let mut left = wave;
        while left > 0 {
            let start = meter.start(&claimer).await;
            let claimed = design.claim(&mut claimer, options.batch).await;
            let cost = meter.stop(start, &claimer).await;
            assert!(claimed > 0, "everything sent is due");
            claims_us.push((claimed, cost.database.as_secs_f64() * 1e6));
            claim = claim + cost;
            let start = meter.start(&settler).await;
            design.settle(&mut settler, &result).await;
            settle = settle + meter.stop(start, &settler).await;
            left -= claimed;
        }
        if let Design::Lane(lane) = &mut design {
            let start = meter.start(&settler).await;
            lane.rotate(&mut settler).await;
            settle = settle + meter.stop(start, &settler).await;
        }
    }
    if let Some(pin) = pin {
        pin.close().await.expect("closed");
    }
    for watched in [sender, claimer, settler] {
        watched.close().await;
    }
    let left = left_behind(&mut keeper).await;
    let read = read(url, kind, &ids, &mut meter).await;
    let sql = "select relid::regclass::text from pg_stat_user_tables";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut keeper.conn).await.expect("tables");
    let start = meter.start(&keeper).await;
    for table in tables {
        keeper.execute(&format!("vacuum {table}")).await;
    }
    let vacuum = meter.stop(start, &keeper).await;
    keeper.close().await;
    meter.close().await;

    let each = |cost: Cost| {
        let tasks = options.tasks as f64;
        json!({
            "wal_bytes": round(cost.wal_bytes / tasks, 0),
            "database_cpu_us": round(cost.database.as_secs_f64() * 1e6 / tasks, 2),
            "client_cpu_us": round(cost.client.as_secs_f64() * 1e6 / tasks, 2),
        })
    };
    json!({
        "send": each(send), "claim": each(claim), "settle": each(settle), "total": each(send + claim + settle),
        "vacuum_after": each(vacuum), "left": left, "read_one_by_id": read,
        "claim_database_cpu_us_by_fifth": fifths(&claims_us),
    })
}

impl Design {
    async fn send(&mut self, sender: &mut Watched, ids: &[TaskId], args: &[u8]) {
        match self {
            Self::Wide(design) => design.send(sender, ids, args).await,
            Self::Product(design) => design.send(sender, ids, args).await,
            Self::Lane(design) => design.send(sender, ids, args).await,
        }
    }

    async fn claim(&mut self, host: &mut Watched, batch: usize) -> usize {
        match self {
            Self::Wide(design) => design.claim(host, batch).await,
            Self::Product(design) => design.claim(host, batch).await,
            Self::Lane(design) => design.claim(host, batch).await,
        }
    }

    async fn settle(&mut self, host: &mut Watched, result: &[u8]) {
        match self {
            Self::Wide(design) => design.settle(host, result).await,
            Self::Product(design) => design.settle(host, result).await,
            Self::Lane(design) => design.settle(host, result).await,
        }
    }
}

/// So many bytes of JSON.
fn args_of(bytes: usize) -> Vec<u8> {
    format!("\"{}\"", "r".repeat(bytes - 2)).into_bytes()
}

/// A transaction that keeps vacuum from removing whatever dies after its snapshot.
async fn pin(url: &str) -> PgConnection {
    let mut conn = PgConnection::connect(url).await.expect("a connection");
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from pg_class")
        .execute(&mut conn)
        .await
        .expect("a snapshot");
    conn
}

/// What the work left in the tables, before any vacuum.
async fn left_behind(keeper: &mut Watched) -> Value {
    // A backend tells its counts when it ends, and it ends after its connection.
    let others = "select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and query ~ '(wide|entry|receipt|hostler)'";
    loop {
        let alive: i64 = sqlx::query_scalar(others).fetch_one(&mut keeper.conn).await.expect("a count");
        if alive == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let sql = "select coalesce(sum(n_dead_tup), 0)::int8 as dead,
            sum(n_tup_hot_upd)::float8 / nullif(sum(n_tup_upd), 0) as hot,
            sum(pg_table_size(relid))::int8 as tables, sum(pg_indexes_size(relid))::int8 as indexes
        from pg_stat_user_tables";
    let row = sqlx::query(sql).fetch_one(&mut keeper.conn).await.expect("figures");
    let hot: Option<f64> = row.get("hot");
    json!({
        "dead_tuples": row.get::<i64, _>("dead"),
        "hot_ratio": hot.map(|hot| round(hot, 3)),
        "table_bytes": row.get::<i64, _>("tables"),
        "index_bytes": row.get::<i64, _>("indexes"),
    })
}

/// One result after the other, spread over all tasks, as a sender reads them.
async fn read(url: &str, kind: Kind, ids: &[TaskId], meter: &mut Meter) -> Value {
    const READS: usize = 500;
    // In the order in which a sender asks; the last one has the answer.
    let looks = match kind {
        Kind::Wide => vec![Wide::LOOK.to_owned()],
        Kind::Product { .. } => Product::looks(),
        Kind::Lane => vec![Lane::LOOK.to_owned()],
    };
    let mut reader = Watched::open(url, Role::Hot).await;
    let chosen: Vec<TaskId> = (0..READS).map(|n| ids[n * 7919 % ids.len()]).collect();
    let mut buffers = 0;
    for look in &looks {
        let explained = format!("explain (analyze, buffers, format json) {look}");
        let query = sqlx::query_scalar(&explained).bind(vec![chosen[0]]);
        let plan: Value = query.fetch_one(&mut reader.conn).await.expect("a plan");
        let blocks = |key: &str| plan[0]["Plan"][key].as_i64().unwrap_or_default();
        buffers += blocks("Shared Hit Blocks") + blocks("Shared Read Blocks");
    }
    let start = meter.start(&reader).await;
    for id in &chosen {
        let mut answer = None;
        for look in &looks {
            answer =
                sqlx::query(look).bind(vec![*id]).fetch_optional(&mut reader.conn).await.expect("an answer");
        }
        let result = answer.expect("one result").try_get::<Vec<u8>, _>("result");
        assert!(result.is_ok_and(|result| !result.is_empty()));
    }
    let cost = meter.stop(start, &reader).await;
    reader.close().await;
    json!({
        "database_cpu_us": round(cost.database.as_secs_f64() * 1e6 / READS as f64, 1),
        "buffers": buffers,
    })
}

/// CPU time for each claimed task, in the order of the claims.
fn fifths(claims: &[(usize, f64)]) -> Vec<f64> {
    claims
        .chunks(claims.len().div_ceil(5).max(1))
        .map(|claims| {
            let tasks: usize = claims.iter().map(|(tasks, _)| tasks).sum();
            round(claims.iter().map(|(_, us)| us).sum::<f64>() / tasks.max(1) as f64, 2)
        })
        .collect()
}
