//! What a sender knows about a task: its name and its two types. No bindings, no macros.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A task whose types are known: `text::WordCount` for the function `word_count` of the plugin `text`.
///
/// [`plugin!`](crate::plugin) implements it; nobody needs to by hand.
pub trait Task {
    /// The full name, `plugin.task`.
    const NAME: &'static str;
    /// What the task takes; `()` if it takes nothing.
    type Args: Serialize + DeserializeOwned;
    /// What the task returns.
    type Output: Serialize + DeserializeOwned;
}

/// A way to say which task is meant: by type, or by name.
///
/// Every [`Task`] is one, with its own types; so is a string, with JSON on both sides.
pub trait TaskRef {
    /// What is sent.
    type Args: ?Sized + Serialize;
    /// What comes back.
    type Output: DeserializeOwned;
    /// The full name, `plugin.task`.
    fn name(&self) -> &str;
}

impl<T: Task> TaskRef for T {
    type Args = T::Args;
    type Output = T::Output;

    fn name(&self) -> &str {
        T::NAME
    }
}

impl TaskRef for &str {
    type Args = Value;
    type Output = Value;

    fn name(&self) -> &str {
        self
    }
}

impl TaskRef for String {
    type Args = Value;
    type Output = Value;

    fn name(&self) -> &str {
        self
    }
}

impl TaskRef for &String {
    type Args = Value;
    type Output = Value;

    fn name(&self) -> &str {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Double;

    impl Task for Double {
        const NAME: &'static str = "math.double";
        type Args = u32;
        type Output = u32;
    }

    fn send<T: TaskRef>(task: T, args: &T::Args) -> (String, String) {
        let json = serde_json::to_string(args).expect("plain values become JSON");
        (task.name().to_owned(), json)
    }

    #[test]
    fn a_task_is_meant_by_type_or_by_name() {
        let by_type = send(Double, &21);
        assert_eq!(by_type, ("math.double".to_owned(), "21".to_owned()));
        assert_eq!(send("math.double", &Value::from(21)), by_type);
        assert_eq!(send("math.double".to_owned(), &Value::from(21)), by_type);
        assert_eq!(send(&"math.double".to_owned(), &Value::from(21)), by_type);
    }
}
