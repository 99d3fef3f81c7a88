//! The types of WIT as they travel in JSON. `docs/any-component.md` has the table.

use serde_json::{Map, Value, json};
use wasmtime::component::Type;

/// How many types a function may be made of. Types may share parts, so that a short text makes a huge tree.
const NODES_MAX: usize = 4_096;
/// The same for all functions of a component together, which may share them too.
const COMPONENT_NODES_MAX: usize = 32_768;
/// All names in all types of a component together, in bytes.
const NAME_BYTES_MAX: usize = 1 << 20;

/// A type, with its names as JSON has them beside those of WIT.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    Float32,
    Float64,
    Char,
    String,
    /// `list<u8>`.
    Bytes,
    List(Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Vec<(Name, Shape)>),
    Variant(Vec<(Name, Option<Shape>)>),
    Enum(Vec<Name>),
    Flags(Vec<Name>),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
}

/// A name on both sides.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub(super) wit: String,
    pub(super) json: String,
}

/// A name of WIT in snake_case. Names there are unique whatever their case, so these are too.
pub(super) fn snake(wit: &str) -> String {
    wit.replace('-', "_").to_ascii_lowercase()
}

/// Counts the types of a component, function by function.
#[derive(Default)]
pub(super) struct Counter {
    function: usize,
    component: usize,
    name_bytes: usize,
}

impl Counter {
    /// Another function begins.
    pub(super) fn begin(&mut self) {
        self.function = 0;
    }

    fn count(&mut self) -> Result<(), &'static str> {
        (self.function, self.component) = (self.function + 1, self.component + 1);
        match () {
            () if self.function > NODES_MAX => Err("its types are too large"),
            () if self.component > COMPONENT_NODES_MAX => Err("the component's types are too large together"),
            () => Ok(()),
        }
    }

    /// A name, which is kept on both sides.
    pub(super) fn name(&mut self, wit: &str) -> Result<Name, &'static str> {
        self.name_bytes += wit.len();
        match self.name_bytes > NAME_BYTES_MAX {
            true => Err("the component's names are too long together"),
            false => Ok(Name { wit: wit.to_owned(), json: snake(wit) }),
        }
    }

    /// The shape of a type. The error says what cannot be JSON.
    pub(super) fn shape(&mut self, ty: &Type) -> Result<Shape, &'static str> {
        self.count()?;
        Ok(match ty {
            Type::Bool => Shape::Bool,
            Type::S8 => Shape::S8,
            Type::U8 => Shape::U8,
            Type::S16 => Shape::S16,
            Type::U16 => Shape::U16,
            Type::S32 => Shape::S32,
            Type::U32 => Shape::U32,
            Type::S64 => Shape::S64,
            Type::U64 => Shape::U64,
            Type::Float32 => Shape::Float32,
            Type::Float64 => Shape::Float64,
            Type::Char => Shape::Char,
            Type::String => Shape::String,
            Type::List(list) => match list.ty() {
                Type::U8 => Shape::Bytes,
                item => Shape::List(self.boxed(&item)?),
            },
            Type::Tuple(tuple) => {
                Shape::Tuple(tuple.types().map(|ty| self.shape(&ty)).collect::<Result<_, _>>()?)
            }
            Type::Record(record) => Shape::Record(
                record
                    .fields()
                    .map(|field| Ok((self.name(field.name)?, self.shape(&field.ty)?)))
                    .collect::<Result<_, &'static str>>()?,
            ),
            Type::Variant(variant) => Shape::Variant(
                variant
                    .cases()
                    .map(|case| {
                        self.count()?;
                        Ok((self.name(case.name)?, case.ty.map(|ty| self.shape(&ty)).transpose()?))
                    })
                    .collect::<Result<_, &'static str>>()?,
            ),
            Type::Enum(names) => Shape::Enum(self.names(names.names())?),
            Type::Flags(names) => Shape::Flags(self.names(names.names())?),
            Type::Option(option) => Shape::Option(self.boxed(&option.ty())?),
            Type::Result(result) => {
                let mut side = |ty: Option<Type>| ty.map(|ty| self.boxed(&ty)).transpose();
                Shape::Result(side(result.ok())?, side(result.err())?)
            }
            Type::Own(_) | Type::Borrow(_) => return Err("it uses a resource"),
            Type::Future(_) | Type::Stream(_) | Type::ErrorContext => return Err("it is asynchronous"),
            Type::Map(_) | Type::FixedLengthList(_) => {
                return Err("it uses a type that this host does not have");
            }
        })
    }

    fn boxed(&mut self, ty: &Type) -> Result<Box<Shape>, &'static str> {
        self.shape(ty).map(Box::new)
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<Vec<Name>, &'static str> {
        names.map(|name| self.count().and_then(|()| self.name(name))).collect()
    }
}

impl Shape {
    /// Whether a value of it may be `null`: an option of it then needs another way to say that there is one.
    pub(super) fn may_be_null(&self) -> bool {
        matches!(self, Self::Option(_))
    }

    /// Its JSON Schema.
    pub(super) fn schema(&self) -> Value {
        match self {
            Self::Bool => json!({ "type": "boolean" }),
            Self::S8 => integer(i8::MIN, i8::MAX),
            Self::U8 => integer(u8::MIN, u8::MAX),
            Self::S16 => integer(i16::MIN, i16::MAX),
            Self::U16 => integer(u16::MIN, u16::MAX),
            Self::S32 => integer(i32::MIN, i32::MAX),
            Self::U32 => integer(u32::MIN, u32::MAX),
            Self::S64 => wide(integer(i64::MIN, i64::MAX), "^-?[0-9]{1,19}$"),
            Self::U64 => wide(integer(u64::MIN, u64::MAX), "^[0-9]{1,20}$"),
            Self::Float32 | Self::Float64 => {
                json!({ "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }] })
            }
            // JSON Schema counts characters, as `char` does.
            Self::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
            Self::String => json!({ "type": "string" }),
            Self::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Self::List(item) => json!({ "type": "array", "items": item.schema() }),
            Self::Tuple(items) => {
                let schemas: Vec<Value> = items.iter().map(Self::schema).collect();
                let (least, most) = (items.len(), items.len());
                json!({ "type": "array", "prefixItems": schemas, "minItems": least, "maxItems": most })
            }
            Self::Record(fields) => object(fields.iter().map(|(name, shape)| (name.json.as_str(), shape))),
            Self::Variant(cases) => {
                let case = |(name, shape): &(Name, Option<Self>)| match shape {
                    None => json!({ "const": name.json }),
                    Some(shape) => one(&name.json, shape.schema()),
                };
                json!({ "oneOf": cases.iter().map(case).collect::<Vec<_>>() })
            }
            Self::Enum(names) => json!({ "enum": json_names(names) }),
            Self::Flags(names) => {
                json!({ "type": "array", "items": { "enum": json_names(names) }, "uniqueItems": true })
            }
            Self::Option(inner) if inner.may_be_null() => {
                json!({ "anyOf": [{ "type": "null" }, one("some", inner.schema())] })
            }
            Self::Option(inner) => json!({ "anyOf": [{ "type": "null" }, inner.schema()] }),
            Self::Result(ok, err) => {
                let side = |shape: &Option<Box<Self>>| {
                    shape.as_ref().map_or_else(|| json!({ "type": "null" }), |shape| shape.schema())
                };
                json!({ "oneOf": [one("ok", side(ok)), one("err", side(err))] })
            }
        }
    }
}

/// An object with these fields and no others; only options may be left out.
pub(super) fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a Shape)>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, shape) in fields {
        properties.insert(name.to_owned(), shape.schema());
        if !shape.may_be_null() {
            required.push(name);
        }
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn one(name: &str, schema: Value) -> Value {
    json!({ "type": "object", "properties": { name: schema }, "required": [name], "additionalProperties": false })
}

fn integer(least: impl Into<Value>, most: impl Into<Value>) -> Value {
    json!({ "type": "integer", "minimum": least.into(), "maximum": most.into() })
}

fn wide(number: Value, digits: &str) -> Value {
    json!({ "anyOf": [number, { "type": "string", "pattern": digits }] })
}

fn json_names(names: &[Name]) -> Vec<&str> {
    names.iter().map(|name| name.json.as_str()).collect()
}
