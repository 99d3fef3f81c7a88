//! What an attempt may use. Everything has a limit.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::task::TaskDescriptor;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $default:expr, at most $ceiling:expr;)+) => {
        /// The limits of one attempt. A host has a set of defaults and a ceiling; whoever else sets a limit moves it
        /// between nothing and the ceiling.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// Some limits, as a table of a file sets them; the others are somebody else's business.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
        #[serde(default)]
        pub struct SomeLimits {
            $($(#[doc = $doc])+ pub $name: Option<u64>,)+
        }

        impl Limits {
            /// What a task gets when nobody says anything.
            pub const DEFAULT: Self = Self { $($name: $default,)+ };

            /// The most that a host allows when its operator says nothing.
            pub const CEILING: Self = Self { $($name: $ceiling,)+ };

            /// The names of all limits, as files write them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            /// The smaller of the two in every field.
            #[must_use]
            pub fn within(self, ceiling: &Self) -> Self {
                Self { $($name: self.$name.min(ceiling.$name),)+ }
            }

            /// These limits, but for what `some` sets.
            #[must_use]
            pub fn with(self, some: &SomeLimits) -> Self {
                Self { $($name: some.$name.unwrap_or(self.$name),)+ }
            }

            /// Every value, in the order of [`Self::NAMES`].
            #[must_use]
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name,)+]
            }
        }

        impl SomeLimits {
            fn values(&self) -> Vec<Option<u64>> {
                vec![$(self.$name,)+]
            }
        }
    };
}

limits! {
    /// Wall-clock time, in milliseconds.
    timeout_ms = 60_000, at most 24 * 60 * 60 * 1000;
    /// CPU time, in milliseconds. Checked at every tick of the epoch, so an attempt may overrun by a few.
    cpu_ms_max = 10_000, at most 60 * 60 * 1000;
    /// Memory over all linear memories together, in bytes.
    memory_bytes_max = 128 * MIB, at most 1024 * MIB;
    /// Elements over all tables together. CPython needs 5,670 and StarlingMonkey 7,688.
    table_elements_max = 20_000, at most 100_000;
    /// The wasm stack, in bytes. It holds for the whole host: only the value the sandbox started with counts.
    stack_bytes_max = MIB / 2, at most MIB;
    /// Handles that the guest holds at once: streams, files, requests.
    resources_max = 512, at most 65_536;
    /// The arguments, in bytes.
    args_bytes_max = 16 * MIB, at most 64 * MIB;
    /// The result, in bytes.
    result_bytes_max = 16 * MIB, at most 64 * MIB;
    /// What stdout, stderr and `log` may write together, in bytes; the rest is swallowed and counted.
    log_bytes_max = 256 * KIB, at most 16 * MIB;
    /// How many lines they may write together; the rest is swallowed and counted.
    log_lines_max = 10_000, at most 1_000_000;
    /// What it may ask of the host's database: steps kept and recalled, values read and written, tasks sent.
    database_calls_max = 10_000, at most 1_000_000;
    /// What it may write there, in bytes, whether it stays or is replaced.
    database_bytes_max = 64 * MIB, at most 1024 * MIB;
    /// HTTP requests, where a grant allows any.
    http_requests_max = 100, at most 100_000;
    /// The body of one HTTP request or response, in bytes.
    http_body_bytes_max = 16 * MIB, at most 1024 * MIB;
    /// From asking for a server's address to the end of the TLS handshake, in milliseconds.
    http_connect_ms_max = 10_000, at most 600_000;
    /// Waiting for a response's head, and for each further piece of its body, in milliseconds.
    http_read_ms_max = 30_000, at most 600_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Who set a limit. A later one wins over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody: it is built in.
    Default,
    /// The host's configuration.
    Host,
    /// The plugin's author, with an option of the task.
    Author,
    /// The plugin's file of grants.
    Plugin,
    /// The plugin's file of grants, for this task.
    Task,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Host => "host",
            Self::Author => "author",
            Self::Plugin => "plugin",
            Self::Task => "task",
        })
    }
}

/// One limit as it holds for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// The limit's name.
    pub name: &'static str,
    /// Its value, in the unit of its name.
    pub value: u64,
    /// Who set it.
    pub source: Source,
    /// Whether the ceiling made less of it.
    pub capped: bool,
}

/// All that is said about the limits of one plugin's tasks.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub(super) host: Limits,
    pub(super) ceiling: Limits,
    pub(super) plugin: SomeLimits,
    pub(super) tasks: BTreeMap<String, SomeLimits>,
}

impl Layers {
    /// The limits of one task: an operator's word wins over the author's wish, and nothing over the ceiling.
    pub(super) fn limits(&self, task: &TaskDescriptor) -> Limits {
        let all = self.host.with(&wishes(task)).with(&self.plugin);
        self.tasks.get(&task.name).map_or(all, |some| all.with(some)).within(&self.ceiling)
    }

    /// The same, and who set each.
    pub(super) fn effective(&self, task: &TaskDescriptor) -> Vec<Effective> {
        let nothing = SomeLimits::default();
        let task_file = self.tasks.get(&task.name).unwrap_or(&nothing).values();
        let (author, plugin) = (wishes(task).values(), self.plugin.values());
        let (host, ceiling) = (self.host.values(), self.ceiling.values());
        let default = Limits::DEFAULT.values();
        let one = |(at, &name): (usize, &&'static str)| {
            let wished =
                [(Source::Task, task_file[at]), (Source::Plugin, plugin[at]), (Source::Author, author[at])];
            let by_host = if host[at] == default[at] { Source::Default } else { Source::Host };
            let set = wished.into_iter().find_map(|(source, value)| Some((source, value?)));
            let (source, value) = set.unwrap_or((by_host, host[at]));
            Effective { name, value: value.min(ceiling[at]), source, capped: value > ceiling[at] }
        };
        Limits::NAMES.iter().enumerate().map(one).collect()
    }
}

fn wishes(task: &TaskDescriptor) -> SomeLimits {
    SomeLimits {
        timeout_ms: task.policy.timeout_ms,
        cpu_ms_max: task.policy.cpu_ms_max,
        memory_bytes_max: task.policy.memory_bytes_max,
        result_bytes_max: task.policy.result_bytes_max,
        ..SomeLimits::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_more_specific_word_wins_below_the_ceiling() {
        let task: TaskDescriptor = serde_json::from_value(json!({
            "name": "t", "policy": { "timeout_ms": 80_000, "cpu_ms_max": u64::MAX, "result_bytes_max": 7 },
        }))
        .expect("a task");
        let some = |json: serde_json::Value| serde_json::from_value::<SomeLimits>(json).expect("limits");
        let layers = Layers {
            host: Limits { log_bytes_max: 5, ..Limits::DEFAULT },
            ceiling: Limits { timeout_ms: 90_000, memory_bytes_max: 64 * MIB, ..Limits::CEILING },
            plugin: some(json!({ "result_bytes_max": 8, "http_requests_max": 2 })),
            tasks: BTreeMap::from([("t".to_owned(), some(json!({ "http_requests_max": 3 })))]),
        };
        let effective = layers.effective(&task);
        let of = |name: &str| {
            let found = effective.iter().find(|one| one.name == name).expect("a limit");
            (found.value, found.source, found.capped)
        };
        assert_eq!(of("timeout_ms"), (80_000, Source::Author, false));
        assert_eq!(of("cpu_ms_max"), (Limits::CEILING.cpu_ms_max, Source::Author, true));
        assert_eq!(of("memory_bytes_max"), (64 * MIB, Source::Default, true));
        assert_eq!(of("log_bytes_max"), (5, Source::Host, false));
        assert_eq!(of("result_bytes_max"), (8, Source::Plugin, false));
        assert_eq!(of("http_requests_max"), (3, Source::Task, false));
        let values: Vec<u64> = effective.iter().map(|one| one.value).collect();
        assert_eq!(layers.limits(&task).values(), values, "what is shown is what holds");
    }
}
