//! A sender: sends what the mix says, and writes down what it was told.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::DateTime;
use hostler::{Client, SendError, SendErrorCode, TaskHandle};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::log::{Event, Log, now_us};
use crate::order::{Order, Orders, Way};

/// What all senders of a run share.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) log: Log,
    /// Between two sends of one sender.
    pub(crate) pace: Duration,
    /// Tasks that are not final, as they were last counted.
    pub(crate) unfinished: AtomicI64,
    pub(crate) transactions: AtomicU64,
    /// Waits and cancels under way.
    pub(crate) companions: Arc<Semaphore>,
    /// Set when it is time to send no more.
    pub(crate) stop: CancellationToken,
}

/// Waits and cancels at once, at most.
pub(crate) const COMPANIONS: usize = 200;
/// So many unfinished tasks are enough.
const UNFINISHED_MAX: i64 = 400;
/// A call that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(60);
/// How long a sender waits on a connection of its own, which may be silent: that is its business, not hostler's.
const PATIENCE: Duration = Duration::from_secs(10);
/// A failed send is repeated for so long.
const REPEATS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(200);

/// Sends until it is time to stop.
pub(crate) async fn send(crew: Arc<Crew>, mut orders: Orders) {
    let mut conn = None;
    while !crew.stop.is_cancelled() {
        if crew.unfinished.load(Ordering::Relaxed) > UNFINISHED_MAX {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let tx = crew.transactions.fetch_add(1, Ordering::Relaxed);
        let (way, many) = orders.way(tx);
        match way {
            Way::Client => crew.send_alone(orders.next(way, now_us())).await,
            Way::Sql => crew.send_in_sql(&mut conn, orders.next(way, now_us())).await,
            Way::In(_) | Way::SqlIn(_) => {
                let together = (0..many).map(|_| orders.next(way, now_us())).collect();
                let commit = orders.rng().u8(..3) > 0;
                crew.send_together(&mut conn, tx, together, commit).await;
            }
        }
        tokio::time::sleep(crew.pace).await;
    }
}

impl Crew {
    async fn send_alone(self: &Arc<Self>, mut order: Order) {
        self.log.write(Event::Intent { order: order.clone() });
        let mut send = self.client.task(order.body.task());
        if order.named {
            send = send.id(order.id);
        }
        if let Some(key) = &order.key {
            send = send.key(key);
        }
        if let Some(ms) = order.delay_ms {
            send = send.delay(Duration::from_millis(ms));
        }
        if let Some(us) = order.good_until_us {
            send = send.good_until(DateTime::from_timestamp_micros(us).unwrap_or_default());
        }
        if let Some(redeliveries) = order.redeliveries {
            // Retries of the plugin's would contradict it.
            send = send.redeliveries(redeliveries).retries(0);
        }
        let mut sent = self.unless_it_hangs(&order, "send", send.send(args(&order))).await;
        let id = match &sent {
            Some(Ok(handle)) => Some(handle.id()),
            Some(Err(error)) => error.task_id,
            None => None,
        };
        if let Some(id) = id.filter(|_| !order.named) {
            self.log.write(Event::Named { order: order.id, id });
            order.id = id;
        }
        for _ in 0..REPEATS {
            match &sent {
                Some(Err(error)) if error.retryable => {
                    tokio::time::sleep(PAUSE).await;
                    sent = self.unless_it_hangs(&order, "retry_send", self.client.retry_send(error)).await;
                }
                _ => break,
            }
        }
        match sent {
            Some(Ok(handle)) => self.acknowledged(order, handle),
            Some(Err(error)) => self.failed(&order, &error),
            None => {}
        }
    }

    async fn unless_it_hangs<T>(
        &self,
        order: &Order,
        call: &str,
        sent: impl Future<Output = T>,
    ) -> Option<T> {
        let answer = timeout(HANGS, sent).await.ok();
        if answer.is_none() {
            self.log.write(Event::Hung { id: order.id, call: call.to_owned() });
        }
        answer
    }

    fn failed(&self, order: &Order, error: &SendError) {
        // One that could be repeated may have arrived or not; nobody was promised anything.
        if error.code != SendErrorCode::EnqueueFailed {
            let (code, message) = (error.code.to_string(), error.message.clone());
            self.log.write(Event::Refused { id: order.id, code, message });
        }
    }

    async fn send_in_sql(self: &Arc<Self>, conn: &mut Option<PgConnection>, order: Order) {
        self.log.write(Event::Intent { order: order.clone() });
        for _ in 0..REPEATS {
            let sent = async {
                let conn = open(conn, &self.url).await?;
                sql_send(conn, &order).await
            };
            match timeout(PATIENCE, sent).await {
                Ok(Ok(_)) => return self.acknowledged(order.clone(), self.client.handle(order.id)),
                Ok(Err(_)) | Err(_) => {
                    *conn = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn send_together(
        self: &Arc<Self>,
        conn: &mut Option<PgConnection>,
        number: u64,
        orders: Vec<Order>,
        commit: bool,
    ) {
        for order in &orders {
            self.log.write(Event::Intent { order: order.clone() });
        }
        let mut asked_to_commit = false;
        let sent = async {
            let mut tx = open(conn, &self.url).await?.begin().await?;
            for order in &orders {
                match order.way {
                    Way::SqlIn(_) => drop(sql_send(&mut tx, order).await?),
                    _ => self.send_in(&mut tx, order).await?,
                }
            }
            asked_to_commit = commit;
            match commit {
                true => tx.commit().await?,
                false => tx.rollback().await?,
            }
            anyhow::Ok(())
        };
        let sent = timeout(PATIENCE, sent).await;
        if !matches!(sent, Ok(Ok(()))) {
            *conn = None;
        }
        match sent {
            Ok(Ok(())) if commit => {
                self.log.write(Event::Committed { tx: number });
                for order in orders {
                    let handle = self.client.handle(order.id);
                    self.acknowledged(order, handle);
                }
            }
            // Rolled back, or broken before anybody said commit.
            _ if !asked_to_commit => self.log.write(Event::RolledBack { tx: number }),
            _ => {}
        }
    }

    async fn send_in(&self, tx: &mut PgConnection, order: &Order) -> anyhow::Result<()> {
        let mut send = self.client.task(order.body.task()).id(order.id);
        if let Some(ms) = order.delay_ms {
            send = send.delay(Duration::from_millis(ms));
        }
        if let Some(us) = order.good_until_us {
            send = send.good_until(DateTime::from_timestamp_micros(us).unwrap_or_default());
        }
        if let Some(redeliveries) = order.redeliveries {
            send = send.redeliveries(redeliveries).retries(0);
        }
        send.send_in(tx, args(order)).await?;
        Ok(())
    }

    /// Writes the acknowledgement down; cancels and waits as ordered.
    fn acknowledged(self: &Arc<Self>, order: Order, handle: TaskHandle<Value>) {
        self.log.write(Event::Ack { id: order.id, task: handle.id() });
        if let Some(ms) = order.cancel_after_ms
            && let Ok(place) = self.companions.clone().try_acquire_owned()
        {
            let (crew, handle, id) = (self.clone(), handle.clone(), handle.id());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                if let Some(Ok(answer)) = crew.unless_it_hangs(&order, "cancel", handle.cancel()).await {
                    crew.log.write(Event::Cancelled { id, answer: answer.to_string() });
                }
                drop(place);
            });
        } else if order.wait
            && let Ok(place) = self.companions.clone().try_acquire_owned()
        {
            let crew = self.clone();
            tokio::spawn(async move {
                crew.wait(&order, &handle).await;
                drop(place);
            });
        }
    }

    async fn wait(&self, order: &Order, handle: &TaskHandle<Value>) {
        let id = handle.id();
        let asked = handle.get(Some(Duration::from_secs(20)));
        match self.unless_it_hangs(order, "get", asked).await {
            Some(Ok(result)) => self.log.write(Event::Got { id, result: result.to_string() }),
            Some(Err(error)) if error.is_final() => {
                self.log.write(Event::GotError { id, code: error.code.to_string() });
            }
            Some(Err(error)) => self.log.write(Event::NotGot { id, code: error.code.to_string() }),
            None => {}
        }
    }
}

async fn open<'c>(conn: &'c mut Option<PgConnection>, url: &str) -> sqlx::Result<&'c mut PgConnection> {
    let open = match conn.take() {
        Some(open) => open,
        None => PgConnection::connect_with(&PgConnectOptions::from_str(url)?).await?,
    };
    Ok(conn.insert(open))
}

async fn sql_send(conn: &mut PgConnection, order: &Order) -> sqlx::Result<uuid::Uuid> {
    sqlx::query_scalar(
        "select hostler.send($1, $2::text, id => $3, delay => $4::bigint * interval '1 ms', good_until => $5,
            redeliveries => $6, retries => $7)",
    )
    .bind(order.body.task())
    .bind(args(order).to_string())
    .bind(order.id)
    .bind(order.delay_ms.and_then(|ms| i64::try_from(ms).ok()))
    .bind(order.good_until_us.and_then(DateTime::from_timestamp_micros))
    .bind(order.redeliveries.and_then(|n| i32::try_from(n).ok()))
    .bind(order.redeliveries.map(|_| 0_i32))
    .fetch_one(conn)
    .await
}

fn args(order: &Order) -> Value {
    json!({ "n": order.n, "ms": order.ms, "failures": order.failures, "ballast": "x".repeat(order.ballast) })
}
