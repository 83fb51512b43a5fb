//! Trace and span ids as tracers write them into labels of samples: one table of dialects, and the one way to read them.
//!
//! A dialect says which keys there are, what each is the id of, and whether a text has hexadecimal or decimal digits: that is never
//! told from the text. Ids of two dialects are never put together: they may be of two tracers.

use std::borrow::Cow;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::dictionary::{Attribute, AttributeId, AttributeSetId, Dictionary, Link, Value};

/// Attribute of a profile, or of a sample that differs from its profile: which span its links point at.
pub const LINK_SPAN: &str = "flamegate.link.span";
/// Attribute of a sample: the name of the span that its link points at.
pub const SPAN_NAME: &str = "span.name";
/// Attribute of a sample: the route of the request that the span is of.
pub const SPAN_ROUTE: &str = "http.route";
/// Attribute of a sample: about how long the span took.
pub const SPAN_DURATION: &str = "span.duration";

/// What stands before a label of Go that the OpenTelemetry eBPF profiler read out of the program.
const EBPF_PREFIX: &str = "process.context.label.";
/// Bytes of the name of such a label that it takes along.
const EBPF_KEY: usize = 16;

/// Most dialects of one table: each has a bit of a number.
pub const MOST_DIALECTS: usize = 64;

/// What an id is the id of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The trace.
    Trace,
    /// A span; the dialect does not say which.
    Span,
    /// The span that was running.
    Active,
    /// The span with which the request came into the process.
    LocalRoot,
}

/// How a dialect writes ids as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// Two hexadecimal digits a byte.
    Hex,
    /// A number of 64 bits, with or without a sign. A trace may have 32 hexadecimal digits all the same: no such number is as long.
    Decimal,
}

/// How one family of tracers and profilers names and writes ids.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// What it is called in metrics.
    pub name: Cow<'static, str>,
    /// Its keys.
    pub keys: Vec<(Part, Cow<'static, str>)>,
    /// Its digits.
    pub digits: Digits,
    /// Whether zeros in front may be missing.
    pub lacks_zeros: bool,
    /// Keys of which one must stand beside the ids for them to be of this dialect; none if any sample will do.
    pub beside: Vec<Cow<'static, str>>,
}

/// The dialects that are known without being configured.
pub fn built_in_dialects() -> Vec<Dialect> {
    let dialect = |name, digits, keys: &[(Part, &'static str)]| Dialect {
        name: Cow::Borrowed(name),
        keys: keys.iter().map(|(part, key)| (*part, Cow::Borrowed(*key))).collect(),
        digits,
        lacks_zeros: false,
        beside: Vec::new(),
    };
    vec![
        // its Python agent writes numbers without their leading zeros
        Dialect {
            lacks_zeros: true,
            beside: vec!["source.event.time".into(), "source.event.period".into()],
            ..dialect(
                "splunk",
                Digits::Hex,
                &[(Part::Trace, "trace_id"), (Part::Active, "span_id")],
            )
        },
        // Pyroscope's agents name the local root by default, others the active span, and all of them under the same keys
        dialect(
            "otel",
            Digits::Hex,
            &[
                (Part::Trace, "trace_id"),
                (Part::Span, "span_id"),
                (Part::Span, "profile_id"),
            ],
        ),
        dialect("parca", Digits::Hex, &[(Part::Trace, "otel.traceid")]),
        dialect(
            "datadog",
            Digits::Decimal,
            &[
                (Part::Trace, "trace id"),
                (Part::Active, "span id"),
                (Part::LocalRoot, "local root span id"),
            ],
        ),
        dialect(
            "elastic",
            Digits::Hex,
            &[
                (Part::Trace, "trace.id"),
                (Part::Active, "span.id"),
                (Part::LocalRoot, "transaction.id"),
            ],
        ),
    ]
}

/// Dialects, by key.
#[derive(Debug)]
pub struct TraceKeys {
    dialects: Vec<Dialect>,
    by_key: HashMap<String, Known, RandomState>,
}

/// What a key means.
#[derive(Debug, Default)]
struct Known {
    /// In which dialects it is the key of an id, and of what.
    ids: Vec<(usize, Part)>,
    /// A bit for each dialect that needs it to stand beside the ids.
    beside: u64,
}

impl TraceKeys {
    /// Those that are built in.
    pub fn built_in() -> &'static Self {
        static BUILT_IN: LazyLock<TraceKeys> = LazyLock::new(|| TraceKeys::new(built_in_dialects()));
        &BUILT_IN
    }

    /// Of two dialects with one key the first that fits a sample counts. Those over [`MOST_DIALECTS`] are never found.
    pub fn new(mut dialects: Vec<Dialect>) -> Self {
        dialects.truncate(MOST_DIALECTS);
        let mut by_key: HashMap<String, Known, RandomState> = HashMap::default();
        for (number, dialect) in dialects.iter().enumerate() {
            for (part, key) in &dialect.keys {
                for spelling in spellings(key) {
                    by_key.entry(spelling).or_default().ids.push((number, *part));
                }
            }
            for key in &dialect.beside {
                by_key.entry(key.clone().into_owned()).or_default().beside |= 1 << number;
            }
        }
        Self { dialects, by_key }
    }

    /// Whether values of the key are ids in some dialect.
    pub fn has(&self, key: &str) -> bool {
        self.by_key.get(key).is_some_and(Known::is_id)
    }

    /// Every key whose values are ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let ids = self.by_key.iter().filter(|(_, known)| known.is_id());
        ids.map(|(key, _)| key.as_str())
    }

    /// The names of the dialects.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.dialects.iter().map(|dialect| dialect.name.as_ref())
    }
}

impl Known {
    fn is_id(&self) -> bool {
        !self.ids.is_empty()
    }
}

/// A key as its tracer writes it, and as the eBPF profiler passes it on.
fn spellings(key: &str) -> Vec<String> {
    let cut = key.get(..key.floor_char_boundary(EBPF_KEY)).unwrap_or(key);
    let mut all = vec![key.to_owned()];
    for passed_on in [key, cut, cut.trim_end()] {
        let spelling = format!("{EBPF_PREFIX}{passed_on}");
        if !all.contains(&spelling) {
            all.push(spelling);
        }
    }
    all
}

/// What a set of attributes says about traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Said {
    /// The number of the dialect, in the order of the table.
    pub dialect: usize,
    /// The trace.
    pub trace: Option<[u8; 16]>,
    /// The span: the active one before one that the dialect does not tell apart, and that before the local root.
    pub span: Option<[u8; 8]>,
    /// The local root.
    pub local_root: Option<[u8; 8]>,
    /// What `span` is the id of.
    pub kind: Part,
    /// What is wrong with an id of it.
    pub flaw: Option<Flaw>,
}

/// What may be wrong with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// It is none in this dialect.
    Unreadable,
    /// Another one says the same part, and is different.
    Contradicted,
}

impl Said {
    /// The link, if both of its ids are known: one without the other is none.
    pub fn link(&self) -> Option<Link> {
        Some(Link {
            trace_id: self.trace?,
            span_id: self.span?,
        })
    }
}

/// An id as it was read. All zeros mean none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    None,
    Id(u128),
    Unreadable,
}

/// The ids in the attributes of one dictionary.
pub struct TraceIds<'k> {
    keys: &'k TraceKeys,
    /// By row of the attribute table.
    known: Vec<Option<&'k Known>>,
    any: bool,
    /// Reused, so that a set costs no allocation.
    found: Vec<(usize, Part, Read)>,
}

impl<'k> TraceIds<'k> {
    /// Looks at each attribute once.
    pub fn new(keys: &'k TraceKeys, d: &Dictionary) -> Self {
        let mut by_text: Vec<Option<Option<&'k Known>>> = vec![None; d.strings.len()];
        let mut known = Vec::with_capacity(d.attributes.len());
        let mut any = false;
        for attribute in d.attributes.rows() {
            let look_up = || keys.by_key.get(d.str(attribute.key));
            let found = match by_text.get_mut(attribute.key.index()) {
                Some(seen) => *seen.get_or_insert_with(look_up),
                None => look_up(),
            };
            any |= found.is_some_and(Known::is_id);
            known.push(found);
        }
        Self {
            keys,
            known,
            any,
            found: Vec::new(),
        }
    }

    /// Whether any attribute has a key of an id.
    pub fn any(&self) -> bool {
        self.any
    }

    /// Whether the key of the attribute is that of an id. False for those that came into the table later.
    pub fn is_id(&self, attribute: AttributeId) -> bool {
        self.of(attribute).is_some_and(Known::is_id)
    }

    fn of(&self, attribute: AttributeId) -> Option<&'k Known> {
        self.known.get(attribute.index()).copied().flatten()
    }

    /// The id in an attribute, what it is the id of, and how it is written: in the first dialect that can read it, whatever stands beside it.
    pub fn of_row(&self, d: &Dictionary, id: AttributeId) -> Option<(Part, u128, Digits)> {
        self.of(id)?.ids.iter().find_map(|(number, part)| {
            let dialect = self.keys.dialects.get(*number)?;
            match dialect.read(d, *part, &d.attributes[id]) {
                Read::Id(read) => Some((*part, read, dialect.digits)),
                Read::None | Read::Unreadable => None,
            }
        })
    }

    /// Every id in a set, read as the dialect it is of writes it, and what it is the id of.
    pub fn all(&self, d: &Dictionary, set: AttributeSetId) -> impl Iterator<Item = (Part, u128)> {
        let attributes = &d.attribute_sets[set];
        let beside = self.beside(attributes);
        attributes.iter().filter_map(move |id| {
            let (number, part) = self.claim(*id, beside)?;
            match self.keys.dialects.get(number)?.read(d, part, &d.attributes[*id]) {
                Read::Id(read) => Some((part, read)),
                Read::None | Read::Unreadable => None,
            }
        })
    }

    /// What a set says; nothing if it has no key of an id. Of several dialects it is the first that has a link, or the first.
    pub fn said(&mut self, d: &Dictionary, set: AttributeSetId) -> Option<Said> {
        let attributes = &d.attribute_sets[set];
        if !attributes.iter().any(|id| self.is_id(*id)) {
            return None;
        }
        self.found.clear();
        let beside = self.beside(attributes);
        for id in attributes {
            if let Some((number, part)) = self.claim(*id, beside)
                && let Some(dialect) = self.keys.dialects.get(number)
            {
                self.found
                    .push((number, part, dialect.read(d, part, &d.attributes[*id])));
            }
        }
        self.found.sort_by_key(|(number, ..)| *number);
        let groups = self.found.chunk_by(|(a, ..), (b, ..)| a == b);
        let mut said = groups.map(Said::of);
        let first = said.next()?;
        if first.link().is_some() {
            return Some(first);
        }
        Some(said.find(|said| said.link().is_some()).unwrap_or(first))
    }

    /// Whether an attribute of a set says no more than a link to a span of this kind does.
    pub fn is_in_link(&self, d: &Dictionary, set: AttributeSetId, id: AttributeId, link: &Link, kind: Part) -> bool {
        let claim = self.claim(id, self.beside(&d.attribute_sets[set]));
        let Some((number, part)) = claim else { return false };
        let Some(dialect) = self.keys.dialects.get(number) else {
            return false;
        };
        let in_link = match part {
            Part::Trace => u128::from_be_bytes(link.trace_id),
            Part::LocalRoot if kind != Part::LocalRoot => return false,
            Part::Span | Part::Active | Part::LocalRoot => u64::from_be_bytes(link.span_id).into(),
        };
        dialect.read(d, part, &d.attributes[id]) == Read::Id(in_link)
    }

    /// A bit for each dialect of which a key that must stand beside the ids does.
    fn beside(&self, attributes: &[AttributeId]) -> u64 {
        let known = attributes.iter().filter_map(|id| self.of(*id));
        known.fold(0, |all, known| all | known.beside)
    }

    /// The dialect that an attribute is of, where these stand beside it, and what it says.
    fn claim(&self, id: AttributeId, beside: u64) -> Option<(usize, Part)> {
        let fits = |(number, _): &&(usize, Part)| {
            let dialect = self.keys.dialects.get(*number);
            dialect.is_some_and(|dialect| dialect.beside.is_empty() || beside >> number & 1 == 1)
        };
        self.of(id)?.ids.iter().find(fits).copied()
    }
}

impl Said {
    /// What the ids of one dialect say together.
    fn of(found: &[(usize, Part, Read)]) -> Self {
        let mut flaw = None;
        let mut id_of = |part: Part| {
            let mut reads = found.iter().filter(|(_, of, _)| *of == part).map(|(.., read)| *read);
            let mut told = None;
            for read in &mut reads {
                match (read, told) {
                    (Read::None, _) => {}
                    (Read::Unreadable, _) => flaw = flaw.or(Some(Flaw::Unreadable)),
                    (Read::Id(id), Some(other)) if id != other => {
                        flaw = Some(Flaw::Contradicted);
                        return None;
                    }
                    (Read::Id(id), _) => told = Some(id),
                }
            }
            told
        };
        let trace = id_of(Part::Trace).map(u128::to_be_bytes);
        let spans = [Part::Active, Part::Span, Part::LocalRoot];
        let spans = spans.map(|part| (part, id_of(part).map(|id| (id as u64).to_be_bytes())));
        let (kind, span) = spans
            .into_iter()
            .find(|(_, id)| id.is_some())
            .unwrap_or((Part::Span, None));
        let [.., (_, local_root)] = spans;
        Self {
            dialect: found.first().map_or(0, |(number, ..)| *number),
            trace,
            span,
            local_root,
            kind,
            flaw,
        }
    }
}

impl Dialect {
    fn read(&self, d: &Dictionary, part: Part, attribute: &Attribute) -> Read {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        let bytes = if part == Part::Trace { 16 } else { 8 };
        let number = match &attribute.value {
            Value::Empty => Some(0),
            Value::String(id) => self.number(d.str(*id), bytes),
            // a number has no digits to mistake, and a trace that is one has no more than 64 bits
            Value::Int(number) if bytes == 8 || self.digits == Digits::Decimal => Some(u128::from(*number as u64)),
            Value::Bytes(raw) if raw.len() == bytes => {
                Some(raw.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
            }
            _ => None,
        };
        match number {
            None => Read::Unreadable,
            Some(0) => Read::None,
            Some(id) => Read::Id(id),
        }
    }

    fn number(&self, text: &str, bytes: usize) -> Option<u128> {
        match self.digits {
            _ if text.is_empty() => Some(0),
            Digits::Hex => hex(text, bytes, self.lacks_zeros),
            Digits::Decimal if bytes == 16 && text.len() == 32 => hex(text, bytes, false),
            Digits::Decimal => from_decimal(text).map(u128::from),
        }
    }
}

fn hex(text: &str, bytes: usize, lacks_zeros: bool) -> Option<u128> {
    let fits = if lacks_zeros {
        text.len() <= 2 * bytes
    } else {
        text.len() == 2 * bytes
    };
    // a sign would be taken for part of the number
    let digits = fits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// The 64 bits of a decimal number, with or without a sign.
pub(super) fn from_decimal(text: &str) -> Option<u64> {
    match text.as_bytes() {
        [b'-', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => {
            text.parse::<i64>().ok().map(|number| number as u64)
        }
        [first, ..] if first.is_ascii_digit() => text.parse().ok(),
        _ => None,
    }
}

/// A span id as Datadog writes it.
pub fn to_decimal(span_id: [u8; 8]) -> String {
    u64::from_be_bytes(span_id).to_string()
}

/// An id as OpenTelemetry writes it.
pub fn to_hex(id: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS.get(usize::from(half)).map_or('0', |digit| char::from(*digit));
    id.iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
thread_local! {
    static READS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many ids this thread has read.
#[cfg(test)]
pub fn reads() -> u64 {
    READS.get()
}

#[cfg(test)]
mod tests;
