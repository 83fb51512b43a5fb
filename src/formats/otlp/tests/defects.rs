//! Each defect gets an answer that says what and where, and reaches no further than it must.

use proptest::prelude::*;

use super::*;
use crate::formats::Limit;

#[test]
fn defects_of_a_profile_leave_it_out() {
    let cases = [
        (
            "bad-negative-index.otlp.gz",
            "resource_profiles[0].scope_profiles[0].profiles[0].samples[0].stack_index is -1, but stack_table has 762 entries",
        ),
        (
            "bad-stack-index-out-of-range.otlp.gz",
            "profiles[0].samples[0].stack_index is 1000000000, but stack_table has 762 entries",
        ),
        (
            "bad-values-timestamps-length.otlp.gz",
            "samples[0].values has 7 items, but timestamps_unix_nano has 1",
        ),
        (
            "bad-empty-sample.otlp.gz",
            "samples[0].values and timestamps_unix_nano are both empty",
        ),
        (
            "bad-duplicate-attribute-key.otlp.gz",
            "samples[0].attribute_indices[1] has a key that the list had before",
        ),
    ];
    for (name, expected) in cases {
        let bytes = data(name);
        let why = rejection(&bytes);
        assert!(why.contains(expected), "{name}: {why}");
        assert!(why.contains(" at byte "), "{name}: {why}");
        let decoded = read(&bytes);
        assert!(decoded.profiles.is_empty() && !decoded.exact, "{name}");
    }
}

#[test]
fn defects_of_the_request_refuse_it() {
    let cases = [
        ("bad-no-dictionary.otlp.gz", "no dictionary in the request (field 2)"),
        (
            "bad-string0-not-empty.otlp.gz",
            "dictionary.string_table[0] must be empty",
        ),
        (
            "bad-truncated.otlp.gz",
            "a length that reaches past the end of the message at byte",
        ),
    ];
    for (name, expected) in cases {
        let why = problem(&data(name));
        assert!(why.contains(expected), "{name}: {why}");
    }
}

#[test]
fn nothing_at_all_is_fine() {
    assert!(read(b"").profiles.is_empty());
    // a resource without profiles, without a dictionary
    assert!(read(b"\x0a\x00").profiles.is_empty());
}

#[test]
fn limits_hold() {
    let bytes = data("go123-cpu-links.otlp");
    let base = Limits::default();
    let tight = [
        (Limit::Elements, Limits { elements: 500, ..base }),
        (Limit::StackDepth, Limits { stack_depth: 5, ..base }),
        (Limit::Attributes, Limits { attributes: 0, ..base }),
        (
            Limit::String,
            Limits {
                string_bytes: 10,
                ..base
            },
        ),
        (Limit::Depth, Limits { depth: 0, ..base }),
    ];
    for (limit, limits) in tight {
        let error = decode(&bytes, &limits, WireVersion::V1_10).expect_err("more than the limit");
        assert_eq!(error.fault, crate::formats::Fault::TooLarge(limit), "{limits:?}");
    }
}

proptest! {
    #[test]
    fn prop_any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, &Limits::default(), WireVersion::V1_10);
    }

    #[test]
    fn prop_damaged_files_are_answered(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        for name in ["planted-everywhere.otlp", "old-schema-1.9.otlp"] {
            let mut bytes = data(name);
            let position = at.index(bytes.len());
            bytes[position] = byte;
            if let Ok(decoded) = decode(&bytes, &Limits::default(), WireVersion::V1_10) {
                let _ = encode(&decoded.profiles);
            }
            let _ = decode(&bytes[..cut.index(bytes.len())], &Limits::default(), WireVersion::V1_10);
        }
    }
}
