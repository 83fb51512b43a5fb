//! Messages of opentelemetry-proto's `trace.proto` and `trace_service.proto`, for tests to hold our own reader against. The crate
//! `opentelemetry-proto` has them behind a feature that brings a whole SDK.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    pub dropped_attributes_count: u32,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    #[prost(uint32, tag = "12")]
    pub dropped_events_count: u32,
    #[prost(message, repeated, tag = "13")]
    pub links: Vec<Link>,
    #[prost(uint32, tag = "14")]
    pub dropped_links_count: u32,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Event {
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "4")]
    pub dropped_attributes_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Link {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub trace_state: String,
    #[prost(message, repeated, tag = "4")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "5")]
    pub dropped_attributes_count: u32,
    #[prost(fixed32, tag = "6")]
    pub flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// A request of so many resources of so many spans each, with everything in it that a span may have.
pub fn request(resources: u8, spans: u8) -> ExportTraceServiceRequest {
    let resource = |n: u8| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", Value::StringValue(format!("shop-{n}")))],
            dropped_attributes_count: 5,
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "tests".to_owned(),
                ..InstrumentationScope::default()
            }),
            spans: (0..spans).map(span).collect(),
            schema_url: "https://example.com/scope".to_owned(),
        }],
        schema_url: "https://example.com/resource".to_owned(),
    };
    ExportTraceServiceRequest {
        resource_spans: (0..resources).map(resource).collect(),
    }
}

fn span(n: u8) -> Span {
    Span {
        trace_id: vec![n + 1; 16],
        span_id: vec![n + 1; 8],
        trace_state: "vendor=1".to_owned(),
        parent_span_id: if n == 0 { Vec::new() } else { vec![n; 8] },
        name: format!("GET /orders/{n}"),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + u64::from(n),
        end_time_unix_nano: 1_700_000_000_500_000_000 + u64::from(n),
        attributes: vec![
            attribute("http.route", Value::StringValue("/orders/{id}".to_owned())),
            attribute("http.response.status_code", Value::IntValue(-7)),
            attribute("retried", Value::BoolValue(true)),
            attribute("ratio", Value::DoubleValue(0.25)),
            attribute("digest", Value::BytesValue(vec![0, 255])),
            attribute("list", Value::ArrayValue(ArrayValue::default())),
        ],
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 5,
            name: "exception".to_owned(),
            attributes: vec![attribute("exception.type", Value::StringValue("IOError".to_owned()))],
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![9; 16],
            span_id: vec![9; 8],
            flags: 7,
            ..Link::default()
        }],
        dropped_links_count: 4,
        status: Some(Status {
            message: "no".to_owned(),
            code: 2,
        }),
        flags: 0x101,
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
