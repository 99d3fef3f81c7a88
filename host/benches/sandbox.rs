//! What an attempt costs: `Sandbox::run` against the least that wasmtime can do for the same guest.
//!
//! `cargo bench -p hostler --bench sandbox`, with `misbehave.wasm` built. `HOSTLER_BENCH_PLUGIN` names another file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use hostler::sandbox::{Call, Limits, Sandbox, SandboxConfig, Stop};
use hostler::task::{Outcome, TaskId};
use hyper::{Request, Response};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable, ResourceType};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, p2};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

mod bindings {
    wasmtime::component::bindgen!({ world: "plugin", path: "../wit", exports: { default: async } });
}

use bindings::PluginPre;

const SLOTS: u32 = 64;

fn main() {
    let path = std::env::var_os("HOSTLER_BENCH_PLUGIN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/dist/misbehave.wasm")),
        PathBuf::from,
    );
    let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let sandbox =
        Sandbox::start(SandboxConfig { slots: SLOTS as usize, ..SandboxConfig::default() }).expect("started");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let plugin = Arc::new(runtime.block_on(sandbox.load("misbehave", wasm.clone())).expect("loaded"));
    let bare = Bare::new(&wasm);

    // Both inside a task on the wasm threads, so that the only difference is what `Sandbox::run` adds.
    let through_sandbox = |rounds: u64| {
        let (inner, plugin) = (Arc::clone(&sandbox), Arc::clone(&plugin));
        let task = sandbox.spawn(async move {
            let began = Instant::now();
            for _ in 0..rounds {
                let report = inner.run(&plugin, call()).await.expect("the host is in order");
                assert!(matches!(report.outcome, Outcome::Returned(_)), "{report:?}");
            }
            began.elapsed()
        });
        runtime.block_on(task).expect("no panic")
    };
    let through_bare = |rounds: u64| {
        let bare = bare.clone();
        let task = sandbox.spawn(async move {
            let began = Instant::now();
            for _ in 0..rounds {
                bare.run().await;
            }
            began.elapsed()
        });
        runtime.block_on(task).expect("no panic")
    };

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("attempt");
    group.bench_function("sandbox", |b| b.iter_custom(through_sandbox));
    group.bench_function("bare wasmtime", |b| b.iter_custom(through_bare));
    group.finish();
    criterion.final_summary();

    // In turns, so that a busy machine is unfair to both.
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..20 {
        ours = ours.min(through_sandbox(1000) / 1000);
        bare = bare.min(through_bare(1000) / 1000);
    }
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!(
        "attempt: {ours:.1?} through Sandbox::run, {bare:.1?} bare, ratio {ratio:.2} (best of 20 x 1000)"
    );
}

fn call() -> Call {
    Call {
        task: "noop".to_owned(),
        args: b"{}".to_vec(),
        id: TaskId::nil(),
        attempt: 1,
        retries: 0,
        previous_error: None,
        limits: Limits::default(),
        stop: Stop::new(),
        host_calls: None,
    }
}

/// The same pool settings, bindings and WASI, a fresh store for each call. No limits, no clock, no log.
#[derive(Clone)]
struct Bare {
    engine: Engine,
    pre: PluginPre<State>,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Silent,
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The component imports HTTP, and no attempt here uses it.
struct Silent;

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Silent {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

impl Bare {
    fn new(wasm: &[u8]) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(SLOTS)
            .total_core_instances(8 * SLOTS)
            .total_memories(2 * SLOTS)
            .total_tables(4 * SLOTS)
            .total_stacks(SLOTS)
            .linear_memory_keep_resident(128 << 10)
            .table_keep_resident(16 << 10)
            // As the sandbox has it. From Linux 6.7 on it more than halves the cost, so a baseline without it
            // would compare pools and make `Sandbox::run` look faster than what it is built on.
            .pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config.concurrency_support(false).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).expect("an engine");
        let mut linker: Linker<State> = Linker::new(&engine);
        p2::add_to_linker_async(&mut linker).expect("WASI");
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).expect("HTTP");
        let component = Component::from_binary(&engine, wasm).expect("compiled");
        // What else it imports, `noop` does not call; if that changes, the trap fails the assertion in `run`.
        for (name, import) in component.component_type().imports(&engine) {
            if let ComponentItem::ComponentInstance(instance) = import.ty
                && !name.starts_with("wasi:") | name.starts_with("wasi:keyvalue/")
            {
                let mut traps = linker.instance(name).expect("once");
                for (name, export) in instance.exports(&engine) {
                    let linked = match export.ty {
                        ComponentItem::ComponentFunc(_) => {
                            traps.func_new(name, |_, _, _, _| wasmtime::bail!("nothing is there"))
                        }
                        ComponentItem::Resource(_) => {
                            traps.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))
                        }
                        _ => Ok(()),
                    };
                    linked.expect("a trap");
                }
            }
        }
        let pre = PluginPre::new(linker.instantiate_pre(&component).expect("linked")).expect("a plugin");
        Self { engine, pre }
    }

    async fn run(&self) {
        let state = State {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks: Silent,
        };
        let mut store = Store::new(&self.engine, state);
        let plugin = self.pre.instantiate_async(&mut store).await.expect("instantiated");
        let result = plugin.hostler_plugin_guest().call_run(&mut store, "noop", b"{}").await;
        assert!(result.expect("no trap").is_ok());
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
