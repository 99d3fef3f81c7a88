//! Plugins that are no crates: what a directory with a `package.json` or a `pyproject.toml` says about itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::task::TaskName;

/// What a plugin is written in, Rust aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lang {
    JavaScript,
    Python,
}

impl Lang {
    pub(super) const ALL: [Self; 2] = [Self::JavaScript, Self::Python];

    /// The file that makes a directory a project of it.
    const fn manifest(self) -> &'static str {
        match self {
            Self::JavaScript => "package.json",
            Self::Python => "pyproject.toml",
        }
    }

    /// The directory of `plugins` that holds its projects: cargo takes everything directly in `plugins` for a crate.
    pub(in crate::cli) const fn directory(self) -> &'static str {
        match self {
            Self::JavaScript => "js",
            Self::Python => "python",
        }
    }
}

/// A plugin's sources.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Project {
    pub(super) lang: Lang,
    pub(super) dir: PathBuf,
    /// The plugin's name, and its file's.
    pub(super) plugin: String,
    pub(super) version: String,
    /// What holds the tasks: a file in JavaScript, a module in Python.
    pub(super) module: String,
    /// Whether it uses packages of others.
    pub(super) depends: bool,
}

impl Project {
    /// What a directory holds; `None` if it is no project.
    ///
    /// # Errors
    /// [`Exit::refused`]: its manifest cannot be used.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Exit> {
        let Some(lang) = Lang::ALL.into_iter().find(|lang| dir.join(lang.manifest()).is_file()) else {
            return Ok(None);
        };
        let file = dir.join(lang.manifest());
        let wrong = |what: String| Exit::refused(format!("{}: {what}", output::path(&file)));
        let text = fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
        let made = match lang {
            Lang::JavaScript => javascript(&text),
            Lang::Python => python(&text, dir.join("requirements.txt").is_file()),
        };
        let mut project = made.map_err(wrong)?;
        project.dir = dir.to_owned();
        if !TaskName::is_part(&project.plugin) {
            return Err(wrong(format!("{:?} is no plugin name: write hostler-plugin-NAME", project.plugin)));
        }
        Ok(Some(project))
    }

    /// All projects in the `plugins` of this directory.
    pub(super) fn all(root: &Path) -> Result<Vec<Self>, Exit> {
        let mut found = Vec::new();
        for lang in Lang::ALL {
            let Ok(entries) = fs::read_dir(root.join("plugins").join(lang.directory())) else { continue };
            for entry in entries.flatten() {
                found.extend(Self::read(&entry.path())?);
            }
        }
        found.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        Ok(found)
    }
}

fn javascript(text: &str) -> Result<Project, String> {
    #[derive(Deserialize)]
    struct Manifest {
        name: String,
        #[serde(default = "first_version")]
        version: String,
        #[serde(default = "index")]
        main: String,
        #[serde(default)]
        dependencies: Map<String, Value>,
    }
    let Manifest { name, version, main, dependencies } =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let module = main.strip_prefix("./").unwrap_or(&main).to_owned();
    let depends = dependencies.keys().any(|name| name != "hostler-guest");
    Ok(Project { lang: Lang::JavaScript, module, depends, ..named(&name, version) })
}

fn python(text: &str, depends: bool) -> Result<Project, String> {
    #[derive(Deserialize)]
    struct Manifest {
        project: Head,
        #[serde(default)]
        tool: Tools,
    }
    #[derive(Deserialize)]
    struct Head {
        name: String,
        #[serde(default = "first_version")]
        version: String,
    }
    #[derive(Default, Deserialize)]
    struct Tools {
        #[serde(default)]
        hostler: Hostler,
    }
    #[derive(Default, Deserialize)]
    struct Hostler {
        module: Option<String>,
    }
    let Manifest { project, tool } = toml::from_str(text).map_err(|error| error.to_string())?;
    let named = named(&project.name, project.version);
    let module = tool.hostler.module.unwrap_or_else(|| named.plugin.clone());
    Ok(Project { lang: Lang::Python, module, depends, ..named })
}

fn named(package: &str, version: String) -> Project {
    let bare = package.rsplit('/').next().unwrap_or(package);
    let plugin = bare.strip_prefix("hostler-plugin-").unwrap_or(bare).replace('-', "_");
    let (dir, module) = (PathBuf::new(), String::new());
    Project { lang: Lang::Python, dir, plugin, version, module, depends: false }
}

fn first_version() -> String {
    "0.0.0".to_owned()
}

fn index() -> String {
    "index.js".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_is_built() {
        let js = javascript(
            r#"{"name": "@team/hostler-plugin-my-template", "version": "1.2.3", "main": "./src/main.js",
                "dependencies": {"hostler-guest": "file:x"}}"#,
        );
        let js = js.expect("a project");
        assert_eq!((js.plugin.as_str(), js.version.as_str()), ("my_template", "1.2.3"));
        assert_eq!((js.module.as_str(), js.depends), ("src/main.js", false));
        assert_eq!(javascript(r#"{"name": "x"}"#).expect("a project").module, "index.js");
        assert!(javascript(r#"{"version": "1"}"#).is_err());

        let python = python("[project]\nname = \"hostler-plugin-table\"\nversion = \"2\"\n", true);
        let python = python.expect("a project");
        assert_eq!(
            (python.plugin.as_str(), python.module.as_str(), python.depends),
            ("table", "table", true)
        );
        let other = super::python("[project]\nname = \"t\"\n[tool.hostler]\nmodule = \"a.b\"\n", false);
        assert_eq!(other.expect("a project").module, "a.b");
    }
}
