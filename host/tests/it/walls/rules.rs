//! What a file may name. Every rule answers with the sentences that say what is wrong.

use super::source::Source;

/// Which room may name which; `docs/ARCHITECTURE.md` shows the same table.
pub(super) const DOORS: [(&str, &[&str]); 8] = [
    ("task", &[]),
    ("store", &["task"]),
    ("sandbox", &["task"]),
    ("dispatch", &["task", "store", "sandbox"]),
    ("client", &["task", "store"]),
    ("embedded", &[]),
    ("testing", &["task", "store", "sandbox", "dispatch", "client", "embedded"]),
    ("cli", &["task", "store", "sandbox", "dispatch", "client", "embedded", "testing"]),
];

/// Hosts keep time by the database's clock and by one that counts from the boot: what theirs say of the day is nobody's
/// business, and may be wrong.
pub(super) fn wall_clocks(source: &Source) -> Vec<String> {
    ["SystemTime", "Utc::now", "Local::now"]
        .into_iter()
        .filter(|clock| source.code.contains(clock))
        .map(|clock| format!("{}: names {clock}", source.path))
        .collect()
}

/// A room names only the rooms it has a door to, whatever way it spells them.
pub(super) fn closed_doors(source: &Source) -> Vec<String> {
    let Some(room) = source.room().filter(|room| !["lib", "main"].contains(room)) else { return Vec::new() };
    let Some((_, doors)) = DOORS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}: the room {room:?} is not in the table of doors", source.path)];
    };
    let mut wrong = Vec::new();
    for named in named_rooms(source) {
        let is_room = DOORS.iter().any(|(name, _)| *name == named);
        if !is_room && room != "cli" {
            wrong.push(format!("{}: names crate::{named}; name the room it comes from", source.path));
        } else if is_room && named != room && !doors.contains(&named.as_str()) {
            wrong.push(format!("{}: {room} may not name {named}", source.path));
        }
    }
    wrong
}

/// The first steps of all paths that begin at the crate: `crate::a`, `crate::{a, b::c}`, `hostler::a`, and as
/// many `super::` as lead there.
fn named_rooms(source: &Source) -> Vec<String> {
    let code: String = source.code.split_whitespace().collect::<Vec<_>>().join(" ");
    let code = code.replace(" ::", "::").replace(":: ", "::");
    let depth = depth(&source.path);
    let up = "super::".repeat(depth);
    let mut named = Vec::new();
    for start in ["crate::", "hostler::", up.as_str()] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            // `generated::hostler::…` is somebody else's path.
            if before.is_some_and(|c| c.is_alphanumeric() || "_$:".contains(c)) {
                continue;
            }
            let after = &code[at + start.len()..];
            let heads = match after.strip_prefix('{') {
                Some(group) => heads_of_group(group),
                None => vec![word(after).to_owned()],
            };
            // `super::` may well lead to something that is no room; only rooms are of interest there.
            let room = |head: &String| DOORS.iter().any(|(name, _)| name == head);
            named.extend(heads.into_iter().filter(|head| !head.is_empty() && (start != up || room(head))));
        }
    }
    named
}

/// How many steps up from a file's module lead to the crate.
fn depth(path: &str) -> usize {
    let inner = path.strip_prefix("host/src/").unwrap_or(path);
    inner.split('/').filter(|part| *part != "mod.rs").count()
}

fn heads_of_group(group: &str) -> Vec<String> {
    let (mut nested, mut heads, mut next) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => nested += 1,
            '}' if nested == 0 => break,
            '}' => nested -= 1,
            ',' if nested == 0 => next = true,
            c if next && !c.is_whitespace() => {
                heads.push(word(&group[at..]).to_owned());
                next = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Whether the code has this word, or one that it begins with an underscore after: `wasmtime_wasi`.
pub(super) fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-')
            && !after.is_some_and(char::is_alphanumeric)
    })
}

/// wasmtime stays in `sandbox`; sqlx in `store`, but for the caller's connection in the client's `send_in`.
pub(super) fn foreign_crates(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let mut wrong = Vec::new();
    if room != "sandbox" && names_crate(&source.code, "wasmtime") {
        wrong.push(format!("{}: wasmtime is named only in sandbox", source.path));
    }
    let signature = "tx: &mut sqlx::PgConnection,";
    let lines = source.code.lines().filter(|line| !(room == "client" && line.trim() == signature));
    if room != "store" && lines.into_iter().any(|line| names_crate(line, "sqlx")) {
        wrong.push(format!("{}: sqlx is named only in store", source.path));
    }
    wrong
}

/// SQL stands in files of its own. The migrator alone works before there is a schema to speak to.
pub(super) fn stray_sql(source: &Source) -> Vec<String> {
    if source.path == "host/src/store/migrate.rs" {
        return Vec::new();
    }
    let pairs = [
        ("select ", " from "),
        ("insert into ", " values"),
        ("insert into ", " select "),
        ("update ", " set "),
        ("delete from ", ""),
        ("create table ", ""),
        ("drop ", " if exists "),
        ("set_config(", ""),
        ("pg_notify(", ""),
        ("listen ", ";"),
    ];
    let is_sql = |text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        pairs.iter().any(|(start, within)| text.starts_with(start) && text.contains(within))
            || text.starts_with("select pg_")
    };
    let stray = source.strings.iter().filter(|text| is_sql(text));
    stray.map(|text| format!("{}: SQL outside host/sql: {text:?}", source.path)).collect()
}

/// The statements that a file runs: its `sql!("name")`.
pub(super) fn statements(source: &Source) -> Vec<String> {
    let calls = source.text.split("sql!(\"").skip(1);
    calls.filter_map(|rest| rest.split_once("\")").map(|(name, _)| name.to_owned())).collect()
}

/// A statement's file tells its story before it begins.
pub(super) fn story(path: &str, text: &str) -> Option<String> {
    let told = text.lines().next().is_some_and(|line| line.len() > 10 && line.starts_with("-- "));
    (!told).then(|| format!("{path}: starts with no comment on what it does"))
}

/// One round trip, one statement: a file with a second one could sleep between them, holding a lock.
pub(super) fn more_than_one(path: &str, text: &str) -> Option<String> {
    let code = text.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let statements = code.collect::<Vec<_>>().join("\n");
    // What stands between quotes is text.
    let statements: String = statements.split('\'').step_by(2).collect();
    let second = statements.trim_end().trim_end_matches(';').contains(';');
    second.then(|| format!("{path}: more than one statement"))
}

/// 300 lines ask the question, 500 end it.
pub(super) fn too_long(source: &Source) -> Option<String> {
    (source.lines() > 500).then(|| format!("{}: {} lines", source.path, source.lines()))
}

/// Tests wait for what they are about, never for a duration.
pub(super) fn sleeps(source: &Source) -> Option<String> {
    let calls = |call: &str| source.code.match_indices(call).any(|(at, _)| !source.code[..at].ends_with('_'));
    let sleeps = ["sleep(", "sleep_until(", "sleep_ms("].into_iter().any(calls);
    sleeps.then(|| format!("{}: sleeps", source.path))
}
