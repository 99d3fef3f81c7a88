//! What an operator allows a plugin to touch. The default is nothing.
//!
//! 1. [`GrantsFile`]: `<plugin>.toml` as it is written ([`file`], its [`keys`]).
//! 2. [`GrantsCeiling`]: what the host's configuration allows any file to grant.
//! 3. [`Bounds`]: the ceiling with the limits, as the host's configuration has them ([`host`]).
//! 4. [`Powers`]: both together, resolved when the plugin is loaded; an attempt only takes them. Directories are
//!    opened then and stay open ([`place`]).
//!
//! [`reach`] is about what goes through the database: sends and values. [`origin`] says which servers a rule is about, [`address`] where an address lies.

pub(super) mod address;
mod file;
mod host;
mod keys;
pub(super) mod origin;
mod place;
mod reach;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::http::{Http, Secret};
pub(super) use file::FILE_BYTES_MAX as GRANTS_BYTES_MAX;
use file::covers;
pub use file::{Directory, GrantsCeiling, GrantsFile, HttpRule, SecretRule, SecretSources};
pub use host::Bounds;
pub use origin::Origin;
use place::Place;
pub use reach::{KeyValueRule, SendRule};

/// What a plugin may touch, ready to be handed to its attempts.
#[derive(Debug, Clone, Default)]
pub(super) struct Powers {
    pub(super) http: Option<Arc<Http>>,
    pub(super) directories: Vec<Place>,
    pub(super) env: Vec<(String, String)>,
    /// What it may send, and what a ceiling allows of that.
    pub(super) send: Option<Arc<(SendRule, Option<SendRule>)>>,
    pub(super) keyvalue: Option<Arc<KeyValueRule>>,
}

impl Powers {
    /// Makes the grants of a file into powers, as far as the ceiling allows. The notes tell what it did not allow.
    ///
    /// # Errors
    /// A directory or a secret is not there, or not what it was, in words.
    pub(super) fn resolve(
        file: &GrantsFile,
        ceiling: Option<&GrantsCeiling>,
    ) -> Result<(Self, Vec<String>), String> {
        let mut notes = Vec::new();
        let mut beyond =
            |what: String| notes.push(format!("{what} is beyond the ceiling of this host's [grants]"));

        let places = file.directories.iter().map(Place::open).collect::<Result<Vec<_>, _>>()?;
        led_astray(&file.directories, &places)?;
        let mut directories = Vec::new();
        for mut place in places {
            let within = |allowed: &&Directory| {
                allowed.host.canonicalize().is_ok_and(|allowed| place.real().starts_with(allowed))
            };
            if let Some(ceiling) = ceiling {
                let covering: Vec<&Directory> = ceiling.directories.iter().filter(within).collect();
                if covering.is_empty() {
                    beyond(format!("the directory {}", place.real().display()));
                    continue;
                }
                if place.write && !covering.iter().any(|allowed| allowed.write) {
                    beyond(format!("writing to the directory {}", place.real().display()));
                    place.write = false;
                }
            }
            directories.push(place);
        }

        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &file.env {
            match ceiling {
                Some(ceiling) if !covers(&ceiling.env, name) => beyond(format!("the variable {name}")),
                _ => drop(env.insert(name.clone(), value.clone())),
            }
        }
        let mut secrets = Vec::new();
        for (name, rule) in &file.secrets {
            let Some(value) = rule.read(name, ceiling.map(|ceiling| &ceiling.secrets))? else {
                beyond(format!("the source of the secret {name}"));
                continue;
            };
            let secret = Secret::new(value, rule.origins.clone())
                .map_err(|what| format!("the secret {name}: {what}"))?;
            env.insert(name.clone(), secret.placeholder().to_owned());
            secrets.push(secret);
        }
        let mut reaches = !file.http.is_empty();
        if let Some(ceiling) = ceiling {
            let (some, lost) = overlap(&file.http, &ceiling.http);
            reaches = some;
            lost.into_iter().for_each(&mut beyond);
        }
        let http = reaches
            .then(|| Http::new(file.http.clone(), ceiling.map(|c| c.http.clone()), secrets).map(Arc::new))
            .transpose()?;
        let send = file.send.clone().map(|rule| {
            let most = ceiling.map(|ceiling| ceiling.send.clone());
            if let Some(most) = &most {
                let lost = |name: &&String| !most.covers(name) && !most.tasks.contains(name);
                rule.tasks.iter().filter(lost).for_each(|name| beyond(format!("sending {name}")));
            }
            let rule = most.iter().fold(rule, SendRule::within);
            Arc::new((rule, most))
        });
        let keyvalue = file.keyvalue.clone().map(|mut rule| {
            if let Some(most) = ceiling.map(|ceiling| &ceiling.keyvalue) {
                let (kept, lost) = rule.buckets.into_iter().partition(|name| covers(&most.buckets, name));
                rule.buckets = kept;
                let lost: Vec<String> = lost;
                lost.into_iter().for_each(|name| beyond(format!("the bucket {name}")));
                rule = rule.within(most);
            }
            Arc::new(rule)
        });
        Ok((Self { http, directories, env: env.into_iter().collect(), send, keyvalue }, notes))
    }

    /// The first directory that a guest could write the host's own files through: plugins, grants, compiled code.
    /// `ways`: the directories that decide which files those are.
    pub(super) fn trespass(&self, own: &[PathBuf], ways: &BTreeSet<PathBuf>) -> Option<String> {
        let own: Vec<PathBuf> = own.iter().filter_map(|dir| dir.canonicalize().ok()).collect();
        let shared = |place: &Place| {
            let within =
                own.iter().find(|own| own.starts_with(place.real()) || place.real().starts_with(own));
            within.or_else(|| ways.iter().find(|way| way.starts_with(place.real()))).cloned()
        };
        let mut written = self.directories.iter().filter(|place| place.write);
        let (place, own) = written.find_map(|place| Some((place, shared(place)?)))?;
        let (place, own) = (place.real().display(), own.display());
        Some(format!("write = true for the directory {place} would let a guest change the host's own {own}"))
    }

    /// The directory that its guests may write in and that holds one of these, if any.
    pub(super) fn written(&self, ways: &BTreeSet<PathBuf>) -> Option<&Path> {
        let holds = |place: &&Place| place.write && ways.iter().any(|way| way.starts_with(place.real()));
        self.directories.iter().find(holds).map(Place::real)
    }
}

/// Refuses a directory that stands below one granted for writing and has become a link out of it: the guest that
/// may write there may have made the link.
fn led_astray(directories: &[Directory], places: &[Place]) -> Result<(), String> {
    for (written, place) in directories.iter().zip(places) {
        let maker = directories.iter().zip(places).find(|(outer, at)| {
            let below = written.host.starts_with(&outer.host) || written.host.starts_with(at.real());
            outer.write && below && !place.real().starts_with(at.real())
        });
        if let Some((outer, _)) = maker {
            let (host, real, outer) = (written.host.display(), place.real().display(), outer.host.display());
            return Err(format!(
                "the directory {host} leads to {real}, out of {outer}, where guests may write"
            ));
        }
    }
    Ok(())
}

/// Whether a ceiling leaves anything of these rules, and what it takes away.
fn overlap(rules: &[HttpRule], ceiling: &[HttpRule]) -> (bool, Vec<String>) {
    let (mut some, mut lost) = (false, Vec::new());
    for HttpRule { origin, methods, private } in rules {
        let shared = |most: &&HttpRule| most.origin.contains(origin) || origin.contains(&most.origin);
        let most: Vec<&HttpRule> = ceiling.iter().filter(shared).collect();
        let (kept, taken): (Vec<&String>, Vec<&String>) =
            methods.iter().partition(|method| most.iter().any(|most| most.methods.contains(method)));
        if kept.is_empty() {
            lost.push(format!("the origin {origin}"));
            continue;
        }
        some = true;
        lost.extend(taken.into_iter().map(|method| format!("{method} {origin}")));
        if *private && !most.iter().any(|most| most.private) {
            lost.push(format!("a private address of {origin}"));
        }
        if !most.iter().any(|most| most.origin.contains(origin)) {
            lost.push(format!("a part of {origin}"));
        }
    }
    (some, lost)
}

/// Reads a file of grants, which `<plugin>.toml` is.
///
/// # Errors
/// As of opening and reading; also if it is no file, or too large for one of grants.
pub(crate) fn read_grants(path: &Path) -> io::Result<String> {
    Ok(place::read_text(path, GRANTS_BYTES_MAX)?.0)
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
        let below = inside.join("below");
        std::fs::create_dir_all(&below).and_then(|()| std::fs::create_dir(&outside)).expect("made");
        std::os::unix::fs::symlink(&outside, inside.join("link")).expect("linked");
        let file = format!(
            "env = {{ A = \"1\", B = \"2\" }}\n\
             [[directories]]\nhost = {below:?}\nguest = \"/in\"\nwrite = true\n\
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
        std::fs::write(&path, "x".repeat(8193)).expect("written");
        assert!(resolve(&file, None).expect_err("too large").contains("more than 8192 bytes"));
        std::fs::remove_file(&path).expect("gone");
        assert!(resolve(&file, None).expect_err("no file").contains("TOKEN"));
    }

    #[test]
    fn a_ceiling_knows_secrets_by_their_sources() {
        let dir = tempfile::tempdir().expect("directory");
        let (allowed, other) = (dir.path().join("allowed"), dir.path().join("other"));
        std::fs::create_dir(&allowed).expect("made");
        std::fs::write(allowed.join("a"), "s3cret")
            .and_then(|()| std::fs::write(&other, "0ther"))
            .expect("written");
        std::os::unix::fs::symlink(&other, allowed.join("link")).expect("linked");
        let granted = |source: String| {
            let file = format!(
                "[[http]]\norigin = \"https://a.example\"\n\
                 [secrets.TOKEN]\n{source}\norigins = [\"https://a.example\"]\n"
            );
            let ceiling = format!(
                "http = [{{ origin = \"https://a.example\" }}]\n\
                 [secrets]\nfiles = [{allowed:?}]\nenv = [\"CARGO_PKG_NAME\", \"TOKEN\"]\n"
            );
            let (powers, notes) = resolve(&file, Some(&ceiling)).expect(&source);
            assert_eq!(powers.env.is_empty(), notes.iter().any(|note| note.contains("TOKEN")), "{notes:?}");
            !powers.env.is_empty()
        };
        let file = |path: &Path| granted(format!("file = {path:?}"));
        assert!(file(&allowed.join("a")) && granted("env = \"CARGO_PKG_NAME\"".to_owned()));
        assert!(!file(&other), "its name for the guest counts for nothing");
        assert!(!file(&allowed.join("link")) && !file(&allowed.join("../other")), "no way around it");
        assert!(!granted("env = \"PATH\"".to_owned()));
        let names = "secrets = [\"TOKEN\"]".parse().expect("TOML");
        assert!(GrantsCeiling::parse(names).is_err(), "a list of names says nothing about sources");
    }

    #[test]
    fn what_a_ceiling_leaves_of_http_is_told() {
        let rules = |origin: &str, more: &str| format!("[[http]]\norigin = \"{origin}\"\n{more}\n");
        for (grant, ceiling, reaches, words) in [
            (rules("https://a.example", ""), rules("https://*.example", ""), true, None),
            (
                rules("https://a.example", ""),
                rules("https://b.example", ""),
                false,
                Some("the origin https://a"),
            ),
            (rules("https://a.example", ""), String::new(), false, Some("the origin https://a")),
            (
                rules("https://a.example", "methods = [\"GET\", \"PUT\"]"),
                rules("https://*", ""),
                true,
                Some("PUT https://a.example"),
            ),
            (rules("https://*", ""), rules("https://*.example", ""), true, Some("a part of https://*")),
            (
                rules("http://10.0.0.1", "private = true"),
                rules("http://10.0.0.1", ""),
                true,
                Some("a private address"),
            ),
        ] {
            let (powers, notes) = resolve(&grant, Some(&ceiling)).expect("granted");
            assert_eq!(powers.http.is_some(), reaches, "{grant} under {ceiling}");
            assert_eq!(notes.len(), usize::from(words.is_some()), "{notes:?}");
            assert!(words.is_none_or(|words| notes[0].starts_with(words)), "{notes:?}");
        }
    }
}
