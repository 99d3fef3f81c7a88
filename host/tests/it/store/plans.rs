//! The hot statements keep their plans: the intended index, whatever the table looked like when they were
//! planned. And a claim is a HOT update: it touches no index.

use hostler::store::{self, PgConnection};
use serde_json::Value;

use super::stage::Stage;

/// What a plan does, in words: node types and indexes.
async fn plan(conn: &mut PgConnection, sql: &str, args: &str) -> String {
    sqlx::raw_sql(&format!("prepare hot as {sql}")).execute(&mut *conn).await.expect(sql);
    let explain = format!("explain (format json) execute hot({args})");
    let plan: Value =
        sqlx::query_scalar(&explain).persistent(false).fetch_one(&mut *conn).await.expect("a plan");
    sqlx::raw_sql("deallocate hot").execute(conn).await.expect("forgotten");
    let mut words = Vec::new();
    describe(&plan[0]["Plan"], &mut words);
    words.join("\n")
}

fn describe(node: &Value, words: &mut Vec<String>) {
    let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
    // Without a condition an index is read from end to end.
    let whole = if node["Index Name"].is_string() && !node["Index Cond"].is_string() { "whole " } else { "" };
    words.push(format!("{} {} {whole}{}", text("Node Type"), text("Relation Name"), text("Index Name")));
    for child in node["Plans"].as_array().into_iter().flatten() {
        describe(child, words);
    }
}

fn array(count: usize, element: &str, kind: &str) -> String {
    format!("array_fill({element}, array[{count}])::{kind}[]")
}

/// Each hot statement with arguments of this batch size and the indexes it is meant to use.
fn hot(count: usize) -> Vec<(&'static str, &'static str, String, Vec<&'static str>)> {
    let many = |element: &str, kind: &str| array(count, element, kind);
    let ids = many("'0190a5f0-0000-7000-8000-000000000000'::uuid", "uuid");
    let settle = [
        "1".to_owned(),
        ids.clone(),
        many("1", "bigint"),
        many("1", "smallint"),
        many("null::bytea", "bytea"),
        many("null::smallint", "smallint"),
        many("null::text", "text"),
        many("null::bytea", "bytea"),
        many("null::bigint", "bigint"),
        many("null::int", "int"),
        many("null::int", "int"),
        many("null::bigint", "bigint"),
        many("null::int", "int"),
        many("null::bytea", "bytea"),
    ];
    let complete = [
        "1".to_owned(),
        ids.clone(),
        many("1", "bigint"),
        many("null::bytea", "bytea"),
        many("null::int", "int"),
        many("null::int", "int"),
        many("null::bigint", "bigint"),
        many("null::int", "int"),
        many("null::bytea", "bytea"),
    ];
    let insert = [
        ids.clone(),
        many("''::bytea", "bytea"),
        many("1", "bigint"),
        "1, null, null, 3, null, true, null, true".to_owned(),
    ];
    vec![
        ("insert", include_str!("../../../sql/insert.sql"), insert.join(", "), vec!["ModifyTable task"]),
        (
            "insert_again",
            include_str!("../../../sql/insert_again.sql"),
            format!("{}, true", insert.join(", ")),
            vec!["ModifyTable task"],
        ),
        (
            "undo_insert",
            include_str!("../../../sql/undo_insert.sql"),
            ids.clone(),
            vec!["history_default_pkey", "task_pkey"],
        ),
        (
            "cancel",
            include_str!("../../../sql/cancel.sql"),
            "'0190a5f0-0000-7000-8000-000000000000'".to_owned(),
            vec!["task_pkey", "history_default_pkey"],
        ),
        (
            "progress",
            include_str!("../../../sql/progress.sql"),
            ["1", &ids, &many("1", "bigint"), &many("0.5", "real"), &many("''::text", "text")].join(", "),
            vec!["task_pkey"],
        ),
        (
            "claim",
            include_str!("../../../sql/claim.sql"),
            format!("1, 1, {}, {}, {count}", many("1", "int"), many("0", "bigint")),
            vec!["task_by_lane", "Tid Scan task"],
        ),
        ("settle", include_str!("../../../sql/settle.sql"), settle.join(", "), vec!["task_pkey"]),
        ("complete", include_str!("../../../sql/complete.sql"), complete.join(", "), vec!["task_pkey"]),
        (
            "promote",
            include_str!("../../../sql/promote.sql"),
            count.to_string(),
            vec!["task_by_lane", "Tid Scan task"],
        ),
        ("expire", include_str!("../../../sql/expire.sql"), count.to_string(), vec!["task_by_good_until"]),
        (
            "poll",
            include_str!("../../../sql/poll.sql"),
            format!("1, {}, 0, 30000", many("1", "int")),
            vec!["task_by_lane", "task_by_good_until", "lane_pkey"],
        ),
        (
            "strays",
            include_str!("../../../sql/strays.sql"),
            format!("1, 1, {ids}, 1, 0, 1000000000, {count}"),
            vec!["task_by_lane", "Tid Scan task"],
        ),
        (
            "recover",
            include_str!("../../../sql/recover.sql"),
            format!("{count}, 1024, 0"),
            vec!["Tid Range Scan task", "Tid Scan task"],
        ),
        (
            "adopt",
            include_str!("../../../sql/adopt.sql"),
            "1, 1, 2, 0, 1024".to_owned(),
            vec!["Tid Range Scan task"],
        ),
        (
            "claims_lost",
            include_str!("../../../sql/claims_lost.sql"),
            format!("1, {ids}, {}", many("1", "bigint")),
            vec!["task_pkey"],
        ),
        ("look_live", include_str!("../../../sql/look_live.sql"), ids, vec!["task_pkey"]),
    ]
}

const NEVER: [&str; 6] = [
    "Seq Scan task",
    "Seq Scan history",
    "Bitmap Heap Scan task",
    "Hash Join",
    "Merge Join",
    "whole task_pkey",
];

async fn check(conn: &mut PgConnection, when: &str) {
    for count in [1, 100, 500] {
        for (name, sql, args, indexes) in hot(count) {
            let plan = plan(conn, sql, &args).await;
            for index in indexes {
                assert!(plan.contains(index), "{name} of {count}, {when}: no {index} in\n{plan}");
            }
            for never in NEVER {
                assert!(!plan.contains(never), "{name} of {count}, {when}: {never} in\n{plan}");
            }
        }
    }
}

#[tokio::test]
async fn hot_statements_keep_to_their_indexes() {
    let mut stage = Stage::new().await;
    check(&mut stage.conn, "never analysed").await;
    stage.execute("analyze hostler.task").await;
    check(&mut stage.conn, "empty").await;
    for few in [1, 30] {
        stage.send_many(few).await;
        stage.execute("vacuum analyze hostler.task").await;
        check(&mut stage.conn, "small").await;
    }
    stage.send_many(20_000).await;
    check(&mut stage.conn, "grown since").await;
    stage.execute("analyze hostler.task").await;
    check(&mut stage.conn, "large").await;
}

/// A pooler may refuse what a connection sets when it begins. With the statistics of a table of any size at hand, the
/// server comes to the same plans for what is claimed, polled and looked for by itself.
#[tokio::test]
async fn statements_that_select_tasks_keep_to_their_indexes_without_the_settings_that_poolers_lose() {
    let mut stage = Stage::new().await;
    stage.send_many(20_000).await;
    stage.execute("analyze hostler.task").await;
    let mut conn: PgConnection = sqlx::Connection::connect(stage.database.url()).await.expect("a connection");
    for count in [1, 100] {
        for (name, sql, args, indexes) in hot(count) {
            if !["claim", "promote", "expire", "poll", "cancel"].contains(&name) {
                continue;
            }
            let plan = plan(&mut conn, sql, &args).await;
            assert!(indexes.iter().all(|index| plan.contains(index)), "{name} of {count}:\n{plan}");
            assert!(!plan.contains("Seq Scan task"), "{name} of {count}:\n{plan}");
        }
    }
}

#[tokio::test]
async fn the_short_way_to_a_result_is_one_index_of_one_day() {
    let mut stage = Stage::new().await;
    let day = chrono::Utc::now().format("%Y%m%d").to_string();
    let look = include_str!("../../../sql/look_day.sql").replace("20000101", &day);
    let ids = array(1, "'0190a5f0-0000-7000-8000-000000000000'::uuid", "uuid");
    let plan = plan(&mut stage.conn, &look, &ids).await;
    assert_eq!(plan.trim(), format!("Index Scan history_{day} history_{day}_pkey"));
}

#[tokio::test]
async fn a_claim_touches_no_index() {
    let mut stage = Stage::new().await;
    stage.send_many(3_000).await;
    let mut claimed = 0;
    for number in 1..=30 {
        let marks = [store::Mark { lane: stage.lane, after: 0 }];
        let some = store::claim(&mut stage.conn, stage.session, number, &marks, 100, |_| String::new()).await;
        claimed += some.expect("an answer").len();
    }
    assert_eq!(claimed, 3_000);
    stage.execute("select pg_stat_force_next_flush()").await;
    let sql = "select n_tup_hot_upd::float8 / n_tup_upd from pg_stat_user_tables where relname = 'task'";
    let ratio: f64 = sqlx::query_scalar(sql).fetch_one(&mut stage.conn).await.expect("a ratio");
    assert!(ratio > 0.95, "{ratio}");
}
