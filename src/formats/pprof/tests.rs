//! Tests against a reader made by prost, which knows nothing of ours.

mod fields;
mod hostile;
mod oracle;
mod round_trip;
mod stacks;

use std::io::Read;

use super::super::{Decoded, Limits};
use super::{EncodeOptions, encode};
use crate::testing;

/// The project's own pprof recordings.
const OWN: [&str; 8] = [
    "go123-cpu-labels.pb.gz",
    "go123-heap.pb.gz",
    "go123-threadcreate.pb.gz",
    "node20-wall-cpu-labels.pb.gz",
    "planted-everywhere.pb",
    "planted-node20-labels.pb.gz",
    "rust-cpu.pb.gz",
    "rust-jemalloc-heap.pb.gz",
];

fn gunzip(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice())
        .read_to_end(&mut plain)
        .expect("gzip");
    gunzip(plain)
}

fn own(name: &str) -> Vec<u8> {
    gunzip(testing::data(name))
}

/// Every pprof of the corpus that Go accepts, uncompressed, with what `totals.json` says of it.
fn accepted() -> Vec<(String, Vec<u8>, serde_json::Value)> {
    let Some(totals) = testing::corpus_file("totals.json") else {
        return Vec::new();
    };
    let totals: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&totals).expect("totals.json");
    let mut files = Vec::new();
    for (name, facts) in totals {
        if facts["kind"] == "pprof" && facts["go_pprof"] == "accepted" {
            let bytes = testing::corpus_file(&name).expect("a file that totals.json names");
            files.push((name, gunzip(bytes), facts));
        }
    }
    assert!(files.len() >= 50, "{} files", files.len());
    files
}

fn decode(bytes: &[u8]) -> Decoded {
    super::decode(bytes, &Limits::default()).expect("a profile")
}

fn encode_with(decoded: &Decoded, options: &EncodeOptions) -> Vec<u8> {
    let at = decoded.profiles.iter().next().expect("one profile");
    encode(decoded.profiles.dictionary(), at.resource, at.profile, options).expect("pprof can hold it")
}

fn encoded(decoded: &Decoded) -> Vec<u8> {
    encode_with(decoded, &EncodeOptions::default())
}
