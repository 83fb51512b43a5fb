mod bounds;
mod exported;
mod holding;
mod joining;
mod orders;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as Said, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::json;

use super::*;
use crate::formats::{Format, Limits as FormatLimits};
use crate::pipeline::{Budget, Origin, Permit, Received};
use crate::profile::{
    Interner, KeyValue, Link, Observations, Profile, ResourceProfiles, Samples, ScopeProfiles, Series, Value,
    ValueType, trace_ids,
};
use crate::testing::traces::{ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span};

const SECOND: u64 = 1_000_000_000;
/// When all of it happens, in seconds.
const BEGIN: u64 = 1_795_000_000;

/// A span, with times in seconds from the beginning.
#[derive(Clone, Debug)]
struct Told {
    tenant: &'static str,
    service: &'static str,
    trace: u8,
    span: u64,
    parent: u64,
    start: u64,
    end: u64,
    name: &'static str,
    route: Option<&'static str>,
    state: &'static str,
}

const SPAN: Told = Told {
    tenant: "a",
    service: "shop",
    trace: 1,
    span: 7,
    parent: 0,
    start: 0,
    end: 10,
    name: "GET /cart",
    route: None,
    state: "",
};

impl Told {
    fn message(&self) -> ResourceSpans {
        let text = |key: &str, text: &str| Said {
            key: key.to_owned(),
            value: Some(AnyValue {
                value: Some(Any::StringValue(text.to_owned())),
            }),
            ..Said::default()
        };
        let span = Span {
            trace_id: vec![self.trace; 16],
            span_id: self.span.to_be_bytes().to_vec(),
            parent_span_id: match self.parent {
                0 => Vec::new(),
                parent => parent.to_be_bytes().to_vec(),
            },
            name: self.name.to_owned(),
            start_time_unix_nano: (BEGIN + self.start) * SECOND,
            end_time_unix_nano: (BEGIN + self.end) * SECOND,
            attributes: self.route.iter().map(|route| text("http.route", route)).collect(),
            trace_state: self.state.to_owned(),
            ..Span::default()
        };
        ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", self.service)],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }
    }
}

fn origin(tenant: &str) -> Arc<Origin> {
    Arc::new(Origin {
        tenant: tenant.into(),
        ..Origin::local("otlp")
    })
}

/// All must be of one tenant.
fn spans(told: &[Told]) -> Batch {
    let request = ExportTraceServiceRequest {
        resource_spans: told.iter().map(Told::message).collect(),
    };
    raw_spans(told.first().map_or("a", |told| told.tenant), request.encode_to_vec())
}

fn raw_spans(tenant: &str, request: Vec<u8>) -> Batch {
    let traces = Traces::new(request.into(), &FormatLimits::default()).unwrap();
    let received = Received {
        format: Format::Otlp,
        bytes: traces.bytes().clone(),
    };
    Batch::traces(traces, received, origin(tenant), Permit::unlimited())
}

/// Ids of a sample as an agent writes them.
#[derive(Clone, Debug, Default)]
struct Ids {
    /// Datadog's, in decimal digits.
    active: Option<u64>,
    local_root: Option<u64>,
    /// OpenTelemetry's.
    trace: Option<u8>,
    span: Option<u64>,
    link: Option<(u8, u64)>,
    other: Vec<(&'static str, &'static str)>,
    /// Seconds from the beginning.
    times: Vec<u64>,
}

fn active(span: u64) -> Ids {
    Ids {
        active: Some(span),
        ..Ids::default()
    }
}

fn linked(trace: u8, span: u64) -> Ids {
    Ids {
        link: Some((trace, span)),
        ..Ids::default()
    }
}

/// One profile of so many seconds from the beginning, each sample worth its number.
fn profile((tenant, service): (&str, &str), (start, seconds): (u64, u64), samples: &[Ids]) -> Batch {
    let mut interner = Interner::new();
    let (mut rows, mut values, mut series) = (Samples::default(), Vec::new(), Series::default());
    let has_times = samples.iter().any(|ids| !ids.times.is_empty());
    for (n, ids) in samples.iter().enumerate() {
        let hex = |id: &u64| trace_ids::to_hex(&id.to_be_bytes());
        let labels = [
            ("span id", ids.active.map(|id| id.to_string())),
            ("local root span id", ids.local_root.map(|id| id.to_string())),
            ("trace_id", ids.trace.map(|id| trace_ids::to_hex(&[id; 16]))),
            ("span_id", ids.span.as_ref().map(hex)),
        ];
        let mut attributes = Vec::new();
        for (key, text) in labels {
            attributes.extend(text.map(|text| interner.text_attribute(key, &text)));
        }
        for (key, text) in &ids.other {
            attributes.push(interner.text_attribute(key, text));
        }
        let location = interner.location(
            crate::profile::Location {
                address: 1 + n as u64,
                ..Default::default()
            },
            &[],
        );
        rows.stacks.push(interner.stack(&[location]));
        rows.attributes.push(interner.attribute_set(&attributes));
        let link = ids.link.map(|(trace, span)| Link {
            trace_id: [trace; 16],
            span_id: span.to_be_bytes(),
        });
        rows.links
            .push(link.map_or_else(Default::default, |link| interner.link(link)));
        values.push(n as i64 + 1);
        let times: Vec<u64> = ids.times.iter().map(|time| (BEGIN + time) * SECOND).collect();
        series.push(&[n as i64 + 1], &times);
    }
    rows.observations = match has_times {
        true => Observations::Series(series),
        false => Observations::Totals(values),
    };
    let resource = ResourceProfiles {
        attributes: vec![KeyValue {
            key: interner.string("service.name"),
            value: Value::String(interner.string(service)),
        }],
        scopes: vec![ScopeProfiles {
            profiles: vec![Profile {
                sample_types: vec![ValueType::default()],
                samples: rows.into(),
                time_unix_nano: (BEGIN + start) * SECOND,
                duration_nano: seconds * SECOND,
                ..Profile::default()
            }],
            ..ScopeProfiles::default()
        }],
        ..ResourceProfiles::default()
    };
    let profiles = Profiles::new(interner.finish(), vec![resource]);
    Batch::made(profiles, 1, origin(tenant), Permit::unlimited())
}

const SHOP: (&str, &str) = ("a", "shop");

/// What a sample says: its link, and its labels, those of the profile included.
type Says = (Option<(u8, u64)>, BTreeMap<String, String>);

fn told(batch: &Batch) -> Vec<Says> {
    let profiles = batch.as_profiles().unwrap();
    let d = profiles.dictionary();
    let mut all = Vec::new();
    for at in profiles.iter() {
        let samples = &at.profile.samples;
        assert_eq!(samples.sum(0, 1), (1..=samples.len() as i128).sum(), "totals stay");
        for (set, link) in samples.attributes.iter().zip(&samples.links) {
            let attributes = d.attributes_of(at.profile.attributes).chain(d.attributes_of(*set));
            let labels = attributes.map(|attribute| match &attribute.value {
                Value::String(text) => (d.str(attribute.key).to_owned(), d.str(*text).to_owned()),
                other => panic!("{other:?}"),
            });
            let of = |link: Link| (link.trace_id[0], u64::from_be_bytes(link.span_id));
            all.push((link.is_set().then(|| of(d.links[*link])), labels.collect()));
        }
    }
    all
}

fn label<'a>(says: &'a Says, key: &str) -> Option<&'a str> {
    says.1.get(key).map(String::as_str)
}

/// What joins, in a pipeline of each kind.
struct Joins {
    of_traces: TraceJoin,
    of_profiles: TraceJoin,
    metrics: TraceJoinMetrics,
    now: Instant,
}

impl Joins {
    fn new(config: RawConfig) -> Self {
        let cx = BuildContext::new("trace_join", Arc::default());
        let one = || TraceJoin::new(config.clone(), &cx).unwrap();
        let (of_traces, of_profiles) = (one(), one());
        assert!(Arc::ptr_eq(&of_traces.state, &of_profiles.state));
        Self {
            of_traces,
            of_profiles,
            metrics: cx.metrics.trace_join(&cx.id),
            now: Instant::now(),
        }
    }

    fn take(&self, batch: Batch) {
        let came = batch.as_traces().unwrap().clone();
        match self.of_traces.process_at(batch, self.now) {
            Verdict::Pass { batch, rejected: None } => assert_eq!(batch.as_traces(), Some(&came)),
            other => panic!("{other:?}"),
        }
    }

    fn join(&self, batch: Batch) -> Batch {
        match self.of_profiles.process_at(batch, self.now) {
            Verdict::Pass { batch, rejected: None } => batch,
            other => panic!("{other:?}"),
        }
    }

    fn hold(&self, batch: Batch) -> Vec<Batch> {
        match self.of_profiles.process_at(batch, self.now) {
            Verdict::Hold(batches) => batches,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn results(&self) -> BTreeMap<&'static str, u64> {
        let all = RESULTS
            .into_iter()
            .map(|result| (result, self.metrics.samples_count(result)));
        all.filter(|(_, samples)| *samples > 0).collect()
    }

    /// What is known is what came and did not go.
    fn check_books(&self) {
        let gone = ["evicted", "expired"].map(|reason| self.metrics.gone_count(reason));
        let live = self.metrics.spans_count("indexed") - gone.iter().sum::<u64>();
        let index = &self.of_traces.state.index;
        assert_eq!((live, live as usize), (self.metrics.live().get(), index.len()));
        assert_eq!(self.metrics.bytes().get(), index.heap_bytes() as u64);
    }
}
