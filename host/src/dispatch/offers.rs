//! From the plugin directory to the database: what this host serves.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::sandbox::{Limits, Plugin};
use crate::store::{Lane, Offer, PgConnection, StoreError};
use crate::task::RetryPolicy;

use super::shift::Shift;

/// A task this host can run, with everything an attempt needs.
pub(super) struct ServedTask {
    pub(super) name: String,
    pub(super) short: String,
    pub(super) plugin: Arc<Plugin>,
    /// The plugin's number in the database.
    pub(super) number: i32,
    pub(super) retry: RetryPolicy,
    pub(super) limits: Limits,
    /// Whether it may ask anything of this host.
    pub(super) calls_host: bool,
}

/// What this host serves: the loaded tasks, and the lanes they come through.
#[derive(Default)]
pub(super) struct Served {
    tasks: HashMap<String, Arc<ServedTask>>,
    lanes: HashMap<Lane, Arc<ServedTask>>,
    /// The numbers of the plugins that are loaded, served or not.
    pub(super) plugins: Vec<i32>,
    /// The numbers of those that are not to be.
    pub(super) barred: BTreeSet<i32>,
    /// First priority first.
    pub(super) order: Vec<(i16, Lane)>,
    /// The highest lane number that was looked at.
    pub(super) newest_lane: Lane,
}

impl Served {
    pub(super) fn lane(&self, lane: Lane) -> Option<&Arc<ServedTask>> {
        self.lanes.get(&lane)
    }
}

/// Publishes what the directory holds now, and writes down that this session serves it, but for what is barred and for
/// what the database does not take: one plugin's words are no reason for the others to wait.
pub(super) async fn publish(shift: &Shift, conn: &mut PgConnection) -> Result<(), StoreError> {
    let loaded = shift.shared().registry.current();
    let mut offered = Vec::new();
    for plugin in loaded.plugins() {
        let offer = Offer { descriptor: plugin.descriptor(), digest: plugin.digest() };
        match shift.asks(crate::store::publish(conn, &offer)).await {
            Ok(published) => offered.push((plugin, published)),
            Err(error) if error.is_data_error() => {
                let (name, digest) = (plugin.name(), plugin.digest());
                tracing::error!(plugin = name, digest, %error, "the database does not take what a plugin says; it is not served");
            }
            Err(error) => return Err(error),
        }
    }
    let plugins: Vec<i32> = offered.iter().map(|(_, published)| published.plugin).collect();
    let barred = shift.watch.barred(&plugins, &shift.plugins_running());
    let mut tasks = HashMap::new();
    let mut serving = Vec::new();
    for (plugin, published) in offered {
        if barred.contains(&published.plugin) {
            continue;
        }
        for (name, kind) in published.kinds {
            let Some(task) = name.split_once('.').and_then(|(_, short)| plugin.task(short)) else { continue };
            serving.push((kind, published.plugin));
            tasks.insert(
                name.clone(),
                Arc::new(ServedTask {
                    short: task.name.clone(),
                    plugin: plugin.clone(),
                    number: published.plugin,
                    retry: task.policy.retry(),
                    limits: plugin.limits(&task.name),
                    calls_host: plugin.imports().iter().any(|import| {
                        [
                            "hostler:plugin/progress@",
                            "hostler:plugin/checkpoint@",
                            "hostler:plugin/tasks@",
                            "wasi:keyvalue/",
                            "wasi:http/outgoing-handler@",
                        ]
                        .iter()
                        .any(|i| import.starts_with(i))
                    }),
                    name,
                }),
            );
        }
    }
    shift.asks(crate::store::serve(conn, shift.session(), &serving)).await?;
    shift.serve(Served { tasks, plugins, barred, ..Served::default() });
    Ok(())
}

/// Looks up the lanes of what is served. Lanes are made by sends, so new ones turn up at any time.
pub(super) async fn find_lanes(
    shift: &Shift,
    conn: &mut PgConnection,
    newest_lane: Lane,
) -> Result<(), StoreError> {
    let queues = shift.shared().config.queues.as_deref();
    let found = shift.asks(crate::store::served_lanes(conn, shift.session(), queues)).await?;
    let before = shift.served();
    let tasks = before.tasks.clone();
    let (plugins, barred) = (before.plugins.clone(), before.barred.clone());
    let mut served = Served { newest_lane, plugins, barred, ..Served::default() };
    for lane in found {
        if let Some(task) = tasks.get(&lane.task) {
            served.newest_lane = served.newest_lane.max(lane.lane);
            served.lanes.insert(lane.lane, task.clone());
            served.order.push((lane.priority, lane.lane));
        }
    }
    served.tasks = tasks;
    shift.serve(served);
    Ok(())
}
