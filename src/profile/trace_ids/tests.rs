use proptest::prelude::*;

use super::*;
use crate::profile::Interner;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const SPAN: &str = "eee19b7ec3c1b174";
/// The same span as a tracer that writes decimal numbers has it, without and with a sign.
const DECIMAL: &str = "17213210219539181940";
const SIGNED: &str = "-1233533854170369676";

fn id<const BYTES: usize>(hex: &str) -> [u8; BYTES] {
    let number = u128::from_str_radix(hex, 16).unwrap().to_be_bytes();
    number[16 - BYTES..].try_into().unwrap()
}

/// A label to read.
#[derive(Clone, Debug)]
enum Label {
    Text(&'static str),
    Number(i64),
    Raw(&'static [u8]),
    Other(bool),
}
use Label::{Number, Other, Raw, Text};

fn said_of(keys: &TraceKeys, labels: &[(&str, Label)]) -> Option<Said> {
    let mut interner = Interner::new();
    let rows: Vec<_> = labels
        .iter()
        .map(|(key, label)| {
            let value = match label {
                Text(text) => Value::String(interner.string(text)),
                Number(number) => Value::Int(*number),
                Raw(bytes) => Value::Bytes((*bytes).into()),
                Other(truth) => Value::Bool(*truth),
            };
            let key = interner.string(key);
            interner.attribute(Attribute {
                key,
                value,
                ..Attribute::default()
            })
        })
        .collect();
    let set = interner.attribute_set(&rows);
    let d = interner.finish();
    TraceIds::new(keys, &d).said(&d, set)
}

fn said(labels: &[(&str, Label)]) -> Option<Said> {
    said_of(TraceKeys::built_in(), labels)
}

/// Dialect, trace, span and what that is the id of.
type Expected = (&'static str, Option<&'static str>, Option<&'static str>, Part);

#[track_caller]
fn check(labels: &[(&str, Label)], (dialect, trace, span, kind): Expected) {
    let keys = TraceKeys::built_in();
    let said = said(labels).expect("some key is known");
    let name = keys.names().nth(said.dialect);
    assert_eq!(
        (name, said.trace, said.span, said.kind, said.flaw),
        (Some(dialect), trace.map(id), span.map(id), kind, None),
        "{labels:?}"
    );
}

#[test]
fn each_dialect_is_read_by_its_keys_and_digits() {
    let whole = |dialect, kind| (dialect, Some(TRACE), Some(SPAN), kind);
    let number = SIGNED.parse::<i64>().unwrap();
    check(
        &[("trace_id", Text(TRACE)), ("span_id", Text(SPAN))],
        whole("otel", Part::Span),
    );
    check(
        &[("span_id", Text("EEE19B7EC3C1B174")), ("trace_id", Text(TRACE))],
        whole("otel", Part::Span),
    );
    check(
        &[("trace_id", Text(TRACE)), ("profile_id", Text(SPAN))],
        whole("otel", Part::Span),
    );
    check(
        &[
            ("trace_id", Text(TRACE)),
            ("profile_id", Text(SPAN)),
            ("span_id", Text(SPAN)),
        ],
        whole("otel", Part::Span),
    );
    check(&[("profile_id", Text(SPAN))], ("otel", None, Some(SPAN), Part::Span));
    check(
        &[("otel.traceid", Text(TRACE))],
        ("parca", Some(TRACE), None, Part::Span),
    );
    check(
        &[("trace.id", Text(TRACE)), ("span.id", Text(SPAN))],
        whole("elastic", Part::Active),
    );
    check(
        &[("trace.id", Text(TRACE)), ("transaction.id", Text(SPAN))],
        whole("elastic", Part::LocalRoot),
    );
    for value in [Text(DECIMAL), Text(SIGNED), Number(number)] {
        check(
            &[("span id", value.clone())],
            ("datadog", None, Some(SPAN), Part::Active),
        );
        check(
            &[("local root span id", value.clone())],
            ("datadog", None, Some(SPAN), Part::LocalRoot),
        );
        check(
            &[("trace id", Text(TRACE)), ("span id", value.clone())],
            whole("datadog", Part::Active),
        );
        // the active span goes first, and one that is zero is none
        let root = ("local root span id", Text("7"));
        check(
            &[("trace id", Text(TRACE)), root.clone(), ("span id", value.clone())],
            whole("datadog", Part::Active),
        );
        let none = ("span id", Number(0));
        check(
            &[("trace id", Text(TRACE)), ("local root span id", value), none],
            whole("datadog", Part::LocalRoot),
        );
    }
    // 64 bits of a trace are a trace with zeros in front, however they are written
    for value in [Text(DECIMAL), Text(SIGNED), Number(number)] {
        check(
            &[("trace id", value)],
            ("datadog", Some("eee19b7ec3c1b174"), None, Part::Span),
        );
    }
    // digits are never guessed: these are sixteen decimal ones to one tracer, and hexadecimal ones to the other
    let digits = "1234567890123456";
    check(
        &[("span id", Text(digits))],
        ("datadog", None, Some("462d53c8abac0"), Part::Active),
    );
    check(&[("span_id", Text(digits))], ("otel", None, Some(digits), Part::Span));
    check(
        &[("trace_id", Raw(&[7; 16])), ("span_id", Raw(&[9; 8]))],
        (
            "otel",
            Some("07070707070707070707070707070707"),
            Some("0909090909090909"),
            Part::Span,
        ),
    );
}

#[test]
fn zeros_are_put_back_only_where_an_agent_loses_them() {
    let short = [
        ("trace_id", Text("b8efff798038103d269b633813fc60c")),
        ("span_id", Text("19b7ec3c1b174")),
    ];
    let whole = (
        "splunk",
        Some("0b8efff798038103d269b633813fc60c"),
        Some("00019b7ec3c1b174"),
        Part::Active,
    );
    for beside in ["source.event.time", "source.event.period"] {
        check(&[&short[..], &[(beside, Number(1_700_000_000_000))]].concat(), whole);
        // whatever comes first
        check(&[&[(beside, Number(1_700_000_000_000))], &short[..]].concat(), whole);
    }
    let said = said(&short).unwrap();
    assert_eq!(
        (said.link(), said.flaw),
        (None, Some(Flaw::Unreadable)),
        "nobody says that zeros are lost"
    );
}

#[test]
fn labels_that_the_ebpf_profiler_passes_on_are_known_as_it_cuts_them() {
    for (key, kind) in [
        ("process.context.label.local root span ", Part::LocalRoot),
        ("process.context.label.local root span", Part::LocalRoot),
        ("process.context.label.local root span id", Part::LocalRoot),
        ("process.context.label.span id", Part::Active),
    ] {
        let trace = ("process.context.label.trace id", Text(TRACE));
        check(
            &[(key, Text(DECIMAL)), trace],
            ("datadog", Some(TRACE), Some(SPAN), kind),
        );
    }
    check(
        &[
            ("process.context.label.trace_id", Text(TRACE)),
            ("process.context.label.span_id", Text(SPAN)),
        ],
        ("otel", Some(TRACE), Some(SPAN), Part::Span),
    );
    check(
        &[("process.context.label.profile_id", Text(SPAN))],
        ("otel", None, Some(SPAN), Part::Span),
    );
    check(
        &[("process.context.label.otel.traceid", Text(TRACE))],
        ("parca", Some(TRACE), None, Part::Span),
    );
    assert_eq!(said(&[("process.context.label.local root", Text(DECIMAL))]), None);
}

#[test]
fn what_is_no_id_is_told_and_never_guessed() {
    for (key, value) in [
        ("trace_id", Text("eee19b7ec3c1b174")),
        ("trace_id", Text("5b8efff798038103d269b633813fc60cee")),
        ("trace_id", Text("5b8efff7-9803-8103-d269-b633813fc60c")),
        ("trace_id", Text("ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPL0")),
        ("trace_id", Number(7)),
        ("trace_id", Other(true)),
        ("trace_id", Raw(&[7; 8])),
        ("span_id", Text("17213210219539181940")),
        ("span_id", Text("0xe19b7ec3c1b174")),
        ("span_id", Text("+ee19b7ec3c1b174")),
        ("span_id", Text("é19b7ec3c1b174")),
        ("span id", Text("eee19b7ec3c1b174")),
        ("span id", Text("18446744073709551616")),
        ("span id", Text("-9223372036854775809")),
        ("span id", Text("+7")),
        ("span id", Text("-")),
        ("span id", Text("- 7")),
        ("span id", Text("7.0")),
        ("trace id", Text("eee19b7ec3c1b174")),
    ] {
        let said = said(&[(key, value.clone())]).unwrap();
        assert_eq!(
            (said.trace, said.span, said.flaw),
            (None, None, Some(Flaw::Unreadable)),
            "{key} {value:?}"
        );
    }
    for zero in [Text(""), Text("0"), Number(0), Text("-0")] {
        let said = said(&[("span id", zero.clone())]).unwrap();
        assert_eq!((said.span, said.flaw), (None, None), "{zero:?}");
    }
    let zeros = [
        ("trace_id", Text("00000000000000000000000000000000")),
        ("span_id", Text("0000000000000000")),
    ];
    let said = said(&zeros).unwrap();
    assert_eq!((said.trace, said.span, said.flaw), (None, None, None));
}

#[test]
fn two_labels_that_differ_are_no_id() {
    let twice = said(&[
        ("trace_id", Text(TRACE)),
        ("span_id", Text(SPAN)),
        ("profile_id", Text("0000000000000007")),
    ]);
    let twice = twice.unwrap();
    assert_eq!((twice.link(), twice.flaw), (None, Some(Flaw::Contradicted)));
}

#[test]
fn ids_of_two_tracers_are_not_put_together() {
    let half = said(&[("otel.traceid", Text(TRACE)), ("span id", Text(DECIMAL))]).unwrap();
    assert_eq!(half.link(), None);
    // of two dialects the one that has a link
    let labels = [
        ("span_id", Text("0000000000000007")),
        ("trace id", Text(TRACE)),
        ("span id", Text(DECIMAL)),
    ];
    check(&labels, ("datadog", Some(TRACE), Some(SPAN), Part::Active));
}

#[test]
fn samples_without_ids_say_nothing() {
    assert_eq!(said(&[]), None);
    assert_eq!(
        said(&[
            ("thread id", Number(7)),
            ("source.event.time", Number(7)),
            ("traceid", Text(TRACE))
        ]),
        None
    );
}

#[test]
fn only_what_a_link_has_is_in_it() {
    let mut interner = Interner::new();
    let labels = [
        ("trace id", TRACE),
        ("span id", DECIMAL),
        ("local root span id", DECIMAL),
        ("thread name", DECIMAL),
    ];
    let rows = labels.map(|(key, text)| interner.text_attribute(key, text));
    let set = interner.attribute_set(&rows);
    let d = interner.finish();
    let ids = TraceIds::new(TraceKeys::built_in(), &d);
    let link = Link {
        trace_id: id(TRACE),
        span_id: id(SPAN),
    };
    let told = |link: &Link, kind| rows.map(|row| ids.is_in_link(&d, set, row, link, kind));
    assert_eq!(
        told(&link, Part::Active),
        [true, true, false, false],
        "that it is the root as well is said nowhere else"
    );
    assert_eq!(told(&link, Part::LocalRoot), [true, true, true, false]);
    let other = Link {
        trace_id: [1; 16],
        span_id: [1; 8],
    };
    assert_eq!(told(&other, Part::LocalRoot), [false; 4]);
}

proptest! {
    #[test]
    fn prop_every_span_is_read_as_it_is_written(span: u64) {
        prop_assume!(span != 0);
        let read = |keys: &'static str, text: String| {
            let mut interner = Interner::new();
            let row = interner.text_attribute(keys, &text);
            let set = interner.attribute_set(&[row]);
            let d = interner.finish();
            TraceIds::new(TraceKeys::built_in(), &d).said(&d, set).unwrap().span
        };
        let bytes = span.to_be_bytes();
        prop_assert_eq!(read("span id", to_decimal(bytes)), Some(bytes));
        prop_assert_eq!(read("span id", (span as i64).to_string()), Some(bytes));
        prop_assert_eq!(read("span_id", to_hex(&bytes)), Some(bytes));
    }

    #[test]
    fn prop_no_text_is_taken_for_an_id_that_is_none(text in ".{0,40}") {
        let mut interner = Interner::new();
        let rows = ["trace_id", "span_id", "span id", "trace id"].map(|key| interner.text_attribute(key, &text));
        let sets = rows.map(|row| interner.attribute_set(&[row]));
        let d = interner.finish();
        let mut ids = TraceIds::new(TraceKeys::built_in(), &d);
        for set in sets {
            let said = ids.said(&d, set).unwrap();
            let is_id = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') && !text.is_empty();
            prop_assert!(is_id || said.trace.is_none() && said.span.is_none());
        }
    }
}
