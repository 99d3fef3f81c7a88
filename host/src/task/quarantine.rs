//! Which code is to blame for lost hosts.
//!
//! Many plugins run on a host when it dies, and hosts also die of power cuts, rollouts and impatient operators. So
//! deaths count only one after the other: of hosts that lived at the same time, one. Code that was there at two such
//! deaths is a suspect, and a host runs no more than one of those at a time; from then on a death tells whose it
//! was. Code that was there at three, and at one of them without another suspect, is quarantined.

use std::collections::{BTreeMap, BTreeSet};

use super::Session;

/// Deaths after which code runs apart from other suspects.
const SUSPECT: usize = 2;
/// Deaths after which it is not run any more.
const QUARANTINE: usize = 3;

/// A host's death, and one of those that ran on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// The code, by its number.
    pub plugin: i32,
    /// The host.
    pub session: Session,
    /// When the host came to life, microseconds since 1970.
    pub from_us: i64,
    /// Its last beat.
    pub to_us: i64,
}

/// What is to become of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The code, by its number.
    pub plugin: i32,
    /// Deaths that count.
    pub deaths: usize,
    /// Whether it is not run any more; else it is a suspect.
    pub quarantined: bool,
}

/// Judges code by recent strikes. Whoever is not in the answer is beyond suspicion.
#[must_use]
pub fn judge(strikes: &[Strike]) -> Vec<Judgement> {
    let mut by_plugin: BTreeMap<i32, Vec<&Strike>> = BTreeMap::new();
    for strike in strikes {
        by_plugin.entry(strike.plugin).or_default().push(strike);
    }
    let suspects: BTreeMap<i32, usize> =
        by_plugin.iter().map(|(plugin, own)| (*plugin, one_after_the_other(own))).collect();
    let suspects: BTreeMap<i32, usize> =
        suspects.into_iter().filter(|(_, deaths)| *deaths >= SUSPECT).collect();
    let judge = |(&plugin, &deaths): (&i32, &usize)| {
        let with_others: BTreeSet<Session> = strikes
            .iter()
            .filter(|strike| strike.plugin != plugin && suspects.contains_key(&strike.plugin))
            .map(|strike| strike.session)
            .collect();
        let was_alone = by_plugin[&plugin].iter().any(|strike| !with_others.contains(&strike.session));
        Judgement { plugin, deaths, quarantined: deaths >= QUARANTINE && was_alone }
    };
    suspects.iter().map(judge).collect()
}

/// The most of these hosts of which no two lived at the same time.
fn one_after_the_other(strikes: &[&Strike]) -> usize {
    let mut lives: Vec<(i64, i64)> = strikes.iter().map(|strike| (strike.to_us, strike.from_us)).collect();
    lives.sort_unstable();
    let mut last = i64::MIN;
    let mut count = 0;
    for (to, from) in lives {
        if from > last {
            (last, count) = (to, count + 1);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code 1, 2, … on hosts that lived from … to ….
    fn strikes(deaths: &[(&[i32], i64, i64)]) -> Vec<Strike> {
        let one = |(at, (plugins, from_us, to_us)): (usize, &(&[i32], i64, i64))| {
            let session = Session(i64::try_from(at).expect("few"));
            let strike = |plugin| Strike { plugin, session, from_us: *from_us, to_us: *to_us };
            plugins.iter().copied().map(strike).collect::<Vec<_>>()
        };
        deaths.iter().enumerate().flat_map(one).collect()
    }

    fn quarantined(deaths: &[(&[i32], i64, i64)]) -> Vec<i32> {
        judge(&strikes(deaths)).iter().filter(|j| j.quarantined).map(|j| j.plugin).collect()
    }

    fn suspects(deaths: &[(&[i32], i64, i64)]) -> Vec<i32> {
        judge(&strikes(deaths)).iter().filter(|j| !j.quarantined).map(|j| j.plugin).collect()
    }

    #[test]
    fn three_deaths_one_after_the_other_are_enough() {
        assert!(suspects(&[(&[1], 0, 10)]).is_empty());
        assert_eq!(suspects(&[(&[1], 0, 10), (&[1], 11, 20)]), [1]);
        assert_eq!(quarantined(&[(&[1], 0, 10), (&[1], 11, 20), (&[1], 21, 21)]), [1]);
    }

    #[test]
    fn a_power_cut_is_one_death() {
        let all: [(&[i32], i64, i64); 4] =
            [(&[1, 2], 0, 100), (&[1], 5, 100), (&[1, 2], 50, 99), (&[2], 99, 99)];
        assert_eq!((suspects(&all), quarantined(&all)), (vec![], vec![]));
    }

    #[test]
    fn a_rollout_that_kills_the_old_hosts_is_one_death() {
        // The new ones, begun at 100 and later, are not among the dead.
        let old: [(&[i32], i64, i64); 3] = [(&[1], 0, 100), (&[1], 1, 200), (&[1], 2, 300)];
        assert_eq!((suspects(&old), quarantined(&old)), (vec![], vec![]));
    }

    #[test]
    fn hosts_that_fall_one_by_one_and_come_back_count_in_a_crowd_too() {
        let crowd: [(&[i32], i64, i64); 5] =
            [(&[1], 0, 10), (&[1], 0, 30), (&[1], 11, 20), (&[1], 0, 50), (&[1], 21, 40)];
        assert_eq!(quarantined(&crowd), [1]);
    }

    #[test]
    fn who_only_stood_beside_is_no_more_than_a_suspect() {
        // Two deaths together make both suspects; at the third one they ran apart.
        let deaths: [(&[i32], i64, i64); 3] = [(&[1, 2], 0, 10), (&[1, 2, 3], 11, 20), (&[1, 4], 21, 30)];
        assert_eq!(quarantined(&deaths), [1]);
        assert_eq!(suspects(&deaths), [2]);
        // A crash loop in which nobody lived long enough to keep them apart convicts neither.
        let looped: [(&[i32], i64, i64); 4] =
            [(&[1, 2], 0, 0), (&[1, 2], 1, 1), (&[1, 2], 2, 2), (&[1, 2], 3, 3)];
        assert_eq!((quarantined(&looped), suspects(&looped)), (vec![], vec![1, 2]));
    }
}
