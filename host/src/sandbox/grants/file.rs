//! `<plugin>.toml` beside `<plugin>.wasm`, and the ceiling over all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Table;

use super::keys::{check, read, take_table, take_tables};
use super::origin::{Origin, Target};
use super::place::read_text;
use super::reach::{self, KeyValueRule, SendRule};
use crate::sandbox::limits::{Limits, SomeLimits};

/// The longest file of grants, in bytes.
pub(in crate::sandbox) const FILE_BYTES_MAX: u64 = 64 << 10;
/// The longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 8 << 10;

/// What a plugin may touch and how much it may use, as its operator wrote it.
#[derive(Debug, Clone, Default)]
pub struct GrantsFile {
    /// The servers it may ask.
    pub http: Vec<HttpRule>,
    /// The directories it may open.
    pub directories: Vec<Directory>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Secrets, by the variable that holds the placeholder.
    pub secrets: BTreeMap<String, SecretRule>,
    /// The tasks it may send.
    pub send: Option<SendRule>,
    /// The buckets of values it may use.
    pub keyvalue: Option<KeyValueRule>,
    /// The limits of all its tasks.
    pub limits: SomeLimits,
    /// The limits of single tasks, by short name.
    pub tasks: BTreeMap<String, SomeLimits>,
}

/// Requests that are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HttpRule {
    /// To these servers.
    pub origin: Origin,
    /// With these methods.
    #[serde(default = "reading")]
    pub methods: Vec<String>,
    /// Also where the server's address is private: loopback, or a private network.
    #[serde(default)]
    pub private: bool,
}

/// A directory that guests may open.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Directory {
    /// Where it is.
    pub host: PathBuf,
    /// What the guest calls it; a ceiling leaves it out.
    #[serde(default)]
    pub guest: String,
    /// Whether files in it may be written, made and removed.
    #[serde(default)]
    pub write: bool,
}

/// A secret, and who gets to see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SecretRule {
    /// The file that holds it; a line break at its end is not part of it.
    pub file: Option<PathBuf>,
    /// The variable of the host's own environment that holds it.
    pub env: Option<String>,
    /// The servers it is sent to.
    pub origins: Vec<Origin>,
}

/// What grants may allow at most. A kind that is left out is not allowed at all.
#[derive(Debug, Clone, Default)]
pub struct GrantsCeiling {
    /// The requests: both the ceiling and the grant have to allow each.
    pub http: Vec<HttpRule>,
    /// The directories, with everything below them.
    pub directories: Vec<Directory>,
    /// The names of variables; `*` is all.
    pub env: Vec<String>,
    /// Where secrets may come from.
    pub secrets: SecretSources,
    /// The tasks that may be sent: both the ceiling and the grant have to name each.
    pub send: SendRule,
    /// The buckets of values.
    pub keyvalue: KeyValueRule,
}

/// Where secrets may come from. What a guest calls one says nothing about what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SecretSources {
    /// Files, and directories with everything below them.
    pub files: Vec<PathBuf>,
    /// The names of variables of the host's own environment; `*` is all.
    pub env: Vec<String>,
}

const HTTP_KEYS: &[&str] = &["origin", "methods", "private"];

fn reading() -> Vec<String> {
    vec!["GET".to_owned(), "HEAD".to_owned()]
}

impl GrantsFile {
    /// Reads a file of grants.
    ///
    /// # Errors
    /// What is wrong, with the key; an unknown key with the nearest known one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut file = table(text)?;
        let known = ["http", "directories", "env", "secrets", "send", "keyvalue", "limits", "tasks"];
        check(&file, "", &known)?;
        let (send, keyvalue) = (reach::send(&mut file)?, reach::keyvalue(&mut file)?);
        let http = http_rules(&mut file)?;
        let directories: Vec<Directory> = take_tables(&mut file, "directories", &["host", "guest", "write"])?;
        if let Some(odd) = directories.iter().find(|d| d.guest.is_empty() || !d.host.is_absolute()) {
            let host = odd.host.display();
            return Err(format!("the directory {host}: host is an absolute path, and guest a name for it"));
        }
        let env: BTreeMap<String, String> = read(take_table(&mut file, "env")?, "env")?;
        let mut secrets = BTreeMap::new();
        for (name, _) in file.get("secrets").and_then(|s| s.as_table()).cloned().unwrap_or_default() {
            let at = format!("secrets.{name}");
            let rule = match file.get_mut("secrets") {
                Some(toml::Value::Table(all)) => take_table(all, &name)?,
                _ => Table::new(),
            };
            check(&rule, &at, &["file", "env", "origins"])?;
            let rule: SecretRule = read(rule, &at)?;
            rule.check(&at, &http)?;
            secrets.insert(name, rule);
        }
        if let Some(odd) =
            env.keys().chain(secrets.keys()).find(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            return Err(format!("{odd:?} is no name of a variable"));
        }
        if let Some(twice) = env.keys().find(|name| secrets.contains_key(*name)) {
            return Err(format!("{twice:?} is both in [env] and a secret"));
        }
        let limits = some_limits(take_table(&mut file, "limits")?, "limits")?;
        let mut tasks = BTreeMap::new();
        for (name, value) in take_table(&mut file, "tasks")? {
            let toml::Value::Table(mut task) = value else {
                return Err(format!("[tasks.{name}] is a table"));
            };
            check(&task, &format!("tasks.{name}"), &["limits"])?;
            let at = format!("tasks.{name}.limits");
            tasks.insert(name, some_limits(take_table(&mut task, "limits")?, &at)?);
        }
        if limits.stack_bytes_max.or(tasks.values().find_map(|t| t.stack_bytes_max)).is_some() {
            return Err(
                "stack_bytes_max holds for the whole host: set it in the host's configuration".to_owned()
            );
        }
        Ok(Self { http, directories, env, secrets, send, keyvalue, limits, tasks })
    }
}

impl GrantsCeiling {
    /// Reads the table `[grants]` of a host's configuration.
    ///
    /// # Errors
    /// What is wrong, with the key; an unknown key with the nearest known one.
    pub fn parse(mut table: Table) -> Result<Self, String> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Names {
            env: Vec<String>,
        }
        check(&table, "grants", &["http", "directories", "env", "secrets", "send", "keyvalue"])?;
        let (send, keyvalue) = reach::ceilings(&mut table)?;
        let http = http_rules(&mut table)?;
        let directories = take_tables(&mut table, "directories", &["host", "write"])?;
        let secrets = take_table(&mut table, "secrets")?;
        check(&secrets, "grants.secrets", &["files", "env"])?;
        let secrets = read(secrets, "grants.secrets")?;
        let Names { env } = read(table, "grants")?;
        Ok(Self { http, directories, env, secrets, send, keyvalue })
    }
}

impl SecretRule {
    fn check(&self, at: &str, http: &[HttpRule]) -> Result<(), String> {
        if self.file.is_some() == self.env.is_some() {
            return Err(format!("in [{at}]: either file or env says where the secret is"));
        }
        let granted = |origin: &Origin| http.iter().any(|rule| rule.origin == *origin);
        match self.origins.iter().find(|origin| !granted(origin)) {
            Some(origin) => Err(format!("in [{at}]: no [[http]] has the origin \"{origin}\"")),
            None if self.origins.is_empty() => {
                Err(format!("in [{at}]: origins is empty, nobody would get it"))
            }
            None => Ok(()),
        }
    }

    /// Reads the secret itself; `None` if it comes from where the ceiling allows none.
    pub(super) fn read(&self, name: &str, ceiling: Option<&SecretSources>) -> Result<Option<String>, String> {
        let text = match (&self.file, &self.env) {
            (Some(file), _) => {
                let (text, real) = read_text(file, SECRET_BYTES_MAX)
                    .map_err(|error| format!("the secret {name}: {}: {error}", file.display()))?;
                if ceiling.is_some_and(|sources| !sources.have_file(&real)) {
                    return Ok(None);
                }
                text
            }
            (None, Some(env)) => {
                if ceiling.is_some_and(|sources| !covers(&sources.env, env)) {
                    return Ok(None);
                }
                std::env::var(env)
                    .map_err(|_| format!("the secret {name}: the host's environment has no {env}"))?
            }
            (None, None) => return Err(format!("the secret {name}: it has no source")),
        };
        Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

impl SecretSources {
    /// Whether a file is among them; by its real path, so that neither a link nor `..` leads around the ceiling.
    fn have_file(&self, real: &Path) -> bool {
        let mut allowed = self.files.iter().filter_map(|allowed| allowed.canonicalize().ok());
        allowed.any(|allowed| real.starts_with(allowed))
    }
}

/// Whether a name is among those that a ceiling allows.
pub(super) fn covers(allowed: &[String], name: &str) -> bool {
    allowed.iter().any(|one| one == "*" || one == name)
}

/// Reads a table of limits.
///
/// # Errors
/// What is wrong, with the key; an unknown key with the nearest known one.
pub(in crate::sandbox) fn some_limits(table: Table, at: &str) -> Result<SomeLimits, String> {
    check(&table, at, Limits::NAMES)?;
    read(table, at)
}

pub(super) fn table(text: &str) -> Result<Table, String> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |at| text[..at.start.min(text.len())].lines().count().max(1));
        format!("line {line}: {}", error.message())
    })
}

fn http_rules(table: &mut Table) -> Result<Vec<HttpRule>, String> {
    let rules: Vec<HttpRule> = take_tables(table, "http", HTTP_KEYS)?;
    for HttpRule { origin, methods, private } in &rules {
        if *private && origin.is_wild() {
            return Err(format!("\"{origin}\": private needs a host's full name or address, without *"));
        }
        let is_odd = |m: &&String| m.is_empty() || !m.bytes().all(|b| b.is_ascii_uppercase());
        if let Some(odd) = methods.iter().find(is_odd) {
            return Err(format!("\"{origin}\": {odd:?} is no method such as \"GET\""));
        }
        if methods.iter().any(|method| method == "CONNECT") {
            return Err(format!("\"{origin}\": CONNECT is a tunnel to anywhere and cannot be granted"));
        }
    }
    Ok(rules)
}

impl HttpRule {
    /// Whether it allows such a request.
    pub(in crate::sandbox) fn covers(&self, target: &Target, method: &str) -> bool {
        self.origin.covers(target) && self.methods.iter().any(|one| one == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_reads() {
        let file = GrantsFile::parse(
            r#"
            [[http]]
            origin = "https://api.example.com"
            methods = ["GET", "POST"]
            [[http]]
            origin = "http://127.0.0.1:8080"
            private = true
            [[directories]]
            host = "/srv/in"
            guest = "/in"
            [env]
            LANG = "de"
            [secrets.TOKEN]
            env = "MY_TOKEN"
            origins = ["https://api.example.com"]
            [limits]
            timeout_ms = 5_000
            [tasks.word_count.limits]
            memory_bytes_max = 1_000_000
            "#,
        )
        .expect("a good file");
        assert_eq!((file.http.len(), file.http[1].private, file.directories[0].write), (2, true, false));
        assert_eq!(file.http[1].methods, ["GET", "HEAD"]);
        assert_eq!(file.limits.timeout_ms, Some(5_000));
        assert_eq!(file.tasks["word_count"].memory_bytes_max, Some(1_000_000));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("htpp = []", r#"unknown key "htpp"; the nearest known one is "http""#),
            (
                "[limits]\ntimeout = 5",
                r#"unknown key "timeout" in [limits]; the nearest known one is "timeout_ms""#,
            ),
            ("[tasks.t]\nlimit = {}", r#""limit" in [tasks.t]; the nearest known one is "limits""#),
            ("[[http]]\norigin = \"https://a\"\nmethod = []", r#""method" in [http]"#),
            ("[limits]\ntimeout_ms = -1", "timeout_ms"),
            ("[limits]\ntimeout_ms = \"5s\"", "timeout_ms"),
            ("[limits]\nstack_bytes_max = 5", "whole host"),
            ("[[http]]\norigin = \"https://*\"\nprivate = true", "without *"),
            ("[[http]]\norigin = \"https://a\"\nmethods = [\"get\"]", "is no method"),
            ("[[http]]\norigin = \"https://a\"\nmethods = [\"CONNECT\"]", "tunnel"),
            ("[[directories]]\nhost = \"in\"\nguest = \"/in\"", "absolute"),
            ("[http]\norigin = \"https://a\"", "[[http]]"),
            ("[secrets.T]\nfile = \"/x\"\norigins = [\"https://a\"]", "no [[http]] has the origin"),
            (
                "[[http]]\norigin = \"https://a\"\n[secrets.T]\norigins = [\"https://a\"]",
                "either file or env",
            ),
            ("[env]\nA = 1", "env"),
            ("\n\n[limits", "line 3"),
        ] {
            let told = GrantsFile::parse(text).expect_err(text);
            assert!(told.contains(words), "{text}: {told}");
        }
    }
}
