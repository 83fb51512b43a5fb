//! The Flamegate binary.

fn main() {}
