//! `hostler hosts`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::client::ListedHost;

use super::database::{Need, with_client};
use super::exit::Exit;
use super::{Context, output};

/// Lists the hosts that are alive.
#[derive(Debug, Args)]
pub(super) struct Hosts {
    /// With those that ended in the last day.
    #[arg(long)]
    all: bool,
}

impl Hosts {
    pub(super) async fn run(self, context: &Context) -> Result<(), Exit> {
        let hosts =
            with_client(context, Need::Existing, async |client| Ok(client.hosts(self.all).await?)).await?;
        if context.json() {
            let hosts: Vec<Value> = hosts.iter().map(to_json).collect();
            return output::line(Value::from(hosts));
        }
        if hosts.is_empty() {
            output::note("no host is running; start one with `hostler serve`");
        }
        for plugin in mixed(&hosts) {
            output::note(format!("{plugin} runs in more than one version"));
        }
        let row = |host: &ListedHost| {
            let beat = Duration::try_from_secs_f64(host.beat_age_seconds.max(0.0)).unwrap_or_default();
            vec![
                host.session.to_string(),
                format!("{}:{}", host.hostname, host.pid),
                state(host).to_owned(),
                format!("{}/{}", host.running, host.slots),
                host.queues.as_ref().map_or_else(|| "all".to_owned(), |queues| queues.join(",")),
                format!("{} ago", output::duration(Duration::from_secs(beat.as_secs()))),
                host.version.clone(),
                host.plugins.join(", "),
            ]
        };
        let head = ["HOST", "PROCESS", "STATE", "BUSY", "QUEUES", "BEAT", "VERSION", "PLUGINS"];
        output::table(&head, hosts.iter().map(row).collect())
    }
}

/// Plugins that are not the same on every live host.
fn mixed(hosts: &[ListedHost]) -> BTreeSet<&str> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for code in hosts.iter().filter(|host| host.ended_at.is_none()).flat_map(|host| &host.plugins) {
        let name = code.split(' ').next().unwrap_or_default();
        versions.entry(name).or_default().insert(code);
    }
    versions.into_iter().filter(|(_, codes)| codes.len() > 1).map(|(name, _)| name).collect()
}

fn state(host: &ListedHost) -> &'static str {
    match host {
        ListedHost { lost: true, .. } => "lost",
        ListedHost { ended_at: Some(_), .. } => "ended",
        ListedHost { draining: true, .. } => "draining",
        _ => "alive",
    }
}

fn to_json(host: &ListedHost) -> Value {
    json!({
        "id": host.session.to_string(),
        "hostname": host.hostname,
        "pid": host.pid,
        "version": host.version,
        "state": state(host),
        "started_at": host.started_at,
        "ended_at": host.ended_at,
        "slots": host.slots,
        "running": host.running,
        "queues": host.queues,
        "beat_age_seconds": host.beat_age_seconds,
        "plugins": host.plugins,
    })
}
