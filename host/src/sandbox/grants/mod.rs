//! What an operator allows a plugin to touch. The default is nothing.
//!
//! 1. [`GrantsFile`]: `<plugin>.toml` as it is written ([`file`], its [`keys`]).
//! 2. [`GrantsCeiling`]: what the host's configuration allows any file to grant.
//! 3. [`Bounds`]: the ceiling with the limits, as the host's configuration has them ([`host`]).
//! 4. [`Powers`]: both together, resolved when the plugin is loaded; an attempt only takes them.
//!
//! [`origin`] says which servers a rule is about, [`address`] where an address lies.

pub(super) mod address;
mod file;
mod host;
mod keys;
pub(super) mod origin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::http::{Http, Secret};
pub(super) use file::FILE_BYTES_MAX as GRANTS_BYTES_MAX;
pub use file::{Directory, GrantsCeiling, GrantsFile, HttpRule, SecretRule};
pub use host::Bounds;
pub use origin::Origin;

/// What a plugin may touch, ready to be handed to its attempts.
#[derive(Debug, Clone, Default)]
pub(super) struct Powers {
    pub(super) http: Option<Arc<Http>>,
    pub(super) directories: Vec<Directory>,
    pub(super) env: Vec<(String, String)>,
}

impl Powers {
    /// Makes the grants of a file into powers, as far as the ceiling allows. The notes tell what it did not allow.
    ///
    /// # Errors
    /// A directory or a secret is not there, in words.
    pub(super) fn resolve(
        file: &GrantsFile,
        ceiling: Option<&GrantsCeiling>,
    ) -> Result<(Self, Vec<String>), String> {
        let mut notes = Vec::new();
        let mut beyond =
            |what: String| notes.push(format!("{what} is beyond the ceiling of this host's [grants]"));

        let mut directories = Vec::new();
        for directory in &file.directories {
            let host = real(&directory.host)?;
            let within =
                |allowed: &&Directory| real(&allowed.host).is_ok_and(|allowed| host.starts_with(allowed));
            let mut write = directory.write;
            if let Some(ceiling) = ceiling {
                let covering: Vec<&Directory> = ceiling.directories.iter().filter(within).collect();
                if covering.is_empty() {
                    beyond(format!("the directory {}", host.display()));
                    continue;
                }
                if write && !covering.iter().any(|allowed| allowed.write) {
                    beyond(format!("writing to the directory {}", host.display()));
                    write = false;
                }
            }
            directories.push(Directory { host, guest: directory.guest.clone(), write });
        }

        let names = |allowed: &[String], name: &String| allowed.iter().any(|one| one == "*" || one == name);
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &file.env {
            match ceiling {
                Some(ceiling) if !names(&ceiling.env, name) => beyond(format!("the variable {name}")),
                _ => drop(env.insert(name.clone(), value.clone())),
            }
        }
        let mut secrets = Vec::new();
        for (name, rule) in &file.secrets {
            match ceiling {
                Some(ceiling) if !names(&ceiling.secrets, name) => beyond(format!("the secret {name}")),
                _ => {
                    let secret = Secret::new(rule.read(name)?, rule.origins.clone())
                        .map_err(|what| format!("the secret {name}: {what}"))?;
                    env.insert(name.clone(), secret.placeholder().to_owned());
                    secrets.push(secret);
                }
            }
        }
        let http = (!file.http.is_empty())
            .then(|| Http::new(file.http.clone(), ceiling.map(|c| c.http.clone()), secrets).map(Arc::new))
            .transpose()?;
        Ok((Self { http, directories, env: env.into_iter().collect() }, notes))
    }
}

/// A directory by its real name, so that neither a link nor `..` leads around the ceiling.
fn real(path: &Path) -> Result<PathBuf, String> {
    let told = |what: &dyn std::fmt::Display| format!("the directory {}: {what}", path.display());
    let real = path.canonicalize().map_err(|error| told(&error))?;
    match real.is_dir() {
        true => Ok(real),
        false => Err(told(&"is no directory")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(file: &str, ceiling: Option<&str>) -> Result<(Powers, Vec<String>), String> {
        let ceiling =
            ceiling.map(|text| GrantsCeiling::parse(text.parse().expect("TOML")).expect("a ceiling"));
        Powers::resolve(&GrantsFile::parse(file).expect("grants"), ceiling.as_ref())
    }

    #[test]
    fn a_ceiling_takes_away_and_says_so() {
        let dir = tempfile::tempdir().expect("directory");
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::create_dir(&inside).and_then(|()| std::fs::create_dir(&outside)).expect("made");
        std::os::unix::fs::symlink(&outside, inside.join("link")).expect("linked");
        let file = format!(
            "env = {{ A = \"1\", B = \"2\" }}\n\
             [[directories]]\nhost = {inside:?}\nguest = \"/in\"\nwrite = true\n\
             [[directories]]\nhost = \"{}/link\"\nguest = \"/link\"\n",
            inside.display()
        );
        let (all, notes) = resolve(&file, None).expect("no ceiling");
        assert_eq!((all.env.len(), all.directories.len(), notes.len()), (2, 2, 0));
        let ceiling = format!("env = [\"A\"]\n[[directories]]\nhost = {inside:?}\n");
        let (some, notes) = resolve(&file, Some(&ceiling)).expect("under a ceiling");
        assert_eq!(some.env, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(some.directories.len(), 1, "a link does not lead around it");
        assert!(!some.directories[0].write && some.http.is_none());
        assert_eq!(notes.len(), 3, "{notes:?}");
        let (none, _) = resolve(&file, Some("")).expect("an empty ceiling");
        assert_eq!((none.env.len(), none.directories.len()), (0, 0));
    }

    #[test]
    fn a_secret_is_a_placeholder_in_the_environment() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("token");
        std::fs::write(&path, "s3cret-value\n").expect("written");
        let file = format!(
            "[[http]]\norigin = \"https://a.example\"\n\
             [secrets.TOKEN]\nfile = {path:?}\norigins = [\"https://a.example\"]\n"
        );
        let (powers, _) = resolve(&file, None).expect("granted");
        let (name, value) = &powers.env[0];
        assert!(
            name == "TOKEN" && value.starts_with("hostler-secret-") && !value.contains("s3cret"),
            "{value}"
        );
        assert!(!format!("{powers:?}").contains("s3cret"), "no log shows it");
        std::fs::remove_file(&path).expect("gone");
        assert!(resolve(&file, None).expect_err("no file").contains("TOKEN"));
    }
}
