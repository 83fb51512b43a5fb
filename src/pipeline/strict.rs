//! A configuration as serde reads it, in which a list never stands for a map, and what is wrong has a path.
//!
//! serde takes `tls: [true]` for a `tls` whose first key is true, and `redaction: [[]]` for one without detectors: nobody
//! writes that on purpose.

use std::fmt::{self, Display, Formatter};
use std::vec;

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde_json::{Map, Value};

/// Reads what was configured.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    T::deserialize(Strict(value))
}

/// What is wrong with a configuration, in the words of `serde_json`, and where.
// boxed: every step of reading hands it on
#[derive(Debug)]
pub(super) struct Fault(Box<Misfit>);

#[derive(Debug)]
struct Misfit {
    message: serde_json::Error,
    /// Each step down as `.key` or `[0]`.
    path: String,
}

impl Fault {
    /// Where, as `list[0].key`; empty for the whole.
    pub(super) fn path(&self) -> &str {
        self.0.path.strip_prefix('.').unwrap_or(&self.0.path)
    }

    #[cold]
    fn below_key(mut self, key: &str) -> Self {
        self.0.path.insert_str(0, key);
        self.0.path.insert(0, '.');
        self
    }

    #[cold]
    fn below_item(mut self, index: usize) -> Self {
        self.0.path.insert_str(0, &format!("[{index}]"));
        self
    }
}

impl From<serde_json::Error> for Fault {
    #[cold]
    fn from(message: serde_json::Error) -> Self {
        let path = String::new();
        Self(Box::new(Misfit { message, path }))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.message.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        serde_json::Error::custom(message).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        serde_json::Error::invalid_type(found, expected).into()
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        serde_json::Error::invalid_value(found, expected).into()
    }
}

/// Any value of a configuration.
struct Strict(Value);

impl<'de> Deserializer<'de> for Strict {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(value) => Ok(value.deserialize_any(visitor)?),
            Value::String(value) => visitor.visit_string(value),
            Value::Array(items) => {
                let mut left = Items::new(items);
                let value = visitor.visit_seq(&mut left)?;
                all_read(left.items.len(), "fewer items in the list").map(|()| value)
            }
            Value::Object(entries) => {
                let mut left = Entries::new(entries);
                let value = visitor.visit_map(&mut left)?;
                all_read(left.entries.len(), "fewer keys in the map").map(|()| value)
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Array(_) => Err(Fault::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(Choice::of(self.0)?)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

fn all_read(left: usize, expected: &str) -> Result<(), Fault> {
    match left {
        0 => Ok(()),
        left => Err(Fault::invalid_length(left, &expected)),
    }
}

struct Items {
    items: vec::IntoIter<Value>,
    index: usize,
}

impl Items {
    fn new(items: Vec<Value>) -> Self {
        let items = items.into_iter();
        Self { items, index: 0 }
    }
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Strict(item))
            .map(Some)
            .map_err(|fault| fault.below_item(index))
    }
}

struct Entries {
    entries: serde_json::map::IntoIter,
    key: String,
    value: Value,
}

impl Entries {
    fn new(entries: Map<String, Value>) -> Self {
        Self {
            entries: entries.into_iter(),
            key: String::new(),
            value: Value::Null,
        }
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        (self.key, self.value) = (key, value);
        seed.deserialize(self.key.as_str().into_deserializer())
            .map(Some)
            .map_err(|fault: Fault| fault.below_key(&self.key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(Strict(self.value.take()))
            .map_err(|fault| fault.below_key(&self.key))
    }
}

/// One of several: its name alone, or a map of its name to what it holds.
struct Choice {
    name: String,
    held: Option<Value>,
}

impl Choice {
    fn of(value: Value) -> Result<Self, Fault> {
        match value {
            Value::String(name) => Ok(Self { name, held: None }),
            Value::Object(entries) => {
                let mut entries = entries.into_iter();
                match (entries.next(), entries.next()) {
                    (Some((name, held)), None) => Ok(Self { name, held: Some(held) }),
                    _ => Err(Fault::invalid_value(Unexpected::Map, &"map with a single key")),
                }
            }
            other => Err(Fault::invalid_type(kind(&other), &"string or map")),
        }
    }

    fn read<T>(self, read: impl FnOnce(Strict) -> Result<T, Fault>, expected: &str) -> Result<T, Fault> {
        match self.held {
            Some(held) => read(Strict(held)),
            None => Err(Fault::invalid_type(Unexpected::UnitVariant, &expected)),
        }
        .map_err(|fault| fault.below_key(&self.name))
    }
}

fn kind(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(_) => Unexpected::Other("number"),
        Value::String(value) => Unexpected::Str(value),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

impl<'de> EnumAccess<'de> for Choice {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        seed.deserialize(self.name.as_str().into_deserializer())
            .map(|variant| (variant, self))
    }
}

impl<'de> VariantAccess<'de> for Choice {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.held {
            None => Ok(()),
            Some(_) => self.read(<()>::deserialize, "unit variant"),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.read(|held| seed.deserialize(held), "newtype variant")
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.read(|held| held.deserialize_any(visitor), "tuple variant")
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.read(|held| held.deserialize_struct("", &[], visitor), "struct variant")
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        list: Vec<Inner>,
        inner: Option<Inner>,
        number: f64,
        text: Option<String>,
    }

    #[derive(Debug, PartialEq, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        on: bool,
        mode: Mode,
    }

    #[derive(Debug, PartialEq, Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        One,
        Two(u8),
    }

    fn read(value: Value) -> Result<Config, String> {
        super::read(value).map_err(|fault| fault.to_string())
    }

    #[test]
    fn all_that_is_no_list_for_a_map_is_read_as_before() {
        let value = json!({
            "list": [{ "on": true }, {}], "inner": { "mode": { "two": 7 } }, "number": 3, "text": null
        });
        assert_eq!(
            read(value.clone()),
            serde_json::from_value(value).map_err(|error| error.to_string())
        );
        let read = read(json!({ "inner": { "mode": "one" }, "text": "x" })).unwrap();
        assert_eq!((read.inner, read.text.as_deref()), (Some(Inner::default()), Some("x")));
    }

    #[test]
    fn a_list_for_a_map_is_refused_at_every_depth() {
        for value in [
            json!([]),
            json!([[]]),
            json!({ "inner": [true] }),
            json!({ "list": [[true, "one"]] }),
        ] {
            assert!(
                serde_json::from_value::<Config>(value.clone()).is_ok(),
                "serde takes {value}"
            );
            let error = read(value.clone()).unwrap_err();
            assert!(
                error.starts_with("invalid type: sequence, expected struct"),
                "{value}: {error}"
            );
        }
        assert!(read(json!({ "no_such": 1 })).unwrap_err().starts_with("unknown field"));
    }

    #[test]
    fn what_is_wrong_has_a_path() {
        for (value, path) in [
            (json!(7), ""),
            (json!({ "no_such": 1 }), "no_such"),
            (json!({ "number": "x" }), "number"),
            (json!({ "inner": { "on": 1 } }), "inner.on"),
            (json!({ "list": [{}, { "on": 1 }] }), "list[1].on"),
            (json!({ "list": [{}, 1] }), "list[1]"),
            (json!({ "inner": { "mode": 1 } }), "inner.mode"),
            (json!({ "inner": { "mode": "three" } }), "inner.mode"),
            (json!({ "inner": { "mode": "two" } }), "inner.mode.two"),
            (json!({ "inner": { "mode": { "two": [] } } }), "inner.mode.two"),
            (json!({ "inner": { "mode": { "one": 1 } } }), "inner.mode.one"),
            (json!({ "inner": { "mode": {} } }), "inner.mode"),
        ] {
            let fault = super::read::<Config>(value.clone()).unwrap_err();
            assert_eq!(fault.path(), path, "{value}: {fault}");
        }
    }

    #[test]
    fn choices_are_read_as_serde_json_reads_them() {
        #[derive(Debug, PartialEq, Deserialize)]
        enum Shape {
            Unit,
            New(Option<u8>),
            Tuple(u8, bool),
            Fields { x: u8 },
        }
        for value in [
            json!("Unit"),
            json!({ "Unit": null }),
            json!({ "Unit": 1 }),
            json!("New"),
            json!({ "New": null }),
            json!({ "New": 3 }),
            json!({ "Tuple": [1, true] }),
            json!({ "Fields": { "x": 5 } }),
            json!({ "Fields": { "y": 5 } }),
            json!({ "Unit": null, "New": null }),
            json!([]),
        ] {
            let ours = super::read::<Shape>(value.clone()).map_err(|fault| fault.to_string());
            let theirs = serde_json::from_value::<Shape>(value).map_err(|error| error.to_string());
            assert_eq!(ours.as_ref().ok(), theirs.as_ref().ok());
            // a number's words differ, and what a variant without its value wants
            assert_eq!(ours.is_err(), theirs.is_err());
        }
    }
}
