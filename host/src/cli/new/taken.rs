//! Names that mean something else, where a plugin of that name would be built.

/// Taken by hostler, whatever a plugin is written in.
const OURS: &str = "dist hostler hostler_entry hostler_guest js python test";

/// Taken by Rust: its words, and crates that every plugin sees.
const RUST: &str = "alloc as async await break const continue core crate dyn else enum extern false fn for gen if impl in let log loop match mod move mut proc_macro pub ref return self static std struct super trait true try type unsafe use where while yield";

/// Taken by Python: its words, and modules that a plugin of that name would hide.
const PYTHON: &str = "abc and argparse array as assert ast async asyncio await base64 bisect break calendar case class codecs collections continue copy csv dataclasses datetime decimal def del elif else email enum except finally for from functools global hashlib heapq html http if import importlib in inspect io is itertools json lambda match math nonlocal not operator or os pass pathlib pickle platform print raise random re return site string struct sys tests textwrap threading time token traceback try types typing unittest urllib uuid warnings while wit_world with xml yield zipfile";

use super::Lang;

/// Whether a plugin in this language cannot have this name.
pub(super) fn is_taken(lang: Lang, plugin: &str) -> bool {
    let by_language = match lang {
        Lang::Rust => RUST,
        Lang::Js => "",
        Lang::Python => PYTHON,
    };
    OURS.split(' ').chain(by_language.split(' ')).any(|taken| taken == plugin)
}
