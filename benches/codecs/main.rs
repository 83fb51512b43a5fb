//! Codecs against named baselines, as ratios within one run: `cargo bench`, explained in `docs/benchmarks.md`.
//!
//! A baseline runs in turn with what it is compared to, so that noise hits both, and the best round of each counts.
//! An argument picks a part: `cargo bench -- decode`, `path`, `growth`, `redaction`, `reduction`, `links`, `join` or `recordings`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod decode;
mod growth;
mod inputs;
mod join;
mod links;
mod path;
mod pprof_by_prost;
mod recordings;
mod redaction;
mod reduction;
mod timing;

fn main() {
    let parts: [(&str, fn()); 8] = [
        ("decode", decode::run),
        ("path", path::run),
        ("growth", growth::run),
        ("redaction", redaction::run),
        ("reduction", reduction::run),
        ("links", links::run),
        ("join", join::run),
        ("recordings", recordings::run),
    ];
    // cargo passes `--bench` along
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, run) in parts {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            run();
            println!();
        }
    }
}
