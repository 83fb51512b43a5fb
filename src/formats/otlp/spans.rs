//! Spans read where they lie, for whoever looks into a request that passes: nothing is copied, and of each span only what is asked
//! for is looked at. Fields of spans have been checked (`traces.rs`); what is below them has not, so lists of attributes end where
//! their bytes do not hold. Texts are bytes, because nothing has looked whether they are UTF-8.

use crate::formats::wire::{Field, Reader};

/// The spans of one resource.
#[derive(Clone, Copy, Debug)]
pub struct ResourceSpans<'a>(Reader<'a>);

/// What a span is, as far as it says who did what, when.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// All zero where there is none.
    pub trace_id: [u8; 16],
    /// All zero where there is none.
    pub span_id: [u8; 8],
    /// All zero for a span that has no parent.
    pub parent_span_id: [u8; 8],
    /// W3C's list of what vendors say of the trace.
    pub trace_state: &'a [u8],
    /// What was done.
    pub name: &'a [u8],
    /// On which side of a call.
    pub kind: SpanKind,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// How it ended.
    pub status: Status,
    /// W3C's flags of the trace, and whether the parent is in another process.
    pub flags: u32,
    fields: Reader<'a>,
}

/// On which side of a call a span was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanKind {
    /// Nothing is said, or something unknown.
    #[default]
    Unspecified,
    /// Within a process.
    Internal,
    /// Answers a call.
    Server,
    /// Makes a call.
    Client,
    /// Puts a message into a queue.
    Producer,
    /// Takes a message out of a queue.
    Consumer,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Nothing is said, or something unknown.
    #[default]
    Unset,
    /// Well, says whoever wrote the program.
    Ok,
    /// Not well.
    Error,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// None.
    Empty,
    /// Text.
    Text(&'a [u8]),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Double(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list or a map, which stays unread.
    Nested,
}

impl<'a> ResourceSpans<'a> {
    pub(super) fn new(fields: Reader<'a>) -> Self {
        Self(fields)
    }

    /// What the spans are of: keys and values.
    pub fn attributes(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        messages(self.0, 1).flat_map(|resource| attributes(resource, 1))
    }

    /// One attribute; the first where there are several of the key.
    pub fn attribute(self, key: &str) -> Option<Value<'a>> {
        find(self.attributes(), key)
    }

    /// The spans.
    pub fn spans(self) -> impl Iterator<Item = Span<'a>> {
        messages(self.0, 2).flat_map(|scope| messages(scope, 2)).map(Span::read)
    }
}

impl<'a> Span<'a> {
    pub(super) fn read(whole: Reader<'a>) -> Self {
        let mut span = Self {
            trace_id: [0; 16],
            span_id: [0; 8],
            parent_span_id: [0; 8],
            trace_state: &[],
            name: &[],
            kind: SpanKind::default(),
            start: 0,
            end: 0,
            status: Status::default(),
            flags: 0,
            fields: whole,
        };
        for (number, field) in fields(whole) {
            match (number, field) {
                (1, Field::Bytes(id)) => span.trace_id = id.bytes().try_into().unwrap_or_default(),
                (2, Field::Bytes(id)) => span.span_id = id.bytes().try_into().unwrap_or_default(),
                (3, Field::Bytes(text)) => span.trace_state = text.bytes(),
                (4, Field::Bytes(id)) => span.parent_span_id = id.bytes().try_into().unwrap_or_default(),
                (5, Field::Bytes(text)) => span.name = text.bytes(),
                (6, Field::Varint(kind)) => span.kind = SpanKind::of(kind),
                (7, Field::Fixed64(time)) => span.start = time,
                (8, Field::Fixed64(time)) => span.end = time,
                (15, Field::Bytes(status)) => span.status = Status::read(status),
                (16, Field::Fixed32(flags)) => span.flags = flags,
                _ => {}
            }
        }
        span
    }

    /// Whether the request came into its process with it: it has no parent, one elsewhere, or it answers a call.
    pub fn is_local_root(&self) -> bool {
        const KNOWS_PARENT: u32 = 0x100;
        const PARENT_IS_REMOTE: u32 = 0x200;
        let has_parent = self.parent_span_id != [0; 8];
        match self.flags & KNOWS_PARENT != 0 {
            _ if !has_parent => true,
            true => self.flags & PARENT_IS_REMOTE != 0,
            false => matches!(self.kind, SpanKind::Server | SpanKind::Consumer),
        }
    }

    /// Keys and values.
    pub fn attributes(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        attributes(self.fields, 9)
    }

    /// One attribute; the first where there are several of the key.
    pub fn attribute(self, key: &str) -> Option<Value<'a>> {
        find(self.attributes(), key)
    }
}

impl SpanKind {
    const fn of(number: u64) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }
}

impl Status {
    fn read(status: Reader<'_>) -> Self {
        let codes = fields(status).filter(|(number, _)| *number == 3);
        match codes.last() {
            Some((_, Field::Varint(1))) => Self::Ok,
            Some((_, Field::Varint(2))) => Self::Error,
            _ => Self::Unset,
        }
    }
}

impl<'a> Value<'a> {
    fn read(value: Reader<'a>) -> Self {
        let known = fields(value).filter_map(|(number, field)| match (number, field) {
            (1, Field::Bytes(text)) => Some(Self::Text(text.bytes())),
            (2, Field::Varint(bit)) => Some(Self::Bool(bit != 0)),
            (3, Field::Varint(number)) => Some(Self::Int(number as i64)),
            (4, Field::Fixed64(bits)) => Some(Self::Double(f64::from_bits(bits))),
            (5 | 6, Field::Bytes(_)) => Some(Self::Nested),
            (7, Field::Bytes(bytes)) => Some(Self::Bytes(bytes.bytes())),
            _ => None,
        });
        known.last().unwrap_or(Self::Empty)
    }
}

fn find<'a>(mut attributes: impl Iterator<Item = (&'a [u8], Value<'a>)>, key: &str) -> Option<Value<'a>> {
    let found = attributes.find(|(known, _)| *known == key.as_bytes());
    found.map(|(_, value)| value)
}

/// The attributes that stand in the list `number` of a message.
fn attributes(message: Reader<'_>, number: u32) -> impl Iterator<Item = (&[u8], Value<'_>)> {
    messages(message, number).map(attribute)
}

/// The key and the value of an attribute.
pub(super) fn attribute(attribute: Reader<'_>) -> (&[u8], Value<'_>) {
    let (mut key, mut value) = (&[][..], Value::Empty);
    for field in fields(attribute) {
        match field {
            (1, Field::Bytes(text)) => key = text.bytes(),
            (2, Field::Bytes(content)) => value = Value::read(content),
            _ => {}
        }
    }
    (key, value)
}

/// The messages that a message has in the field `number`.
pub(super) fn messages(message: Reader<'_>, number: u32) -> impl Iterator<Item = Reader<'_>> {
    fields(message).filter_map(move |field| match field {
        (known, Field::Bytes(inside)) if known == number => Some(inside),
        _ => None,
    })
}

/// The fields of a message, as far as its bytes hold.
fn fields(mut message: Reader<'_>) -> impl Iterator<Item = (u32, Field<'_>)> {
    let mut is_sound = true;
    std::iter::from_fn(move || {
        let field = is_sound.then(|| message.field().ok().flatten()).flatten();
        is_sound = field.is_some();
        field
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_local_root(parent: u8, kind: SpanKind, flags: u32) -> bool {
        let span = Span {
            parent_span_id: [parent; 8],
            kind,
            flags,
            ..Span::read(Reader::new(&[]))
        };
        span.is_local_root()
    }

    #[test]
    fn a_local_root_has_no_parent_in_its_process() {
        use SpanKind::*;
        assert!(is_local_root(0, Internal, 0));
        assert!(
            !is_local_root(1, Internal, 1),
            "whether the trace is sampled says nothing"
        );
        assert!(is_local_root(1, Server, 0) && is_local_root(1, Consumer, 0));
        assert!(!is_local_root(1, Client, 0) && !is_local_root(1, Producer, 0));
    }

    #[test]
    fn what_flags_say_of_the_parent_counts_before_the_kind() {
        use SpanKind::*;
        assert!(is_local_root(1, Internal, 0x300));
        assert!(!is_local_root(1, Server, 0x100));
        assert!(!is_local_root(1, Internal, 0x200), "nobody knows");
    }
}
