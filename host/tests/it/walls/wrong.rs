//! A wall that cannot fail is painted on: each rule, against a small snippet that breaks it.

use super::rules::{
    closed_doors, foreign_crates, more_than_one, sleeps, statements, story, stray_sql, too_long, wall_clocks,
};
use super::source::Source;

fn doors(path: &str, text: &str) -> usize {
    closed_doors(&Source::new(path, text)).len()
}

#[test]
fn a_forbidden_door_is_found_however_it_is_spelled() {
    let store = "host/src/store/claim.rs";
    for wrong in [
        "use crate::sandbox::Call;",
        "use crate::{sandbox::{Call, Stop}, task::TaskId};",
        "use crate::{\n    task::{Claim, Session},\n    dispatch,\n};",
        "fn f() { crate::sandbox::run() }",
        "use crate :: client;",
        "use super::super::sandbox;",
        "pub(in crate::dispatch) struct X;",
        "use crate::TaskHandle;",
    ] {
        assert_eq!(doors(store, wrong), 1, "{wrong}");
    }
    assert_eq!(doors("host/src/task/mod.rs", "use super::store;"), 1, "a step up is a way out");
    assert_eq!(doors("host/src/attic/mod.rs", ""), 1, "an unknown room");
    assert_eq!(doors("host/src/client/send.rs", "use crate::{dispatch, cli};"), 2);
}

#[test]
fn an_open_door_and_mere_words_are_fine() {
    let store = "host/src/store/claim.rs";
    for right in [
        "use crate::task::{Claim, Session};\nuse super::{Lane, sql};",
        "// crate::sandbox is elsewhere\n/* crate::client */ use crate::store::Lane;",
        "fn f() -> &'static str { \"crate::sandbox\" }",
        "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' } use crate::task; // crate::cli",
        "const RAW: &str = r#\"use \"crate::cli\"\"#;",
        "use other_crate::sandbox;",
    ] {
        assert_eq!(doors(store, right), 0, "{right}");
    }
    assert_eq!(doors("host/src/cli/serve.rs", "use hostler::{dispatch::Host, Client};"), 0);
    assert_eq!(doors("host/src/testing.rs", "use crate::{client, dispatch};"), 0);
}

#[test]
fn a_wall_clock_is_found() {
    let wrong = |text: &str| wall_clocks(&Source::new("host/src/dispatch/clock.rs", text)).len();
    assert_eq!(wrong("fn f() { chrono::Utc::now(); std::time::SystemTime::now(); }"), 2);
    assert_eq!(wrong("// Utc::now\nuse chrono::{DateTime, Utc};"), 0);
}

#[test]
fn a_foreign_crate_is_found_outside_its_room() {
    let wrong = |path: &str, text: &str| foreign_crates(&Source::new(path, text)).len();
    assert_eq!(wrong("host/src/dispatch/shift.rs", "use wasmtime::Engine;"), 1);
    assert_eq!(wrong("host/src/client/mod.rs", "use wasmtime_wasi::p2;"), 1);
    assert_eq!(wrong("host/src/client/send.rs", "fn f(pool: sqlx::PgPool) {}"), 1);
    assert_eq!(wrong("host/src/dispatch/send.rs", "    tx: &mut sqlx::PgConnection,"), 1);
    assert_eq!(wrong("host/src/client/send.rs", "    tx: &mut sqlx::PgConnection,"), 0);
    assert_eq!(wrong("host/src/sandbox/mod.rs", "use wasmtime::Engine; // sqlx"), 0);
}

#[test]
fn sql_in_a_string_is_found() {
    let wrong = |text: &str| stray_sql(&Source::new("host/src/client/mod.rs", text)).len();
    assert_eq!(wrong("let q = \"select id\\n from hostler.task\";"), 1);
    assert_eq!(wrong("let q = r#\"update hostler.task\n set x = 1\"#;"), 1);
    assert_eq!(
        wrong("let words = \"select a task from the list\";"),
        1,
        "words that read like SQL are no loss"
    );
    assert_eq!(wrong("let words = \"updates the row\"; // delete from x"), 0);
    assert_eq!(story("x.sql", "select 1"), Some("x.sql: starts with no comment on what it does".to_owned()));
    assert!(more_than_one("x.sql", "-- One; with a comment.\nselect 'a; b';\n").is_none());
    assert!(more_than_one("x.sql", "-- Two.\nselect 1;\nselect 2").is_some());
    assert_eq!(statements(&Source::new("x.rs", "sql!(\"a\"); sql!(\"b\")")), ["a", "b"]);
}

#[test]
fn halls_and_naps_are_found() {
    assert!(too_long(&Source::new("x.rs", &"\n".repeat(501))).is_some());
    assert!(sleeps(&Source::new("x.rs", "thread::sleep(LONG)")).is_some());
    assert!(sleeps(&Source::new("x.rs", "tokio::time::sleep_until(then)")).is_some());
    assert!(sleeps(&Source::new("x.rs", "call(\"sleep(\") // sleep(")).is_none());
}
