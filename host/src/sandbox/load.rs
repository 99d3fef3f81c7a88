//! How a file becomes a plugin: checked, compiled, linked, and asked to describe itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wasmtime::Engine;
use wasmtime::component::types::{self, ComponentItem};
use wasmtime::component::{Component, Linker, ResourceType};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};

use super::attempt::{Entry, enter};
use super::bindings::{GUEST, GuestPre};
use super::cache::{Cache, load_compiled};
use super::compile::Compiler;
use super::engine;
use super::error::{Fault, PluginError, SandboxError, one_line, panic_text};
use super::grants::Powers;
use super::guest::{Facts, Guest, link_granted};
use super::limits::Layers;
use super::linked::Granted;
use super::marks::{Mark, Marks};
use super::plugin;
use super::plugin::{Body, Surface};
use super::reflect::{self, Found};
use super::shape::check_shape;
use super::stop::after;
use super::{GrantsFile, Limits, Plugin, Sandbox, Stop};
use crate::task::{Descriptor, Outcome, TaskId};

/// What wasm counts memory in.
const PAGE_BYTES: u64 = 64 << 10;

/// What `describe` may use: it runs code that nobody has vouched for yet.
const DESCRIBE: Limits = Limits {
    timeout_ms: 5_000,
    cpu_ms_max: 1_000,
    memory_bytes_max: 64 << 20,
    table_elements_max: 20_000,
    stack_bytes_max: 512 << 10,
    args_bytes_max: 0,
    result_bytes_max: 4 << 20,
    log_bytes_max: 16 << 10,
    resources_max: 256,
    ..Limits::DEFAULT
};

impl Sandbox {
    /// Checks and compiles a component and lets it describe itself. `stem` is the file's name without `.wasm`.
    ///
    /// One at a time is compiled, in a process of its own where there is a compiler to run; `describe` runs with the wasm, with no grants
    /// and under small limits. Dropping the future is safe; a compilation under way goes on to its end.
    ///
    /// # Errors
    /// [`PluginError`] says what to do about the file.
    pub async fn load(&self, stem: &str, bytes: Vec<u8>) -> Result<Plugin, PluginError> {
        self.load_granted(stem, bytes, None).await
    }

    /// The same, with the text of `<stem>.toml` where there is one.
    ///
    /// # Errors
    /// As [`Self::load`]; and what is wrong with the grants, or not there.
    pub async fn load_granted(
        &self,
        stem: &str,
        bytes: Vec<u8>,
        grants: Option<&str>,
    ) -> Result<Plugin, PluginError> {
        let loaded = self.load_inner(stem, bytes, grants, true).await;
        loaded
            .and_then(|plugin| plugin.ok_or_else(|| Fault::Host("it was not compiled".to_owned())))
            .map_err(|fault| PluginError { file: format!("{stem}.wasm"), fault })
    }

    /// The same where its code is in the cache; `None` if it has to be compiled first. Waits for no compilation.
    pub(super) async fn load_cached(
        &self,
        stem: &str,
        bytes: Vec<u8>,
        grants: Option<&str>,
    ) -> Result<Option<Plugin>, PluginError> {
        let loaded = self.load_inner(stem, bytes, grants, false).await;
        loaded.map_err(|fault| PluginError { file: format!("{stem}.wasm"), fault })
    }

    async fn load_inner(
        &self,
        stem: &str,
        bytes: Vec<u8>,
        grants: Option<&str>,
        compile: bool,
    ) -> Result<Option<Plugin>, Fault> {
        check_shape(&bytes)?;
        let file = format!("{stem}.toml");
        let wrong = |what| Fault::Grants { file: file.clone(), what };
        let granted = grants.map(GrantsFile::parse).transpose().map_err(wrong)?;
        let asked = granted.clone().unwrap_or_default();
        let (powers, mut notes) = match granted {
            None => (None, Vec::new()),
            Some(grants) => {
                let lacking = |what| Fault::NotThere { file: file.clone(), what };
                let (ceiling, own, ways) = (self.bounds.grants.clone(), self.own_dirs(), self.ways());
                // Directories and secrets are looked up, which may wait for a disk.
                let resolve = move || {
                    let resolved = Powers::resolve(&grants, ceiling.as_ref())?;
                    let trespass = resolved.0.trespass(&own, &ways);
                    Ok::<_, String>((resolved, trespass))
                };
                let resolved = self.handle().spawn_blocking(resolve).await;
                let closing = |_| Fault::Host("the sandbox is closing".to_owned());
                let ((mut powers, notes), trespass) = resolved.map_err(closing)?.map_err(lacking)?;
                if let Some(what) = trespass {
                    return Err(wrong(what));
                }
                if let (Some(http), Some(names)) = (&mut powers.http, &self.names) {
                    *http = Arc::new(http.with_names(names));
                }
                (Some(powers), notes)
            }
        };
        let closing = |_| Fault::Host("the sandbox is closing".to_owned());
        let permit = match compile {
            true => Some(Arc::clone(&self.compiling).acquire_owned().await.map_err(closing)?),
            false => None,
        };
        let shop = Workshop {
            engine: self.engine.clone(),
            linker: Arc::clone(&self.linker),
            cache: self.cache.clone(),
            marks: self.marks.clone(),
            compiler: self.compiler.clone(),
            stack_bytes: self.stack_bytes,
            granted: Granted::by(powers.as_ref()),
        };
        let built = self.handle().spawn_blocking(move || shop.build(&bytes, permit)).await;
        let built = match built {
            Ok(built) => built?,
            Err(join) if join.is_panic() => {
                return Err(Fault::CompilerPanicked(panic_text(&*join.into_panic())));
            }
            Err(_) => return Err(Fault::Host("the sandbox is closing".to_owned())),
        };
        let Some(Built { digest, surface, denied, unserved, body, mark: _mark }) = built else {
            return Ok(None);
        };
        let expected = stem.replace('-', "_");
        let descriptor = match &body {
            Body::Contract(pre) => self.describe(pre).await?,
            Body::Functions(_, functions) => functions.descriptor(&expected)?,
        };
        if descriptor.name != expected {
            return Err(Fault::OtherName { declared: descriptor.name, expected });
        }
        if let Some(unknown) =
            asked.tasks.keys().find(|name| descriptor.tasks.iter().all(|t| t.name != **name))
        {
            let what = format!("[tasks.{unknown}]: the plugin has no task of that name");
            return Err(Fault::Grants { file, what });
        }
        notes.extend(unserved);
        notes.extend(denied.into_iter().map(|denied| format!("{denied}, in {file}")));
        for note in &notes {
            tracing::warn!(plugin = stem, "{note}");
        }
        let layers = Layers {
            host: self.bounds.limits,
            ceiling: self.bounds.ceiling,
            plugin: asked.limits,
            tasks: asked.tasks,
        };
        let granted = plugin::Granted { powers, layers, notes };
        Ok(Some(Plugin::new(body, digest, descriptor, surface, granted)))
    }

    async fn describe(&self, pre: &GuestPre<Guest>) -> Result<Descriptor, Fault> {
        let (engine, pre, turns) = (self.engine.clone(), pre.clone(), self.turns.clone());
        let limits = DESCRIBE.within(&self.bounds.ceiling);
        let run = self.spawn(async move {
            let facts = Facts {
                id: TaskId::nil(),
                attempt: 0,
                retries: 0,
                previous_error: None,
                deadline: after(Instant::now(), Duration::from_millis(limits.timeout_ms)),
                stop: Stop::new(),
                host_calls: None,
                turns,
            };
            enter(&engine, &Body::Contract(pre), None, facts, &limits, Entry::Describe).await
        });
        let report = match run.await {
            Ok(Ok(report)) => report,
            Ok(Err(full @ SandboxError::Full(_))) => return Err(Fault::Host(full.to_string())),
            // It fails at every attempt as well, so it is the plugin's fault, not the hour's.
            Ok(Err(error)) => return Err(Fault::Describe(error.to_string())),
            Err(_) => return Err(Fault::Host("the sandbox is closing".to_owned())),
        };
        Err(Fault::Describe(match report.outcome {
            Outcome::Returned(json) => return Ok(Descriptor::parse(&json)?),
            Outcome::Trapped(reason) => format!("it trapped: {reason}"),
            Outcome::OutOfTime(ms) => format!("it did not return within {ms} ms"),
            Outcome::OutOfCpu(ms) => format!("it used more than {ms} ms of CPU time"),
            Outcome::OutOfMemory(bytes) => format!("it asked for more than {bytes} bytes of memory"),
            Outcome::OutputTooLarge(bytes) => format!("it returned more than {bytes} bytes"),
            Outcome::BadResult(reason) => format!("it returned no JSON: {reason}"),
            other => format!("{other:?}"),
        }))
    }
}

/// What a compilation needs, on its own thread.
struct Workshop {
    engine: Engine,
    linker: Arc<Linker<Guest>>,
    cache: Option<Arc<Cache>>,
    marks: Option<Arc<Marks>>,
    compiler: Option<Compiler>,
    stack_bytes: u64,
    granted: Granted,
}

struct Built {
    digest: String,
    surface: Surface,
    /// What it imports and is not granted.
    denied: Vec<String>,
    /// Which of its functions are no tasks.
    unserved: Vec<String>,
    body: Body,
    /// Held until it has described itself.
    mark: Option<Mark>,
}

impl Workshop {
    /// Without a permit to compile, `None` if there is no compiled code.
    fn build(
        &self,
        bytes: &[u8],
        one_at_a_time: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Built>, Fault> {
        let digest = digest(bytes);
        let invalid = |error: wasmtime::Error| Fault::Invalid(one_line(&error));
        if let Some(marks) = self.marks.as_ref().and_then(|marks| marks.against(&digest)) {
            return Err(Fault::Deadly { marks });
        }
        let (mut mark, mut cached) = (None, None);
        if let Some(cache) = self.cache.as_ref().filter(|cache| cache.holds(&self.engine, &digest)) {
            mark = self.mark(&digest);
            cached = cache.load(&self.engine, &digest);
        }
        let component = match cached {
            Some(component) => component,
            None if one_at_a_time.is_none() => return Ok(None),
            None => {
                let code = match &self.compiler {
                    Some(compiler) => {
                        // That takes long and happens elsewhere: a host that dies meanwhile did not die of it.
                        mark = None;
                        Handle::current().block_on(compiler.compile(self.stack_bytes, bytes))?
                    }
                    None => {
                        mark = mark.or_else(|| self.mark(&digest));
                        engine::compile(self.stack_bytes, bytes).map_err(invalid)?
                    }
                };
                mark = mark.or_else(|| self.mark(&digest));
                self.cache.iter().for_each(|cache| cache.keep(&self.engine, &digest, &code));
                load_compiled(&self.engine, &code)?
            }
        };

        let ty = component.component_type();
        let imports: Vec<String> = ty.imports(&self.engine).map(|(name, _)| name.to_owned()).collect();
        let reflected = match component.get_export_index(None, GUEST) {
            Some(_) => None,
            None => Some(self.reflect(&component, &ty)?),
        };
        let unlinked = || imports.iter().filter(|import| !self.granted.links(import));
        let unknown = by_reason(unlinked().filter(|import| power(import).is_none()), stranger);
        if !unknown.is_empty() {
            return Err(Fault::MissingImports(unknown));
        }
        // The runtimes of some languages import sockets whether anybody opens one or not, and no grant would help.
        let worth_telling = unlinked().filter(|import| !import.starts_with("wasi:sockets/"));
        let denied = by_reason(worth_telling, |import| power(import).unwrap_or_default());
        let pre = if unlinked().next().is_none() && self.granted == Granted::default() {
            self.linker.instantiate_pre(&component)
        } else {
            // A copy for this plugin alone: others may get what this one does not.
            let mut linker = Linker::clone(&self.linker);
            link_granted(&mut linker, self.granted).map_err(invalid)?;
            deny(&mut linker, &self.engine, &ty, self.granted).map_err(invalid)?;
            linker.instantiate_pre(&component)
        };
        let pre = pre.map_err(|error| Fault::MissingImports(vec![one_line(&error)]))?;
        let (body, unserved) = match reflected {
            Some(Found { functions, notes }) => (Body::Functions(pre, Arc::new(functions)), notes),
            None => {
                let pre = GuestPre::new(pre).map_err(|error| Fault::OtherTypes(one_line(&error)))?;
                (Body::Contract(pre), Vec::new())
            }
        };
        let exports = ty.exports(&self.engine).map(|(name, _)| name.to_owned()).collect();
        let pages = component.resources_required().and_then(|needs| needs.max_initial_memory_size);
        let memory_bytes = pages.map(|pages| pages.saturating_mul(PAGE_BYTES));
        let surface = Surface { imports, exports, memory_bytes };
        Ok(Some(Built { digest, surface, denied, unserved, body, mark }))
    }

    /// Marks the code as being loaded, where there is a place for marks.
    fn mark(&self, digest: &str) -> Option<Mark> {
        let marked = self.marks.as_ref()?.begin(digest);
        marked
            .inspect_err(|error| tracing::warn!(%error, "should this plugin kill its host, nobody will know"))
            .ok()
    }

    /// The functions of a component that does not speak the contract.
    fn reflect(&self, component: &Component, ty: &types::Component) -> Result<Found, Fault> {
        let guest =
            |name: &&str| *name == "hostler:plugin/guest" || name.starts_with("hostler:plugin/guest@");
        if let Some(found) = ty.exports(&self.engine).map(|(name, _)| name).find(guest) {
            return Err(Fault::OtherContract { found: found.to_owned() });
        }
        let found = reflect::functions(&self.engine, component, ty).map_err(Fault::Ambiguous)?;
        if found.functions.is_empty() {
            return Err(Fault::NoGuest(found.notes));
        }
        Ok(found)
    }
}

/// SHA-256, in hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Stands in for every interface that is not linked: using it ends the attempt.
fn deny(
    linker: &mut Linker<Guest>,
    engine: &Engine,
    ty: &types::Component,
    granted: Granted,
) -> wasmtime::Result<()> {
    for (name, import) in ty.imports(engine).filter(|(name, _)| !granted.links(name)) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        let mut stand_in = linker.instance(name)?;
        for (export, item) in interface.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let what = format!("{name}#{export}");
                    stand_in.func_new(export, move |_, _, _, _| Err(NotGranted(what.clone()).into()))?;
                }
                ComponentItem::Resource(_) => {
                    stand_in.resource(export, resource(export), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A denied interface names resources of linked ones again; those have to be the same.
fn resource(name: &str) -> ResourceType {
    match name {
        "pollable" => ResourceType::host::<DynPollable>(),
        "input-stream" => ResourceType::host::<DynInputStream>(),
        "output-stream" => ResourceType::host::<DynOutputStream>(),
        "error" => ResourceType::host::<IoError>(),
        _ => ResourceType::host::<()>(),
    }
}

/// A guest used an interface it is not granted.
#[derive(Debug, thiserror::Error)]
#[error("the guest used {0}, which it is not granted")]
pub(super) struct NotGranted(String);

/// What a plugin asks for with a known interface that no plugin gets by itself; using it is denied.
fn power(import: &str) -> Option<&'static str> {
    match import.split(['/', '@']).next().unwrap_or_default() {
        "wasi:http" => Some("outbound HTTP is not granted; add [[http]] with origin = \"https://…\""),
        "wasi:sockets" => Some("raw sockets are granted to none, and no line changes that"),
        "wasi:keyvalue" => Some("a key-value store is not granted; add [keyvalue] with buckets = [\"…\"]"),
        "wasi:config" | "wasi:blobstore" => Some("a store is granted to none, and no line changes that"),
        "hostler:plugin" if import.starts_with("hostler:plugin/tasks@0.1.") => {
            Some("sending tasks is not granted; add [send] with tasks = [\"…\"]")
        }
        _ => None,
    }
}

/// Why an interface cannot be had at all.
fn stranger(import: &str) -> &'static str {
    match import.starts_with("hostler:plugin/") {
        true => "a newer host has it",
        false => "this host does not know it",
    }
}

/// One entry for each reason, so that it is not given for each of a package's interfaces.
fn by_reason<'a>(
    imports: impl Iterator<Item = &'a String>,
    reason: impl Fn(&str) -> &'static str,
) -> Vec<String> {
    let mut by_reason = BTreeMap::<&str, Vec<&str>>::new();
    for import in imports {
        by_reason.entry(reason(import)).or_default().push(import);
    }
    by_reason.iter().map(|(reason, imports)| format!("{} ({reason})", imports.join(", "))).collect()
}
