//! Making the plugins of the demo ready.

use std::path::{Path, PathBuf};

use crate::cli::build;
use crate::cli::exit::Exit;
use crate::cli::{Context, output};

use super::Story;

/// What the acts need.
const PLUGINS: [&str; 5] = ["flaky", "image", "markdown", "misbehave", "text"];

/// The root of the repository around the current directory.
pub(super) fn repository() -> Result<PathBuf, Exit> {
    let here = std::env::current_dir()
        .map_err(|error| Exit::infrastructure(format!("the current directory: {error}")))?;
    let is_root = |dir: &&Path| {
        dir.join("guest-sdk/Cargo.toml").is_file() && dir.join("plugins/text/Cargo.toml").is_file()
    };
    here.ancestors().find(is_root).map(Path::to_owned).ok_or_else(|| {
        Exit::refused(format!(
            "{} is not inside hostler's repository, whose plugins and pages the demo runs: clone it and run `hostler demo` there",
            here.display()
        ))
    })
}

/// Builds the plugins; returns the drop directory. Where they cannot be built, those that were built before do.
pub(super) async fn plugins(context: &Context, root: &Path, tell: Story) -> Result<PathBuf, Exit> {
    let dir = root.join("plugins/dist");
    match Box::pin(build::build_crates(context, root, &dir)).await {
        Ok(built) => built.iter().try_for_each(|built| tell.say(format_args!("   {}", built.words())))?,
        Err(Exit::Said(_, why)) if PLUGINS.iter().all(|name| dir.join(format!("{name}.wasm")).is_file()) => {
            output::note(format!("{why}; the demo goes on with what is in {}", output::path(&dir)));
        }
        Err(exit) => return Err(exit),
    }
    Ok(dir)
}
