//! What `hostler plugins` says about code that is to blame for lost hosts, and how that is lifted.

use serde_json::{Value, json};

use crate::client::ListedSuspect;
use crate::embedded::{self, Server};

use super::database::{Need, with_client};
use super::exit::{Code, Exit};
use super::{Context, output};

/// The code under suspicion; `None` where there is no database to ask. A database that does not answer is told on
/// stderr: files can be looked at without.
pub(super) async fn suspects(context: &Context) -> Option<Vec<ListedSuspect>> {
    if context.database_url().is_none()
        && !Server::is_there(&embedded::Settings::new(&context.settings.data_dir))
    {
        return None;
    }
    let asked = with_client(context, Need::Existing, async |client| Ok(client.suspects().await?)).await;
    asked.map_err(|_| output::note("the database does not say whether any of these is quarantined")).ok()
}

pub(super) fn show(suspects: &[ListedSuspect]) -> Result<(), Exit> {
    for suspect in suspects {
        let ListedSuspect { plugin, digest, reason, waiting, .. } = suspect;
        output::line(match &suspect.quarantined_at {
            Some(at) => format!(
                "quarantined: {plugin} {digest:.12} since {}: {reason}; {waiting} tasks wait; lift it with \
                 `hostler plugins --lift {digest:.12}`, or build it anew",
                at.format("%F %T UTC")
            ),
            None => format!("suspected: {plugin} {digest:.12}: {reason}; it runs apart from other suspects"),
        })?;
    }
    Ok(())
}

pub(super) fn to_json(suspects: &[ListedSuspect]) -> Value {
    let one = |suspect: &ListedSuspect| {
        json!({
            "plugin": suspect.plugin, "version": suspect.version, "digest": suspect.digest,
            "quarantined_at": suspect.quarantined_at, "reason": suspect.reason, "waiting": suspect.waiting,
        })
    };
    suspects.iter().map(one).collect()
}

/// Lets code run again.
pub(super) async fn lift(context: &Context, which: &str) -> Result<(), Exit> {
    let lifted = with_client(context, Need::Existing, async |client| Ok(client.lift(which).await?)).await?;
    if lifted.is_empty() {
        let words =
            format!("nothing of the name or digest {which:?} is quarantined (a digest needs six digits)");
        return Err(Exit::Said(Code::Unknown, words));
    }
    if context.json() {
        let lifted = lifted.iter().map(|(plugin, digest)| json!({ "plugin": plugin, "digest": digest }));
        return output::line(lifted.collect::<Value>());
    }
    lifted.iter().try_for_each(|(plugin, digest)| output::line(format_args!("lifted: {plugin} {digest:.12}")))
}
