//! What goes wrong on the host's side. What a guest does wrong is an `Outcome`, a value.

use std::path::PathBuf;

use crate::task::{CONTRACT, DescriptorError};

/// The host is at fault; an attempt that meets this is given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// Every sandbox of the pool is taken: give the attempt back and try again later.
    #[error("no sandbox is free: {0}")]
    Full(String),
    /// The engine, the linker or a store could not be set up.
    #[error("the sandbox could not be set up: {0}")]
    Setup(String),
    /// The threads for wasm could not be started.
    #[error("the threads for wasm could not be started: {0}")]
    Threads(#[source] std::io::Error),
    /// The plugin directory could not be made or read.
    #[error("the plugin directory {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The host's own code panicked while it served a guest.
    #[error("the host panicked while it ran a guest: {0}")]
    Panicked(String),
}

/// Why a file was not loaded as a plugin.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {fault}")]
pub struct PluginError {
    /// The file's name.
    pub file: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a plugin's file, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Some other sort of file.
    #[error("is not WebAssembly")]
    NotWasm,
    /// The compiler's output before it became a component.
    #[error("is a core module, not a component: build it with --target wasm32-wasip2")]
    CoreModule,
    /// Native code, which nobody can check.
    #[error("is precompiled native code, which is never loaded: drop the .wasm component itself")]
    Precompiled,
    /// It ends in the middle.
    #[error("is truncated: it ends in the middle of a section; write to another name and rename")]
    Truncated,
    /// Larger than a component may be.
    #[error("has {bytes} bytes; a component has at most {max}")]
    TooLarge {
        /// Its size, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        max: u64,
    },
    /// The file could not be read.
    #[error("could not be read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// wasmtime refuses it.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// The compiler panicked over it.
    #[error("crashes the compiler: {0}")]
    CompilerPanicked(String),
    /// The compiler did not come to an end within its limits, or crashed.
    #[error("cannot be compiled: {0}")]
    Compiler(String),
    /// A component, but no plugin.
    #[error(
        "is a component, but no hostler plugin: it exports neither hostler:plugin/guest (hostler_guest::plugin! does) nor a function of plain values{}",
        .0.iter().map(|note| format!("; {note}")).collect::<String>()
    )]
    NoGuest(Vec<String>),
    /// Two of its functions would be one task.
    #[error("cannot be served: {0}")]
    Ambiguous(String),
    /// A plugin for another version of the contract.
    #[error("exports {found}, but this host speaks {CONTRACT}: rebuild it with a matching hostler-guest")]
    OtherContract {
        /// The interface it exports.
        found: String,
    },
    /// The right name with other functions behind it.
    #[error("exports the guest interface, but not as the contract has it: {0}")]
    OtherTypes(String),
    /// It imports what this host does not give: one entry for each grant, naming the interfaces.
    #[error("needs what no plugin gets by itself: {}", .0.join("; "))]
    MissingImports(Vec<String>),
    /// The grants beside it cannot be read.
    #[error("its grants in {file}: {what}")]
    Grants {
        /// The file of grants.
        file: String,
        /// What is wrong, with the key.
        what: String,
    },
    /// A directory or a secret that it is granted is not there; it is tried again.
    #[error("its grants in {file}: {what}")]
    NotThere {
        /// The file of grants.
        file: String,
        /// What is missing.
        what: String,
    },
    /// Its host died while it was loaded, again and again.
    #[error(
        "killed its host twice while it was loaded and is not loaded again; another build is, and this one once {} is removed",
        marks.display()
    )]
    Deadly {
        /// What is on record against it.
        marks: PathBuf,
    },
    /// `describe` did not return.
    #[error("does not describe itself: {0}")]
    Describe(String),
    /// `describe` returned what the contract does not allow.
    #[error("{0}")]
    Descriptor(#[from] DescriptorError),
    /// A file must not take another plugin's name or grants.
    #[error(
        "declares the plugin name {declared:?}: rename the file to {declared}.wasm, or change the name to {expected:?}"
    )]
    OtherName {
        /// What `describe` says.
        declared: String,
        /// What the file's name says.
        expected: String,
    },
    /// Not the file's fault; it is tried again.
    #[error("could not be loaded for a reason of the host's: {0}")]
    Host(String),
}

impl Fault {
    /// Whether the same file may load at the next try.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Unreadable(_) | Self::NotThere { .. })
    }
}

/// The text of a wasmtime error with its causes, in one line.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
