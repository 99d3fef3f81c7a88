//! Sending: rows in, in our own transaction or in the caller's.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Connection, Execute, PgConnection, Postgres, Row, Transaction};

use crate::task::TaskId;

use super::{ANSWER_MAX, Lane, Store, error::StoreError, sql, within};

/// One task to send.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Made by the sender.
    pub id: TaskId,
    /// UTF-8 JSON.
    pub args: Vec<u8>,
    /// Of the whole command.
    pub fingerprint: i64,
}

/// What the tasks of one send have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendOptions {
    /// Kind, queue and priority.
    pub lane: Lane,
    /// Due this many milliseconds from now, by the database's clock.
    pub delay_ms: Option<i64>,
    /// Not started at or after this instant.
    pub good_until: Option<DateTime<Utc>>,
    /// How many lost hosts a task survives.
    pub redeliveries_max: i16,
    /// The sender's own number of retries.
    pub max_retries: Option<i16>,
    /// Whether the arguments stay with the final row.
    pub keep_input: bool,
    /// The task this one repeats.
    pub parent: Option<TaskId>,
}

impl Store {
    /// Inserts tasks that were never sent before, in one durable transaction.
    ///
    /// # Errors
    /// As [`insert`]; then none were inserted, or, without an answer, none or all: repeat it with
    /// [`insert_again`], in a way that expects this one to arrive after all.
    pub async fn insert(&self, options: &SendOptions, tasks: &[NewTask]) -> Result<(), StoreError> {
        let mut conn = self.send_conn().await?;
        let answer = within(ANSWER_MAX, insert(&mut conn, options, tasks, true)).await;
        if let Err(StoreError::NoAnswer { .. }) = answer {
            conn.give_up();
        }
        answer
    }
}

/// Begins a transaction of our own, in READ COMMITTED.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn begin(conn: &mut PgConnection) -> Result<Transaction<'_, Postgres>, StoreError> {
    Ok(conn.begin_with(sql!("begin").sql()).await?)
}

/// Makes sure that this transaction, somebody else's, sees what was committed since it began.
///
/// # Errors
/// [`StoreError::Isolated`] if not; [`StoreError::Database`].
pub async fn sees_present(conn: &mut PgConnection) -> Result<(), StoreError> {
    let sees = sql!("isolation").fetch_one(conn).await?.try_get("sees_present")?;
    if sees { Ok(()) } else { Err(StoreError::Isolated) }
}

/// Inserts tasks that may have been inserted before, in the caller's transaction: a task that is final
/// already stays as it is. Returns the ids that are new. With `durable`, the commit waits for the disk even
/// where the role's default is not to; without, that is the caller's own setting. With `late`, an [`insert`] of
/// the same ids may still arrive, however much later: it will be refused.
///
/// # Errors
/// [`StoreError::FarId`], after which the transaction must not be committed; [`StoreError::NoSchema`],
/// [`StoreError::Database`].
pub async fn insert_again(
    conn: &mut PgConnection,
    options: &SendOptions,
    tasks: &[NewTask],
    durable: bool,
    late: bool,
) -> Result<Vec<TaskId>, StoreError> {
    let rows = bind(sql!("insert_again"), options, tasks, durable).bind(late).fetch_all(&mut *conn).await;
    let mut new = Vec::with_capacity(tasks.len());
    for row in rows.map_err(StoreError::from_query)? {
        let id: TaskId = row.try_get(0)?;
        if row.try_get(1)? {
            return Err(StoreError::FarId { id });
        }
        new.push(id);
    }
    // With a fresh snapshot, after our row holds the id: a settle that moved the first one to history
    // before that is seen here, and none can move it there later.
    let ended = sql!("undo_insert").bind(&new).fetch_all(conn).await?;
    for row in ended {
        let id: TaskId = row.try_get("id")?;
        new.retain(|n| *n != id);
    }
    Ok(new)
}

/// The fingerprint of a task, wherever it is.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn fingerprint(conn: &mut PgConnection, id: TaskId) -> Result<Option<i64>, StoreError> {
    let row = sql!("fingerprint").bind(id).fetch_optional(conn).await?;
    row.map(|row| Ok(row.try_get("fingerprint")?)).transpose()
}

/// Inserts tasks that were never sent before through this connection, `durable` as in [`insert_again`].
///
/// # Errors
/// [`StoreError::FarId`], after which the transaction must not be committed; [`StoreError::Isolated`] where it is
/// not READ COMMITTED; [`StoreError::NoSchema`]; [`StoreError::Database`], also for an id that is there, or
/// that [`insert_again`] sent as one that may come late.
pub async fn insert(
    conn: &mut PgConnection,
    options: &SendOptions,
    tasks: &[NewTask],
    durable: bool,
) -> Result<(), StoreError> {
    let sent = bind(sql!("insert"), options, tasks, durable).fetch_one(&mut *conn).await;
    if sent.map_err(StoreError::from_query)?.try_get::<i64, _>("sent")? == 0 && !tasks.is_empty() {
        insert_again(conn, options, tasks, durable, false).await?;
    }
    Ok(())
}

fn bind<'a>(
    statement: Query<'a, Postgres, PgArguments>,
    options: &SendOptions,
    tasks: &'a [NewTask],
    durable: bool,
) -> Query<'a, Postgres, PgArguments> {
    let ids: Vec<TaskId> = tasks.iter().map(|t| t.id).collect();
    let args: Vec<&[u8]> = tasks.iter().map(|t| t.args.as_slice()).collect();
    let fingerprints: Vec<i64> = tasks.iter().map(|t| t.fingerprint).collect();
    statement
        .bind(ids)
        .bind(args)
        .bind(fingerprints)
        .bind(options.lane)
        .bind(options.delay_ms)
        .bind(options.good_until)
        .bind(options.redeliveries_max)
        .bind(options.max_retries)
        .bind(options.keep_input)
        .bind(options.parent)
        .bind(durable)
}
