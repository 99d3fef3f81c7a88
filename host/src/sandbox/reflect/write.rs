//! From a value of a component to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wasmtime::component::Val;

use super::shape::{Name, Shape};

impl Shape {
    /// A value of this type as JSON; `None` for a value of another one, which a component cannot return.
    pub(super) fn write(&self, value: &Val) -> Option<Value> {
        Some(match (self, value) {
            (Self::Bool, Val::Bool(value)) => json!(value),
            (Self::S8, Val::S8(value)) => json!(value),
            (Self::U8, Val::U8(value)) => json!(value),
            (Self::S16, Val::S16(value)) => json!(value),
            (Self::U16, Val::U16(value)) => json!(value),
            (Self::S32, Val::S32(value)) => json!(value),
            (Self::U32, Val::U32(value)) => json!(value),
            (Self::S64, Val::S64(value)) => json!(value),
            (Self::U64, Val::U64(value)) => json!(value),
            // The shortest digits that mean this float, instead of those of the double nearest to it.
            (Self::Float32, Val::Float32(value)) if value.is_finite() => {
                float(value.to_string().parse().ok()?)
            }
            (Self::Float32, Val::Float32(value)) => float(f64::from(*value)),
            (Self::Float64, Val::Float64(value)) => float(*value),
            (Self::Char, Val::Char(value)) => json!(value),
            (Self::String, Val::String(value)) => json!(value),
            (Self::Bytes, Val::List(items)) => {
                let byte = |item: &Val| if let Val::U8(byte) = item { Some(*byte) } else { None };
                json!(STANDARD.encode(items.iter().map(byte).collect::<Option<Vec<u8>>>()?))
            }
            (Self::List(item), Val::List(items)) => {
                Value::Array(items.iter().map(|value| item.write(value)).collect::<Option<_>>()?)
            }
            (Self::Tuple(shapes), Val::Tuple(items)) => {
                let items = shapes.iter().zip(items);
                Value::Array(items.map(|(shape, value)| shape.write(value)).collect::<Option<_>>()?)
            }
            (Self::Record(fields), Val::Record(values)) => {
                let fields = fields.iter().zip(values);
                let field = |((name, shape), (_, value)): (&(Name, Self), &(String, Val))| {
                    Some((name.json.clone(), shape.write(value)?))
                };
                Value::Object(fields.map(field).collect::<Option<_>>()?)
            }
            (Self::Variant(cases), Val::Variant(found, payload)) => {
                let (name, shape) = cases.iter().find(|(name, _)| name.wit == *found)?;
                match (shape, payload) {
                    (None, None) => json!(name.json),
                    (Some(shape), Some(value)) => one(&name.json, shape.write(value)?),
                    _ => return None,
                }
            }
            (Self::Enum(names), Val::Enum(found)) => json!(json_name(names, found)?),
            (Self::Flags(names), Val::Flags(set)) => {
                json!(set.iter().map(|flag| json_name(names, flag)).collect::<Option<Vec<_>>>()?)
            }
            (Self::Option(_), Val::Option(None)) => Value::Null,
            (Self::Option(inner), Val::Option(Some(value))) => match inner.may_be_null() {
                true => one("some", inner.write(value)?),
                false => inner.write(value)?,
            },
            (Self::Result(shape, _), Val::Result(Ok(value))) => one("ok", side(shape, value)?),
            (Self::Result(_, shape), Val::Result(Err(value))) => one("err", side(shape, value)?),
            _ => return None,
        })
    }
}

/// One side of a result.
pub(super) fn side(shape: &Option<Box<Shape>>, value: &Option<Box<Val>>) -> Option<Value> {
    match (shape, value) {
        (None, None) => Some(Value::Null),
        (Some(shape), Some(value)) => shape.write(value),
        _ => None,
    }
}

fn one(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

fn json_name<'a>(names: &'a [Name], found: &str) -> Option<&'a str> {
    names.iter().find(|name| name.wit == found).map(|name| name.json.as_str())
}

fn float(number: f64) -> Value {
    match number {
        _ if number.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        finite => json!(finite),
    }
}
