//! Memory and tables of one attempt. wasmtime's stock limiter counts each memory for itself; this one adds them up.

use wasmtime::{Error, ResourceLimiter, Result};

use super::Limits;

/// The guest asked for more than it may have. Ends the attempt at once, so that a refused allocation and a
/// panic never look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the guest asked for more than {0} bytes of memory")]
    Memory(u64),
    #[error("the guest asked for more than {0} table elements (table_elements_max)")]
    Tables(u64),
}

pub(super) struct Limiter {
    memory_bytes: u64,
    memory_bytes_peak: u64,
    memory_bytes_max: u64,
    memory_last: (u64, u64),
    table_elements: u64,
    table_elements_max: u64,
    failed: bool,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: 0,
            memory_bytes_peak: 0,
            memory_bytes_max: limits.memory_bytes_max,
            memory_last: (0, 0),
            table_elements: 0,
            table_elements_max: limits.table_elements_max,
            failed: false,
        }
    }

    /// The most memory there was at once, in bytes.
    pub(super) fn memory_bytes_peak(&self) -> u64 {
        self.memory_bytes_peak
    }

    /// The limit, in bytes.
    pub(super) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }

    /// Whether memory within the limit could not be had; the guest knows, and most abort.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let total = self.memory_bytes.saturating_sub(current as u64).saturating_add(desired as u64);
        if total > self.memory_bytes_max {
            return Err(Refused::Memory(self.memory_bytes_max).into());
        }
        self.memory_last = (self.memory_bytes, self.memory_bytes_peak);
        self.memory_bytes = total;
        self.memory_bytes_peak = self.memory_bytes_peak.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        tracing::debug!(error = %error, "a memory did not grow");
        (self.memory_bytes, self.memory_bytes_peak) = self.memory_last;
        self.failed = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let total = self.table_elements.saturating_sub(current as u64).saturating_add(desired as u64);
        if total > self.table_elements_max {
            return Err(Refused::Tables(self.table_elements_max).into());
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        32
    }

    fn tables(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together() {
        let mut limiter = Limiter::new(&Limits { memory_bytes_max: 100, ..Limits::default() });
        assert!(limiter.memory_growing(0, 60, None).expect("within"));
        let refused = limiter.memory_growing(0, 60, None).expect_err("two of 60 are more than 100");
        assert_eq!(refused.downcast_ref(), Some(&Refused::Memory(100)));
        assert!(limiter.memory_growing(60, 90, None).expect("growing the first one"));
        limiter.memory_grow_failed(Error::msg("no memory")).expect("told");
        assert_eq!((limiter.memory_bytes_peak(), limiter.has_failed()), (60, true));
    }
}
