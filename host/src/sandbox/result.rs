//! What came back from a guest, as an [`Outcome`]: results checked, failures bounded, traps told apart.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::bindings::{Failure, Retry};
use super::error::{SandboxError, one_line};
use super::limiter::{Limiter, Refused};
use super::load::NotGranted;
use super::meter::CpuExceeded;
use super::{Limits, Phase};
use crate::task::{GuestFailure, GuestRetry, Outcome};

/// The longest message of a guest's failure, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// The longest code of a guest's failure, in bytes. Well-formed ones have 64 at most.
const CODE_BYTES_MAX: usize = 256;
/// The longest line in a trap's reason, in bytes.
pub(super) const REASON_BYTES_MAX: usize = 1 << 10;
/// A host call may hand over this much whatever the result's limit is, in bytes. A single message to `log` beyond it
/// traps: copying it would cost the host what the limits are there to save.
const HOSTCALL_BYTES_MIN: u64 = 4 << 20;

/// How many bytes wasmtime copies out of a guest at once, the result included.
pub(super) fn hostcall_fuel(limits: &Limits) -> usize {
    // Room for a whole write to stdout beside the result's limit; the exact limit is checked after.
    let bytes = limits.result_bytes_max.max(HOSTCALL_BYTES_MIN).saturating_add(64 << 10);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What the guest returned.
pub(super) fn returned(result: Result<Vec<u8>, Failure>, limits: &Limits) -> Outcome {
    match result {
        Ok(bytes) if bytes.len() as u64 > limits.result_bytes_max => {
            Outcome::OutputTooLarge(limits.result_bytes_max)
        }
        Ok(bytes) => match check_json(&bytes) {
            Ok(()) => Outcome::Returned(bytes),
            Err(reason) => Outcome::BadResult(reason),
        },
        Err(failure) => Outcome::Failed(bounded(failure, limits)),
    }
}

/// What it means that the call did not return. `stderr` is the tail of what the guest wrote there.
///
/// # Errors
/// [`SandboxError`] where the host is at fault.
pub(super) fn stopped(
    error: &wasmtime::Error,
    phase: Phase,
    limits: &Limits,
    limiter: &Limiter,
    stderr: &str,
) -> Result<Outcome, SandboxError> {
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Err(SandboxError::Full(full.to_string()));
    }
    if error.is::<CpuExceeded>() {
        return Ok(Outcome::OutOfCpu(limits.cpu_ms_max));
    }
    match error.downcast_ref() {
        Some(Refused::Memory(max)) => return Ok(Outcome::OutOfMemory(*max)),
        Some(refused @ Refused::Tables(_)) => return Ok(Outcome::Trapped(refused.to_string())),
        None => {}
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Ok(Outcome::Trapped(format!("the guest called exit({code})")));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => return Ok(Outcome::StackExhausted),
        Some(Trap::UnreachableCodeReached) if limiter.has_failed() => {
            return Ok(Outcome::OutOfMemory(limiter.memory_bytes_max()));
        }
        Some(trap) => return Ok(Outcome::Trapped(reason(*trap, stderr))),
        None => {}
    }
    let root = error.root_cause();
    if let Some(ResourceTableError::Full) = root.downcast_ref() {
        return Ok(too_many_handles(limits));
    }
    // As with fuel below, the words are all there is.
    if root.to_string().contains("store handle limit exceeded") {
        return Ok(too_many_handles(limits));
    }
    if let Some(denied) = error.downcast_ref::<NotGranted>() {
        return Ok(Outcome::Denied(cut(denied.to_string(), REASON_BYTES_MAX)));
    }
    if error.is::<WasmBacktrace>() {
        // A host function refused what it was given, such as more than the hostcall fuel allows.
        return Ok(Outcome::Trapped(cut(error.root_cause().to_string(), REASON_BYTES_MAX)));
    }
    match phase {
        Phase::Instantiate => Err(SandboxError::Setup(one_line(error))),
        _ if error.root_cause().is::<std::io::Error>() => Err(SandboxError::Setup(one_line(error))),
        // wasmtime keeps this error's type to itself, so its words are all there is; a test holds them.
        _ if error.root_cause().to_string().contains("fuel allocated for hostcalls") => {
            Ok(Outcome::OutputTooLarge(limits.result_bytes_max))
        }
        Phase::Call => Ok(Outcome::BadResult(cut(one_line(error), REASON_BYTES_MAX))),
    }
}

fn too_many_handles(limits: &Limits) -> Outcome {
    Outcome::Trapped(format!("the guest holds more than {} handles (resources_max)", limits.resources_max))
}

/// Checks that these bytes are one JSON value that any reader takes, without building it.
///
/// `IgnoredAny` is not enough: it accepts what no later reader does, such as lone surrogates, numbers beyond
/// the range and any depth.
pub(super) fn check_json(bytes: &[u8]) -> Result<(), String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    serde_json::from_slice::<Checked>(bytes).map(drop).map_err(|error| error.to_string())
}

fn bounded(failure: Failure, limits: &Limits) -> GuestFailure {
    let fits = |data: &Vec<u8>| data.len() as u64 <= limits.result_bytes_max && check_json(data).is_ok();
    GuestFailure {
        code: cut(failure.code, CODE_BYTES_MAX),
        message: cut(failure.message, MESSAGE_BYTES_MAX),
        data: failure.data.filter(fits),
        retry: match failure.retry {
            Retry::ByPolicy => GuestRetry::ByPolicy,
            Retry::Never => GuestRetry::Never,
            Retry::AfterMs(ms) => GuestRetry::AfterMs(ms),
        },
    }
}

/// One line: the trap's name and, for a guest that said why, its own words.
fn reason(trap: Trap, stderr: &str) -> String {
    let name = trap.to_string();
    let name = name.strip_prefix("wasm trap: ").unwrap_or(&name);
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // Rust puts the place on one line and the message on the next.
    let words = match lines.iter().rposition(|line| line.contains("panicked at ")) {
        Some(at) => lines[at..].iter().take(2).copied().collect::<Vec<_>>().join(" "),
        None => lines.first().copied().unwrap_or_default().to_owned(),
    };
    let reason = if words.is_empty() { name.to_owned() } else { format!("{name}: {words}") };
    cut(reason, REASON_BYTES_MAX)
}

/// The text, or its beginning with a mark that it is no more.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// Any JSON value, read in full and forgotten.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CheckedVisitor)
    }
}

struct CheckedVisitor;

impl<'de> Visitor<'de> for CheckedVisitor {
    type Value = Checked;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Checked, A::Error> {
        while items.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Checked, A::Error> {
        while entries.next_entry::<Checked, Checked>()?.is_some() {}
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &str, message: &str, data: Option<&[u8]>) -> Failure {
        Failure {
            code: code.into(),
            message: message.into(),
            data: data.map(Vec::from),
            retry: Retry::ByPolicy,
        }
    }

    #[test]
    fn the_check_takes_what_a_reader_takes() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        let texts = [
            "null",
            " {\"a\": [1, -2.5e3, true, \"\\n\"]} ",
            "18446744073709551615",
            "\"\\u0000\"",
            &deep(127),
            &deep(128),
            "",
            "{} {}",
            "{",
            "01",
            "1e999",
            "\"\\ud800\"",
            "nan",
            "[1,]",
            "{\"a\":1,\"a\":2}",
        ];
        for text in texts {
            let reader = serde_json::from_str::<serde_json::Value>(text);
            assert_eq!(check_json(text.as_bytes()).is_ok(), reader.is_ok(), "{text:.40}");
        }
        assert!(check_json(b"\"\xff\"").is_err(), "not UTF-8");
        assert!(check_json(&b"[".repeat(1 << 20)).is_err(), "too deep for any stack");
    }

    #[test]
    fn a_failure_is_bounded() {
        let limits = Limits { result_bytes_max: 100, ..Limits::default() };
        let long = bounded(failure(&"X".repeat(1000), &"ü".repeat(100_000), Some(b"{")), &limits);
        assert!(long.code.len() <= CODE_BYTES_MAX && long.message.len() <= MESSAGE_BYTES_MAX);
        assert!(long.message.ends_with("ü…") && long.data.is_none(), "{long:?}");
        let kept = bounded(failure("NO_STOCK", "none left", Some(b"{\"left\":0}")), &limits);
        assert_eq!((kept.code.as_str(), kept.data.as_deref()), ("NO_STOCK", Some(&b"{\"left\":0}"[..])));
        assert_eq!(bounded(failure("A", "", Some(&b"1".repeat(101))), &limits).data, None);
    }

    #[test]
    fn a_reason_is_one_line_with_the_guests_words() {
        let panic =
            "warming up\n\nthread '<unnamed>' panicked at src/lib.rs:3:5:\nno such animal\nnote: run with\n";
        let told = "wasm `unreachable` instruction executed: thread '<unnamed>' panicked at src/lib.rs:3:5: no such animal";
        assert_eq!(reason(Trap::UnreachableCodeReached, panic), told);
        assert_eq!(reason(Trap::IntegerDivisionByZero, ""), "integer divide by zero");
        assert_eq!(reason(Trap::MemoryOutOfBounds, "oh no\n"), "out of bounds memory access: oh no");
    }
}
