//! A database with one task name and as many sessions as a race needs, and no host at work.

use std::collections::BTreeMap;
use std::time::Duration;

use hostler::store::{
    Claimed, HostRow, Lane, Mark, NewTask, Observation, Offer, PgConnection, SendOptions, Settle, Settled,
    Store,
};
use hostler::task::verdict::Verdict;
use hostler::task::{CONTRACT, Descriptor, ErrorCode, Session, Status, TaskError, TaskId};
use serde_json::json;

use crate::support::{Database, database};

pub(crate) struct Ledger {
    pub(crate) database: Database,
    pub(crate) store: Store,
    pub(crate) conn: PgConnection,
    pub(crate) lane: Lane,
    pub(crate) kind: i32,
    claims: i64,
}

impl Ledger {
    pub(crate) async fn open() -> Self {
        let database = database();
        let mut conn = database.conn().await;
        let descriptor =
            json!({"contract": CONTRACT, "name": "race", "version": "1", "tasks": [{"name": "run"}]});
        let descriptor = Descriptor::parse(descriptor.to_string().as_bytes()).expect("valid");
        let offer = Offer { descriptor: &descriptor, digest: "0000" };
        let published = hostler::store::publish(&mut conn, &offer).await.expect("published");
        let store = Store::new(hostler::store::pool(&database.connect(), 4).await.expect("a pool"));
        let kind = published.kinds[0].1;
        let lane = store.lane(kind, "default", 50).await.expect("a lane");
        Self { database, store, conn, lane, kind, claims: 0 }
    }

    pub(crate) fn options(&self) -> SendOptions {
        SendOptions {
            lane: self.lane,
            delay_ms: None,
            good_until: None,
            redeliveries_max: 3,
            max_retries: None,
            keep_input: true,
            parent: None,
        }
    }

    pub(crate) async fn send(&mut self) -> TaskId {
        let options = self.options();
        self.send_with(&options).await
    }

    pub(crate) async fn send_with(&mut self, options: &SendOptions) -> TaskId {
        let task = new_task();
        let id = task.id;
        hostler::store::insert(&mut self.conn, options, &[task], true).await.expect("sent");
        id
    }

    pub(crate) async fn join(&mut self) -> Session {
        let session = Session(fastrand::i64(1..i64::MAX));
        let host = HostRow {
            session,
            pid: 1,
            lease_ms: 15_000,
            slots: 1,
            hostname: "race".to_owned(),
            version: "1".to_owned(),
            queues: None,
        };
        hostler::store::join(&mut self.conn, &host).await.expect("joined");
        session
    }

    /// The next claim number; never used twice.
    pub(crate) fn number(&mut self) -> i64 {
        self.claims += 1;
        self.claims
    }

    /// Claims one task for a session.
    pub(crate) async fn claim(&mut self, session: Session) -> Option<Claimed> {
        let (number, lane) = (self.number(), self.lane);
        claim(&mut self.conn, session, number, lane).await
    }

    /// A session that was declared dead, and whose tasks were taken back.
    pub(crate) async fn lose(&mut self, session: Session) {
        declare_lost(&mut self.conn, session).await;
        self.recover().await;
    }

    /// Takes back whatever the dead held.
    pub(crate) async fn recover(&mut self) {
        hostler::store::recover(&mut self.conn, 100, 1 << 30, true).await.expect("an answer").expect("alone");
    }

    pub(crate) async fn status(&self, id: TaskId) -> Status {
        let looks = self.store.look(&[id]).await.expect("an answer");
        assert_eq!(looks.len(), 1, "in exactly one place");
        looks[0].status
    }

    /// What holds after any sequence of moves: one place, one final state, attempts 1..=n with one row each.
    pub(crate) async fn check(&self, id: TaskId) -> Status {
        let status = self.status(id).await;
        let info = self.store.info(id, false, false).await.expect("an answer").expect("known");
        assert_eq!(info.status, status);
        let closed = self.store.attempts(id).await.expect("an answer");
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        for attempt in closed.iter().chain(&info.last_attempt) {
            *numbers.entry(attempt.number).or_default() += 1;
        }
        let open = u32::from(status == Status::Running);
        let expected: BTreeMap<u32, u32> = (1..=info.attempt - open).map(|n| (n, 1)).collect();
        assert_eq!(numbers, expected, "{status}: attempts without gaps, one row each");
        status
    }
}

pub(crate) fn new_task() -> NewTask {
    NewTask { id: uuid::Uuid::now_v7(), args: b"{}".to_vec(), fingerprint: 1 }
}

pub(crate) async fn claim(
    conn: &mut PgConnection,
    session: Session,
    number: i64,
    lane: Lane,
) -> Option<Claimed> {
    let marks = [Mark { lane, after: i64::MIN }];
    let claimed = hostler::store::claim(conn, session, number, &marks, 1, |_| "race.run".to_owned()).await;
    let mut claimed = claimed.expect("an answer");
    assert!(claimed.len() <= 1);
    claimed.pop()
}

pub(crate) fn settle_of(claimed: Claimed, verdict: Verdict) -> Settle {
    Settle { claim: claimed.claim, verdict, used: None, plugin: None, log_tail: String::new() }
}

pub(crate) async fn settle(conn: &mut PgConnection, session: Session, settle: &Settle) -> Settled {
    hostler::store::settle(conn, session, std::slice::from_ref(settle)).await.expect("an answer")[0]
}

pub(crate) fn complete() -> Verdict {
    Verdict::Complete(b"1".to_vec())
}

pub(crate) fn retry() -> Verdict {
    Verdict::Retry(TaskError::new(ErrorCode::User("AGAIN".to_owned()), "once more"), Duration::ZERO)
}

/// As `Store::cancel` does it, on this connection.
pub(crate) async fn cancel(conn: &mut PgConnection, id: TaskId) -> Option<i16> {
    use sqlx::Row;
    let sql = include_str!("../../../sql/cancel.sql");
    let row = sqlx::query(sql).bind(id).fetch_optional(conn).await.expect("an answer");
    row.map(|row| row.get("status"))
}

pub(crate) async fn declare_lost(conn: &mut PgConnection, session: Session) -> bool {
    let seen = Observation { session, beat: 0, lease_ms: 15_000 };
    hostler::store::declare_lost(conn, seen).await.expect("an answer")
}
