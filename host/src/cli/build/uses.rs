//! What a plugin uses of the powers that an operator has to grant, and the world that has just these.
//!
//! A component asks for all that its world imports, called or not, and a host tells of everything that is asked for and
//! not granted. So the SDKs have a module for each such power, the plugin's imports are looked at before it is compiled,
//! and its world has what they name and no more.

use std::process::Stdio;

use tokio::process::Command;

use super::project::{Lang, Project};
use super::stage::Stage;
use crate::cli::exit::Exit;

/// The world that is compiled for.
pub(super) const WORLD: &str = "built";

/// The module that is compiled: it names the plugin's own.
pub(super) const ENTRY: &str = "hostler_entry";

/// Who looks at the imports, in each language by its own parser.
const LOOK_JS: &str = include_str!("tools/uses.mjs");
const LOOK_PYTHON: &str = include_str!("tools/uses.py");

/// A power that an operator has to grant, by the SDKs' name for its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    Tasks,
    KeyValue,
}

impl Power {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Tasks, Self::KeyValue];

    const fn module(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::KeyValue => "keyvalue",
        }
    }

    /// The interfaces that have it.
    const fn interfaces(self) -> &'static [&'static str] {
        match self {
            Self::Tasks => &["hostler:plugin/tasks@0.1.0"],
            Self::KeyValue => &["wasi:keyvalue/atomics@0.2.0-draft", "wasi:keyvalue/store@0.2.0-draft"],
        }
    }
}

/// The file of the world with these powers, beside the contract's own.
pub(super) fn world(powers: &[Power]) -> String {
    let imports: String = powers
        .iter()
        .flat_map(|power| power.interfaces())
        .map(|interface| match interface.starts_with("hostler:plugin/") {
            // Within its own package an interface has no other name.
            true => format!("    import {};\n", last_part(interface)),
            false => format!("    import {interface};\n"),
        })
        .collect();
    format!("package hostler:plugin@0.1.0;\n\nworld {WORLD} {{\n    include plugin;\n{imports}}}\n")
}

/// The entry's file and text, with these powers.
pub(super) fn entry(project: &Project, powers: &[Power]) -> (String, String) {
    let Project { plugin, version, module, .. } = project;
    let (name, version) = (serde_json::json!(plugin), serde_json::json!(version));
    match project.lang {
        Lang::JavaScript => {
            let mut imports = String::new();
            let mut given = Vec::new();
            for power in powers {
                for interface in power.interfaces() {
                    let name = last_part(interface);
                    imports.push_str(&format!("import * as {name} from \"{interface}\";\n"));
                }
                given.push(match power {
                    Power::Tasks => "tasks",
                    Power::KeyValue => "keyvalue: { open: store.open, increment: atomics.increment }",
                });
            }
            let main = serde_json::json!(format!("./{module}"));
            let text = format!(
                "{imports}import {{ component }} from \"hostler-guest/component\";\nimport * as module from {main};\n\n\
                 export const guest = component({{ name: {name}, version: {version} }}, module, {{ {} }});\n",
                given.join(", ")
            );
            (format!("src/{ENTRY}.mjs"), text)
        }
        Lang::Python => {
            let mut imports = String::new();
            let mut given = String::new();
            for power in powers {
                for interface in power.interfaces() {
                    imports.push_str(&format!("from wit_world.imports import {}\n", last_part(interface)));
                }
                given.push_str(match power {
                    Power::Tasks => ", tasks=tasks",
                    Power::KeyValue => {
                        ", keyvalue=SimpleNamespace(open=store.open, increment=atomics.increment)"
                    }
                });
            }
            let text = format!(
                "from types import SimpleNamespace\n\nimport {module} as plugin\n\
                 from hostler_guest.component import Component\n{imports}\n\n\
                 class Guest(Component):\n    def __init__(self) -> None:\n        \
                 super().__init__({name}, {version}, plugin{given})\n"
            );
            (format!("src/{ENTRY}.py"), text)
        }
    }
}

/// `store` of `wasi:keyvalue/store@0.2.0-draft`.
fn last_part(interface: &str) -> &str {
    let bare = interface.split('@').next().unwrap_or(interface);
    bare.rsplit('/').next().unwrap_or(bare)
}

/// The file that looks, with its text. It belongs to what a component is built from.
pub(super) const fn look(lang: Lang) -> (&'static str, &'static str) {
    match lang {
        Lang::JavaScript => ("uses.mjs", LOOK_JS),
        Lang::Python => ("uses.py", LOOK_PYTHON),
    }
}

/// Which powers a project uses, whose sources and packages are in place.
///
/// # Errors
/// [`Exit::infrastructure`]: nobody could look.
pub(super) async fn used(stage: &Stage, project: &Project) -> Result<Vec<Power>, Exit> {
    let look = stage.dir.join(look(project.lang).0);
    let mut command = match project.lang {
        Lang::JavaScript => {
            let mut node = Command::new("node");
            node.args(["--experimental-vm-modules", "--no-warnings"]).arg(look);
            node.arg(stage.sources().join(&project.module));
            node
        }
        Lang::Python => {
            let mut python = Command::new("python3");
            let paths = std::env::join_paths([stage.sources(), stage.packages.clone()]);
            // Alone: not even a module of the plugin's that is called as one of Python's own.
            python.args(["-I", "-B"]).arg(look).arg(&project.module).arg(paths.unwrap_or_default());
            python
        }
    };
    command.args(Power::ALL.map(Power::module)).stdin(Stdio::null()).kill_on_drop(true);
    let failed = |why: &str| {
        Exit::infrastructure(format!("the imports of {} could not be looked at: {why}", project.plugin))
    };
    let ran = command.output().await.map_err(|error| failed(&error.to_string()))?;
    if !ran.status.success() {
        return Err(failed(String::from_utf8_lossy(&ran.stderr).trim_end()));
    }
    let said = String::from_utf8_lossy(&ran.stdout);
    let named = |power: &Power| said.lines().any(|line| line == power.module());
    Ok(Power::ALL.into_iter().filter(named).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn project(lang: Lang, module: &str) -> Project {
        let (dir, plugin, version) = (PathBuf::new(), "one".to_owned(), "1".to_owned());
        Project { lang, dir, plugin, version, module: module.to_owned(), depends: false }
    }

    #[test]
    fn an_entry_names_the_interfaces_of_what_is_used_and_no_others() {
        for (powers, names) in [
            (&[][..], [false, false]),
            (&[Power::Tasks], [true, false]),
            (&[Power::KeyValue], [false, true]),
            (&Power::ALL, [true, true]),
        ] {
            let (_, js) = entry(&project(Lang::JavaScript, "a/main.js"), powers);
            let (_, python) = entry(&project(Lang::Python, "a.main"), powers);
            for (power, named) in Power::ALL.into_iter().zip(names) {
                for interface in power.interfaces() {
                    assert_eq!(js.contains(&format!("\"{interface}\"")), named, "{js}");
                    let import = format!("from wit_world.imports import {}\n", last_part(interface));
                    assert_eq!(python.contains(&import), named, "{python}");
                }
            }
        }
    }

    #[test]
    fn a_world_has_what_is_used_and_no_more() {
        let inner = |powers: &[Power]| {
            let world = world(powers);
            let (_, inner) = world.split_once("include plugin;\n").expect("what every plugin has");
            inner.to_owned()
        };
        assert_eq!(inner(&[]), "}\n");
        assert_eq!(inner(&[Power::Tasks]), "    import tasks;\n}\n");
        let keyvalue = inner(&[Power::KeyValue]);
        assert!(
            keyvalue.contains("import wasi:keyvalue/store@") && !keyvalue.contains("tasks"),
            "{keyvalue}"
        );
    }

    #[test]
    fn what_looks_knows_the_sdks_names() {
        assert!(LOOK_JS.contains("hostler-guest/") && LOOK_PYTHON.contains("hostler_guest"));
        for power in Power::ALL {
            let module = power.module();
            let in_js = super::super::JS_SDK.iter().any(|(file, _)| *file == format!("{module}.js"));
            let in_python = super::super::PYTHON_SDK.iter().any(|(file, _)| *file == format!("{module}.py"));
            assert!(in_js && in_python, "{module}");
        }
    }
}
