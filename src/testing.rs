//! Where unit tests find real profiles.

pub mod traces;

use std::path::PathBuf;

use crate::formats::{Limits, any, otlp};
use crate::profile::Profiles;

/// The corpus of real profiles beside the checkout (or at `FLAMEGATE_CORPUS`); none where it is absent, and tests over it then say so and pass.
pub fn corpus() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = std::env::var_os("FLAMEGATE_CORPUS").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no corpus at {}", folder.display());
    None
}

/// One file of the corpus, as stored.
pub fn corpus_file(name: &str) -> Option<Vec<u8>> {
    let path = corpus()?.join(name);
    std::fs::read(path).ok()
}

/// One of the project's own recordings in `tests/data`.
pub fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The heap profile of our own as it comes by OTLP: one profile of four types that was received as four.
pub fn heap_by_otlp() -> Profiles {
    let Ok(read) = any::decode_any(data("go123-heap.pb.gz").into(), &Limits::default()) else {
        panic!("a recording of our own")
    };
    let bytes = otlp::encode(&read.decoded.profiles);
    match otlp::decode(&bytes, &Limits::default(), otlp::WireVersion::default()) {
        Ok(decoded) => decoded.profiles,
        Err(error) => panic!("{error}"),
    }
}
