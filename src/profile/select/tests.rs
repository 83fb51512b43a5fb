use proptest::prelude::*;

use std::sync::Arc;

use super::*;
use crate::profile::testing::{Told, any_profiles, tell};
use crate::profile::{Attribute, Id, Interner, LinkId, Observations};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const SPAN: &str = "eee19b7ec3c1b174";
/// The same span, and the second half of the same trace, as Datadog writes them.
const SPAN_NUMBER: &str = "17213210219539181940";
const TRACE_NUMBER: &str = "15161849952847513100";

/// A profile with one sample for each set of labels: the number of the sample is its value.
fn labelled(samples: &[&[(&str, &str)]]) -> Profiles {
    let mut interner = Interner::new();
    let mut columns = Samples::default();
    for labels in samples {
        let label = |(key, value): &(&str, &str)| {
            let (key, value) = (interner.string(key), Value::String(interner.string(value)));
            interner.attribute(Attribute {
                key,
                value,
                unit: Id::UNSET,
            })
        };
        let set: Vec<_> = labels.iter().map(label).collect();
        columns.attributes.push(interner.attribute_set(&set));
        columns.links.push(LinkId::UNSET);
        columns.stacks.push(Id::UNSET);
    }
    columns.observations = Observations::Totals((0..samples.len() as i64).collect());
    let profile = Profile {
        sample_types: vec![Default::default()],
        samples: Arc::new(columns),
        ..Profile::default()
    };
    Profiles::of(interner.finish(), vec![profile])
}

/// The values of the samples that are found.
fn found(profiles: &Profiles, wanted: &Wanted) -> Vec<i64> {
    let part = profiles.select(wanted);
    let samples = part.iter().map(|at| &at.profile.samples);
    samples
        .flat_map(|samples| (0..samples.len()).map(|row| samples.total(row, 0, 1)))
        .collect()
}

#[test]
fn ids_are_found_in_the_labels_of_every_dialect() {
    let profiles = labelled(&[
        &[("trace_id", TRACE), ("span_id", SPAN)],
        &[("trace id", TRACE_NUMBER), ("span id", SPAN_NUMBER)],
        &[("span id", "77"), ("local root span id", SPAN_NUMBER)],
        &[("otel.traceid", TRACE), ("span id", SPAN_NUMBER)],
        &[("process.context.label.local root span ", SPAN_NUMBER)],
        &[("trace_id", "5b8e"), ("span_id", SPAN_NUMBER), ("note", TRACE)],
        &[("span_id", "0000000000000000"), ("trace id", "0")],
    ]);
    let (trace, end) = (Wanted::trace(TRACE).unwrap(), Wanted::trace(TRACE_NUMBER).unwrap());
    assert_eq!(found(&profiles, &trace), [0, 3]);
    assert_eq!(found(&profiles, &end), [0, 1, 3], "a decimal number is the second half");
    for span in [SPAN, SPAN_NUMBER, "-1233533854170369676"] {
        assert_eq!(
            found(&profiles, &Wanted::span(span).unwrap()),
            [0, 1, 2, 3, 4],
            "{span}"
        );
    }
    assert_eq!(found(&profiles, &Wanted::span("77").unwrap()), [2]);
}

#[test]
fn routes_and_names_are_found_by_their_keys_and_whole() {
    let profiles = labelled(&[
        &[("http.route", "/a/{id}")],
        &[("trace endpoint", "/a/{id}"), ("span.name", "GET")],
        &[("http.route", "/a/{id}/b")],
        &[("span_name", "GET"), ("other", "/a/{id}")],
    ]);
    assert_eq!(found(&profiles, &Wanted::Route("/a/{id}".to_owned())), [0, 1]);
    assert_eq!(found(&profiles, &Wanted::SpanName("GET".to_owned())), [1, 3]);
    assert!(profiles.select(&Wanted::Route(String::new())).is_empty());
}

#[test]
fn what_is_no_id_is_refused() {
    let long = "1".repeat(33);
    for wrong in [
        "",
        "5b8e",
        &TRACE[1..],
        &long,
        &"0".repeat(32),
        "0",
        &format!("+{}", &TRACE[1..]),
    ] {
        assert_eq!(Wanted::trace(wrong), Err(NotAnId::Trace), "{wrong}");
    }
    for wrong in [
        "",
        &SPAN[1..],
        TRACE,
        "0000000000000000",
        "18446744073709551616",
        "00000000000000000000000000000001",
        "+ee19b7ec3c1b174",
    ] {
        assert_eq!(Wanted::span(wrong), Err(NotAnId::Span), "{wrong}");
    }
    // sixteen digits are hexadecimal, and a zero in front makes a decimal number of them
    assert_eq!(
        Wanted::span("1234567890123456"),
        Ok(Wanted::Span(0x1234_5678_9012_3456))
    );
    assert_eq!(
        Wanted::span("01234567890123456"),
        Ok(Wanted::Span(1_234_567_890_123_456))
    );
}

#[test]
fn nothing_of_the_other_samples_is_left() {
    let mut profiles = labelled(&[&[("http.route", "/a")], &[("http.route", "/b"), ("secret", "planted")]]);
    let (d, resources) = profiles.edit();
    let format = d.strings.push("pprof");
    resources[0].scopes[0].profiles[0].original_payload = Some(crate::profile::OriginalPayload {
        format,
        bytes: bytes::Bytes::from_static(b"planted"),
    });
    let part = profiles.select(&Wanted::Route("/a".to_owned()));
    let profile = part.iter().next().unwrap().profile;
    assert!(profile.original_payload.is_none());
    let strings = &part.dictionary().strings;
    assert!(
        strings
            .ids()
            .all(|id| !strings[id].contains("planted") && &strings[id] != "/b")
    );
}

proptest! {
    #[test]
    fn prop_the_samples_of_a_trace_are_those_with_its_link_and_stay_as_they_are(profiles in any_profiles(), n in 1u8..3) {
        let id = u128::from_be_bytes([n; 16]);
        let part = profiles.select(&Wanted::Trace(id));
        let link = format!("{:?}", Link { trace_id: [n; 16], span_id: [n; 8] });
        let mut expected: Told = tell(&profiles);
        expected.retain(|(_, sample), _| sample.ends_with(&link));
        prop_assert_eq!(tell(&part), expected);
        let mut again = part.clone();
        again.edit();
        prop_assert!(!again.compact(), "it is compact");
        prop_assert_eq!(tell(&part.select(&Wanted::Span(u64::from_be_bytes([n; 8])))), tell(&part));
    }
}
