//! What a plugin says about itself: the JSON that `describe` returns.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds;
use super::name::TaskName;
use super::retry::{Backoff, RetryPolicy};
use super::weight::weight;

/// The contract this host speaks, as a descriptor names it.
pub const CONTRACT: &str = "hostler:plugin@0.1.0";

/// A plugin's description of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Descriptor {
    /// The contract the plugin was built for.
    pub contract: String,
    /// The plugin's name; the same as its file's stem.
    pub name: String,
    /// The plugin crate's version.
    pub version: String,
    /// The tasks it exports, at least one.
    pub tasks: Vec<TaskDescriptor>,
}

/// One task of a plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskDescriptor {
    /// The task's short name.
    pub name: String,
    /// For people; the author's doc comment.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of the arguments; missing, anything goes.
    #[serde(default = "anything")]
    pub args_schema: serde_json::Value,
    /// JSON Schema of the result; missing, anything goes.
    #[serde(default = "anything")]
    pub result_schema: serde_json::Value,
    /// What the author wants for it.
    #[serde(default)]
    pub policy: Policy,
}

/// The schema of whatever has none.
fn anything() -> serde_json::Value {
    serde_json::Value::Bool(true)
}

/// What an author asks for; a missing field means the host's default. An operator's ceiling wins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// How many retries, 0 to 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<BackoffWire>,
    /// Whether retries are spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<bool>,
    /// The codes worth a retry; missing is every code that may be retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_on: Option<Vec<String>>,
    /// Wall-clock limit of an attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// CPU limit of an attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms_max: Option<u64>,
    /// Memory limit of an attempt, over all its memories, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    /// Size limit of a result, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_bytes_max: Option<u64>,
    /// How many lost hosts a task survives; 0 is *never start twice*.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redeliveries: Option<u32>,
    /// Whether the arguments are kept once the task is final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_input: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum BackoffWire {
    Fixed { delays_ms: Vec<u64> },
    Exponential { base_ms: u64, factor: f64, max_ms: u64 },
}

/// Why a descriptor was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Not the JSON it should be.
    #[error("its description is not what the contract asks for: {0}")]
    Unreadable(String),
    /// Built for another contract.
    #[error(
        "it was built for contract {found:?}, this host speaks {CONTRACT:?}: rebuild it with a matching hostler-guest"
    )]
    OtherContract {
        /// The contract it names.
        found: String,
    },
    /// A name is not valid or stands twice, a policy is out of range, or there is too much of something.
    #[error("{0}")]
    Invalid(String),
}

impl Descriptor {
    /// Reads what `describe` returned and checks names, policies, and how much it is.
    ///
    /// # Errors
    /// [`DescriptorError`] says what to change in the plugin.
    pub fn parse(json: &[u8]) -> Result<Self, DescriptorError> {
        // Its words may quote the plugin's, of any length and with anything in them.
        let unreadable = |e: serde_json::Error| {
            DescriptorError::Unreadable(e.to_string().escape_debug().take(300).collect())
        };
        let weight = weight(json);
        if weight > bounds::WEIGHT_MAX {
            let most = bounds::WEIGHT_MAX;
            let why = format!("its description takes {weight} bytes of memory; at most {most} are allowed");
            return Err(DescriptorError::Invalid(why));
        }
        // The contract is looked at first: another version's descriptor may not fit this one's types.
        #[derive(Deserialize)]
        struct Head {
            contract: String,
        }
        let head: Head = serde_json::from_slice(json).map_err(unreadable)?;
        if head.contract != CONTRACT {
            return Err(DescriptorError::OtherContract { found: head.contract.chars().take(100).collect() });
        }
        let descriptor: Self = serde_json::from_slice(json).map_err(unreadable)?;
        descriptor.checked()
    }

    /// The same, if its names and policies are what they have to be, and it is not too much.
    ///
    /// # Errors
    /// [`DescriptorError::Invalid`].
    pub fn checked(self) -> Result<Self, DescriptorError> {
        self.check().map_err(DescriptorError::Invalid)?;
        Ok(self)
    }

    fn check(&self) -> Result<(), String> {
        if self.tasks.is_empty() {
            return Err("it exports no task".to_owned());
        }
        bounds::check(self)?;
        let mut seen = std::collections::BTreeSet::new();
        for task in &self.tasks {
            TaskName::new(format!("{}.{}", self.name, task.name)).map_err(|e| e.to_string())?;
            if !seen.insert(&task.name) {
                return Err(format!("it exports the task {:?} twice", task.name));
            }
            task.policy.check().map_err(|e| format!("task {:?}: {e}", task.name))?;
        }
        Ok(())
    }
}

impl Policy {
    /// The policy on failures.
    #[must_use]
    pub fn retry(&self) -> RetryPolicy {
        let backoff = match &self.backoff {
            Some(BackoffWire::Fixed { delays_ms }) => {
                Backoff::Fixed(delays_ms.iter().copied().map(Duration::from_millis).collect())
            }
            Some(BackoffWire::Exponential { base_ms, factor, max_ms }) => Backoff::Exponential {
                base: Duration::from_millis(*base_ms),
                factor: *factor,
                max: Duration::from_millis(*max_ms),
            },
            None => Backoff::default(),
        };
        RetryPolicy {
            max_retries: self.max_retries.unwrap_or(0),
            backoff,
            jitter: self.jitter.unwrap_or(true),
            on: self.retry_on.clone(),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.max_retries.is_some_and(|n| n > 20) {
            return Err("max_retries is at most 20".to_owned());
        }
        if self.redeliveries == Some(0) && self.max_retries.is_some_and(|n| n > 0) {
            return Err("redeliveries = 0 (never start twice) and retries exclude each other".to_owned());
        }
        match &self.backoff {
            Some(BackoffWire::Fixed { delays_ms }) if delays_ms.is_empty() => {
                Err("a fixed backoff needs at least one pause".to_owned())
            }
            Some(BackoffWire::Exponential { factor, .. }) if !(1.0..=100.0).contains(factor) => {
                Err(format!("the backoff's factor is {factor}; it lies between 1 and 100"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &serde_json::Value) -> Result<Descriptor, DescriptorError> {
        Descriptor::parse(json.to_string().as_bytes())
    }

    #[test]
    fn a_descriptor_reads_with_its_policy() {
        let text = parse(&serde_json::json!({
            "contract": CONTRACT, "name": "text", "version": "0.1.0",
            "tasks": [{"name": "word_count", "description": "Counts.", "args_schema": {"type": "object"},
                "policy": {"max_retries": 3, "backoff": {"kind": "fixed", "delays_ms": [5]}, "timeout_ms": 30_000}}],
        }))
        .expect("valid");
        let policy = &text.tasks[0].policy;
        assert_eq!(policy.retry().max_retries, 3);
        assert_eq!(policy.retry().backoff, Backoff::Fixed(vec![Duration::from_millis(5)]));
        assert_eq!(policy.timeout_ms, Some(30_000));
    }

    #[test]
    fn another_contract_is_told_apart_from_nonsense() {
        let other = parse(&serde_json::json!({"contract": "hostler:plugin@9.0.0", "units": 4}));
        assert!(matches!(other, Err(DescriptorError::OtherContract { found }) if found.ends_with("9.0.0")));
        assert!(matches!(Descriptor::parse(b"hello"), Err(DescriptorError::Unreadable(_))));
    }

    #[test]
    fn bad_names_and_policies_are_refused_with_the_task() {
        let with = |tasks: serde_json::Value| {
            parse(&serde_json::json!({"contract": CONTRACT, "name": "p", "version": "1", "tasks": tasks}))
        };
        for tasks in [
            serde_json::json!([]),
            serde_json::json!([{"name": "Bad"}]),
            serde_json::json!([{"name": "a"}, {"name": "a"}]),
            serde_json::json!([{"name": "a", "policy": {"max_retries": 21}}]),
            serde_json::json!([{"name": "a", "policy": {"max_retries": 1, "redeliveries": 0}}]),
            serde_json::json!([{"name": "a", "policy": {"backoff": {"kind": "fixed", "delays_ms": []}}}]),
        ] {
            assert!(matches!(with(tasks.clone()), Err(DescriptorError::Invalid(_))), "{tasks}");
        }
    }
}
