//! What a listening client has heard of: a sender that waits for its own task need not look for it first if
//! it would have heard of its end.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::task::TaskId;

/// Ids remembered; at full speed they last a tenth of a second, and one wait begins sooner after its send.
const RECENT_MAX: usize = 4_096;

/// The newest ids that became final, and how far back that memory reaches.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    recent: VecDeque<TaskId>,
    /// Everything heard since then is in `recent`; `None` while nobody listens.
    complete_since: Option<Instant>,
}

impl Heard {
    /// Listening begins, or begins again.
    pub(super) fn listening(&self) {
        let mut memory = self.lock();
        memory.recent.clear();
        memory.complete_since = Some(Instant::now());
    }

    /// Nobody listens for now, or something was not heard.
    pub(super) fn deaf(&self) {
        self.lock().complete_since = None;
    }

    /// Whether the end of this task was heard of, lately.
    pub(super) fn was_told(&self, id: TaskId) -> bool {
        self.lock().recent.contains(&id)
    }

    /// These tasks became final.
    pub(super) fn of(&self, ids: &[TaskId]) {
        let mut memory = self.lock();
        memory.add(ids);
        // Whoever hears one hears the next ones, too.
        memory.complete_since.get_or_insert_with(Instant::now);
    }

    /// These tasks became final, by word of this process: about what others say it means nothing.
    pub(super) fn here_of(&self, ids: &[TaskId]) {
        self.lock().add(ids);
    }

    /// Whether a task sent no sooner than this is known not to be final: its end would have been heard of.
    pub(super) fn nothing_of(&self, id: TaskId, sent_at: Instant) -> bool {
        let memory = self.lock();
        memory.complete_since.is_some_and(|since| since < sent_at) && !memory.recent.contains(&id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn add(&mut self, ids: &[TaskId]) {
        let forgotten = (self.recent.len() + ids.len()).saturating_sub(RECENT_MAX);
        if forgotten > 0 {
            let some = forgotten.min(self.recent.len());
            self.recent.drain(..some);
            self.complete_since = self.complete_since.map(|_| Instant::now());
        }
        self.recent.extend(ids.iter().rev().take(RECENT_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TaskId {
        uuid::Uuid::now_v7()
    }

    #[test]
    fn silence_means_something_only_while_everything_was_heard() {
        let heard = Heard::default();
        let task = id();
        assert!(!heard.nothing_of(task, Instant::now()), "nobody listens yet");
        let before = Instant::now();
        heard.listening();
        assert!(!heard.nothing_of(task, before), "it was sent before the listening began");
        let sent_at = Instant::now();
        assert!(heard.nothing_of(task, sent_at));
        heard.of(&[id(), task]);
        assert!(!heard.nothing_of(task, sent_at), "it was heard of");
    }

    #[test]
    fn after_a_loss_silence_means_nothing_until_something_is_heard() {
        let heard = Heard::default();
        heard.listening();
        heard.deaf();
        assert!(!heard.nothing_of(id(), Instant::now()));
        let other = id();
        heard.of(&[other]);
        assert!(heard.was_told(other));
        assert!(heard.nothing_of(id(), Instant::now()));
    }

    #[test]
    fn what_this_process_says_does_not_mean_that_others_are_heard() {
        let heard = Heard::default();
        let task = id();
        heard.here_of(&[task]);
        assert!(heard.was_told(task));
        assert!(!heard.nothing_of(id(), Instant::now()));
        heard.listening();
        let sent_at = Instant::now();
        heard.here_of(&[task]);
        assert!(!heard.nothing_of(task, sent_at) && heard.nothing_of(id(), sent_at));
        heard.here_of(&(0..RECENT_MAX).map(|_| id()).collect::<Vec<_>>());
        assert!(!heard.nothing_of(task, sent_at), "it was forgotten");
    }

    #[test]
    fn what_was_forgotten_is_not_taken_for_silence() {
        let heard = Heard::default();
        heard.listening();
        let (task, sent_at) = (id(), Instant::now());
        heard.of(&[task]);
        heard.of(&(0..RECENT_MAX).map(|_| id()).collect::<Vec<_>>());
        assert!(!heard.nothing_of(task, sent_at));
        assert!(heard.nothing_of(id(), Instant::now()), "what is sent from now on is remembered");
        heard.of(&(0..2 * RECENT_MAX).map(|_| id()).collect::<Vec<_>>());
        assert!(heard.0.lock().expect("whole").recent.len() <= RECENT_MAX);
    }
}
