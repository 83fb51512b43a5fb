//! Which format bytes are, by what is in them: names and media types are the sender's opinion.
//!
//! The answer is a guess good enough to pick a decoder, which then has the last word. What is no format of ours but a known one
//! is named, with the way to convert it.

mod json;
mod protobuf;
#[cfg(test)]
mod tests;

use super::collapsed::split_count;
use super::{Fault, Format, jfr, legacy, perf, records};

/// Bytes of no format that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not read here: {what}; {remedy}")]
pub struct UnknownFormat {
    /// What they look like, lower case.
    pub what: &'static str,
    /// What to do, lower case.
    pub remedy: &'static str,
    /// Which answer the sender gets.
    pub fault: Fault,
}

impl UnknownFormat {
    /// Whether the bytes are recognised, though they are not read here.
    pub fn is_named(&self) -> bool {
        *self != ANYTHING
    }
}

const fn unsupported(what: &'static str, remedy: &'static str) -> UnknownFormat {
    UnknownFormat {
        what,
        remedy,
        fault: Fault::Unsupported,
    }
}

const NOTHING: UnknownFormat = UnknownFormat {
    fault: Fault::Malformed,
    ..unsupported("no bytes at all", "send a profile")
};
const ANYTHING: UnknownFormat = unsupported(
    "no format of profiles that is read here",
    "send pprof, OTLP, JFR, collapsed stacks, speedscope, the .cpuprofile, .heapprofile or Chrome trace of V8, or what perf script and \
     node --prof-process --preprocess print",
);

/// Tells the format of bytes that no layer of compression is around any more.
pub fn sniff(bytes: &[u8]) -> Result<Format, UnknownFormat> {
    if bytes.is_empty() {
        return Err(NOTHING);
    }
    if jfr::is_recording(bytes) {
        return Ok(Format::Jfr);
    }
    if legacy::is_legacy(bytes) {
        return Ok(Format::PprofLegacy);
    }
    if let Some(unknown) = by_magic(bytes) {
        return Err(unknown);
    }
    let text = bytes.trim_ascii_start();
    let from_json = match text.first() {
        Some(b'{' | b'[') => json::sniff(text)?,
        _ => None,
    };
    if let Some(format) = from_json {
        return Ok(format);
    }
    let first = text
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    let first_is_text = !first.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
    if first_is_text && perf::is_script(text) {
        return Ok(Format::PerfScript);
    }
    if first_is_text && split_count(first).is_ok_and(|(stack, _)| !stack.is_empty()) {
        return Ok(Format::Collapsed);
    }
    if let Some(format) = protobuf::sniff(bytes) {
        return Ok(format);
    }
    if is_framed(bytes) {
        return Ok(Format::Otlp);
    }
    Err(match text.first() {
        Some(b'{' | b'[') => NO_PROFILE,
        _ if first.starts_with(b"goroutine ") && first.ends_with(b"]:") => GOROUTINE_DUMP,
        _ => ANYTHING,
    })
}

/// Whether these are OTLP messages behind their lengths. What a compressed one holds is seen when it is decoded.
pub(super) fn is_framed(bytes: &[u8]) -> bool {
    let first = records::first_framed(bytes);
    first.is_some_and(|message| records::is_compressed(message) || protobuf::sniff(message) == Some(Format::Otlp))
}

const NO_PROFILE: UnknownFormat = unsupported(
    "JSON, but no profile",
    "check what the source answered: it may be an error",
);
const GOROUTINE_DUMP: UnknownFormat = unsupported(
    "a dump of goroutines",
    "drop debug=2 from the address: without it, Go answers pprof",
);
/// Formats that begin with a word of their own.
const MAGIC: [(&[u8], UnknownFormat); 7] = [
    (b"PERFILE2", PERF_DATA),
    (b"2ELIFREP", PERF_DATA),
    (
        b"Nettrace",
        unsupported(
            "a .NET trace",
            "run dotnet-trace convert --format Speedscope FILE and send what it writes",
        ),
    ),
    (
        b"JAVA PROFILE 1.0",
        unsupported(
            "a Java heap dump, which holds every string of the process",
            "record with JDK Flight Recorder or async-profiler instead, and take care where the dump goes",
        ),
    ),
    (
        b"heap_v2/",
        unsupported(
            "a heap profile of jemalloc, whose symbols are in the program",
            "run jeprof --collapsed PROGRAM FILE where the program is and send what it prints",
        ),
    ),
    (b"\x7fELF", unsupported("an ELF program", "send a profile of it")),
    (
        b"PK\x03\x04",
        unsupported("a zip archive", "send the profiles in it one by one"),
    ),
];

const PERF_DATA: UnknownFormat = unsupported(
    "the file of perf record, whose symbols are on the machine where it was made",
    "run perf script -i FILE there and send what it prints",
);

fn by_magic(bytes: &[u8]) -> Option<UnknownFormat> {
    let text = bytes.trim_ascii_start();
    let known = MAGIC
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic) || text.starts_with(magic));
    if let Some((_, unknown)) = known {
        return Some(*unknown);
    }
    let head = text.get(..14).unwrap_or(text).to_ascii_lowercase();
    let is_page = [&b"<!doctype"[..], b"<html", b"<?xml"]
        .into_iter()
        .any(|tag| head.starts_with(tag));
    is_page.then_some(unsupported(
        "an HTML or XML page",
        "check the address: this is not what a profiler answers",
    ))
}
