//! How far a task says it is.

use hostler::{Include, Status};
use serde_json::json;

use super::{Stage, eventually};
use crate::support::LONG;

/// Writes down when the database is told of progress.
const WITNESS: &str = "
    create table public.told (task uuid, at timestamptz default clock_timestamp());
    create function public.tell() returns trigger language plpgsql as $$
    begin
        insert into public.told (task) values (new.id);
        return new;
    end $$;
    create trigger tell after update on hostler.task for each row
        when (new.progress is distinct from old.progress and new.progress is not null)
        execute function public.tell();";

#[tokio::test(flavor = "multi_thread")]
async fn info_shows_how_far_a_running_task_is() {
    let stage = Stage::set().await;
    let args = json!({"steps": 2, "ms": 0, "stay": true});
    let handle = stage.client.send("misbehave.step", args).await.expect("sent");
    let (info, progress) = eventually("a report", async || {
        let info = handle.info(Include::empty()).await.expect("an answer").expect("known");
        let progress = info.progress.clone()?;
        Some((info, progress))
    })
    .await;
    assert_eq!(info.status, Status::Running);
    assert_eq!((progress.fraction, progress.note.as_str()), (1.0, "step 2 of 2"));
    handle.cancel().await.expect("told");
    handle.get(Some(LONG)).await.expect("it returns when it is asked to stop");
    let info = handle.info(Include::empty()).await.expect("an answer").expect("known");
    assert!(info.progress.is_none(), "nothing runs any more");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_reports_costs_at_most_one_write_a_second() {
    let stage = Stage::set().await;
    stage.execute(WITNESS).await;
    let args = json!({"steps": 4_000_000_000_u32, "ms": 1});
    let handle = stage.client.send("misbehave.step", args).await.expect("sent");
    let mut conn = stage.database.conn().await;
    // Cancels of other tasks, and delayed tasks coming due, make the host poll all the time.
    let writes = eventually("three writes", async || {
        let delay = std::time::Duration::from_millis(1);
        let other =
            stage.client.task("text.word_count").delay(delay).send(json!({"text": ""})).await.expect("sent");
        other.get(Some(LONG)).await.expect("done");
        let writes: Vec<chrono::DateTime<chrono::Utc>> =
            sqlx::query_scalar("select at from public.told order by at")
                .fetch_all(&mut conn)
                .await
                .expect("a list");
        (writes.len() >= 3).then_some(writes)
    })
    .await;
    for pair in writes.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart.num_milliseconds() >= 990, "two writes {apart} apart");
    }
    handle.cancel().await.expect("told");
    stage.clear().await;
}
