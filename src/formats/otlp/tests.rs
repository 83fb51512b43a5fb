//! The codec against the oracle (prost with the crate `opentelemetry-proto`), real files, defects, old versions and random bytes.

mod conformance;
mod corpus;
mod defects;
mod json;
mod oracle;
mod siblings;
mod span_edit;
mod told;
mod traces;
mod versions;

use super::*;
use crate::formats::compress::Inflation;
use crate::profile::Profiles;
use crate::testing;

/// Files whose every profile is fine.
const GOOD: [&str; 6] = [
    "ap-alloc-total.jfrconv.otlp",
    "ap-cpu-native.otlp",
    "ap-cpu.jfrconv.otlp",
    "go123-cpu-links.otlp",
    "node20-wall-cpu-links.otlp",
    "planted-everywhere.otlp",
];

/// The same outside of the repository.
const GOOD_IN_CORPUS: [&str; 3] = [
    "otlp/ap-lock-multichunk.jfrconv.otlp",
    "otlp/ext-otel-ebpf-profile.otlp",
    "planted/planted-async-profiler.otlp",
];

fn unwrapped(bytes: Vec<u8>) -> Vec<u8> {
    Inflation::new(&Limits::default())
        .unwrap_layers(bytes.into())
        .expect("gzip")
        .to_vec()
}

fn data(name: &str) -> Vec<u8> {
    unwrapped(testing::data(name))
}

/// Every good file at hand.
fn good_files() -> Vec<(&'static str, Vec<u8>)> {
    let own = GOOD.iter().map(|name| (*name, data(name)));
    let outside = GOOD_IN_CORPUS
        .iter()
        .filter_map(|name| Some((*name, unwrapped(testing::corpus_file(name)?))));
    own.chain(outside).collect()
}

fn read(bytes: &[u8]) -> Decoded {
    decode(bytes, &Limits::default(), WireVersion::V1_10).unwrap_or_else(|error| panic!("{error}"))
}

fn problem(bytes: &[u8]) -> String {
    match decode(bytes, &Limits::default(), WireVersion::V1_10) {
        Err(error) => error.to_string(),
        Ok(decoded) => panic!("decoded with {} rejected", decoded.rejected.profiles),
    }
}

/// The reason of the first rejected profile.
fn rejection(bytes: &[u8]) -> String {
    let decoded = read(bytes);
    assert_eq!(decoded.rejected.profiles, 1);
    decoded.rejected.first.expect("a reason").to_string()
}

fn compacted(profiles: &Profiles) -> Profiles {
    let mut profiles = profiles.clone();
    profiles.compact();
    profiles
}
