//! Unary gRPC on the server's side: one frame in, one frame and a status out.
//!
//! The frame is taken apart here and not by a gRPC library, so that a message is read under the memory budget like every
//! other body, is decompressed on the compute pool, and reaches its decoder as the bytes that were sent.

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};

use crate::pipeline::Refusal;

/// Bytes of a frame before its message: the flag for compression, and the length.
pub const FRAME_HEAD: usize = 5;

/// The message of a unary request.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether it is compressed, with what the header `grpc-encoding` says.
    pub compressed: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// Whether a request is gRPC. gRPC-Web, which looks alike, is not.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match media_type.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest, [] | [b'+' | b';', ..]),
        None => false,
    }
}

/// The compression of a request's messages; empty for none.
pub fn encoding(headers: &HeaderMap) -> &str {
    let value = headers.get("grpc-encoding");
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Takes the message out of the body of a unary request.
pub fn unframe(mut body: Bytes) -> Result<Message, Refusal> {
    let invalid = |why: &str| Err(Refusal::Invalid(format!("grpc: {why}")));
    let Some([flag, a, b, c, d]) = body.first_chunk::<FRAME_HEAD>().copied() else {
        return invalid("the body holds no message");
    };
    if flag > 1 {
        return invalid("the compression flag of the message is neither 0 nor 1");
    }
    let _head = body.split_to(FRAME_HEAD);
    if u32::from_be_bytes([a, b, c, d]) as usize != body.len() {
        return invalid("the length of the message is not that of the body; send one message in one request");
    }
    Ok(Message {
        compressed: flag == 1,
        bytes: body,
    })
}

/// The answer to a call that went well.
pub fn ok(message: &[u8]) -> Response {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    let trailers = async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Some(Ok(trailers))
    };
    let mut response = Response::new(Body::new(Full::new(frame.freeze()).with_trailers(trailers)));
    let media_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_is_one_message() {
        let message = unframe(Bytes::from_static(b"\x01\0\0\0\x03abc")).unwrap();
        assert_eq!((message.compressed, &message.bytes[..]), (true, &b"abc"[..]));
        assert!(unframe(Bytes::from_static(b"\0\0\0\0\0")).unwrap().bytes.is_empty());
        for wrong in [
            &b""[..],
            b"\0\0\0\0",
            b"\x02\0\0\0\0",
            b"\0\0\0\0\x02a",
            b"\0\0\0\0\x01ab",
            b"\0\xff\xff\xff\xffa",
        ] {
            assert!(unframe(Bytes::from_static(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn grpc_is_told_by_its_media_type() {
        let with = |media_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            is_grpc(&headers)
        };
        assert!(with("application/grpc") && with("application/grpc+proto") && with("application/grpc;x=y"));
        assert!(!with("application/grpc-web") && !with("application/proto") && !is_grpc(&HeaderMap::new()));
    }
}
