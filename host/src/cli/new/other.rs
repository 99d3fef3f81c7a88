//! New plugins in JavaScript and Python. Outside of hostler's repository, each brings the guest SDK along: it is in no
//! package registry, and is a handful of small files.

use std::path::Path;

use serde_json::json;

use super::Files;
use crate::cli::build::{JS_SDK, PYTHON_SDK};

const INDEX_JS: &str = include_str!("template/index.js.txt");
const TEST_JS: &str = include_str!("template/test.js.txt");
const MODULE_PY: &str = include_str!("template/module.py.txt");
const TEST_PY: &str = include_str!("template/test.py.txt");

pub(super) fn javascript(name: &str, plugin: &str, repository: Option<&Path>) -> Files {
    let sdk = match repository {
        Some(_) => "file:../../../guest-sdk/js",
        None => "file:hostler-guest",
    };
    let manifest = json!({
        "name": format!("hostler-plugin-{name}"),
        "version": "0.1.0",
        "private": true,
        "type": "module",
        "main": "index.js",
        "scripts": { "test": "node --test" },
        "devDependencies": { "hostler-guest": sdk },
    });
    let mut files = vec![
        ("package.json".into(), format!("{manifest:#}\n")),
        ("index.js".into(), INDEX_JS.replace("@NAME@", plugin)),
        (format!("test/{plugin}.test.js").into(), TEST_JS.to_owned()),
    ];
    if repository.is_none() {
        files.push((".gitignore".into(), "node_modules\ntarget\n".to_owned()));
        files.extend(copy(JS_SDK, "hostler-guest"));
    }
    files
}

pub(super) fn python(name: &str, plugin: &str, repository: Option<&Path>) -> Files {
    let manifest = format!(
        "[project]\nname = \"hostler-plugin-{name}\"\nversion = \"0.1.0\"\nrequires-python = \">=3.11\"\n"
    );
    let mut files = vec![
        ("pyproject.toml".into(), manifest),
        (format!("{plugin}.py").into(), MODULE_PY.replace("@NAME@", plugin)),
        (format!("tests/test_{plugin}.py").into(), TEST_PY.replace("@NAME@", plugin)),
    ];
    if repository.is_none() {
        files.push((".gitignore".into(), "__pycache__\ntarget\n".to_owned()));
        files.extend(copy(PYTHON_SDK, "hostler_guest"));
    }
    files
}

fn copy(sdk: &[(&str, &str)], dir: &str) -> impl Iterator<Item = (std::path::PathBuf, String)> {
    sdk.iter().map(move |(file, text)| (Path::new(dir).join(file), (*text).to_owned()))
}
