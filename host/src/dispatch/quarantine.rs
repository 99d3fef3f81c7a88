//! Keeps code away that kills hosts.
//!
//! What is decided stands in the database, and every poll brings it. Quarantined code is not served, so its tasks
//! wait. Of suspects this host runs one at a time, in turns: the next death then tells whose it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{Charge, PgConnection, StoreError};
use crate::task::quarantine::judge;

/// How long a death counts, and a suspicion holds; at least as many leases.
const RECENT: Duration = Duration::from_secs(600);
const RECENT_LEASES: u32 = 20;
/// How long a suspect is served while another one waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// So many panics of the host, in one session, that one plugin's guests bring about.
const PANICS_MAX: usize = 3;

/// What this host knows of code that is to blame.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    quarantined: Vec<i32>,
    suspects: Vec<i32>,
    /// The suspect that is served, or was last.
    turn: Option<i32>,
    turn_ends: Option<Instant>,
    panics: HashMap<i32, usize>,
}

impl Watch {
    /// What a poll brought.
    pub(super) fn learn(&self, quarantined: &[i32], suspects: &[i32]) {
        let mut state = self.lock();
        state.quarantined = quarantined.to_vec();
        state.suspects = suspects.to_vec();
    }

    /// Of these plugins, those not to be served now. `running`: whose attempts run here.
    pub(super) fn barred(&self, plugins: &[i32], running: &BTreeSet<i32>) -> BTreeSet<i32> {
        let mut state = self.lock();
        let mut barred: BTreeSet<i32> = state.quarantined.iter().copied().collect();
        let suspects: Vec<i32> = state.suspects.iter().copied().filter(|s| plugins.contains(s)).collect();
        let served = state.turn(&suspects, running);
        barred.extend(suspects.into_iter().filter(|suspect| Some(*suspect) != served));
        barred
    }

    /// A guest of this plugin made the host panic; says whether it is one too many.
    pub(super) fn panicked(&self, plugin: i32) -> bool {
        let mut state = self.lock();
        let panics = state.panics.entry(plugin).or_default();
        *panics += 1;
        *panics >= PANICS_MAX
    }

    /// Who is to be quarantined for panics; told once.
    pub(super) fn poisoners(&self) -> Vec<Charge> {
        let mut state = self.lock();
        let found: Vec<i32> = state
            .panics
            .iter()
            .filter(|(_, panics)| **panics >= PANICS_MAX)
            .map(|(plugin, _)| *plugin)
            .collect();
        let charge = |plugin: i32| {
            let panics = state.panics.remove(&plugin).unwrap_or_default();
            let reason = format!("its guests made a host panic {panics} times");
            Charge { plugin, quarantined: true, reason }
        };
        found.into_iter().map(charge).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whose turn it is. Nobody's as long as attempts of another one run: they would be blamed for its deeds.
    fn turn(&mut self, suspects: &[i32], running: &BTreeSet<i32>) -> Option<i32> {
        let now = Instant::now();
        let over = suspects.len() > 1 && self.turn_ends.is_none_or(|end| now >= end);
        let mut busy = suspects.iter().copied().filter(|suspect| running.contains(suspect));
        let next = match (busy.next(), busy.next()) {
            (Some(_), Some(_)) => None,
            (Some(only), None) if over && self.turn == Some(only) => None,
            (Some(only), None) => Some(only),
            (None, _) if !over && self.turn.is_some_and(|turn| suspects.contains(&turn)) => self.turn,
            (None, _) => {
                let after =
                    suspects.iter().copied().find(|suspect| self.turn.is_some_and(|turn| *suspect > turn));
                after.or_else(|| match self.turn {
                    Some(_) => suspects.first().copied(),
                    // Hosts begin with different ones.
                    None => suspects.get(fastrand::usize(..suspects.len().max(1))).copied(),
                })
            }
        };
        if next.is_some() && (next != self.turn || over) {
            self.turn_ends = Some(now + TURN);
        }
        self.turn = next.or(self.turn);
        next
    }
}

/// Judges by the deaths there were lately, and writes down what comes of it; says whether anybody is to blame.
pub(super) async fn rejudge(conn: &mut PgConnection, lease: Duration) -> Result<bool, StoreError> {
    let recent = RECENT.max(lease * RECENT_LEASES);
    let strikes = crate::store::strikes(conn, recent).await?;
    let charges: Vec<Charge> = judge(&strikes)
        .into_iter()
        .map(|judgement| Charge {
            plugin: judgement.plugin,
            quarantined: judgement.quarantined,
            reason: format!(
                "{} hosts died, one after the other, while its attempts ran there",
                judgement.deaths
            ),
        })
        .collect();
    charge(conn, recent, &charges).await?;
    Ok(!charges.is_empty())
}

/// Quarantines code of which this host itself knows what it did.
pub(super) async fn charge_poisoners(conn: &mut PgConnection, watch: &Watch) -> Result<(), StoreError> {
    charge(conn, RECENT, &watch.poisoners()).await
}

async fn charge(conn: &mut PgConnection, held_for: Duration, charges: &[Charge]) -> Result<(), StoreError> {
    if charges.is_empty() {
        return Ok(());
    }
    for barred in crate::store::charge(conn, held_for, charges).await? {
        tracing::error!(
            plugin = barred.plugin,
            digest = barred.digest,
            "quarantined: {}; its tasks wait until other code of the plugin is there, or `hostler plugins --lift` is used",
            barred.reason
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<const N: usize>(plugins: [i32; N]) -> BTreeSet<i32> {
        plugins.into()
    }

    #[test]
    fn quarantined_code_is_barred_and_a_lone_suspect_is_not() {
        let watch = Watch::default();
        watch.learn(&[1], &[2]);
        assert_eq!(watch.barred(&[1, 2, 3], &set([])), set([1]));
    }

    #[test]
    fn suspects_take_turns_and_wait_for_each_others_end() {
        let watch = Watch::default();
        watch.learn(&[], &[1, 2]);
        let first = watch.barred(&[1, 2, 3], &set([1, 3]));
        assert_eq!(first, set([2]), "who runs already is first");
        watch.lock().turn_ends = Some(Instant::now());
        assert_eq!(watch.barred(&[1, 2, 3], &set([1])), set([1, 2]), "the first one ends");
        assert_eq!(watch.barred(&[1, 2, 3], &set([])), set([1]), "the second one's turn");
        assert_eq!(watch.barred(&[1, 2, 3], &set([1, 2])), set([1, 2]), "both, from before: neither");
    }

    #[test]
    fn the_third_panic_is_one_too_many() {
        let watch = Watch::default();
        assert_eq!(
            [watch.panicked(1), watch.panicked(1), watch.panicked(2), watch.panicked(1)],
            [false, false, false, true]
        );
        let charges = watch.poisoners();
        assert_eq!(charges.iter().map(|c| (c.plugin, c.quarantined)).collect::<Vec<_>>(), [(1, true)]);
        assert!(watch.poisoners().is_empty(), "told once");
    }
}
