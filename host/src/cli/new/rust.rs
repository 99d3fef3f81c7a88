//! A new plugin in Rust.

use std::path::Path;

use super::Files;

const LIB: &str = include_str!("template/rust.rs.txt");

/// The crate's files. The manifest comes last: from then on, cargo takes the directory for a crate.
pub(super) fn files(name: &str, plugin: &str, repository: Option<&Path>) -> Files {
    vec![
        ("src/lib.rs".into(), LIB.replace("@NAME@", plugin)),
        ("Cargo.toml".into(), manifest(name, plugin, repository.is_some())),
    ]
}

fn manifest(name: &str, plugin: &str, inside: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (package, dependency, lints) = match inside {
        true => (
            "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true",
            r#"{ path = "../../guest-sdk" }"#.to_owned(),
            "\n[lints]\nworkspace = true\n",
        ),
        false => ("version = \"0.1.0\"\nedition = \"2024\"", format!("{version:?}"), ""),
    };
    format!(
        r#"[package]
name = "hostler-plugin-{name}"
description = "A hostler plugin"
{package}
publish = false

[lib]
name = "{plugin}"
crate-type = ["cdylib", "rlib"]
doctest = false

[features]
default = ["export"]
# Exports the component. A crate that wants the types alone depends on this one without it.
export = []

[dependencies]
hostler-guest = {dependency}
{lints}"#
    )
}
