//! Attributes set on spans, against prost: nothing else is changed, and most bytes are those that came.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::formats::otlp::span_edit::{NewValue, Setting, There};
use crate::formats::otlp::spans::{ResourceSpans, Span, Value};
use crate::formats::wire::Writer;
use crate::testing::traces::{ExportTraceServiceRequest, Span as SpanOfProst, request as trace_request};

fn traces(request: Vec<u8>) -> Traces {
    Traces::new(request.into(), &Limits::default()).unwrap()
}

fn by_prost(traces: &Traces) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(traces.bytes().clone()).unwrap()
}

fn id(text: &str) -> Setting {
    Setting {
        key: "profile.id",
        value: NewValue::Text(text.to_owned()),
        there: There::Stays,
    }
}

fn count(number: i64) -> Setting {
    Setting {
        key: "samples",
        value: NewValue::Int(number),
        there: There::GivesWay,
    }
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn service(resource: ResourceSpans<'_>) -> Vec<u8> {
    match resource.attribute("service.name") {
        Some(Value::Text(name)) => name.to_vec(),
        _ => Vec::new(),
    }
}

/// Sets all of it on every span.
fn on_all(traces: &Traces, settings: &[Setting]) -> Option<Traces> {
    traces.with_attributes(|_| (), |(), _, chosen| chosen.extend_from_slice(settings))
}

fn spans_of(request: &mut ExportTraceServiceRequest) -> impl Iterator<Item = &mut SpanOfProst> {
    let scopes = request.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans)
}

/// The bytes of each resource, keys and all.
fn resources(mut request: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !request.is_empty() {
        let mut rest = request;
        let (tag, wire_type) = prost::encoding::decode_key(&mut rest).unwrap();
        let cx = prost::encoding::DecodeContext::default();
        prost::encoding::skip_field(wire_type, tag, &mut rest, cx).unwrap();
        let (first, behind) = request.split_at(request.len() - rest.len());
        all.push(first);
        request = behind;
    }
    all
}

#[test]
fn an_attribute_stands_behind_all_that_the_span_has() {
    let before = traces(trace_request(2, 3).encode_to_vec());
    let choose = |of: &Vec<u8>, span: &Span<'_>, chosen: &mut Vec<Setting>| {
        if of == b"shop-1" && span.span_id == [2; 8] {
            chosen.extend([id("0202"), count(7)]);
        }
    };
    let after = before.with_attributes(service, choose).unwrap();
    assert_eq!(after.count(), 6);
    let mut expected = by_prost(&before);
    let span = &mut expected.resource_spans[1].scope_spans[0].spans[1];
    span.attributes
        .push(attribute("profile.id", Any::StringValue("0202".to_owned())));
    span.attributes.push(attribute("samples", Any::IntValue(7)));
    let written: usize = span.attributes[6..].iter().map(Message::encoded_len).sum();
    assert_eq!(by_prost(&after), expected);
    let added = after.bytes().len() - before.bytes().len();
    assert_eq!(
        added,
        written + 4,
        "two keys, two lengths, and no length around them grew"
    );
    assert_eq!(resources(before.bytes())[0], resources(after.bytes())[0]);
}

#[test]
fn what_is_there_stays_or_gives_way() {
    let before = traces(trace_request(1, 1).encode_to_vec());
    let once = on_all(&before, &[id("a"), count(1)]).unwrap();
    assert_eq!(on_all(&once, &[id("a"), count(1)]), None, "the same again is no change");
    assert_eq!(on_all(&once, &[id("b")]), None, "somebody else's stays");
    let again = on_all(&once, &[id("b"), count(2)]).unwrap();
    assert_eq!(again, on_all(&before, &[id("a"), count(2)]).unwrap());
    // one of ours that was written twice, and one that is no number
    let mut odd = trace_request(1, 1);
    let ours = [Any::IntValue(2), Any::IntValue(2), Any::StringValue("2".to_owned())];
    for (some, value) in [(0..2, 2), (2..3, 2), (0..1, 3)] {
        let span = spans_of(&mut odd).next().unwrap();
        span.attributes.truncate(6);
        span.attributes
            .extend(ours[some].iter().map(|value| attribute("samples", value.clone())));
        let mended = by_prost(&on_all(&traces(odd.encode_to_vec()), &[count(value)]).unwrap());
        let span = spans_of(&mut odd).next().unwrap();
        span.attributes.truncate(6);
        span.attributes.push(attribute("samples", Any::IntValue(value)));
        assert_eq!(mended, odd);
    }
}

#[test]
fn nothing_chosen_is_no_new_request() {
    for request in [trace_request(0, 0), trace_request(2, 0), trace_request(2, 2)] {
        assert_eq!(on_all(&traces(request.encode_to_vec()), &[]), None);
    }
    assert_eq!(
        on_all(&traces(trace_request(3, 0).encode_to_vec()), &[count(1)]),
        None,
        "no span is there"
    );
}

/// Fields out of order, sent twice, unknown, empty, with numbers longer than they need be.
#[test]
fn bytes_that_no_writer_of_ours_writes_stay_as_they_are() {
    let mut span = Writer::default();
    span.uint_always(99, 1);
    span.bytes(5, b"first name");
    span.raw(&[0x30, 0x82, 0x80, 0x00]); // kind 2, padded
    span.bytes_always(2, &[]);
    span.bytes(2, &[7; 8]);
    span.bytes(5, b"last name");
    span.message(9, |_| {}); // an attribute without anything
    span.bytes(9, &[0xff, 0xff]); // and one that is no message at all
    let span = span.finish();
    let around = |span: &[u8]| {
        let mut request = Writer::default();
        request.uint_always(50, 3);
        request.message(1, |_| {});
        request.message(1, |resource| {
            resource.bytes(3, b"schema");
            resource.message(2, |scope| {
                scope.message(2, |empty| empty.bytes(2, &[1; 8]));
                scope.bytes(77, b"unknown");
                scope.bytes_always(2, span);
                scope.bytes(3, b"schema");
                scope.message(2, |_| {});
            });
            resource.message(1, |_| {});
            resource.message(2, |_| {});
        });
        request.bytes(60, b"unknown");
        request.finish()
    };
    let choose = |(): &(), span: &Span<'_>, chosen: &mut Vec<Setting>| {
        if span.span_id == [7; 8] {
            chosen.push(count(5));
        }
    };
    let before = traces(around(&span));
    assert_eq!(before.count(), 3);
    let after = before.with_attributes(|_| (), choose).unwrap();
    let mut stamped = span;
    stamped.extend_from_slice(b"\x4a\x0d\x0a\x07samples\x12\x02\x18\x05");
    assert_eq!(after.bytes()[..], around(&stamped)[..]);
}

#[test]
fn lengths_that_need_another_byte_get_it() {
    for name in (0..300).chain(16_200..16_400) {
        let mut request = trace_request(1, 1);
        spans_of(&mut request).for_each(|span| span.name = "n".repeat(name));
        let after = on_all(&traces(request.encode_to_vec()), &[id("1")]).unwrap();
        spans_of(&mut request).for_each(|span| {
            span.attributes
                .push(attribute("profile.id", Any::StringValue("1".to_owned())));
        });
        assert_eq!(by_prost(&after), request, "{name}");
    }
}

proptest! {
    #[test]
    fn prop_nothing_is_changed_but_what_was_chosen(
        size in (0..4_u8, 0..6_u8), chosen in proptest::collection::btree_set((0..4_u8, 0..6_u8), 0..8), number: i64,
    ) {
        let before = traces(trace_request(size.0, size.1).encode_to_vec());
        let is_chosen = |service: &[u8], span_id: u8| {
            chosen.iter().any(|(resource, span)| service == format!("shop-{resource}").as_bytes() && span_id == span + 1)
        };
        let choose = |of: &Vec<u8>, span: &Span<'_>, settings: &mut Vec<Setting>| {
            if is_chosen(of, span.span_id[0]) {
                settings.extend([count(number), id("x")]);
            }
        };
        let after = before.with_attributes(service, choose);
        let mut expected = by_prost(&before);
        let (mut touched, mut stamped) = (BTreeSet::new(), 0);
        for (at, resource) in expected.resource_spans.iter_mut().enumerate() {
            for span in resource.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
                if is_chosen(format!("shop-{at}").as_bytes(), span.span_id[0]) {
                    span.attributes.push(attribute("samples", Any::IntValue(number)));
                    span.attributes.push(attribute("profile.id", Any::StringValue("x".to_owned())));
                    touched.insert(at);
                    stamped += 1;
                }
            }
        }
        prop_assert_eq!(after.is_none(), stamped == 0);
        let after = after.unwrap_or_else(|| before.clone());
        prop_assert_eq!(by_prost(&after), expected);
        prop_assert_eq!(after.count(), before.count());
        let pairs = resources(before.bytes()).into_iter().zip(resources(after.bytes()));
        for (at, (was, is)) in pairs.enumerate() {
            prop_assert_eq!(was == is, !touched.contains(&at));
        }
    }

    #[test]
    fn prop_damaged_requests_lose_nothing(damage in proptest::collection::vec((0.0..1.0_f64, any::<u8>()), 0..4), cut in 0.5..1.0_f64) {
        let mut bytes = trace_request(2, 3).encode_to_vec();
        bytes.truncate((bytes.len() as f64 * cut.max(0.9)) as usize);
        for (place, byte) in damage {
            let at = (bytes.len() as f64 * place) as usize;
            bytes[at] = byte;
        }
        let Ok(before) = Traces::new(bytes.into(), &Limits::default()) else { return Ok(()) };
        let Some(after) = on_all(&before, &[count(3)]) else {
            prop_assert_eq!(before.count(), 0);
            return Ok(());
        };
        // it still is a request, of as many spans, each with the count and all that it had
        let checked = Traces::new(after.bytes().clone(), &Limits::default()).unwrap();
        prop_assert_eq!(checked.count(), before.count());
        let spans = |traces: &Traces| -> Vec<_> {
            let all = traces.resources().flat_map(|resource| resource.spans());
            all.map(|span| (span.trace_id, span.span_id, span.name.to_vec(), span.flags, span.attributes().count())).collect()
        };
        for (was, is) in spans(&before).into_iter().zip(spans(&after)) {
            prop_assert_eq!((was.0, was.1, was.2, was.3, was.4 + 1), is);
        }
        let counts = after.resources().flat_map(|resource| resource.spans()).map(|span| span.attribute("samples") == Some(Value::Int(3)));
        prop_assert!(counts.into_iter().all(|is_counted| is_counted));
    }
}
