//! Tasks that do not come back.

use std::hint::black_box;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use hostler_guest::prelude::*;

/// Computes for ever; its timeout is 2 s.
#[task(timeout = "2s")]
pub fn spin() -> Result<(), Failure> {
    let mut turns: u64 = 0;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Panics with the message `misbehave was told to panic`.
#[task]
pub fn trap() -> Result<(), Failure> {
    panic!("misbehave was told to panic")
}

/// Ends in the instruction `unreachable`, without a word.
#[task]
pub fn abort() -> Result<(), Failure> {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    process::abort()
}

/// The status to leave with.
#[data]
#[derive(Debug)]
pub struct ExitArgs {
    /// 0 is success. WASI 0.2 tells the host no more than whether it is 0: every other status arrives as 1.
    pub code: i32,
}

/// Leaves the process with a status instead of returning.
#[task]
pub fn exit(args: ExitArgs) -> Result<(), Failure> {
    process::exit(args.code)
}

/// Calls itself until the stack is used up. It takes no memory of its own.
#[task]
pub fn recurse() -> Result<u64, Failure> {
    Ok(deeper(0))
}

/// A depth that is never reached, which only an atomic keeps from the optimiser.
static BOTTOM: AtomicU64 = AtomicU64::new(u64::MAX);

/// Neither a tail call nor a sum that could become a loop. Values stay in wasm locals, so that the wasm stack ends before
/// the stack in linear memory (1 MiB) does.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == BOTTOM.load(Ordering::Relaxed) {
        return depth;
    }
    let below = deeper(depth + 1);
    below.wrapping_mul(31) ^ depth ^ BOTTOM.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "misbehave was told to panic")]
    fn a_trap_is_a_panic_with_its_message() {
        drop(trap());
    }

    #[test]
    fn the_recursion_ends_where_the_bottom_is() {
        BOTTOM.store(3, Ordering::Relaxed);
        let depth = deeper(0);
        BOTTOM.store(u64::MAX, Ordering::Relaxed);
        let expected = [2, 1, 0].into_iter().fold(3_u64, |below, depth| below.wrapping_mul(31) ^ depth ^ 3);
        assert_eq!(depth, expected);
    }
}
