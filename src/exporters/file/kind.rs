//! The word in a file name for what a profile is about: from a fixed list, never from the payload.

use crate::profile::{Dictionary, Profile};

/// Sample types by the kind they make a profile. The first kind with a match wins, so that Go's heap, which counts
/// allocations too, is `inuse`: what it shows by default.
const KINDS: &[(&str, &[&str])] = &[
    ("cpu", &["cpu", "cpu-time", "cpu_samples", "itimer"]),
    ("wall", &["wall", "wall-time", "wallclock"]),
    ("off_cpu", &["off_cpu", "off-cpu"]),
    (
        "inuse",
        &["inuse_space", "inuse_objects", "live", "heap-space", "heap-live-size"],
    ),
    (
        "alloc",
        &[
            "alloc_space",
            "alloc_objects",
            "alloc",
            "alloc_samples",
            "alloc_size",
            "alloc-space",
            "alloc-size",
        ],
    ),
    (
        "mutex",
        &[
            "contentions",
            "delay",
            "mutex",
            "mutex_count",
            "mutex_duration",
            "lock_count",
            "lock_time",
            "lock",
        ],
    ),
    ("block", &["block", "block_count", "block_duration"]),
    ("park", &["park", "park_count", "park_duration"]),
    ("goroutine", &["goroutine", "goroutines"]),
    ("threads", &["threadcreate", "threads"]),
    ("exceptions", &["exception", "exceptions", "exception-samples"]),
];

/// The kind of a profile; `other` if its types say nothing.
pub fn kind(dictionary: &Dictionary, profile: &Profile) -> &'static str {
    let default = dictionary.str(profile.default_sample_type);
    let types = profile.sample_types.iter().map(|t| dictionary.str(t.kind));
    let by = |name: &str| {
        KINDS
            .iter()
            .find(|(_, names)| names.contains(&name))
            .map(|(kind, _)| *kind)
    };
    let period = dictionary.str(profile.period_type.kind);
    by(default)
        .or_else(|| {
            let names: Vec<&str> = types.collect();
            let first = KINDS
                .iter()
                .find(|(_, known)| known.iter().any(|name| names.contains(name)));
            first.map(|(kind, _)| *kind)
        })
        .or_else(|| by(period))
        .unwrap_or("other")
}

/// Whether `name` is one that this exporter gives: `<digits>-<kind>-<8 hex>.<ending>`.
pub(super) fn is_ours(name: &str) -> bool {
    let Some((stem, _ending)) = name.split_once('.') else {
        return false;
    };
    let mut parts = stem.split('-');
    let (Some(millis), Some(kind), Some(hex), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    !millis.is_empty()
        && millis.bytes().all(|byte| byte.is_ascii_digit())
        && (kind == "other" || KINDS.iter().any(|(known, _)| *known == kind))
        && hex.len() == 8
        && hex.bytes().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ValueType;

    fn kind_of(types: &[&str], default: &str, period: &str) -> &'static str {
        let mut d = Dictionary::default();
        let profile = Profile {
            sample_types: types
                .iter()
                .map(|t| ValueType {
                    kind: d.strings.push(t),
                    ..ValueType::default()
                })
                .collect(),
            default_sample_type: d.strings.push(default),
            period_type: ValueType {
                kind: d.strings.push(period),
                ..ValueType::default()
            },
            ..Profile::default()
        };
        kind(&d, &profile)
    }

    #[test]
    fn kinds_follow_the_types() {
        assert_eq!(kind_of(&["samples", "cpu"], "", "cpu"), "cpu");
        assert_eq!(kind_of(&["alloc_objects", "inuse_space"], "", "space"), "inuse");
        assert_eq!(
            kind_of(&["alloc_space", "inuse_space"], "alloc_space", "space"),
            "alloc"
        );
        assert_eq!(kind_of(&["samples"], "", "cpu"), "cpu");
        assert_eq!(kind_of(&["off_cpu"], "", ""), "off_cpu");
        assert_eq!(kind_of(&["../../planted"], "", ""), "other");
    }

    #[test]
    fn only_our_own_names_are_ours() {
        assert!(is_ours("1763701200000-off_cpu-0a1b2c3d.pb.gz"));
        for other in [
            "notes.txt",
            "1-cpu-0a1b2c3d",
            "x-cpu-0a1b2c3d.pb",
            "1-mine-0a1b2c3d.pb",
            ".1-cpu-0a1b2c3d.pb",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
