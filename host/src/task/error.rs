//! The error a caller gets in place of a result.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::code::{ErrorCode, Family, Retrieval};

/// Why there is no result.
///
/// As JSON: `{"code": "TRAPPED", "family": "sandbox", "message": …, "data": …, "cause": …}`. The family is
/// part of the form, so that a string a task made up can never read as one of the host's own codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct TaskError {
    /// What happened; its family says what to do.
    pub code: ErrorCode,
    /// One sentence for people.
    pub message: String,
    /// Facts for programs, as the code documents them.
    pub data: Option<serde_json::Value>,
    /// What lies behind it, such as the last lines of the guest's stderr or the database's words.
    pub cause: Option<String>,
}

impl TaskError {
    /// An error with a code and a sentence.
    #[must_use]
    pub fn new(code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), data: None, cause: None }
    }

    /// The same with facts for programs.
    #[must_use]
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The same with what lies behind it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Whether asking again may give another answer. Such an error is never cached on a handle.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(&self.code, ErrorCode::Retrieval(code) if *code != Retrieval::ResultNotAvailable)
    }

    /// Whether this is how things stay: the opposite of [`TaskError::is_transient`].
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.is_transient()
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for TaskError {}

#[derive(Serialize, Deserialize)]
struct Wire {
    code: String,
    family: Family,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

impl From<Wire> for TaskError {
    fn from(wire: Wire) -> Self {
        let Wire { code, family, message, data, cause } = wire;
        Self { code: ErrorCode::from_parts(family, &code), message, data, cause }
    }
}

impl From<TaskError> for Wire {
    fn from(error: TaskError) -> Self {
        let TaskError { code, message, data, cause } = error;
        Self { code: code.as_str().to_owned(), family: code.family(), message, data, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Ending, Sandbox};

    #[test]
    fn json_goes_both_ways() {
        let error = TaskError::new(Sandbox::Trapped, "the guest panicked")
            .with_data(serde_json::json!({"attempt": 2}))
            .with_cause("thread panicked at src/lib.rs");
        let json = serde_json::to_string(&error).expect("a TaskError is JSON");
        assert!(json.contains(r#""family":"sandbox""#));
        assert_eq!(serde_json::from_str::<TaskError>(&json).expect("reads back"), error);
    }

    #[test]
    fn only_not_knowing_is_transient() {
        for code in Retrieval::ALL {
            let transient = *code != Retrieval::ResultNotAvailable;
            assert_eq!(TaskError::new(*code, "").is_transient(), transient, "{}", code.as_str());
        }
        assert!(TaskError::new(Ending::TaskCancelled, "").is_final());
        assert!(TaskError::new(ErrorCode::User("X".to_owned()), "").is_final());
    }
}
