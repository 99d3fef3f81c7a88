//! Compiled code on disk, authenticated.
//!
//! wasmtime checks a compiled file's version, not its content: a flipped byte is accepted and becomes native code in
//! this process. So each file carries an HMAC-SHA256 over its name and content, under a key that only this user can
//! read. Anything odd means compiling again; nothing here makes a load fail.

use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::error::{Fault, one_line};

const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;

pub(super) struct Cache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
}

impl Cache {
    /// Opens the cache, and makes its directory and key at first use.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let meta = fs::metadata(dir)?;
        if !is_mine(&meta) || meta.mode() & 0o022 != 0 {
            // Whoever may write here may put another key in the place of ours, or a link.
            return Err(io::Error::other("others than this user may write in it (chmod 0700)"));
        }
        let path = dir.join("key");
        let key = match read_private(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(dir, &path)?,
            other => other?,
        };
        let wrong =
            |_| io::Error::other(format!("{} is no key of {KEY_BYTES} bytes: remove it", path.display()));
        Ok(Self { dir: dir.to_owned(), key: key.try_into().map_err(wrong)? })
    }

    /// Takes what an earlier compilation of this component with the same engine and settings left, if it is there.
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let name = name(engine, digest);
        let code = self.read(&name)?;
        // SAFETY: these very bytes came out of `precompile_component` on a host with our key: the MAC over
        // them was just verified, and they are in our memory, where nobody changes them.
        unsafe { Component::deserialize(engine, &code) }
            .inspect_err(|error| tracing::debug!(name, %error, "compiled code does not fit this engine"))
            .ok()
    }

    /// Whether it is there, good or not.
    pub(super) fn holds(&self, engine: &Engine, digest: &str) -> bool {
        self.dir.join(name(engine, digest)).exists()
    }

    /// Keeps what was compiled, if it can.
    pub(super) fn keep(&self, engine: &Engine, digest: &str, code: &[u8]) {
        let name = name(engine, digest);
        if let Err(error) = self.write(&name, code) {
            tracing::warn!(name, %error, "compiled code was not cached");
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.dir.join(name);
        let mut file = match read_private(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cached code is not used");
                return None;
            }
        };
        let code = file.split_off(file.len().min(MAC_BYTES));
        if !same(&file, &hmac(&self.key, &[name.as_bytes(), b"\0", &code])) {
            tracing::warn!(path = %path.display(), "cached code was changed by somebody else and is not used");
            return None;
        }
        Some(code)
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&hmac(&self.key, &[name.as_bytes(), b"\0", code]))?;
        file.write_all(code)?;
        file.persist(self.dir.join(name)).map(drop).map_err(|error| error.error)
    }
}

/// What the code of a component is called: another engine and other settings have a name of their own.
fn name(engine: &Engine, digest: &str) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    format!("{digest}-{:016x}.cwasm", settings.finish())
}

/// Loads what our compiler has just made. A component of more parts than the pool has places for is refused here.
pub(super) fn load_compiled(engine: &Engine, code: &[u8]) -> Result<Component, Fault> {
    // SAFETY: the bytes come straight from the compiler.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| Fault::Invalid(one_line(&error)))
}

/// Reads a file that must be ours alone, in one go from one handle.
fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || !is_mine(&meta) || meta.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "{} is not a file of this user alone (mode 0600)",
            path.display()
        )));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_mine(meta: &Metadata) -> bool {
    // SAFETY: takes nothing, changes nothing and cannot fail.
    meta.uid() == unsafe { libc::geteuid() }
}

fn make_key(dir: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let mut key = vec![0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    // Written aside, with mode 0600, and put in place whole: of several hosts that start at once, one wins.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => read_private(path),
        Err(failed) => Err(failed.error),
    }
}

/// HMAC-SHA256 (RFC 2104) for keys of at most one block.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC_BYTES] {
    const BLOCK: usize = 64;
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Sha256::new_with_prefix(pad(0x36));
    parts.iter().for_each(|part| inner.update(part));
    Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
}

/// Compares without telling by its time how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    impl Cache {
        /// As a load does.
        fn load_or_compile(&self, engine: &Engine, compile: impl FnOnce() -> Vec<u8>) {
            if self.load(engine, "d").is_none() {
                let code = compile();
                self.keep(engine, "d", &code);
                load_compiled(engine, &code).expect("loaded");
            }
        }
    }

    fn only_code(dir: &Path) -> PathBuf {
        let mut files = fs::read_dir(dir).expect("listed").map(|entry| entry.expect("entry").path());
        files.find(|path| path.extension().is_some_and(|e| e == "cwasm")).expect("one compiled file")
    }

    #[test]
    fn the_mac_is_hmac_sha256() {
        // RFC 4231, test case 2.
        let mac = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_flipped_byte_means_compiling_again() {
        let dir = tempfile::tempdir().expect("directory");
        let cache = Cache::open(dir.path()).expect("cache");
        let engine = Engine::default();
        let compile = || engine.precompile_component(EMPTY).expect("an empty component");
        cache.load_or_compile(&engine, compile);
        let path = only_code(dir.path());
        let name = path.file_name().and_then(|n| n.to_str()).expect("name").to_owned();
        assert!(cache.read(&name).is_some(), "kept");

        let good = fs::read(&path).expect("read");
        for at in [0, MAC_BYTES, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("written");
            assert!(cache.read(&name).is_none(), "byte {at}");
        }
        fs::write(&path, &good[..10]).expect("written");
        assert!(cache.read(&name).is_none(), "shorter than a MAC");
        cache.load_or_compile(&engine, compile);
        assert!(cache.read(&name).is_some(), "put right");
        let unasked = || panic!("it is there already");
        cache.load_or_compile(&engine, unasked);
        fs::rename(&path, dir.path().join("other.cwasm")).expect("renamed");
        assert!(cache.read("other.cwasm").is_none(), "the name counts");
    }

    #[test]
    fn another_key_and_other_settings_mean_compiling_again() {
        let dir = tempfile::tempdir().expect("directory");
        let engine = Engine::default();
        let compiled = std::cell::Cell::new(0);
        let load = |engine: &Engine| {
            let compile = || {
                compiled.set(compiled.get() + 1);
                engine.precompile_component(EMPTY).expect("an empty component")
            };
            Cache::open(dir.path()).expect("cache").load_or_compile(engine, compile);
            compiled.get()
        };
        assert_eq!((load(&engine), load(&engine)), (1, 1));
        let mut other = wasmtime::Config::new();
        let other = Engine::new(other.epoch_interruption(true)).expect("an engine");
        assert_eq!((load(&other), load(&other), load(&engine)), (2, 2, 2), "each has its own");
        fs::remove_file(dir.path().join("key")).expect("removed");
        assert_eq!((load(&engine), load(&engine)), (3, 3), "what the old key vouched for is nobody's");
    }

    #[test]
    fn two_files_that_are_swapped_are_both_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let cache = Cache::open(dir.path()).expect("cache");
        cache.write("a.cwasm", b"one").and_then(|()| cache.write("b.cwasm", b"two")).expect("written");
        assert_eq!(cache.read("a.cwasm").as_deref(), Some(&b"one"[..]));
        let at = |name: &str| dir.path().join(name);
        fs::rename(at("a.cwasm"), at("c"))
            .and_then(|()| fs::rename(at("b.cwasm"), at("a.cwasm")))
            .expect("moved");
        fs::rename(at("c"), at("b.cwasm")).expect("moved");
        assert!(cache.read("a.cwasm").is_none() && cache.read("b.cwasm").is_none());
    }

    #[test]
    fn a_key_that_others_can_read_is_no_key() {
        let dir = tempfile::tempdir().expect("directory");
        let first = Cache::open(dir.path()).expect("made").key;
        assert_eq!(Cache::open(dir.path()).expect("found").key, first);
        let key = dir.path().join("key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("mode");
        assert!(Cache::open(dir.path()).is_err());
    }

    #[test]
    fn a_directory_that_others_can_write_in_holds_no_code() {
        let dir = tempfile::tempdir().expect("directory");
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("mode");
        for (bits, opens) in [(0o777, false), (0o720, false), (0o702, false), (0o755, true), (0o700, true)] {
            mode(bits);
            assert_eq!(Cache::open(dir.path()).is_ok(), opens, "{bits:o}");
        }
    }
}
