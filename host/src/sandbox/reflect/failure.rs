//! What a function's error is as a task's failure.

use serde_json::json;
use wasmtime::component::Val;

use super::read::Misfit;
use super::shape::Shape;
use super::write::json_name;
use crate::sandbox::bindings::{Failure, Retry};
use crate::task::Contract;

/// What a guest's failure is called that says nothing of its kind; the guest SDKs use it too.
const TASK_FAILED: &str = "TASK_FAILED";

/// A failure says this much at least whatever a result may be, in bytes.
const BYTES_MIN: u64 = 64 << 10;

/// The failure of an error: a case of a variant or an enum is its code, a record may have `code` and `message`.
pub(super) fn of(shape: Option<&Shape>, value: Option<&Val>, bytes_max: u64) -> Option<Failure> {
    let (Some(shape), Some(value)) = (shape, value) else {
        return Some(by_policy(TASK_FAILED, "the function failed".to_owned(), None));
    };
    let bytes_max = bytes_max.max(BYTES_MIN);
    let json = |shape: &Shape, value: &Val| shape.json(value, bytes_max);
    Some(match (shape, value) {
        (Shape::String, Val::String(message)) => by_policy(TASK_FAILED, message.clone(), None),
        (Shape::Enum(names), Val::Enum(found)) => {
            let case = json_name(names, found).ok()?;
            by_policy(&code(case), case.to_owned(), None)
        }
        (Shape::Variant(cases), Val::Variant(found, payload)) => {
            let (name, shape) = cases.iter().find(|(name, _)| name.wit == *found)?;
            let case = &name.json;
            match (shape, payload) {
                (Some(shape), Some(value)) => {
                    let payload = json(shape, value)?;
                    let message = word(&payload)
                        .unwrap_or_else(|| format!("{case}: {}", String::from_utf8_lossy(&payload)));
                    by_policy(&code(case), message, Some(payload))
                }
                _ => by_policy(&code(case), case.clone(), None),
            }
        }
        (Shape::Record(fields), Val::Record(values)) => {
            let all = json(shape, value)?;
            let text = |wanted: &str| {
                let mut fields = fields.iter().zip(values);
                let ((_, shape), (_, value)) = fields.find(|((name, _), _)| name.json == wanted)?;
                word(&json(shape, value)?)
            };
            let code = text("code").map_or_else(|| TASK_FAILED.to_owned(), |text| code(&text));
            let message = text("message").unwrap_or_else(|| String::from_utf8_lossy(&all).into_owned());
            by_policy(&code, message, Some(all))
        }
        _ => {
            let all = json(shape, value)?;
            by_policy(TASK_FAILED, String::from_utf8_lossy(&all).into_owned(), Some(all))
        }
    })
}

/// The text of JSON that is a string.
fn word(json: &[u8]) -> Option<String> {
    serde_json::from_slice(json).ok()
}

/// Arguments that do not fit.
pub(super) fn mismatch(Misfit { path, why }: Misfit) -> Failure {
    let message = if path.is_empty() { why } else { format!("at {path}: {why}") };
    let path = if path.is_empty() { "." } else { &path };
    let data = Some(json!({ "path": path }).to_string().into_bytes());
    Failure { data, ..plain(Contract::ArgumentTypeMismatch.as_str(), message) }
}

/// A failure that no retry mends.
pub(super) fn plain(code: &str, message: String) -> Failure {
    Failure { code: code.to_owned(), message, data: None, retry: Retry::Never }
}

fn by_policy(code: &str, message: String, data: Option<Vec<u8>>) -> Failure {
    Failure { code: code.to_owned(), message, data, retry: Retry::ByPolicy }
}

/// SCREAMING_SNAKE_CASE of whatever a component calls it.
fn code(name: &str) -> String {
    name.replace(['-', ' '], "_").to_ascii_uppercase()
}
