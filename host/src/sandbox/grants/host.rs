//! The part of a host's configuration that is about its guests.

use super::file::{GrantsCeiling, some_limits};
use super::keys::{check, read, take_table};
use crate::sandbox::compile::CompileLimits;
use crate::sandbox::limits::Limits;

/// What a host's operator says about all plugins: `hostler.toml`.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// What a task gets that asks for nothing (`[limits]`).
    pub limits: Limits,
    /// What no task gets more of (`[ceiling]`).
    pub ceiling: Limits,
    /// What no plugin is granted more of (`[grants]`); `None` leaves it to each plugin's file.
    pub grants: Option<GrantsCeiling>,
    /// What compiling one component may use (`[compile]`).
    pub compile: CompileLimits,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            limits: Limits::DEFAULT,
            ceiling: Limits::CEILING,
            grants: None,
            compile: CompileLimits::default(),
        }
    }
}

impl Bounds {
    /// Reads a host's configuration.
    ///
    /// # Errors
    /// What is wrong, with the key; an unknown key with the nearest known one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut file = super::file::table(text)?;
        check(&file, "", &["limits", "ceiling", "grants", "compile"])?;
        let limits = some_limits(take_table(&mut file, "limits")?, "limits")?;
        let ceiling = some_limits(take_table(&mut file, "ceiling")?, "ceiling")?;
        let grants = match file.contains_key("grants") {
            true => Some(GrantsCeiling::parse(take_table(&mut file, "grants")?)?),
            false => None,
        };
        let compile = take_table(&mut file, "compile")?;
        check(&compile, "compile", &["timeout_ms", "cpu_ms_max", "memory_bytes_max"])?;
        let compile: CompileLimits = read(compile, "compile")?;
        let (limits, ceiling) = (Limits::DEFAULT.with(&limits), Limits::CEILING.with(&ceiling));
        Ok(Self { limits, ceiling, grants, compile })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_reads_and_its_mistakes_are_named() {
        let text = "[compile]\ncpu_ms_max = 3\n[limits]\ntimeout_ms = 1\n[ceiling]\nmemory_bytes_max = 5\n[grants]\nenv = [\"LANG\"]";
        let bounds = Bounds::parse(text).expect("a configuration");
        assert_eq!((bounds.limits.timeout_ms, bounds.ceiling.memory_bytes_max), (1, 5));
        assert_eq!(bounds.grants.expect("a ceiling").env, ["LANG"]);
        assert_eq!(bounds.compile, CompileLimits { cpu_ms_max: 3, ..CompileLimits::default() });
        assert!(Bounds::parse("").expect("nothing said").grants.is_none());
        for (text, words) in [
            ("[limit]", r#"nearest known one is "limits""#),
            ("[ceiling]\ncpu_ms = 1", r#""cpu_ms" in [ceiling]; the nearest known one is "cpu_ms_max""#),
            ("[grants]\nhtp = 1", r#"in [grants]; the nearest known one is "http""#),
        ] {
            let told = Bounds::parse(text).expect_err(text);
            assert!(told.contains(words), "{text}: {told}");
        }
    }
}
