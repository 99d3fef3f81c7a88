//! From the plugin directory to the database: what this host serves.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sandbox::{Limits, Plugin};
use crate::store::{Lane, Offer, PgConnection, Store, StoreError};
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

/// Publishes what the directory holds now, and writes down that this session serves it.
pub(super) async fn publish(shift: &Shift, conn: &mut PgConnection) -> Result<(), StoreError> {
    let loaded = shift.shared().registry.current();
    let mut tasks = HashMap::new();
    let mut serving = Vec::new();
    for plugin in loaded.plugins() {
        let offer = Offer { descriptor: plugin.descriptor(), digest: plugin.digest() };
        let published = crate::store::publish(conn, &offer).await?;
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
                        ["hostler:plugin/progress@", "hostler:plugin/checkpoint@"]
                            .iter()
                            .any(|i| import.starts_with(i))
                    }),
                    name,
                }),
            );
        }
    }
    crate::store::serve(conn, shift.session(), &serving).await?;
    shift.serve(Served { tasks, ..Served::default() });
    Ok(())
}

/// Looks up the lanes of what is served. Lanes are made by sends, so new ones turn up at any time.
pub(super) async fn find_lanes(shift: &Shift, newest_lane: Lane) -> Result<(), StoreError> {
    let store = Store::new(shift.pool().clone());
    let queues = shift.shared().config.queues.as_deref();
    let found = store.served_lanes(shift.session(), queues).await?;
    let tasks = shift.served().tasks.clone();
    let mut served = Served { newest_lane, ..Served::default() };
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
