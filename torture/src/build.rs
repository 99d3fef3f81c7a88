//! The programs that a run needs: hostler, and the plugin.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::process::Command;

/// A component of the plugin, in as many builds as are swapped.
#[derive(Debug, Clone)]
pub(crate) struct Plugin {
    component: Vec<u8>,
}

/// How many builds there are.
const BUILDS: u8 = 4;

impl Plugin {
    /// Compiles it with `hostler build`.
    pub(crate) async fn build(hostler: &Hostler, dir: &Path) -> anyhow::Result<Self> {
        let dist = dir.join("dist");
        let mut command = hostler.command()?;
        command.args(["build", "hostler-plugin-torture", "--plugins"]).arg(&dist).current_dir(workspace());
        let built = command.output().await.context("hostler does not run")?;
        if !built.status.success() {
            bail!("the plugin does not build: {}", String::from_utf8_lossy(&built.stderr));
        }
        let component = tokio::fs::read(dist.join("torture.wasm")).await?;
        Ok(Self { component })
    }

    /// The `number`th build: the same code that calls itself by another name.
    pub(crate) fn number(&self, number: u32) -> Vec<u8> {
        let name = ::torture::BUILD.as_bytes();
        let mut other = name.to_vec();
        let letter = u8::try_from(number % u32::from(BUILDS)).unwrap_or(0);
        *other.last_mut().expect("the build has a name") = b'a' + letter;
        let mut component = self.component.clone();
        for at in 0..component.len() - name.len() {
            if component[at..].starts_with(name) {
                component[at..at + name.len()].copy_from_slice(&other);
            }
        }
        component
    }
}

/// The program that hosts are made of: the one that `HOSTLER_BIN` names, or this one, which has all of hostler in it.
#[derive(Debug, Clone)]
pub(crate) struct Hostler(Option<PathBuf>);

/// Set, this program is hostler.
const AS_HOSTLER: &str = "HOSTLER_TORTURE_AS_HOSTLER";

impl Hostler {
    pub(crate) fn find() -> Self {
        Self(std::env::var_os("HOSTLER_BIN").map(PathBuf::from))
    }

    /// Whether this process was started to be hostler: by the bench, or by a host of its own that has something to
    /// compile, and leaves its compiler no variables.
    pub(crate) fn is_this() -> bool {
        std::env::var_os(AS_HOSTLER).is_some() || std::env::args().nth(1).is_some_and(|arg| arg == "compile")
    }

    /// A command line of it, to be completed.
    pub(crate) fn command(&self) -> anyhow::Result<Command> {
        match &self.0 {
            Some(named) => Ok(Command::new(named)),
            None => {
                // The program itself, also once a newer one has been built in its place.
                let mut command = Command::new("/proc/self/exe");
                command.env(AS_HOSTLER, "1");
                Ok(command)
            }
        }
    }
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}
