//! A database with one host and one lane, and short words for what the stories do.

use std::time::{Duration, Instant};

use hostler::Status;
use hostler::store::{
    self, HostRow, Lane, Mark, NewTask, PgConnection, Role, SendOptions, Settle, Settled, Store, TaskRow,
};
use hostler::task::verdict::Verdict;
use hostler::task::{Claim, Operational, Session, TaskError, TaskId};

use crate::support::{Database, LONG, database};

pub(super) struct Stage {
    pub(super) database: Database,
    /// The host's hot connection.
    pub(super) conn: PgConnection,
    pub(super) session: Session,
    pub(super) store: Store,
    pub(super) lane: Lane,
}

pub(super) const HOST: Session = Session(1);

impl Stage {
    /// Sends a task with an id of another time. A send refuses those, so it gets it afterwards.
    pub(super) async fn send_as(&mut self, id: TaskId) {
        let sent = self.send().await;
        self.execute(&format!("update hostler.task set id = '{id}' where id = '{sent}'")).await;
    }

    pub(super) async fn new() -> Self {
        let database = database();
        let mut conn = database.conn().await;
        let store = Store::new(store::pool(&database.connect(), 4).await.expect("a pool"));
        join(&mut conn, HOST).await;
        let kind = store.insist_on_kind("some.task").await.expect("a kind");
        let lane = store.lane(kind, "default", 50).await.expect("a lane");
        Self { database, conn, session: HOST, store, lane }
    }

    /// A connection that listens to nobody: to hold a transaction open, or to look.
    pub(super) async fn other(&self) -> PgConnection {
        self.database.conn().await
    }

    pub(super) async fn cold(&self) -> PgConnection {
        store::conn(&self.database.connect(), Role::Cold).await.expect("a connection")
    }

    pub(super) fn options(&self) -> SendOptions {
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

    pub(super) async fn send(&self) -> TaskId {
        self.send_with(|_| {}).await
    }

    pub(super) async fn send_with(&self, change: impl FnOnce(&mut SendOptions)) -> TaskId {
        let mut options = self.options();
        change(&mut options);
        let task = new_task(TaskId::now_v7());
        self.store.insert(&options, std::slice::from_ref(&task)).await.expect("sent");
        task.id
    }

    pub(super) async fn send_many(&self, count: usize) {
        let tasks: Vec<NewTask> = (0..count).map(|_| new_task(TaskId::now_v7())).collect();
        self.store.insert(&self.options(), &tasks).await.expect("sent");
    }

    /// Claims everything there is to claim, under this number.
    pub(super) async fn claim(&mut self, number: i64) -> Vec<Claim> {
        claim_on(&mut self.conn, self.session, number, self.lane).await
    }

    pub(super) async fn claim_one(&mut self, number: i64) -> Claim {
        let mut claims = self.claim(number).await;
        assert_eq!(claims.len(), 1, "one task is due");
        claims.remove(0)
    }

    pub(super) async fn settle(&mut self, claim: Claim, verdict: Verdict) -> Settled {
        let settles = [settle_of(claim, verdict)];
        store::settle(&mut self.conn, self.session, &settles).await.expect("an answer")[0]
    }

    pub(super) async fn info(&self, id: TaskId) -> TaskRow {
        self.store.info(id, true, true).await.expect("an answer").expect("a known task")
    }

    pub(super) async fn status(&self, id: TaskId) -> Status {
        self.info(id).await.status
    }

    /// How many of the two places hold this id.
    pub(super) async fn places(&self, id: TaskId) -> (i64, i64) {
        let sql = "select (select count(*) from hostler.task where id = $1), \
            (select count(*) from hostler.history where id = $1)";
        sqlx::query_as(sql).bind(id).fetch_one(self.store.pool()).await.expect("counts")
    }

    pub(super) async fn execute(&mut self, sql: &str) {
        sqlx::query(sql).execute(&mut self.conn).await.expect(sql);
    }

    /// Declares a session dead, as a judge would that has seen its beat stand still.
    pub(super) async fn bury(&mut self, session: Session) {
        let lanes = [self.lane];
        let poll = store::poll(&mut self.conn, self.session, &lanes, 0).await.expect("a look");
        let seen = poll.hosts.into_iter().find(|host| host.session == session).expect("it is alive");
        assert!(store::declare_lost(&mut self.conn, seen).await.expect("an answer"));
    }
}

/// Takes back whatever can be, at a walk through the whole table.
pub(super) async fn recover(conn: &mut PgConnection) -> Vec<store::Recovered> {
    let walked =
        store::recover(conn, 1_000, 1 << 30, true).await.expect("an answer").expect("nobody else is at it");
    assert!(walked.whole);
    walked.recovered
}

/// After an unknown answer to claim 1: fences it off, and adopts what it brought as claim 2.
pub(super) async fn fence_and_adopt(conn: &mut PgConnection) -> Vec<Claim> {
    assert!(store::fence(conn, HOST, 2).await.expect("an answer"), "the session lives");
    let adopting = store::adopt(conn, HOST, (1, 2), (0, 1 << 30), |_| String::new());
    let (adopted, next) = adopting.await.expect("an answer");
    assert_eq!(next, None);
    adopted.into_iter().map(|adopted| adopted.claim).collect()
}

/// Returns once a statement in this database waits for another one's lock.
pub(super) async fn somebody_waits(database: &Database) {
    let sql = "select exists (select from pg_stat_activity \
        where datname = current_database() and wait_event_type = 'Lock')";
    let mut look = database.conn().await;
    let ends = Instant::now() + LONG;
    while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut look).await.expect("a look") {
        assert!(Instant::now() < ends, "nobody waits");
    }
}

pub(super) async fn join(conn: &mut PgConnection, session: Session) {
    let host = HostRow {
        session,
        pid: 1,
        lease_ms: 15_000,
        slots: 10,
        hostname: "here".to_owned(),
        version: "0".to_owned(),
        queues: None,
    };
    store::join(conn, &host).await.expect("joined");
}

pub(super) async fn claim_on(
    conn: &mut PgConnection,
    session: Session,
    number: i64,
    lane: Lane,
) -> Vec<Claim> {
    let marks = [Mark { lane, after: 0 }];
    let claimed = store::claim(conn, session, number, &marks, 1_000, |_| "some.task".to_owned()).await;
    claimed.expect("an answer").into_iter().map(|claimed| claimed.claim).collect()
}

pub(super) fn new_task(id: TaskId) -> NewTask {
    NewTask { id, args: b"{}".to_vec(), fingerprint: 7 }
}

pub(super) fn settle_of(claim: Claim, verdict: Verdict) -> Settle {
    Settle { claim, verdict, used: None, plugin: None, log_tail: String::new() }
}

/// The same claim once more, which only a test can have.
pub(super) fn forged(claim: &Claim) -> Claim {
    Claim {
        task: claim.task.clone(),
        previous_error: claim.previous_error.clone(),
        args: claim.args.clone(),
        ..*claim
    }
}

pub(super) fn complete() -> Verdict {
    Verdict::Complete(b"1".to_vec())
}

pub(super) fn release() -> Verdict {
    Verdict::Release("a test".to_owned())
}

pub(super) fn retry() -> Verdict {
    Verdict::Retry(error(), Duration::ZERO)
}

pub(super) fn error() -> TaskError {
    TaskError::new(Operational::UnhandledError, "a test")
}

/// The state a settle brought about; `None` if its claim was lost.
pub(super) fn written(settled: Settled) -> Option<Status> {
    match settled {
        Settled::Written { status, .. } => Some(status),
        Settled::ClaimLost => None,
    }
}
