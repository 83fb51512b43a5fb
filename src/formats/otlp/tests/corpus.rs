//! Real files have the totals that an independent reader found.

use super::*;

#[test]
fn siblings_are_one_profile_with_the_totals_of_their_pprof() {
    let cases: [(&str, &[(&str, i128)]); 4] = [
        ("go123-cpu-links.otlp", &[("samples", 785), ("cpu", 7_850_000_000)]),
        (
            "node20-wall-cpu-links.otlp",
            &[("sample", 822), ("wall", 5_902_398_000), ("cpu", 2_191_548_158)],
        ),
        (
            "otlp/go123-large-cpu-links.otlp.gz",
            &[("samples", 4_887), ("cpu", 48_870_000_000)],
        ),
        (
            "otlp/go123-large-heap.otlp.gz",
            &[
                ("alloc_objects", 50_803_328),
                ("alloc_space", 4_423_711_548),
                ("inuse_objects", 2_636_753),
                ("inuse_space", 158_040_658),
            ],
        ),
    ];
    for (name, expected) in cases {
        let bytes = match name.contains('/') {
            true => match testing::corpus_file(name) {
                Some(bytes) => unwrapped(bytes),
                None => continue,
            },
            false => data(name),
        };
        let decoded = read(&bytes);
        assert_eq!(sums(&decoded.profiles), expected, "{name}");
        // the order came from an attribute, which is gone
        let scope = &decoded.profiles.resources()[0].scopes[0];
        assert!(scope.attributes.is_empty(), "{name}");
        let again = read(&encode(&decoded.profiles));
        assert_eq!(sums(&again.profiles), expected, "{name}");
    }
}

/// The one profile's types with their sums.
fn sums(profiles: &Profiles) -> Vec<(&str, i128)> {
    assert_eq!(profiles.profile_count(), 1);
    let profile = profiles.iter().next().unwrap().profile;
    let types = profile.sample_types.len();
    let name = |column: usize| profiles.dictionary().str(profile.sample_types[column].kind);
    (0..types)
        .map(|column| (name(column), profile.samples.sum(column, types)))
        .collect()
}

#[test]
fn pass_through_needs_every_string_in_use() {
    for (name, is_exact) in [
        ("ap-cpu.jfrconv.otlp", true),
        ("node20-wall-cpu-links.otlp", true),
        // its two orphaned mappings name strings, which redaction sees there
        ("go123-cpu-links.otlp", true),
        ("ap-cpu-native.otlp", false),
        ("planted-everywhere.otlp", false),
    ] {
        assert_eq!(read(&data(name)).exact, is_exact, "{name}");
    }
}
