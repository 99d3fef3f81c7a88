//! Values of guests, by bucket and key: written fenced as settles are, and bounded.

use sqlx::Row;

use super::{PgPool, StoreError, lend, sql};
use crate::task::{Session, TaskId};

/// How many keys one page of a listing has.
const PAGE: i64 = 1_000;

/// What came of writing a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written<T> {
    /// It is on disk.
    Yes(T),
    /// The attempt is no longer its host's: nothing was written.
    Lost,
    /// The bucket has as many keys as it may.
    TooManyKeys,
    /// The bucket holds as many bytes as it may.
    TooManyBytes,
    /// What is there is no number.
    NoNumber,
    /// The sum has more than 64 bits.
    TooLarge,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueKey {
    /// The bucket's name.
    pub bucket: String,
    /// Its name there.
    pub key: String,
}

/// How much a bucket may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketMax {
    /// Keys.
    pub keys: u32,
    /// Bytes of keys and values together.
    pub bytes: u64,
}

impl BucketMax {
    fn bind(self) -> (i32, i64) {
        (i32::try_from(self.keys).unwrap_or(i32::MAX), i64::try_from(self.bytes).unwrap_or(i64::MAX))
    }
}

/// The value under a key.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn value(pool: &PgPool, at: &ValueKey) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sql!("value").bind(&at.bucket).bind(&at.key).fetch_optional(&mut *lend(pool).await?).await?;
    row.map(|row| Ok(row.try_get("value")?)).transpose()
}

/// Writes a value for the attempt with this claim.
///
/// # Errors
/// [`StoreError::Database`]; it may have been written.
pub async fn set_value(
    pool: &PgPool,
    (session, task, claim): (Session, TaskId, i64),
    at: &ValueKey,
    value: &[u8],
    most: BucketMax,
) -> Result<Written<()>, StoreError> {
    let (keys, bytes) = most.bind();
    let row = sql!("value_set")
        .bind(session.0)
        .bind(task)
        .bind(claim)
        .bind(&at.bucket)
        .bind(&at.key)
        .bind(value)
        .bind(keys)
        .bind(bytes)
        .fetch_one(&mut *lend(pool).await?)
        .await?;
    Ok(written(row.try_get("said")?, ()))
}

/// Deletes a value for the attempt with this claim.
///
/// # Errors
/// [`StoreError::Database`]; it may have been deleted.
pub async fn delete_value(
    pool: &PgPool,
    (session, task, claim): (Session, TaskId, i64),
    at: &ValueKey,
) -> Result<Written<()>, StoreError> {
    let row = sql!("value_delete")
        .bind(session.0)
        .bind(task)
        .bind(claim)
        .bind(&at.bucket)
        .bind(&at.key)
        .fetch_one(&mut *lend(pool).await?)
        .await?;
    Ok(if row.try_get("held")? { Written::Yes(()) } else { Written::Lost })
}

/// Adds to the number under a key for the attempt with this claim; gives the sum.
///
/// # Errors
/// [`StoreError::Database`]; it may have been added.
pub async fn add_value(
    pool: &PgPool,
    (session, task, claim): (Session, TaskId, i64),
    at: &ValueKey,
    delta: u64,
    most: BucketMax,
) -> Result<Written<u64>, StoreError> {
    let (keys, bytes) = most.bind();
    let row = sql!("value_add")
        .bind(session.0)
        .bind(task)
        .bind(claim)
        .bind(&at.bucket)
        .bind(&at.key)
        .bind(delta.to_string())
        .bind(keys)
        .bind(bytes)
        .fetch_one(&mut *lend(pool).await?)
        .await?;
    let sum: Option<String> = row.try_get("sum")?;
    Ok(written(row.try_get("said")?, sum.and_then(|sum| sum.parse().ok()).unwrap_or_default()))
}

/// Some keys of a bucket from after a place on, and the place of the last one if there may be more.
///
/// # Errors
/// [`StoreError::Database`].
pub async fn value_keys(
    pool: &PgPool,
    bucket: &str,
    after: i64,
) -> Result<(Vec<String>, Option<i64>), StoreError> {
    let rows =
        sql!("value_keys").bind(bucket).bind(after).bind(PAGE).fetch_all(&mut *lend(pool).await?).await?;
    let last = match rows.last() {
        Some(row) if i64::try_from(rows.len()) == Ok(PAGE) => Some(row.try_get("id")?),
        _ => None,
    };
    let keys = rows.iter().map(|row| row.try_get("key")).collect::<Result<_, _>>()?;
    Ok((keys, last))
}

fn written<T>(said: i32, value: T) -> Written<T> {
    match said {
        0 => Written::Yes(value),
        2 => Written::TooManyKeys,
        3 => Written::TooManyBytes,
        4 => Written::NoNumber,
        5 => Written::TooLarge,
        _ => Written::Lost,
    }
}
