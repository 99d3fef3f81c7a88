//! Batches of verdicts: which statement writes one is nobody's business.

use hostler::store::{self, Settle};
use hostler::task::verdict::Verdict;
use hostler::task::{Claim, Used};
use hostler::{Status, TaskId};
use serde_json::Value;

use super::stage::{HOST, Stage, error, forged, retry, settle_of, written};

fn completed(claim: Claim) -> Settle {
    Settle {
        used: Some(Used { cpu_ms: 1, wall_ms: 2, memory_bytes_peak: 3 << 16, result_bytes: 1 }),
        plugin: Some(5),
        log_tail: "its last words".to_owned(),
        ..settle_of(claim, Verdict::Complete(b"1".to_vec()))
    }
}

/// What is on record, but for what is its own: the id, and when it was sent and claimed and when it ended.
async fn record(stage: &mut Stage, id: TaskId) -> Value {
    let sql = "select to_jsonb(h) - array['id', 'sent_at', 'claimed_at', 'finished_at'] from hostler.history h \
        where id = $1 and finished_at >= claimed_at";
    sqlx::query_scalar(sql).bind(id).fetch_one(&mut stage.conn).await.expect("a row")
}

#[tokio::test]
async fn a_completed_attempt_leaves_the_same_record_alone_and_beside_others() {
    let mut stage = Stage::new().await;
    for keep_input in [true, false] {
        let (alone, beside) = (
            stage.send_with(|options| options.keep_input = keep_input).await,
            stage.send_with(|options| options.keep_input = keep_input).await,
        );
        let (failed, retried) = (stage.send().await, stage.send().await);
        let mut claims = stage.claim(1).await;
        claims.sort_by_key(|claim| claim.id);
        let [one, two, three, four]: [Claim; 4] = claims.try_into().expect("four");
        let late = forged(&one);

        let first = store::settle(&mut stage.conn, HOST, &[completed(one)]).await.expect("settled");
        let fail = Verdict::Fail(error());
        let rest = [completed(two), completed(late), settle_of(three, fail), settle_of(four, retry())];
        let rest = store::settle(&mut stage.conn, HOST, &rest).await.expect("settled");
        let states: Vec<_> = first.into_iter().chain(rest).map(written).collect();
        let complete = Some(Status::Completed);
        assert_eq!(states, [complete, complete, None, Some(Status::Failed), Some(Status::Pending)]);

        let (one, two) = (record(&mut stage, alone).await, record(&mut stage, beside).await);
        assert_eq!(one, two);
        assert_eq!((one["status"].as_i64(), one["plugin"].as_i64()), (Some(3), Some(5)));
        assert_eq!(one["args"].is_string(), keep_input);
        assert_eq!((stage.places(failed).await, stage.places(retried).await), ((0, 1), (1, 0)));
        stage.execute("delete from hostler.task").await;
    }
}
