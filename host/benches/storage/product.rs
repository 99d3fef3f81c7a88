//! What hostler does: a hot row that a claim updates in place, moved to history by the settle.

use hostler::store::{
    self, Bulk, HostRow, Mark, NewTask, Role, SendOptions, Settle, Settled, Store, claim, join, settle,
};
use hostler::task::verdict::Verdict;
use hostler::task::{Claim, Session, TaskId, Used};

use crate::meter::Watched;

pub(crate) struct Product {
    session: Session,
    options: SendOptions,
    /// Whether a claim begins behind the last one.
    marked: bool,
    mark: i64,
    number: i64,
    held: Vec<Claim>,
}

impl Product {
    pub(crate) async fn set_up(url: &str, keep_input: bool, marked: bool) -> Self {
        let connect = store::Connect::parse(url).expect("a URL");
        store::migrate(&connect).await.expect("a schema");
        let store = Store::new(store::pool(&connect, 1).await.expect("a pool"));
        let kind = store.insist_on_kind("bench.noop").await.expect("a kind");
        let lane = store.lane(kind, "default", 50).await.expect("a lane");
        store.pool().close().await;
        let session = Session(1);
        let mut conn = store::conn(&connect, Role::Hot).await.expect("a connection");
        let host = HostRow {
            session,
            pid: 1,
            lease_ms: 15_000,
            slots: 256,
            hostname: "bench".to_owned(),
            version: "0".to_owned(),
            queues: None,
        };
        join(&mut conn, &host).await.expect("joined");
        let options = SendOptions {
            lane,
            delay_ms: None,
            good_until: None,
            redeliveries_max: 3,
            max_retries: None,
            keep_input,
            parent: None,
        };
        Self { session, options, marked, mark: 0, number: 0, held: Vec::new() }
    }

    pub(crate) async fn send(&mut self, sender: &mut Watched, ids: &[TaskId], args: &[u8]) {
        let new = |id: &TaskId| NewTask { id: *id, args: args.to_vec(), fingerprint: 0x5eed };
        let tasks: Vec<NewTask> = ids.iter().map(new).collect();
        let mut tx = store::begin(&mut sender.conn).await.expect("a transaction");
        let mut bulk = Bulk::begin(&mut tx, &self.options).await.expect("begun");
        bulk.send(&tasks).await.expect("sent");
        bulk.finish().await.expect("sent");
        tx.commit().await.expect("sent");
    }

    pub(crate) async fn claim(&mut self, host: &mut Watched, batch: usize) -> usize {
        self.number += 1;
        let after = if self.marked { self.mark } else { 0 };
        let marks = [Mark { lane: self.options.lane, after }];
        let limit = i64::try_from(batch).expect("a small number");
        let task_of = |_| "bench.noop".to_owned();
        let claimed = claim(&mut host.conn, self.session, self.number, &marks, limit, task_of).await;
        let claimed = claimed.expect("claimed");
        self.mark = claimed.iter().map(|c| c.pos).max().unwrap_or(self.mark);
        self.held = claimed.into_iter().map(|c| c.claim).collect();
        self.held.len()
    }

    pub(crate) async fn settle(&mut self, host: &mut Watched, result: &[u8]) {
        let used = Used {
            cpu_ms: 1,
            wall_ms: 1,
            memory_bytes_peak: 1 << 20,
            result_bytes: u32::try_from(result.len()).expect("a small number"),
        };
        let settles: Vec<Settle> = std::mem::take(&mut self.held)
            .into_iter()
            .map(|claim| Settle {
                claim,
                verdict: Verdict::Complete(result.to_vec()),
                used: Some(used),
                plugin: Some(1),
                log_tail: String::new(),
            })
            .collect();
        let settled = settle(&mut host.conn, self.session, &settles).await.expect("settled");
        assert!(settled.iter().all(|s| matches!(s, Settled::Written { .. })), "every claim held");
    }

    pub(crate) fn looks() -> Vec<String> {
        let today = chrono::Utc::now().format("%Y%m%d").to_string();
        let final_ones = include_str!("../../sql/look_day.sql").replace("20000101", &today);
        vec![include_str!("../../sql/look_live.sql").to_owned(), final_ones]
    }
}
