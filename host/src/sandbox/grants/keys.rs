//! Keys of a file: an unknown one is refused with the nearest known one, for a grant that is misspelt is no grant.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Refuses keys that are not among `known`. `at` is the table's name, empty for the whole file.
///
/// # Errors
/// The key, and the known one that is nearest to it.
pub(crate) fn check(table: &Table, at: &str, known: &[&str]) -> Result<(), String> {
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)));
    let place = if at.is_empty() { String::new() } else { format!(" in [{at}]") };
    Err(match nearest {
        Some(near) => format!("unknown key {unknown:?}{place}; the nearest known one is {near:?}"),
        None => format!("unknown key {unknown:?}{place}, which takes none"),
    })
}

/// Takes a table out of its parent; without one, an empty one.
///
/// # Errors
/// There is something else under that key.
pub(crate) fn take_table(parent: &mut Table, key: &str) -> Result<Table, String> {
    match parent.remove(key) {
        None => Ok(Table::new()),
        Some(Value::Table(table)) => Ok(table),
        Some(other) => Err(format!("{key:?} is a {}, not a table", other.type_str())),
    }
}

/// Takes an array of tables (`[[key]]`) out of its parent, each with known keys alone.
///
/// # Errors
/// There is something else, or an unknown key.
pub(crate) fn take_tables<T: DeserializeOwned>(
    parent: &mut Table,
    key: &str,
    known: &[&str],
) -> Result<Vec<T>, String> {
    let items = match parent.remove(key) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(format!("{key:?} is written as [[{key}]], once for each")),
    };
    let read = |item: Value| match item {
        Value::Table(table) => {
            check(&table, key, known)?;
            read(table, key)
        }
        other => Err(format!("{key:?} holds a {}; it is written as [[{key}]]", other.type_str())),
    };
    items.into_iter().map(read).collect()
}

/// Reads a table whose keys were checked.
///
/// # Errors
/// A value that cannot be.
pub(crate) fn read<T: DeserializeOwned>(table: Table, at: &str) -> Result<T, String> {
    table.try_into().map_err(|error: toml::de::Error| {
        let words = error.to_string();
        format!(
            "in [{at}]: {}",
            words.split('\n').map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ")
        )
    })
}
