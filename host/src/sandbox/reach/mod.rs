//! What a guest reaches through its host's database, as far as it is granted: other tasks ([`tasks`]), and values that
//! outlive its own ([`keyvalue`]).

mod allowance;
mod keyvalue;
mod tasks;

use std::sync::Arc;

pub(super) use allowance::Allowance;
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub use keyvalue::Bucket;
pub use keyvalue::{Listed, Values};

use super::HostCalls;
use super::grants::{KeyValueRule, Powers, SendRule};
use super::http::{Asked, Denied};

/// One attempt's way to the database.
#[derive(Clone, Default)]
pub(super) struct Reach {
    send: Option<Arc<(SendRule, Option<SendRule>)>>,
    keyvalue: Option<Arc<KeyValueRule>>,
    /// How often it asked for a send.
    asked_to_send: u32,
    asked: Asked,
    denied: Denied,
}

impl Reach {
    pub(super) fn new(powers: &Powers, asked: Asked) -> Self {
        let (send, keyvalue) = (powers.send.clone(), powers.keyvalue.clone());
        Self { send, keyvalue, asked_to_send: 0, asked, denied: Denied::default() }
    }

    /// The first thing it asked for that its grants refuse.
    pub(super) fn denied(&self) -> Option<String> {
        self.denied.first()
    }

    /// The host behind this attempt, if the attempt is still its; else this never returns.
    async fn host(&self) -> Result<Arc<dyn HostCalls>, String> {
        self.asked.may_act().await;
        self.asked.host.clone().ok_or_else(|| "no host with a database runs this attempt".to_owned())
    }
}
