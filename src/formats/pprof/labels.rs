//! Attributes of samples as pprof's labels.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use super::super::wire::Writer;
use super::encode::Texts;
use crate::profile::trace_ids::TraceKeys;
use crate::profile::{Attribute, AttributeSetId, Dictionary, KeyValue, LinkId, ResourceProfiles, StringId, Value};

/// As many samples for each set, and more, share them often enough.
const SAMPLES_FOR_SET: usize = 8;

/// Bytes of labels that are kept to be written again.
const MOST_KEPT: usize = 1 << 20;

/// Writes the labels of samples.
///
/// Text stays text and a whole number keeps its unit. An array becomes one label for each value. What pprof cannot say
/// becomes text: `true` and `false`, decimal numbers, bytes as hexadecimal digits, maps and nested arrays as JSON.
/// The order is Go's: texts before numbers, then by key; labels of one key keep their order.
pub(super) struct Labels<'a> {
    dictionary: &'a Dictionary,
    resource: Vec<&'a KeyValue>,
    /// Most bytes of a text.
    most: usize,
    /// Whether one has more.
    is_too_long: bool,
    /// Those of the current sample.
    labels: Vec<Label<'a>>,
    written: Written,
}

/// What was written for sets of attributes that many samples share, to be written again.
struct Written {
    bytes: Vec<u8>,
    /// By set; empty for those that have not come yet.
    places: Vec<Range<usize>>,
}

struct Label<'a> {
    key: &'a str,
    /// Unset for keys of our own.
    key_id: StringId,
    value: LabelValue<'a>,
}

enum LabelValue<'a> {
    Text(Cow<'a, str>),
    Known(StringId),
    Number(i64, StringId),
}

impl<'a> Labels<'a> {
    /// For so many samples of one profile; the attributes of `resource` are added to each, but for ids of traces and spans: they would
    /// claim every sample for one span.
    pub(super) fn new(
        dictionary: &'a Dictionary,
        samples: usize,
        resource: Option<&'a ResourceProfiles>,
        most: usize,
    ) -> Self {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        let is_id = |key| TraceKeys::built_in().has(dictionary.str(key));
        Self {
            dictionary,
            resource: attributes.iter().filter(|attribute| !is_id(attribute.key)).collect(),
            most,
            is_too_long: false,
            labels: Vec::new(),
            written: Written::of(dictionary.attribute_sets.len(), samples),
        }
    }

    /// Writes the labels of one sample.
    pub(super) fn write(&mut self, set: AttributeSetId, link: LinkId, w: &mut Writer, texts: &mut Texts<'a>) {
        match self.written.get(set) {
            Some(known) if !link.is_set() => w.raw(known),
            _ => {
                let start = w.len();
                self.write_anew(set, link, w, texts);
                if !link.is_set() {
                    self.written.keep(set, w.since(start));
                }
            }
        }
    }

    fn write_anew(&mut self, set: AttributeSetId, link: LinkId, w: &mut Writer, texts: &mut Texts<'a>) {
        self.labels.clear();
        for attribute in self.dictionary.attributes_of(set) {
            self.add_attribute(attribute);
        }
        if link.is_set() {
            let link = &self.dictionary.links[link];
            self.add_id("trace_id", &link.trace_id);
            self.add_id("span_id", &link.span_id);
        }
        self.add_resource();
        if self.labels.len() > 1 {
            self.labels.sort_by_key(|label| (label.value.is_number(), label.key));
        }
        for label in &self.labels {
            label.write(w, texts);
        }
        if self.is_too_long {
            w.fill();
        }
    }

    fn add_attribute(&mut self, attribute: &'a Attribute) {
        match &attribute.value {
            Value::Array(values) => {
                for value in values {
                    self.add(attribute.key, value, attribute.unit);
                }
            }
            value => self.add(attribute.key, value, attribute.unit),
        }
    }

    fn add(&mut self, key_id: StringId, value: &'a Value, unit: StringId) {
        let key = self.dictionary.str(key_id);
        let value = match value {
            Value::String(id) => LabelValue::Known(*id),
            Value::Int(number) => LabelValue::Number(*number, unit),
            other => match plain_text(self.dictionary, other, self.most) {
                Some(text) => LabelValue::Text(text),
                None => {
                    self.is_too_long = true;
                    return;
                }
            },
        };
        self.labels.push(Label { key, key_id, value });
    }

    fn has(&self, key: &str) -> bool {
        self.labels.iter().any(|label| label.key == key)
    }

    /// A span or trace id, unless the sample already says one or the id is all zero.
    fn add_id(&mut self, key: &'static str, id: &[u8]) {
        if !self.has(key) && id.iter().any(|byte| *byte != 0) {
            let value = LabelValue::Text(Cow::Owned(hex(id)));
            let key_id = StringId::UNSET;
            self.labels.push(Label { key, key_id, value });
        }
    }

    /// A sample knows better than its resource.
    fn add_resource(&mut self) {
        let own = self.labels.len();
        let resource = std::mem::take(&mut self.resource);
        for attribute in &resource {
            let key = self.dictionary.str(attribute.key);
            let known = self.labels.iter().take(own).any(|label| label.key == key);
            if !known {
                self.add(attribute.key, &attribute.value, StringId::UNSET);
            }
        }
        self.resource = resource;
    }
}

impl Written {
    /// Of so many sets; none is kept if samples share them seldom.
    fn of(sets: usize, samples: usize) -> Self {
        let kept = if sets <= samples / SAMPLES_FOR_SET { sets } else { 0 };
        Self {
            bytes: Vec::new(),
            places: vec![0..0; kept],
        }
    }

    fn get(&self, set: AttributeSetId) -> Option<&[u8]> {
        let place = self.places.get(set.index()).filter(|place| !place.is_empty())?;
        self.bytes.get(place.clone())
    }

    fn keep(&mut self, set: AttributeSetId, labels: &[u8]) {
        if self.bytes.len() + labels.len() > MOST_KEPT {
            return;
        }
        if let Some(place) = self.places.get_mut(set.index()) {
            *place = self.bytes.len()..self.bytes.len() + labels.len();
            self.bytes.extend_from_slice(labels);
        }
    }
}

impl<'a> Label<'a> {
    fn write(&self, w: &mut Writer, texts: &mut Texts<'a>) {
        let key = match self.key_id.is_set() {
            true => texts.id(self.key_id),
            false => texts.text(Cow::Borrowed(self.key)),
        };
        let (text, number, unit) = match &self.value {
            LabelValue::Known(id) => (texts.id(*id), 0, 0),
            LabelValue::Text(text) => (texts.text(text.clone()), 0, 0),
            LabelValue::Number(number, unit) => (0, *number, texts.id(*unit)),
        };
        w.message(3, |w| {
            w.uint(1, key);
            w.uint(2, text);
            w.int(3, number);
            w.uint(4, unit);
        });
    }
}

impl LabelValue<'_> {
    fn is_number(&self) -> bool {
        matches!(self, Self::Number(..))
    }
}

/// A value as text: for comments and for labels of types that pprof does not have. None if it has more than `most` bytes.
pub(super) fn plain_text<'a>(dictionary: &'a Dictionary, value: &Value, most: usize) -> Option<Cow<'a, str>> {
    Some(match value {
        Value::Empty => Cow::Borrowed(""),
        Value::String(id) => Cow::Borrowed(dictionary.str(*id)),
        Value::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
        Value::Int(number) => Cow::Owned(number.to_string()),
        Value::Double(number) => Cow::Owned(number.to_string()),
        Value::Bytes(bytes) => Cow::Owned(hex(bytes)),
        Value::Array(_) | Value::Map(_) => {
            let mut left = most;
            Cow::Owned(json(dictionary, value, &mut left)?.to_string())
        }
    })
}

/// None if its texts have more bytes than are left: one text may stand in it many times.
fn json(dictionary: &Dictionary, value: &Value, left: &mut usize) -> Option<serde_json::Value> {
    Some(match value {
        Value::Empty => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::Double(number) => (*number).into(),
        Value::Array(values) => values
            .iter()
            .map(|value| json(dictionary, value, left))
            .collect::<Option<_>>()?,
        Value::Map(entries) => {
            let mut map = serde_json::Map::new();
            for (key, value) in entries {
                let key = dictionary.str(*key);
                *left = left.checked_sub(key.len())?;
                map.insert(key.to_owned(), json(dictionary, value, left)?);
            }
            map.into()
        }
        Value::String(_) | Value::Bytes(_) => {
            let text = plain_text(dictionary, value, *left)?;
            *left = left.checked_sub(text.len())?;
            text.into()
        }
    })
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // writing to a string cannot fail
        let _ = write!(text, "{byte:02x}");
    }
    text
}
