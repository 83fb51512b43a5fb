//! Protobuf to JSON. Where a field is sent more than once, as concatenated messages have it, the items of a list are gathered and
//! of anything else the last one counts. What is not written as its kind is counts as unknown, as it does to protobuf's own readers.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::schema::{Field, Kind, Message};
use crate::formats::wire::{self, Reader};

/// The JSON, or somewhat more than `most` bytes of it.
pub(super) fn from_protobuf(bytes: &[u8], request: &'static Message, most: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(3).min(most));
    object(&mut out, Reader::new(bytes), request, most);
    out
}

/// A message.
fn object(out: &mut Vec<u8>, mut reader: Reader<'_>, message: &'static Message, most: usize) {
    // by number, all of which are below 64
    let mut written = 0_u64;
    out.push(b'{');
    while let Ok(Some((number, value))) = reader.field() {
        let Some(field) = message.by_number(number).filter(|field| fits(field, &value)) else {
            continue;
        };
        let this = 1 << number;
        if written & this != 0 {
            continue;
        }
        if written != 0 {
            out.push(b',');
        }
        written |= this;
        out.push(b'"');
        out.extend_from_slice(field.name.as_bytes());
        out.extend_from_slice(b"\":");
        let later = later(reader, field);
        match field.is_list {
            true => list(out, field, value, later, most),
            false => content(out, field, later.last().unwrap_or(value), most),
        }
        if out.len() > most {
            break;
        }
    }
    out.push(b'}');
}

/// The values of the same field further on.
fn later<'a>(mut rest: Reader<'a>, field: &'static Field) -> impl Iterator<Item = wire::Field<'a>> {
    let fields = std::iter::from_fn(move || rest.field().ok().flatten());
    let own = fields.filter(move |(number, value)| *number == field.number && fits(field, value));
    own.map(|(_, value)| value)
}

/// Whether a value is written as those of the field are.
fn fits(field: &Field, value: &wire::Field<'_>) -> bool {
    match (field.kind, value) {
        (Kind::Message(_) | Kind::Text | Kind::Hex | Kind::Base64, wire::Field::Bytes(_))
        | (Kind::Int32 | Kind::Int64 | Kind::Uint64 | Kind::Bool | Kind::Enum(_), wire::Field::Varint(_))
        | (Kind::Fixed64 | Kind::Double, wire::Field::Fixed64(_))
        | (Kind::Fixed32, wire::Field::Fixed32(_)) => true,
        // numbers of a list are packed
        (Kind::Int32 | Kind::Int64 | Kind::Uint64 | Kind::Fixed64, wire::Field::Bytes(packed)) => {
            field.is_list && !packed.is_empty()
        }
        _ => false,
    }
}

fn list<'a>(
    out: &mut Vec<u8>,
    field: &Field,
    first: wire::Field<'a>,
    later: impl Iterator<Item = wire::Field<'a>>,
    most: usize,
) {
    out.push(b'[');
    content(out, field, first, most);
    for value in later {
        if out.len() > most {
            break;
        }
        out.push(b',');
        content(out, field, value, most);
    }
    out.push(b']');
}

fn content(out: &mut Vec<u8>, field: &Field, value: wire::Field<'_>, most: usize) {
    match (field.kind, value) {
        (Kind::Message(message), wire::Field::Bytes(inside)) => object(out, inside, message, most),
        (Kind::Text, wire::Field::Bytes(text)) => string(out, &String::from_utf8_lossy(text.bytes())),
        (Kind::Hex, wire::Field::Bytes(id)) => hex(out, id.bytes()),
        (Kind::Base64, wire::Field::Bytes(bytes)) => string(out, &STANDARD.encode(bytes.bytes())),
        (Kind::Bool, wire::Field::Varint(bit)) => out.extend_from_slice(if bit == 0 { b"false" } else { b"true" }),
        (Kind::Double, wire::Field::Fixed64(bits)) => double(out, f64::from_bits(bits)),
        (kind, wire::Field::Varint(number) | wire::Field::Fixed64(number)) => whole(out, kind, number),
        (kind, wire::Field::Bytes(packed)) => items(out, kind, packed),
        (kind, wire::Field::Fixed32(number)) => whole(out, kind, u64::from(number)),
    }
}

/// The numbers of a packed list, without its brackets.
fn items(out: &mut Vec<u8>, kind: Kind, mut packed: Reader<'_>) {
    let mut is_first = true;
    while !packed.is_empty() {
        let number = match kind {
            Kind::Fixed64 => packed.fixed64(),
            _ => packed.varint(),
        };
        let Ok(number) = number else {
            return;
        };
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        whole(out, kind, number);
    }
}

fn whole(out: &mut Vec<u8>, kind: Kind, number: u64) {
    // writing to memory cannot fail
    let _ = match kind {
        Kind::Int32 | Kind::Fixed32 | Kind::Enum(_) => write!(out, "{}", number as i64),
        Kind::Int64 => write!(out, "\"{}\"", number as i64),
        _ => write!(out, "\"{number}\""),
    };
}

fn double(out: &mut Vec<u8>, number: f64) {
    match number {
        n if n.is_finite() => out.extend_from_slice(serde_json::Value::from(n).to_string().as_bytes()),
        n if n.is_nan() => string(out, "NaN"),
        n if n > 0.0 => string(out, "Infinity"),
        _ => string(out, "-Infinity"),
    }
}

fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(match digit {
                0..=9 => b'0' + digit,
                _ => b'a' + digit - 10,
            });
        }
    }
    out.push(b'"');
}

fn string(out: &mut Vec<u8>, text: &str) {
    // writing text to memory cannot fail
    let _ = serde_json::to_writer(out, text);
}
