//! Unary gRPC over the HTTP/2 client: one frame out, one frame and a status back.
//!
//! No compression is offered for the answer, so the server sends it plain.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http::{StatusCode, Uri};

use super::{Answer, Client, ClientError};
use crate::formats::wire::{Field, Reader, WireError};
use crate::pipeline::sink::LONGEST_HINT;

/// Status of a gRPC call, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u16);

impl Code {
    /// Done.
    pub const OK: Self = Self(0);
    /// The caller went away.
    pub const CANCELLED: Self = Self(1);
    /// Anything that has no status of its own.
    pub const UNKNOWN: Self = Self(2);
    /// The server took too long.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// Over a rate, a quota or a size.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// A conflict that may go away.
    pub const ABORTED: Self = Self(10);
    /// Past a range that may grow.
    pub const OUT_OF_RANGE: Self = Self(11);
    /// No such method.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// A bug of the server.
    pub const INTERNAL: Self = Self(13);
    /// Not now.
    pub const UNAVAILABLE: Self = Self(14);
    /// Lost on the way.
    pub const DATA_LOSS: Self = Self(15);
    /// No or wrong credentials.
    pub const UNAUTHENTICATED: Self = Self(16);

    /// The standard name.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "OK",
            1 => "CANCELLED",
            2 => "UNKNOWN",
            3 => "INVALID_ARGUMENT",
            4 => "DEADLINE_EXCEEDED",
            5 => "NOT_FOUND",
            6 => "ALREADY_EXISTS",
            7 => "PERMISSION_DENIED",
            8 => "RESOURCE_EXHAUSTED",
            9 => "FAILED_PRECONDITION",
            10 => "ABORTED",
            11 => "OUT_OF_RANGE",
            12 => "UNIMPLEMENTED",
            13 => "INTERNAL",
            14 => "UNAVAILABLE",
            15 => "DATA_LOSS",
            16 => "UNAUTHENTICATED",
            _ => "a status that does not exist",
        }
    }
}

/// What a gRPC server answered.
#[derive(Debug)]
pub struct GrpcAnswer {
    /// Status of the call.
    pub code: Code,
    /// The message, if the call succeeded.
    pub message: Bytes,
    /// When to come back: `RetryInfo` of the status details. Its mere presence makes RESOURCE_EXHAUSTED retryable.
    pub retry_after: Option<Duration>,
}

/// Puts a message, compressed or not, into the frame that gRPC sends.
pub fn grpc_body(message: &[u8], compressed: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(u8::from(compressed));
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

impl Client {
    /// Calls a unary method. `frame` comes from [`grpc_body`]; `encoding` names its compression.
    pub async fn call(
        &self,
        method: &Uri,
        encoding: Option<&'static str>,
        frame: Bytes,
    ) -> Result<GrpcAnswer, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(encoding) = encoding {
            headers.insert(
                HeaderName::from_static("grpc-encoding"),
                HeaderValue::from_static(encoding),
            );
        }
        Ok(read_answer(self.post(method, headers, frame).await?))
    }
}

fn read_answer(answer: Answer) -> GrpcAnswer {
    // a call that fails at once sends its status in the headers
    let field = |name: &str| answer.trailers.get(name).or_else(|| answer.headers.get(name));
    let code = field("grpc-status")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or_else(|| code_of_http(answer.status), Code);
    let details = field("grpc-status-details-bin").and_then(|value| decode_binary(value.as_bytes()));
    GrpcAnswer {
        code,
        message: first_message(answer.body),
        retry_after: details
            .and_then(|bytes| retry_info(&bytes).ok().flatten())
            .map(|hint| hint.min(LONGEST_HINT)),
    }
}

/// The status of an answer that did not come from a gRPC server, as gRPC's own table has it.
fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::INTERNAL,
        401 => Code::UNAUTHENTICATED,
        403 => Code(7),
        404 => Code::UNIMPLEMENTED,
        429 | 502 | 503 | 504 => Code::UNAVAILABLE,
        _ => Code::UNKNOWN,
    }
}

/// What is no plain frame holds nothing that matters here: only a partial success would be read from it.
fn first_message(mut body: Bytes) -> Bytes {
    match body.first_chunk::<5>() {
        Some([0, a, b, c, d]) => {
            let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let _head = body.split_to(5);
            if len <= body.len() {
                body.split_to(len)
            } else {
                Bytes::new()
            }
        }
        _ => Bytes::new(),
    }
}

fn decode_binary(value: &[u8]) -> Option<Vec<u8>> {
    let value = std::str::from_utf8(value).ok()?;
    STANDARD_NO_PAD.decode(value.trim_end_matches('=')).ok()
}

/// `google.rpc.Status` holds details (3) as `Any` (type_url 1, value 2); `RetryInfo` holds a `Duration` (1).
fn retry_info(status: &[u8]) -> Result<Option<Duration>, WireError> {
    let mut status = Reader::new(status);
    while let Some((number, field)) = status.field()? {
        let (3, Field::Bytes(mut any)) = (number, field) else {
            continue;
        };
        let (mut is_retry, mut value) = (false, None);
        while let Some((number, field)) = any.field()? {
            match (number, field) {
                (1, Field::Bytes(url)) => is_retry = url.bytes().ends_with(b"/google.rpc.RetryInfo"),
                (2, Field::Bytes(bytes)) => value = Some(bytes),
                _ => {}
            }
        }
        if is_retry {
            return delay(value).map(Some);
        }
    }
    Ok(None)
}

fn delay(retry_info: Option<Reader<'_>>) -> Result<Duration, WireError> {
    let (mut seconds, mut nanos) = (0, 0);
    let Some(mut info) = retry_info else {
        return Ok(Duration::ZERO);
    };
    while let Some((number, field)) = info.field()? {
        let (1, Field::Bytes(mut duration)) = (number, field) else {
            continue;
        };
        while let Some(part) = duration.field()? {
            match part {
                (1, Field::Varint(value)) => seconds = value,
                (2, Field::Varint(value)) => nanos = value,
                _ => {}
            }
        }
    }
    // negative ones, which have no meaning, count as 0
    let seconds = i64::try_from(seconds).unwrap_or_default().unsigned_abs();
    let nanos = u32::try_from(nanos).unwrap_or_default().min(999_999_999);
    Ok(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::wire::Writer;

    fn status(seconds: u64) -> Vec<u8> {
        let mut w = Writer::default();
        w.uint(1, 8);
        w.message(3, |any| {
            any.bytes(1, b"type.googleapis.com/google.rpc.RetryInfo");
            any.message(2, |info| info.message(1, |d| d.uint(1, seconds)));
        });
        w.finish()
    }

    #[test]
    fn retry_info_is_found_among_the_details() {
        assert_eq!(retry_info(&status(7)), Ok(Some(Duration::from_secs(7))));
        assert_eq!(
            retry_info(&status(0)),
            Ok(Some(Duration::ZERO)),
            "present is what counts"
        );
        assert_eq!(retry_info(&status(u64::MAX)), Ok(Some(Duration::ZERO)), "negative");
        assert_eq!(retry_info(b""), Ok(None));
        assert!(retry_info(b"\x1a\x7f").is_err());
    }

    #[test]
    fn frames_carry_their_flag_and_length() {
        assert_eq!(&grpc_body(b"abc", true)[..], b"\x01\0\0\0\x03abc");
        assert_eq!(&first_message(grpc_body(b"abc", false))[..], b"abc");
        assert!(first_message(Bytes::from_static(b"\0\0\0\0\x09abc")).is_empty());
        assert!(first_message(Bytes::from_static(b"\0\0")).is_empty());
        assert!(first_message(grpc_body(b"abc", true)).is_empty());
    }

    #[test]
    fn binary_headers_come_padded_or_not() {
        assert_eq!(decode_binary(b"YQ").as_deref(), Some(&b"a"[..]));
        assert_eq!(decode_binary(b"YQ==").as_deref(), Some(&b"a"[..]));
        assert_eq!(decode_binary(b"!"), None);
    }
}
