//! A loaded plugin.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::InstancePre;

use super::bindings::GuestPre;
use super::grants::Powers;
use super::guest::Guest;
use super::limits::{Effective, Layers, Limits};
use super::reflect::Functions;
use crate::task::{Descriptor, TaskDescriptor};

/// One version of a plugin, compiled and ready to be instantiated. Attempts in flight keep theirs.
pub struct Plugin {
    body: Body,
    digest: String,
    descriptor: Descriptor,
    surface: Surface,
    powers: Option<Powers>,
    layers: Layers,
    notes: Vec<String>,
}

/// What of a component is called.
#[derive(Clone)]
pub(super) enum Body {
    /// The contract's interface.
    Contract(GuestPre<Guest>),
    /// Functions of its own.
    Functions(InstancePre<Guest>, Arc<Functions>),
}

/// What a component shows without being run.
pub(super) struct Surface {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
    pub(super) memory_bytes: Option<u64>,
}

/// What came of a plugin's file of grants.
pub(super) struct Granted {
    /// `None` costs an attempt nothing.
    pub(super) powers: Option<Powers>,
    pub(super) layers: Layers,
    pub(super) notes: Vec<String>,
}

impl Plugin {
    pub(super) fn new(
        body: Body,
        digest: String,
        descriptor: Descriptor,
        surface: Surface,
        granted: Granted,
    ) -> Self {
        let Granted { powers, layers, notes } = granted;
        Self { body, digest, descriptor, surface, powers, layers, notes }
    }

    /// The plugin's name, `text` of `text.word_count`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.descriptor.name
    }

    /// The plugin crate's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.descriptor.version
    }

    /// The component's SHA-256, 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the plugin says about itself.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The task with this short name.
    #[must_use]
    pub fn task(&self, short: &str) -> Option<&TaskDescriptor> {
        self.descriptor.tasks.iter().find(|task| task.name == short)
    }

    /// The interfaces it imports, with versions, in the component's order.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.surface.imports
    }

    /// What it exports, with versions, in the component's order.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.surface.exports
    }

    /// The largest of its memories as it starts, in bytes; `None` if that cannot be told.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        self.surface.memory_bytes
    }

    /// The limits of an attempt at the task with this short name; the host's own for a task that is not there.
    #[must_use]
    pub fn limits(&self, short: &str) -> Limits {
        let host = || self.layers.host.within(&self.layers.ceiling);
        self.task(short).map_or_else(host, |task| self.layers.limits(task))
    }

    /// The same, with who set each; empty for a task that is not there.
    #[must_use]
    pub fn effective_limits(&self, short: &str) -> Vec<Effective> {
        self.task(short).map(|task| self.layers.effective(task)).unwrap_or_default()
    }

    /// What its operator ought to know: what it imports and is not granted, and what is granted in vain.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn powers(&self) -> Option<&Powers> {
        self.powers.as_ref()
    }

    pub(super) fn body(&self) -> &Body {
        &self.body
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({} {} {})", self.name(), self.version(), self.digest)
    }
}
