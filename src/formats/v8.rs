//! What V8 (Node.js, Chrome) writes: `.cpuprofile` of both generations, `.heapprofile`, the profiles inside of a Chrome trace, and
//! the log of `--prof` as `--prof-process --preprocess` writes it.
//!
//! V8 counts lines and columns from 0, the model from 1. Frames have the line where their function begins, because V8 says no
//! other. The frame `(root)` is left out; `(program)`, `(idle)` and `(garbage collector)` stay, and samples that end in `(idle)` have
//! `thread.state: idle`. What a sample lasted is the time to the next one, and for the last one to the end. V8's clock counts
//! from the start of the machine, so a profile has a length and no time but what [`date`] gives it; what was sampled is given out
//! in sums, not one by one.

mod cpu;
mod dating;
mod encode;
mod frames;
mod heap;
mod json;
mod recording;
mod spans;
#[cfg(test)]
mod tests;
mod ticks;
mod trace;

pub use cpu::decode_within as decode_cpu;
pub use dating::{date, is_dated};
pub use encode::encode;
pub use heap::decode_within as decode_heap;
pub use ticks::decode_within as decode_ticks;
pub use trace::decode_within as decode_trace;

/// The key under which our own `.cpuprofile` says what was measured.
const OURS: &str = "flamegate";
