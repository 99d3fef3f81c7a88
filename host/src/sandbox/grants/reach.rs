//! What a plugin may reach through its host's database: other tasks, and buckets of values.

use serde::Deserialize;
use toml::Table;

use super::keys::{check, read, take_table};

/// The tasks that a plugin may send (`[send]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SendRule {
    /// Full names; `text.*` is all of a plugin's, `*` all there are.
    pub tasks: Vec<String>,
    /// How often one attempt may ask.
    pub max: u32,
    /// How many sends away from the task that came from outside a new one may be.
    pub depth_max: u32,
    /// How many tasks one that came from outside may lead to in all.
    pub family_max: u32,
}

impl Default for SendRule {
    fn default() -> Self {
        Self { tasks: Vec::new(), max: 100, depth_max: 16, family_max: 1_000 }
    }
}

impl SendRule {
    /// What a ceiling allows that sets no number.
    const MOST: Self = Self { tasks: Vec::new(), max: 10_000, depth_max: 64, family_max: 100_000 };

    /// Whether it names this task.
    pub(in crate::sandbox) fn covers(&self, task: &str) -> bool {
        self.tasks.iter().any(|one| matches(one, task))
    }

    /// The numbers, as far as the other rule allows them too.
    pub(super) fn within(mut self, most: &Self) -> Self {
        self.max = self.max.min(most.max);
        self.depth_max = self.depth_max.min(most.depth_max);
        self.family_max = self.family_max.min(most.family_max);
        self
    }
}

/// The buckets of values that a plugin may use (`[keyvalue]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KeyValueRule {
    /// Their names, which are the same for all plugins of a database. In a ceiling, `*` is all.
    pub buckets: Vec<String>,
    /// How many values a bucket may hold for this plugin to add another.
    pub keys_max: u32,
    /// How many bytes, keys included, it may hold for this plugin to add more.
    pub bytes_max: u64,
    /// The largest value, in bytes.
    pub value_bytes_max: u64,
}

impl Default for KeyValueRule {
    fn default() -> Self {
        Self { buckets: Vec::new(), keys_max: 10_000, bytes_max: 64 << 20, value_bytes_max: 1 << 20 }
    }
}

impl KeyValueRule {
    /// What a ceiling allows that sets no number.
    const MOST: Self =
        Self { buckets: Vec::new(), keys_max: 10_000_000, bytes_max: 1 << 40, value_bytes_max: 16 << 20 };

    /// The numbers, as far as the other rule allows them too.
    pub(super) fn within(mut self, most: &Self) -> Self {
        self.keys_max = self.keys_max.min(most.keys_max);
        self.bytes_max = self.bytes_max.min(most.bytes_max);
        self.value_bytes_max = self.value_bytes_max.min(most.value_bytes_max);
        self
    }
}

/// `[send]` of a file of grants.
pub(super) fn send(file: &mut Table) -> Result<Option<SendRule>, String> {
    if !file.contains_key("send") {
        return Ok(None);
    }
    let table = take_table(file, "send")?;
    check(&table, "send", &["tasks", "max", "depth_max", "family_max"])?;
    let rule: SendRule = read(table, "send")?;
    if let Some(odd) = rule.tasks.iter().find(|name| !is_pattern(name)) {
        return Err(format!("in [send]: {odd:?} is neither plugin.task nor plugin.* nor *"));
    }
    Ok(Some(rule.within(&SendRule::MOST)))
}

/// `[keyvalue]` of a file of grants.
pub(super) fn keyvalue(file: &mut Table) -> Result<Option<KeyValueRule>, String> {
    if !file.contains_key("keyvalue") {
        return Ok(None);
    }
    let table = take_table(file, "keyvalue")?;
    check(&table, "keyvalue", &["buckets", "keys_max", "bytes_max", "value_bytes_max"])?;
    let rule: KeyValueRule = read(table, "keyvalue")?;
    if let Some(odd) = rule.buckets.iter().find(|name| name.is_empty() || name.len() > 60) {
        return Err(format!("in [keyvalue]: {odd:?} is no name of a bucket, which has 1 to 60 bytes"));
    }
    Ok(Some(rule.within(&KeyValueRule::MOST)))
}

/// The same two of a ceiling, where a number that is left out is as high as there is.
pub(super) fn ceilings(grants: &mut Table) -> Result<(SendRule, KeyValueRule), String> {
    let numbers = |grants: &mut Table, key: &str, most: &[(&str, u64)]| {
        let Some(toml::Value::Table(table)) = grants.get_mut(key) else { return };
        for (name, most) in most {
            let most = i64::try_from(*most).unwrap_or(i64::MAX);
            table.entry(*name).or_insert(toml::Value::Integer(most));
        }
    };
    let most = SendRule::MOST;
    let sends = [("max", most.max), ("depth_max", most.depth_max), ("family_max", most.family_max)];
    numbers(grants, "send", &sends.map(|(name, most)| (name, u64::from(most))));
    let most = KeyValueRule::MOST;
    let bounds = [
        ("keys_max", most.keys_max.into()),
        ("bytes_max", most.bytes_max),
        ("value_bytes_max", most.value_bytes_max),
    ];
    numbers(grants, "keyvalue", &bounds);
    Ok((send(grants)?.unwrap_or_default(), keyvalue(grants)?.unwrap_or_default()))
}

fn matches(pattern: &str, task: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => task.starts_with(start),
        None => pattern == task,
    }
}

fn is_pattern(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    name == "*"
        || name.split_once('.').is_some_and(|(plugin, task)| part(plugin) && (task == "*" || part(task)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_a_task_a_plugin_or_all() {
        let rule = |name: &str| SendRule { tasks: vec![name.to_owned()], ..SendRule::default() };
        assert!(rule("text.*").covers("text.word_count") && !rule("text.*").covers("textile.weave"));
        assert!(rule("*").covers("text.word_count"));
        assert!(
            rule("text.word_count").covers("text.word_count") && !rule("text.word").covers("text.word_count")
        );
        for odd in ["", "text", "text.wo*", "*.word", "a.b.c", "text. "] {
            assert!(!is_pattern(odd), "{odd}");
        }
    }

    #[test]
    fn numbers_end_at_the_ceiling() {
        let table = |text: &str| text.parse::<Table>().expect("TOML");
        let text = "[send]\ntasks = [\"*\"]\nmax = 1000000\n[keyvalue]\nbuckets = [\"b\"]\nkeys_max = 4";
        let granted = send(&mut table(text)).expect("reads").expect("there");
        assert_eq!((granted.max, granted.depth_max, granted.family_max), (10_000, 16, 1_000));
        let (most, values) = ceilings(&mut table("[send]\ntasks = [\"*\"]\nmax = 7")).expect("reads");
        assert_eq!((most.max, most.depth_max), (7, 64));
        assert_eq!(granted.within(&most).max, 7);
        assert!(values.buckets.is_empty(), "what is left out is not allowed");
        let bounded = keyvalue(&mut table(text)).expect("reads").expect("there");
        assert_eq!((bounded.keys_max, bounded.value_bytes_max), (4, 1 << 20));
    }
}
