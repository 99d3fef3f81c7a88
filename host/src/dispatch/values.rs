//! Values that a running guest reads and writes.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::calls::{Calls, LOST};
use crate::sandbox::{Listed, Values};
use crate::store::{self, BucketMax, ValueKey, Written};

impl Values for Calls {
    fn value(&self, bucket: &str, key: String) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>> {
        let (pool, at) = (self.pool(), ValueKey { bucket: bucket.to_owned(), key });
        self.ask(async move { store::value(&pool, &at).await }).boxed()
    }

    fn set_value(
        &self,
        bucket: &str,
        key: String,
        value: Vec<u8>,
        (keys, bytes): (u32, u64),
    ) -> BoxFuture<'static, Result<(), String>> {
        let (pool, held) = (self.pool(), self.held());
        let (at, most) = (ValueKey { bucket: bucket.to_owned(), key }, BucketMax { keys, bytes });
        let asked = self.ask(async move { store::set_value(&pool, held, &at, &value, most).await });
        async move { told(asked.await?, most) }.boxed()
    }

    fn delete_value(&self, bucket: &str, key: String) -> BoxFuture<'static, Result<(), String>> {
        let (pool, held) = (self.pool(), self.held());
        let at = ValueKey { bucket: bucket.to_owned(), key };
        let asked = self.ask(async move { store::delete_value(&pool, held, &at).await });
        async move { told(asked.await?, BucketMax { keys: 0, bytes: 0 }) }.boxed()
    }

    fn add_value(
        &self,
        bucket: &str,
        key: String,
        delta: u64,
        (keys, bytes): (u32, u64),
    ) -> BoxFuture<'static, Result<u64, String>> {
        let (pool, held) = (self.pool(), self.held());
        let (at, most) = (ValueKey { bucket: bucket.to_owned(), key }, BucketMax { keys, bytes });
        let asked = self.ask(async move { store::add_value(&pool, held, &at, delta, most).await });
        async move { told(asked.await?, most) }.boxed()
    }

    fn list_values(&self, bucket: &str, after: i64) -> BoxFuture<'static, Result<Listed, String>> {
        let (pool, bucket) = (self.pool(), bucket.to_owned());
        let asked = self.ask(async move { store::value_keys(&pool, &bucket, after).await });
        async move { asked.await.map(|(keys, next)| Listed { keys, next }) }.boxed()
    }
}

/// The guest's answer, which names the limit that was met.
fn told<T>(written: Written<T>, most: BucketMax) -> Result<T, String> {
    Err(match written {
        Written::Yes(value) => return Ok(value),
        Written::Lost => LOST.to_owned(),
        Written::TooManyKeys => format!("the bucket has as many keys as it may: {} (keys_max)", most.keys),
        Written::TooManyBytes => {
            format!("the bucket holds as much as it may: {} bytes (bytes_max)", most.bytes)
        }
        Written::NoNumber => "the value is no decimal number".to_owned(),
        Written::TooLarge => "the sum has more than 64 bits".to_owned(),
    })
}
