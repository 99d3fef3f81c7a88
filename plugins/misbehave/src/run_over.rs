//! Tasks that take or give too much.

use std::hint::black_box;

use hostler_guest::prelude::*;

/// How much to allocate.
#[data]
#[derive(Debug)]
pub struct AllocateArgs {
    /// Mebibytes, beyond what the guest has anyway.
    pub mib: usize,
}

/// Takes memory, a mebibyte at a time, writes to every page of it and returns how many bytes it has.
#[task]
pub fn allocate(args: AllocateArgs) -> Result<u64, Failure> {
    const MIB: usize = 1 << 20;
    const PAGE: usize = 4096;
    let mut held: Vec<Vec<u8>> = Vec::new();
    for number in 0..args.mib {
        let mut block = vec![0_u8; MIB];
        for page in block.chunks_mut(PAGE) {
            page[0] = number as u8 | 1;
        }
        held.push(black_box(block));
    }
    Ok(held.iter().map(|block| block.len() as u64).sum())
}

/// How much to return.
#[data]
#[derive(Debug)]
pub struct BigResultArgs {
    /// The length of the string in the result.
    pub bytes: usize,
}

/// A result of a wanted size.
#[data]
#[derive(Debug)]
pub struct Filled {
    /// The letter `x`, again and again.
    pub filler: String,
}

/// Returns a string of this many bytes.
#[task]
pub fn big_result(args: BigResultArgs) -> Result<Filled, Failure> {
    Ok(Filled { filler: "x".repeat(args.bytes) })
}

/// How much to say.
#[data]
#[derive(Debug)]
pub struct FloodArgs {
    /// Lines on each of stdout, stderr and the log.
    pub lines: u32,
}

/// Writes this many lines to each of stdout, stderr and the log, and returns the number.
#[task]
pub fn flood(args: FloodArgs) -> Result<u32, Failure> {
    for line in 1..=args.lines {
        println!("stdout line {line}");
        eprintln!("stderr line {line}");
        log::info!("log line {line}");
    }
    Ok(args.lines)
}

/// How often.
#[data]
#[derive(Debug)]
pub struct TimesArgs {
    /// Times.
    pub times: u64,
}

/// Asks the host something this many times, and returns the number.
#[task]
pub fn pester(args: TimesArgs) -> Result<u64, Failure> {
    for _ in 0..args.times {
        black_box(attempt::retries());
    }
    Ok(args.times)
}

/// Takes this many handles from the host and gives none back.
#[task]
pub fn hoard(args: TimesArgs) -> Result<u64, Failure> {
    #[cfg(target_arch = "wasm32")]
    for _ in 0..args.times {
        std::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(1));
    }
    Ok(args.times)
}

/// Hands the host one message of this many bytes.
#[task]
pub fn shout(args: BigResultArgs) -> Result<u64, Failure> {
    log::info!("{}", "x".repeat(args.bytes));
    Ok(args.bytes as u64)
}

#[cfg(test)]
mod tests {
    use hostler_guest::testing::{Attempt, with_attempt};

    use super::*;

    #[test]
    fn each_gives_as_much_as_was_asked_for() {
        assert_eq!(allocate(AllocateArgs { mib: 2 }), Ok(2 << 20));
        let result = big_result(BigResultArgs { bytes: 10 }).expect("it always succeeds");
        assert_eq!(result.filler, "xxxxxxxxxx");
        assert_eq!((pester(TimesArgs { times: 2 }), hoard(TimesArgs { times: 2 })), (Ok(2), Ok(2)));
        assert_eq!(shout(BigResultArgs { bytes: 3 }), Ok(3));
        let seen = with_attempt(Attempt::default(), || flood(FloodArgs { lines: 2 }));
        assert_eq!(seen.result, Ok(2));
        assert_eq!(seen.messages(), ["log line 1", "log line 2"]);
    }
}
