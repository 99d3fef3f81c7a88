//! From JSON to a value of a component.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use wasmtime::component::Val;

use super::shape::{Name, Shape};
use crate::task::weight;

/// A value that does not fit.
#[derive(Debug, PartialEq)]
pub(super) struct Misfit {
    /// Where, as a JSON pointer.
    pub(super) path: String,
    /// Why.
    pub(super) why: String,
}

impl Misfit {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { path: String::new(), why: why.into() }
    }

    /// The same, seen from one step further out.
    pub(super) fn below(self, step: impl std::fmt::Display) -> Self {
        Self { path: format!("/{step}{}", self.path), ..self }
    }
}

/// A value, with what the allocator adds where it stands alone, in bytes.
const VALUE: usize = 64;
/// A name beside a value, likewise; its text comes on top.
const NAME: usize = 64;

/// How much host memory arguments may take on their way, as JSON and as values.
pub(super) struct Budget {
    left: u64,
    max: u64,
}

impl Budget {
    /// So many bytes.
    pub(super) fn of_memory(bytes: u64) -> Self {
        Self { left: bytes, max: bytes }
    }

    /// Takes what JSON needs, or refuses it before it is parsed.
    pub(super) fn take_json(&mut self, json: &[u8]) -> Result<(), Misfit> {
        self.take_bytes(weight(json))
    }

    fn take(&mut self, bytes: usize) -> Result<(), Misfit> {
        self.take_bytes(bytes as u64)
    }

    /// A name that stands beside a value.
    fn take_name(&mut self, name: &Name) -> Result<(), Misfit> {
        self.take(NAME + name.wit.len())
    }

    fn take_bytes(&mut self, bytes: u64) -> Result<(), Misfit> {
        let Some(left) = self.left.checked_sub(bytes) else {
            let max = self.max;
            return Err(Misfit::new(format!(
                "on their way the arguments would take more than {max} bytes of the host's memory (memory_bytes_max)"
            )));
        };
        self.left = left;
        Ok(())
    }
}

impl Shape {
    /// A value of this type.
    pub(super) fn read(&self, json: &Value, budget: &mut Budget) -> Result<Val, Misfit> {
        budget.take(VALUE)?;
        Ok(match self {
            Self::Bool => Val::Bool(json.as_bool().ok_or_else(|| wrong("a boolean", json))?),
            Self::S8 => Val::S8(signed(json)?),
            Self::U8 => Val::U8(unsigned(json)?),
            Self::S16 => Val::S16(signed(json)?),
            Self::U16 => Val::U16(unsigned(json)?),
            Self::S32 => Val::S32(signed(json)?),
            Self::U32 => Val::U32(unsigned(json)?),
            Self::S64 => Val::S64(wide(json, |digits| digits.parse().ok(), signed)?),
            Self::U64 => Val::U64(wide(json, |digits| digits.parse().ok(), unsigned)?),
            Self::Float32 => {
                let number = float(json)?;
                // Nothing else becomes infinite by being rounded.
                #[allow(
                    clippy::cast_possible_truncation,
                    reason = "rounding is what a smaller float is about"
                )]
                let small = number as f32;
                if small.is_infinite() && number.is_finite() {
                    return Err(Misfit::new("it is out of the range of a 32-bit float"));
                }
                Val::Float32(small)
            }
            Self::Float64 => Val::Float64(float(json)?),
            Self::Char => {
                let mut chars = json.as_str().unwrap_or_default().chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Val::Char(char),
                    _ => return Err(wrong("a string of one character", json)),
                }
            }
            Self::String => {
                let text = string(json)?;
                budget.take(text.len())?;
                Val::String(text.to_owned())
            }
            Self::Bytes => {
                let text = json.as_str().ok_or_else(|| wrong("a string in base64", json))?;
                // As text, as bytes, and as a value for each of these.
                budget.take((text.len() / 4 * 3).saturating_mul(1 + size_of::<Val>()))?;
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|error| Misfit::new(format!("it is no base64: {error}")))?;
                Val::List(bytes.into_iter().map(Val::U8).collect())
            }
            Self::List(item) => {
                let items = array(json)?.iter().enumerate();
                let read = |(at, json)| item.read(json, budget).map_err(|misfit| misfit.below(at));
                Val::List(items.map(read).collect::<Result<_, _>>()?)
            }
            Self::Tuple(shapes) => {
                let items = array(json)?;
                if items.len() != shapes.len() {
                    let why = format!("it has {} items and not {}", items.len(), shapes.len());
                    return Err(Misfit::new(why));
                }
                let items = shapes.iter().zip(items).enumerate();
                let read = |(at, (shape, json)): (usize, (&Self, _))| {
                    shape.read(json, budget).map_err(|misfit| misfit.below(at))
                };
                Val::Tuple(items.map(read).collect::<Result<_, _>>()?)
            }
            Self::Record(fields) => {
                let json = json.as_object().ok_or_else(|| wrong("an object", json))?;
                Val::Record(read_fields(fields, json, budget)?)
            }
            Self::Variant(cases) => read_case(cases, json, budget)?,
            Self::Enum(names) => {
                let name = one_of(names, string(json)?)?;
                budget.take_name(name)?;
                Val::Enum(name.wit.clone())
            }
            Self::Flags(names) => {
                let mut set = Vec::new();
                for (at, json) in array(json)?.iter().enumerate() {
                    let name = string(json).and_then(|flag| one_of(names, flag));
                    let name = &name.map_err(|misfit| misfit.below(at))?.wit;
                    if set.contains(name) {
                        return Err(Misfit::new("it is there twice").below(at));
                    }
                    budget.take(NAME + name.len())?;
                    set.push(name.clone());
                }
                Val::Flags(set)
            }
            Self::Option(_) if json.is_null() => Val::Option(None),
            Self::Option(inner) if inner.may_be_null() => {
                let some = single(json).filter(|(name, _)| *name == "some");
                let (_, json) = some.ok_or_else(|| wrong("null or an object with \"some\" alone", json))?;
                let value = inner.read(json, budget).map_err(|misfit| misfit.below("some"))?;
                Val::Option(Some(Box::new(value)))
            }
            Self::Option(inner) => Val::Option(Some(Box::new(inner.read(json, budget)?))),
            Self::Result(ok, err) => match single(json) {
                Some(("ok", json)) => Val::Result(Ok(read_side(ok, "ok", json, budget)?)),
                Some(("err", json)) => Val::Result(Err(read_side(err, "err", json, budget)?)),
                _ => return Err(wrong("an object with \"ok\" or \"err\" alone", json)),
            },
        })
    }
}

/// The fields of a record, in its order. An option that is left out is `none`.
fn read_fields(
    fields: &[(Name, Shape)],
    json: &Map<String, Value>,
    budget: &mut Budget,
) -> Result<Vec<(String, Val)>, Misfit> {
    fields.iter().try_for_each(|(name, _)| budget.take_name(name))?;
    let found = named(fields.iter().map(|(name, shape)| (name.json.as_str(), shape)), json, budget)?;
    Ok(fields.iter().zip(found).map(|((name, _), value)| (name.wit.clone(), value)).collect())
}

/// The values of named fields, in their order, and of no others.
pub(super) fn named<'a>(
    fields: impl Iterator<Item = (&'a str, &'a Shape)> + Clone,
    json: &Map<String, Value>,
    budget: &mut Budget,
) -> Result<Vec<Val>, Misfit> {
    if let Some(stranger) = json.keys().find(|key| fields.clone().all(|(name, _)| name != *key)) {
        return Err(Misfit::new("nothing is allowed here").below(stranger));
    }
    let read = |(name, shape): (&str, &Shape)| match json.get(name) {
        Some(json) => shape.read(json, budget).map_err(|misfit| misfit.below(name)),
        None if shape.may_be_null() => Ok(Val::Option(None)),
        None => Err(Misfit::new(format!("{name:?} is missing"))),
    };
    fields.map(read).collect()
}

fn read_case(cases: &[(Name, Option<Shape>)], json: &Value, budget: &mut Budget) -> Result<Val, Misfit> {
    let (given, payload) = match json.as_str() {
        Some(name) => (name, None),
        None => single(json)
            .map(|(name, payload)| (name, Some(payload)))
            .ok_or_else(|| wrong("the name of a case, or an object with one case alone", json))?,
    };
    let Some((name, shape)) = cases.iter().find(|(name, _)| name.json == given) else {
        return Err(none_of(cases.iter().map(|(name, _)| name)));
    };
    budget.take_name(name)?;
    let value = match (shape, payload) {
        (None, None) => None,
        (Some(shape), Some(json)) => {
            Some(Box::new(shape.read(json, budget).map_err(|misfit| misfit.below(given))?))
        }
        (None, Some(_)) => return Err(Misfit::new(format!("{given:?} has no value: write the name alone"))),
        (Some(_), None) => {
            return Err(Misfit::new(format!("{given:?} has a value: write {{\"{given}\": …}}")));
        }
    };
    Ok(Val::Variant(name.wit.clone(), value))
}

fn read_side(
    shape: &Option<Box<Shape>>,
    side: &str,
    json: &Value,
    budget: &mut Budget,
) -> Result<Option<Box<Val>>, Misfit> {
    match shape {
        Some(shape) => {
            let value = shape.read(json, budget).map_err(|misfit| misfit.below(side))?;
            Ok(Some(Box::new(value)))
        }
        None if json.is_null() => Ok(None),
        None => Err(wrong("null", json).below(side)),
    }
}

/// Name and value of an object that has one field.
fn single(json: &Value) -> Option<(&str, &Value)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(name, value)| (name.as_str(), value))
}

fn signed<T: TryFrom<i64>>(json: &Value) -> Result<T, Misfit> {
    // 2.0 is an integer in JSON Schema, and some senders write all numbers so.
    #[allow(clippy::cast_possible_truncation, reason = "it was found to fit")]
    let whole = || json.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT).map(|n| n as i64);
    let number = json.as_i64().or_else(whole);
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| integer::<T>(json))
}

fn unsigned<T: TryFrom<u64>>(json: &Value) -> Result<T, Misfit> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was found to fit")]
    let whole = || json.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=EXACT).contains(n)).map(|n| n as u64);
    let number = json.as_u64().or_else(whole);
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| integer::<T>(json))
}

/// Up to here a double is exactly one integer.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// 64-bit integers may be written as strings, for senders whose numbers are doubles.
fn wide<T>(
    json: &Value,
    parse: impl FnOnce(&str) -> Option<T>,
    number: impl FnOnce(&Value) -> Result<T, Misfit>,
) -> Result<T, Misfit> {
    match json {
        Value::String(digits) if !digits.starts_with('+') => parse(digits).ok_or_else(|| integer::<T>(json)),
        other => number(other),
    }
}

fn float(json: &Value) -> Result<f64, Misfit> {
    match json {
        Value::Number(number) => number.as_f64().ok_or_else(|| wrong("a number", json)),
        Value::String(word) if word == "NaN" => Ok(f64::NAN),
        Value::String(word) if word == "Infinity" => Ok(f64::INFINITY),
        Value::String(word) if word == "-Infinity" => Ok(f64::NEG_INFINITY),
        _ => Err(wrong("a number, \"NaN\", \"Infinity\" or \"-Infinity\"", json)),
    }
}

fn string(json: &Value) -> Result<&str, Misfit> {
    json.as_str().ok_or_else(|| wrong("a string", json))
}

fn array(json: &Value) -> Result<&Vec<Value>, Misfit> {
    json.as_array().ok_or_else(|| wrong("an array", json))
}

fn one_of<'a>(names: &'a [Name], given: &str) -> Result<&'a Name, Misfit> {
    names.iter().find(|name| name.json == given).ok_or_else(|| none_of(names.iter()))
}

fn none_of<'a>(names: impl Iterator<Item = &'a Name>) -> Misfit {
    let names: Vec<&str> = names.map(|name| name.json.as_str()).collect();
    Misfit::new(format!("it is none of {}", names.join(", ")))
}

fn integer<T>(json: &Value) -> Misfit {
    match json {
        Value::Number(_) | Value::String(_) => {
            Misfit::new(format!("it is no integer in the range of {}", std::any::type_name::<T>()))
        }
        other => wrong("an integer", other),
    }
}

fn wrong(wanted: &str, found: &Value) -> Misfit {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Misfit::new(format!("it is {found} and not {wanted}"))
}
