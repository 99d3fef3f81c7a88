//! What people write: arguments as JSON, instants and durations.

use std::io::Read;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::exit::Exit;

/// A task's arguments: JSON, `@file`, `-` for stdin, or nothing, which is `{}`.
pub(super) async fn arguments(given: Option<&str>) -> Result<Value, Exit> {
    let (text, place) = match given {
        None => return Ok(Value::Object(serde_json::Map::new())),
        Some("-") => (read(std::io::stdin, "stdin".to_owned()).await?, "stdin".to_owned()),
        Some(given) => match given.strip_prefix('@') {
            Some(file) => {
                let opened = std::fs::File::open(file);
                let opened = opened.map_err(|error| Exit::refused(format!("cannot read {file}: {error}")))?;
                (read(move || opened, file.to_owned()).await?, file.to_owned())
            }
            None => (given.to_owned(), "the arguments".to_owned()),
        },
    };
    serde_json::from_str(&text).map_err(|error| Exit::refused(format!("{place}: no valid JSON: {error}")))
}

/// Reads to the end on a thread of its own: stdin may never end.
async fn read<R: Read>(open: impl FnOnce() -> R + Send + 'static, place: String) -> Result<String, Exit> {
    let reading = tokio::task::spawn_blocking(move || std::io::read_to_string(open()));
    let read = reading.await.map_err(|error| Exit::infrastructure(error.to_string()))?;
    read.map_err(|error| Exit::refused(format!("cannot read {place}: {error}")))
}

/// `10s`, `5m`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 10s, 5m or 1h30m"))
}

/// An instant (RFC 3339), or how far it is away.
pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    let wrong =
        || "write an instant such as 2030-01-31T12:00:00Z, or a duration from now such as 10m".to_owned();
    let away = humantime::parse_duration(text).map_err(|_| wrong())?;
    let away = chrono::Duration::from_std(away).map_err(|_| wrong())?;
    Utc::now().checked_add_signed(away).ok_or_else(wrong)
}
