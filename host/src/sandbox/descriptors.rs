//! Descriptors of the system: the whole host has so many, and each open file and connection of a guest is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the host itself needs for its database, its plugins and their directories.
const OWN: u64 = 256;
/// Fewer handles would not do for one request.
const SHARE_MIN: u64 = 64;

/// Takes as many as the process may have, and tells how many that are.
pub(super) fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many handles one attempt may hold, so that all together leave the host what it needs.
pub(super) fn share(descriptors: u64, slots: usize) -> u64 {
    // As many guests as the pool has room for.
    let guests = (slots as u64).saturating_add(2);
    let share = descriptors.saturating_sub(OWN) / guests;
    if share < SHARE_MIN {
        tracing::warn!(descriptors, slots, "few open files for so many slots: raise the limit (ulimit -n)");
    }
    share.max(SHARE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_together_leave_the_host_its_own() {
        for (descriptors, slots) in [(20_000, 64), (1_048_576, 1000), (4096, 8)] {
            let all = share(descriptors, slots) * (slots as u64 + 2);
            assert!(all <= descriptors - OWN, "{descriptors} {slots}");
        }
        assert_eq!(share(1024, 1000), SHARE_MIN, "there is no less");
        let raised = raise();
        assert_eq!(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX), raised);
    }
}
