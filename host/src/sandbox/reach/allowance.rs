//! How much one attempt may ask of the database, granted or not: each call costs it a statement, and a write that replaces
//! another one costs as much as any.

use crate::sandbox::Limits;

/// What is left of it.
pub(in crate::sandbox) struct Allowance {
    calls: u64,
    bytes: u64,
    limits: (u64, u64),
}

impl Allowance {
    pub(in crate::sandbox) fn new(limits: &Limits) -> Self {
        let limits = (limits.database_calls_max, limits.database_bytes_max);
        Self { calls: limits.0, bytes: limits.1, limits }
    }

    /// Takes one call that writes so many bytes, or says which limit is met.
    pub(in crate::sandbox) fn take(&mut self, bytes: usize) -> Result<(), String> {
        let (calls_max, bytes_max) = self.limits;
        let Some(calls) = self.calls.checked_sub(1) else {
            return Err(format!(
                "TOO_MANY: an attempt may ask the database {calls_max} times (database_calls_max)"
            ));
        };
        self.calls = calls;
        let Some(bytes) = self.bytes.checked_sub(bytes as u64) else {
            return Err(format!(
                "TOO_MANY: an attempt may write {bytes_max} bytes to the database (database_bytes_max)"
            ));
        };
        self.bytes = bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_bytes_end_by_their_names() {
        let limits = Limits { database_calls_max: 3, database_bytes_max: 10, ..Limits::DEFAULT };
        let mut allowance = Allowance::new(&limits);
        assert_eq!(allowance.take(10), Ok(()));
        let why = allowance.take(1).expect_err("all bytes are written");
        assert!(why.contains("10 bytes") && why.contains("database_bytes_max"), "{why}");
        assert_eq!(allowance.take(0), Ok(()), "reading goes on");
        let why = allowance.take(0).expect_err("a refused one counts too");
        assert!(why.contains("3 times") && why.contains("database_calls_max"), "{why}");
    }
}
