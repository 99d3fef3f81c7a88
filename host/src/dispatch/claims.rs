//! The claimer: free slots first, then as many tasks.
//!
//! For each lane it keeps a mark, the highest position it has claimed, and looks behind it alone: what lies
//! before is claimed, finished or dead, and walking over it again at every claim would cost more the longer
//! a vacuum is held up. What turns up before the mark all the same (a sender that committed late, a task
//! that was given back) is found by the poll, which says where it stands; the next claim begins there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::store::{Claimed, Lane, Mark, PgConnection, Role, Settle, StoreError, within};
use crate::task::TaskId;
use crate::task::verdict::Verdict;

use super::attempt;
use super::offers::Served;
use super::shift::Shift;

/// The largest claim. Larger ones gain nothing and hold their locks longer.
const CLAIM_MAX: usize = 256;
/// Slots for which a claim from a backlog waits, a moment at most: its statement costs as much as dozens of
/// rows, and the next claims gather their slots meanwhile.
const WORTH_A_CLAIM: usize = 64;
const LINGER: Duration = Duration::from_millis(2);
/// Verdicts that wait to be written, for each slot, before claiming pauses.
const BACKLOG_PER_SLOT: usize = 4;
/// Pages that one statement looks through for what is to be adopted.
const ADOPT_PAGES: i64 = 1_024;
/// After a claim that failed, and doubled for each one more.
const FAILED_PAUSE_MIN: Duration = Duration::from_millis(10);
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Lanes to look into.
#[derive(Debug, Default)]
pub(super) struct Hints {
    lanes: Mutex<Wanted>,
    changed: Notify,
    /// The last claim took as many as it could: more may be waiting than there are slots for.
    backlog: AtomicBool,
}

#[derive(Debug, Default)]
struct Wanted {
    /// From the mark on.
    onwards: BTreeSet<Lane>,
    /// From this position on, which may lie before the mark.
    found: BTreeMap<Lane, i64>,
    /// Without the marks so far.
    anew: bool,
}

impl Hints {
    /// These lanes got tasks.
    pub(super) fn wake(&self, lanes: impl IntoIterator<Item = Lane>) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).onwards.extend(lanes);
        self.changed.notify_one();
    }

    /// The marks may mean nothing any more: after a failover the sequence may have gone back.
    pub(super) fn forget_marks(&self) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).anew = true;
    }

    /// Tasks were seen to wait at these positions of these lanes.
    pub(super) fn found(&self, places: impl IntoIterator<Item = (Lane, i64)>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut any = false;
        for (lane, pos) in places {
            lanes.find(lane, pos);
            any = true;
        }
        drop(lanes);
        if any {
            self.changed.notify_one();
        }
    }

    /// Whether more may be waiting than there are slots for.
    pub(super) fn backlog(&self) -> bool {
        self.backlog.load(Ordering::Relaxed)
    }

    fn take(&self) -> Wanted {
        std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, wanted: Wanted) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.onwards.extend(wanted.onwards);
        for (lane, pos) in wanted.found {
            lanes.find(lane, pos);
        }
        drop(lanes);
        self.changed.notify_one();
    }
}

impl Wanted {
    fn find(&mut self, lane: Lane, pos: i64) {
        self.found.entry(lane).and_modify(|first| *first = pos.min(*first)).or_insert(pos);
    }
}

/// Claims until the host drains or the session is over.
pub(super) async fn claim_until_drained(shift: Arc<Shift>) {
    let stop = shift.shared().draining.clone();
    let mut claimer = Claimer { conn: None, marks: HashMap::new(), number: 0, turn: 0, failures: 0 };
    loop {
        let ready = async {
            shift.hints.changed.notified().await;
            wait_for_room(&shift).await;
            take_slots(&shift).await
        };
        let slots = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = shift.over.cancelled() => return,
            slots = ready => slots,
        };
        // Not within the select: a claim that was begun is seen through.
        if claimer.claim(&shift, slots).await == Going::Over {
            shift.over.cancel();
            return;
        }
    }
}

/// Waits while too many verdicts wait to be written: the database does not keep up, or is away.
async fn wait_for_room(shift: &Shift) {
    let most = shift.shared().config.slots * BACKLOG_PER_SLOT;
    while shift.busy() > most {
        shift.settled_some().notified().await;
    }
    // Without a lease nothing that is claimed could be started.
    while !shift.lease().holds() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All that are free, one at least. Where more wait than the last claim could take, it is worth a moment until
/// some more are.
async fn take_slots(shift: &Shift) -> Vec<OwnedSemaphorePermit> {
    let mut slots = Vec::new();
    if shift.hints.backlog() {
        let enough = (shift.shared().config.slots / 4).clamp(1, WORTH_A_CLAIM);
        let some = shift.slots().acquire_many(u32::try_from(enough).unwrap_or(1));
        let _back = tokio::time::timeout(LINGER, some).await;
    }
    if let Ok(first) = shift.slots().clone().acquire_owned().await {
        slots.push(first);
    }
    while slots.len() < CLAIM_MAX
        && let Ok(more) = shift.slots().clone().try_acquire_owned()
    {
        slots.push(more);
    }
    slots
}

#[derive(Debug, PartialEq, Eq)]
enum Going {
    On,
    Over,
}

struct Claimer {
    conn: Option<PgConnection>,
    marks: HashMap<Lane, i64>,
    /// Of the newest claim; never used twice in a session.
    number: i64,
    /// Which lane of equals comes first; it moves on, so that none waits behind a neighbour's backlog.
    turn: usize,
    /// Claims that failed since one succeeded.
    failures: u32,
}

impl Claimer {
    async fn claim(&mut self, shift: &Arc<Shift>, mut slots: Vec<OwnedSemaphorePermit>) -> Going {
        let served = shift.served();
        let wanted = shift.hints.take();
        if wanted.anew {
            self.marks.clear();
        }
        let marks = self.places(&served, &wanted);
        if marks.is_empty() {
            return Going::On;
        }
        let mut more = false;
        let claimed = match self.ask(shift, &served, &marks, slots.len()).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "a claim failed; making sure what became of it");
                shift.reach.doubt();
                more = true;
                match self.adopt(shift, &served).await {
                    Some(adopted) => adopted,
                    None => return Going::Over,
                }
            }
        };
        shift.hints.backlog.store(claimed.len() >= slots.len(), Ordering::Relaxed);
        if more {
            shift.hints.put_back(wanted);
        } else if claimed.len() >= slots.len() {
            shift.hints.put_back(self.beyond(wanted, &claimed));
        }
        for Claimed { claim, lane, pos } in claimed {
            let mark = self.marks.entry(lane).or_default();
            *mark = (*mark).max(pos);
            shift.reach.claimed(lane, pos);
            let slot = match slots.pop() {
                Some(slot) => slot,
                // More were adopted than there are free slots: they wait for one, holding their claim.
                None => match shift.slots().clone().acquire_owned().await {
                    Ok(slot) => slot,
                    Err(_) => return Going::Over,
                },
            };
            match served.lane(lane) {
                Some(task) => attempt::start(shift, claim, task.clone(), slot),
                // It was unloaded while the claim was being adopted.
                None => {
                    let verdict =
                        Verdict::Postpone("the host that had claimed it no longer serves it".to_owned());
                    shift.finish(Settle {
                        claim,
                        verdict,
                        used: None,
                        plugin: None,
                        log_tail: String::new(),
                    });
                }
            }
        }
        shift.reach.begun(self.number);
        if more {
            self.failures += 1;
            // The database answers, but takes no claims: it may be out of space, or read-only for a while.
            let pause = FAILED_PAUSE_MIN * 2_u32.saturating_pow(self.failures - 1);
            tokio::select! {
                () = tokio::time::sleep(pause.min(FAILED_PAUSE_MAX)) => {}
                () = shift.over.cancelled() => {}
            }
        } else {
            self.failures = 0;
        }
        Going::On
    }

    /// Where there may be more, after a claim that took all it could.
    fn beyond(&self, mut wanted: Wanted, claimed: &[Claimed]) -> Wanted {
        let mut reached: BTreeMap<Lane, i64> = BTreeMap::new();
        for Claimed { lane, pos, .. } in claimed {
            reached.entry(*lane).and_modify(|last| *last = (*last).max(*pos)).or_insert(*pos);
        }
        for (lane, pos) in reached {
            wanted.found.remove(&lane);
            if self.marks.get(&lane).is_some_and(|mark| pos < *mark) {
                wanted.find(lane, pos + 1);
            } else {
                wanted.onwards.insert(lane);
            }
        }
        wanted
    }

    /// Where to look: the wanted lanes that are served, first priority first, equals taking turns.
    fn places(&mut self, served: &Served, wanted: &Wanted) -> Vec<Mark> {
        let mut marks: Vec<(i16, Mark)> = Vec::new();
        for &(priority, lane) in &served.order {
            let mark = self.marks.get(&lane).copied();
            let after = match wanted.found.get(&lane) {
                // A lane without a mark begins at its first task, wherever that is.
                Some(first) => Some(mark.map_or(first - 1, |mark| mark.min(first - 1))),
                None if wanted.onwards.contains(&lane) => Some(mark.unwrap_or(0)),
                None => None,
            };
            marks.extend(after.map(|after| (priority, Mark { lane, after })));
        }
        self.turn = self.turn.wrapping_add(1);
        for equals in marks.chunk_by_mut(|a, b| a.0 == b.0) {
            let turn = self.turn % equals.len();
            equals.rotate_left(turn);
        }
        marks.into_iter().map(|(_, mark)| mark).collect()
    }

    async fn ask(
        &mut self,
        shift: &Shift,
        served: &Served,
        marks: &[Mark],
        limit: usize,
    ) -> Result<Vec<Claimed>, StoreError> {
        // Before connecting, which may fail: what was adopted under the last number runs, and must not be
        // adopted once more.
        self.number += 1;
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => crate::store::conn(&shift.shared().connect, Role::Claiming).await?,
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let name = |lane| served.lane(lane).map(|task| task.name.clone()).unwrap_or_default();
        let claiming = crate::store::claim(&mut conn, shift.session(), self.number, marks, limit, name);
        let claimed = within(shift.shared().config.lease, claiming).await?;
        // Only a connection whose answer arrived is used again.
        self.conn = Some(conn);
        Ok(claimed)
    }

    /// After an unknown answer: fences the claim off, and takes over what it had brought. `None`: the
    /// session is dead.
    async fn adopt(&mut self, shift: &Shift, served: &Served) -> Option<Vec<Claimed>> {
        let lost = self.number;
        self.number += 1;
        let mut search = Search { lost, number: self.number, page: None, found: HashMap::new() };
        let mut pause = Duration::from_millis(50);
        while !shift.over.is_cancelled() {
            match search.go_on(shift, served).await {
                Ok(true) => return Some(search.found.into_values().collect()),
                Ok(false) => return None,
                Err(error) => tracing::debug!(%error, "the database is away; asking again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        None
    }
}

/// For what a claim brought whose answer was lost: through the whole table, in stretches.
struct Search {
    lost: i64,
    /// Under which it is adopted.
    number: i64,
    /// Where the next stretch begins, once the claim is fenced off.
    page: Option<i64>,
    /// A row that moved is met twice.
    found: HashMap<TaskId, Claimed>,
}

impl Search {
    /// Searches to the end; after an error it goes on where it was. `false`: the session is dead.
    async fn go_on(&mut self, shift: &Shift, served: &Served) -> Result<bool, StoreError> {
        let mut conn = crate::store::conn(&shift.shared().connect, Role::Hot).await?;
        let mut page = match self.page {
            Some(page) => page,
            None if shift.asks(crate::store::fence(&mut conn, shift.session(), self.number)).await? => 0,
            None => return Ok(false),
        };
        loop {
            self.page = Some(page);
            let name = |lane| served.lane(lane).map(|task| task.name.clone()).unwrap_or_default();
            let numbers = (self.lost, self.number);
            let adopting =
                crate::store::adopt(&mut conn, shift.session(), numbers, (page, ADOPT_PAGES), name);
            let (adopted, next) = shift.asks(adopting).await?;
            self.found.extend(adopted.into_iter().map(|adopted| (adopted.claim.id, adopted)));
            match next {
                Some(next) => page = next,
                None => return Ok(true),
            }
        }
    }
}
