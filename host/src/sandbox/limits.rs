//! What an attempt may use. Everything has a limit.

use crate::task::Policy;

/// The limits of one attempt. A host has a set of defaults and a ceiling; a plugin's policy moves a
/// value between nothing and the ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time, in milliseconds.
    pub timeout_ms: u64,
    /// CPU time, in milliseconds. Checked at every tick of the epoch, so an attempt may overrun by a few.
    pub cpu_ms_max: u64,
    /// Memory over all linear memories together, in bytes.
    pub memory_bytes_max: u64,
    /// Elements over all tables together.
    pub table_elements_max: u64,
    /// The wasm stack, in bytes. It holds for the whole host: only the value the sandbox started with counts.
    pub stack_bytes_max: u64,
    /// The arguments, in bytes.
    pub args_bytes_max: u64,
    /// The result, in bytes.
    pub result_bytes_max: u64,
    /// What stdout, stderr and `log` may write together, in bytes; the rest is swallowed and counted.
    pub log_bytes_max: u64,
}

const MIB: u64 = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_ms: 60_000,
            cpu_ms_max: 10_000,
            memory_bytes_max: 128 * MIB,
            // CPython needs 5,670 and StarlingMonkey 7,688.
            table_elements_max: 20_000,
            stack_bytes_max: MIB / 2,
            args_bytes_max: 16 * MIB,
            result_bytes_max: 16 * MIB,
            log_bytes_max: MIB / 4,
        }
    }
}

impl Limits {
    /// The most that a host allows when its operator says nothing.
    pub const CEILING: Self = Self {
        timeout_ms: 24 * 60 * 60 * 1000,
        cpu_ms_max: 60 * 60 * 1000,
        memory_bytes_max: 1024 * MIB,
        table_elements_max: 100_000,
        stack_bytes_max: MIB,
        args_bytes_max: 64 * MIB,
        result_bytes_max: 64 * MIB,
        log_bytes_max: 16 * MIB,
    };

    /// The limits of a task with this policy: its own wishes, these limits where it has none, and never
    /// more than `ceiling`.
    #[must_use]
    pub fn for_task(&self, policy: &Policy, ceiling: &Self) -> Self {
        Self {
            timeout_ms: policy.timeout_ms.unwrap_or(self.timeout_ms),
            cpu_ms_max: policy.cpu_ms_max.unwrap_or(self.cpu_ms_max),
            memory_bytes_max: policy.memory_bytes_max.unwrap_or(self.memory_bytes_max),
            result_bytes_max: policy.result_bytes_max.unwrap_or(self.result_bytes_max),
            ..*self
        }
        .within(ceiling)
    }

    /// The smaller of the two in every field.
    #[must_use]
    pub fn within(self, ceiling: &Self) -> Self {
        Self {
            timeout_ms: self.timeout_ms.min(ceiling.timeout_ms),
            cpu_ms_max: self.cpu_ms_max.min(ceiling.cpu_ms_max),
            memory_bytes_max: self.memory_bytes_max.min(ceiling.memory_bytes_max),
            table_elements_max: self.table_elements_max.min(ceiling.table_elements_max),
            stack_bytes_max: self.stack_bytes_max.min(ceiling.stack_bytes_max),
            args_bytes_max: self.args_bytes_max.min(ceiling.args_bytes_max),
            result_bytes_max: self.result_bytes_max.min(ceiling.result_bytes_max),
            log_bytes_max: self.log_bytes_max.min(ceiling.log_bytes_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_moves_below_the_ceiling_only() {
        let ceiling = Limits { timeout_ms: 90_000, memory_bytes_max: 64 * MIB, ..Limits::CEILING };
        let mut policy = Policy::default();
        (policy.timeout_ms, policy.cpu_ms_max) = (Some(80_000), Some(u64::MAX));
        let limits = Limits::default().for_task(&policy, &ceiling);
        assert_eq!(limits.timeout_ms, 80_000, "the task's wish");
        assert_eq!(limits.cpu_ms_max, ceiling.cpu_ms_max, "a wish beyond the ceiling");
        assert_eq!(limits.memory_bytes_max, 64 * MIB, "a default beyond the ceiling");
        assert_eq!(limits.log_bytes_max, Limits::default().log_bytes_max);
    }
}
