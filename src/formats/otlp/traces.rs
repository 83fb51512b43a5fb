//! Requests of spans that pass as they came. Their structure is checked down to the fields of each span; what is below those, the
//! attributes, events and links, stays unread until somebody asks for it (`spans.rs`).

use bytes::{Bytes, BytesMut};

use super::spans::{ResourceSpans, messages};
use super::{cut, json};
use crate::formats::room::Room;
use crate::formats::wire::{Field, Reader, WireError};
use crate::formats::{DecodeError, EncodeError, Format, Limit, Limits};

/// An `ExportTraceServiceRequest` whose structure holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    request: Bytes,
    spans: u64,
}

impl Traces {
    /// Checks a request, which stays as it is.
    pub fn new(request: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let mut check = Check {
            spans: 0,
            most: limits.elements as u64,
        };
        check.request(Reader::new(&request))?;
        Ok(Self {
            spans: check.spans,
            request,
        })
    }

    /// Reads a request in OTLP/JSON, with memory from `room`. Names that are not known here are left out.
    pub fn from_json(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Self, DecodeError> {
        if let Err(wrong) = std::str::from_utf8(text) {
            return Err(DecodeError::malformed(
                Format::OtlpJson,
                wrong.valid_up_to(),
                "not UTF-8",
            ));
        }
        let request = json::spans_to_protobuf(text, limits, room)?;
        Self::new(request.into(), limits).map_err(json::of_json)
    }

    /// The same in OTLP/JSON, in `most` bytes.
    pub fn to_json(&self, most: usize) -> Result<Vec<u8>, EncodeError> {
        let text = json::spans_from_protobuf(&self.request, most);
        match text.len() > most {
            true => Err(EncodeError::too_large(Format::OtlpJson)),
            false => Ok(text),
        }
    }

    /// The request in protobuf, as it came if it came so.
    pub fn bytes(&self) -> &Bytes {
        &self.request
    }

    /// Spans in it.
    pub fn count(&self) -> u64 {
        self.spans
    }

    /// The spans, resource by resource.
    pub fn resources(&self) -> impl Iterator<Item = ResourceSpans<'_>> {
        messages(Reader::new(&self.request), 1).map(ResourceSpans::new)
    }

    /// One request of several: protobuf lets them follow each other, each with the bytes that it has.
    pub fn concatenated<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let bytes = all.clone().map(|traces| traces.request.len()).sum();
        let (mut request, mut spans) = (BytesMut::with_capacity(bytes), 0);
        for traces in all {
            request.extend_from_slice(&traces.request);
            spans += traces.spans;
        }
        Self {
            request: request.freeze(),
            spans,
        }
    }

    /// Two requests of about half the bytes each, cut between two resources; none if there is no such place.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let middle = self.request.len() / 2;
        let mut fields = Reader::new(&self.request);
        let mut cut = 0;
        while let Ok(Some(_)) = fields.field() {
            // the last place before the middle, or the first one behind it
            let place = fields.offset();
            if cut == 0 || place <= middle {
                cut = place;
            }
            if place >= middle {
                break;
            }
        }
        if cut == 0 || cut == self.request.len() {
            return None;
        }
        self.in_two(self.request.slice(..cut), self.request.slice(cut..))
    }

    /// The same of one resource: what is said of it and of its only scope stands in both. None if that is much of what there is, for
    /// parts would then be little smaller than the whole, however many.
    pub fn halves_of_resource(&self) -> Option<[Self; 2]> {
        let [first, second] = cut::halves(Reader::new(&self.request), &PATH_TO_SPANS)?;
        let most = self.request.len().saturating_add(self.request.len() / 4);
        if first.len() + second.len() > most {
            return None;
        }
        self.in_two(first.into(), second.into())
    }

    /// As many spans as it has, written otherwise.
    pub(super) fn rewritten(&self, request: Bytes) -> Self {
        Self {
            request,
            spans: self.spans,
        }
    }

    /// Two parts of it, which hold its spans in its order.
    fn in_two(&self, first: Bytes, second: Bytes) -> Option<[Self; 2]> {
        let mut check = Check {
            spans: 0,
            most: u64::MAX,
        };
        // it was checked with the whole
        check.request(Reader::new(&first)).ok()?;
        let halves = [(first, check.spans), (second, self.spans.saturating_sub(check.spans))];
        Some(halves.map(|(request, spans)| Self { request, spans }))
    }
}

/// The lists from a request down to its spans: resources, scopes, spans.
pub(super) const PATH_TO_SPANS: [u32; 3] = [1, 2, 2];

/// How a field of a span is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Varint,
    Fixed64,
    Fixed32,
    /// Text, or a message.
    Bytes,
    /// So many bytes, or none.
    Id(usize),
}

/// Counts spans while it looks at each.
struct Check {
    spans: u64,
    most: u64,
}

impl Check {
    fn request(&mut self, mut request: Reader<'_>) -> Result<(), DecodeError> {
        while let Some((number, field)) = request.field().map_err(malformed)? {
            match (number, field) {
                (1, Field::Bytes(resource)) => self.resource(resource)?,
                (1, _) => {
                    return Err(malformed(
                        request.error("resource_spans that are no message before this"),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn resource(&mut self, mut resource: Reader<'_>) -> Result<(), DecodeError> {
        while let Some((number, field)) = resource.field().map_err(malformed)? {
            match (number, field) {
                (2, Field::Bytes(scope)) => self.scope(scope)?,
                (1 | 3, Field::Bytes(_)) | (4.., _) => {}
                _ => {
                    return Err(malformed(
                        resource.error("a field of resource_spans of another type before this"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn scope(&mut self, mut scope: Reader<'_>) -> Result<(), DecodeError> {
        while let Some((number, field)) = scope.field().map_err(malformed)? {
            match (number, field) {
                (2, Field::Bytes(one)) => {
                    self.spans += 1;
                    if self.spans > self.most {
                        let problem = format!("more than {} spans", self.most);
                        let remedy = "send fewer in one request";
                        return Err(DecodeError::too_large(Format::Otlp, Limit::Elements, problem, remedy));
                    }
                    span(one)?;
                }
                (1 | 3, Field::Bytes(_)) | (4.., _) => {}
                _ => {
                    return Err(malformed(
                        scope.error("a field of scope_spans of another type before this"),
                    ));
                }
            }
        }
        Ok(())
    }
}

fn span(mut span: Reader<'_>) -> Result<(), DecodeError> {
    while let Some((number, field)) = span.field().map_err(malformed)? {
        let expected = match number {
            1 => Wire::Id(16),
            2 | 4 => Wire::Id(8),
            3 | 5 | 9 | 11 | 13 | 15 => Wire::Bytes,
            6 | 10 | 12 | 14 => Wire::Varint,
            7 | 8 => Wire::Fixed64,
            16 => Wire::Fixed32,
            _ => continue,
        };
        let holds = match (expected, field) {
            (Wire::Id(size), Field::Bytes(id)) => id.is_empty() || id.bytes().len() == size,
            (Wire::Varint, Field::Varint(_))
            | (Wire::Fixed64, Field::Fixed64(_))
            | (Wire::Fixed32, Field::Fixed32(_))
            | (Wire::Bytes, Field::Bytes(_)) => true,
            _ => false,
        };
        if !holds {
            let problem = match expected {
                Wire::Id(_) => "an id of a span that is of another length or type before this",
                _ => "a field of a span of another type before this",
            };
            return Err(malformed(span.error(problem)));
        }
    }
    Ok(())
}

fn malformed(error: WireError) -> DecodeError {
    DecodeError::malformed(Format::Otlp, error.offset, format!("spans: {}", error.problem))
}
