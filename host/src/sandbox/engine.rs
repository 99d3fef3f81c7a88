//! The wasmtime engine: what guests may be made of, the pool they live in, and the clock that interrupts them.

use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, Instance, InstanceAllocationStrategy, Module, OptLevel, PoolingAllocationConfig,
    Store, WasmFeatures,
};

use super::Limits;
use super::error::{SandboxError, one_line};

/// How often a running guest comes up for air: CPU limits and fairness have this grain.
const TICK: Duration = Duration::from_millis(5);

/// What host functions may use of a guest's stack, on top of what wasm may.
const HOST_STACK_BYTES: usize = 1 << 20;

/// What one component may be made of. Guests in interpreted languages have about a third of it, others less.
const CORE_INSTANCES_MAX: u32 = 20;
const MEMORIES_MAX: u32 = 4;
const TABLES_MAX: u32 = 8;
/// Up to so many slots each has room for the most memories a component may have.
const SLOTS_ROOMY: u32 = 2_050;

/// Written by hand: `(module (memory 1))`.
const ONE_PAGE: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01";

/// Builds the engine for at most `slots` guests at once. Without room for a pool (`ulimit -v`, a small address
/// space) every guest gets its memory from the system, at about twice the cost.
pub(super) fn build(slots: usize, ceiling: &Limits, stack_bytes: u64) -> Result<Engine, SandboxError> {
    let pooled = config(stack_bytes).and_then(|mut config| {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots, ceiling)));
        let engine = Engine::new(&config)?;
        probe(&engine)?;
        Ok(engine)
    });
    pooled.or_else(|reason| {
        let reason = one_line(&reason);
        tracing::warn!(
            reason,
            slots,
            "no pool of sandboxes, each is set up on its own: slower, otherwise the same"
        );
        config(stack_bytes)
            .and_then(|config| Engine::new(&config))
            .map_err(|error| SandboxError::Setup(one_line(&error)))
    })
}

/// Compiles a component for engines of this stack size, pooled or not.
pub(super) fn compile(stack_bytes: u64, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    Engine::new(&config(stack_bytes)?)?.precompile_component(wasm)
}

/// Lets the engine's epoch advance until the engine is gone.
pub(super) fn start_ticking(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("hostler-epoch".to_owned()).spawn(tick).map(drop)
}

fn config(stack_bytes: u64) -> wasmtime::Result<Config> {
    let stack = usize::try_from(stack_bytes)?.max(64 << 10);
    let mut config = Config::new();
    config
        // Every proposal that is on is attack surface. `multi_memory` stays on: without it the host panics on
        // components with two memories.
        .concurrency_support(false)
        .wasm_features(WasmFeatures::GC | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::EXCEPTIONS, false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_wide_arithmetic(false)
        .wasm_multi_memory(true)
        .epoch_interruption(true)
        .max_wasm_stack(stack)
        .async_stack_size(stack.saturating_add(HOST_STACK_BYTES))
        .memory_init_cow(true)
        .cranelift_opt_level(OptLevel::Speed)
        // Saves registering unwind tables at each load; traps are told by name, not by native frames.
        .native_unwind_info(false);
    Ok(config)
}

fn pool(slots: usize, ceiling: &Limits) -> PoolingAllocationConfig {
    // Room for the most that one component may have, in every slot: greedy guests take no neighbour's place. Only
    // memories are too much address space for that (4 GiB each) where there are very many slots. Two more slots
    // are for `describe`.
    let slots = u32::try_from(slots).unwrap_or(u32::MAX).saturating_add(2);
    let memories = if slots <= SLOTS_ROOMY { MEMORIES_MAX } else { 2 };
    let page = 64 << 10;
    let memory = usize::try_from(ceiling.memory_bytes_max).unwrap_or(usize::MAX).min(4 << 30);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(slots.saturating_mul(memories))
        .total_tables(slots.saturating_mul(TABLES_MAX))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(4)
        .max_memory_size(memory.next_multiple_of(page))
        .table_elements(usize::try_from(ceiling.table_elements_max).unwrap_or(usize::MAX))
        .max_unused_warm_slots(slots)
        // More costs more than it saves: the whole window is set to zero after each guest.
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(16 << 10)
        // Resets the pages a guest wrote and no others; from Linux 6.7 on. 22 µs a guest without, 8 with.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// The address space is reserved when the engine is made, but only a first instance proves that it works.
fn probe(engine: &Engine) -> wasmtime::Result<()> {
    let module = Module::new(engine, ONE_PAGE)?;
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(1);
    Instance::new(&mut store, &module, &[]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_apart_fits_the_pool() {
        let engine = build(4, &Limits::CEILING, 512 << 10).expect("a small pool");
        let code = compile(512 << 10, b"\0asm\x0d\0\x01\0").expect("an empty component");
        // SAFETY: the bytes come straight from the compiler.
        assert!(unsafe { wasmtime::component::Component::deserialize(&engine, &code) }.is_ok());
    }

    #[test]
    fn a_pool_that_does_not_fit_is_no_reason_to_fail() {
        let engine = build(4_000_000, &Limits::CEILING, 512 << 10).expect("the fall-back");
        assert!(engine.pooling_allocator_metrics().is_none(), "there is no room for that many");
        let engine = build(4, &Limits::CEILING, 512 << 10).expect("a small pool");
        assert!(engine.pooling_allocator_metrics().is_some(), "there is room for four");
    }
}
