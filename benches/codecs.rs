//! Codecs against named baselines, as ratios within one run: `cargo bench`.
//!
//! Inputs are the large recordings of the corpus beside the checkout (or at `FLAMEGATE_CORPUS`); without it a small one of ours.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flamegate::formats::compress::{Inflation, compress};
use flamegate::formats::{Compression, Limits, otlp, pprof};
use flamegate::pipeline::spec::BuildContext;
use flamegate::pipeline::{Batch, Context, Origin, Permit, Verdict};
use flamegate::profile::Profiles;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use prost::Message;

const ROUNDS: usize = 15;
const GZIP: Compression = Compression::Gzip(6);

fn main() {
    if let Some(packed) = input("otlp/go123-large-heap.otlp.gz", "") {
        let plain = inflate(&packed);
        let ours = best(|| otlp::decode(&plain, &Limits::default(), otlp::WireVersion::default()).unwrap());
        let prost = best(|| ExportProfilesServiceRequest::decode(&plain[..]).unwrap());
        tell("OTLP decode, prost over ours", &plain, prost, ours);
    }
    for name in ["pprof/go123-large-heap.pb.gz", "legacy-pprof/ext-large.cpu.gz"] {
        let Some(packed) = input(name, "go123-cpu-labels.pb.gz") else {
            continue;
        };
        let plain = inflate(&packed);
        let decode = best(|| pprof::decode(&plain, &Limits::default()).unwrap());
        println!("{name}: pprof decode {decode:?} for {} bytes", plain.len());
        let alone = best(|| compress(&inflate(&packed), GZIP));
        let whole = best(|| through(&packed));
        tell(
            "gunzip, decode, redact, encode, gzip 6 over gunzip, gzip 6",
            &plain,
            whole,
            alone,
        );
    }
    linearity();
}

/// The whole path of one request, as the quickstart is configured.
fn through(packed: &Bytes) -> Vec<u8> {
    let plain = inflate(packed);
    let profiles = redact(pprof::decode(&plain, &Limits::default()).unwrap().profiles);
    let at = profiles.iter().next().unwrap();
    let options = pprof::EncodeOptions::default();
    let out = pprof::encode(profiles.dictionary(), at.resource, at.scope, at.profile, &options).unwrap();
    compress(&out, GZIP)
}

fn redact(profiles: Profiles) -> Profiles {
    let spec = flamegate::processors::ALL
        .iter()
        .find(|spec| spec.about.name == "redaction")
        .unwrap();
    let config = serde_json::json!({ "detectors": ["secrets", "emails"], "paths": "home" });
    let cx = BuildContext {
        id: "redaction".into(),
        metrics: std::sync::Arc::default(),
    };
    let redaction = (spec.build)(config, &cx).unwrap();
    let batch = Batch::made(profiles, 1, Origin::local("bench").into(), Permit::unlimited());
    let now = std::time::SystemTime::now();
    let Verdict::Pass { mut batch, .. } = redaction.process(batch, &Context { now }) else {
        unreachable!("redaction passes what it can read")
    };
    batch.compact();
    batch.as_profiles().unwrap().clone()
}

/// The cost per byte of merged input must not grow with its size.
fn linearity() {
    let Some(packed) = input("pprof/go123-large-heap.pb.gz", "go123-cpu-labels.pb.gz") else {
        return;
    };
    let plain = inflate(&packed);
    let one = pprof::decode(&plain, &Limits::default()).unwrap().profiles;
    for copies in [4, 10, 20, 40] {
        let parts: Vec<Profiles> = (0..copies).map(|_| one.clone()).collect();
        let start = Instant::now();
        let merged = Profiles::merge(&parts);
        let bytes = otlp::encode(&merged);
        let took = start.elapsed();
        let size = plain.len() * copies;
        println!(
            "merge and encode {:>4} MB: {:.1} ns for each byte in, {} bytes out",
            size >> 20,
            took.as_nanos() as f64 / size as f64,
            bytes.len()
        );
    }
}

fn input(name: &str, else_ours: &str) -> Option<Bytes> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::var_os("FLAMEGATE_CORPUS").map_or(root.join("../shared/corpus"), PathBuf::from);
    if let Ok(bytes) = std::fs::read(corpus.join(name)) {
        return Some(bytes.into());
    }
    println!("{name} is not there; {else_ours} instead");
    std::fs::read(root.join("tests/data").join(else_ours))
        .ok()
        .map(Bytes::from)
}

fn inflate(packed: &Bytes) -> Bytes {
    Inflation::new(&Limits::default())
        .unwrap_layers(packed.clone())
        .unwrap()
}

fn best<T>(mut work: impl FnMut() -> T) -> Duration {
    let once = |work: &mut dyn FnMut() -> T| {
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        drop(std::hint::black_box(result));
        took
    };
    (0..ROUNDS).map(|_| once(&mut work)).min().unwrap_or_default()
}

fn tell(what: &str, plain: &[u8], first: Duration, second: Duration) {
    let ratio = first.as_secs_f64() / second.as_secs_f64();
    println!(
        "{what}: {ratio:.2} ({first:?} over {second:?}, {} bytes plain)",
        plain.len()
    );
}
