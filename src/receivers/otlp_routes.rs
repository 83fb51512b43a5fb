//! OTLP profiles and traces over HTTP and gRPC, as routes that any receiver may mount: Pyroscope takes profiles on its own port
//! too. Where no pipeline is fed with what a route takes, it is as if it were not there.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use super::door::{self, Door};
use crate::formats::any::decode_as_within;
use crate::formats::compress::{ContentEncoding, Inflation};
use crate::formats::otlp::{self, Traces, WireVersion};
use crate::formats::{Format, Limits};
use crate::net::body::Whole;
use crate::net::reply::GrpcCode;
use crate::net::{grpc, reply};
use crate::pipeline::outlet::{Arrival, Content};
use crate::pipeline::{Origin, Permit, Receipt, Received, Refusal, Signal};

/// Path of the HTTP route.
pub(super) const HTTP_PATH: &str = "/v1development/profiles";
/// Path of the gRPC method.
pub(super) const GRPC_PATH: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
/// Path of the HTTP route of traces.
pub(super) const TRACES_HTTP_PATH: &str = "/v1/traces";
/// Path of the gRPC method of traces.
pub(super) const TRACES_GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The door, and what is behind it.
#[derive(Clone)]
struct Intake {
    door: Door,
    kind: Kind,
}

/// What a route takes.
#[derive(Clone, Copy)]
enum Kind {
    /// Profiles, and the version taken for granted where the bytes leave a choice.
    Profiles(WireVersion),
    /// Spans.
    Traces,
}

/// The HTTP route.
pub(super) fn http(door: Door, assumed: WireVersion) -> Router {
    let kind = Kind::Profiles(assumed);
    Router::new()
        .route(HTTP_PATH, post(http_export).fallback(other_method))
        .with_state(Intake { door, kind })
}

/// The gRPC method.
pub(super) fn grpc(door: Door, assumed: WireVersion) -> Router {
    let kind = Kind::Profiles(assumed);
    Router::new()
        .route(GRPC_PATH, post(grpc_export))
        .with_state(Intake { door, kind })
}

/// The HTTP route of traces.
pub(super) fn traces_http(door: Door) -> Router {
    let kind = Kind::Traces;
    Router::new()
        .route(TRACES_HTTP_PATH, post(http_export).fallback(other_method))
        .with_state(Intake { door, kind })
}

/// The gRPC method of traces.
pub(super) fn traces_grpc(door: Door) -> Router {
    let kind = Kind::Traces;
    Router::new()
        .route(TRACES_GRPC_PATH, post(grpc_export))
        .with_state(Intake { door, kind })
}

/// The answer where nothing is served: it says where things go.
pub(super) async fn elsewhere(request: Request) -> Response {
    let path = request.uri().path();
    if grpc::is_grpc(request.headers()) {
        let why = match path {
            GRPC_PATH => format!("OTLP over gRPC is not served on this port; send profiles by POST to {HTTP_PATH}"),
            TRACES_GRPC_PATH => {
                "no traces over gRPC on this port; `otlp` takes them where a pipeline `traces` names it".to_owned()
            }
            _ if path.starts_with("/opentelemetry.proto.collector.profiles.") => VERSIONS.to_owned(),
            _ => format!("no such method; this port takes profiles: {GRPC_PATH}"),
        };
        return reply::grpc_status(GrpcCode::Unimplemented, &why);
    }
    let why = match path {
        "/v1/metrics" | "/v1/logs" => {
            format!("only profiles are taken here, by POST to {HTTP_PATH}; send other signals to a Collector")
        }
        _ if path.starts_with("/v1experimental/") => VERSIONS.to_owned(),
        HTTP_PATH | TRACES_HTTP_PATH => "OTLP over HTTP is not served on this port; it takes gRPC".to_owned(),
        _ => format!("nothing is served here; POST OTLP profiles to {HTTP_PATH}"),
    };
    reply::answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", format!("{why}\n"))
}

const VERSIONS: &str = "this version of OTLP profiles is not read; send v1development, OTLP 1.7 to 1.11";

/// A path that is not fed is not there by any method.
async fn other_method(State(intake): State<Intake>) -> Response {
    match intake.is_fed() {
        true => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        false => intake.unfed(),
    }
}

async fn http_export(State(intake): State<Intake>, request: Request) -> Response {
    if !intake.is_fed() {
        return intake.unfed();
    }
    let (parts, body) = request.into_parts();
    let format = match door::media_type(&parts.headers).as_str() {
        PROTOBUF | "application/protobuf" => Format::Otlp,
        JSON => Format::OtlpJson,
        _ => {
            let why = format!("content-type: send {PROTOBUF} or {JSON}");
            return reply::http_text(&intake.door.refused(Refusal::Unsupported(why)));
        }
    };
    match intake.http(&parts, body, format).await {
        Ok(receipt) => intake.kind.http_receipt(&receipt, format),
        Err(refusal) => http_refusal(&refusal, format),
    }
}

async fn grpc_export(State(intake): State<Intake>, request: Request) -> Response {
    if !grpc::is_grpc(request.headers()) {
        return elsewhere(request).await;
    }
    if !intake.is_fed() {
        return reply::grpc_status(GrpcCode::Unimplemented, &intake.kind.unfed());
    }
    let (parts, body) = request.into_parts();
    match intake.grpc(&parts, body).await {
        Ok(receipt) => grpc::ok(&otlp::response(rejected(&receipt), &receipt.message)),
        Err(refusal) => reply::grpc(&refusal),
    }
}

impl Intake {
    fn is_fed(&self) -> bool {
        self.door.outlet().feeds(self.kind.signal())
    }

    /// The answer where nothing is.
    fn unfed(&self) -> Response {
        let why = format!("{}\n", self.kind.unfed());
        reply::answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", why)
    }

    async fn http(&self, parts: &Parts, body: Body, format: Format) -> Result<Receipt, Refusal> {
        let door = &self.door;
        let encodings = door.checked(door::encodings(&parts.headers))?;
        let arriving = self.arriving(parts, format)?;
        let Whole { bytes: sent, permit } = door.read(&parts.headers, body, 0).await?;
        let decode = move |sent| {
            let plain = Inflation::within(&arriving.limits, &permit).inflate_all(&encodings, sent)?;
            arriving.decode(plain, permit)
        };
        door.outlet().receive_body(sent, decode).await
    }

    async fn grpc(&self, parts: &Parts, body: Body) -> Result<Receipt, Refusal> {
        let door = &self.door;
        let encodings = door.checked(grpc_encodings(parts))?;
        let arriving = self.arriving(parts, Format::Otlp)?;
        let Whole { bytes: sent, permit } = door.read(&parts.headers, body, grpc::FRAME_HEAD).await?;
        let decode = move |sent| {
            let mut inflation = Inflation::within(&arriving.limits, &permit);
            let plain = open_frame(&encodings, sent, &mut inflation)?;
            arriving.decode(plain, permit)
        };
        door.outlet().receive_body(sent, decode).await
    }

    fn arriving(&self, parts: &Parts, format: Format) -> Result<Arriving, Refusal> {
        Ok(Arriving {
            format,
            kind: self.kind,
            limits: self.door.limits(),
            origin: self.door.origin(parts)?,
        })
    }
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
    inflation: &mut Inflation<'_>,
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

impl Kind {
    const fn signal(self) -> Signal {
        match self {
            Self::Profiles(_) => Signal::Profiles,
            Self::Traces => Signal::Traces,
        }
    }

    /// What a sender hears that no pipeline is for.
    fn unfed(self) -> String {
        match self {
            Self::Profiles(_) => "only traces are taken here: no pipeline `profiles` names this receiver".to_owned(),
            Self::Traces => format!(
                "only profiles are taken here, at {HTTP_PATH} or {GRPC_PATH}: no pipeline `traces` names this receiver; add \
                 one, or send traces to a Collector"
            ),
        }
    }

    fn http_receipt(self, receipt: &Receipt, format: Format) -> Response {
        let (number, message) = (rejected(receipt), receipt.message.as_str());
        let name = match self {
            Self::Profiles(_) => "rejectedProfiles",
            Self::Traces => "rejectedSpans",
        };
        match format {
            Format::OtlpJson => reply::answer(StatusCode::OK, JSON, otlp::response_json(name, number, message)),
            _ => reply::answer(StatusCode::OK, PROTOBUF, otlp::response(number, message)),
        }
    }
}

/// A request of which all is known but what it brings.
struct Arriving {
    format: Format,
    kind: Kind,
    limits: Limits,
    origin: Arc<Origin>,
}

impl Arriving {
    fn decode(self, bytes: Bytes, permit: Permit) -> Result<Vec<Arrival>, Refusal> {
        permit.set(bytes.len())?;
        let (limits, room) = (&self.limits, &permit);
        let content = match (self.kind, self.format) {
            (Kind::Profiles(assumed), Format::Otlp) => {
                Content::Profiles(otlp::decode_within(&bytes, limits, assumed, room)?)
            }
            (Kind::Profiles(_), format) => Content::Profiles(decode_as_within(format, &bytes, limits, room)?),
            (Kind::Traces, Format::OtlpJson) => Content::Traces(Traces::from_json(&bytes, limits, room)?),
            (Kind::Traces, _) => Content::Traces(Traces::new(bytes.clone(), limits)?),
        };
        let received = Received {
            format: self.format,
            bytes,
        };
        Ok(vec![Arrival {
            content,
            received,
            origin: self.origin,
            permit,
        }])
    }
}

/// `google.rpc.Status` in the encoding of the request, as OTLP asks.
fn http_refusal(refusal: &Refusal, format: Format) -> Response {
    match format {
        Format::OtlpJson => reply::http_json(refusal),
        _ => reply::http_protobuf(refusal),
    }
}

fn rejected(receipt: &Receipt) -> i64 {
    i64::try_from(receipt.rejected).unwrap_or(i64::MAX)
}
