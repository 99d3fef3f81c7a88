//! Names that people write, checked where they enter.

use std::fmt;

/// Why a name was refused, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} name {given:?} is not valid: {rule}")]
pub struct BadName {
    what: &'static str,
    given: String,
    rule: &'static str,
}

/// A task's full name, `plugin.task`, such as `text.word_count`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskName(String);

impl TaskName {
    /// Checks a full name.
    ///
    /// # Errors
    /// [`BadName`] unless it is two parts of lower-case letters, digits and `_`, each starting with a
    /// letter and at most 60 characters long, joined by one dot.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        match name.split_once('.') {
            Some((plugin, task)) if is_part(plugin) && is_part(task) => Ok(Self(name)),
            _ => Err(BadName {
                what: "task",
                given: name,
                rule: "write plugin.task, each part a-z, 0-9 and _, starting with a letter, at most 60 characters",
            }),
        }
    }

    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The plugin's part, `text` of `text.word_count`.
    #[must_use]
    pub fn plugin(&self) -> &str {
        self.0.split_once('.').map_or("", |(plugin, _)| plugin)
    }

    /// The task's part, `word_count` of `text.word_count`.
    #[must_use]
    pub fn task(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, task)| task)
    }

    /// Whether `part` may stand on either side of the dot.
    #[must_use]
    pub fn is_part(part: &str) -> bool {
        is_part(part)
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A queue's name; `default` where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(String);

impl QueueName {
    /// Checks a queue name.
    ///
    /// # Errors
    /// [`BadName`] unless it is 1 to 60 lower-case letters, digits, `_` or `-`, starting with a letter.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        if is_part(&name.replace('-', "_")) {
            Ok(Self(name))
        } else {
            Err(BadName {
                what: "queue",
                given: name,
                rule: "write a-z, 0-9, _ and -, starting with a letter, at most 60 characters",
            })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_part(part: &str) -> bool {
    part.len() <= 60
        && part.starts_with(|c: char| c.is_ascii_lowercase())
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_name_has_two_plain_parts() {
        for good in ["text.word_count", "a.b", "x9.y_0"] {
            assert_eq!(TaskName::new(good).expect(good).as_str(), good);
        }
        for bad in ["", "text", "text.", ".x", "Text.x", "text.x.y", "text.9", "te xt.x", "text.wörter"] {
            assert!(TaskName::new(bad).is_err(), "{bad}");
        }
        let name = TaskName::new("text.word_count").expect("valid");
        assert_eq!((name.plugin(), name.task()), ("text", "word_count"));
    }

    #[test]
    fn a_queue_name_may_have_dashes() {
        assert!(QueueName::new("mail-out").is_ok());
        assert!(QueueName::new("-x").is_err());
        assert!(QueueName::new("").is_err());
    }
}
