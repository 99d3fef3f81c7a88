//! What is sent: a seeded mix of tasks, each in one of the ways there are to send.

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One send to be made, with everything the checker has to know about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    pub(crate) body: Body,
    pub(crate) n: u64,
    pub(crate) ms: u64,
    pub(crate) failures: u32,
    pub(crate) ballast: usize,
    pub(crate) way: Way,
    pub(crate) key: Option<String>,
    pub(crate) delay_ms: Option<u64>,
    /// The machine's clock, microseconds since 1970.
    pub(crate) good_until_us: Option<i64>,
    pub(crate) redeliveries: Option<u32>,
    pub(crate) cancel_after_ms: Option<u64>,
    /// The sender brings the id, so that the send may be a repeated one. Without, nobody has seen the id before, and
    /// until it is told by an answer this order goes by another one.
    pub(crate) named: bool,
    /// Somebody waits for its result.
    pub(crate) wait: bool,
}

/// Which task of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body {
    Work,
    Stubborn,
    Spin,
}

impl Body {
    /// The task's full name.
    pub(crate) fn task(self) -> &'static str {
        match self {
            Self::Work => "torture.work",
            Self::Stubborn => "torture.stubborn",
            Self::Spin => "torture.spin",
        }
    }

    /// How many failures the plugin's policy forgives.
    pub(crate) fn retries(self) -> u32 {
        if self == Self::Stubborn { 3 } else { 0 }
    }
}

/// How it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// By the client, in a transaction of its own.
    Client,
    /// By the client, inside this transaction of the sender's.
    In(u64),
    /// By the SQL function, in a statement of its own.
    Sql,
    /// By the SQL function, inside this transaction of the sender's.
    SqlIn(u64),
}

impl Way {
    /// The sender's transaction.
    pub(crate) fn tx(self) -> Option<u64> {
        match self {
            Self::In(tx) | Self::SqlIn(tx) => Some(tx),
            Self::Client | Self::Sql => None,
        }
    }
}

/// Keys in use at once; several sends share each.
const KEYS: u64 = 200;

/// Makes orders; the same seed makes the same ones, but for ids and instants.
#[derive(Debug)]
pub(crate) struct Orders {
    rng: Rng,
    keys_seed: u64,
}

impl Orders {
    /// For one sender of a run.
    pub(crate) fn new(seed: u64, sender: u64) -> Self {
        Self { rng: Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(sender)), keys_seed: seed }
    }

    /// The random numbers of whoever sends these.
    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// One more order, sent this way.
    pub(crate) fn next(&mut self, way: Way, now_us: i64) -> Order {
        let rng = &mut self.rng;
        let mut order = Order {
            id: Uuid::now_v7(),
            body: Body::Work,
            n: rng.u64(..),
            ms: rng.u64(0..20),
            failures: 0,
            ballast: 0,
            way,
            key: None,
            delay_ms: None,
            good_until_us: None,
            redeliveries: None,
            cancel_after_ms: None,
            named: true,
            wait: rng.u8(..10) < 3,
        };
        match rng.u32(..100) {
            0..30 => {}
            30..45 => order.ms = rng.u64(200..3_000),
            45..52 => order.failures = 1,
            52..64 => {
                order.body = Body::Stubborn;
                order.failures = rng.u32(1..=4);
            }
            64..66 => order.body = Body::Spin,
            66..74 => {
                // Long enough for a cancel that nobody heeds to be seen.
                order.ms = rng.u64(0..12_000);
                order.cancel_after_ms = Some(rng.u64(0..3_000));
            }
            74..80 => order.good_until_us = Some(now_us + rng.i64(1_000..1_500_000)),
            80..86 => order.delay_ms = Some(rng.u64(50..6_000)),
            86..92 => {
                order.ms = rng.u64(0..2_000);
                order.redeliveries = Some(0);
            }
            92..96 => order.ballast = rng.usize(1_000..60_000),
            _ if way == Way::Client => {
                let key = rng.u64(..KEYS);
                // What is sent under one key is one command, whoever sends it.
                order.n = self.keys_seed ^ key;
                order.ms = key;
                order.key = Some(format!("key-{key}"));
            }
            _ => {}
        }
        order.named = way != Way::Client || order.key.is_some() || order.n.is_multiple_of(4);
        order
    }

    /// How the next order is sent, and with how many others in one transaction.
    pub(crate) fn way(&mut self, tx: u64) -> (Way, usize) {
        match self.rng.u32(..100) {
            0..80 => (Way::Client, 1),
            80..86 => (Way::Sql, 1),
            86..96 => (Way::In(tx), self.rng.usize(1..6)),
            _ => (Way::SqlIn(tx), self.rng.usize(1..6)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_orders_again() {
        let make = |seed| {
            let mut orders = Orders::new(seed, 3);
            let made: Vec<Order> = (0..500).map(|tx| orders.next(Way::In(tx), 0)).collect();
            made.into_iter().map(|order| Order { id: Uuid::nil(), ..order }).collect::<Vec<_>>()
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}
