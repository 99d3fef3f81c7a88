//! What one `use` brings: `use hostler_guest::prelude::*;`.

pub use std::time::Duration;

pub use hostler_guest_macros::{data, task};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use serde_json::{Value, json};

pub use super::failure::{Failure, Retry};
pub use super::{attempt, cancellation, checkpoint, log, progress, tasks};
