//! What is measured: the large recordings of the corpus where it stands beside the checkout (or at `FLAMEGATE_CORPUS`),
//! else small ones of our own, which fit the caches and tell less.

use std::path::PathBuf;

use bytes::Bytes;
use flamegate::formats::Limits;
use flamegate::formats::compress::Inflation;

/// A recording under the name of the file that was read.
pub struct Input {
    pub name: &'static str,
    /// Its bytes, decompressed.
    pub plain: Bytes,
}

/// The recordings in pprof.
pub fn pprof() -> Vec<Input> {
    choose(
        &["pprof/go123-large-heap.pb.gz", "legacy-pprof/ext-large.cpu.gz"],
        "go123-cpu-labels.pb.gz",
    )
}

/// The recordings whose samples have ids of traces.
pub fn traced() -> Vec<Input> {
    choose(&["pprof/go123-large-cpu-traces.pb.gz"], "go123-cpu-labels.pb.gz")
}

/// The recordings in OTLP.
pub fn otlp() -> Vec<Input> {
    choose(&["otlp/go123-large-heap.otlp.gz"], "go123-cpu-links.otlp")
}

/// Recordings of the JVM: many events, and many constants.
pub fn recordings() -> Vec<Input> {
    choose(
        &["jfr/jdk17-profile.jfr", "jfr/ext-goland-multichunk.jfr.gz"],
        "jdk17-deep.jfr.gz",
    )
}

/// Limits that let the largest input of the benches pass.
pub fn limits() -> Limits {
    Limits {
        decompressed_bytes: 1 << 30,
        elements: 1 << 28,
        ..Limits::default()
    }
}

pub fn inflate(packed: &Bytes) -> Bytes {
    Inflation::new(&limits()).unwrap_layers(packed.clone()).unwrap()
}

fn choose(large: &[&'static str], small: &'static str) -> Vec<Input> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::var_os("FLAMEGATE_CORPUS").map_or(root.join("../shared/corpus"), PathBuf::from);
    let found: Vec<Input> = large.iter().filter_map(|name| open(corpus.join(name), name)).collect();
    match found.is_empty() {
        true => open(root.join("tests/data").join(small), small).into_iter().collect(),
        false => found,
    }
}

fn open(path: PathBuf, name: &'static str) -> Option<Input> {
    let packed = Bytes::from(std::fs::read(path).ok()?);
    let plain = inflate(&packed);
    Some(Input { name, plain })
}
