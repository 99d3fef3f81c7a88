//! Which interfaces a component may import, and what each grant adds.

use super::grants::Powers;

/// Every interface a component may import without a grant, up to the part of its version that matters.
const LINKED: &[&str] = &[
    "hostler:plugin/attempt@0.1",
    "hostler:plugin/cancellation@0.1",
    "hostler:plugin/checkpoint@0.1",
    "hostler:plugin/log@0.1",
    "hostler:plugin/progress@0.1",
    "wasi:cli/environment@0.2",
    "wasi:cli/exit@0.2",
    "wasi:cli/stderr@0.2",
    "wasi:cli/stdin@0.2",
    "wasi:cli/stdout@0.2",
    "wasi:cli/terminal-input@0.2",
    "wasi:cli/terminal-output@0.2",
    "wasi:cli/terminal-stderr@0.2",
    "wasi:cli/terminal-stdin@0.2",
    "wasi:cli/terminal-stdout@0.2",
    "wasi:clocks/monotonic-clock@0.2",
    "wasi:clocks/wall-clock@0.2",
    "wasi:filesystem/preopens@0.2",
    "wasi:filesystem/types@0.2",
    "wasi:io/error@0.2",
    "wasi:io/poll@0.2",
    "wasi:io/streams@0.2",
    "wasi:random/insecure-seed@0.2",
    "wasi:random/insecure@0.2",
    "wasi:random/random@0.2",
];

/// What a grant of HTTP links in addition.
const HTTP: &[&str] = &["wasi:http/outgoing-handler@0.2", "wasi:http/types@0.2"];

/// What a grant of `[send]` links.
const SEND: &[&str] = &["hostler:plugin/tasks@0.1"];

/// What a grant of `[keyvalue]` links. A draft is compatible with nothing but itself.
const KEYVALUE: &[&str] = &["wasi:keyvalue/atomics@0.2.0-draft", "wasi:keyvalue/store@0.2.0-draft"];

/// Which grants a plugin has that link something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) http: bool,
    pub(super) send: bool,
    pub(super) keyvalue: bool,
}

impl Granted {
    pub(super) fn by(powers: Option<&Powers>) -> Self {
        powers.map_or_else(Self::default, |powers| Self {
            http: powers.http.is_some(),
            send: powers.send.is_some(),
            keyvalue: powers.keyvalue.is_some(),
        })
    }

    /// Whether a plugin with these may import this interface.
    pub(super) fn links(self, import: &str) -> bool {
        let covers = |linked: &&str| {
            import.strip_prefix(*linked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut all =
            [(true, LINKED), (self.http, HTTP), (self.send, SEND), (self.keyvalue, KEYVALUE)].into_iter();
        all.any(|(granted, linked)| granted && linked.iter().any(covers))
    }
}

#[cfg(test)]
mod tests {
    use super::Granted;

    #[test]
    fn only_what_is_linked_is_said_to_be() {
        let none = Granted::default();
        for yes in ["wasi:io/poll@0.2.6", "wasi:io/poll@0.2", "hostler:plugin/log@0.1.0"] {
            assert!(none.links(yes), "{yes}");
        }
        assert!(Granted { http: true, ..none }.links("wasi:http/types@0.2.0"));
        assert!(Granted { send: true, ..none }.links("hostler:plugin/tasks@0.1.0"));
        let keyvalue = Granted { keyvalue: true, ..none };
        assert!(keyvalue.links("wasi:keyvalue/store@0.2.0-draft"));
        for no in [
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.20.0",
            "wasi:io/polls@0.2.0",
            "wasi:http/types@0.2.0",
            "wasi:keyvalue/store@0.2.0-draft2",
            "wasi:keyvalue/batch@0.2.0-draft",
            "hostler:plugin/tasks@0.1.0",
            "log",
        ] {
            assert!(!none.links(no) && (no == "hostler:plugin/tasks@0.1.0" || !keyvalue.links(no)), "{no}");
        }
    }
}
