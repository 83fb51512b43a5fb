//! Attributes set on spans of a request. Only the lengths around what they are set on are written again: every other byte stays as it
//! came, in its order, unknown fields as well. Where nothing is set there is no new request.

use super::cut::raw_fields;
use super::spans::{ResourceSpans, Span, Value, attribute};
use super::traces::{PATH_TO_SPANS, Traces};
use crate::formats::wire::{Field, Reader, Writer};

/// The number of the list of attributes in a span.
const ATTRIBUTES: u32 = 9;

/// An attribute for a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub value: NewValue,
    /// What becomes of one that the span has under this key.
    pub there: There,
}

/// The value of an attribute that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewValue {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
}

/// What becomes of an attribute that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// It stays, and none is set: somebody else wrote it.
    Stays,
    /// It goes, for it is one of ours.
    GivesWay,
}

impl Traces {
    /// The same spans with the attributes that `choose` puts into its list. Beside each span it gets what `of_resource` says of the
    /// resource of the span. None if none was set.
    pub fn with_attributes<'a, Of>(
        &'a self,
        of_resource: impl Fn(ResourceSpans<'a>) -> Of,
        mut choose: impl FnMut(&Of, &Span<'a>, &mut Vec<Setting>),
    ) -> Option<Self> {
        let [to_resources, to_spans @ ..] = &PATH_TO_SPANS;
        let mut settings = Vec::new();
        let request = edited(Reader::new(self.bytes()), &[*to_resources], &mut |resource| {
            let of = of_resource(ResourceSpans::new(resource));
            edited(resource, to_spans, &mut |span| {
                settings.clear();
                choose(&of, &Span::read(span), &mut settings);
                with(span, &settings)
            })
        });
        Some(self.rewritten(request?.into()))
    }
}

/// The message with what `edit` makes of the items at the end of the path: numbers of lists, each in the items of the one before.
/// None if it makes nothing of any.
fn edited<'a>(
    message: Reader<'a>,
    path: &[u32],
    edit: &mut dyn FnMut(Reader<'a>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let (number, below) = path.split_first()?;
    let mut out: Option<Writer> = None;
    let mut passed = 0;
    for (field, value, raw) in raw_fields(message) {
        let changed = match (value, below) {
            (Field::Bytes(item), []) if field == *number => edit(item),
            (Field::Bytes(item), below) if field == *number => edited(item, below, edit),
            _ => None,
        };
        match (changed, &mut out) {
            (Some(changed), out) => {
                let before = || start(message, passed);
                out.get_or_insert_with(before).bytes_always(*number, &changed);
            }
            (None, Some(out)) => out.raw(raw),
            (None, None) => {}
        }
        passed += raw.len();
    }
    out.map(Writer::finish)
}

/// The first bytes of a message, to be written on.
fn start(message: Reader<'_>, bytes: usize) -> Writer {
    let whole = message.bytes();
    let mut out = Writer::with_capacity(whole.len() + whole.len() / 8);
    out.raw(whole.get(..bytes).unwrap_or_default());
    out
}

/// A span with attributes behind all that it has; none if it has them all.
fn with(span: Reader<'_>, settings: &[Setting]) -> Option<Vec<u8>> {
    let missing: Vec<&Setting> = settings.iter().filter(|setting| setting.is_missing(span)).collect();
    if missing.is_empty() {
        return None;
    }
    let mut out = start(span, 0);
    for (number, field, raw) in raw_fields(span) {
        let goes = |attribute| missing.iter().any(|setting| setting.is_under_key(attribute));
        match field {
            Field::Bytes(attribute) if number == ATTRIBUTES && goes(attribute) => {}
            _ => out.raw(raw),
        }
    }
    for setting in missing {
        out.message(ATTRIBUTES, |attribute| setting.write(attribute));
    }
    Some(out.finish())
}

impl Setting {
    /// Whether it is to be written into the span.
    fn is_missing(&self, span: Reader<'_>) -> bool {
        let mut there = Span::read(span)
            .attributes()
            .filter(|(key, _)| *key == self.key.as_bytes());
        match (there.next(), there.next(), self.there) {
            (None, ..) => true,
            (Some(_), _, There::Stays) => false,
            (Some((_, value)), None, There::GivesWay) => value != self.value.as_value(),
            (Some(_), Some(_), There::GivesWay) => true,
        }
    }

    fn is_under_key(&self, of: Reader<'_>) -> bool {
        attribute(of).0 == self.key.as_bytes()
    }

    fn write(&self, attribute: &mut Writer) {
        attribute.bytes(1, self.key.as_bytes());
        attribute.message(2, |value| match &self.value {
            NewValue::Text(text) => value.bytes_always(1, text.as_bytes()),
            NewValue::Int(number) => value.uint_always(3, *number as u64),
        });
    }
}

impl NewValue {
    fn as_value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text.as_bytes()),
            Self::Int(number) => Value::Int(*number),
        }
    }
}
