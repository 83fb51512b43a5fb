//! Files of many OTLP messages, as the exporter `file` and the Collector's of that name write them: OTLP/JSON with a line for each;
//! and protobuf, or either form with each message compressed by Zstandard, behind its length in four bytes, big-endian.
//!
//! The messages of a file become one [`Profiles`], and the limits hold for all of them together; memory is asked for each message
//! while it is read, and for what they become. A file that somebody is still
//! writing to, or that a crash left, ends in the middle of a message: that one is rejected, and what is before it is read.

use bytes::Bytes;

use super::any::decode_as_within;
use super::compress::Inflation;
use super::room::{Loan, Room, Tab};
use super::{DecodeError, Decoded, Fault, Format, Limit, Limits, sniff};
use crate::profile::{Merger, Profiles};

/// What a message costs of [`Limits::elements`] beside what is in it.
const MESSAGE_COST: usize = 16;
/// What Zstandard begins with.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// Bytes of a length.
const LENGTH: usize = 4;

/// The first message behind a length, if the bytes may be such a file.
pub(super) fn first_framed(bytes: &[u8]) -> Option<&[u8]> {
    framed(bytes).filter(|message| !message.is_empty())
}

/// Whether a message of a file is compressed.
pub(super) fn is_compressed(message: &[u8]) -> bool {
    message.starts_with(ZSTD)
}

/// Reads a file of which [`first_framed`] gave a message, with memory from `room`.
pub(super) fn decode_framed(bytes: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let loan = Loan::new(room);
    let mut all = Together::new(bytes, limits, room, &loan);
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(message) = framed(rest) else {
            all.cut_short(Format::Otlp, at);
            break;
        };
        all.add(message, at + LENGTH)?;
        at += LENGTH + message.len();
    }
    Ok(all.finish())
}

/// The message behind a length; none if it is not there to its end.
fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

/// Reads lines of OTLP/JSON, with memory from `room`. One text that is spread over many lines stays one.
pub(super) fn decode_lines(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let mut ends = memchr::memchr_iter(b'\n', text).filter(|at| is_between_messages(text, *at));
    let Some(first) = ends.next() else {
        return decode_as_within(Format::OtlpJson, text, limits, room);
    };
    let loan = Loan::new(room);
    let mut all = Together::new(text, limits, room, &loan);
    let mut begin = 0;
    for end in std::iter::once(first).chain(ends) {
        all.add(text.get(begin..end).unwrap_or_default(), begin)?;
        begin = end + 1;
    }
    let last = text.get(begin..).unwrap_or_default();
    match all.add(last, begin) {
        // a writer ends every line
        Err(error) if error.fault == Fault::Malformed && !last.ends_with(b"\n") => {
            all.cut_short(Format::OtlpJson, begin);
        }
        read => read?,
    }
    Ok(all.finish())
}

/// Whether a line ends with one message and the next begins with another: inside of JSON neither happens.
fn is_between_messages(text: &[u8], line_end: usize) -> bool {
    let before = text.get(..line_end).unwrap_or_default();
    let before = before.strip_suffix(b"\r").unwrap_or(before);
    before.ends_with(b"}") && text.get(line_end + 1) == Some(&b'{')
}

/// What was read of a file so far.
struct Together<'a> {
    merger: Merger,
    decoded: Decoded,
    messages: usize,
    /// What is left of the limits.
    limits: Limits,
    inflation: Inflation<'a>,
    /// For what the messages become.
    tab: Tab<'a>,
    /// For a message while it is read.
    loan: &'a Loan<'a>,
}

impl<'a> Together<'a> {
    fn new(file: &[u8], limits: &Limits, room: &'a dyn Room, loan: &'a Loan<'a>) -> Self {
        let unpacked = Limits {
            decompressed_bytes: limits.decompressed_bytes.saturating_sub(file.len()),
            ..*limits
        };
        Self {
            merger: Merger::default(),
            decoded: Decoded::default(),
            messages: 0,
            limits: *limits,
            inflation: Inflation::within(&unpacked, loan),
            tab: Tab::new(room),
            loan,
        }
    }

    /// Reads one more message, which begins at byte `at` of the file.
    fn add(&mut self, message: &[u8], at: usize) -> Result<(), DecodeError> {
        if message.is_empty() {
            return Ok(());
        }
        self.messages += 1;
        let decoded = self.decode(message, at).map_err(|error| DecodeError {
            problem: format!("message {}: {}", self.messages, error.problem),
            ..error
        })?;
        self.spend(&decoded.profiles)?;
        self.merger.add(&decoded.profiles);
        let held = self.tab.hold(self.merger.heap_bytes());
        held.map_err(|why| DecodeError::no_room(Format::Otlp, why))?;
        self.loan.repay();
        let all = &mut self.decoded;
        all.repairs += decoded.repairs;
        all.overflows += decoded.overflows;
        all.rejected.profiles += decoded.rejected.profiles;
        all.rejected.first = all.rejected.first.take().or(decoded.rejected.first);
        Ok(())
    }

    fn decode(&mut self, message: &[u8], at: usize) -> Result<Decoded, DecodeError> {
        if !is_compressed(message) {
            return decode_message(message, &self.limits, self.loan).map_err(|error| DecodeError {
                offset: error.offset.map(|offset| at + offset),
                ..error
            });
        }
        let plain = self.inflation.unwrap_sibling(Bytes::copy_from_slice(message));
        let plain = plain.map_err(|error| DecodeError {
            fault: error.fault(),
            offset: None,
            ..DecodeError::malformed(Format::Otlp, at, error.to_string())
        })?;
        decode_message(&plain, &self.limits, self.loan).map_err(|error| DecodeError {
            // that of the message would be one in what was compressed
            offset: Some(at),
            ..error
        })
    }

    /// Takes from the limits what a message held.
    fn spend(&mut self, profiles: &Profiles) -> Result<(), DecodeError> {
        let cost = largest_table(profiles).saturating_add(MESSAGE_COST);
        let left = self.limits.elements.checked_sub(cost);
        self.limits.elements = left.ok_or_else(|| {
            let problem = format!("too many elements in {} messages", self.messages);
            DecodeError::too_large(Format::Otlp, Limit::Elements, problem, "read fewer of them at once")
        })?;
        Ok(())
    }

    /// The file ends inside of a message.
    fn cut_short(&mut self, format: Format, at: usize) {
        let why = "the file ends inside of its last message";
        self.decoded.rejected.add(DecodeError::malformed(format, at, why));
    }

    fn finish(self) -> Decoded {
        Decoded {
            profiles: self.merger.finish(),
            ..self.decoded
        }
    }
}

fn decode_message(message: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let format = match message.first() {
        Some(b'{') => Format::OtlpJson,
        // a line break and a brace also begin a message whose first resource has 123 bytes
        _ if sniff(message) == Ok(Format::OtlpJson) => Format::OtlpJson,
        _ => Format::Otlp,
    };
    decode_as_within(format, message, limits, room)
}

/// Rows of the table that has most of them.
fn largest_table(profiles: &Profiles) -> usize {
    let d = profiles.dictionary();
    [
        profiles.sample_count(),
        d.strings.len(),
        d.functions.len(),
        d.locations.len(),
        d.lines.items().len(),
        d.stacks.items().len(),
        d.attributes.len(),
        d.attribute_sets.items().len(),
    ]
    .into_iter()
    .max()
    .unwrap_or_default()
}

#[cfg(test)]
mod tests;
