//! Holds the rooms apart: reads the source and checks what `docs/ARCHITECTURE.md` promises about it.

mod rules;
mod source;
mod wrong;

use std::collections::BTreeMap;
use std::fs;

use hostler::Status;
use hostler::task::Edge;

use rules::DOORS;
use source::{Source, read, root, sources, walk};

fn check(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    let wrong: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rooms_name_only_the_rooms_they_have_a_door_to() {
    check(&sources("host/src"), rules::closed_doors);
}

#[test]
fn wasmtime_and_sqlx_stay_in_their_rooms() {
    check(&sources("host/src"), rules::foreign_crates);
}

#[test]
fn hosts_look_at_no_wall_clock() {
    check(&sources("host/src/dispatch"), rules::wall_clocks);
}

#[test]
fn sql_stands_in_files_of_its_own() {
    check(&sources("host/src"), rules::stray_sql);
}

#[test]
fn every_file_of_sql_is_one_statement_with_a_story_and_one_user() {
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    for name in sources("host/src").iter().flat_map(rules::statements) {
        *used.entry(name).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root().join("host/sql")).expect("host/sql") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = read(&format!("host/sql/{name}.sql"));
        wrong.extend(rules::story(&name, &text).into_iter().chain(rules::more_than_one(&name, &text)));
        match used.remove(&name) {
            Some(1) => {}
            users => wrong.push(format!("{name}.sql has {} users", users.unwrap_or(0))),
        }
    }
    wrong.extend(used.into_keys().map(|name| format!("sql!({name:?}) has no file")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let all: Vec<Source> =
        ["host", "guest-sdk", "plugins", "torture"].into_iter().flat_map(sources).collect();
    check(&all, |source| rules::too_long(source).into_iter().collect());
    let mut lines: Vec<usize> =
        all.iter().filter(|s| s.path.starts_with("host/src/")).map(Source::lines).collect();
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    println!("host/src: {} files, {median} lines in the median", lines.len());
    assert!(median <= 200, "{median} lines in the median: rooms are growing into halls");
}

#[test]
fn tests_never_sleep() {
    check(&sources("host/tests"), |source| rules::sleeps(source).into_iter().collect());
}

#[test]
fn every_file_of_tests_is_run() {
    let all = sources("host/tests/it");
    for source in &all {
        let (dir, file) = source.path.rsplit_once('/').expect("a path");
        if file == "main.rs" {
            continue;
        }
        let name = file.strip_suffix(".rs").expect("Rust");
        let parent =
            if dir == "host/tests/it" { "host/tests/it/main.rs".to_owned() } else { format!("{dir}.rs") };
        let parent = all.iter().find(|s| s.path == parent).unwrap_or_else(|| panic!("{parent} is missing"));
        let module = format!("mod {name};");
        let registered = parent
            .code
            .lines()
            .map(str::trim)
            .any(|line| line == module || line == format!("pub(crate) {module}"));
        assert!(registered, "{} has no `mod {name};`", parent.path);
    }
}

#[test]
fn everything_that_misbehaves_is_seen_to() {
    let plugin = Source::new("plugins/misbehave/src/lib.rs", &read("plugins/misbehave/src/lib.rs"));
    let (_, list) = plugin.code.split_once('[').expect("a list of tasks");
    let (list, _) = list.split_once(']').expect("an end of the list");
    let names = list.split(',').map(|path| path.rsplit("::").next().unwrap_or("").trim());
    let tests: String =
        sources("host/tests/it").iter().flat_map(|s| s.strings.clone()).collect::<Vec<_>>().join("\n");
    let (seen, missed): (Vec<&str>, Vec<&str>) =
        names.filter(|name| !name.is_empty()).partition(|name| tests.contains(*name));
    assert!(seen.len() > 5 && missed.is_empty(), "no test mentions {missed:?}");
}

/// The rows of the table in the architecture page that follows this heading, without head and rule.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = read("docs/ARCHITECTURE.md");
    let (_, after) =
        page.split_once(&format!("## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rows =
        after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.skip(2).map(cells).collect()
}

#[test]
fn the_drawn_lifecycle_is_the_one_in_the_code() {
    let edges = [
        ("claim", Edge::Claim),
        ("complete", Edge::Complete),
        ("fail", Edge::Fail),
        ("retry", Edge::Retry),
        ("release", Edge::Release),
        ("host lost", Edge::HostLost),
        ("cancel", Edge::Cancel),
        ("expire", Edge::Expire),
    ];
    let mut coded = Vec::new();
    for (name, edge) in edges {
        for from in Status::ALL {
            coded.extend(from.after(edge).map(|to| [name.to_owned(), from.to_string(), to.to_string()]));
        }
    }
    let mut drawn: Vec<[String; 3]> =
        table("Lifecycle").into_iter().map(|row| [row[0].clone(), row[1].clone(), row[2].clone()]).collect();
    coded.sort();
    drawn.sort();
    assert_eq!(drawn, coded);
    let status = read("host/src/task/status.rs");
    let variants =
        status.split("pub enum Edge {").nth(1).and_then(|s| s.split('}').next()).expect("the edges");
    let count = variants.lines().filter(|line| line.trim().ends_with(',')).count();
    assert_eq!(count, edges.len(), "an edge is missing here");
}

#[test]
fn the_drawn_walls_are_the_ones_that_stand() {
    let drawn = table("Walls");
    let shown: Vec<(String, Vec<String>)> = drawn
        .into_iter()
        .map(|row| {
            let words = row[1].split(',').map(|word| word.trim().trim_matches('`').to_owned());
            (row[0].trim_matches('`').to_owned(), words.filter(|word| word != "–").collect())
        })
        .collect();
    let standing: Vec<(String, Vec<String>)> = DOORS
        .iter()
        .map(|(room, doors)| ((*room).to_owned(), doors.iter().map(|door| (*door).to_owned()).collect()))
        .collect();
    assert_eq!(shown, standing);
}

#[test]
fn every_test_that_the_architecture_names_exists() {
    let mut all = sources("host");
    all.extend(sources("guest-sdk"));
    let mut files = Vec::new();
    walk(&root().join("host/sql"), &mut files);
    let page = read("docs/ARCHITECTURE.md") + &read("docs/RELIABILITY.md");
    let named: Vec<&str> =
        page.split('`').skip(1).step_by(2).filter(|word| word.starts_with("test ")).collect();
    assert!(named.len() > 10, "the invariants name their tests");
    for name in named {
        let function = format!("fn {}(", &name["test ".len()..]);
        assert!(all.iter().any(|source| source.code.contains(&function)), "there is no {name}");
    }
}
