//! Who is dead: what polls saw of other hosts goes in, whom to declare dead comes out. It reads no clock and asks nobody.

use std::collections::HashMap;
use std::time::Duration;

use crate::store::Observation;
use crate::task::Session;

/// Between two polls of an idle host: with the beat, fewer than two queries a second.
const POLL: Duration = Duration::from_millis(600);
/// And at the least, however short a lease is.
const POLL_MIN: Duration = Duration::from_millis(50);
/// An answer this long after the one before is no unbroken contact, nor is one after a third of the other one's lease:
/// after an outage it must have had the time to beat.
const CONTACT_US: i64 = 2_500_000;

/// What this host itself has seen of the others.
#[derive(Debug, Default)]
pub(super) struct Judge {
    seen: HashMap<Session, Seen>,
}

#[derive(Debug)]
struct Seen {
    beat: i64,
    /// When the answer arrived that had this beat first, and when the last one did.
    since_us: i64,
    last_us: i64,
}

impl Judge {
    /// A poll had no answer: from here nobody can say who was silent.
    pub(super) fn lost_contact(&mut self) {
        self.seen.clear();
    }

    /// A poll that was sent at `asked_us` was answered at `answered_us`, both on a clock that counts suspend. Returns the
    /// hosts whose beat stood still for their whole lease, over unbroken contact.
    pub(super) fn observe(
        &mut self,
        hosts: &[Observation],
        asked_us: i64,
        answered_us: i64,
    ) -> Vec<Observation> {
        self.seen.retain(|session, _| hosts.iter().any(|host| host.session == *session));
        let mut dead = Vec::new();
        for host in hosts {
            let lease_us = i64::from(host.lease_ms) * 1_000;
            let new = || Seen { beat: host.beat, since_us: answered_us, last_us: answered_us };
            let seen = self.seen.entry(host.session).or_insert_with(new);
            if seen.beat != host.beat || answered_us - seen.last_us > CONTACT_US.min(lease_us / 3) {
                *seen = new();
            }
            seen.last_us = answered_us;
            // The beat was read after the question was sent, and before the first answer arrived.
            if asked_us - seen.since_us >= lease_us {
                dead.push(*host);
            }
        }
        dead
    }
}

/// Between two polls that nothing asked for: often enough to judge the one with the shortest lease.
pub(super) fn pace(hosts: &[Observation]) -> Duration {
    let shortest = hosts.iter().map(|host| u64::try_from(host.lease_ms).unwrap_or(0)).min();
    shortest.map_or(POLL, |ms| Duration::from_millis(ms / 6).clamp(POLL_MIN, POLL))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE_MS: i32 = 15_000;
    /// Between two polls; each is answered after 1 ms.
    const STEP: i64 = 600_000;

    fn host(beat: i64) -> [Observation; 1] {
        [Observation { session: Session(7), beat, lease_ms: LEASE_MS }]
    }

    /// Polls from one instant to another one, as often as is usual; says when it was first called dead.
    fn polls(judge: &mut Judge, beat: i64, from_us: i64, to_us: i64) -> Option<i64> {
        let mut at = from_us;
        while at <= to_us {
            if !judge.observe(&host(beat), at, at + 1_000).is_empty() {
                return Some(at);
            }
            at += STEP;
        }
        None
    }

    #[test]
    fn unbroken_silence_for_a_whole_lease_is_death() {
        let mut judge = Judge::default();
        let dead = polls(&mut judge, 1, 0, 60_000_000).expect("dead");
        assert!((15_000_000..16_000_000).contains(&dead), "{dead}");
    }

    #[test]
    fn a_beat_that_moved_begins_it_anew() {
        let mut judge = Judge::default();
        assert_eq!(polls(&mut judge, 1, 0, 14_400_000), None);
        assert_eq!(polls(&mut judge, 2, 15_000_000, 29_400_000), None);
        assert!(polls(&mut judge, 2, 30_000_000, 31_800_000).is_some());
    }

    #[test]
    fn a_failed_poll_begins_it_anew() {
        let mut judge = Judge::default();
        assert_eq!(polls(&mut judge, 1, 0, 14_400_000), None);
        judge.lost_contact();
        assert_eq!(polls(&mut judge, 1, 15_000_000, 29_400_000), None);
    }

    #[test]
    fn a_judge_that_was_suspended_has_seen_nothing_meanwhile() {
        let mut judge = Judge::default();
        assert_eq!(polls(&mut judge, 1, 0, 6_000_000), None);
        // Its timers stood still, and an answer from before may be the first thing it reads.
        assert!(judge.observe(&host(1), 6_600_000, 90_000_000).is_empty());
        assert_eq!(polls(&mut judge, 1, 90_600_000, 104_400_000), None);
        assert!(polls(&mut judge, 1, 105_000_000, 106_200_000).is_some());
    }

    #[test]
    fn a_short_lease_makes_short_gaps_of_contact() {
        let brief = |beat| [Observation { session: Session(7), beat, lease_ms: 1_000 }];
        let mut judge = Judge::default();
        assert!(judge.observe(&brief(1), 0, 1_000).is_empty());
        // An outage of two seconds that no poll failed of: the other one's beats waited as well.
        assert!(judge.observe(&brief(1), 2_000_000, 2_001_000).is_empty());
        let every = i64::try_from(pace(&brief(1)).as_micros()).expect("a pause");
        assert!(every * 2 < 1_000_000 / 3, "polls are often enough for it: {every}");
        let mut at = 2_000_000;
        while judge.observe(&brief(1), at, at + 1_000).is_empty() {
            at += every;
        }
        assert!((3_000_000..3_300_000).contains(&at), "{at}");
    }

    #[test]
    fn a_long_answer_counts_for_the_time_between_the_looks_alone() {
        let mut judge = Judge::default();
        assert!(judge.observe(&host(1), 0, 2_000_000).is_empty());
        let mut at = 2_100_000;
        while at < 17_000_000 {
            assert!(
                judge.observe(&host(1), at, at + 10_000).is_empty(),
                "{at}: the beat was read at 2 s, maybe"
            );
            at += STEP;
        }
        assert!(!judge.observe(&host(1), 17_001_000, 17_002_000).is_empty());
    }
}
