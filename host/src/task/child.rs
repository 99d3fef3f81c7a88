//! A task that a running one sends.

/// What is sent, and how far its family may go. What is not said here is as the sending task's: queue and priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChild {
    /// The task's full name.
    pub task: String,
    /// JSON.
    pub args: String,
    /// What the sending task calls it, 1 to 200 bytes; sent again under it, it is the same task.
    pub key: Option<String>,
    /// Due no sooner than so many milliseconds from now.
    pub delay_ms: Option<i64>,
    /// How far from the task that began the family it may be.
    pub depth_max: u32,
    /// How many tasks the family may have been sent in all.
    pub family_max: u32,
}
