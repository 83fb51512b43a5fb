//! OTLP profiles over HTTP and gRPC, as routes that any receiver may mount: Pyroscope takes them on its own port too.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use super::door::{self, Door};
use crate::formats::any::decode_as;
use crate::formats::compress::{ContentEncoding, Inflation};
use crate::formats::wire::Writer;
use crate::formats::{Format, Limits};
use crate::net::body::no_memory;
use crate::net::reply::GrpcCode;
use crate::net::{grpc, reply};
use crate::pipeline::outlet::Arrival;
use crate::pipeline::{Origin, Permit, Receipt, Received, Refusal};

/// Path of the HTTP route.
pub(super) const HTTP_PATH: &str = "/v1development/profiles";
/// Path of the gRPC method.
pub(super) const GRPC_PATH: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The HTTP route.
pub(super) fn http(door: Door) -> Router {
    Router::new().route(HTTP_PATH, post(http_export)).with_state(door)
}

/// The gRPC method.
pub(super) fn grpc(door: Door) -> Router {
    Router::new().route(GRPC_PATH, post(grpc_export)).with_state(door)
}

/// The answer where nothing is served: it says where profiles go.
pub(super) async fn elsewhere(request: Request) -> Response {
    let path = request.uri().path();
    if grpc::is_grpc(request.headers()) {
        let why = match path {
            _ if path.starts_with("/opentelemetry.proto.collector.profiles.") => VERSIONS.to_owned(),
            GRPC_PATH => format!("OTLP over gRPC is not served on this port; send profiles by POST to {HTTP_PATH}"),
            _ => format!("no such method; this port takes profiles: {GRPC_PATH}"),
        };
        return reply::grpc_status(GrpcCode::Unimplemented, &why);
    }
    let why = match path {
        "/v1/traces" | "/v1/metrics" | "/v1/logs" => {
            format!("only profiles are taken here, by POST to {HTTP_PATH}; send other signals to a Collector")
        }
        _ if path.starts_with("/v1experimental/") => VERSIONS.to_owned(),
        HTTP_PATH => "OTLP over HTTP is not served on this port; it takes gRPC".to_owned(),
        _ => format!("nothing is served here; POST OTLP profiles to {HTTP_PATH}"),
    };
    reply::answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", format!("{why}\n"))
}

const VERSIONS: &str = "this version of OTLP profiles is not read; send v1development, OTLP 1.7 to 1.11";

async fn http_export(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let format = match door::media_type(&parts.headers).as_str() {
        PROTOBUF | "application/protobuf" => Format::Otlp,
        JSON => Format::OtlpJson,
        _ => {
            let why = format!("content-type: send {PROTOBUF} or {JSON}");
            return reply::http_text(&door.refused(Refusal::Unsupported(why)));
        }
    };
    match http_body(&door, &parts, body, format).await {
        Ok(receipt) => http_receipt(&receipt, format),
        Err(refusal) => http_refusal(&refusal, format),
    }
}

async fn grpc_export(State(door): State<Door>, request: Request) -> Response {
    if !grpc::is_grpc(request.headers()) {
        return elsewhere(request).await;
    }
    let (parts, body) = request.into_parts();
    match grpc_body(&door, &parts, body).await {
        Ok(receipt) => grpc::ok(&protobuf_receipt(&receipt)),
        Err(refusal) => reply::grpc(&refusal),
    }
}

async fn http_body(door: &Door, parts: &Parts, body: Body, format: Format) -> Result<Receipt, Refusal> {
    let encodings = door.checked(door::encodings(&parts.headers))?;
    let origin = door.origin(parts)?;
    let whole = door.read(&parts.headers, body, 0).await?;
    let limits = door.limits();
    let decode = move || {
        let plain = Inflation::new(&limits).inflate_all(&encodings, whole.bytes)?;
        arrival(format, plain, &limits, origin, whole.permit)
    };
    door.outlet().receive(decode).await
}

async fn grpc_body(door: &Door, parts: &Parts, body: Body) -> Result<Receipt, Refusal> {
    let encodings = door.checked(grpc_encodings(parts))?;
    let origin = door.origin(parts)?;
    let whole = door.read(&parts.headers, body, grpc::FRAME_HEAD).await?;
    let limits = door.limits();
    let decode = move || {
        let plain = open_frame(&encodings, whole.bytes, &mut Inflation::new(&limits))?;
        arrival(Format::Otlp, plain, &limits, origin, whole.permit)
    };
    door.outlet().receive(decode).await
}

/// The compression of the messages of a gRPC request.
pub(super) fn grpc_encodings(parts: &Parts) -> Result<Vec<ContentEncoding>, Refusal> {
    ContentEncoding::parse_list(grpc::encoding(&parts.headers))
        .map_err(|_| Refusal::Unsupported("grpc-encoding: not spoken here; use gzip, zstd or identity".to_owned()))
}

/// The message of a unary gRPC request, decompressed.
pub(super) fn open_frame(
    encodings: &[ContentEncoding],
    body: Bytes,
    inflation: &mut Inflation,
) -> Result<Bytes, Refusal> {
    let message = grpc::unframe(body)?;
    match (message.compressed, encodings) {
        (false, _) => Ok(message.bytes),
        (true, []) => {
            let why = "grpc: the message is compressed, but no grpc-encoding says how";
            Err(Refusal::Invalid(why.to_owned()))
        }
        (true, encodings) => Ok(inflation.inflate_all(encodings, message.bytes)?),
    }
}

fn arrival(
    format: Format,
    bytes: Bytes,
    limits: &Limits,
    origin: Arc<Origin>,
    permit: Permit,
) -> Result<Vec<Arrival>, Refusal> {
    permit.set(bytes.len()).map_err(|_| no_memory())?;
    let decoded = decode_as(format, &bytes, limits)?;
    let received = Received { format, bytes };
    Ok(vec![Arrival {
        decoded,
        received,
        origin,
        permit,
    }])
}

fn http_receipt(receipt: &Receipt, format: Format) -> Response {
    match format {
        Format::OtlpJson => reply::answer(StatusCode::OK, JSON, json_receipt(receipt)),
        _ => reply::answer(StatusCode::OK, PROTOBUF, protobuf_receipt(receipt)),
    }
}

/// `google.rpc.Status` in the encoding of the request, as OTLP asks.
fn http_refusal(refusal: &Refusal, format: Format) -> Response {
    match format {
        Format::OtlpJson => {
            let status = serde_json::json!({ "code": GrpcCode::of(refusal) as i32, "message": refusal.to_string() });
            reply::http(refusal, JSON, status.to_string())
        }
        _ => reply::http(refusal, PROTOBUF, reply::rpc_status(refusal)),
    }
}

/// `ExportProfilesServiceResponse`: `partial_success` (1) of `rejected_profiles` (1) and `error_message` (2).
fn protobuf_receipt(receipt: &Receipt) -> Vec<u8> {
    let mut w = Writer::default();
    if *receipt != Receipt::default() {
        w.message(1, |partial| {
            partial.uint(1, receipt.rejected);
            partial.bytes(2, receipt.message.as_bytes());
        });
    }
    w.finish()
}

fn json_receipt(receipt: &Receipt) -> String {
    if *receipt == Receipt::default() {
        return "{}".to_owned();
    }
    let partial = serde_json::json!({
        "rejectedProfiles": receipt.rejected.to_string(),
        "errorMessage": receipt.message,
    });
    serde_json::json!({ "partialSuccess": partial }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_said_only_when_there_is_one() {
        let whole = Receipt::default();
        assert!(protobuf_receipt(&whole).is_empty());
        assert_eq!(json_receipt(&whole), "{}");
        let part = Receipt {
            rejected: 2,
            message: "no".to_owned(),
        };
        assert_eq!(protobuf_receipt(&part), b"\x0a\x06\x08\x02\x12\x02no");
        let json = r#"{"partialSuccess":{"errorMessage":"no","rejectedProfiles":"2"}}"#;
        assert_eq!(json_receipt(&part), json);
    }
}
