//! Protobuf as this crate writes it to JSON.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::schema::{Field, Kind, Message, REQUEST};
use crate::formats::wire::{self, Reader};

/// The JSON, or somewhat more than `most` bytes of it.
pub(super) fn from_protobuf(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(3).min(most));
    object(&mut out, Reader::new(bytes), &REQUEST, most);
    out
}

/// A message. The items of a list follow each other, because they were written that way.
fn object(out: &mut Vec<u8>, mut reader: Reader<'_>, message: &'static Message, most: usize) {
    let mut open_list: Option<u32> = None;
    let mut is_first = true;
    out.push(b'{');
    while let Ok(Some((number, value))) = reader.field() {
        let Some(field) = message.by_number(number) else {
            continue;
        };
        if open_list == Some(number) {
            out.push(b',');
        } else {
            if open_list.take().is_some() {
                out.push(b']');
            }
            if !is_first {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b"\":");
            if field.is_list {
                out.push(b'[');
                open_list = Some(number);
            }
        }
        is_first = false;
        content(out, field, value, most);
        if out.len() > most {
            break;
        }
    }
    if open_list.is_some() {
        out.push(b']');
    }
    out.push(b'}');
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
        (_, wire::Field::Fixed32(_)) => out.extend_from_slice(b"null"),
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
        Kind::Int32 => write!(out, "{}", number as i64),
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
