//! The six states of a task and the one table of legal moves between them.

use std::fmt;
use std::str::FromStr;

/// Where a task stands. A delayed or retrying task is `Pending` with a later `run_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Waits for a host, or for its time.
    Pending,
    /// A host has claimed it; an attempt is under way.
    Running,
    /// Final: the task returned a result.
    Completed,
    /// Final: an attempt failed and no retry is left or wanted.
    Failed,
    /// Final: somebody cancelled it.
    Cancelled,
    /// Final: its `good_until` passed before an attempt could start.
    Expired,
}

/// What may happen to a task; each edge has exactly one source and one target state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// A host takes the task and starts an attempt.
    Claim,
    /// The attempt returned a result.
    Complete,
    /// The attempt failed for good.
    Fail,
    /// The attempt failed; another one is planned.
    Retry,
    /// The attempt ended through no fault of the task.
    Release,
    /// The host that ran the attempt is gone.
    HostLost,
    /// Cancelled before or during an attempt.
    Cancel,
    /// `good_until` passed before the first guest instruction.
    Expire,
}

impl Status {
    /// All states, in the order of a task's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled, Self::Expired];

    /// Whether nothing can happen to the task any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The state after `edge`, or `None` where that edge is illegal. The only such table.
    #[must_use]
    pub fn after(self, edge: Edge) -> Option<Self> {
        use Edge as E;
        match (self, edge) {
            (Self::Pending, E::Claim) => Some(Self::Running),
            (Self::Running, E::Retry | E::Release | E::HostLost) => Some(Self::Pending),
            (Self::Running, E::Complete) => Some(Self::Completed),
            (Self::Running, E::Fail) => Some(Self::Failed),
            (Self::Pending | Self::Running, E::Cancel) => Some(Self::Cancelled),
            (Self::Pending | Self::Running, E::Expire) => Some(Self::Expired),
            _ => None,
        }
    }

    /// The word in SQL, JSON and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == word)
            .ok_or_else(|| format!("{word:?} is no task status"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [Edge; 8] = [
        Edge::Claim,
        Edge::Complete,
        Edge::Fail,
        Edge::Retry,
        Edge::Release,
        Edge::HostLost,
        Edge::Cancel,
        Edge::Expire,
    ];

    #[test]
    fn a_final_state_has_no_way_out() {
        for status in Status::ALL.into_iter().filter(|s| s.is_final()) {
            for edge in EDGES {
                assert_eq!(status.after(edge), None, "{status} {edge:?}");
            }
        }
    }

    #[test]
    fn only_a_claim_starts_an_attempt() {
        for edge in EDGES {
            let running = Status::Pending.after(edge) == Some(Status::Running);
            assert_eq!(running, edge == Edge::Claim, "{edge:?}");
        }
    }

    #[test]
    fn words_go_both_ways() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("DONE".parse::<Status>().is_err());
    }
}
