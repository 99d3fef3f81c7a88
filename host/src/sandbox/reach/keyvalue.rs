//! `wasi:keyvalue`: buckets of values in the host's database.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wasmtime::component::Resource;

use super::Reach;
use crate::sandbox::bindings::{atomics, keyvalue};
use crate::sandbox::grants::KeyValueRule;
use crate::sandbox::guest::Guest;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 512;

/// Values that outlive their task, by bucket and key. Each call is one statement; dropping its future is safe, and a
/// write that was dropped may have happened. Errors are for the guest.
pub trait Values: Send + Sync {
    /// The value under a key.
    ///
    /// # Errors
    /// Storage failed.
    fn value(&self, bucket: &str, key: String) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>>;

    /// Writes a value durably, fenced by the attempt's claim, as long as the bucket stays within these numbers of
    /// keys and bytes.
    ///
    /// # Errors
    /// The claim is over, the bucket is full, storage failed.
    fn set_value(
        &self,
        bucket: &str,
        key: String,
        value: Vec<u8>,
        most: (u32, u64),
    ) -> BoxFuture<'static, Result<(), String>>;

    /// Deletes what is under a key, fenced alike.
    ///
    /// # Errors
    /// The claim is over, storage failed.
    fn delete_value(&self, bucket: &str, key: String) -> BoxFuture<'static, Result<(), String>>;

    /// Adds to the decimal number under a key, 0 if there is none, and gives the sum.
    ///
    /// # Errors
    /// As [`Self::set_value`]; also if it is no number, or the sum has more than 64 bits.
    fn add_value(
        &self,
        bucket: &str,
        key: String,
        delta: u64,
        most: (u32, u64),
    ) -> BoxFuture<'static, Result<u64, String>>;

    /// Keys in the order in which they were first written, from after this place on.
    ///
    /// # Errors
    /// Storage failed.
    fn list_values(&self, bucket: &str, after: i64) -> BoxFuture<'static, Result<Listed, String>>;
}

/// Some of a bucket's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The keys.
    pub keys: Vec<String>,
    /// Where the next ones begin; `None`: there are none.
    pub next: Option<i64>,
}

/// A bucket that a guest opened.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug, Clone)]
pub struct Bucket {
    name: String,
    rule: Arc<KeyValueRule>,
}

type Answer<T> = wasmtime::Result<Result<T, keyvalue::Error>>;

impl Guest {
    /// The open bucket and the way to it, for a call with this key that writes so many bytes.
    fn at(
        &mut self,
        bucket: &Resource<Bucket>,
        key: &str,
        bytes: usize,
    ) -> wasmtime::Result<Result<At, keyvalue::Error>> {
        let Bucket { name, rule } = self.table.get(bucket)?.clone();
        if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0') {
            return Ok(other(format!("a key has 1 to {KEY_BYTES_MAX} bytes, and no NUL")));
        }
        if let Err(why) = self.allowance.take(bytes) {
            return Ok(other(why));
        }
        Ok(Ok(At { bucket: name, rule, reach: self.reach.clone() }))
    }
}

/// What a call needs; nothing of it is borrowed from the store, which the guest has back meanwhile.
struct At {
    bucket: String,
    rule: Arc<KeyValueRule>,
    reach: Reach,
}

impl At {
    fn most(&self) -> (u32, u64) {
        (self.rule.keys_max, self.rule.bytes_max)
    }
}

fn other<T>(what: String) -> Result<T, keyvalue::Error> {
    Err(keyvalue::Error::Other(what))
}

/// The first error of two kinds: one that ends the attempt, one that the guest sees.
macro_rules! at {
    ($guest:expr, $bucket:expr, $key:expr) => {
        at!($guest, $bucket, $key, 0)
    };
    ($guest:expr, $bucket:expr, $key:expr, $bytes:expr) => {
        match $guest.at(&$bucket, &$key, $bytes)? {
            Ok(at) => at,
            Err(refused) => return Ok(Err(refused)),
        }
    };
}

impl keyvalue::Host for Guest {
    async fn open(&mut self, name: String) -> Answer<Resource<Bucket>> {
        let granted = self.reach.keyvalue.clone().filter(|rule| rule.buckets.contains(&name));
        let Some(rule) = granted else {
            let shown: String = name.chars().take(60).collect();
            self.reach
                .denied
                .tell(format!("the bucket {shown:?} is not granted; add it to buckets in [keyvalue]"));
            return Ok(Err(keyvalue::Error::AccessDenied));
        };
        Ok(Ok(self.table.push(Bucket { name, rule })?))
    }
}

impl keyvalue::HostBucket for Guest {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let at = at!(self, bucket, key);
        Ok(match at.reach.host().await {
            Ok(host) => host.value(&at.bucket, key).await.or_else(other),
            Err(why) => other(why),
        })
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let at = at!(self, bucket, key, key.len() + value.len());
        let (bytes, max) = (value.len() as u64, at.rule.value_bytes_max);
        if bytes > max {
            return Ok(other(format!(
                "a value has at most {max} bytes (value_bytes_max), this one has {bytes}"
            )));
        }
        Ok(match at.reach.host().await {
            Ok(host) => host.set_value(&at.bucket, key, value, at.most()).await.or_else(other),
            Err(why) => other(why),
        })
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        let at = at!(self, bucket, key, key.len());
        Ok(match at.reach.host().await {
            Ok(host) => host.delete_value(&at.bucket, key).await.or_else(other),
            Err(why) => other(why),
        })
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        Ok(keyvalue::HostBucket::get(self, bucket, key).await?.map(|value| value.is_some()))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Answer<keyvalue::KeyResponse> {
        let at = at!(self, bucket, "any");
        let after = i64::try_from(cursor.unwrap_or(0)).unwrap_or(i64::MAX);
        let listed = match at.reach.host().await {
            Ok(host) => host.list_values(&at.bucket, after).await.or_else(other),
            Err(why) => other(why),
        };
        Ok(listed.map(|Listed { keys, next }| keyvalue::KeyResponse {
            keys,
            cursor: next.and_then(|next| u64::try_from(next).ok()),
        }))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
        let at = at!(self, bucket, key, key.len() + size_of_val(&delta));
        Ok(match at.reach.host().await {
            Ok(host) => host.add_value(&at.bucket, key, delta, at.most()).await.or_else(other),
            Err(why) => other(why),
        })
    }
}
