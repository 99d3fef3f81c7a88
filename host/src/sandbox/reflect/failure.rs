//! What a function's error is as a task's failure.

use serde_json::{Value, json};
use wasmtime::component::Val;

use super::read::Misfit;
use super::shape::Shape;
use crate::sandbox::bindings::{Failure, Retry};
use crate::task::Contract;

/// What a guest's failure is called that says nothing of its kind; the guest SDKs use it too.
const TASK_FAILED: &str = "TASK_FAILED";

/// The failure of an error: a case of a variant or an enum is its code, a record may have `code` and `message`.
pub(super) fn of(shape: Option<&Shape>, value: Option<&Val>) -> Option<Failure> {
    let (Some(shape), Some(value)) = (shape, value) else {
        return Some(by_policy(TASK_FAILED, "the function failed".to_owned(), None));
    };
    let json = shape.write(value)?;
    Some(match (shape, &json) {
        (Shape::String, Value::String(message)) => by_policy(TASK_FAILED, message.clone(), None),
        (Shape::Enum(_) | Shape::Variant(_), Value::String(case)) => {
            by_policy(&code(case), case.clone(), None)
        }
        (Shape::Variant(_), Value::Object(only)) => {
            let (case, payload) = only.iter().next()?;
            let message = payload.as_str().map_or_else(|| format!("{case}: {payload}"), str::to_owned);
            by_policy(&code(case), message, Some(payload))
        }
        (Shape::Record(_), Value::Object(fields)) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let code = text("code").map_or_else(|| TASK_FAILED.to_owned(), code);
            let message = text("message").map_or_else(|| json.to_string(), str::to_owned);
            by_policy(&code, message, Some(&json))
        }
        _ => by_policy(TASK_FAILED, json.to_string(), Some(&json)),
    })
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

fn by_policy(code: &str, message: String, data: Option<&Value>) -> Failure {
    let data = data.map(|data| data.to_string().into_bytes());
    Failure { code: code.to_owned(), message, data, retry: Retry::ByPolicy }
}

/// SCREAMING_SNAKE_CASE of whatever a component calls it.
fn code(name: &str) -> String {
    name.replace(['-', ' '], "_").to_ascii_uppercase()
}
