//! A host that is killed half-way through a task.

use std::time::Instant;

use serde_json::json;

use super::{Serving, on, send};
use crate::support::{LONG, database, plugins_dir};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_hosts_task_goes_on_after_its_last_step() {
    let database = database();
    let serving = Serving::start(&database, plugins_dir(), &["--lease", "1s"]);
    let id = send(&database, "flaky.steps", &json!({ "steps": 3, "hold_ms": 240_000 }));
    let task: uuid::Uuid = id.parse().expect("an id");
    let mut conn = database.conn().await;
    let began = Instant::now();
    let kept = "select count(*) from hostler.checkpoint where task = $1";
    while sqlx::query_scalar::<_, i64>(kept).bind(task).fetch_one(&mut conn).await.expect("a count") < 2 {
        assert!(began.elapsed() < LONG, "it never got to its last step");
    }
    // SIGKILL.
    drop(serving);
    let serving = Serving::start(&database, plugins_dir(), &["--lease", "1s"]);
    assert_eq!(on(&database, &["get", &id, "--timeout", "1m"]).ends(0).line(), "[1,1,2]");
    assert_eq!(serving.terminate(), Some(0));
    // Nobody needs the steps of a task that ended.
    assert_eq!(hostler::store::sweep(&mut conn, 100).await.expect("swept"), 3);
}
