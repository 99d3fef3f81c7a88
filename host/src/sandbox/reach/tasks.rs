//! Sending other tasks.

use serde::de::IgnoredAny;

use super::Reach;
use crate::sandbox::bindings::tasks;
use crate::sandbox::guest::Guest;
use crate::task::{NewChild, TaskName};

/// The longest name that a task gives to one it sends, in bytes.
const KEY_BYTES_MAX: usize = 200;
/// A name is told up to here, which is longer than any good one.
const NAME_CHARS_SHOWN: usize = 130;
/// The longest delay, in milliseconds: a century, which is as good as never.
const DELAY_MS_MAX: u64 = 3_155_760_000_000;

impl tasks::Host for Guest {
    async fn send(
        &mut self,
        task: String,
        args: Vec<u8>,
        key: Option<String>,
        delay_ms: Option<u64>,
    ) -> Result<String, String> {
        let bytes = args.len();
        let child = self.reach.permit(task, args, key, delay_ms)?;
        self.allowance.take(bytes)?;
        let reach = self.reach.clone();
        reach.host().await?.send(child).await
    }
}

impl Reach {
    /// Checks all that needs no database. Every request counts, whatever comes of it: each of those that pass costs
    /// the database a transaction.
    fn permit(
        &mut self,
        task: String,
        args: Vec<u8>,
        key: Option<String>,
        delay_ms: Option<u64>,
    ) -> Result<NewChild, String> {
        let Some(send) = &self.send else { return Err("sending tasks is not granted".to_owned()) };
        // No rule names what cannot be a name, but some name everything.
        TaskName::new(task.chars().take(NAME_CHARS_SHOWN).collect::<String>())
            .map_err(|bad| bad.to_string())?;
        let (rule, most) = &**send;
        if !rule.covers(&task) || most.as_ref().is_some_and(|most| !most.covers(&task)) {
            let shown: String = task.chars().take(120).collect();
            let what = match rule.covers(&task) {
                true => format!("sending {shown:?} is beyond the ceiling of this host's [grants]"),
                false => format!("sending {shown:?} is not granted; add it to tasks in [send]"),
            };
            self.denied.tell(what.clone());
            return Err(what);
        }
        if self.asked_to_send >= rule.max {
            return Err(format!(
                "TOO_MANY: an attempt may ask for {} sends, which is max in [send]",
                rule.max
            ));
        }
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0')) {
            return Err(format!("a key has 1 to {KEY_BYTES_MAX} bytes, and no NUL"));
        }
        if delay_ms.is_some_and(|ms| ms > DELAY_MS_MAX) {
            return Err("a delay is at most 100 years".to_owned());
        }
        let args = String::from_utf8(args).map_err(|_| "the arguments are no UTF-8".to_owned())?;
        serde_json::from_str::<IgnoredAny>(&args)
            .map_err(|error| format!("the arguments are no JSON: {error}"))?;
        self.asked_to_send += 1;
        let delay_ms = delay_ms.and_then(|ms| i64::try_from(ms).ok());
        Ok(NewChild { task, args, key, delay_ms, depth_max: rule.depth_max, family_max: rule.family_max })
    }
}
