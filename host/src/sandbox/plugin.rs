//! A loaded plugin.

use std::fmt;

use super::bindings::GuestPre;
use super::guest::Guest;
use crate::task::{Descriptor, TaskDescriptor};

/// One version of a plugin, compiled and ready to be instantiated. Attempts in flight keep theirs.
pub struct Plugin {
    pre: GuestPre<Guest>,
    digest: String,
    descriptor: Descriptor,
    imports: Vec<String>,
}

impl Plugin {
    pub(super) fn new(
        pre: GuestPre<Guest>,
        digest: String,
        descriptor: Descriptor,
        imports: Vec<String>,
    ) -> Self {
        Self { pre, digest, descriptor, imports }
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
        &self.imports
    }

    pub(super) fn pre(&self) -> &GuestPre<Guest> {
        &self.pre
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({} {} {})", self.name(), self.version(), self.digest)
    }
}
