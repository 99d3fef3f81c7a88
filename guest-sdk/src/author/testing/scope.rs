//! The scope that `with_attempt` sets, in the shape of the host's imports. One to a thread, restored when it ends.

use std::cell::RefCell;
use std::mem;

use super::{Attempt, Level, Seen, Sent};

struct Scope {
    attempt: Attempt,
    lines: Vec<(Level, String)>,
    progress: Vec<(f64, String)>,
    sent: Vec<Sent>,
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// Puts the outer scope back, also when the body panics.
struct Restore(Option<Scope>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.replace(self.0.take());
    }
}

pub(super) fn run<R>(attempt: Attempt, body: impl FnOnce() -> R) -> Seen<R> {
    let scope = Scope { attempt, lines: Vec::new(), progress: Vec::new(), sent: Vec::new() };
    let mut restore = Restore(CURRENT.replace(Some(scope)));
    let result = body();
    let outer = restore.0.take();
    mem::forget(restore);
    let Scope { lines, progress, attempt, sent } =
        CURRENT.replace(outer).expect("an inner scope restores the outer one");
    Seen { result, lines, progress, kept: attempt.kept, sent }
}

fn read<R>(get: impl FnOnce(&Attempt) -> R) -> R {
    CURRENT.with_borrow(|scope| match scope {
        Some(scope) => get(&scope.attempt),
        None => get(&Attempt::default()),
    })
}

pub(crate) fn id() -> String {
    read(|attempt| attempt.id.clone())
}

pub(crate) fn number() -> u32 {
    read(|attempt| attempt.number)
}

pub(crate) fn retries() -> u32 {
    read(|attempt| attempt.retries)
}

pub(crate) fn remaining_ms() -> u64 {
    read(|attempt| u64::try_from(attempt.remaining.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn previous_error() -> Option<String> {
    read(|attempt| attempt.previous_error.clone())
}

pub(crate) fn requested() -> bool {
    read(|attempt| attempt.cancelled)
}

pub(crate) fn log(level: Level, message: &str) {
    CURRENT.with_borrow_mut(|scope| match scope {
        Some(scope) => scope.lines.push((level, message.to_owned())),
        None => eprintln!("{level:?}: {message}"),
    });
}

pub(crate) fn recall(name: &str) -> Result<Option<Vec<u8>>, String> {
    Ok(read(|attempt| attempt.kept.get(name).cloned()))
}

pub(crate) fn keep(name: &str, value: &[u8]) -> Result<(), String> {
    CURRENT.with_borrow_mut(|scope| {
        if let Some(scope) = scope {
            scope.attempt.kept.insert(name.to_owned(), value.to_vec());
        }
    });
    Ok(())
}

pub(crate) fn send(
    task: &str,
    args: &[u8],
    key: Option<&str>,
    delay_ms: Option<u64>,
) -> Result<String, String> {
    CURRENT.with_borrow_mut(|scope| {
        let Some(scope) = scope else { return Ok(Attempt::default().id) };
        if key.is_some()
            && let Some(before) = scope.sent.iter().find(|sent| sent.key.as_deref() == key)
        {
            return Ok(before.id.clone());
        }
        let id = format!("00000000-0000-7000-8000-{:012}", scope.sent.len() + 1);
        let (task, args) = (task.to_owned(), String::from_utf8_lossy(args).into_owned());
        scope.sent.push(Sent { id: id.clone(), task, args, key: key.map(str::to_owned), delay_ms });
        Ok(id)
    })
}

pub(crate) fn report(fraction: f64, note: &str) {
    CURRENT.with_borrow_mut(|scope| {
        if let Some(scope) = scope {
            scope.progress.push((fraction, note.to_owned()));
        }
    });
}
