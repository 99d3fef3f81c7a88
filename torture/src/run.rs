//! One run: everything is set up, broken, left to come to rest, and checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use hostler::Client;
use hostler::store::{Connect, migrate};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Args;
use crate::adversary::Adversary;
use crate::build::{Hostler, Plugin};
use crate::check::{self, Facts, Rows};
use crate::database::Database;
use crate::harm::Harm;
use crate::host::{self, Launch, Place};
use crate::log::{Event, Log};
use crate::order::Orders;
use crate::pooler::Pooler;
use crate::report::Report;
use crate::schedule::schedule;
use crate::sender::{COMPANIONS, Crew, send};
use crate::wire::Wire;

/// Until the first host serves.
const START_MAX: Duration = Duration::from_secs(120);
/// Everything that was sent is final so long after the last fault.
const REST_MAX: Duration = Duration::from_secs(150);
/// Waits and cancels end within this.
const COMPANIONS_MAX: Duration = Duration::from_secs(90);
const SENDERS: u64 = 4;

/// Runs in this directory, which is to be empty. The database is gone when it returns.
pub(crate) async fn run(args: &Args, dir: &Path) -> anyhow::Result<Report> {
    let hostler = Hostler::find();
    let plugin = Plugin::build(&hostler, dir).await?;
    let database = Database::create(dir).await?;
    let pooler = match &args.pooler {
        Some(program) => Some(Pooler::start(program, &database, args.lease()).await?),
        None => None,
    };
    let ran = on(args, dir, &hostler, plugin, &database, pooler.as_ref()).await;
    drop(pooler);
    database.leave().await?;
    ran
}

async fn on(
    args: &Args,
    dir: &Path,
    hostler: &Hostler,
    plugin: Plugin,
    database: &Database,
    pooler: Option<&Pooler>,
) -> anyhow::Result<Report> {
    let log = Log::create(&dir.join("events.jsonl"))?;
    log.write(Event::Began { lease_ms: args.lease_ms });
    std::fs::create_dir_all(host::effects(dir))?;
    let tamper = args.harm.and_then(Harm::tamper);
    let socket = pooler.map_or_else(|| database.socket(), Pooler::socket);
    let by_the_way = pooler.filter(|_| !args.no_listen).map(|_| database.socket());
    if pooler.is_some() {
        // Whoever does not listen gets past the pooler for nothing.
        migrate(&Connect::parse(database.url())?).await?;
    }
    let sender_wire = Wire::to(socket.clone(), None).await?;
    let sender_direct_url = also(&sender_wire, by_the_way.as_ref()).await?;
    let (mut places, mut host_wires) = (Vec::new(), Vec::new());
    for number in 0..args.hosts() {
        let wire = Wire::to(socket.clone(), tamper.clone()).await?;
        let launch = Launch {
            hostler: hostler.clone(),
            plugin: plugin.clone(),
            dir: dir.to_owned(),
            url: wire.url(),
            direct_url: also(&wire, by_the_way.as_ref()).await?,
            slots: args.slots,
            lease: args.lease(),
            listen: !args.no_listen,
            log: log.clone(),
        };
        places.push(Place::take(number, launch)?);
        host_wires.push(wire);
    }
    let client = served(&sender_wire.url(), sender_direct_url, !args.no_listen).await?;

    let crew = Arc::new(Crew {
        client,
        url: sender_wire.url(),
        log: log.clone(),
        pace: Duration::from_secs_f64(SENDERS as f64 / args.rate),
        unfinished: AtomicI64::new(0),
        transactions: AtomicU64::new(0),
        companions: Arc::new(Semaphore::new(COMPANIONS)),
        stop: CancellationToken::new(),
    });
    let pool = database.pool()?;
    let counting = tokio::spawn(count(crew.clone(), pool.clone()));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send(crew.clone(), Orders::new(args.seed, sender)));
    }
    let missed = Arc::new(AtomicU32::new(0));
    let adversary = Adversary {
        log: log.clone(),
        database: database.clone(),
        places,
        host_wires,
        sender_wire,
        calm: CancellationToken::new(),
        held: TaskTracker::new(),
        missed,
    };
    let began = Instant::now();
    let length = Duration::from_secs_f64(args.minutes * 60.0);
    let mut steps = schedule(args.seed, length, args.hosts(), args.lease());
    if let Some(only) = &args.faults {
        steps.retain(|step| only.iter().any(|word| word == step.fault.word()));
    }
    adversary.go(steps).await?;
    tokio::time::sleep_until(began + length).await;
    let seconds = began.elapsed().as_secs();

    crew.stop.cancel();
    while let Some(ended) = senders.join_next().await {
        ended?;
    }
    counting.abort();
    adversary.calm.cancel();
    adversary.held.close();
    adversary.held.wait().await;
    log.write(Event::Calm);
    come_to_rest(&pool).await;
    // A wait that does not end says so in the log.
    let all = u32::try_from(COMPANIONS).unwrap_or(u32::MAX);
    let _companions = timeout(COMPANIONS_MAX, crew.companions.acquire_many(all)).await;
    beat_once_more(&pool, args.lease()).await?;
    if let Some(harm) = args.harm {
        harm.do_now(&pool).await?;
    }
    let rows = Rows::read(&pool).await?;
    for place in adversary.places {
        place.end().await?;
    }
    let facts = Facts::gather(&dir.join("events.jsonl"), &host::effects(dir), rows)?;
    let violations = check::check(&facts);
    let mut report = Report::of(&facts, violations, args.seed, seconds);
    report.faults_missed = adversary.missed.load(Ordering::Relaxed);
    pool.close().await;
    Ok(report)
}

/// The URL of this socket by way of the wire.
async fn also(wire: &Wire, socket: Option<&PathBuf>) -> anyhow::Result<Option<String>> {
    match socket {
        Some(socket) => Ok(Some(wire.also_to(socket.clone()).await?)),
        None => Ok(None),
    }
}

/// A client, once hosts serve the plugin.
async fn served(url: &str, direct_url: Option<String>, listen: bool) -> anyhow::Result<Client> {
    let mut builder = Client::builder(url).connections_max(4).listen(listen);
    if let Some(direct_url) = direct_url {
        builder = builder.direct_url(direct_url);
    }
    let client = builder.connect().await?;
    let published = async {
        loop {
            let tasks = client.tasks().await.unwrap_or_default();
            if tasks.iter().any(|task| task.name == "torture.work") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(START_MAX, published).await.context("no host serves; see host-0-1.log")?;
    Ok(client)
}

/// Counts what is unfinished, so that senders do not run ahead of hosts.
async fn count(crew: Arc<Crew>, pool: PgPool) {
    loop {
        if let Ok(n) = unfinished(&pool).await {
            crew.unfinished.store(n, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn unfinished(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from hostler.task").fetch_one(pool).await
}

/// Waits until every task is final, or long enough: then the checker says which are not.
async fn come_to_rest(pool: &PgPool) {
    let rest = async {
        while !matches!(unfinished(pool).await, Ok(0)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let _in_time = timeout(REST_MAX, rest).await;
}

/// Waits until every host that lives has said since now how much it runs.
async fn beat_once_more(pool: &PgPool, lease: Duration) -> anyhow::Result<()> {
    let asked: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await?;
    let beaten = async {
        loop {
            let silent: i64 = sqlx::query_scalar(
                "select count(*) from hostler.host where ended_at is null and beat_at < $1",
            )
            .bind(asked)
            .fetch_one(pool)
            .await?;
            if silent == 0 {
                return Ok::<(), sqlx::Error>(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match timeout(lease * 5, beaten).await {
        Ok(done) => Ok(done?),
        Err(_) => bail!("a host neither beats nor is declared dead by the others"),
    }
}
