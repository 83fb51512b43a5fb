//! What spans are told, and when they go on, with a clock of the tests' own. `tests/it/span_profiles.rs` does the same over sockets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use prost::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::formats::otlp::Traces;
use crate::formats::otlp::spans::Value as Told;
use crate::formats::{Format, Limits};
use crate::pipeline::batch::Received;
use crate::pipeline::{Budget, Origin};
use crate::profile::{
    Interner, KeyValue, Link, LinkId, Observations, Profile, Profiles, ResourceProfiles, Samples, ScopeProfiles, Value,
    ValueType,
};
use crate::telemetry::Metrics;
use crate::testing::traces::{ExportTraceServiceRequest, request};

/// The processors of one id in a pipeline of profiles and one of traces.
struct Bench {
    of_profiles: SpanProfiles,
    of_traces: SpanProfiles,
    begin: Instant,
    budget: Budget,
}

/// What a sample names: a link, and labels; and how often the profiler saw it.
#[derive(Clone, Debug, Default)]
struct Row {
    link: Option<u64>,
    labels: Vec<(&'static str, String)>,
    count: i64,
}

fn linked(span: u8, count: i64) -> Row {
    Row {
        link: Some(u64::from_be_bytes([span; 8])),
        count,
        ..Row::default()
    }
}

fn labelled(labels: &[(&'static str, &str)], count: i64) -> Row {
    Row {
        labels: labels.iter().map(|(key, text)| (*key, (*text).to_owned())).collect(),
        count,
        ..Row::default()
    }
}

/// Both ways of Datadog's to name spans.
fn datadog(active: u8, root: u8, count: i64) -> Row {
    let [active, root] = [active, root].map(|span| u64::from_be_bytes([span; 8]).to_string());
    labelled(&[("span id", &active), ("local root span id", &root)], count)
}

/// A profile of one service, counted by looks of the clock.
fn profiles(service: &str, rows: &[Row]) -> Profiles {
    let mut interner = Interner::new();
    let mut samples = Samples::default();
    for row in rows {
        let labels: Vec<_> = row
            .labels
            .iter()
            .map(|(key, text)| interner.text_attribute(key, text))
            .collect();
        samples.stacks.push(Default::default());
        samples.attributes.push(interner.attribute_set(&labels));
        let link = |span: u64| Link {
            trace_id: [7; 16],
            span_id: span.to_be_bytes(),
        };
        samples
            .links
            .push(row.link.map_or(LinkId::UNSET, |span| interner.link(link(span))));
    }
    samples.observations = Observations::Totals(rows.iter().map(|row| row.count).collect());
    let mut of = |kind: &str, unit: &str| ValueType {
        kind: interner.string(kind),
        unit: interner.string(unit),
    };
    let profile = Profile {
        sample_types: vec![of("samples", "count")],
        period_type: of("cpu", "nanoseconds"),
        period: 10_000_000,
        samples: Arc::new(samples),
        ..Profile::default()
    };
    let resource = ResourceProfiles {
        attributes: match service {
            "" => Vec::new(),
            service => vec![KeyValue {
                key: interner.string("service.name"),
                value: Value::String(interner.string(service)),
            }],
        },
        scopes: vec![ScopeProfiles {
            profiles: vec![profile],
            ..ScopeProfiles::default()
        }],
        ..ResourceProfiles::default()
    };
    Profiles::new(interner.finish(), vec![resource])
}

impl Bench {
    fn of(config: Json) -> Self {
        let context = BuildContext::new("span_profiles", Arc::new(Metrics::default()));
        let one = || {
            let parsed: Config = parse(config.clone()).unwrap();
            let metrics = context.metrics.span_profiles(&context.id);
            let known = || Known::new(parsed.max_spans, parsed.window.0, metrics.clone());
            let known = context.shared.get_or_make(&context.id, &config, known);
            SpanProfiles::new(&parsed, known, metrics).unwrap()
        };
        Self {
            of_profiles: one(),
            of_traces: one(),
            begin: Instant::now(),
            budget: Budget::new(1 << 30),
        }
    }

    fn at(&self, millis: u64) -> Instant {
        self.begin + Duration::from_millis(millis)
    }

    fn origin(tenant: &str) -> Arc<Origin> {
        Arc::new(Origin {
            tenant: tenant.into(),
            ..Origin::local("test")
        })
    }

    fn profiled(&self, tenant: &str, profiles: Profiles, millis: u64) {
        let batch = Batch::made(profiles.clone(), 1, Self::origin(tenant), self.budget.permit());
        match self.of_profiles.process_at(batch, self.at(millis)) {
            Verdict::Pass { batch, rejected: None } => {
                let passed = batch.as_profiles().unwrap().dictionary();
                assert!(std::ptr::eq(passed, profiles.dictionary()), "profiles pass untouched");
            }
            other => panic!("{other:?}"),
        }
    }

    fn batch(&self, tenant: &str, request: &ExportTraceServiceRequest) -> Batch {
        self.batch_of(tenant, request.encode_to_vec().into())
    }

    fn batch_of(&self, tenant: &str, bytes: bytes::Bytes) -> Batch {
        let traces = Traces::new(bytes.clone(), &Limits::default()).unwrap();
        let (format, permit) = (Format::Otlp, self.budget.permit());
        permit.hold(bytes.len());
        Batch::traces(traces, Received { format, bytes }, Self::origin(tenant), permit)
    }

    /// What goes on at once of spans that come then.
    fn traced(&self, tenant: &str, request: &ExportTraceServiceRequest, millis: u64) -> Vec<Batch> {
        self.sent(self.batch(tenant, request), millis)
    }

    fn sent(&self, batch: Batch, millis: u64) -> Vec<Batch> {
        match self.of_traces.process_at(batch, self.at(millis)) {
            Verdict::Hold(batches) => batches,
            Verdict::Pass { batch, rejected: None } => vec![batch],
            other => panic!("{other:?}"),
        }
    }

    fn due_at(&self, millis: u64) -> Vec<Batch> {
        self.of_traces.flush_at(false, self.at(millis))
    }

    fn result(&self, result: &'static str) -> u64 {
        self.of_traces.metrics.spans_count(result)
    }
}

/// What spans were told: service, span, id of the profile, samples.
fn told(batches: &[Batch]) -> Vec<(String, u8, Option<String>, Option<i64>)> {
    let mut told = Vec::new();
    for resource in batches.iter().flat_map(|batch| batch.as_traces().unwrap().resources()) {
        let Some(Told::Text(service)) = resource.attribute("service.name") else {
            panic!("a service has a name")
        };
        for span in resource.spans() {
            let id = span.attribute(PROFILE_ID).map(|id| match id {
                Told::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            });
            let samples = span.attribute(SAMPLES).map(|samples| match samples {
                Told::Int(number) => number,
                other => panic!("{other:?}"),
            });
            if id.is_some() || samples.is_some() {
                told.push((
                    String::from_utf8(service.to_vec()).unwrap(),
                    span.span_id[0],
                    id,
                    samples,
                ));
            }
        }
    }
    told
}

/// A span that was told under which id its samples are found, and one whose samples have others.
fn found(service: &str, span: u8, samples: i64) -> (String, u8, Option<String>, Option<i64>) {
    (
        service.to_owned(),
        span,
        Some(format!("{span:02x}").repeat(8)),
        Some(samples),
    )
}

fn counted(service: &str, span: u8, samples: i64) -> (String, u8, Option<String>, Option<i64>) {
    (service.to_owned(), span, None, Some(samples))
}

/// A request of one service of which every span is a local root.
fn roots(service: &str, spans: &[u8]) -> ExportTraceServiceRequest {
    let mut made = request(1, 1);
    let resource = &mut made.resource_spans[0];
    let name = &mut resource.resource.as_mut().unwrap().attributes[0].value;
    let text = opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(service.to_owned());
    name.as_mut().unwrap().value = Some(text);
    let one = resource.scope_spans[0].spans[0].clone();
    resource.scope_spans[0].spans = spans
        .iter()
        .map(|id| {
            let mut span = one.clone();
            span.span_id = vec![*id; 8];
            span
        })
        .collect();
    made
}

#[test]
fn local_roots_with_samples_are_told_whichever_comes_first() {
    for profile_first in [true, false] {
        let bench = Bench::of(json!({"hold": "1s"}));
        let sent = request(2, 3);
        let send_profile = || {
            bench.profiled(
                "a",
                profiles("shop-1", &[linked(1, 3), linked(2, 5), linked(1, 4)]),
                100,
            )
        };
        if profile_first {
            send_profile();
        }
        assert!(bench.traced("a", &sent, 200).is_empty());
        if !profile_first {
            send_profile();
        }
        assert!(bench.due_at(1_199).is_empty());
        let out = bench.due_at(1_200);
        // the second span of each service has a parent in its process
        assert_eq!(told(&out), [found("shop-1", 1, 7)]);
        assert_eq!(out[0].weight(), 6);
        let results = ["stamped", "no_samples", "forwarded_early", "not_root"].map(|result| bench.result(result));
        assert_eq!(results, [1, 1, 0, 4]);
        assert_eq!(bench.of_profiles.metrics.samples.get(), 12);
    }
}

#[test]
fn what_is_told_nothing_is_the_request_that_came() {
    let bench = Bench::of(json!({}));
    bench.profiled("a", profiles("shop-0", &[linked(2, 1), linked(99, 1)]), 0);
    let batch = bench.batch("a", &request(2, 3));
    let came = batch.as_traces().unwrap().bytes().clone();
    assert!(matches!(bench.of_traces.process_at(batch, bench.at(0)), Verdict::Hold(none) if none.is_empty()));
    let out = bench.due_at(1_000);
    let leaves = out[0].as_traces().unwrap().bytes();
    assert_eq!(leaves.as_ptr(), came.as_ptr(), "not even copied");
}

#[test]
fn equal_ids_of_other_tenants_and_processes_are_other_spans() {
    let bench = Bench::of(json!({}));
    bench.profiled("a", profiles("shop-0", &[linked(1, 1)]), 0);
    bench.profiled("b", profiles("shop-0", &[linked(1, 2)]), 0);
    bench.profiled("b", profiles("shop-1", &[linked(1, 4)]), 0);
    bench.profiled("a", profiles("", &[linked(1, 8)]), 0);
    for (tenant, expected) in [
        ("a", vec![found("shop-0", 1, 1)]),
        ("b", vec![found("shop-0", 1, 2), found("shop-1", 1, 4)]),
        ("c", vec![]),
    ] {
        bench.traced(tenant, &request(2, 1), 0);
        assert_eq!(told(&bench.due_at(5_000)), expected, "{tenant}");
    }
}

#[test]
fn the_id_is_given_only_where_samples_have_it_as_their_span() {
    let hex = "01".repeat(8);
    for (rows, expected) in [
        (vec![linked(1, 2)], vec![found("shop-0", 1, 2)]),
        (vec![labelled(&[("span_id", &hex)], 2)], vec![found("shop-0", 1, 2)]),
        // a child ran: its root is counted, and no sample has the id of it
        (vec![datadog(9, 1, 2)], vec![counted("shop-0", 1, 2)]),
        (vec![datadog(9, 1, 2), datadog(1, 1, 3)], vec![found("shop-0", 1, 5)]),
        (
            vec![labelled(&[("local root span id", "72340172838076673")], 4)],
            vec![found("shop-0", 1, 4)],
        ),
        // a link counts before labels that say otherwise, but the root is the root
        (
            vec![Row {
                link: Some(5),
                ..datadog(1, 9, 2)
            }],
            vec![],
        ),
        (
            vec![Row {
                link: Some(5),
                ..datadog(9, 1, 2)
            }],
            vec![counted("shop-0", 1, 2)],
        ),
        // nothing, zeros, no id, no sample
        (vec![labelled(&[("thread", "main")], 2)], vec![]),
        (vec![labelled(&[("span_id", &"0".repeat(16))], 2)], vec![]),
        (vec![labelled(&[("span_id", "1")], 2)], vec![]),
        (vec![linked(1, 0)], vec![]),
    ] {
        let bench = Bench::of(json!({"hold": "0s"}));
        bench.profiled("a", profiles("shop-0", &rows), 0);
        assert_eq!(told(&bench.traced("a", &request(1, 2), 0)), expected, "{rows:?}");
    }
}

#[test]
fn labels_of_dialects_that_backends_do_not_know_give_no_id() {
    let hex = "01".repeat(8);
    let own = json!([{"name": "acme", "active": ["acme.span"]}]);
    for (rows, expected) in [
        (vec![labelled(&[("acme.span", &hex)], 2)], vec![counted("shop-0", 1, 2)]),
        (
            vec![labelled(&[("acme.span", &hex)], 2), linked(1, 1)],
            vec![found("shop-0", 1, 3)],
        ),
        (vec![labelled(&[("span_id", &hex)], 2)], vec![found("shop-0", 1, 2)]),
    ] {
        let bench = Bench::of(json!({"hold": "0s", "dialects": own}));
        bench.profiled("a", profiles("shop-0", &rows), 0);
        assert_eq!(told(&bench.traced("a", &request(1, 1), 0)), expected, "{rows:?}");
    }
}

#[test]
fn what_was_not_counted_by_looks_counts_by_rows() {
    let bench = Bench::of(json!({"hold": "0s"}));
    let mut heap = profiles("shop-0", &[linked(1, 4_096), linked(1, 512)]);
    let (d, resources) = heap.edit();
    let bytes = d.strings.push("bytes");
    let profile = &mut resources[0].scopes[0].profiles[0];
    profile.sample_types[0].unit = bytes;
    (profile.period, profile.period_type) = (0, ValueType::default());
    bench.profiled("a", heap, 0);
    assert_eq!(told(&bench.traced("a", &request(1, 1), 0)), [found("shop-0", 1, 2)]);
}

#[test]
fn an_attribute_of_an_agent_stays_and_one_of_ours_is_brought_up_to_date() {
    let bench = Bench::of(json!({"hold": "0s"}));
    bench.profiled("a", profiles("shop-0", &[linked(1, 2)]), 0);
    let first = bench.traced("a", &request(1, 1), 0).pop().unwrap();
    let again = first.as_traces().unwrap().bytes().clone();
    let out = bench.sent(bench.batch_of("a", again.clone()), 0);
    assert_eq!(
        out[0].as_traces().unwrap().bytes().as_ptr(),
        again.as_ptr(),
        "told already"
    );
    bench.profiled("a", profiles("shop-0", &[linked(1, 5)]), 0);
    let mut others = ExportTraceServiceRequest::decode(again).unwrap();
    let span = &mut others.resource_spans[0].scope_spans[0].spans[0];
    let id = span.attributes.iter_mut().find(|of| of.key == PROFILE_ID).unwrap();
    id.value = None;
    let out = bench.traced("a", &others, 0).pop().unwrap();
    let span = out
        .as_traces()
        .unwrap()
        .resources()
        .next()
        .unwrap()
        .spans()
        .next()
        .unwrap();
    assert_eq!(
        (span.attribute(PROFILE_ID), span.attribute(SAMPLES)),
        (Some(Told::Empty), Some(Told::Int(7)))
    );
}

#[test]
fn nothing_is_known_after_its_window_unless_it_is_noted_again() {
    let bench = Bench::of(json!({"hold": "0s", "window": "10s"}));
    let tells = |seconds: u64| told(&bench.traced("a", &roots("shop-0", &[1, 2]), seconds * 1_000));
    bench.profiled("a", profiles("shop-0", &[linked(1, 1), linked(2, 1)]), 0);
    bench.profiled("a", profiles("shop-0", &[linked(1, 1)]), 8_000);
    assert_eq!(tells(10), [found("shop-0", 1, 2), found("shop-0", 2, 1)]);
    assert_eq!(tells(11), [found("shop-0", 1, 2)], "looked up, it is as old as it is");
    bench.profiled("a", profiles("shop-0", &[linked(3, 1)]), 18_000);
    assert_eq!(bench.of_traces.metrics.forgotten_count("expired"), 1);
    assert_eq!(tells(18), [found("shop-0", 1, 2)]);
    bench.profiled("a", profiles("shop-0", &[linked(3, 1)]), 60_000);
    assert_eq!(bench.of_traces.metrics.forgotten_count("expired"), 3);
    assert_eq!(bench.of_traces.metrics.known.get(), 1);
}

#[test]
fn of_too_many_spans_the_oldest_are_forgotten_and_memory_is_given_back() {
    let bench = Bench::of(json!({"hold": "0s", "max_spans": 3}));
    for (second, span) in [(0, 1), (1, 2), (2, 3), (3, 1), (4, 4), (5, 5)] {
        bench.profiled("a", profiles("shop-0", &[linked(span, 1)]), second * 1_000);
    }
    let out = bench.traced("a", &roots("shop-0", &[1, 2, 3, 4, 5]), 5_000);
    assert_eq!(
        told(&out),
        [found("shop-0", 1, 2), found("shop-0", 4, 1), found("shop-0", 5, 1)]
    );
    assert_eq!(bench.of_traces.metrics.forgotten_count("max_spans"), 2);

    let bench = Bench::of(json!({"max_spans": 20_000, "window": "10s"}));
    let many = |from: u64| {
        let row = |span| Row {
            link: Some(span + 1),
            count: 1,
            ..Row::default()
        };
        profiles("shop-0", &(from..from + 50_000).map(row).collect::<Vec<_>>())
    };
    let mut most = 0;
    for from in 0..4 {
        bench.profiled("a", many(from * 50_000), from);
        most = most.max(bench.budget.used());
        assert_eq!(bench.of_traces.metrics.known.get(), 20_000);
    }
    assert_eq!(bench.of_traces.metrics.forgotten_count("max_spans"), 180_000);
    assert!((20_000 * 40..4 << 20).contains(&most), "{most}");
    bench.profiled("a", profiles("shop-0", &[linked(1, 1)]), 60_000);
    assert!(bench.budget.used() < most / 4, "{} of {most}", bench.budget.used());
    let (metrics, budget) = (bench.of_traces.metrics.clone(), bench.budget.clone());
    drop(bench);
    assert_eq!((metrics.known.get(), budget.used()), (0, 0));
}

#[test]
fn very_many_processes_with_one_span_id_cost_little_and_hurt_only_that_id() {
    let bench = Bench::of(json!({"hold": "0s"}));
    for n in 0..20_000 {
        bench.profiled("a", profiles(&format!("planted-{n}"), &[linked(1, 1)]), 0);
    }
    assert!(bench.of_traces.metrics.known.get() < 100);
    assert!(bench.of_traces.metrics.forgotten_count("crowded") > 19_000);
    bench.profiled("a", profiles("shop-0", &[linked(2, 1)]), 1_000);
    assert_eq!(
        told(&bench.traced("a", &roots("shop-0", &[2]), 1_000)),
        [found("shop-0", 2, 1)]
    );
}

#[test]
fn a_full_queue_lets_the_oldest_go_and_drops_none() {
    let bench = Bench::of(json!({"hold": "5s", "max_spans_held": 5}));
    bench.profiled("a", profiles("shop-0", &[linked(1, 1)]), 0);
    assert!(bench.traced("a", &roots("shop-0", &[1, 2]), 0).is_empty());
    assert!(bench.traced("a", &roots("shop-0", &[3, 4]), 1).is_empty());
    let gone = bench.traced("a", &roots("shop-0", &[5, 6]), 2);
    assert_eq!(told(&gone), [found("shop-0", 1, 1)], "stamped with what is known");
    assert_eq!(gone.len(), 1);
    assert_eq!([bench.result("stamped"), bench.result("forwarded_early")], [1, 1]);
    let gone = bench.traced("a", &roots("shop-0", &[7, 8, 9, 10, 11, 12]), 3);
    let spans: Vec<u8> = ids(&gone);
    assert_eq!(
        spans,
        [3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        "in order, and too large a request too"
    );
    assert_eq!(bench.of_traces.metrics.held_spans.get(), 0);
    assert_eq!(bench.of_traces.queue.due(), None);
}

#[test]
fn no_more_waits_than_its_part_of_the_memory() {
    let mut bench = Bench::of(json!({"hold": "30s", "max_bytes": "1GiB"}));
    bench.budget = Budget::new(1 << 20);
    let mut out = Vec::new();
    for millis in 0..2_000 {
        out.extend(ids(&bench.traced("a", &roots("shop-0", &[1, 2, 3]), millis)));
        assert!(bench.of_traces.metrics.held_bytes.get() <= 1 << 18);
        assert!(bench.budget.used() <= 1 << 18);
    }
    assert!(!out.is_empty());
    out.extend(ids(&bench.of_traces.flush_at(true, bench.at(2_000))));
    assert_eq!(out.len(), 6_000);
    assert_eq!((bench.budget.used(), bench.of_traces.metrics.held_bytes.get()), (0, 0));
}

#[test]
fn what_is_not_usable_is_refused_by_name_and_only_spans_wait() {
    for (config, path) in [
        (json!({"hold": "31s"}), "hold"),
        (json!({"window": "0s"}), "window"),
        (json!({"max_bytes": 1}), "max_bytes"),
        (json!({"max_spans": 0}), "max_spans"),
        (json!({"max_spans_held": 0}), "max_spans_held"),
        (json!({"dialects": [{"name": "acme"}]}), "dialects[0]"),
        (json!({"samples": true}), "samples"),
    ] {
        let context = BuildContext::new("span_profiles", Arc::new(Metrics::default()));
        assert_eq!(build(config, &context).err().unwrap().path, path);
    }
    for (config, expected) in [(json!({}), true), (json!(null), true), (json!({"hold": "0s"}), false)] {
        assert_eq!(SPEC.holds_as(&config, Signal::Traces), expected, "{config}");
        assert!(!SPEC.holds_as(&config, Signal::Profiles));
    }
}

fn ids(batches: &[Batch]) -> Vec<u8> {
    let resources = batches.iter().flat_map(|batch| batch.as_traces().unwrap().resources());
    resources
        .flat_map(|resource| resource.spans())
        .map(|span| span.span_id[0])
        .collect()
}

#[test]
fn requests_leave_while_others_come() {
    let bench = Bench::of(json!({"hold": "1ms", "max_spans_held": 50}));
    let out = std::sync::Mutex::new(Vec::new());
    let take = |batches: Vec<Batch>| out.lock().unwrap().extend(ids(&batches));
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (bench, take) = (&bench, &take);
            scope.spawn(move || {
                for n in 0..50 {
                    take(bench.traced("a", &roots("shop-0", &[part * 50 + n]), n.into()));
                    bench.profiled("a", profiles("shop-0", &[linked(n, 1)]), n.into());
                }
            });
        }
        scope.spawn(|| (0..200).for_each(|millis| take(bench.due_at(millis))));
    });
    take(bench.of_traces.flush_at(true, bench.at(0)));
    let mut out = out.into_inner().unwrap();
    out.sort();
    assert_eq!(out, (0..200).collect::<Vec<u8>>());
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    Profile(u8, u8, u8),
    Spans(u8, Vec<u8>),
    Wait(u64),
    Flush,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2_u8, 0..2_u8, 1..6_u8).prop_map(|(tenant, service, span)| Step::Profile(tenant, service, span)),
        (0..2_u8, proptest::collection::vec(1..6_u8, 1..4)).prop_map(|(tenant, spans)| Step::Spans(tenant, spans)),
        (0..1_500_u64).prop_map(Step::Wait),
        Just(Step::Flush),
    ]
}

proptest! {
    #[test]
    fn prop_every_span_leaves_once_in_order_with_what_was_known_of_it(steps in proptest::collection::vec(any_step(), 0..60), most in 1..12_u64) {
        let bench = Bench::of(json!({"hold": "1s", "max_spans_held": most, "window": "1h"}));
        let (mut now, mut sent, mut out) = (0, Vec::new(), Vec::new());
        let mut seen = BTreeMap::<(u8, u8, u8), i64>::new();
        let check = |batches: Vec<Batch>, seen: &BTreeMap<(u8, u8, u8), i64>, out: &mut Vec<(u8, u8)>| {
            for batch in batches {
                let tenant = batch.origin().tenant.parse::<u8>().unwrap();
                let expected: BTreeSet<_> = ids(std::slice::from_ref(&batch)).into_iter().filter_map(|span| {
                    out.push((tenant, span));
                    seen.get(&(tenant, 1, span)).map(|samples| found("shop-1", span, *samples))
                }).collect();
                assert_eq!(told(&[batch]).into_iter().collect::<BTreeSet<_>>(), expected);
            }
        };
        for step in steps {
            match step {
                Step::Profile(tenant, service, span) => {
                    bench.profiled(&tenant.to_string(), profiles(&format!("shop-{service}"), &[linked(span, 2)]), now);
                    *seen.entry((tenant, service, span)).or_default() += 2;
                }
                Step::Spans(tenant, spans) => {
                    sent.extend(spans.iter().map(|span| (tenant, *span)));
                    check(bench.traced(&tenant.to_string(), &roots("shop-1", &spans), now), &seen, &mut out);
                }
                Step::Wait(millis) => {
                    now += millis;
                    check(bench.due_at(now), &seen, &mut out);
                }
                Step::Flush => check(bench.of_traces.flush_at(true, bench.at(now)), &seen, &mut out),
            }
            prop_assert!(bench.of_traces.metrics.held_spans.get() <= most);
        }
        check(bench.of_traces.flush_at(true, bench.at(now)), &seen, &mut out);
        prop_assert_eq!(&out, &sent);
        let results = ["stamped", "no_samples", "forwarded_early", "not_root"].map(|result| bench.result(result));
        prop_assert_eq!(results.iter().sum::<u64>(), sent.len() as u64);
        prop_assert_eq!(bench.of_traces.metrics.held_bytes.get(), 0);
    }
}
