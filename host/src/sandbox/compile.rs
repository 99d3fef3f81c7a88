//! Compiling, apart from the host: in a process of its own, bounded in time and memory.
//!
//! What a compiler needs for a component is not counted as a fault by wasmtime, and a crash in it would be the
//! host's. So the host runs itself once more as `hostler compile`, which takes its limits upon itself, reads a
//! component on stdin and writes native code to stdout. A program that embeds the sandbox has no such command; it
//! names one ([`Compiler::program`]), or its components are compiled on a thread of its own, bounded in number alone.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::engine;
use super::error::{Fault, one_line};

/// The exit code of a component that is none.
const INVALID: u8 = 3;
/// What the compiler says is kept up to this.
const WORDS_BYTES_MAX: u64 = 4 << 10;
/// Native code has up to so many bytes for each of its component, and so many more.
const CODE_BYTES_EACH: u64 = 32;
const CODE_BYTES_MORE: u64 = 16 << 20;
/// More threads compile hardly faster, and each takes memory.
const THREADS_MAX: usize = 4;

/// What one compilation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct CompileLimits {
    /// By the clock, in milliseconds.
    pub timeout_ms: u64,
    /// CPU time over all its threads, in milliseconds; whole seconds count.
    pub cpu_ms_max: u64,
    /// Address space, in bytes.
    pub memory_bytes_max: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { timeout_ms: 300_000, cpu_ms_max: 600_000, memory_bytes_max: 4 << 30 }
    }
}

/// Where components are compiled.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// A program that has the command `compile`: hostler of this very version.
    pub program: PathBuf,
    /// What one compilation may use.
    pub limits: CompileLimits,
}

impl Compiler {
    /// The program that runs now, even if another one has taken its place on disk.
    #[must_use]
    pub fn own(limits: CompileLimits) -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), limits }
    }

    /// Compiles a component. Dropping the future ends the compiler.
    pub(super) async fn compile(&self, stack_bytes: u64, wasm: &[u8]) -> Result<Vec<u8>, Fault> {
        let own = |error: io::Error| Fault::Host(format!("the compiler {}: {error}", self.program.display()));
        let CompileLimits { timeout_ms, cpu_ms_max, memory_bytes_max } = self.limits;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let mut child = Command::new(&self.program)
            .arg("compile")
            .args([stack_bytes, cpu_ms_max.div_ceil(1_000), memory_bytes_max].map(|n| n.to_string()))
            // Neither secrets nor settings reach it.
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            // Address space is what is counted; by itself each thread reserves a share of its own.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(own)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(Fault::Host("the compiler has no pipes".to_owned()));
        };
        let code_max = (wasm.len() as u64).saturating_mul(CODE_BYTES_EACH).saturating_add(CODE_BYTES_MORE);
        let mut stdout = stdout.take(code_max.saturating_add(1));
        let (mut code, mut words) = (Vec::new(), Vec::new());
        let talk = async {
            let give = async {
                // A compiler that died does not read on; how it ended says more.
                let _died = stdin.write_all(wasm).await;
                drop(stdin);
            };
            let mut stderr = stderr.take(WORDS_BYTES_MAX);
            let take = async {
                stdout.read_to_end(&mut code).await?;
                match code.len() as u64 > code_max {
                    true => Err(io::ErrorKind::FileTooLarge.into()),
                    false => Ok(()),
                }
            };
            // It is not waited for when it says too much: it would go on for ever.
            let heard = async { tokio::join!(give, stderr.read_to_end(&mut words)).1 };
            tokio::try_join!(take, heard)?;
            child.wait().await
        };
        let ended = match tokio::time::timeout(Duration::from_millis(timeout_ms), talk).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(Fault::Compiler(format!("its native code has more than {code_max} bytes")));
            }
            Ok(ended) => ended.map_err(own)?,
            Err(_) => {
                return Err(Fault::Compiler(format!("it took longer than {timeout_ms} ms (timeout_ms)")));
            }
        };
        match self.judge(ended, String::from_utf8_lossy(&words).trim()) {
            None => Ok(code),
            Some(fault) => Err(fault),
        }
    }

    /// What is wrong, by how the compiler ended and what it said.
    fn judge(&self, ended: ExitStatus, words: &str) -> Option<Fault> {
        use std::os::unix::process::ExitStatusExt;
        let CompileLimits { cpu_ms_max, memory_bytes_max, .. } = self.limits;
        let said: Vec<&str> = words.lines().filter(|line| !line.starts_with("note: ")).collect();
        let last = said.last().copied().unwrap_or_default();
        // The allocator's words, the system's for a mapping, and its for a thread that has no room for its stack.
        let signs = [
            "memory allocation of",
            "Cannot allocate memory",
            "out of memory",
            "Resource temporarily unavailable",
        ];
        let out_of_memory = signs.iter().any(|sign| words.contains(sign));
        if ended.success() {
            return None;
        }
        Some(match (ended.code(), ended.signal()) {
            _ if out_of_memory => Fault::Compiler(format!(
                "it needed more than {memory_bytes_max} bytes of address space (memory_bytes_max)"
            )),
            (Some(code), _) if code == i32::from(INVALID) => Fault::Invalid(words.to_owned()),
            (_, Some(signal)) if signal == Signal::XCPU.as_raw() || signal == Signal::KILL.as_raw() => {
                Fault::Compiler(format!(
                    "it used more than {cpu_ms_max} ms of CPU time (cpu_ms_max), or was killed"
                ))
            }
            (_, Some(signal)) => Fault::Compiler(format!("it died of signal {signal}: {last}")),
            (code, _) => Fault::Compiler(format!("it failed with code {}: {last}", code.unwrap_or_default())),
        })
    }
}

/// The command `compile`, in the process of its own: `args` are the guest's stack in bytes, CPU seconds, and address
/// space in bytes.
#[must_use]
pub fn compile_as_child(args: &[OsString]) -> ExitCode {
    let number = |at: usize| args.get(at).and_then(|text| text.to_str()?.parse::<u64>().ok());
    let (Some(stack_bytes), Some(cpu_seconds), Some(memory_bytes)) = (number(0), number(1), number(2)) else {
        return said(2, "three numbers are wanted: stack bytes, CPU seconds, bytes of address space");
    };
    let bounded = confine(cpu_seconds, memory_bytes);
    let mut wasm = Vec::new();
    if let Err(error) = bounded.and_then(|()| io::stdin().lock().read_to_end(&mut wasm)) {
        return said(1, error);
    }
    match engine::compile(stack_bytes, &wasm) {
        Err(error) => said(INVALID, one_line(&error)),
        Ok(code) => match io::stdout().lock().write_all(&code) {
            Err(error) => said(1, error),
            Ok(()) => ExitCode::SUCCESS,
        },
    }
}

fn confine(cpu_seconds: u64, memory_bytes: u64) -> io::Result<()> {
    // Nobody waits for what it does once its host is gone.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let at_most = |resource, most: u64| {
        // What the host itself was allowed is the end of it.
        let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
    };
    at_most(Resource::Core, 0)?;
    at_most(Resource::Fsize, 0)?;
    at_most(Resource::Cpu, cpu_seconds.max(1))?;
    at_most(Resource::As, memory_bytes)?;
    // Attempts come first.
    let _as_it_is = nice(10);
    Ok(())
}

fn said(code: u8, words: impl std::fmt::Display) -> ExitCode {
    let _closed = writeln!(io::stderr().lock(), "{words}");
    ExitCode::from(code)
}
