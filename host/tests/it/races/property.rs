//! Any sequence of sends, claims, outcomes, cancels and lost hosts keeps to the table of legal moves, and
//! the database agrees with the table.
//!
//! The sequences come from seeds, so a failure names the one that shows it again.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use fastrand::Rng;
use hostler::Status;
use hostler::store::{Claimed, SendOptions, Settled, expire, promote};
use hostler::task::verdict::{Verdict, decide, release};
use hostler::task::{
    Backoff, Claim, Edge, GuestFailure, GuestRetry, Outcome, Report, RetryPolicy, Session, TaskId, Used,
};

use super::ledger::{Ledger, cancel, settle, settle_of};

fn policy() -> RetryPolicy {
    RetryPolicy { max_retries: 2, backoff: Backoff::Fixed(vec![Duration::ZERO]), jitter: false, on: None }
}

/// Anything a guest or a host can do to an attempt.
fn outcome(rng: &mut Rng) -> Outcome {
    let failure = |retry| {
        Outcome::Failed(GuestFailure { code: "BUSY".to_owned(), message: String::new(), data: None, retry })
    };
    match rng.u8(0..12) {
        0..3 => Outcome::Returned(b"1".to_vec()),
        3 => failure(GuestRetry::ByPolicy),
        4 => failure(GuestRetry::Never),
        5 => failure(GuestRetry::AfterMs(0)),
        6 => Outcome::Trapped("x".to_owned()),
        7 => Outcome::OutOfTime(1),
        8 => Outcome::Cancelled,
        9 => Outcome::Expired,
        _ => Outcome::Interrupted("x".to_owned()),
    }
}

fn verdict(rng: &mut Rng, claim: &Claim) -> Verdict {
    let report = Report {
        outcome: outcome(rng),
        used: Used::default(),
        log_tail: String::new(),
        stderr_tail: String::new(),
    };
    decide(claim, &policy(), report, Utc::now(), rng.f64())
}

#[derive(Debug, Clone, Copy)]
struct Model {
    status: Status,
    attempts: u32,
    retries: u32,
    releases: u32,
    redeliveries: u32,
    redeliveries_max: u32,
    cancel_requested: bool,
    late: bool,
    session: Option<Session>,
}

impl Model {
    fn new(redeliveries_max: u32, late: bool) -> Self {
        Self {
            status: Status::Pending,
            attempts: 0,
            retries: 0,
            releases: 0,
            redeliveries: 0,
            redeliveries_max,
            cancel_requested: false,
            late,
            session: None,
        }
    }

    fn go(&mut self, edge: Edge) {
        let next = self.status.after(edge);
        self.status = next.unwrap_or_else(|| panic!("{edge:?} is illegal: {self:?}"));
        match edge {
            Edge::Claim => self.attempts += 1,
            Edge::Retry => self.retries += 1,
            Edge::Release => self.releases += 1,
            Edge::HostLost => self.redeliveries += 1,
            Edge::Complete | Edge::Fail | Edge::Cancel | Edge::Expire => {}
        }
        if self.status != Status::Running {
            self.session = None;
        }
    }

    fn settle(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Retry(..) | Verdict::Release(_) | Verdict::Postpone(_) if self.cancel_requested => {
                self.go(Edge::Cancel)
            }
            other => self.go(other.edge()),
        }
    }

    fn cancel(&mut self) {
        match self.status {
            Status::Pending => self.go(Edge::Cancel),
            Status::Running => self.cancel_requested = true,
            _ => {}
        }
    }

    fn lose_host(&mut self) {
        self.go(if self.cancel_requested {
            Edge::Cancel
        } else if self.redeliveries >= self.redeliveries_max {
            Edge::Fail
        } else {
            Edge::HostLost
        });
    }

    fn claim(&self, id: TaskId) -> Claim {
        Claim {
            id,
            number: 1,
            task: "race.run".to_owned(),
            attempt: self.attempts,
            retries: self.retries,
            redeliveries: self.redeliveries,
            releases: self.releases,
            redeliveries_max: self.redeliveries_max,
            max_retries: (self.redeliveries_max == 0).then_some(0),
            good_until: None,
            claimed_at: Utc::now(),
            previous_error: None,
            args: Vec::new(),
        }
    }
}

#[test]
fn every_sequence_keeps_to_the_table_and_ends() {
    for seed in 0..5_000 {
        let mut rng = Rng::with_seed(seed);
        let mut task = Model::new(rng.u32(0..3), false);
        let (mut moves, mut retries) = (0, 0);
        while !task.status.is_final() {
            moves += 1;
            assert!(moves < 2_000, "seed {seed}: it never ends: {task:?}");
            match task.status {
                Status::Pending if rng.u8(0..50) == 0 => task.cancel(),
                Status::Pending => task.go(Edge::Claim),
                _ => match rng.u8(0..20) {
                    0 => task.cancel(),
                    1 => task.lose_host(),
                    2 => task.settle(&release(&task.claim(uuid::Uuid::nil()), "drained".to_owned())),
                    _ => task.settle(&verdict(&mut rng, &task.claim(uuid::Uuid::nil()))),
                },
            }
            assert!(task.retries >= retries && task.retries <= 2, "seed {seed}");
            retries = task.retries;
            let counted = task.retries + task.releases + task.redeliveries;
            let open = u32::from(task.status == Status::Running);
            let ends = u32::from(task.status.is_final());
            assert!(
                task.attempts - open <= counted + ends,
                "seed {seed}: each attempt but the last is counted"
            );
            if task.redeliveries_max == 0 {
                assert!(task.attempts <= 1, "seed {seed}: it started twice");
            }
        }
    }
}

struct World {
    ledger: Ledger,
    tasks: BTreeMap<TaskId, Model>,
    sessions: Vec<Session>,
    held: Vec<(Session, Claimed)>,
}

impl World {
    async fn send(&mut self, rng: &mut Rng) {
        let (redeliveries_max, late) = (rng.u8(0..3), rng.u8(0..6) == 0);
        let options = SendOptions {
            redeliveries_max: redeliveries_max.into(),
            max_retries: (redeliveries_max == 0).then_some(0),
            good_until: late.then(|| Utc::now() - TimeDelta::hours(1)),
            ..self.ledger.options()
        };
        let id = self.ledger.send_with(&options).await;
        self.tasks.insert(id, Model::new(redeliveries_max.into(), late));
    }

    async fn claim(&mut self, rng: &mut Rng) {
        promote(&mut self.ledger.conn, 100).await.expect("promoted");
        let session = self.sessions[rng.usize(..self.sessions.len())];
        match self.ledger.claim(session).await {
            Some(claimed) => {
                let task = self.tasks.get_mut(&claimed.claim.id).expect("a task that was sent");
                assert!(!task.late, "it is past its time");
                task.go(Edge::Claim);
                task.session = Some(session);
                assert_eq!(claimed.claim.attempt, task.attempts);
                assert_eq!(claimed.claim.retries, task.retries);
                self.held.push((session, claimed));
            }
            None => assert!(
                self.tasks.values().all(|t| t.late || t.status != Status::Pending),
                "something was due and was not claimed"
            ),
        }
    }

    async fn settle(&mut self, rng: &mut Rng) {
        if self.held.is_empty() {
            return;
        }
        let (session, claimed) = self.held.swap_remove(rng.usize(..self.held.len()));
        let id = claimed.claim.id;
        let verdict = verdict(rng, &claimed.claim);
        let settled = settle(&mut self.ledger.conn, session, &settle_of(claimed, verdict.clone())).await;
        let task = self.tasks.get_mut(&id).expect("sent");
        if self.sessions.contains(&session) {
            task.settle(&verdict);
            assert!(
                matches!(settled, Settled::Written { status, .. } if status == task.status),
                "{settled:?} {task:?}"
            );
        } else {
            assert_eq!(settled, Settled::ClaimLost, "its host is dead");
        }
    }

    async fn cancel(&mut self, rng: &mut Rng) {
        let Some((&id, task)) = rng.choice(self.tasks.iter_mut()) else { return };
        let status = cancel(&mut self.ledger.conn, id).await.expect("known");
        task.cancel();
        assert_eq!(Status::ALL[usize::try_from(status - 1).expect("a status")], task.status);
    }

    async fn lose_host(&mut self, rng: &mut Rng) {
        let dead = self.sessions.swap_remove(rng.usize(..self.sessions.len()));
        self.ledger.lose(dead).await;
        self.tasks.values_mut().filter(|task| task.session == Some(dead)).for_each(Model::lose_host);
        let new = self.ledger.join().await;
        self.sessions.push(new);
    }

    async fn expire(&mut self) {
        let mut expired = expire(&mut self.ledger.conn, 100).await.expect("an answer");
        expired.sort();
        let late = self.tasks.iter_mut().filter(|(_, task)| task.late && task.status == Status::Pending);
        let due: Vec<TaskId> = late
            .map(|(id, task)| {
                task.go(Edge::Expire);
                *id
            })
            .collect();
        assert_eq!(expired, due);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_agrees_with_the_table() {
    for seed in 0..12 {
        let mut rng = Rng::with_seed(seed);
        let mut ledger = Ledger::open().await;
        let sessions = vec![ledger.join().await, ledger.join().await];
        let mut world = World { ledger, tasks: BTreeMap::new(), sessions, held: Vec::new() };
        for _ in 0..150 {
            match rng.u8(0..20) {
                0..5 => world.send(&mut rng).await,
                5..11 => world.claim(&mut rng).await,
                11..16 => world.settle(&mut rng).await,
                16..18 => world.cancel(&mut rng).await,
                18 => world.lose_host(&mut rng).await,
                _ => world.expire().await,
            }
        }
        for (id, task) in &world.tasks {
            let status = world.ledger.check(*id).await;
            assert_eq!(status, task.status, "seed {seed}: {task:?}");
            let info = world.ledger.store.info(*id, false, false).await.expect("an answer").expect("known");
            let counts = (info.attempt, info.retries, info.releases, info.redeliveries);
            let model = (task.attempts, task.retries, task.releases, task.redeliveries);
            // A task that was lost once too often is not delivered again.
            assert_eq!(counts, model, "seed {seed}: {task:?}");
        }
    }
}
