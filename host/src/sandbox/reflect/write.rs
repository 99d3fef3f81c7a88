//! From a value of a component to JSON, as text: nothing is built that is larger than a result may be.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use wasmtime::component::Val;

use super::shape::{Name, Shape};

/// Why a value was not written to its end.
pub(super) enum Unwritten {
    /// It is of another type, which a component cannot return.
    OtherType,
    /// The text has as many bytes as it may have, and one more.
    TooLong,
}

type Written = Result<(), Unwritten>;

/// JSON of bounded length.
struct Text {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.bytes_max - self.bytes.len().min(self.bytes_max) {
            self.bytes.resize(self.bytes_max.saturating_add(1), b' ');
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Text {
    fn put(&mut self, raw: &str) -> Written {
        io::Write::write(self, raw.as_bytes()).map(drop).map_err(|_| Unwritten::TooLong)
    }

    /// One that is written in one piece.
    fn plain(&mut self, value: impl Serialize) -> Written {
        serde_json::to_writer(self, &value).map_err(|_| Unwritten::TooLong)
    }

    fn float(&mut self, number: f64) -> Written {
        match number {
            _ if number.is_nan() => self.plain("NaN"),
            f64::INFINITY => self.plain("Infinity"),
            f64::NEG_INFINITY => self.plain("-Infinity"),
            finite => self.plain(finite),
        }
    }

    /// `[…]`, `{…}`: what stands between the items is put there.
    fn all<T>(
        &mut self,
        (open, close): (&str, &str),
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Written,
    ) -> Written {
        self.put(open)?;
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.put(",")?;
            }
            write(self, item)?;
        }
        self.put(close)
    }

    fn field(&mut self, name: &str, shape: &Shape, value: &Val) -> Written {
        self.plain(name)?;
        self.put(":")?;
        shape.write(value, self)
    }

    fn one(&mut self, name: &str, shape: &Shape, value: &Val) -> Written {
        self.put("{")?;
        self.field(name, shape, value)?;
        self.put("}")
    }

    /// One side of a result.
    fn side(&mut self, name: &str, shape: &Option<Box<Shape>>, value: &Option<Box<Val>>) -> Written {
        match (shape, value) {
            (None, None) => self.put(&format!("{{\"{name}\":null}}")),
            (Some(shape), Some(value)) => self.one(name, shape, value),
            _ => Err(Unwritten::OtherType),
        }
    }
}

impl Shape {
    /// A value of this type as JSON, cut one byte after so many; `None` for a value of another type.
    pub(super) fn json(&self, value: &Val, bytes_max: u64) -> Option<Vec<u8>> {
        // A vector of all memory there is cannot be asked for.
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(u32::MAX as usize);
        let mut text = Text { bytes: Vec::new(), bytes_max };
        match self.write(value, &mut text) {
            Ok(()) | Err(Unwritten::TooLong) => Some(text.bytes),
            Err(Unwritten::OtherType) => None,
        }
    }

    fn write(&self, value: &Val, text: &mut Text) -> Written {
        match (self, value) {
            (Self::Bool, Val::Bool(value)) => text.plain(value),
            (Self::S8, Val::S8(value)) => text.plain(value),
            (Self::U8, Val::U8(value)) => text.plain(value),
            (Self::S16, Val::S16(value)) => text.plain(value),
            (Self::U16, Val::U16(value)) => text.plain(value),
            (Self::S32, Val::S32(value)) => text.plain(value),
            (Self::U32, Val::U32(value)) => text.plain(value),
            (Self::S64, Val::S64(value)) => text.plain(value),
            (Self::U64, Val::U64(value)) => text.plain(value),
            // The shortest digits that mean this float, instead of those of the double nearest to it.
            (Self::Float32, Val::Float32(value)) if value.is_finite() => {
                text.float(value.to_string().parse().map_err(|_| Unwritten::OtherType)?)
            }
            (Self::Float32, Val::Float32(value)) => text.float(f64::from(*value)),
            (Self::Float64, Val::Float64(value)) => text.float(*value),
            (Self::Char, Val::Char(value)) => text.plain(value),
            (Self::String, Val::String(value)) => text.plain(value),
            (Self::Bytes, Val::List(items)) => {
                let byte = |item: &Val| if let Val::U8(byte) = item { Some(*byte) } else { None };
                let bytes =
                    items.iter().map(byte).collect::<Option<Vec<u8>>>().ok_or(Unwritten::OtherType)?;
                text.plain(STANDARD.encode(bytes))
            }
            (Self::List(item), Val::List(items)) => {
                text.all(("[", "]"), items.iter(), |text, value| item.write(value, text))
            }
            (Self::Tuple(shapes), Val::Tuple(items)) => {
                text.all(("[", "]"), shapes.iter().zip(items), |text, (shape, value)| {
                    shape.write(value, text)
                })
            }
            (Self::Record(fields), Val::Record(values)) => {
                text.all(("{", "}"), fields.iter().zip(values), |text, ((name, shape), (_, value))| {
                    text.field(&name.json, shape, value)
                })
            }
            (Self::Variant(cases), Val::Variant(found, payload)) => {
                match (cases.iter().find(|(name, _)| name.wit == *found), payload) {
                    (Some((name, None)), None) => text.plain(&name.json),
                    (Some((name, Some(shape))), Some(value)) => text.one(&name.json, shape, value),
                    _ => Err(Unwritten::OtherType),
                }
            }
            (Self::Enum(names), Val::Enum(found)) => text.plain(json_name(names, found)?),
            (Self::Flags(names), Val::Flags(set)) => {
                text.all(("[", "]"), set.iter(), |text, flag| text.plain(json_name(names, flag)?))
            }
            (Self::Option(_), Val::Option(None)) => text.put("null"),
            (Self::Option(inner), Val::Option(Some(value))) => match inner.may_be_null() {
                true => text.one("some", inner, value),
                false => inner.write(value, text),
            },
            (Self::Result(shape, _), Val::Result(Ok(value))) => text.side("ok", shape, value),
            (Self::Result(_, shape), Val::Result(Err(value))) => text.side("err", shape, value),
            _ => Err(Unwritten::OtherType),
        }
    }
}

pub(super) fn json_name<'a>(names: &'a [Name], found: &str) -> Result<&'a str, Unwritten> {
    let name = names.iter().find(|name| name.wit == found);
    name.map(|name| name.json.as_str()).ok_or(Unwritten::OtherType)
}
