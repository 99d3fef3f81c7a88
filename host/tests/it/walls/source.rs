//! Reads Rust just well enough: code without its comments and strings, and the strings by themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the workspace's root, with slashes.
    pub(super) path: String,
    /// The text as it stands.
    pub(super) text: String,
    /// The text with every comment, string and character blanked.
    pub(super) code: String,
    /// The strings' contents, escapes unread.
    pub(super) strings: Vec<String>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (code, strings) = split(text);
        Self { path: path.to_owned(), text: text.to_owned(), code, strings }
    }

    /// The room this file belongs to: the directory or file directly within `host/src`.
    pub(super) fn room(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("host/src/")?;
        let first = inner.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below this directory of the workspace.
pub(super) fn sources(dir: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    found.retain(|path| path.extension().is_some_and(|end| end == "rs"));
    found.sort();
    assert!(!found.is_empty(), "{dir} holds no source");
    let relative = |path: &PathBuf| path.strip_prefix(root()).expect("below the root").display().to_string();
    found.iter().map(relative).map(|path| Source::new(&path, &read(&path))).collect()
}

pub(super) fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true if path.ends_with("target") => {}
            true => walk(&path, found),
            false => found.push(path),
        }
    }
}

fn split(text: &str) -> (String, Vec<String>) {
    let (mut code, mut strings) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word_before = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let (taken, string) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), None)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), None)
        } else if let Some((opened, hashes)) = raw_string(rest).filter(|_| !word_before) {
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[opened..].find(&close).map_or(rest.len(), |end| opened + end);
            ((end + close.len()).min(rest.len()), Some(&rest[opened..end]))
        } else if first == '"' {
            let end = string_end(rest);
            (end, Some(&rest[1..end.max(2) - 1]))
        } else if let Some(end) = character(rest) {
            (end, None)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        strings.extend(string.map(str::to_owned));
        // Lines stay lines, and two words stay two.
        code.push(' ');
        code.extend(rest[..taken].chars().filter(|c| *c == '\n'));
        rest = &rest[taken..];
    }
    (code, strings)
}

/// Where the contents of `r"…"`, `r#"…"#` or `br#"…"#` begin, and its number of hashes.
fn raw_string(rest: &str) -> Option<(usize, usize)> {
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    raw[hashes..].starts_with('"').then_some((rest.len() - raw.len() + hashes + 1, hashes))
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let mut chars = inner.char_indices();
    match chars.next()?.1 {
        '\\' => inner[2..].find('\'').map(|end| end + 4),
        _ => chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 2),
    }
}
