//! The samples of one trace, of one span, of one route.

use super::dictionary::{AttributeSetId, Dictionary, Link, Value};
use super::profiles::{Profile, Profiles};
use super::samples::Samples;
use super::trace_ids::{Part, TraceIds, TraceKeys, from_decimal};

/// Attributes of samples that say which route a request took: OpenTelemetry's, Datadog's.
pub const ROUTE_KEYS: [&str; 2] = ["http.route", "trace endpoint"];

/// Attributes of samples that hold the name of a span: OpenTelemetry's, Pyroscope's.
pub const SPAN_NAME_KEYS: [&str; 2] = ["span.name", "span_name"];

/// Letters of the longest number of 64 bits, with or without a sign.
const MOST_DECIMALS: usize = 20;

/// What samples are looked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Their trace.
    Trace(u128),
    /// The same, of which Datadog shows the lower half.
    TraceEnd(u64),
    /// Their span, be it the one that was running or its local root.
    Span(u64),
    /// Their route.
    Route(String),
    /// The name of their span.
    SpanName(String),
}

/// A text that names no trace or span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnId {
    /// It is no id of a trace.
    #[error("not the id of a trace: write 32 hexadecimal digits, or Datadog's decimal number of up to 64 bits")]
    Trace,
    /// It is no id of a span.
    #[error(
        "not the id of a span: write 16 hexadecimal digits, or Datadog's decimal number of up to 64 bits (a zero in front of 16 digits)"
    )]
    Span,
}

impl Wanted {
    /// A trace, in the digits of OpenTelemetry or of Datadog: only one of them can have 32.
    pub fn trace(id: &str) -> Result<Self, NotAnId> {
        let wanted = match id.len() {
            32 => hex(id).map(Self::Trace),
            _ => decimal(id).map(Self::TraceEnd),
        };
        let is_none = |wanted: &Self| matches!(wanted, Self::Trace(0) | Self::TraceEnd(0));
        wanted.filter(|wanted| !is_none(wanted)).ok_or(NotAnId::Trace)
    }

    /// A span, in the same digits. Sixteen are hexadecimal.
    pub fn span(id: &str) -> Result<Self, NotAnId> {
        let id = match id.len() {
            16 => hex(id).map(|id| id as u64),
            _ => decimal(id),
        };
        id.filter(|id| *id != 0).map(Self::Span).ok_or(NotAnId::Span)
    }

    fn is_of_link(&self, link: &Link) -> bool {
        match self {
            Self::Trace(_) | Self::TraceEnd(_) => self.is_id(Part::Trace, u128::from_be_bytes(link.trace_id)),
            Self::Span(_) => self.is_id(Part::Span, u64::from_be_bytes(link.span_id).into()),
            Self::Route(_) | Self::SpanName(_) => false,
        }
    }

    fn is_id(&self, part: Part, id: u128) -> bool {
        match self {
            Self::Trace(trace) => part == Part::Trace && id == *trace,
            Self::TraceEnd(end) => part == Part::Trace && id as u64 == *end,
            Self::Span(span) => part != Part::Trace && id == u128::from(*span),
            Self::Route(_) | Self::SpanName(_) => false,
        }
    }

    /// The keys under which a text stands that is looked for, and the text.
    fn text(&self) -> Option<(&[&str], &str)> {
        match self {
            Self::Route(route) => Some((&ROUTE_KEYS, route)),
            Self::SpanName(name) => Some((&SPAN_NAME_KEYS, name)),
            Self::Trace(_) | Self::TraceEnd(_) | Self::Span(_) => None,
        }
    }
}

/// A longer one has digits of something else.
fn decimal(digits: &str) -> Option<u64> {
    from_decimal(digits).filter(|_| digits.len() <= MOST_DECIMALS)
}

fn hex(digits: &str) -> Option<u128> {
    // a sign would be taken for part of the number
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(digits, 16).ok()).flatten()
}

impl Profiles {
    /// The samples that are wanted, over a dictionary that holds only what they refer to. Profiles without any go; the others say
    /// about themselves what they said, without the form in which the profiler attached them whole.
    pub fn select(&self, wanted: &Wanted) -> Self {
        let mut finder = Finder::new(wanted, self.dictionary());
        let mut part = self.clone();
        for scope in part
            .edit_resources()
            .iter_mut()
            .flat_map(|resource| &mut resource.scopes)
        {
            scope.profiles.retain_mut(|profile| finder.narrow(profile));
        }
        Self::merge([&part])
    }
}

/// Looks for samples over one dictionary: each of its rows is looked at once.
pub struct Finder<'d> {
    wanted: &'d Wanted,
    d: &'d Dictionary,
    ids: TraceIds<'static>,
    /// By row of the table of links.
    links: Vec<bool>,
    /// By row of the table of attribute sets, once somebody asked.
    sets: Vec<Option<bool>>,
}

impl<'d> Finder<'d> {
    /// Looks at each link and each attribute.
    pub fn new(wanted: &'d Wanted, d: &'d Dictionary) -> Self {
        Self {
            wanted,
            d,
            ids: TraceIds::new(TraceKeys::built_in(), d),
            links: d.links.rows().iter().map(|link| wanted.is_of_link(link)).collect(),
            sets: vec![None; d.attribute_sets.len()],
        }
    }

    /// The samples that are wanted.
    pub fn rows(&mut self, samples: &Samples) -> Vec<usize> {
        let columns = samples.links.iter().zip(&samples.attributes).enumerate();
        let mut rows = Vec::new();
        for (row, (link, set)) in columns {
            if self.links.get(link.index()).copied().unwrap_or_default() || self.says(*set) {
                rows.push(row);
            }
        }
        rows
    }

    /// Leaves of a profile the samples that are wanted, and says whether there are any.
    fn narrow(&mut self, profile: &mut Profile) -> bool {
        let rows = self.rows(&profile.samples);
        profile.pick_samples(&rows);
        !rows.is_empty()
    }

    fn says(&mut self, set: AttributeSetId) -> bool {
        if let Some(said) = self.sets.get(set.index()).copied().flatten() {
            return said;
        }
        let (d, wanted) = (self.d, self.wanted);
        let said = match wanted.text() {
            Some((keys, text)) => d.attributes_of(set).any(|one| {
                keys.contains(&d.str(one.key)) && matches!(one.value, Value::String(id) if d.str(id) == text)
            }),
            None => self.ids.any() && self.ids.all(d, set).any(|(part, id)| wanted.is_id(part, id)),
        };
        if let Some(known) = self.sets.get_mut(set.index()) {
            *known = Some(said);
        }
        said
    }
}

#[cfg(test)]
mod tests;
