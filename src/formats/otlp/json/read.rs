//! JSON to protobuf, name by name, without a tree in between.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::schema::{Field, Kind, Message};
use crate::formats::room::{OutOfBudget, Room};
use crate::formats::wire::Writer;
use crate::formats::{DecodeError, Format, Limit, Limits, base64};

/// The output doubles from here.
const FIRST_STEP: usize = 16 << 10;
/// A key and a number, a length or a closing length that grew.
const KEY_BYTES: usize = 32;

/// A request in protobuf.
pub(super) struct Carried {
    pub bytes: Vec<u8>,
    pub repairs: u64,
}

pub(super) fn to_protobuf(
    text: &[u8],
    request: &'static Message,
    limits: &Limits,
    room: &dyn Room,
) -> Result<Carried, DecodeError> {
    let no_room = |why| DecodeError::no_room(Format::OtlpJson, why);
    let expected = text.len() / 4;
    room.take(expected).map_err(no_room)?;
    if std::str::from_utf8(text).is_err() {
        // every wrong byte becomes three
        room.take(text.len().saturating_mul(3)).map_err(no_room)?;
    }
    let mended = String::from_utf8_lossy(text);
    let mut state = State {
        out: Writer::with_capacity(expected),
        covered: expected,
        room,
        repairs: u64::from(matches!(mended, Cow::Owned(_))),
        stop: None,
        // a value in a map is three messages below the value that is the map
        depth_left: limits.depth.saturating_mul(3).saturating_add(8),
    };
    let mut json = serde_json::Deserializer::from_str(&mended);
    let read = Object(&mut state, request).deserialize(&mut json);
    match read.and_then(|()| json.end()) {
        Ok(()) => Ok(Carried {
            bytes: state.out.finish(),
            repairs: state.repairs,
        }),
        Err(error) => Err(explain(&mended, &error, state.stop)),
    }
}

/// What the parser's error means. Its own text stays unread: it may quote the payload.
fn explain(text: &str, error: &serde_json::Error, stop: Option<Stop>) -> DecodeError {
    let is_parser_limit = error.to_string().starts_with("recursion limit exceeded");
    let stop = if is_parser_limit { Some(Stop::TooDeep) } else { stop };
    let problem = match (stop, error.classify()) {
        (Some(Stop::TooDeep), _) => {
            return DecodeError::too_large(
                Format::OtlpJson,
                Limit::Depth,
                "an attribute value nested too deeply",
                "send flatter values",
            );
        }
        (Some(Stop::NoRoom(why)), _) => return DecodeError::no_room(Format::OtlpJson, why),
        (Some(Stop::Old), _) => {
            return DecodeError::unsupported(Format::OtlpJson, "OTLP/JSON of 1.7 or older", VERSIONS_OF_JSON);
        }
        (None, Category::Eof) => "the text ends inside of the JSON",
        (None, Category::Data) => "a value that its field cannot hold",
        (None, Category::Syntax | Category::Io) => "not JSON",
    };
    DecodeError::malformed(Format::OtlpJson, offset(text, error), problem)
}

const VERSIONS_OF_JSON: &str = "send OTLP/JSON of 1.8 to 1.11, or protobuf";

fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    before.map(str::len).sum::<usize>() + error.column().saturating_sub(1)
}

/// Why reading was given up, where it was not the JSON.
#[derive(Clone, Copy)]
enum Stop {
    TooDeep,
    Old,
    NoRoom(OutOfBudget),
}

struct State<'a> {
    out: Writer,
    /// Bytes of `out` that memory was asked for.
    covered: usize,
    room: &'a dyn Room,
    repairs: u64,
    stop: Option<Stop>,
    depth_left: usize,
}

impl State<'_> {
    fn stop<E: Error>(&mut self, why: Stop) -> E {
        self.stop = Some(why);
        E::custom("stopped")
    }

    /// Asks for memory, should `bytes` and a key not fit what there is.
    fn cover<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        let short = (self.out.len() + bytes + KEY_BYTES).saturating_sub(self.covered);
        if short == 0 {
            return Ok(());
        }
        let step = short.max(self.covered).max(FIRST_STEP);
        match self.room.take(step) {
            Ok(()) => {
                self.covered += step;
                Ok(())
            }
            Err(why) => Err(self.stop(Stop::NoRoom(why))),
        }
    }
}

/// Writes the fields of a message.
struct Object<'a, 's>(&'a mut State<'s>, &'static Message);

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self(state, message) = self;
        while let Some(name) = object.next_key::<Name>()? {
            match message.by_name(&name.0) {
                Some(field) => object.next_value_seed(Content(state, field))?,
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The name of a field, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Writes a field with its key: a list, one value, or nothing for null.
struct Content<'a, 's>(&'a mut State<'s>, &'static Field);

impl<'de> DeserializeSeed<'de> for Content<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.1.kind {
            Kind::Of1_7 => Err(self.0.stop(Stop::Old)),
            Kind::Lost => {
                self.0.repairs += 1;
                IgnoredAny::deserialize(json).map(|_| ())
            }
            _ => json.deserialize_option(self),
        }
    }
}

impl<'de> Visitor<'de> for Content<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Self(state, field) = self;
        match field.is_list {
            true => json.deserialize_seq(List(state, field)),
            false => One(state, field).deserialize(json),
        }
    }
}

struct List<'a, 's>(&'a mut State<'s>, &'static Field);

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(state, field) = self;
        while items.next_element_seed(One(state, field))?.is_some() {}
        Ok(())
    }
}

/// Writes one value with its key.
struct One<'a, 's>(&'a mut State<'s>, &'static Field);

impl<'de> DeserializeSeed<'de> for One<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.0.cover(0)?;
        match self.1.kind {
            Kind::Message(message) => nested(self.0, self.1.number, message, json),
            Kind::Text | Kind::Hex | Kind::Base64 => json.deserialize_str(self),
            _ => json.deserialize_any(self),
        }
    }
}

fn nested<'de, D: Deserializer<'de>>(
    state: &mut State<'_>,
    number: u32,
    message: &'static Message,
    json: D,
) -> Result<(), D::Error> {
    if state.depth_left == 0 {
        return Err(state.stop(Stop::TooDeep));
    }
    state.depth_left -= 1;
    let mut read = Ok(());
    let mut out = std::mem::take(&mut state.out);
    out.message(number, |inside| {
        std::mem::swap(&mut state.out, inside);
        read = Object(state, message).deserialize(json);
        std::mem::swap(&mut state.out, inside);
    });
    state.out = out;
    state.depth_left += 1;
    read
}

impl One<'_, '_> {
    fn whole<E: Error>(self, number: u64) -> Result<(), E> {
        let Self(state, field) = self;
        match field.kind {
            Kind::Int32 | Kind::Int64 | Kind::Uint64 => state.out.uint_always(field.number, number),
            Kind::Enum(_) => state.out.uint_always(field.number, number),
            Kind::Fixed64 => state.out.fixed64_always(field.number, number),
            Kind::Fixed32 => match u32::try_from(number) {
                Ok(number) => state.out.fixed32_always(field.number, number),
                Err(_) => return Err(E::custom("too large")),
            },
            _ => return Err(E::custom("no number")),
        }
        Ok(())
    }

    fn is_signed(&self) -> bool {
        matches!(self.1.kind, Kind::Int32 | Kind::Int64)
    }

    fn bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.0.cover(bytes.len())?;
        self.0.out.bytes_always(self.1.number, bytes);
        Ok(())
    }
}

impl<'de> Visitor<'de> for One<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the field's kind")
    }

    fn visit_bool<E: Error>(self, bit: bool) -> Result<(), E> {
        match self.1.kind {
            Kind::Bool => {
                self.0.out.uint_always(self.1.number, u64::from(bit));
                Ok(())
            }
            _ => Err(E::custom("no truth value")),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        match self.1.kind {
            Kind::Double => self.visit_f64(number as f64),
            _ if self.is_signed() && i64::try_from(number).is_err() => Err(E::custom("too large")),
            _ => self.whole(number),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        match self.1.kind {
            Kind::Double => self.visit_f64(number as f64),
            _ if number < 0 && !self.is_signed() => Err(E::custom("negative")),
            _ => self.whole(number as u64),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        if let Kind::Double = self.1.kind {
            self.0.out.fixed64_always(self.1.number, number.to_bits());
            return Ok(());
        }
        // 1.0 and 1e3 are whole numbers too, as far as a double knows them exactly
        if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
            return self.visit_i64(number as i64);
        }
        Err(E::custom("no whole number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.1.kind {
            Kind::Text => self.bytes(text.as_bytes()),
            Kind::Hex => match hex(text) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(E::custom("no hex digits")),
            },
            Kind::Base64 => match base64::decode(text) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(E::custom("no base64")),
            },
            Kind::Double => match text.parse::<f64>() {
                Ok(number) => self.visit_f64(number),
                Err(_) => Err(E::custom("no number")),
            },
            Kind::Bool => Err(E::custom("no truth value")),
            Kind::Enum(names) if names.contains(&text) => {
                let number = names.iter().position(|name| *name == text);
                self.whole(number.unwrap_or_default() as u64)
            }
            _ => match (text.parse::<i64>(), text.parse::<u64>()) {
                (Ok(number), _) => self.visit_i64(number),
                (_, Ok(number)) => self.visit_u64(number),
                _ => Err(E::custom("no number")),
            },
        }
    }
}

/// Ids are hex in OTLP, and base64 where a library knows protobuf's own JSON only: 16 bytes are 24 characters then, and 8 are 12.
fn hex(text: &str) -> Option<Vec<u8>> {
    if matches!(text.len(), 12 | 24) {
        return base64::decode(text);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}
