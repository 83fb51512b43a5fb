//! What has the shape of something private and is none: identifiers, by key and shape.

use crate::profile::trace_ids::TraceKeys;

/// Keys that join and identify: without them a profile belongs to nobody and to no trace.
pub fn is_identity(key: &str) -> bool {
    const NAMES: &[&str] = &[
        "service.name",
        "service.instance.id",
        "trace_id",
        "span_id",
        "traceid",
        "spanid",
        "trace.id",
        "span.id",
        "trace id",
        "span id",
        "local root span id",
        "profile_id",
        "profile.frame.type",
        "pyroscope.session_id",
    ];
    let ending = FAMILIES.iter().find_map(|family| key.strip_prefix(family));
    NAMES.contains(&key) || ending.is_some_and(is_word) || TraceKeys::built_in().has(key)
}

/// Keys of which there are several, told apart by a word behind this.
const FAMILIES: &[&str] = &["process.executable.build_id.", "pprof."];

/// Whether it can be no more than a name that somebody thought of: nobody's address, and no token.
fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'))
}

/// Ends of keys whose values are numbers that identify or measure: of threads, processes, builds, moments, addresses in memory.
const ENDINGS: &[&str] = &[
    "trace_id",
    "trace.id",
    "trace id",
    "traceid",
    "span_id",
    "span.id",
    "span id",
    "spanid",
    "profile_id",
    "profile.id",
    "profileid",
    "build_id",
    "build.id",
    "buildid",
    "thread_id",
    "thread.id",
    "thread id",
    "threadid",
    "thread native id",
    "os thread id",
    "tid",
    "pid",
    "process_id",
    "process.id",
    "process.pid",
    "process id",
    "runtime-id",
    "runtime_id",
    "container_id",
    "container.id",
    "instance.id",
    "commit",
    "commit_hash",
    "revision",
    "digest",
    "checksum",
    "hash",
    "address",
    "timestamp",
    "timestamp_ns",
    "time_unix_nano",
    "event.time",
    "start_time",
    "end_time",
];

/// Whether the value of this key is an identifier: the key says so, and the value looks the part. A name and a session are told by
/// [`is_identity`] to stay, but not past detectors.
pub(super) fn is_exempt(key: &str, value: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let named = is_identity(&key)
        || key.starts_with("process.executable.build_id.")
        || ENDINGS.iter().any(|end| ends_with_word(&key, end));
    named && is_id(value)
}

/// Whether values of the key are versions, which may look like addresses of hosts.
pub fn is_version_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["version", "image.tag", "image_tag", "image.tags"]
        .iter()
        .any(|end| ends_with_word(&key, end))
}

/// Whether all of the value looks like a version: `10.2.3.4-rc.1`.
pub fn is_version(value: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+' | b'_');
    value.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) && value.bytes().all(word)
}

/// `thread id` and `os.thread id`, but not `unpaid`.
fn ends_with_word(key: &str, end: &str) -> bool {
    let Some(head) = key.strip_suffix(end) else {
        return false;
    };
    !head.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// Digits of the longest digest, and some more. What is longer is no identifier, whatever its key says.
const LONGEST_ID: usize = 160;

/// Hexadecimal, decimal, an address or a UUID.
pub fn is_id(value: &str) -> bool {
    let bare = value
        .strip_prefix("sha256:")
        .or_else(|| value.strip_prefix("0x"))
        .unwrap_or(value);
    (1..=LONGEST_ID).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_key_is_known_to_its_end() {
        for known in [
            "service.name",
            "process.executable.build_id.gnu",
            "process.executable.build_id.htlhash",
            "pprof.mapping.has_functions",
        ] {
            assert!(is_identity(known), "{known}");
        }
        for other in [
            "process.executable.build_id.alice@example.com",
            "process.executable.build_id.AKIAIOSFODNN7EXAMPLE",
            "pprof.4111111111111111",
        ] {
            assert!(!is_identity(other), "{other}");
        }
    }
}
