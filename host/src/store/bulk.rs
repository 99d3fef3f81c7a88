//! Sending many: rows streamed into the table, in a transaction of our own.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgCopyIn;
use sqlx::{Execute, PgConnection, Row};
use tokio::time::Instant;

use super::send::{NewTask, SendOptions};
use super::{error::StoreError, sql};

/// An id's time is no further away from the database's clock.
const ID_FAR_MS: i64 = 86_400_000;
/// Microseconds between 1970 and the year 2000, where PostgreSQL's times begin.
const EPOCH_US: i64 = 946_684_800_000_000;
/// What a stream of rows in PostgreSQL's own format begins with.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A stream of new tasks with the same options.
pub struct Bulk<'c> {
    copying: PgCopyIn<&'c mut PgConnection>,
    options: SendOptions,
    /// The database's clock, and when it said so.
    clock: (DateTime<Utc>, Instant),
    bytes: Vec<u8>,
}

impl<'c> Bulk<'c> {
    /// Begins to send, durably, in this transaction. Nothing else can be done with it until [`Bulk::finish`]; dropped
    /// before, the transaction can only be rolled back.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`], [`StoreError::Database`].
    pub async fn begin(conn: &'c mut PgConnection, options: &SendOptions) -> Result<Self, StoreError> {
        let row = sql!("bulk").fetch_one(&mut *conn).await.map_err(StoreError::from_query)?;
        let clock = (row.try_get("now")?, Instant::now());
        let into = match options.delay_ms {
            None => sql!("copy").sql(),
            Some(_) => sql!("copy_due").sql(),
        };
        let copying = conn.copy_in_raw(into).await.map_err(StoreError::from_query)?;
        Ok(Self { copying, options: options.clone(), clock, bytes: HEAD.to_vec() })
    }

    /// Sends these, which nobody has sent before. Not cancel-safe: the transaction is to be rolled back then.
    ///
    /// # Errors
    /// [`StoreError::FarId`], [`StoreError::Database`].
    pub async fn send(&mut self, tasks: &[NewTask]) -> Result<(), StoreError> {
        let now = self.clock.0 + self.clock.1.elapsed();
        for task in tasks {
            let made = (task.id.as_u128() >> 80) as i64;
            if (made - now.timestamp_millis()).abs() > ID_FAR_MS {
                return Err(StoreError::FarId { id: task.id });
            }
            self.row(task, now.timestamp_micros());
        }
        self.copying.send(self.bytes.as_slice()).await?;
        self.bytes.clear();
        Ok(())
    }

    /// Ends the stream; the tasks are there when the transaction is committed.
    ///
    /// # Errors
    /// [`StoreError::Database`], also for an id that is there.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        self.bytes.extend((-1_i16).to_be_bytes());
        self.copying.send(self.bytes.as_slice()).await?;
        self.copying.finish().await.map_err(StoreError::from_query)?;
        Ok(())
    }

    /// The columns as `copy` and `copy_due` name them.
    fn row(&mut self, task: &NewTask, now_us: i64) {
        let options = &self.options;
        let due_us = options.delay_ms.map(|ms| now_us.saturating_add(ms.saturating_mul(1_000)));
        let lane = if due_us.is_some() { 0 } else { options.lane };
        let out = &mut self.bytes;
        out.extend((12 + i16::from(due_us.is_some())).to_be_bytes());
        put(out, Some(task.id.as_bytes()));
        put(out, Some(&task.args));
        put(out, Some(&task.fingerprint.to_be_bytes()));
        put(out, Some(&lane.to_be_bytes()));
        put(out, Some(&options.lane.to_be_bytes()));
        put(out, Some(&(now_us - EPOCH_US).to_be_bytes()));
        put(out, due_us.map(|us| (us - EPOCH_US).to_be_bytes()).as_ref());
        let good_until = options.good_until.map(|at| (at.timestamp_micros() - EPOCH_US).to_be_bytes());
        put(out, good_until.as_ref());
        put(out, Some(&options.redeliveries_max.to_be_bytes()));
        put(out, options.max_retries.map(i16::to_be_bytes).as_ref());
        put(out, Some(&[u8::from(options.keep_input)]));
        put(out, options.parent.as_ref().map(uuid::Uuid::as_bytes));
        if let Some(us) = due_us {
            put(out, Some(&us.to_be_bytes()));
        }
    }
}

/// One field: its length, or -1 for null, and its bytes.
fn put(out: &mut Vec<u8>, field: Option<&(impl AsRef<[u8]> + ?Sized)>) {
    let bytes = field.map(AsRef::as_ref);
    let length = bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.extend(length.to_be_bytes());
    out.extend(bytes.unwrap_or_default());
}
