//! What a client hears when its request is refused: one table for HTTP, one for gRPC.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};

use super::refusals::Reason;
use crate::formats::wire::Writer;
use crate::pipeline::Refusal;

/// Status of a gRPC call, by its number; Connect and `google.rpc.Status` use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcCode {
    /// Wrong bytes.
    InvalidArgument = 3,
    /// No such thing.
    NotFound = 5,
    /// Too large, or too much for now.
    ResourceExhausted = 8,
    /// No such method or encoding.
    Unimplemented = 12,
    /// Not now.
    Unavailable = 14,
    /// No or wrong credentials.
    Unauthenticated = 16,
}

impl GrpcCode {
    /// The code of a refusal.
    pub const fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Invalid(_) => Self::InvalidArgument,
            Refusal::TooLarge { .. } | Refusal::OverRate { .. } => Self::ResourceExhausted,
            Refusal::Unsupported(_) => Self::Unimplemented,
            Refusal::Unauthenticated(_) => Self::Unauthenticated,
            Refusal::Unavailable { .. } => Self::Unavailable,
        }
    }

    /// The name in Connect's errors.
    pub const fn connect_name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unimplemented => "unimplemented",
            Self::Unavailable => "unavailable",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// The HTTP status of a refusal.
pub const fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Refusal::OverRate { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// When the sender may come back; none if it should not.
const fn retry_after(refusal: &Refusal) -> Option<Duration> {
    match refusal {
        Refusal::OverRate { after, .. } | Refusal::Unavailable { after, .. } => Some(*after),
        _ => None,
    }
}

/// A refusal over HTTP, with the body that the dialect of the request has for it.
pub fn http(refusal: &Refusal, media_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = answer(status(refusal), media_type, body);
    response.extensions_mut().insert(Reason(refusal.label()));
    if let Some(after) = retry_after(refusal) {
        // whole seconds, and never 0: that would mean at once
        let seconds = after.as_millis().div_ceil(1_000).max(1);
        response
            .headers_mut()
            .insert(RETRY_AFTER, text_value(&seconds.to_string()));
    }
    response
}

/// A refusal over HTTP as a `google.rpc.Status`.
pub fn http_protobuf(refusal: &Refusal) -> Response {
    http(refusal, "application/x-protobuf", rpc_status(refusal))
}

/// The same as JSON.
pub fn http_json(refusal: &Refusal) -> Response {
    let status = serde_json::json!({ "code": GrpcCode::of(refusal) as i32, "message": refusal.to_string() });
    http(refusal, "application/json", status.to_string())
}

/// A refusal over HTTP in plain words.
pub fn http_text(refusal: &Refusal) -> Response {
    http(refusal, "text/plain; charset=utf-8", format!("{refusal}\n"))
}

/// An answer with a body.
pub fn answer(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A refusal over gRPC: a status in the headers, without a body.
pub fn grpc(refusal: &Refusal) -> Response {
    let mut response = grpc_status(GrpcCode::of(refusal), &refusal.to_string());
    response.extensions_mut().insert(Reason(refusal.label()));
    if retry_after(refusal).is_some() {
        let details = STANDARD_NO_PAD.encode(rpc_status(refusal));
        let name = HeaderName::from_static("grpc-status-details-bin");
        response.headers_mut().insert(name, text_value(&details));
    }
    response
}

/// A gRPC status in the headers, without a body.
pub fn grpc_status(code: GrpcCode, message: &str) -> Response {
    let mut response = answer(StatusCode::OK, "application/grpc", Bytes::new());
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(code as u16));
    headers.insert("grpc-message", text_value(&percent_encode(message)));
    response
}

/// `google.rpc.Status` (code 1, message 2, details 3) with `RetryInfo` (delay 1) where the sender may come back.
pub fn rpc_status(refusal: &Refusal) -> Vec<u8> {
    let mut w = Writer::default();
    w.uint(1, GrpcCode::of(refusal) as u64);
    w.bytes(2, refusal.to_string().as_bytes());
    if let Some(after) = retry_after(refusal) {
        w.message(3, |any| {
            any.bytes(1, b"type.googleapis.com/google.rpc.RetryInfo");
            any.message(2, |info| {
                info.message(1, |delay| {
                    delay.uint(1, after.as_secs());
                    delay.uint(2, u64::from(after.subsec_nanos()));
                });
            });
        });
    }
    w.finish()
}

/// gRPC's encoding of messages: printable ASCII without `%` stays.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Only for text that we made of printable ASCII.
fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Limit;

    const SOON: Duration = Duration::from_millis(1_500);

    fn full() -> Refusal {
        Refusal::Unavailable {
            why: "full",
            after: SOON,
        }
    }

    fn over_rate() -> Refusal {
        Refusal::OverRate {
            why: "too fast",
            after: SOON,
        }
    }

    fn every_refusal() -> [(Refusal, u16, &'static str, Option<&'static str>); 6] {
        let text = || "why".to_owned();
        [
            (Refusal::Invalid(text()), 400, "3", None),
            (Refusal::too_large(Limit::Body, text()), 413, "8", None),
            (Refusal::Unsupported(text()), 415, "12", None),
            (Refusal::Unauthenticated(text()), 401, "16", None),
            (over_rate(), 429, "8", Some("2")),
            (full(), 503, "14", Some("2")),
        ]
    }

    #[test]
    fn every_refusal_has_its_status_and_says_whether_to_come_back() {
        for (refusal, status, code, seconds) in every_refusal() {
            let response = http_text(&refusal);
            assert_eq!(response.status().as_u16(), status);
            let header = response.headers().get(RETRY_AFTER);
            assert_eq!(header.map(|value| value.to_str().unwrap()), seconds);

            let response = grpc(&refusal);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], code);
            assert_eq!(
                response.headers().contains_key("grpc-status-details-bin"),
                seconds.is_some()
            );
        }
    }

    #[test]
    fn retry_info_is_what_clients_parse() {
        let bytes = rpc_status(&full());
        // Status{code: 14, message: 4 bytes, details: Any{url: 40 bytes, RetryInfo{Duration{1 s, 500_000_000 ns}}}}
        assert_eq!(bytes[..2], [0x08, 14]);
        assert!(memchr::memmem::find(&bytes, b"type.googleapis.com/google.rpc.RetryInfo").is_some());
        assert!(bytes.ends_with(&[0x12, 0x0a, 0x0a, 0x08, 0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01]));
    }

    #[test]
    fn messages_become_header_values() {
        assert_eq!(percent_encode("100% of ä\n"), "100%25 of %C3%A4%0A");
    }
}
