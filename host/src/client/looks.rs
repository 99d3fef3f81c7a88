//! Single looks of many waiters, put together.
//!
//! Ten thousand handles that begin to wait at once would each need a statement, and a connection for it. Instead a few
//! of them look for all: whoever gets a turn asks for everybody who is waiting for one. Alone, a look is as fast as
//! ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use crate::store::{Look, Store};
use crate::task::{TaskError, TaskId};

use super::error::broker;

/// Looks under way at once.
const TURNS: usize = 4;
/// Ids in one look: each may bring a whole result.
const LOOK_MAX: usize = 256;

type Answer = Result<Option<Look>, TaskError>;

#[derive(Debug)]
pub(super) struct Looks {
    store: Store,
    asked: Mutex<Vec<(TaskId, oneshot::Sender<Answer>)>>,
    turns: Semaphore,
}

impl Looks {
    pub(super) fn new(store: Store) -> Self {
        Self { store, asked: Mutex::default(), turns: Semaphore::new(TURNS) }
    }

    /// Where this task stands, read after this was called; `None` if the id is unknown. Cancel-safe, also for those
    /// who are looked for along with it.
    ///
    /// # Errors
    /// `BROKER_ERROR`.
    pub(super) async fn look(&self, id: TaskId) -> Answer {
        loop {
            let (tell, mut answer) = oneshot::channel();
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push((id, tell));
            let answered = loop {
                tokio::select! {
                    biased;
                    answered = &mut answer => break answered,
                    turn = self.turns.acquire() => {
                        self.look_for_some().await;
                        drop(turn);
                    }
                }
            };
            // Whoever looked may have gone away in the middle: then it is asked anew.
            if let Ok(answer) = answered {
                return answer;
            }
        }
    }

    /// One look for those who have waited longest.
    async fn look_for_some(&self) {
        let mut waiting: HashMap<TaskId, Vec<oneshot::Sender<Answer>>> = HashMap::new();
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.retain(|(_, tell)| !tell.is_closed());
            let some = asked.len().min(LOOK_MAX);
            for (id, tell) in asked.drain(..some) {
                waiting.entry(id).or_default().push(tell);
            }
        }
        if waiting.is_empty() {
            return;
        }
        let ids: Vec<TaskId> = waiting.keys().copied().collect();
        let unknown = match self.store.look(&ids).await {
            Ok(looks) => {
                for look in looks {
                    let mut tells = waiting.remove(&look.id).unwrap_or_default();
                    let last = tells.pop();
                    for tell in tells {
                        let _gone = tell.send(Ok(Some(look.clone())));
                    }
                    if let Some(tell) = last {
                        let _gone = tell.send(Ok(Some(look)));
                    }
                }
                Ok(None)
            }
            Err(error) => Err(broker(error)),
        };
        for tell in waiting.into_values().flatten() {
            let _gone = tell.send(unknown.clone());
        }
    }
}
