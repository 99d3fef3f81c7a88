//! How a command ends. The codes are a contract: other programs act on them.

use std::process::ExitCode;

use serde_json::json;

use crate::client::{ConnectError, SendError, SendErrorCode};
use crate::dispatch::HostError;
use crate::embedded::EmbeddedError;
use crate::sandbox::SandboxError;
use crate::task::{ErrorCode, Retrieval, TaskError};

use super::output;

/// The contract, as `--help` shows it.
pub(super) const TABLE: &str = "\
Exit codes:
  0  done
  1  the task failed; its error is on stderr, as JSON
  2  wrong usage, or a request refused before anything ran
  3  WAIT_TIMEOUT: the task may still run
  4  unknown task or id
  5  database, schema, port, directory or other infrastructure";

/// The exit codes, but for 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The task failed.
    TaskFailed,
    /// Usage, or a request refused before anything ran.
    Refused,
    /// The wait was over before the task.
    WaitTimeout,
    /// No such task or id.
    Unknown,
    /// Database, schema, port, directory.
    Infrastructure,
}

impl Code {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::TaskFailed => 1,
            Self::Refused => 2,
            Self::WaitTimeout => 3,
            Self::Unknown => 4,
            Self::Infrastructure => 5,
        }
    }
}

/// An end other than 0.
#[derive(Debug)]
pub(super) enum Exit {
    /// Instead of a result.
    Task(TaskError),
    /// A send that did not happen.
    Send(SendError),
    /// Anything else, in words that name the file, field or command to look at.
    Said(Code, String),
    /// Everything was said; the code alone is left.
    Silent(Code),
    /// A signal ended the command; 128 and its number.
    Signal(u8),
}

impl Exit {
    pub(super) fn refused(words: impl Into<String>) -> Self {
        Self::Said(Code::Refused, words.into())
    }

    pub(super) fn infrastructure(words: impl Into<String>) -> Self {
        Self::Said(Code::Infrastructure, words.into())
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Task(error) => of_task(error).number(),
            Self::Send(error) => of_send(error.code).number(),
            Self::Said(code, _) | Self::Silent(code) => code.number(),
            Self::Signal(code) => *code,
        }
    }

    /// Says on stderr why, in one last line: JSON if the task failed or JSON is wanted, else words.
    pub(super) fn tell(&self, json: bool) -> ExitCode {
        let code = self.code();
        match self {
            Self::Task(error) if json || code == Code::TaskFailed.number() => {
                output::note(serde_json::to_string(error).unwrap_or_else(|_| error.to_string()));
            }
            Self::Task(error) => output::note(format!("error: {error}")),
            Self::Send(error) if json => {
                let told = json!({"code": error.code.as_str(), "message": error.message,
                    "retryable": error.retryable, "task_id": error.task_id, "exit_code": code});
                output::note(told.to_string());
            }
            Self::Send(error) => output::note(format!("error: {error}")),
            Self::Said(_, words) if json => {
                output::note(json!({"message": words, "exit_code": code}).to_string());
            }
            Self::Said(_, words) => output::note(format!("error: {words}")),
            Self::Silent(_) | Self::Signal(_) => {}
        }
        ExitCode::from(code)
    }
}

fn of_task(error: &TaskError) -> Code {
    match error.code {
        ErrorCode::Retrieval(Retrieval::WaitTimeout) => Code::WaitTimeout,
        ErrorCode::Retrieval(Retrieval::TaskNotFound) => Code::Unknown,
        ErrorCode::Retrieval(Retrieval::BrokerError) => Code::Infrastructure,
        _ => Code::TaskFailed,
    }
}

fn of_send(code: SendErrorCode) -> Code {
    match code {
        SendErrorCode::UnknownTask => Code::Unknown,
        SendErrorCode::EnqueueFailed => Code::Infrastructure,
        SendErrorCode::ValidationFailed
        | SendErrorCode::PayloadTooLarge
        | SendErrorCode::PayloadMismatch
        | SendErrorCode::KeyConflict
        | SendErrorCode::SendSuppressed
        | SendErrorCode::AsyncContext => Code::Refused,
    }
}

impl From<TaskError> for Exit {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

impl From<SendError> for Exit {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl From<ConnectError> for Exit {
    fn from(error: ConnectError) -> Self {
        Self::infrastructure(error.to_string())
    }
}

impl From<EmbeddedError> for Exit {
    fn from(error: EmbeddedError) -> Self {
        Self::infrastructure(error.to_string())
    }
}

impl From<HostError> for Exit {
    fn from(error: HostError) -> Self {
        Self::infrastructure(error.to_string())
    }
}

impl From<SandboxError> for Exit {
    fn from(error: SandboxError) -> Self {
        Self::infrastructure(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Ending, Sandbox};

    #[test]
    fn codes_are_the_contracts() {
        let task = |code: ErrorCode| Exit::from(TaskError::new(code, "")).code();
        assert_eq!(task(Retrieval::WaitTimeout.into()), 3);
        assert_eq!(task(Retrieval::TaskNotFound.into()), 4);
        assert_eq!(task(Retrieval::BrokerError.into()), 5);
        assert_eq!(task(Retrieval::ResultNotAvailable.into()), 1);
        assert_eq!(task(Ending::TaskCancelled.into()), 1);
        assert_eq!(task(Sandbox::Trapped.into()), 1);
        assert_eq!(
            task(ErrorCode::User("WAIT_TIMEOUT".to_owned())),
            1,
            "a task's own word is no code of ours"
        );
        let sends = SendErrorCode::ALL.map(|code| of_send(code).number());
        assert_eq!(sends, [2, 4, 2, 2, 2, 5, 2, 2]);
    }
}
