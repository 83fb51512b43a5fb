//! What `/debug/tracez` shows of the profiles that are kept: what there is to ask for, or the flame graph of what is asked.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use form_urlencoded::byte_serialize;
use http::StatusCode;

use crate::admin::{Question, Shown};
use crate::cli::{commented, summaries};
use crate::exporters::kind;
use crate::formats::any::{default_column, encode, encode_one};
use crate::formats::compress::{Compression, compress};
use crate::formats::markup::escape;
use crate::formats::quantity::{counted, grouped};
use crate::formats::{EncodeError, Format};
use crate::pipeline::Batch;
use crate::profile::trace_ids::to_hex;
use crate::profile::{
    AttributeSetId, Counting, Dictionary, Gathered, Gathering, NotAnId, Profile, ProfileRef, Profiles, ROUTE_KEYS,
    SPAN_NAME_KEYS, StringId, Value, Wanted,
};

/// Largest answer.
const MOST_BYTES: usize = 32 << 20;
/// Memory in which samples are gathered.
const MOST_GATHERED: usize = 64 << 20;
/// Rows of the list, and how many are counted to find the largest.
const MOST_LISTED: usize = 200;
const MOST_COUNTED: usize = 10_000;
/// Bytes of a name that is listed: a longer one is no name.
const LONGEST_NAME: usize = 512;
/// Functions of each kind in JSON.
const TOP: usize = 20;

/// Answers a question.
pub(super) fn show(question: &Question, batches: &[Batch]) -> Shown {
    match wanted(question) {
        Err(why) => Shown::said(StatusCode::BAD_REQUEST, why),
        Ok(None) => html(list(question, batches)),
        Ok(Some(wanted)) => gathered(question, wanted, batches).unwrap_or_else(|shown| shown),
    }
}

fn html(page: impl Into<bytes::Bytes>) -> Shown {
    answer("text/html; charset=utf-8", page)
}

fn answer(media_type: &'static str, body: impl Into<bytes::Bytes>) -> Shown {
    Shown {
        status: StatusCode::OK,
        media_type,
        body: body.into(),
    }
}

type Read = fn(&str) -> Result<Wanted, NotAnId>;

/// How what samples are asked for by is read.
const WANTED: [(&str, Read); 4] = [
    ("trace", Wanted::trace),
    ("span", Wanted::span),
    ("route", |text| Ok(Wanted::Route(text.to_owned()))),
    ("span_name", |text| Ok(Wanted::SpanName(text.to_owned()))),
];

fn wanted(question: &Question) -> Result<Option<Wanted>, String> {
    let asked = WANTED.iter().filter_map(|(key, read)| Some(read(question.get(key)?)));
    let mut asked = asked
        .collect::<Result<Vec<Wanted>, NotAnId>>()
        .map_err(|why| why.to_string())?;
    match asked.len() {
        0 | 1 => Ok(asked.pop()),
        _ => Err("ask for one of trace, span, route and span_name".to_owned()),
    }
}

/// Whether a profile is of the service and of the type that are asked for.
fn is_asked(question: &Question, d: &Dictionary, at: ProfileRef<'_>) -> bool {
    let is_service = |name: &str| service(d, at) == name;
    let is_type = |name: &str| {
        let mut types = at.profile.sample_types.iter();
        kind(d, at.profile) == name || types.any(|of| d.str(of.kind) == name)
    };
    question.get("service").is_none_or(is_service) && question.get("type").is_none_or(is_type)
}

fn service<'d>(d: &'d Dictionary, at: ProfileRef<'_>) -> &'d str {
    at.resource.attribute_str(d, "service.name").unwrap_or_default()
}

fn gathered(question: &Question, wanted: Wanted, batches: &[Batch]) -> Result<Shown, Shown> {
    let mut gathering = Gathering::new(wanted);
    for profiles in batches.iter().filter_map(Batch::as_profiles) {
        gathering.add(profiles, &|d, at| is_asked(question, d, at));
        if gathering.heap_bytes() > MOST_GATHERED || gathering.left_out() > 0 {
            let why = "this is more than can be shown at once; name `service` and `type`";
            return Err(Shown::said(StatusCode::BAD_REQUEST, why));
        }
    }
    let found = gathering.finish();
    if found.is_empty() {
        let why = format!("no sample of it is kept; {} looked at", profiles_of(batches));
        return Err(Shown::said(StatusCode::NOT_FOUND, why));
    }
    let profiles = commented(&found);
    match question.get("format").unwrap_or("html") {
        "html" => encode(Format::Html, &profiles, MOST_BYTES).map(html).map_err(unshown),
        "json" => {
            let told = summaries(&found, question.get("type"), TOP);
            let json = serde_json::json!({ "profiles": told });
            Ok(answer("application/json", format!("{json}\n")))
        }
        "svg" => one(question, &profiles, &found, Format::Svg).map(|bytes| answer("image/svg+xml", bytes)),
        "pprof" => one(question, &profiles, &found, Format::Pprof)
            .map(|bytes| answer("application/octet-stream", compress(&bytes, Compression::Gzip(6)))),
        _ => Err(Shown::said(
            StatusCode::BAD_REQUEST,
            "`format` is one of html, svg, json, pprof",
        )),
    }
}

/// What was found in a format that holds one profile.
fn one(question: &Question, profiles: &Profiles, found: &[Gathered], format: Format) -> Result<Vec<u8>, Shown> {
    let d = profiles.dictionary();
    let (Some(at), 1) = (profiles.iter().next(), found.len()) else {
        let number = counted(found.len(), "profile");
        let why = format!("{number} do not fit into one {format}; name `service` and `type`, or ask for html");
        return Err(Shown::said(StatusCode::BAD_REQUEST, why));
    };
    let named = question.get("type").and_then(|name| column(d, at.profile, name));
    let column = named.unwrap_or_else(|| default_column(d, at.profile));
    encode_one(format, d, at, column, MOST_BYTES).map_err(unshown)
}

fn column(d: &Dictionary, profile: &Profile, name: &str) -> Option<usize> {
    profile.sample_types.iter().position(|of| d.str(of.kind) == name)
}

fn unshown(error: EncodeError) -> Shown {
    Shown::said(
        StatusCode::BAD_REQUEST,
        format!("{error}; name `service` and `type`, or ask for json"),
    )
}

/// What samples can be asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum By {
    Route,
    SpanName,
    Trace,
}

impl By {
    const fn key(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::SpanName => "span_name",
            Self::Trace => "trace",
        }
    }

    /// That of an attribute.
    fn of(key: &str) -> Option<Self> {
        if ROUTE_KEYS.contains(&key) {
            return Some(Self::Route);
        }
        SPAN_NAME_KEYS.contains(&key).then_some(Self::SpanName)
    }
}

/// A service, a kind of profile, and what its samples can be asked for by.
type Name = (String, &'static str, By, String);

/// What there is: for each service, kind and name the number of samples.
#[derive(Default)]
struct Tally {
    services: BTreeSet<String>,
    samples: HashMap<Name, u64>,
    /// Samples of names that are too long, or for which there was no room.
    others: u64,
}

impl Tally {
    fn add(&mut self, d: &Dictionary, at: ProfileRef<'_>) {
        let (service, kind) = (service(d, at), kind(d, at.profile));
        if self.services.len() < MOST_LISTED && is_listed(service) {
            self.services.insert(service.to_owned());
        }
        let (counting, samples) = (Counting::of(d, at.profile), &at.profile.samples);
        let mut texts: HashMap<(By, StringId), u64> = HashMap::new();
        let mut traces: HashMap<[u8; 16], u64> = HashMap::new();
        let mut named: HashMap<AttributeSetId, Vec<(By, StringId)>> = HashMap::new();
        for (row, (set, link)) in samples.attributes.iter().zip(&samples.links).enumerate() {
            let count = counting.of_row(row);
            for name in named.entry(*set).or_insert_with(|| names(d, *set)) {
                add(texts.entry(*name).or_default(), count);
            }
            if link.is_set() {
                add(traces.entry(d.links[*link].trace_id).or_default(), count);
            }
        }
        let texts = texts
            .into_iter()
            .map(|((by, text), count)| (by, Cow::Borrowed(d.str(text)), count));
        let traces = traces
            .into_iter()
            .map(|(trace, count)| (By::Trace, Cow::Owned(to_hex(&trace)), count));
        for (by, name, count) in texts.chain(traces) {
            let room = match is_listed(service) && is_listed(&name) {
                true => self.room((service.to_owned(), kind, by, name.into_owned())),
                false => &mut self.others,
            };
            add(room, count);
        }
    }

    /// Where samples of a name are counted.
    fn room(&mut self, name: Name) -> &mut u64 {
        match self.samples.len() < MOST_COUNTED || self.samples.contains_key(&name) {
            true => self.samples.entry(name).or_default(),
            false => &mut self.others,
        }
    }
}

/// Counts are somebody's: they may be as large as numbers are.
fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

fn is_listed(name: &str) -> bool {
    name.len() <= LONGEST_NAME
}

/// The names in a set that can be asked for.
fn names(d: &Dictionary, set: AttributeSetId) -> Vec<(By, StringId)> {
    let name = |one: &crate::profile::Attribute| match one.value {
        Value::String(text) => Some((By::of(d.str(one.key))?, text)),
        _ => None,
    };
    d.attributes_of(set).filter_map(name).collect()
}

/// A page of what can be asked for.
fn list(question: &Question, batches: &[Batch]) -> String {
    let mut tally = Tally::default();
    for profiles in batches.iter().filter_map(Batch::as_profiles) {
        let d = profiles.dictionary();
        let asked = profiles.iter().filter(|at| is_asked(question, d, *at));
        asked.for_each(|at| tally.add(d, at));
    }
    let mut rows: Vec<_> = tally.samples.into_iter().collect();
    rows.sort_by(|(a, x), (b, y)| (a.2, y, a).cmp(&(b.2, x, b)));
    let mut page = head(batches, &tally.services);
    for by in [By::Route, By::SpanName, By::Trace] {
        let own = || rows.iter().filter(|((_, _, of, _), _)| *of == by);
        for ((service, kind, _, name), samples) in own().take(MOST_LISTED) {
            let query = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let mut href = format!("?{}={}&service={}&type={kind}", by.key(), query(name), query(service));
            if let Some(exporter) = question.get("exporter") {
                href.push_str(&format!("&exporter={}", query(exporter)));
            }
            // writing to a string does not fail
            let _ = writeln!(
                page,
                "<tr><td>{}<td>{kind}<td>{}<td><a href=\"{}\">{}</a><td class=\"n\">{}",
                escape(service),
                by.key(),
                escape(&href),
                escape(name),
                grouped(i128::from(*samples))
            );
        }
        if let left @ 1.. = own().count().saturating_sub(MOST_LISTED) {
            let _ = writeln!(page, "<tr><td colspan=\"5\">and {left} with fewer samples");
        }
    }
    page.push_str("</table>\n");
    if tally.others > 0 {
        let _ = writeln!(
            page,
            "<p>{} samples of names that are too long, or too many to count",
            grouped(i128::from(tally.others))
        );
    }
    page
}

/// How many there are.
fn profiles_of(batches: &[Batch]) -> String {
    let profiles = batches.iter().filter_map(Batch::as_profiles);
    counted(profiles.map(Profiles::profile_count).sum(), "profile")
}

fn head(batches: &[Batch], services: &BTreeSet<String>) -> String {
    let arrived = || batches.iter().map(|batch| batch.origin().arrived);
    let time = |at| humantime::format_rfc3339_seconds(at).to_string();
    let since = match (arrived().min(), arrived().max()) {
        (Some(first), Some(last)) => format!(", from {} to {}", time(first), time(last)),
        _ => String::new(),
    };
    let services: Vec<String> = services.iter().map(|name| escape(name)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Recent profiles</title>\n<style>body{{font:14px/1.5 system-ui,sans-serif;margin:1rem;color-scheme:light dark}}\
         td,th{{text-align:left;padding:.1rem .8rem .1rem 0;overflow-wrap:anywhere}}.n{{text-align:right}}</style>\n\
         <h1>Recent profiles</h1>\n<p>{}{since}. Services: {}.</p>\n\
         <p>Ask with ?trace=, ?span=, ?route= or ?span_name=; &amp;service=, &amp;type= and &amp;format=html|svg|json|pprof narrow it.</p>\n\
         <table><tr><th>service<th>kind<th>by<th>what<th>samples\n",
        profiles_of(batches),
        services.join(", ")
    )
}
