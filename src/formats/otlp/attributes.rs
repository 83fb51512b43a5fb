//! Attributes with their values, of resources, scopes and the attribute table.

use super::decode::Decoder;
use super::defect::{Defect, Seen, message, number};
use crate::formats::Limit;
use crate::formats::wire::{Field, Reader};
use crate::profile::{KeyValue, StringId, Value};

impl Decoder<'_> {
    /// A `KeyValue`: the key as text or in the string table.
    pub(super) fn key_value(&mut self, mut reader: Reader<'_>, depth: usize) -> Result<KeyValue, Defect> {
        let mut row = KeyValue::default();
        let mut seen = Seen::default();
        let mut key_at = None;
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                break;
            };
            self.exact &= seen.first(field_number);
            match field_number {
                1 => {
                    let text = self.text(message(field, at)?)?;
                    if text.is_set() {
                        row.key = text;
                    }
                }
                2 => row.value = self.value(message(field, at)?, depth)?,
                3 => key_at = Some((number(field, at)?, at)),
                _ => self.exact = false,
            }
        }
        if let Some((position, at)) = key_at {
            let key = self.string("key_strindex", position, at)?;
            if !row.key.is_set() {
                row.key = key;
            } else if key.is_set() {
                // only one of both may be set: the text is what the sender's library would show
                self.repairs += 1;
            }
        }
        Ok(row)
    }

    /// An `AnyValue`.
    pub(super) fn value(&mut self, mut reader: Reader<'_>, depth: usize) -> Result<Value, Defect> {
        if depth > self.limits.depth {
            return Err(Defect::too_large(Limit::Depth, "an attribute value nested too deeply"));
        }
        self.values.spend(1)?;
        let mut value = Value::Empty;
        let mut fields = 0;
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                break;
            };
            fields += 1;
            match field_number {
                1 => value = Value::String(self.text(message(field, at)?)?),
                2 => {
                    let bit = number(field, at)?;
                    self.exact &= bit <= 1;
                    value = Value::Bool(bit != 0);
                }
                3 => value = Value::Int(number(field, at)? as i64),
                4 => match field {
                    Field::Fixed64(bits) => value = Value::Double(f64::from_bits(bits)),
                    _ => return Err(Defect::wire_type(at)),
                },
                5 => value = Value::Array(self.array(message(field, at)?, depth + 1)?),
                6 => value = Value::Map(self.map(message(field, at)?, depth + 1)?),
                7 => {
                    let bytes = message(field, at)?.bytes();
                    self.bytes.spend(bytes.len())?;
                    value = Value::Bytes(bytes.into());
                }
                8 => value = Value::String(self.string("string_value_strindex", number(field, at)?, at)?),
                _ => self.exact = false,
            }
        }
        self.exact &= fields <= 1;
        Ok(value)
    }

    fn array(&mut self, mut reader: Reader<'_>, depth: usize) -> Result<Box<[Value]>, Defect> {
        let mut items = Vec::new();
        loop {
            let at = reader.offset();
            match reader.field()? {
                None => return Ok(items.into()),
                Some((1, field)) => items.push(self.value(message(field, at)?, depth)?),
                Some(_) => self.exact = false,
            }
        }
    }

    fn map(&mut self, mut reader: Reader<'_>, depth: usize) -> Result<Box<[(StringId, Value)]>, Defect> {
        let mut entries = Vec::new();
        loop {
            let at = reader.offset();
            match reader.field()? {
                None => return Ok(entries.into()),
                Some((1, field)) => {
                    // an entry without a value costs memory like one with
                    self.values.spend(1)?;
                    let entry = self.key_value(message(field, at)?, depth)?;
                    entries.push((entry.key, entry.value));
                }
                Some(_) => self.exact = false,
            }
        }
    }

    /// One more attribute of a resource or scope.
    pub(super) fn attribute_of(&mut self, list: &mut Vec<KeyValue>, reader: Reader<'_>) -> Result<(), Defect> {
        if list.len() == self.limits.attributes {
            return Err(Defect::too_large(
                Limit::Attributes,
                "too many attributes of a resource or scope",
            ));
        }
        self.values.spend(1)?;
        list.push(self.key_value(reader, 1)?);
        Ok(())
    }

    /// A text that stands where it is used. It gets a row of its own.
    pub(super) fn text(&mut self, reader: Reader<'_>) -> Result<StringId, Defect> {
        let bytes = reader.bytes();
        if bytes.is_empty() {
            return Ok(StringId::UNSET);
        }
        if bytes.len() > self.limits.string_bytes {
            return Err(Defect::too_large(Limit::String, "a string too long"));
        }
        self.bytes.spend(bytes.len() + size_of::<StringId>())?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(self.dictionary.strings.push(text)),
            Err(_) => {
                self.repairs += 1;
                Ok(self.dictionary.strings.push(&String::from_utf8_lossy(bytes)))
            }
        }
    }
}
