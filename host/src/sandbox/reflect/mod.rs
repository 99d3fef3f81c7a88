//! Components that know nothing of hostler: their exported functions are tasks.
//!
//! Names, JSON Schemas and conversions come from the types that every component carries. What a function has to do with
//! anything but plain values (resources, streams) is not served.

mod failure;
mod read;
mod shape;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wasmtime::component::types::{Component as ComponentType, ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Val};
use wasmtime::{Engine, Store};

use super::Limits;
use super::attempt::Phase;
use super::bindings::Failure;
use super::guest::Guest;
use crate::task::bounds::{self, TASKS_MAX, TEXT_BYTES_MAX, VERSION_BYTES_MAX};
use crate::task::{CONTRACT, Descriptor, DescriptorError, Operational, Policy, TaskDescriptor, TaskName};

use failure::{mismatch, plain};
use read::{Budget, Misfit};
use shape::{Counter, Name, Shape};

/// The longest name of a function with its interface's, in bytes.
const FULL_NAME_BYTES_MAX: usize = 512;
/// How many functions that are not served are told by name.
const NOTES_MAX: usize = 50;

/// The functions of a component, by their tasks' short names.
pub(super) struct Functions(BTreeMap<String, Function>);

/// What came of looking at a component's exports.
pub(super) struct Found {
    pub(super) functions: Functions,
    /// Why others are not served.
    pub(super) notes: Vec<String>,
}

/// One function that is served.
struct Function {
    /// As its component names it: `example:geometry/shapes@1.0.0#area`.
    full_name: String,
    at: ComponentExportIndex,
    params: Params,
    returns: Returns,
    described: TaskDescriptor,
}

/// What a function gives back.
enum Returns {
    Nothing,
    Plain(Shape),
    /// A result: its error is the task's failure.
    Fallible(Option<Box<Shape>>, Option<Box<Shape>>),
}

/// Looks for functions that can be served. The error says why the component cannot be.
pub(super) fn functions(engine: &Engine, component: &Component, ty: &ComponentType) -> Result<Found, String> {
    let mut found = Search::default();
    for (name, export) in ty.exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(ty) => {
                let at = component.get_export_index(None, name);
                found.add(shape::snake(name), name.to_owned(), at, &ty)?;
            }
            // What the standard's own interfaces are for, somebody else calls.
            ComponentItem::ComponentInstance(interface) if !name.starts_with("wasi:") => {
                let outer = component.get_export_index(None, name);
                let bare = name.split('@').next().and_then(|path| path.rsplit('/').next()).unwrap_or(name);
                for (inner, export) in interface.exports(engine) {
                    if let ComponentItem::ComponentFunc(ty) = export.ty {
                        let at = component.get_export_index(outer.as_ref(), inner);
                        let task = shape::snake(&format!("{bare}-{inner}"));
                        found.add(task, format!("{name}#{inner}"), at, &ty)?;
                    }
                }
            }
            _ => {}
        }
    }
    let Search { functions, mut notes, untold, .. } = found;
    if untold > 0 {
        notes.push(format!("{untold} more functions are not served"));
    }
    Ok(Found { functions: Functions(functions), notes })
}

/// What was found so far. What it keeps is bounded, whatever the component exports.
#[derive(Default)]
struct Search {
    functions: BTreeMap<String, Function>,
    notes: Vec<String>,
    untold: usize,
    counter: Counter,
    /// What the functions so far say of themselves, in bytes.
    text: usize,
}

impl Search {
    fn add(
        &mut self,
        task: String,
        full_name: String,
        at: Option<ComponentExportIndex>,
        ty: &ComponentFunc,
    ) -> Result<(), String> {
        let made = match at {
            _ if !TaskName::is_part(&task) => Err("its name cannot be a task's".to_owned()),
            _ if full_name.len() > FULL_NAME_BYTES_MAX => Err("its name is too long".to_owned()),
            _ if ty.async_() => Err("it is asynchronous".to_owned()),
            None => Err("it is not there".to_owned()),
            Some(at) => self.function(&task, &full_name, at, ty),
        };
        let function = match made {
            Ok(made) => made,
            Err(_) if self.notes.len() == NOTES_MAX => {
                self.untold += 1;
                return Ok(());
            }
            Err(why) => {
                let shown: String = full_name.chars().take(FULL_NAME_BYTES_MAX).collect();
                self.notes.push(format!("{shown} is not served: {why}"));
                return Ok(());
            }
        };
        if let Some(taken) = self.functions.get(&task) {
            return Err(format!("{} and {full_name} would both be the task {task}", taken.full_name));
        }
        self.functions.insert(task, function);
        match self.functions.len() > TASKS_MAX {
            true => Err(format!("more than {TASKS_MAX} of its functions would be tasks")),
            false => Ok(()),
        }
    }

    fn function(
        &mut self,
        task: &str,
        full_name: &str,
        at: ComponentExportIndex,
        ty: &ComponentFunc,
    ) -> Result<Function, String> {
        self.counter.begin();
        let (params, returns) = signature(&mut self.counter, ty)?;
        let described = describe(task, full_name, &params, &returns);
        let text = self.text + bounds::check_task(&described)?;
        if text > TEXT_BYTES_MAX {
            return Err("the component's schemas are too large together".to_owned());
        }
        self.text = text;
        Ok(Function { full_name: full_name.to_owned(), at, params, returns, described })
    }
}

/// What a function takes and gives back.
type Signature = (Params, Returns);
type Params = Vec<(Name, Shape)>;

fn signature(counter: &mut Counter, ty: &ComponentFunc) -> Result<Signature, &'static str> {
    let params = ty.params().map(|(name, ty)| Ok((counter.name(name)?, counter.shape(&ty)?)));
    let params = params.collect::<Result<_, &'static str>>()?;
    let returns = match ty.results().next().map(|ty| counter.shape(&ty)).transpose()? {
        None => Returns::Nothing,
        Some(Shape::Result(ok, err)) => Returns::Fallible(ok, err),
        Some(shape) => Returns::Plain(shape),
    };
    Ok((params, returns))
}

impl Functions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a plugin of this name would say about itself.
    ///
    /// # Errors
    /// [`DescriptorError::Invalid`]: the name is none for a plugin.
    pub(super) fn descriptor(&self, name: &str) -> Result<Descriptor, DescriptorError> {
        let version = self.0.values().find_map(|function| {
            let interface = function.full_name.split('#').next()?;
            let (_, version) = interface.split_once('@')?;
            (version.len() <= VERSION_BYTES_MAX).then(|| version.to_owned())
        });
        let descriptor = Descriptor {
            contract: CONTRACT.to_owned(),
            name: name.to_owned(),
            version: version.unwrap_or_else(|| "0.0.0".to_owned()),
            tasks: self.0.values().map(|function| function.described.clone()).collect(),
        };
        descriptor.checked()
    }

    /// Runs one attempt. What does not fit is found before anything is instantiated.
    pub(super) async fn call(
        &self,
        pre: &InstancePre<Guest>,
        store: &mut Store<Guest>,
        (task, args): (&str, &[u8]),
        limits: &Limits,
    ) -> Result<Result<Vec<u8>, Failure>, (Phase, wasmtime::Error)> {
        let Some(function) = self.0.get(task) else {
            let message = format!("the component has no function for the task {task:?}");
            return Ok(Err(plain(Operational::WorkerResolutionError.as_str(), message)));
        };
        let args = match function.arguments(args, Budget::of_memory(limits.memory_bytes_max)) {
            Ok(args) => args,
            Err(misfit) => return Ok(Err(mismatch(misfit))),
        };
        let instance =
            pre.instantiate_async(&mut *store).await.map_err(|error| (Phase::Instantiate, error))?;
        let called = |error| (Phase::Call, error);
        let callee = instance.get_func(&mut *store, function.at);
        let callee = callee.ok_or_else(|| called(wasmtime::format_err!("the function is gone")))?;
        let mut results = vec![Val::Bool(false); function.returns.count()];
        callee.call_async(&mut *store, &args, &mut results).await.map_err(called)?;
        drop(args);
        let odd = || called(wasmtime::format_err!("the function returned another type than it has"));
        function.returns.answer(results.first(), limits.result_bytes_max).ok_or_else(odd)
    }
}

fn describe(task: &str, full_name: &str, params: &Params, returns: &Returns) -> TaskDescriptor {
    let args_schema = match params.is_empty() {
        true => json!({ "type": ["null", "object"], "maxProperties": 0 }),
        false => shape::object(params.iter().map(|(name, shape)| (name.json.as_str(), shape))),
    };
    TaskDescriptor {
        name: task.to_owned(),
        description: full_name.to_owned(),
        args_schema,
        result_schema: match returns {
            Returns::Nothing | Returns::Fallible(None, _) => json!({ "type": "null" }),
            Returns::Plain(shape) => shape.schema(),
            Returns::Fallible(Some(shape), _) => shape.schema(),
        },
        policy: Policy::default(),
    }
}

impl Function {
    fn arguments(&self, args: &[u8], mut budget: Budget) -> Result<Vec<Val>, Misfit> {
        budget.take_json(args)?;
        match serde_json::from_slice(args) {
            Ok(Value::Object(fields)) => {
                let params = self.params.iter().map(|(name, shape)| (name.json.as_str(), shape));
                read::named(params, &fields, &mut budget)
            }
            Ok(Value::Null) if self.params.is_empty() => Ok(Vec::new()),
            Ok(_) => Err(Misfit::new("the arguments are an object with the function's parameters")),
            Err(error) => Err(Misfit::new(error.to_string())),
        }
    }
}

impl Returns {
    fn count(&self) -> usize {
        usize::from(!matches!(self, Self::Nothing))
    }

    /// Result or failure; `None` if the value is of another type. A result of more bytes than it may have is cut one byte
    /// after them: its length tells.
    fn answer(&self, value: Option<&Val>, bytes_max: u64) -> Option<Result<Vec<u8>, Failure>> {
        match (self, value) {
            (Self::Nothing, _) => Some(Ok(b"null".to_vec())),
            (Self::Plain(shape), Some(value)) => Some(Ok(shape.json(value, bytes_max)?)),
            (Self::Fallible(Some(shape), _), Some(Val::Result(Ok(Some(value))))) => {
                Some(Ok(shape.json(value, bytes_max)?))
            }
            (Self::Fallible(None, _), Some(Val::Result(Ok(None)))) => Some(Ok(b"null".to_vec())),
            (Self::Fallible(_, shape), Some(Val::Result(Err(value)))) => {
                Some(Err(failure::of(shape.as_deref(), value.as_deref(), bytes_max)?))
            }
            _ => None,
        }
    }
}
