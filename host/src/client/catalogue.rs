//! What can be sent: task names, their schemas and lanes, kept so that a send asks the database for
//! nothing but the insert.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::store::{Lane, Store, StoreError};
use crate::task::{Policy, TaskName};

use super::error::{SendError, SendErrorCode};

/// A host may swap in code with another schema; a refusal is checked against the newest at once.
const FRESH: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Catalogue {
    store: Store,
    tasks: Mutex<HashMap<String, Arc<Entry>>>,
    lanes: Mutex<HashMap<(i32, String, i16), Lane>>,
}

/// One task that can be sent.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: i32,
    pub(super) policy: Policy,
    validator: Option<jsonschema::Validator>,
    read_at: Instant,
}

impl Catalogue {
    pub(super) fn new(store: Store) -> Self {
        Self { store, tasks: Mutex::default(), lanes: Mutex::default() }
    }

    /// The task of this name; `insist` makes one that no host has published yet.
    pub(super) async fn task(&self, name: &TaskName, insist: bool) -> Result<Arc<Entry>, SendError> {
        if let Some(entry) = self.cached(name.as_str())
            && entry.read_at.elapsed() < FRESH
        {
            return Ok(entry);
        }
        self.read(name, insist).await
    }

    /// Checks arguments against the task's schema, the newest one if the one at hand refuses them.
    pub(super) async fn validate(
        &self,
        name: &TaskName,
        entry: Arc<Entry>,
        args: &[u8],
    ) -> Result<Arc<Entry>, SendError> {
        if entry.check(name, args).is_ok() {
            return Ok(entry);
        }
        let newest = self.read(name, true).await?;
        newest.check(name, args).map(|()| newest)
    }

    /// The lane of a task's queue and priority.
    pub(super) async fn lane(&self, kind: i32, queue: &str, priority: i16) -> Result<Lane, StoreError> {
        let wanted = (kind, queue.to_owned(), priority);
        if let Some(lane) = lock(&self.lanes).get(&wanted) {
            return Ok(*lane);
        }
        let lane = self.store.lane(kind, queue, priority).await?;
        lock(&self.lanes).insert(wanted, lane);
        Ok(lane)
    }

    fn cached(&self, name: &str) -> Option<Arc<Entry>> {
        lock(&self.tasks).get(name).cloned()
    }

    async fn read(&self, name: &TaskName, insist: bool) -> Result<Arc<Entry>, SendError> {
        let kind = self.store.kind(name.as_str()).await.map_err(|e| SendError::enqueue(&e))?;
        let entry = match kind {
            Some(kind) if kind.published || insist => Entry {
                kind: kind.id,
                policy: serde_json::from_str(&kind.policy).unwrap_or_default(),
                validator: validator(&kind.args_schema),
                read_at: Instant::now(),
            },
            None if insist => Entry {
                kind: self.store.insist_on_kind(name.as_str()).await.map_err(|e| SendError::enqueue(&e))?,
                policy: Policy::default(),
                validator: None,
                read_at: Instant::now(),
            },
            _ => return Err(self.unknown(name).await),
        };
        let entry = Arc::new(entry);
        lock(&self.tasks).insert(name.to_string(), entry.clone());
        Ok(entry)
    }

    async fn unknown(&self, name: &TaskName) -> SendError {
        let names = self.store.published_names().await.unwrap_or_default();
        let mut near: Vec<(f64, &String)> =
            names.iter().map(|known| (strsim::jaro_winkler(name.as_str(), known), known)).collect();
        near.retain(|(likeness, _)| *likeness > 0.8);
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let near: Vec<&str> = near.iter().take(3).map(|(_, known)| known.as_str()).collect();
        let hint = match (names.is_empty(), near.is_empty()) {
            (true, _) => {
                "no host has published any task in this database; start one with `hostler serve`".to_owned()
            }
            (false, true) => "`hostler tasks` lists the names there are".to_owned(),
            (false, false) => format!("did you mean {}?", near.join(", ")),
        };
        SendError::refused(
            SendErrorCode::UnknownTask,
            format!("no host ever published the task {name}; {hint}"),
        )
    }
}

impl Entry {
    /// Checks arguments against the schema at hand.
    pub(super) fn check(&self, name: &TaskName, args: &[u8]) -> Result<(), SendError> {
        let value: Value = serde_json::from_slice(args).map_err(|e| {
            SendError::refused(SendErrorCode::ValidationFailed, format!("the arguments are no JSON: {e}"))
        })?;
        let Some(validator) = &self.validator else { return Ok(()) };
        let wrong: Vec<String> = validator
            .iter_errors(&value)
            .take(5)
            .map(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                path => format!("at {path}: {error}"),
            })
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(SendError::refused(
            SendErrorCode::ValidationFailed,
            format!("the arguments do not fit {name}: {}", wrong.join("; ")),
        ))
    }
}

/// A schema that cannot be used checks nothing here: the plugin checks for itself.
fn validator(schema: &str) -> Option<jsonschema::Validator> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    match jsonschema::validator_for(&schema) {
        Ok(validator) => Some(validator),
        Err(error) => {
            tracing::warn!(%error, "a published schema cannot be used; arguments are not checked at send");
            None
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
