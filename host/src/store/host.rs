//! A host's own row: joining, beating, looking around, leaving; and judging others.

use sqlx::{PgConnection, Row};

use crate::task::{Session, TaskId};

use super::{Lane, error::StoreError, sql, upkeep::RECOVERY_MS};

/// What a host says about itself when it joins.
#[derive(Debug, Clone)]
pub struct HostRow {
    /// Its process start.
    pub session: Session,
    /// Its process.
    pub pid: i32,
    /// How long it may be silent before others take its tasks.
    pub lease_ms: i32,
    /// How many attempts it runs at once.
    pub slots: i32,
    /// The machine.
    pub hostname: String,
    /// The program's version.
    pub version: String,
    /// The queues it serves; `None` is all.
    pub queues: Option<Vec<String>>,
}

/// Another host, as a poll saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Which.
    pub session: Session,
    /// Its beat counter.
    pub beat: i64,
    /// Its lease.
    pub lease_ms: i32,
}

/// Somebody wants this running task cancelled, which a host held by this claim then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancel {
    /// Which task.
    pub task: TaskId,
    /// The number of the claim.
    pub claim: i64,
}

/// What a poll found.
#[derive(Debug, Clone)]
pub struct Poll {
    /// The database's clock, microseconds since 1970.
    pub now_us: i64,
    /// When the first task of the waiting room is due.
    pub next_due_us: Option<i64>,
    /// Whether a task's `good_until` has passed.
    pub late: bool,
    /// Served lanes with unclaimed tasks, and where the first of them stands.
    pub waiting: Vec<(Lane, i64)>,
    /// The newest position given to a task.
    pub newest_position: i64,
    /// The highest lane number there is.
    pub newest_lane: Lane,
    /// Running tasks of this host that somebody wants cancelled.
    pub cancels: Vec<Cancel>,
    /// The live hosts, this one among them.
    pub hosts: Vec<Observation>,
    /// Code that is not run, by its number.
    pub quarantined: Vec<i32>,
    /// Whether there may be tasks to take back from hosts that are gone.
    pub recovery_due: bool,
    /// Code that is run apart from other suspects.
    pub suspects: Vec<i32>,
}

/// Writes a host's row; returns the database's clock, microseconds since 1970.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn join(conn: &mut PgConnection, host: &HostRow) -> Result<i64, StoreError> {
    let row = sql!("join")
        .bind(host.session.0)
        .bind(host.pid)
        .bind(host.lease_ms)
        .bind(host.slots)
        .bind(&host.hostname)
        .bind(&host.version)
        .bind(&host.queues)
        .fetch_one(conn)
        .await?;
    Ok(row.try_get("now_us")?)
}

/// One heartbeat; `None`: this session was declared dead. Else the database's clock.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn beat(
    conn: &mut PgConnection,
    session: Session,
    running: i32,
    draining: bool,
) -> Result<Option<i64>, StoreError> {
    let query = sql!("beat").bind(session.0).bind(running).bind(draining);
    let row = query.fetch_optional(conn).await?;
    row.map(|row| Ok(row.try_get("now_us")?)).transpose()
}

/// One look at everything that may concern a host. Waiting tasks are looked for behind position `floor`.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn poll(
    conn: &mut PgConnection,
    session: Session,
    lanes: &[Lane],
    floor: i64,
) -> Result<Poll, StoreError> {
    let row = sql!("poll").bind(session.0).bind(lanes).bind(floor).bind(RECOVERY_MS).fetch_one(conn).await?;
    let waiting: Vec<Lane> = row.try_get("lanes_waiting")?;
    let first: Vec<i64> = row.try_get("first_waiting")?;
    let sessions: Vec<i64> = row.try_get("hosts")?;
    let beats: Vec<i64> = row.try_get("beats")?;
    let leases: Vec<i32> = row.try_get("leases_ms")?;
    let hosts = sessions
        .into_iter()
        .zip(beats)
        .zip(leases)
        .map(|((session, beat), lease_ms)| Observation { session: Session(session), beat, lease_ms })
        .collect();
    let tasks: Vec<TaskId> = row.try_get("cancels")?;
    let claims: Vec<i64> = row.try_get("cancelled_claims")?;
    Ok(Poll {
        now_us: row.try_get("now_us")?,
        next_due_us: row.try_get("next_due_us")?,
        late: row.try_get::<Option<bool>, _>("late")?.unwrap_or(false),
        waiting: waiting.into_iter().zip(first).collect(),
        newest_position: row.try_get("newest_position")?,
        newest_lane: row.try_get::<Option<i32>, _>("newest_lane")?.unwrap_or(0),
        cancels: tasks.into_iter().zip(claims).map(|(task, claim)| Cancel { task, claim }).collect(),
        hosts,
        recovery_due: row.try_get("recovery_due")?,
        quarantined: row.try_get("quarantined")?,
        suspects: row.try_get("suspects")?,
    })
}

/// Strikes cancels off the list that the host has acted on, or that are of claims it no longer holds.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn cancels_seen(
    conn: &mut PgConnection,
    session: Session,
    seen: &[Cancel],
) -> Result<(), StoreError> {
    let tasks: Vec<TaskId> = seen.iter().map(|cancel| cancel.task).collect();
    let claims: Vec<i64> = seen.iter().map(|cancel| cancel.claim).collect();
    sql!("cancel_seen").bind(session.0).bind(tasks).bind(claims).execute(conn).await?;
    Ok(())
}

/// Declares a silent host dead; `false` if it has moved, is gone, or is just writing.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn declare_lost(conn: &mut PgConnection, seen: Observation) -> Result<bool, StoreError> {
    let row = sql!("declare_lost").bind(seen.session.0).bind(seen.beat).fetch_optional(conn).await?;
    Ok(row.is_some())
}

/// Ends a host's row.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn leave(conn: &mut PgConnection, session: Session) -> Result<(), StoreError> {
    sql!("leave").bind(session.0).execute(conn).await?;
    Ok(())
}
