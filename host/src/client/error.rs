//! Why a send did not happen.

use std::fmt;

use crate::store::{NewTask, SendOptions, StoreError};
use crate::task::{QueueName, Retrieval, TaskError, TaskId, TaskName};

/// What a caller can do about a send that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendErrorCode {
    /// The arguments or options are wrong; fix the call.
    ValidationFailed,
    /// No host ever published this name.
    UnknownTask,
    /// The arguments are larger than allowed.
    PayloadTooLarge,
    /// The id belongs to another command.
    PayloadMismatch,
    /// The idempotency key belongs to another command.
    KeyConflict,
    /// The database did not take it, or its answer was lost; see [`SendError::retryable`].
    EnqueueFailed,
    /// Sends are suppressed, for a test.
    SendSuppressed,
    /// A blocking send on a thread of an async runtime.
    AsyncContext,
}

impl SendErrorCode {
    /// Every code.
    pub const ALL: [Self; 8] = [
        Self::ValidationFailed,
        Self::UnknownTask,
        Self::PayloadTooLarge,
        Self::PayloadMismatch,
        Self::KeyConflict,
        Self::EnqueueFailed,
        Self::SendSuppressed,
        Self::AsyncContext,
    ];

    /// The code's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ValidationFailed => "VALIDATION_FAILED",
            Self::UnknownTask => "UNKNOWN_TASK",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::PayloadMismatch => "PAYLOAD_MISMATCH",
            Self::KeyConflict => "KEY_CONFLICT",
            Self::EnqueueFailed => "ENQUEUE_FAILED",
            Self::SendSuppressed => "SEND_SUPPRESSED",
            Self::AsyncContext => "ASYNC_CONTEXT",
        }
    }
}

impl fmt::Display for SendErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A send that failed, with what is needed to repeat it exactly.
#[derive(Debug, Clone)]
pub struct SendError {
    /// What to do.
    pub code: SendErrorCode,
    /// One sentence for people.
    pub message: String,
    /// Whether [`crate::Client::retry_send`] may succeed.
    pub retryable: bool,
    /// The id the task has, or would have had.
    pub task_id: Option<TaskId>,
    /// The command, if there is something to repeat; not for many at once.
    pub payload: Option<Box<SendPayload>>,
}

/// A command as it was sent, for [`crate::Client::retry_send`].
#[derive(Debug, Clone)]
pub struct SendPayload {
    pub(super) name: TaskName,
    pub(super) queue: QueueName,
    pub(super) priority: i16,
    pub(super) redeliveries: Option<u32>,
    pub(super) keep_input: Option<bool>,
    pub(super) unpublished: bool,
    /// Unknown until the database was asked for the task's name; then `options` and the fingerprint are
    /// complete, and stay as they are however often the command is repeated.
    pub(super) kind: Option<i32>,
    pub(super) task: NewTask,
    pub(super) options: SendOptions,
    pub(super) key: Option<String>,
    /// The id is the caller's own: whoever else knows it may have sent it, or be sending it.
    pub(super) own_id: bool,
}

impl SendPayload {
    /// The task's full name.
    #[must_use]
    pub fn task_name(&self) -> &str {
        self.name.as_str()
    }

    /// The arguments, UTF-8 JSON.
    #[must_use]
    pub fn args(&self) -> &[u8] {
        &self.task.args
    }

    /// The idempotency key, if one was given.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl SendError {
    pub(super) fn refused(code: SendErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retryable: false, task_id: None, payload: None }
    }

    pub(super) fn enqueue(error: &StoreError) -> Self {
        if let StoreError::FarId { .. } | StoreError::Isolated = error {
            return Self::refused(SendErrorCode::ValidationFailed, error.to_string());
        }
        Self {
            code: SendErrorCode::EnqueueFailed,
            message: error.to_string(),
            retryable: error.is_transient(),
            task_id: None,
            payload: None,
        }
    }

    pub(super) fn with_payload(mut self, payload: SendPayload) -> Self {
        self.task_id = Some(payload.task.id);
        self.payload = Some(Box::new(payload));
        self
    }
}

impl SendError {
    /// Of one among many: it is not repeated alone.
    pub(super) fn without_payload(self) -> Self {
        Self { payload: None, task_id: None, ..self }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for SendError {}

/// The database could not be asked.
pub(super) fn broker(error: StoreError) -> TaskError {
    TaskError::new(Retrieval::BrokerError, error.to_string())
}
