//! Feeds the loader broken components and broken grants: nothing may crash it, and nothing may keep it.
//!
//! `cargo bench -p hostler --bench fuzz -- --inputs 10000 [--seed N]`, with another seed each time if none is given. One
//! input in ten is a component, the others are files of grants or host configurations. What loads is run. A finding names
//! its seed and number, and can be had again with them. `HOSTLER_BENCH_PLUGIN` names the plugin to begin with,
//! `HOSTLER_BENCH_COMPONENT` a component of plain functions, taken in turns with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hostler::sandbox::{Bounds, Call, Fault, GrantsFile, Limits, Plugin, Sandbox, SandboxConfig, Stop};
use hostler::task::TaskId;

/// No load may take longer, on a slow machine and with an unoptimised compiler.
const LONGEST: Duration = Duration::from_secs(300);

/// What links the most.
const ALL: &str = "http = [{ origin = \"https://a.example\" }]\nsend = { tasks = [\"*\"] }\nkeyvalue = { buckets = [\"b\"] }";

/// Everything a file of grants can have, for the mutations to start from.
const GRANTS: &str = r#"
[[http]]
origin = "https://*.example.com:8443"
methods = ["GET", "POST"]
[[http]]
origin = "http://[::1]:8080"
private = true
[[directories]]
host = "/srv/in"
guest = "/in"
write = false
[send]
tasks = ["text.*", "image.shrink"]
depth_max = 3
[keyvalue]
buckets = ["seen"]
bytes_max = 1000
[env]
LANG = "de"
[secrets.TOKEN]
env = "NO_SUCH_VARIABLE"
origins = ["http://[::1]:8080"]
[limits]
timeout_ms = 5_000
[tasks.noop.limits]
memory_bytes_max = 1_000_000
"#;

const BOUNDS: &str = r#"
[limits]
timeout_ms = 1
[ceiling]
memory_bytes_max = 5
[grants]
env = ["*"]
secrets = { files = [], env = ["*"] }
[[grants.http]]
origin = "https://*"
[[grants.directories]]
host = "/srv"
"#;

fn main() {
    let number = |name: &str, default: u64| {
        let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
        args.next().map_or(default, |text| text.parse().expect("a number"))
    };
    let (inputs, seed) = (number("--inputs", 10_000), number("--seed", fastrand::u64(..1_000_000)));
    println!("seed {seed}");
    let path = std::env::var_os("HOSTLER_BENCH_PLUGIN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/dist/misbehave.wasm")),
        PathBuf::from,
    );
    let read =
        |path: &PathBuf| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let component = std::env::var_os("HOSTLER_BENCH_COMPONENT").map(PathBuf::from);
    let mut seeds = vec![(stem(&path), read(&path))];
    seeds.extend(component.iter().map(|path| (stem(path), read(path))));
    let sandbox =
        Sandbox::start(SandboxConfig { slots: 2, threads: 2, ..SandboxConfig::default() }).expect("started");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");

    let (mut loaded, mut refused, mut granted, mut slowest) = (0_u64, 0_u64, 0_u64, Duration::ZERO);
    for input in 0..inputs {
        // A generator for each input: any one of them can be had again alone.
        let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(input));
        let began = Instant::now();
        if input % 10 == 0 {
            let (name, wasm) = rng.choice(&seeds).expect("there is one");
            let bytes = mutated(wasm.clone(), &mut rng);
            let grants = rng.bool().then_some(ALL);
            let load =
                async { tokio::time::timeout(LONGEST, sandbox.load_granted(name, bytes, grants)).await };
            let load = runtime.block_on(load);
            match load.unwrap_or_else(|_| panic!("seed {seed}, input {input}: the loader hangs")) {
                Ok(plugin) => {
                    loaded += 1;
                    let ran = runtime.block_on(run(&sandbox, plugin));
                    ran.unwrap_or_else(|what| panic!("seed {seed}, input {input}: {what}"));
                }
                Err(error) if is_crash(&error.fault) => panic!("seed {seed}, input {input}: {error}"),
                Err(_) => refused += 1,
            }
        } else {
            let text = if input % 3 == 0 { BOUNDS } else { GRANTS };
            let bytes = mutated(text.as_bytes().to_vec(), &mut rng);
            let text = String::from_utf8_lossy(&bytes);
            let parsed = catch_unwind(AssertUnwindSafe(|| {
                u64::from(GrantsFile::parse(&text).is_ok()) + u64::from(Bounds::parse(&text).is_ok())
            }));
            granted += parsed.unwrap_or_else(|_| panic!("seed {seed}, input {input}: panics over {text}"));
        }
        slowest = slowest.max(began.elapsed());
    }
    // Whatever that did, the next plugin loads.
    for (name, wasm) in seeds {
        runtime.block_on(sandbox.load(&name, wasm)).expect("the loader still works");
    }
    println!(
        "{inputs} inputs with seed {seed}: {loaded} components loaded and ran, {refused} refused, {granted} files of \
         grants still read, the slowest input took {slowest:.1?}"
    );
}

fn stem(path: &Path) -> String {
    path.file_stem().and_then(|stem| stem.to_str()).expect("a file's name").to_owned()
}

/// Whether something of the host's broke, in place of the component being refused.
fn is_crash(fault: &Fault) -> bool {
    match fault {
        Fault::CompilerPanicked(_) | Fault::Compiler(_) | Fault::Host(_) => true,
        Fault::Describe(what) => what.contains("the host panicked"),
        _ => false,
    }
}

/// Runs each of its tasks. Whatever the guest does is its own affair; only the host has to be in order.
async fn run(sandbox: &Arc<Sandbox>, plugin: Plugin) -> Result<(), String> {
    let plugin = Arc::new(plugin);
    for task in plugin.descriptor().tasks.iter().take(4) {
        let call = Call {
            task: task.name.clone(),
            args: b"{}".to_vec(),
            id: TaskId::now_v7(),
            attempt: 1,
            retries: 0,
            previous_error: None,
            limits: Limits {
                timeout_ms: 1_000,
                cpu_ms_max: 100,
                memory_bytes_max: 32 << 20,
                ..Limits::DEFAULT
            },
            stop: Stop::new(),
            host_calls: None,
        };
        let (inner, plugin) = (sandbox.clone(), plugin.clone());
        let ran = sandbox.spawn(async move { inner.run(&plugin, call).await });
        match tokio::time::timeout(LONGEST, ran).await {
            Err(_) => return Err(format!("{} never ends", task.name)),
            Ok(Err(panic)) => return Err(format!("{}: {panic}", task.name)),
            Ok(Ok(Err(error))) => return Err(format!("{}: {error}", task.name)),
            Ok(Ok(Ok(_))) => {}
        }
    }
    Ok(())
}

/// One to eight changes: a bit, a byte, a piece removed, doubled or moved, the end cut off.
fn mutated(mut bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    // Few more often than many: what is broken everywhere is refused at the door.
    for _ in 0..*rng.choice(&[1, 1, 1, 2, 8]).unwrap_or(&1) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = match rng.bool() {
            // Headers, types and imports are at the front; that is where a loader decides.
            true => rng.usize(..bytes.len().min(4096)),
            false => rng.usize(..bytes.len()),
        };
        let to = (at + rng.usize(1..64)).min(bytes.len());
        match rng.u8(..7) {
            0 => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes[at] = rng.u8(..),
            2 => bytes[at] = *rng.choice(&[0x00, 0x7f, 0x80, 0xff, b'"', b'[', b'=']).unwrap_or(&0),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let piece = bytes[at..to].to_vec();
                let place = rng.usize(..=bytes.len());
                bytes.splice(place..place, piece);
            }
            5 => bytes[at..to].reverse(),
            _ if rng.u8(..4) == 0 => bytes.truncate(at),
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
    bytes
}
