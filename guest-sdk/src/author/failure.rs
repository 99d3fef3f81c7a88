//! How a task says no.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// A task's own failure: what the sender gets instead of a result.
///
/// `?` makes one of any error, with the code `TASK_FAILED`. For that reason `Failure` is no [`Error`] itself.
///
/// ```
/// use hostler_guest::prelude::*;
///
/// fn read(port: &str) -> Result<u16, Failure> {
///     let port: u16 = port.parse()?;
///     if port < 1024 {
///         return Err(Failure::new("PORT_RESERVED", format!("{port} is below 1024")).never());
///     }
///     Ok(port)
/// }
///
/// assert_eq!(read("eighty").unwrap_err().code, "TASK_FAILED");
/// assert_eq!(read("80").unwrap_err().retry, Retry::Never);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a failure does nothing until the task returns it"]
pub struct Failure {
    /// SCREAMING_SNAKE_CASE. The host refuses its own codes (`TRAPPED`, `TASK_TIMEOUT`, …) from a task.
    pub code: String,
    /// For people.
    pub message: String,
    /// For programs: anything that helps the sender.
    pub data: Option<Value>,
    /// Whether another attempt makes sense.
    pub retry: Retry,
}

/// What a task's policy is to do about a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// As the policy says.
    #[default]
    ByPolicy,
    /// Never, whatever the policy says.
    Never,
    /// After this long, while the policy has retries left.
    After(Duration),
}

impl Failure {
    /// A failure that the task's policy may retry.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), data: None, retry: Retry::ByPolicy }
    }

    /// The same failure, never retried.
    pub fn never(self) -> Self {
        Self { retry: Retry::Never, ..self }
    }

    /// The same failure, retried after `delay` instead of the policy's backoff; whole milliseconds.
    pub fn retry_after(self, delay: Duration) -> Self {
        Self { retry: Retry::After(delay), ..self }
    }

    /// The same failure with data for programs. Data that cannot become JSON is replaced by a note in the message.
    pub fn with_data(mut self, data: impl Serialize) -> Self {
        match serde_json::to_value(data) {
            Ok(data) => self.data = Some(data),
            Err(error) => self.message.push_str(&format!(" (its data is lost: {error})")),
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new("TASK_FAILED", message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_error_keeps_its_causes() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("no port")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = "x".parse::<u16>().map_err(Outer).expect_err("x is no number");
        let failure = Failure::from(error);
        assert_eq!(failure.to_string(), "TASK_FAILED: no port: invalid digit found in string");
    }

    #[test]
    fn data_that_is_no_json_is_told() {
        let failure = Failure::new("BAD", "bad").with_data(BTreeMap::from([((1, 2), 3)]));
        assert_eq!(failure.data, None);
        assert_eq!(failure.message, "bad (its data is lost: key must be a string)");
        assert_eq!(Failure::new("BAD", "bad").with_data(7).data, Some(Value::from(7)));
    }
}
