//! Carries out the schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::database::Database;
use crate::host::{Order, Place};
use crate::log::{Event, Log};
use crate::schedule::{Fault, Step, Wires};
use crate::wire::Wire;

/// Everything that can be broken.
#[derive(Debug)]
pub(crate) struct Adversary {
    pub(crate) log: Log,
    pub(crate) database: Database,
    pub(crate) places: Vec<Place>,
    pub(crate) host_wires: Vec<Wire>,
    pub(crate) sender_wire: Wire,
    /// Set when nothing is to be broken any more.
    pub(crate) calm: CancellationToken,
    /// What was held back and has yet to arrive, at the latest when it is calm.
    pub(crate) held: TaskTracker,
    /// How many faults came too early after the last one to the same host.
    pub(crate) missed: Arc<AtomicU32>,
}

impl Adversary {
    /// Goes through the steps and returns when the last one is over.
    ///
    /// # Errors
    /// The database does not come up again.
    pub(crate) async fn go(&self, steps: Vec<Step>) -> anyhow::Result<()> {
        let began = Instant::now();
        let ends = steps.last().map_or(began, |last| began + last.at);
        // A slow machine takes long for a restart: what comes after it is to have its pauses all the same.
        let mut behind = Duration::ZERO;
        let mut under_way: JoinSet<()> = JoinSet::new();
        for Step { at, fault } in steps {
            let due = began + at + behind;
            if due > ends {
                break;
            }
            tokio::time::sleep_until(due).await;
            while let Some(done) = under_way.try_join_next() {
                done?;
            }
            let word = fault.word();
            match fault {
                Fault::Kill(host) => self.order(host, Order::Kill),
                Fault::Stop(host, time) => self.order(host, Order::Stop(time)),
                Fault::Drain(host) => self.order(host, Order::Drain),
                Fault::Swap(host) => self.order(host, Order::Swap),
                Fault::Terminate(connections) => {
                    // Away already, or it goes down right now: no more connections to end either way.
                    let ended = self.database.terminate(connections).await.unwrap_or(0);
                    for _ in 0..ended {
                        self.log(word, None, Duration::ZERO);
                    }
                }
                Fault::Restart => {
                    self.log(word, None, Duration::ZERO);
                    self.database.restart().await?;
                    self.log.write(Event::Serving);
                    behind += due.elapsed();
                }
                Fault::Crash => {
                    self.log(word, None, Duration::ZERO);
                    self.database.crash().await?;
                    self.log.write(Event::Serving);
                    behind += due.elapsed();
                }
                Fault::Cut(wires, time) => {
                    let wire = self.wire(word, wires, time);
                    under_way.spawn(async move { wire.cut(time).await });
                }
                Fault::Delay(wires, by, time) => {
                    let wire = self.wire(word, wires, time);
                    under_way.spawn(async move { wire.slow(by, time).await });
                }
                Fault::Silence(wires) => {
                    let wire = self.wire(word, wires, Duration::ZERO);
                    let calm = self.calm.clone();
                    tokio::spawn(async move { wire.silence(calm).await });
                }
                Fault::Hold(wires, gather, by) => {
                    let wire = self.wire(word, wires, gather + by);
                    let calm = self.calm.clone();
                    self.held.spawn(async move { wire.hold(gather, by, calm).await });
                }
            }
        }
        while let Some(done) = under_way.join_next().await {
            done?;
        }
        Ok(())
    }

    /// Whoever keeps the place logs the order when it is carried out.
    fn order(&self, host: usize, order: Order) {
        if !self.places[host].order(order) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wire(&self, fault: &str, wires: Wires, time: Duration) -> Wire {
        let (wire, host) = match wires {
            Wires::Host(host) => (&self.host_wires[host], Some(host)),
            Wires::Senders => (&self.sender_wire, None),
        };
        self.log(fault, host, time);
        wire.clone()
    }

    fn log(&self, fault: &str, host: Option<usize>, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.log.write(Event::Fault { fault: fault.to_owned(), host, ms });
    }
}
