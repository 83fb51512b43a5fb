//! What spans cost that are remembered, and what looking them up adds to the path of a profile.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flamegate::formats::compress::compress;
use flamegate::formats::otlp::Traces;
use flamegate::formats::wire::Writer;
use flamegate::formats::{Format, pprof};
use flamegate::pipeline::spec::BuildContext;
use flamegate::pipeline::{Batch, Context, Origin, Permit, Processor, Received, Verdict};
use flamegate::processors;
use flamegate::profile::{KeyValue, Profiles, Value};
use serde_json::json;

use crate::inputs::{self, inflate, limits};
use crate::path::{Form, GZIP};
use crate::timing::{in_turn, milliseconds, ratio, timed};

const SPANS: u64 = 1_000_000;
const IN_A_REQUEST: u64 = 500;
const ROUNDS: usize = 9;
const SECOND: u64 = 1_000_000_000;

pub fn run() {
    let joins = [
        ("all attributes", json!({})),
        ("no attributes", json!({ "attributes": [] })),
    ];
    let joins = joins.map(|(written, config)| (written, index(written, config)));
    println!(
        "join: gunzip, decode, trace_links, redact, encode, gzip 6 with trace_join over the same without; best of {ROUNDS} rounds each"
    );
    for input in inputs::traced() {
        for (written, joined) in &joins {
            let name = format!("{}, {written}", input.name);
            path(joined, &format!("{name}, nothing found"), &input.plain, false);
            path(joined, &name, &input.plain, true);
        }
    }
}

/// A join with its metrics.
struct Joined {
    join: Box<dyn Processor>,
    cx: BuildContext,
}

fn processor(name: &str, config: serde_json::Value, cx: &BuildContext) -> Box<dyn Processor> {
    let spec = processors::ALL.iter().find(|spec| spec.about.name == name).unwrap();
    (spec.build)(config, cx).unwrap()
}

/// A million spans, as a tracer sends them.
fn index(written: &str, mut config: serde_json::Value) -> Joined {
    let cx = BuildContext::new("trace_join", Arc::default());
    config["max_spans"] = (2 * SPANS).into();
    config["max_bytes"] = "1GiB".into();
    let joined = Joined {
        join: processor("trace_join", config, &cx),
        cx,
    };
    let id = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut work = Duration::ZERO;
    for first in (1..=SPANS).step_by(IN_A_REQUEST as usize) {
        let spans = (first..first + IN_A_REQUEST)
            .map(|n| (u128::from(id(1 + n / 10)).to_be_bytes(), id(n).to_be_bytes(), SECOND));
        let batch = request(&spans.collect::<Vec<_>>());
        work += timed(|| joined.process(batch)).1;
    }
    let metrics = joined.cx.metrics.trace_join(&joined.cx.id);
    let live = metrics.live().get();
    assert_eq!(live, SPANS);
    println!(
        "join, {written}: {} bytes for each of {live} spans, names included; {:.0} ns to remember one",
        metrics.bytes().get() / live,
        milliseconds(work) * 1e6 / SPANS as f64
    );
    joined
}

/// A span of a request: its trace, its id, and when it ended.
type Told = ([u8; 16], [u8; 8], u64);

/// Spans of a service, each with what a server usually says.
fn request(spans: &[Told]) -> Batch {
    let attribute = |of: &mut Writer, number: u32, key: &str, text: &str| {
        of.message(number, |attribute| {
            attribute.bytes(1, key.as_bytes());
            attribute.message(2, |value| value.bytes(1, text.as_bytes()));
        });
    };
    let mut request = Writer::default();
    request.message(1, |of| {
        of.message(1, |resource| attribute(resource, 1, "service.name", "shop"));
        of.message(2, |scope| {
            for (trace, span, end) in spans {
                scope.message(2, |one| {
                    one.bytes(1, trace);
                    one.bytes(2, span);
                    one.bytes(5, format!("GET /orders/{}", span[7] % 50).as_bytes());
                    one.uint(6, 2);
                    one.fixed64(7, 1);
                    one.fixed64(8, *end);
                    for (key, text) in [
                        ("http.request.method", "GET"),
                        ("http.route", "/orders/{id}"),
                        ("url.path", "/orders/4711"),
                        ("server.address", "shop.example.org"),
                        ("network.peer.address", "10.1.2.3"),
                    ] {
                        attribute(one, 9, key, text);
                    }
                });
            }
        });
    });
    let traces = Traces::new(request.finish().into(), &limits()).unwrap();
    let received = Received {
        format: Format::Otlp,
        bytes: traces.bytes().clone(),
    };
    Batch::traces(traces, received, Origin::local("bench").into(), Permit::unlimited())
}

impl Joined {
    fn process(&self, batch: Batch) -> Batch {
        passed(&*self.join, batch)
    }
}

fn passed(processor: &dyn Processor, batch: Batch) -> Batch {
    let now = SystemTime::now();
    match processor.process(batch, &Context { now }) {
        Verdict::Pass { batch, .. } => batch,
        other => unreachable!("{other:?}"),
    }
}

/// The profiles of a service.
fn of_shop(mut profiles: Profiles) -> Batch {
    let (d, resources) = profiles.edit();
    let key = d.strings.push("service.name");
    let value = Value::String(d.strings.push("shop"));
    resources[0].attributes.push(KeyValue { key, value });
    Batch::made(profiles, 1, Origin::local("bench").into(), Permit::unlimited())
}

fn path(joined: &Joined, name: &str, plain: &Bytes, finds: bool) {
    let links = processor(
        "trace_links",
        json!({}),
        &BuildContext::new("trace_links", Arc::default()),
    );
    let redaction = processor(
        "redaction",
        json!({ "detectors": ["secrets", "emails"], "paths": "home" }),
        &BuildContext::new("redaction", Arc::default()),
    );
    let linked = passed(&*links, of_shop(pprof::decode(plain, &limits()).unwrap().profiles));
    let rows = linked.as_profiles().unwrap().dictionary().links.rows();
    // they were running all the time
    let spans: Vec<Told> = rows
        .iter()
        .skip(1)
        .map(|link| (link.trace_id, link.span_id, u64::MAX))
        .collect();
    if finds {
        joined.process(request(&spans));
    }
    let packed = Bytes::from(compress(plain, GZIP));
    let walk = |joins: bool| {
        let profiles = Form::Pprof.decode(&inflate(&packed));
        let mut batch = passed(&*links, of_shop(profiles));
        if joins {
            batch = joined.process(batch);
        }
        batch = passed(&*redaction, batch);
        batch.compact();
        compress(&Form::Otlp.encode(batch.as_profiles().unwrap()), GZIP)
    };
    let (with, without) = in_turn(ROUNDS, || walk(true), || walk(false));
    let found = joined.cx.metrics.trace_join(&joined.cx.id).samples_count("linked");
    println!(
        "  {name}, {} links: {:.3} ({:.2} ms over {:.2} ms), {found} samples looked up",
        spans.len(),
        ratio(with.and_drop, without.and_drop),
        milliseconds(with.and_drop),
        milliseconds(without.and_drop)
    );
}
