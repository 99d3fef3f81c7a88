//! Tasks that reach for what the host's database holds: other tasks, and values.

use hostler_guest::prelude::*;

/// How a family came to its end.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Forked {
    /// How many were sent.
    pub sent: u32,
    /// Why no more.
    pub error: String,
}

/// Sends itself as often as it can.
#[task]
pub fn fork_bomb() -> Result<Forked, Failure> {
    for sent in 0..100_000 {
        if let Err(failure) = tasks::send("misbehave.fork_bomb", &Empty {}) {
            return Ok(Forked { sent, error: failure.message });
        }
    }
    Err(Failure::new("NO_END", "nobody stopped it"))
}

/// Nothing.
#[data]
#[derive(Debug)]
pub struct Empty {}

/// A send.
#[data]
#[derive(Debug)]
pub struct SendArgs {
    /// The task's full name.
    pub task: String,
    /// Its arguments.
    pub args: Value,
    /// What to call it.
    #[serde(default)]
    pub key: Option<String>,
    /// Milliseconds to wait for.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// Whether to fail with what the host says, as the first attempt.
    #[serde(default)]
    pub fail_first: bool,
}

/// Sends a task and returns its id.
#[task(retries = 1, backoff = fixed("10ms"))]
pub fn send(args: SendArgs) -> Result<String, Failure> {
    let mut child = tasks::child(args.task);
    if let Some(key) = args.key {
        child = child.key(key);
    }
    if let Some(ms) = args.delay_ms {
        child = child.delay(Duration::from_millis(ms));
    }
    let id = child.send(&args.args)?;
    match args.fail_first && attempt::number() == 1 {
        true => Err(Failure::new("NOT_YET", id)),
        false => Ok(id),
    }
}

/// What to do with a bucket, in this order.
#[data]
#[derive(Debug)]
pub struct StoreArgs {
    /// Its name.
    pub bucket: String,
    /// Values to write: key and how many bytes of `x`.
    #[serde(default)]
    pub set: Vec<(String, usize)>,
    /// Keys to delete.
    #[serde(default)]
    pub delete: Vec<String>,
    /// A number to add 1 to.
    #[serde(default)]
    pub increment: Option<String>,
}

/// What a bucket holds.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// The keys and the sizes of their values.
    pub values: Vec<(String, usize)>,
    /// The number.
    pub number: Option<u64>,
}

/// Changes a bucket and returns what is in it.
#[task]
pub fn store(args: StoreArgs) -> Result<Stored, Failure> {
    values::change(&args)
}

#[cfg(target_arch = "wasm32")]
mod values {
    use hostler_guest::keyvalue::{increment, open};
    use hostler_guest::prelude::*;

    use super::{StoreArgs, Stored};

    pub(super) fn change(args: &StoreArgs) -> Result<Stored, Failure> {
        let bucket = open(&args.bucket)?;
        for (key, bytes) in &args.set {
            bucket.set(key, &vec![b'x'; *bytes])?;
            if !bucket.exists(key)? {
                return Err(Failure::new("LOST", "what was written is not there"));
            }
        }
        for key in &args.delete {
            bucket.delete(key)?;
        }
        let number = args.increment.as_ref().map(|key| increment(&bucket, key, 1)).transpose()?;
        let (mut values, mut cursor) = (Vec::new(), None);
        loop {
            let page = bucket.list_keys(cursor)?;
            for key in page.keys {
                let size = bucket.get(&key)?.map_or(0, |value| value.len());
                values.push((key, size));
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(Stored { values, number });
            }
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod values {
    use hostler_guest::prelude::*;

    use super::{StoreArgs, Stored};

    pub(super) fn change(args: &StoreArgs) -> Result<Stored, Failure> {
        Err(Failure::new("NO_SANDBOX", format!("{} is asked for from within a sandbox alone", args.bucket)))
    }
}

#[cfg(test)]
mod tests {
    use hostler_guest::testing::{Attempt, with_attempt};

    use super::*;

    #[test]
    fn a_test_sees_what_was_sent() {
        let args = || SendArgs {
            task: "misbehave.noop".to_owned(),
            args: json!({}),
            key: Some("one".to_owned()),
            delay_ms: Some(5),
            fail_first: true,
        };
        let seen = with_attempt(Attempt::default(), || (send(args()), send(args())));
        assert_eq!(seen.result.0.expect_err("the first attempt").code, "NOT_YET");
        assert_eq!((seen.sent.len(), seen.sent[0].delay_ms), (1, Some(5)));
        let again = with_attempt(Attempt { number: 2, ..Attempt::default() }, || send(args()));
        assert!(again.result.is_ok());
        assert_eq!(with_attempt(Attempt::default(), fork_bomb).result.expect_err("no host").code, "NO_END");
        let nowhere = StoreArgs { bucket: "b".to_owned(), set: vec![], delete: vec![], increment: None };
        assert_eq!(store(nowhere).expect_err("no sandbox").code, "NO_SANDBOX");
    }
}
