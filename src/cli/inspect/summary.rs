//! What `inspect` finds out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::forecast::Foretold;
use super::found::Told;
use crate::cli::files::{Input, column};
use crate::profile::{Dictionary, FunctionId, KeyValue, LocationId, Profile, ProfileRef, Value};

/// One file.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Its format.
    pub format: &'static str,
    /// Bytes without compression.
    pub bytes: usize,
    /// Defective profiles that are left out of everything below.
    pub rejected_profiles: u64,
    /// Why the first of them is; none if there is none.
    pub first_rejected: Option<String>,
    /// How often something was mended while reading.
    pub repairs: u64,
    /// Its profiles.
    pub profiles: Vec<ProfileSummary>,
}

/// One profile.
#[derive(Debug, Serialize)]
pub struct ProfileSummary {
    /// What it is about: `cpu`, `alloc`, ...
    pub kind: &'static str,
    /// Attributes of what was profiled.
    pub resource: BTreeMap<String, String>,
    /// Name of the profiler.
    pub scope: String,
    /// Sample types with their sums.
    pub types: Vec<TypeSummary>,
    /// The sample type that `top` is about.
    pub shown_type: String,
    /// Number of samples.
    pub samples: usize,
    /// Start, RFC 3339; none if unknown.
    pub time: Option<String>,
    /// Length in nanoseconds; 0 if unknown.
    pub duration_nano: u64,
    /// What `period` counts.
    pub period_type: String,
    /// Distance between two samples.
    pub period: i64,
    /// Different stacks.
    pub stacks: usize,
    /// Different functions.
    pub functions: usize,
    /// Different binaries, those in which no frame lies too.
    pub mappings: usize,
    /// Different spans that samples point at.
    pub trace_links: usize,
    /// Samples that point at a span.
    pub linked_samples: usize,
    /// Labels of samples, with the number of their different values.
    pub labels: BTreeMap<String, usize>,
    /// Comments.
    pub comments: Vec<String>,
    /// How much it is worth, where it is made of what was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Told>,
    /// Functions by what was measured in themselves.
    pub top_flat: Vec<Row>,
    /// Functions by what was measured in themselves and below.
    pub top_cumulative: Vec<Row>,
    /// How far off it would be, were it made smaller; where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Foretold>,
}

/// One sample type.
#[derive(Debug, Serialize)]
pub struct TypeSummary {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// Sum over all samples.
    pub total: i128,
}

/// One function.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Name, or binary and address where there is none.
    pub function: String,
    /// The value.
    pub value: i128,
    /// Its part of the whole, 0 to 100.
    pub percent: f64,
}

impl Summary {
    /// Looks at everything.
    pub fn of(input: &Input, type_name: Option<&str>, top: usize) -> Self {
        let profiles = &input.decoded.profiles;
        let dictionary = profiles.dictionary();
        let summaries = profiles
            .iter()
            .map(|at| ProfileSummary::of(dictionary, at, type_name, top));
        Self {
            format: input.format.name(),
            bytes: input.bytes,
            rejected_profiles: input.decoded.rejected.profiles,
            first_rejected: input.decoded.rejected.first.as_ref().map(ToString::to_string),
            repairs: input.decoded.repairs,
            profiles: summaries.collect(),
        }
    }
}

impl ProfileSummary {
    /// Looks at one profile and what stands around it.
    pub fn of(dictionary: &Dictionary, at: ProfileRef<'_>, type_name: Option<&str>, top: usize) -> Self {
        Self {
            resource: attributes(dictionary, &at.resource.attributes),
            scope: dictionary.str(at.scope.name).to_owned(),
            ..profile(dictionary, at.profile, type_name, top)
        }
    }
}

fn profile(dictionary: &Dictionary, profile: &Profile, type_name: Option<&str>, top: usize) -> ProfileSummary {
    let types = profile.sample_types.len();
    let shown = column(dictionary, profile, type_name);
    let sums = profile.sample_types.iter().enumerate().map(|(index, of)| TypeSummary {
        name: dictionary.str(of.kind).to_owned(),
        unit: dictionary.str(of.unit).to_owned(),
        total: profile.samples.sum(index, types),
    });
    let frames = Frames::of(dictionary, profile, shown);
    let total = profile.samples.sum(shown, types);
    let links: Vec<_> = profile.samples.links.iter().filter(|link| link.is_set()).collect();
    ProfileSummary {
        kind: crate::exporters::kind(dictionary, profile),
        resource: BTreeMap::new(),
        scope: String::new(),
        types: sums.collect(),
        shown_type: profile
            .sample_types
            .get(shown)
            .map(|of| dictionary.str(of.kind).to_owned())
            .unwrap_or_default(),
        samples: profile.samples.len(),
        time: time(profile.time_unix_nano),
        duration_nano: profile.duration_nano,
        period_type: period_type(dictionary, profile),
        period: profile.period,
        stacks: stacks(dictionary, profile),
        functions: frames.functions.len(),
        mappings: frames.mappings,
        trace_links: links.iter().collect::<HashSet<_>>().len(),
        linked_samples: links.len(),
        labels: labels(dictionary, profile),
        comments: profile
            .comments
            .iter()
            .map(|comment| dictionary.str(*comment).to_owned())
            .collect(),
        evidence: None,
        top_flat: rows(&frames.flat, total, top),
        top_cumulative: rows(&frames.cumulative, total, top),
        forecast: None,
    }
}

/// How many there are that differ: a format without a table of them has one for each sample.
fn stacks(dictionary: &Dictionary, profile: &Profile) -> usize {
    let ids: HashSet<_> = profile.samples.stacks.iter().collect();
    let stacks: HashSet<_> = ids.into_iter().map(|id| &dictionary.stacks[*id]).collect();
    stacks.len()
}

fn time(nanos: u64) -> Option<String> {
    let at = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_nanos(nanos))?;
    (nanos > 0).then(|| humantime::format_rfc3339_millis(at).to_string())
}

fn period_type(dictionary: &Dictionary, profile: &Profile) -> String {
    let (kind, unit) = (
        dictionary.str(profile.period_type.kind),
        dictionary.str(profile.period_type.unit),
    );
    match (kind, unit) {
        ("", "") => String::new(),
        (kind, unit) => format!("{kind}/{unit}"),
    }
}

fn labels(dictionary: &Dictionary, profile: &Profile) -> BTreeMap<String, usize> {
    let sets: BTreeSet<u32> = profile.samples.attributes.iter().map(|set| set.raw()).collect();
    let mut values: BTreeMap<&str, HashSet<String>> = BTreeMap::new();
    for set in sets
        .into_iter()
        .filter_map(|set| dictionary.attribute_sets.id(u64::from(set)))
    {
        for attribute in dictionary.attributes_of(set) {
            let seen = values.entry(dictionary.str(attribute.key)).or_default();
            seen.insert(show(dictionary, &attribute.value));
        }
    }
    values
        .into_iter()
        .map(|(key, seen)| (key.to_owned(), seen.len()))
        .collect()
}

fn attributes(dictionary: &Dictionary, attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let pair = |kv: &KeyValue| (dictionary.str(kv.key).to_owned(), show(dictionary, &kv.value));
    attributes.iter().map(pair).collect()
}

fn show(dictionary: &Dictionary, value: &Value) -> String {
    match value {
        Value::Empty => String::new(),
        Value::String(id) => dictionary.str(*id).to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| show(dictionary, item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", dictionary.str(*key), show(dictionary, value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// What a frame is counted under.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Frame {
    Function(FunctionId),
    Address(LocationId),
}

struct Frames {
    functions: HashSet<FunctionId>,
    mappings: usize,
    flat: HashMap<String, i128>,
    cumulative: HashMap<String, i128>,
}

impl Frames {
    fn of(dictionary: &Dictionary, profile: &Profile, column: usize) -> Self {
        let types = profile.sample_types.len();
        let (mut flat, mut cumulative) = (HashMap::<String, i128>::new(), HashMap::<String, i128>::new());
        let mut names = HashMap::new();
        let mut functions = HashSet::new();
        let mut mappings: HashSet<_> = profile.mappings.iter().copied().collect();
        for (row, stack) in profile.samples.stacks.iter().enumerate() {
            let value = i128::from(profile.samples.total(row, column, types));
            let mut seen = HashSet::new();
            for (depth, location) in dictionary.stacks[*stack].iter().enumerate() {
                mappings.extend(Some(dictionary.locations[*location].mapping).filter(|mapping| mapping.is_set()));
                for (inlined, frame) in frames(dictionary, *location).into_iter().enumerate() {
                    if let Frame::Function(function) = frame {
                        functions.insert(function);
                    }
                    let name = names.entry(frame).or_insert_with(|| name(dictionary, frame));
                    if depth == 0 && inlined == 0 {
                        *flat.entry(name.clone()).or_default() += value;
                    }
                    // a function that calls itself counts once, and so do several of one name
                    if !seen.contains(name) {
                        seen.insert(name.clone());
                        *cumulative.entry(name.clone()).or_default() += value;
                    }
                }
            }
        }
        Self {
            functions,
            mappings: mappings.len(),
            flat,
            cumulative,
        }
    }
}

/// The frames of a location, the innermost first.
fn frames(dictionary: &Dictionary, location: LocationId) -> Vec<Frame> {
    let lines = &dictionary.lines[location];
    let functions: Vec<Frame> = lines
        .iter()
        .filter(|line| line.function.is_set())
        .map(|line| Frame::Function(line.function))
        .collect();
    match functions.is_empty() {
        true => vec![Frame::Address(location)],
        false => functions,
    }
}

fn name(dictionary: &Dictionary, frame: Frame) -> String {
    match frame {
        Frame::Function(function) => {
            let function = &dictionary.functions[function];
            let name = dictionary.str(function.name);
            if name.is_empty() {
                dictionary.str(function.system_name).to_owned()
            } else {
                name.to_owned()
            }
        }
        Frame::Address(location) => {
            let location = &dictionary.locations[location];
            let binary = dictionary.str(dictionary.mappings[location.mapping].filename);
            let binary = binary.rsplit('/').next().unwrap_or_default();
            let binary = if binary.is_empty() { "unknown" } else { binary };
            format!("{binary}+{:#x}", location.address)
        }
    }
}

fn rows(values: &HashMap<String, i128>, total: i128, top: usize) -> Vec<Row> {
    let mut rows: Vec<(&String, i128)> = values.iter().map(|(name, value)| (name, *value)).collect();
    rows.retain(|(_, value)| *value != 0);
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let percent = |value: i128| {
        if total == 0 {
            0.0
        } else {
            value as f64 * 100.0 / total as f64
        }
    };
    let row = |(name, value): (&String, i128)| Row {
        function: name.clone(),
        value,
        percent: (percent(value) * 100.0).round() / 100.0,
    };
    rows.into_iter().take(top).map(row).collect()
}
