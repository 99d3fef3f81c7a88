//! Random types and values, there and back; and what is refused.

use fastrand::Rng;
use serde_json::{Value, json};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Type, Val};
use wasmtime::{Config, Engine};

use super::read::{Budget, Misfit};
use super::shape::{Counter, Shape};

/// Writes random types as the text of a component.
struct Types {
    rng: Rng,
    text: String,
    count: usize,
}

impl Types {
    /// A type's name or expression. Types with names of their own become imports, as a component has it.
    fn any(&mut self, depth: u32) -> String {
        let plain =
            ["bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"];
        if depth == 0 || self.rng.u32(0..4) == 0 {
            return self.rng.choice(plain).expect("there are some").to_owned();
        }
        let several = 1 + self.rng.usize(0..4);
        match self.rng.u32(0..8) {
            0 => format!("(list {})", self.any(depth - 1)),
            1 => format!("(option {})", self.any(depth - 1)),
            2 => {
                let items: Vec<String> = (0..several).map(|_| self.any(depth - 1)).collect();
                format!("(tuple {})", items.join(" "))
            }
            3 => {
                let ok = if self.rng.bool() { self.any(depth - 1) } else { String::new() };
                let err = self.rng.bool().then(|| format!("(error {})", self.any(depth - 1)));
                format!("(result {ok} {})", err.unwrap_or_default())
            }
            4 => {
                let field = |(at, ty): (usize, String)| format!("(field \"a-field{at}\" {ty})");
                let types: Vec<String> = (0..several).map(|_| self.any(depth - 1)).collect();
                let fields: Vec<String> = types.into_iter().enumerate().map(field).collect();
                self.named(&format!("(record {})", fields.join(" ")))
            }
            5 => {
                let payloads: Vec<Option<String>> =
                    (0..several).map(|_| self.rng.bool().then(|| self.any(depth - 1))).collect();
                let case = |(at, ty): (usize, Option<String>)| {
                    format!("(case \"CASE-N{at}\" {})", ty.unwrap_or_default())
                };
                let cases: Vec<String> = payloads.into_iter().enumerate().map(case).collect();
                self.named(&format!("(variant {})", cases.join(" ")))
            }
            kind => {
                let names: Vec<String> = (0..several).map(|at| format!("\"one-of{at}\"")).collect();
                let kind = if kind == 6 { "enum" } else { "flags" };
                self.named(&format!("({kind} {})", names.join(" ")))
            }
        }
    }

    fn named(&mut self, definition: &str) -> String {
        let n = self.count;
        self.count += 1;
        let line = format!("(type $d{n} {definition}) (import \"t{n}\" (type $t{n} (eq $d{n})))\n");
        self.text.push_str(&line);
        format!("$t{n}")
    }
}

/// A random type, as a component has it.
fn shape(engine: &Engine, rng: &mut Rng) -> Shape {
    let mut types = Types { rng: rng.fork(), text: String::new(), count: 0 };
    let ty = types.any(4);
    let text = format!("(component {}(import \"f\" (func (param \"p\" {ty}))))", types.text);
    shape_in(engine, &text)
}

fn component(engine: &Engine, text: &str) -> Component {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    Component::new(engine, bytes).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn shape_in(engine: &Engine, text: &str) -> Shape {
    let component = component(engine, text);
    let ty = component.component_type();
    let function = ty.imports(engine).find_map(|(_, import)| match import.ty {
        ComponentItem::ComponentFunc(function) => Some(function),
        _ => None,
    });
    let function = function.expect("a function");
    let param = function.params().next().expect("a parameter").1;
    Counter::default().shape(&param).expect("a type of values")
}

/// The type `$d`, as a function takes it.
fn param_in(engine: &Engine, defined: &str) -> Type {
    let text = format!(
        "(component {defined} (import \"t\" (type $t (eq $d))) (import \"f\" (func (param \"p\" $t))))"
    );
    let component = component(engine, &text);
    let ty = component.component_type();
    let function = ty.imports(engine).find_map(|(_, import)| match import.ty {
        ComponentItem::ComponentFunc(function) => Some(function),
        _ => None,
    });
    function.expect("a function").params().next().expect("a parameter").1
}

fn value(shape: &Shape, rng: &mut Rng) -> Val {
    match shape {
        Shape::Bool => Val::Bool(rng.bool()),
        Shape::S8 => Val::S8(rng.i8(..)),
        Shape::U8 => Val::U8(rng.u8(..)),
        Shape::S16 => Val::S16(rng.i16(..)),
        Shape::U16 => Val::U16(rng.u16(..)),
        Shape::S32 => Val::S32(rng.i32(..)),
        Shape::U32 => Val::U32(rng.u32(..)),
        Shape::S64 => Val::S64(*rng.choice(&[i64::MIN, i64::MAX, 0, rng.clone().i64(..)]).expect("some")),
        Shape::U64 => Val::U64(*rng.choice(&[u64::MAX, 1 << 53, rng.clone().u64(..)]).expect("some")),
        // Every pattern of bits, so every sort of float.
        Shape::Float32 => Val::Float32(f32::from_bits(rng.u32(..))),
        Shape::Float64 => Val::Float64(f64::from_bits(rng.u64(..))),
        Shape::Char => Val::Char(rng.char(..)),
        Shape::String => Val::String((0..rng.usize(0..6)).map(|_| rng.char(..)).collect()),
        Shape::Bytes => Val::List((0..rng.usize(0..9)).map(|_| Val::U8(rng.u8(..))).collect()),
        Shape::List(item) => Val::List((0..rng.usize(0..4)).map(|_| value(item, rng)).collect()),
        Shape::Tuple(items) => Val::Tuple(items.iter().map(|item| value(item, rng)).collect()),
        Shape::Record(fields) => {
            Val::Record(fields.iter().map(|(name, shape)| (name.wit.clone(), value(shape, rng))).collect())
        }
        Shape::Variant(cases) => {
            let (name, shape) = rng.choice(cases).expect("a case");
            Val::Variant(name.wit.clone(), shape.as_ref().map(|shape| Box::new(value(shape, rng))))
        }
        Shape::Enum(names) => Val::Enum(rng.choice(names).expect("a case").wit.clone()),
        Shape::Flags(names) => {
            Val::Flags(names.iter().filter(|_| rng.bool()).map(|name| name.wit.clone()).collect())
        }
        Shape::Option(inner) => Val::Option(rng.bool().then(|| Box::new(value(inner, rng)))),
        Shape::Result(ok, err) => {
            let side = |shape: &Option<Box<Shape>>, rng: &mut Rng| {
                shape.as_ref().map(|shape| Box::new(value(shape, rng)))
            };
            Val::Result(if rng.bool() { Ok(side(ok, rng)) } else { Err(side(err, rng)) })
        }
    }
}

fn text(shape: &Shape, value: &Val) -> Option<String> {
    shape.json(value, 1 << 20).map(|json| String::from_utf8(json).expect("UTF-8"))
}

fn read(shape: &Shape, json: &Value) -> Result<Val, (String, String)> {
    let mut budget = Budget::of_memory(1 << 20);
    shape.read(json, &mut budget).map_err(|misfit| (misfit.path, misfit.why))
}

#[test]
fn random_types_and_values_come_back_as_they_were() {
    let engine = Engine::new(Config::new().concurrency_support(false)).expect("an engine");
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    for round in 0..300 {
        let shape = shape(&engine, &mut rng);
        let schema = shape.schema();
        let check = jsonschema::validator_for(&schema).expect("a schema");
        for _ in 0..20 {
            let value = value(&shape, &mut rng);
            let story = || format!("seed {seed}, round {round}: {value:?} of {shape:?}");
            let text = text(&shape, &value).unwrap_or_else(|| panic!("not written: {}", story()));
            let json: Value = serde_json::from_str(&text).expect("JSON");
            assert!(check.is_valid(&json), "{text} does not fit {schema}: {}", story());
            let back = read(&shape, &json).unwrap_or_else(|wrong| panic!("{wrong:?}: {text}: {}", story()));
            assert_eq!(back, value, "{text}: {}", story());
        }
    }
}

#[test]
fn whatever_json_a_sender_writes_is_read_or_refused() {
    let engine = Engine::new(Config::new().concurrency_support(false)).expect("an engine");
    let mut rng = Rng::new();
    let mut accepted = 0;
    for _ in 0..100 {
        let (one, other) = (shape(&engine, &mut rng), shape(&engine, &mut rng));
        let check = jsonschema::validator_for(&one.schema()).expect("a schema");
        for _ in 0..20 {
            let json = text(&other, &value(&other, &mut rng)).expect("a value of its type");
            let json: Value = serde_json::from_str(&json).expect("JSON");
            // What is read fits the schema; what does not fit is refused, with a place.
            match read(&one, &json) {
                Ok(_) => {
                    accepted += 1;
                    assert!(check.is_valid(&json), "{json} was read as {one:?}");
                }
                Err((path, why)) => assert!(path.is_empty() || path.starts_with('/'), "{path}: {why}"),
            }
        }
    }
    assert!(accepted > 0, "some types share their JSON");
}

#[test]
fn misfits_name_their_place() {
    let engine = Engine::new(Config::new().concurrency_support(false)).expect("an engine");
    let text = r#"(component
        (type $d0 (record (field "big" u64) (field "list-of" (list s8)) (field "may" (option char))))
        (import "t0" (type $t0 (eq $d0)))
        (type $d1 (variant (case "none-at-all") (case "some" $t0) (case "deep" (option (option bool)))))
        (import "t1" (type $t1 (eq $d1)))
        (import "f" (func (param "p" (tuple $t1 f32)))))"#;
    let shape = shape_in(&engine, text);
    let wrong = |json: Value| read(&shape, &json).expect_err("it was read");
    let some = |field: Value| json!([{ "some": field }, 1]);
    for (json, path, why) in [
        (json!({}), "", "it is an object and not an array"),
        (json!([1]), "", "it has 1 items and not 2"),
        (json!(["none_at_all", 1e300]), "/1", "it is out of the range of a 32-bit float"),
        (json!(["none-at-all", 1]), "/0", "it is none of none_at_all, some, deep"),
        (json!(["some", 1]), "/0", "\"some\" has a value: write {\"some\": …}"),
        (some(json!({ "list_of": [] })), "/0/some", "\"big\" is missing"),
        (some(json!({ "big": -1, "list_of": [] })), "/0/some/big", "it is no integer in the range of u64"),
        (
            some(json!({ "big": 1, "list_of": [1, 128] })),
            "/0/some/list_of/1",
            "it is no integer in the range of i8",
        ),
        (
            some(json!({ "big": 1, "list_of": [], "may": "ab" })),
            "/0/some/may",
            "it is a string and not a string of one character",
        ),
        (some(json!({ "big": 1, "list_of": [], "x": 1 })), "/0/some/x", "nothing is allowed here"),
        (
            json!([{ "deep": true }, 1]),
            "/0/deep",
            "it is a boolean and not null or an object with \"some\" alone",
        ),
    ] {
        assert_eq!(wrong(json.clone()), (path.to_owned(), why.to_owned()), "{json}");
    }
    let digits = some(json!({ "big": "18446744073709551615", "list_of": [2.0] }));
    assert!(read(&shape, &digits).is_ok(), "64 bits as a string, and 2.0 for 2");
}

#[test]
fn arguments_take_no_more_memory_than_an_attempt_has() {
    let engine = Engine::new(Config::new().concurrency_support(false)).expect("an engine");
    let list = shape_in(&engine, r#"(component (import "f" (func (param "p" (list bool)))))"#);
    let few = || Budget::of_memory(1_000);
    let many = Value::from(vec![true; 20]);
    assert!(list.read(&json!([true, true]), &mut few()).is_ok());
    assert!(list.read(&many, &mut few()).is_err());
    assert!(few().take_json(br#"{"a": "[[[[[[[[[[[[[", "b": "\",,,,,,,,,,,,"}"#).is_ok());
    assert!(few().take_json(b"[[],[],[],[],[],[]]").is_err());
    let mut both = Budget::of_memory(1_700);
    both.take_json(many.to_string().as_bytes()).expect("the text alone fits");
    let Misfit { why, .. } = list.read(&many, &mut both).expect_err("beside its values it does not");
    assert!(why.contains("more than 1700 bytes") && why.contains("memory_bytes_max"), "{why}");
}

#[test]
fn a_result_is_written_no_further_than_it_may_be_long() {
    let engine = Engine::new(Config::new().concurrency_support(false)).expect("an engine");
    let list = shape_in(&engine, r#"(component (import "f" (func (param "p" (list (tuple u8 string))))))"#);
    let value = Val::List(vec![Val::Tuple(vec![Val::U8(7), Val::String("\0".into())]); 100]);
    let whole = text(&list, &value).expect("written");
    assert_eq!(whole.len(), 100 * r#"[7,"\u0000"],"#.len() + 1);
    for max in 0..whole.len() {
        assert_eq!(list.json(&value, max as u64).map(|json| json.len()), Some(max + 1));
    }
    assert_eq!(list.json(&value, whole.len() as u64), Some(whole.into_bytes()));
}

#[test]
fn types_that_share_parts_are_counted_as_often_as_they_are_written() {
    let engine = Engine::new(Config::new().concurrency_support(false)).expect("an engine");
    let doubled: String = (1..14).map(|n| format!("(type $x{n} (tuple $x{m} $x{m}))", m = n - 1)).collect();
    let text =
        format!("(component (type $x0 (tuple bool)) {doubled} (import \"f\" (func (param \"p\" $x12))))");
    let component = component(&engine, &text);
    let ty = component.component_type();
    let Some(ComponentItem::ComponentFunc(function)) = ty.imports(&engine).map(|(_, i)| i.ty).next() else {
        panic!("no function")
    };
    let param = function.params().next().expect("a parameter").1;
    assert_eq!(Counter::default().shape(&param), Err("its types are too large"));
}

#[test]
fn names_count_as_types_do_wherever_they_stand() {
    let engine = Engine::new(Config::new().concurrency_support(false)).expect("an engine");
    let names = |from: usize, to: usize| (from..to).map(|n| format!("\"n{n}\" ")).collect::<String>();
    let large = param_in(&engine, &format!("(type $d (enum {}))", names(0, 5_000)));
    assert_eq!(Counter::default().shape(&large), Err("its types are too large"));
    // Small enough for one function, and too large for as many as may be.
    let medium = param_in(&engine, &format!("(type $d (enum {}))", names(0, 4_000)));
    let mut counter = Counter::default();
    let ended = (0..9).map(|_| {
        counter.begin();
        counter.shape(&medium).map(drop)
    });
    let ended: Vec<_> = ended.collect();
    assert_eq!(ended[7], Ok(()));
    assert_eq!(ended[8], Err("the component's types are too large together"));
    let long = param_in(&engine, &format!("(type $d (enum \"{}\"))", "n".repeat(90_000)));
    let mut counter = Counter::default();
    let ended: Vec<_> = (0..12).map(|_| counter.shape(&long).map(drop)).collect();
    assert_eq!((ended[10], ended[11]), (Ok(()), Err("the component's names are too long together")));
}
