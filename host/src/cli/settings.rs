//! The host's configuration file.

use std::path::{Path, PathBuf};

use crate::sandbox::Bounds;

use super::Context;
use super::exit::Exit;

/// Where it is looked for when nobody names it.
const USUAL: &str = "hostler.toml";

/// Reads the file that was named, or `hostler.toml` here if there is one. What it does not say is as built in.
///
/// # Errors
/// A named file that is not there, or any that cannot be understood.
pub(super) fn bounds(context: &Context) -> Result<Bounds, Exit> {
    let named = context.settings.config.clone();
    let path = named.clone().unwrap_or_else(|| PathBuf::from(USUAL));
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            tracing::info!(file = %path.display(), "what guests may use and touch is configured");
            Bounds::parse(&text).map_err(|what| wrong(&path, what))
        }
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            tracing::info!(
                "no {USUAL} here: limits are as built in, and each plugin's grants have no ceiling"
            );
            Ok(Bounds::default())
        }
        Err(error) => Err(wrong(&path, error.to_string())),
    }
}

fn wrong(path: &Path, what: String) -> Exit {
    Exit::refused(format!("{}: {what}", path.display()))
}
