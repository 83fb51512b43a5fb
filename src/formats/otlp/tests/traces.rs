//! Requests of spans against prost, cut, concatenated, damaged, and in JSON.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::formats::otlp::spans::{Span, SpanKind, Status, Value};
use crate::formats::wire::Writer;
use crate::formats::{Fault, Format, Limit};
use crate::testing::traces::{ExportTraceServiceRequest, request as trace_request};

fn traces(request: &ExportTraceServiceRequest) -> Traces {
    Traces::new(request.encode_to_vec().into(), &Limits::default()).unwrap()
}

fn by_prost(traces: &Traces) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(traces.bytes().clone()).unwrap()
}

fn refused(bytes: &[u8]) -> DecodeError {
    Traces::new(bytes.to_vec().into(), &Limits::default()).unwrap_err()
}

#[test]
fn every_span_is_read_as_prost_reads_it() {
    let request = trace_request(3, 4);
    let traces = traces(&request);
    assert_eq!((traces.count(), traces.resources().count()), (12, 3));
    for (read, by_prost) in traces.resources().zip(&request.resource_spans) {
        let service = by_prost.resource.as_ref().unwrap().attributes[0].value.clone();
        let Some(Value::Text(name)) = read.attribute("service.name") else {
            panic!("a service has a name")
        };
        let expected = service.unwrap().value.unwrap();
        assert_eq!(expected, any_text(name));
        let spans: Vec<Span<'_>> = read.spans().collect();
        assert_eq!(spans.len(), 4);
        for (span, by_prost) in spans.iter().zip(&by_prost.scope_spans[0].spans) {
            assert_eq!(span.trace_id[..], by_prost.trace_id);
            assert_eq!(span.span_id[..], by_prost.span_id);
            let parent = if by_prost.parent_span_id.is_empty() {
                &[0; 8][..]
            } else {
                &by_prost.parent_span_id
            };
            assert_eq!(&span.parent_span_id[..], parent);
            assert_eq!(span.trace_state, by_prost.trace_state.as_bytes());
            assert_eq!(span.name, by_prost.name.as_bytes());
            assert_eq!((span.kind, span.status), (SpanKind::Server, Status::Error));
            assert_eq!(
                (span.start, span.end),
                (by_prost.start_time_unix_nano, by_prost.end_time_unix_nano)
            );
            assert_eq!(span.flags, by_prost.flags);
            assert_eq!(span.attribute("http.route"), Some(Value::Text(b"/orders/{id}")));
            assert_eq!(span.attribute("http.response.status_code"), Some(Value::Int(-7)));
            assert_eq!(span.attribute("retried"), Some(Value::Bool(true)));
            assert_eq!(span.attribute("ratio"), Some(Value::Double(0.25)));
            assert_eq!(span.attribute("digest"), Some(Value::Bytes(&[0, 255])));
            assert_eq!(span.attribute("list"), Some(Value::Nested));
            assert_eq!(span.attribute("absent"), None);
            assert_eq!(span.attributes().count(), by_prost.attributes.len());
        }
    }
}

fn any_text(text: &[u8]) -> opentelemetry_proto::tonic::common::v1::any_value::Value {
    let text = String::from_utf8(text.to_vec()).unwrap();
    opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text)
}

#[test]
fn json_says_the_same_both_ways() {
    let request = trace_request(2, 3);
    let json = traces(&request).to_json(usize::MAX).unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let span = &parsed["resourceSpans"][1]["scopeSpans"][0]["spans"][2];
    assert_eq!(span["traceId"], "03".repeat(16));
    assert_eq!((&span["kind"], &span["flags"]), (&2.into(), &0x101.into()));
    assert_eq!(span["startTimeUnixNano"], "1700000000000000002");
    let again = Traces::from_json(&json, &Limits::default(), &Unlimited).unwrap();
    assert_eq!(again.count(), 6);
    assert_eq!(by_prost(&again), request);
    let too_small = traces(&request).to_json(json.len() - 1).unwrap_err();
    assert!(too_small.is_too_large);
}

#[test]
fn json_may_name_what_is_numbered_and_what_nobody_knows() {
    let text = br#"{"resource_spans":[{"scopeSpans":[{"spans":[
        {"traceId":"","kind":"SPAN_KIND_CLIENT","status":{"code":"STATUS_CODE_ERROR"},"new":[1],"flags":"3"}]}]}]}"#;
    let traces = Traces::from_json(text, &Limits::default(), &Unlimited).unwrap();
    let span = traces.resources().next().unwrap().spans().next().unwrap();
    assert_eq!(
        (span.kind, span.status, span.flags),
        (SpanKind::Client, Status::Error, 3)
    );
    for (wrong, offset) in [
        (
            &br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_PLANTED"}]}]}]}"#[..],
            true,
        ),
        (
            br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"flags":4294967296}]}]}]}"#,
            true,
        ),
        (
            br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"0102"}]}]}]}"#,
            false,
        ),
        (br#"{"resourceSpans":["#, true),
        (b"{\"resourceSpans\":\xff[]}", true),
    ] {
        let error = Traces::from_json(wrong, &Limits::default(), &Unlimited).unwrap_err();
        assert_eq!(
            (error.format, error.fault),
            (Format::OtlpJson, Fault::Malformed),
            "{error}"
        );
        assert_eq!(error.offset.is_some(), offset, "{error}");
        assert!(!error.to_string().contains("PLANTED"), "{error}");
    }
}

#[test]
fn a_field_sent_in_pieces_is_whole_in_json() {
    // the spans of a scope around its schema, and the schema twice, as messages look that were merged
    let mut request = Writer::default();
    request.message(1, |resource| {
        resource.message(2, |scope| {
            scope.message(2, |span| span.bytes(5, b"a"));
            scope.bytes(3, b"first");
            scope.message(2, |span| span.bytes(5, b"b"));
            scope.bytes(3, b"last");
        });
    });
    let traces = Traces::new(request.finish().into(), &Limits::default()).unwrap();
    let text = String::from_utf8(traces.to_json(usize::MAX).unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"},{"name":"b"}],"schemaUrl":"last"}]}]}"#
    );
}

#[test]
fn what_is_not_written_as_its_kind_is_unknown_to_json() {
    let mut request = Writer::default();
    request.message(1, |resource| {
        resource.message(1, |of| {
            of.uint(1, 7);
            of.message(1, |attribute| {
                attribute.bytes(1, b"key");
                attribute.message(2, |value| value.bytes_always(2, b""));
            });
            of.bytes_always(2, b"");
        });
    });
    let traces = Traces::new(request.finish().into(), &Limits::default()).unwrap();
    let text = String::from_utf8(traces.to_json(usize::MAX).unwrap()).unwrap();
    let expected = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"key","value":{}}]}}]}"#;
    assert_eq!(text, expected);
}

#[test]
fn what_is_no_span_is_refused_with_its_place() {
    let with_span = |write: &dyn Fn(&mut Writer)| {
        let mut request = Writer::default();
        request.message(1, |resource| {
            resource.message(2, |scope| scope.message(2, |span| write(span)))
        });
        request.finish()
    };
    let wrong: [&dyn Fn(&mut Writer); 8] = [
        &|span| span.bytes(1, &[1; 15]),
        &|span| span.bytes(2, &[1; 9]),
        &|span| span.bytes(4, &[1; 1]),
        &|span| span.uint(5, 1),
        &|span| span.bytes(6, b"x"),
        &|span| span.uint(7, 1),
        &|span| span.uint(15, 1),
        &|span| span.uint(16, 1),
    ];
    for (at, write) in wrong.into_iter().enumerate() {
        let error = refused(&with_span(write));
        assert_eq!(error.fault, Fault::Malformed, "{at}: {error}");
        assert!(
            error.offset.is_some() && error.to_string().starts_with("otlp: spans: "),
            "{error}"
        );
    }
    assert!(Traces::new(with_span(&|span| span.bytes(99, b"new")).into(), &Limits::default()).is_ok());
    for number in [1, 2, 3] {
        let mut resource = Writer::default();
        resource.message(1, |resource| resource.uint(number, 1));
        assert_eq!(refused(&resource.finish()).offset, Some(4));
        let mut scope = Writer::default();
        scope.message(1, |resource| resource.message(2, |scope| scope.uint(number, 1)));
        assert_eq!(refused(&scope.finish()).offset, Some(6));
    }
    assert_eq!(refused(b"\x08\x01").offset, Some(2));
    let few = Limits {
        elements: 5,
        ..Limits::default()
    };
    let request = trace_request(2, 3).encode_to_vec();
    let error = Traces::new(request.into(), &few).unwrap_err();
    assert_eq!(error.fault, Fault::TooLarge(Limit::Elements));
}

#[test]
fn halves_are_cut_between_resources_and_are_the_bytes_of_the_whole() {
    let whole = traces(&trace_request(5, 3));
    let [first, second] = whole.halves().unwrap();
    assert_eq!((first.count(), second.count()), (6, 9));
    assert_eq!([&first.bytes()[..], &second.bytes()[..]].concat(), whole.bytes()[..]);
    assert_eq!(first.bytes().as_ptr(), whole.bytes().as_ptr(), "nothing is copied");
    let again = Traces::concatenated([&first, &second].into_iter());
    assert_eq!(again, whole);
    assert_eq!(traces(&trace_request(1, 9)).halves(), None);
    assert_eq!(traces(&trace_request(0, 0)).halves(), None);
    let mut uneven = trace_request(2, 1);
    uneven.resource_spans[0].schema_url = "x".repeat(10_000);
    let [large, small] = traces(&uneven).halves().unwrap();
    assert_eq!((large.count(), small.count()), (1, 1));
}

#[test]
fn one_resource_is_cut_between_its_spans_and_stands_in_both_halves() {
    let mut expected = trace_request(1, 20);
    let whole = traces(&expected);
    assert_eq!(whole.halves(), None);
    let parts = whole.halves_of_resource().unwrap();
    assert_eq!(parts.each_ref().map(Traces::count), [10, 10]);
    let [first, second] = parts.each_ref().map(by_prost);
    let spans = |request: &ExportTraceServiceRequest| request.resource_spans[0].scope_spans[0].spans.clone();
    assert_eq!([spans(&first), spans(&second)].concat(), spans(&expected));
    for part in [first, second] {
        expected.resource_spans[0].scope_spans[0].spans = spans(&part);
        assert_eq!(part, expected, "all that stands beside the spans is there");
    }
    let mut scopes = trace_request(1, 9);
    let again = scopes.resource_spans[0].scope_spans[0].clone();
    scopes.resource_spans[0].scope_spans.push(again);
    assert_eq!(
        traces(&scopes).halves_of_resource().unwrap().map(|half| half.count()),
        [9, 9]
    );
}

#[test]
fn a_resource_that_is_most_of_a_request_is_not_sent_again_and_again() {
    let mut large = trace_request(1, 20);
    large.resource_spans[0].schema_url = "x".repeat(100_000);
    assert_eq!(traces(&large).halves_of_resource(), None);
    assert_eq!(traces(&trace_request(1, 1)).halves_of_resource(), None);
    assert_eq!(traces(&trace_request(1, 0)).halves_of_resource(), None);
}

proptest! {
    #[test]
    fn prop_cut_again_and_again_every_span_is_there_once(resources in 1..4_u8, spans in 1..40_u8) {
        let mut waiting = vec![traces(&trace_request(resources, spans))];
        let mut names = Vec::new();
        while let Some(next) = waiting.pop() {
            match next.halves().or_else(|| next.halves_of_resource()) {
                Some([first, second]) => {
                    prop_assert_eq!(first.count() + second.count(), next.count());
                    waiting.extend([second, first]);
                }
                None => names.extend(next.resources().flat_map(|resource| resource.spans()).map(|span| span.name.to_vec())),
            }
        }
        let expected = (0..resources).flat_map(|_| (0..spans).map(|n| format!("GET /orders/{n}").into_bytes()));
        prop_assert_eq!(names, expected.collect::<Vec<_>>());
    }

    #[test]
    fn prop_cut_anywhere_it_is_refused_or_whole(resources in 1..4_u8, spans in 0..4_u8, cut in 0.0..1.0_f64) {
        let bytes = trace_request(resources, spans).encode_to_vec();
        let cut = (bytes.len() as f64 * cut) as usize;
        match Traces::new(bytes[..cut].to_vec().into(), &Limits::default()) {
            Ok(traces) => prop_assert!(ExportTraceServiceRequest::decode(traces.bytes().clone()).is_ok()),
            Err(error) => prop_assert!(error.offset.is_some_and(|offset| offset <= cut)),
        }
    }

    #[test]
    fn prop_no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), damage in any::<(u8, u8)>()) {
        let mut request = trace_request(2, 2).encode_to_vec();
        let at = usize::from(damage.0) * request.len() / 256;
        request[at] = damage.1;
        for bytes in [bytes, request] {
            let Ok(traces) = Traces::new(bytes.clone().into(), &Limits::default()) else { continue };
            let spans = traces.resources().flat_map(|resource| resource.spans());
            let found = spans.inspect(|span| {
                span.attributes().for_each(drop);
            });
            prop_assert_eq!(found.count() as u64, traces.count());
            prop_assert!(traces.resources().flat_map(|resource| resource.attributes()).count() < 300);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&traces.to_json(usize::MAX).unwrap()).is_ok());
            if let Some([first, second]) = traces.halves() {
                prop_assert_eq!(first.count() + second.count(), traces.count());
            }
        }
    }
}
