//! What loads and what does not, and why.

use std::fs;

use hostler::sandbox::{Fault, PluginError, Sandbox, SandboxConfig};
use hostler::task::Outcome;

use super::{bytes, call, load, run, sandbox};

async fn refused(name: &str, bytes: Vec<u8>) -> Fault {
    let PluginError { file, fault } = sandbox().load(name, bytes).await.expect_err("refused");
    assert_eq!(file, format!("{name}.wasm"));
    fault
}

#[tokio::test]
async fn files_that_are_no_plugin_are_told_apart() {
    assert!(matches!(refused("a", b"hello".to_vec()).await, Fault::NotWasm));
    assert!(matches!(refused("a", b"\0asm\x01\0\0\0".to_vec()).await, Fault::CoreModule));
    assert!(matches!(refused("a", b"\0asm\x0d\0\x01\0".to_vec()).await, Fault::NoGuest(_)));
    let whole = bytes("text");
    assert!(matches!(refused("text", whole[..whole.len() / 2].to_vec()).await, Fault::Truncated));
    let no_such_section = [&whole[..], b"\x7f\0"].concat();
    assert!(matches!(refused("text", no_such_section).await, Fault::Invalid(_)));
    let fault = refused("other", whole).await;
    assert!(matches!(&fault, Fault::OtherName { declared, .. } if declared == "text"), "{fault}");
}

#[tokio::test]
async fn another_contract_is_named() {
    let contract = |bytes: &[u8], to: &str| {
        let (from, to) = (b"hostler:plugin/guest@0.1.0", to.as_bytes());
        assert_eq!(from.len(), to.len());
        let mut bytes = bytes.to_vec();
        while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        bytes
    };
    let fault = refused("text", contract(&bytes("text"), "hostler:plugin/guest@7.1.0")).await;
    let told = fault.to_string();
    assert!(matches!(fault, Fault::OtherContract { .. }), "{told}");
    assert!(told.contains("guest@7.1.0") && told.contains("hostler:plugin@0.1.0"), "{told}");
}

#[tokio::test]
async fn what_a_plugin_needs_and_no_plugin_gets_is_named() {
    let bytes = rename(&bytes("text"), b"wasi:cli/environment@", b"wasi:cli/environmens@");
    let Fault::MissingImports(missing) = refused("text", bytes).await else { panic!("another fault") };
    assert!(missing.len() == 1 && missing[0].starts_with("wasi:cli/environmens@0.2"), "{missing:?}");
}

pub(super) fn rename(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[tokio::test]
async fn compiled_code_is_cached_and_checked() {
    let dir = tempfile::tempdir().expect("directory");
    let start = || {
        let cache_dir = Some(dir.path().join("code"));
        Sandbox::start(SandboxConfig { slots: 2, threads: 2, cache_dir, ..SandboxConfig::default() })
            .expect("a sandbox")
    };
    let code = || {
        let files = fs::read_dir(dir.path().join("code")).expect("listed");
        let mut files = files.map(|entry| entry.expect("entry").path());
        files.find(|path| path.extension().is_some_and(|e| e == "cwasm")).expect("compiled code")
    };
    load(&start(), "text").await;
    let (path, first) = (code(), fs::read(code()).expect("read"));
    let mut changed = first.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    fs::write(&path, &changed).expect("written");
    let sandbox = start();
    let text = load(&sandbox, "text").await;
    assert_ne!(fs::read(&path).expect("read"), changed, "compiled again");
    let report = run(&sandbox, &text, call("word_count", r#"{"text": "x"}"#)).await;
    assert!(matches!(report.outcome, Outcome::Returned(_)));

    // What the cache holds is no plugin.
    let native = fs::read(&path).expect("read")[32..].to_vec();
    assert!(matches!(refused("text", native).await, Fault::Precompiled));
}
