//! Everybody in this process who waits for a task.
//!
//! One task per client listens and polls for all of them: one connection that listens, wakes from within this
//! process whether that listens or not, and one look a poll for however many ids. It starts with the first waiter and sleeps while there is none. A waiter registers
//! before it reads its row, if it has to read it at all, so nothing that happens after the read is missed; a
//! lost notification is made good by the poll.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::store::{Connect, Listener, Look, Store, Wake, channel};
use crate::task::TaskId;

use super::heard::Heard;

/// Between polls while nothing happens: two queries a second, however many wait.
const POLL_MAX: Duration = Duration::from_millis(500);
/// Between the first polls after something happened, where there is no listening.
const POLL_MIN: Duration = Duration::from_millis(10);
/// Ids in one query.
const LOOK_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Waiters {
    shared: Arc<Shared>,
    /// Taken by the task when it starts.
    start: Mutex<Option<Start>>,
}

#[derive(Debug)]
struct Start {
    store: Store,
    connect: Connect,
    listens: bool,
    home: Handle,
}

/// Whom to tell of which task; each waiter has a number of its own.
type Waits = HashMap<TaskId, Vec<(u64, oneshot::Sender<Look>)>>;

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waits>,
    heard: Heard,
    /// Somebody began to wait.
    registered: Notify,
    next: std::sync::atomic::AtomicU64,
}

/// One wait; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    shared: Arc<Shared>,
    id: TaskId,
    number: u64,
    done: oneshot::Receiver<Look>,
}

impl Waiters {
    pub(super) fn new(store: Store, connect: Connect, listens: bool, home: Handle) -> Self {
        Self { shared: Arc::default(), start: Mutex::new(Some(Start { store, connect, listens, home })) }
    }

    /// Begins to wait for a task to become final.
    pub(super) fn register(&self, id: TaskId) -> Waiting {
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Start { store, connect, listens, home }) = start {
            // A weak reference: the task ends with the client.
            let shared = Arc::downgrade(&self.shared);
            home.spawn(async move { watch(shared, store, connect, listens).await });
        }
        let (tell, done) = oneshot::channel();
        let number = self.shared.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.shared.lock().entry(id).or_default().push((number, tell));
        self.shared.registered.notify_one();
        Waiting { shared: self.shared.clone(), id, number, done }
    }
}

impl Waiters {
    /// Whether a task of this process that was sent no sooner than this is known not to be final. Only for
    /// an id that is registered: what ends from now on is told to its waiter.
    pub(super) fn heard_nothing_of(&self, id: TaskId, sent_at: Instant) -> bool {
        self.shared.heard.nothing_of(id, sent_at)
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        self.shared.registered.notify_one();
    }
}

impl Waiting {
    /// The task as it was when it became final. Cancel-safe.
    pub(super) async fn done(&mut self) -> Look {
        match (&mut self.done).await {
            Ok(look) => look,
            // The sender lives in the map as long as this waiter does.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.shared.lock();
        if let Some(some) = waiting.get_mut(&self.id) {
            some.retain(|(number, _)| *number != self.number);
            if some.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> Vec<TaskId> {
        self.lock().keys().copied().collect()
    }

    fn waited_for(&self, ids: Vec<TaskId>) -> Vec<TaskId> {
        let waiting = self.lock();
        ids.into_iter().filter(|id| waiting.contains_key(id)).collect()
    }

    fn tell(&self, look: Look) {
        let waiters = self.lock().remove(&look.id).unwrap_or_default();
        for (_, waiter) in waiters {
            let _gone = waiter.send(look.clone());
        }
    }
}

async fn watch(shared: std::sync::Weak<Shared>, store: Store, connect: Connect, listens: bool) {
    let mut listener = match listens {
        true => Listener::new(&connect, &[channel::DONE]),
        false => Listener::here(&connect, &[channel::DONE]),
    };
    let floor = if listens { POLL_MAX } else { POLL_MIN };
    let mut pause = POLL_MIN;
    let mut last_poll = Instant::now();
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let event = sleep_or_hear(&strong, &mut listener, last_poll + pause).await;
        let polled = matches!(event, Event::Poll);
        let (ids, final_ones) = match event {
            Event::Registered => {
                // Whoever registered reads for itself; polls come closer for a while where nobody rings.
                pause = floor;
                if Arc::strong_count(&strong) == 1 {
                    return;
                }
                continue;
            }
            Event::Wake(Wake::Done(ids)) => {
                strong.heard.of(&ids);
                (strong.waited_for(ids), true)
            }
            Event::Wake(Wake::DoneHere(ids)) => {
                strong.heard.here_of(&ids);
                (strong.waited_for(ids), true)
            }
            Event::Wake(Wake::Deaf) => {
                strong.heard.deaf();
                (strong.ids(), false)
            }
            Event::Wake(_) => {
                strong.heard.listening();
                (strong.ids(), false)
            }
            Event::Poll => {
                last_poll = Instant::now();
                pause = (pause * 2).min(POLL_MAX);
                (strong.ids(), false)
            }
        };
        for some in ids.chunks(LOOK_MAX) {
            let looks = if final_ones { store.look_final(some).await } else { store.look_again(some).await };
            match looks {
                Ok(looks) => {
                    for look in looks.into_iter().filter(|look| look.status.is_final()) {
                        pause = floor;
                        // A connection that died in silence, or a pooler that listens to nobody.
                        if polled && listens && !strong.heard.was_told(look.id) {
                            strong.heard.deaf();
                        }
                        strong.tell(look);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "waiting goes on; the next poll asks again");
                    break;
                }
            }
        }
    }
}

enum Event {
    Registered,
    Wake(Wake),
    Poll,
}

async fn sleep_or_hear(shared: &Shared, listener: &mut Listener, poll_at: Instant) -> Event {
    let nobody = shared.lock().is_empty();
    let poll = async {
        match nobody {
            true => std::future::pending().await,
            false => tokio::time::sleep_until(poll_at).await,
        }
    };
    tokio::select! {
        biased;
        // First, because it comes seldom: a stream of wakes must not keep it from those whose wake was lost.
        () = poll => Event::Poll,
        wake = listener.next() => Event::Wake(wake),
        () = shared.registered.notified() => Event::Registered,
    }
}
