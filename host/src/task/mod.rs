//! What a task *is*: names, states, attempts, failures, retries, verdicts.
//!
//! This room is pure: nothing here waits, reads a clock or touches the outside. Every decision about a
//! task's fate is a function from values to values ([`verdict::decide`]) and is tested as a table.

mod attempt;
pub(crate) mod bounds;
mod child;
mod code;
mod descriptor;
mod error;
mod name;
pub mod quarantine;
mod retry;
mod status;
pub mod verdict;
mod weight;

pub use attempt::{AttemptOutcome, Claim, GuestFailure, GuestRetry, Outcome, Report, Session, Used};
pub use child::NewChild;
pub use code::{Contract, Ending, ErrorCode, Family, Operational, Retrieval, Sandbox};
pub use descriptor::{CONTRACT, Descriptor, DescriptorError, Policy, TaskDescriptor};
pub use error::TaskError;
pub use name::{BadName, QueueName, TaskName};
pub use retry::{Backoff, RetryPolicy};
pub use status::{Edge, Status};
pub use weight::weight;

/// A task's id: a UUIDv7 that the sender makes, so that a failed send can be repeated safely.
pub type TaskId = uuid::Uuid;
