//! A configuration as serde reads it, in which a list never stands for a map.
//!
//! serde takes `tls: [true]` for a `tls` whose first key is true, and `redaction: [[]]` for one without detectors: nobody
//! writes that on purpose.

use std::vec;

use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::{Map, Value};

type Fault = serde_json::Error;

/// Any value of a configuration.
pub(super) struct Strict(pub(super) Value);

impl<'de> Deserializer<'de> for Strict {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Array(items) => {
                let mut left = Items(items.into_iter());
                let value = visitor.visit_seq(&mut left)?;
                all_read(left.0.len(), "fewer items in the list").map(|()| value)
            }
            Value::Object(entries) => {
                let mut left = Entries::new(entries);
                let value = visitor.visit_map(&mut left)?;
                all_read(left.entries.len(), "fewer keys in the map").map(|()| value)
            }
            scalar => scalar.deserialize_any(visitor),
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
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.0.deserialize_enum(name, variants, visitor)
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

struct Items(vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.0.next().map(|item| seed.deserialize(Strict(item))).transpose()
    }
}

struct Entries {
    entries: serde_json::map::IntoIter,
    value: Value,
}

impl Entries {
    fn new(entries: Map<String, Value>) -> Self {
        Self {
            entries: entries.into_iter(),
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
        self.value = value;
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(Strict(self.value.take()))
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
        Config::deserialize(Strict(value)).map_err(|error| error.to_string())
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
}
