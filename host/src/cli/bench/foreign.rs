//! Senders that ring no doorbell: SQL, and a program's own transaction. Each is measured as it is and with the wake
//! that it may ask for; without, hosts find its tasks with their next poll.

use std::time::Instant;

use serde_json::Value;

use crate::client::Client;
use crate::store::StoreError;

use super::super::exit::Exit;
use super::measure::{ANSWER_MAX, Times, WARM_UP};
use super::stage::Stage;

/// A round without a wake takes as long as hundreds with one.
const ROUNDS_WITH_A_WAKE: u32 = 10;

/// From the send to the result in hand.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) sql: Times,
    pub(super) sql_with_wake: Times,
    pub(super) transaction: Times,
    pub(super) transaction_with_wake: Times,
}

pub(super) async fn measure(
    stage: &Stage,
    client: &Client,
    task: &str,
    args: &Value,
    rounds: u32,
) -> Result<Foreign, Exit> {
    let sender = Sender { stage, client, task, args };
    let few = rounds.div_ceil(ROUNDS_WITH_A_WAKE);
    Ok(Foreign {
        sql: sender.times(Way::Sql, false, few).await?,
        sql_with_wake: sender.times(Way::Sql, true, rounds).await?,
        transaction: sender.times(Way::Transaction, false, few).await?,
        transaction_with_wake: sender.times(Way::Transaction, true, rounds).await?,
    })
}

struct Sender<'a> {
    stage: &'a Stage,
    client: &'a Client,
    task: &'a str,
    args: &'a Value,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Sql,
    Transaction,
}

impl Sender<'_> {
    async fn times(&self, way: Way, wake: bool, rounds: u32) -> Result<Times, Exit> {
        let warm_up = if wake { WARM_UP } else { 0 };
        let mut times = Vec::new();
        for round in 0..rounds + warm_up {
            let began = Instant::now();
            match way {
                Way::Sql => self.sql(wake).await?,
                Way::Transaction => self.transaction(wake).await?,
            }
            if round >= warm_up {
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        Ok(Times::new(times))
    }

    async fn sql(&self, wake: bool) -> Result<(), Exit> {
        let id = self.stage.store().send_by_sql(self.task, &self.args.to_string(), wake).await?;
        self.client.handle::<Value>(id).get(Some(ANSWER_MAX)).await?;
        Ok(())
    }

    async fn transaction(&self, wake: bool) -> Result<(), Exit> {
        let mut tx = self.stage.store().pool().begin().await.map_err(StoreError::from)?;
        let handle = self.client.send_in(&mut tx, self.task, self.args).await?;
        tx.commit().await.map_err(StoreError::from)?;
        if wake {
            handle.wake().await?;
        }
        handle.get(Some(ANSWER_MAX)).await?;
        Ok(())
    }
}
