//! Codecs against named baselines.

fn main() {}
