//! What making links takes for each sample where every sample is of a trace of its own: it must not grow with their number.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flamegate::formats::pprof;
use flamegate::pipeline::spec::BuildContext;
use flamegate::pipeline::{Batch, Context, Origin, Permit, Verdict};
use flamegate::processors;
use prost::Message;
use serde_json::json;

use crate::inputs::limits;
use crate::pprof_by_prost::{Function, Label, Line, Location, Profile, Sample, ValueType};
use crate::timing::{milliseconds, timed};

const TRACES: [u64; 3] = [1_000, 10_000, 100_000];
const ROUNDS: usize = 10;

pub fn run() {
    println!("links: nanoseconds for each sample, every one with a trace of its own, best of {ROUNDS} rounds");
    let spec = processors::ALL
        .iter()
        .find(|spec| spec.about.name == "trace_links")
        .unwrap();
    let processor = (spec.build)(json!({}), &BuildContext::new("trace_links", Arc::default())).unwrap();
    for traces in TRACES {
        let plain = made(traces);
        let (mut decode, mut lift, mut end) = (Duration::MAX, Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            let (profiles, took) = timed(|| pprof::decode(&plain, &limits()).unwrap().profiles);
            decode = decode.min(took);
            let batch = Batch::made(profiles, 1, Origin::local("bench").into(), Permit::unlimited());
            let now = SystemTime::now();
            let (verdict, took) = timed(|| processor.process(batch, &Context { now }));
            lift = lift.min(took);
            let Verdict::Pass { mut batch, .. } = verdict else {
                unreachable!("what gets links passes")
            };
            end = end.min(timed(|| batch.compact()).1);
        }
        let of_a_sample = |duration: Duration| milliseconds(duration) * 1e6 / traces as f64;
        println!(
            "  {traces:>6} traces: decode {:.0}, trace_links {:.0}, compact {:.0}",
            of_a_sample(decode),
            of_a_sample(lift),
            of_a_sample(end)
        );
    }
}

/// A CPU profile of so many samples in a hundred places.
fn made(traces: u64) -> Vec<u8> {
    let mut profile = Profile::default();
    let mut text = |text: String| {
        profile.string_table.push(text);
        profile.string_table.len() as i64 - 1
    };
    text(String::new());
    let kind = ValueType {
        kind: text("samples".to_owned()),
        unit: text("count".to_owned()),
    };
    let [trace_id, span_id] = ["trace_id", "span_id"].map(|key| text(key.to_owned()));
    let names: Vec<i64> = (0..100).map(|n| text(format!("function{n}"))).collect();
    // the digits of two halves differ from the first on
    let id = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let label = |key, text| Label {
        key,
        str: text,
        ..Label::default()
    };
    let samples = (1..=traces).map(|n| Sample {
        location_id: vec![n % 100 + 1, 1],
        value: vec![1],
        label: vec![
            label(trace_id, text(format!("{:016x}{n:016x}", id(n)))),
            label(span_id, text(format!("{:016x}", id(n)))),
        ],
    });
    let samples = samples.collect();
    profile.sample = samples;
    profile.sample_type.push(kind);
    for (id, name) in (1..).zip(names) {
        let function = Function {
            id,
            name,
            ..Function::default()
        };
        let line = Line {
            function_id: id,
            ..Line::default()
        };
        profile.function.push(function);
        profile.location.push(Location {
            id,
            line: vec![line],
            ..Location::default()
        });
    }
    profile.encode_to_vec()
}
