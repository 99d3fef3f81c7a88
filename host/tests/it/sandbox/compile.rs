//! Compiling apart from the host: what a component does to its compiler harms nobody else.

use std::path::PathBuf;
use std::sync::Arc;

use hostler::sandbox::{CompileLimits, Compiler, Fault, Sandbox, SandboxConfig};

use super::{bytes, call, run};
use hostler::task::Outcome;

fn sandbox_with(program: &str, limits: CompileLimits) -> Arc<Sandbox> {
    let compiler = Some(Compiler { program: PathBuf::from(program), limits });
    let config = SandboxConfig { slots: 2, threads: 1, compiler, ..SandboxConfig::default() };
    Sandbox::start(config).expect("a sandbox")
}

const HOSTLER: &str = env!("CARGO_BIN_EXE_hostler");

async fn refused(program: &str, limits: CompileLimits, wasm: Vec<u8>) -> Fault {
    sandbox_with(program, limits).load("text", wasm).await.expect_err("refused").fault
}

/// Valid, and nothing but work for a compiler: so many functions, each of so many additions.
fn heavy(functions: usize, additions: usize) -> Vec<u8> {
    let sums = "local.get 0 local.get 1 i64.mul local.get 0 i64.add local.set 1 ".repeat(additions);
    let function = format!("(func (param i64 i64) (result i64) {sums} local.get 1)");
    wat::parse_str(format!("(component (core module {}))", function.repeat(functions))).expect("a component")
}

#[tokio::test]
async fn what_is_compiled_apart_runs() {
    let sandbox = sandbox_with(HOSTLER, CompileLimits::default());
    let text = Arc::new(sandbox.load("text", bytes("text")).await.expect("loaded"));
    let report = run(&sandbox, &text, call("word_count", r#"{"text": "one two"}"#)).await;
    assert!(matches!(report.outcome, Outcome::Returned(_)), "{report:?}");
    let invalid = [&bytes("text")[..], b"\x7f\0"].concat();
    let fault = refused(HOSTLER, CompileLimits::default(), invalid).await;
    assert!(matches!(fault, Fault::Invalid(_)), "as if compiled here: {fault}");
}

#[tokio::test]
async fn each_limit_of_the_compiler_ends_it_by_name() {
    let memory = CompileLimits { memory_bytes_max: 200 << 20, ..CompileLimits::default() };
    let cpu = CompileLimits { cpu_ms_max: 1_000, ..CompileLimits::default() };
    let time = CompileLimits { timeout_ms: 300, ..CompileLimits::default() };
    let (large, many) = (heavy(4, 150_000), heavy(400, 4_000));
    for (limits, name, wasm) in
        [(memory, "memory_bytes_max", &large), (cpu, "cpu_ms_max", &many), (time, "timeout_ms", &many)]
    {
        let fault = refused(HOSTLER, limits, wasm.clone()).await;
        assert!(matches!(&fault, Fault::Compiler(words) if words.contains(name)), "{name}: {fault}");
        assert!(!fault.is_transient(), "it would be tried for ever");
    }
}

#[tokio::test]
async fn a_compiler_that_is_not_there_or_dies_is_told() {
    let limits = CompileLimits::default();
    let fault = refused("/no/such/program", limits, bytes("text")).await;
    assert!(fault.is_transient() && fault.to_string().contains("/no/such/program"), "{fault}");
    let dir = tempfile::tempdir().expect("directory");
    let dies = dir.path().join("dies");
    std::fs::write(&dies, "#!/bin/sh\nkill -SEGV $$\n").expect("written");
    std::fs::set_permissions(&dies, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("executable");
    let fault = refused(dies.to_str().expect("text"), limits, bytes("text")).await;
    assert!(matches!(&fault, Fault::Compiler(words) if words.contains("signal 11")), "{fault}");
    let babbles = dir.path().join("babbles");
    std::fs::write(&babbles, "#!/bin/sh\nexec cat /dev/zero\n").expect("written");
    std::fs::set_permissions(&babbles, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("executable");
    let fault = refused(babbles.to_str().expect("text"), limits, bytes("text")).await;
    let most = bytes("text").len() * 32 + (16 << 20);
    assert!(fault.to_string().contains(&format!("native code has more than {most} bytes")), "{fault}");
    let says_nothing = refused("/bin/true", limits, bytes("text")).await;
    assert!(matches!(says_nothing, Fault::Invalid(_)), "{says_nothing}");
}
