//! What `perf script` prints: a line for each sample, with its stack below it, the leaf first.
//!
//! ```text
//! worker-3  18532/18540 [002]  1974.509532:   10101010 cpu-clock:
//!         7f12a4 memmove+0xae (/usr/lib/libc.so.6)
//!         326307 grow<A>+0x57 (/srv/shop/shop-rs)
//! ```
//!
//! Which parts of a sample's line are there is up to `perf script -F`; the number of a thread and the event, or the time, must be.
//! Each event becomes a profile: its samples, and what they count, which is time for `cpu-clock` and `task-clock` and the
//! event itself for all others. Thread and process become labels, the binary of a frame its mapping. Lines about anything
//! else (comments with host and command line, mapped files, what tracepoints say) are not read.

mod frame;
mod sample;
mod script;
#[cfg(test)]
mod tests;

pub use script::decode_within;

use super::lines::Lines;
use sample::{RECORD, Sample};

/// The attribute of a profile that names its event as perf does.
pub const EVENT: &str = "perf.event";

/// Whether a text is of this kind: its first line that is no comment is a sample, or is about another event of perf's.
pub(super) fn is_script(text: &[u8]) -> bool {
    let mut lines = Lines::of_head(text).filter(|line| !line.bytes.trim_ascii().is_empty() && !is_comment(line.bytes));
    let (Some(first), second) = (lines.next(), lines.next()) else {
        return false;
    };
    let has_frames = second.is_some_and(|line| line.bytes.starts_with(b"\t"));
    let is_sample = |text: &str| Sample::parse(text).is_some_and(|sample| has_frames || sample.is_measured());
    is_record(first.bytes) || is_sample(&first.text())
}

/// A line of `perf script --header`.
fn is_comment(line: &[u8]) -> bool {
    line.starts_with(b"#")
}

/// A line about something else than a sample: a file that was mapped, a thread that began.
fn is_record(line: &[u8]) -> bool {
    !line.starts_with(b"\t") && memchr::memmem::find(line, RECORD.as_bytes()).is_some()
}
