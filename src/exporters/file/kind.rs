//! The word in a file name for what a profile is about: from a fixed list, never from the payload.

use crate::exporters::contention::contention;
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

/// Sample types that Go's mutex and block profiles share.
const CONTENTION: [&str; 2] = ["contentions", "delay"];

/// The kind of a profile; `other` if its types say nothing.
pub fn kind(dictionary: &Dictionary, profile: &Profile) -> &'static str {
    let default = dictionary.str(profile.default_sample_type);
    let types = profile.sample_types.iter().map(|t| dictionary.str(t.kind));
    let names: Vec<&str> = types.collect();
    let period = dictionary.str(profile.period_type.kind);
    of_any(&[default])
        .or_else(|| of_any(&names))
        .or_else(|| {
            let waits = names.iter().any(|name| CONTENTION.contains(name));
            waits.then(|| contention(dictionary, profile))
        })
        .or_else(|| of_any(&[period]))
        .unwrap_or("other")
}

/// The first kind that one of these names tells.
fn of_any(names: &[&str]) -> Option<&'static str> {
    let tells = |(_, known): &&(&str, &[&str])| known.iter().any(|name| names.contains(name));
    KINDS.iter().find(tells).map(|(kind, _)| *kind)
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
        assert_eq!(kind_of(&["contentions", "delay"], "delay", ""), "mutex");
        assert_eq!(kind_of(&["contentions", "delay"], "", "block"), "block");
        assert_eq!(kind_of(&["../../planted"], "", ""), "other");
    }

    #[test]
    fn the_stacks_of_go_tell_block_from_mutex() {
        use crate::formats::{Limits, any};
        for (file, expected) in [("go123-mutex.pb.gz", "mutex"), ("go123-block.pb.gz", "block")] {
            let Ok(read) = any::decode_any(crate::testing::data(file).into(), &Limits::default()) else {
                panic!("a recording of our own")
            };
            let profiles = read.decoded.profiles;
            let profile = profiles.iter().next().unwrap().profile;
            assert_eq!(kind(profiles.dictionary(), profile), expected);
        }
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
