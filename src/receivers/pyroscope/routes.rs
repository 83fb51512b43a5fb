//! The routes of a Pyroscope server that take profiles, and the answers that its clients know.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use super::ingest::Ingest;
use super::push;
use crate::formats::compress::Inflation;
use crate::formats::multipart;
use crate::formats::otlp::WireVersion;
use crate::formats::{Decoded, Format, Limits};
use crate::net::body::Whole;
use crate::net::{grpc, reply};
use crate::pipeline::outlet::{Arrival, Content};
use crate::pipeline::{Origin, Permit, Receipt, Received, Refusal};
use crate::receivers::door::{Door, encodings, media_type};
use crate::receivers::otlp_routes;
use crate::receivers::window;

/// Path of the push API, for Connect and gRPC alike.
pub(super) const PUSH_PATH: &str = "/push.v1.PusherService/Push";

const JSON: &str = "application/json";

/// Every route.
pub(super) fn router(door: Door) -> Router {
    Router::new()
        .route("/ingest", post(ingest))
        .route("/pyroscope/ingest", post(ingest))
        .route(PUSH_PATH, post(push))
        .route("/", get(hello))
        .with_state(door.clone())
        .merge(otlp_routes::http(door.clone(), WireVersion::default()))
        .merge(otlp_routes::grpc(door, WireVersion::default()))
        .fallback(elsewhere)
        .method_not_allowed_fallback(otherwise)
}

/// For whoever opens the address of the server in a browser: Pyroscope has its pages there.
async fn hello() -> String {
    let about = "This is Flamegate, which takes profiles and sends them on; there is no page to look at.";
    format!("{about}\n{}\n", ways_in())
}

/// The answer where nothing is served: it says where profiles go.
async fn elsewhere(request: Request) -> Response {
    if request.method() == Method::POST {
        return otlp_routes::elsewhere(request).await;
    }
    in_words(StatusCode::NOT_FOUND, "Nothing is served here.")
}

/// The answer where something is served by another method.
async fn otherwise() -> Response {
    let mut response = in_words(StatusCode::METHOD_NOT_ALLOWED, "This takes POST.");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

fn in_words(status: StatusCode, why: &str) -> Response {
    reply::answer(status, "text/plain; charset=utf-8", format!("{why} {}\n", ways_in()))
}

fn ways_in() -> String {
    format!(
        "SDKs need no more than this address. By hand: POST a pprof to /ingest?name=APP&format=pprof, a push to \
         {PUSH_PATH}, OTLP to {}.",
        otlp_routes::HTTP_PATH
    )
}

/// Connect's shape of an error, which `/ingest` has too.
fn refuse(refusal: &Refusal) -> Response {
    let code = reply::GrpcCode::of(refusal).connect_name();
    let error = serde_json::json!({ "code": code, "message": refusal.to_string() });
    reply::http(refusal, JSON, error.to_string())
}

async fn ingest(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match take_ingest(&door, &parts, body).await {
        Ok(_) => Response::default(),
        Err(refusal) => refuse(&refusal),
    }
}

async fn take_ingest(door: &Door, parts: &Parts, body: Body) -> Result<Receipt, Refusal> {
    let origin = door.origin(parts)?;
    let encodings = door.checked(encodings(&parts.headers))?;
    let query = parts.uri.query().unwrap_or_default();
    let media_type = media_type(&parts.headers);
    let ingest = door.checked(Ingest::parse(query, &media_type, origin.arrived))?;
    let ingest = ingest.reading(door.jfr());
    let boundary = content_type(parts).and_then(multipart::boundary);
    let Whole { bytes: sent, permit } = door.read(&parts.headers, body, 0).await?;
    let limits = door.limits();
    let decode = move |sent| {
        let mut inflation = Inflation::within(&limits, &permit);
        let body = inflation.inflate_all(&encodings, sent)?;
        hold(&permit, body.len())?;
        let (decoded, format, bytes) = ingest.decode(body, boundary.as_deref(), &mut inflation, &limits, &permit)?;
        let received = Received { format, bytes };
        Ok(vec![Arrival {
            content: Content::Profiles(decoded),
            received,
            origin,
            permit,
        }])
    };
    door.outlet().receive_body(sent, decode).await
}

fn content_type(parts: &Parts) -> Option<&str> {
    parts.headers.get(CONTENT_TYPE)?.to_str().ok()
}

fn hold(permit: &Permit, bytes: usize) -> Result<(), Refusal> {
    Ok(permit.set(bytes)?)
}

/// How a push is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    Protobuf,
    Json,
    Grpc,
}

async fn push(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let codec = match media_type(&parts.headers).as_str() {
        _ if grpc::is_grpc(&parts.headers) => Codec::Grpc,
        "application/proto" | "application/protobuf" | "application/x-protobuf" => Codec::Protobuf,
        JSON => Codec::Json,
        _ => {
            let why = "content-type: send application/proto, application/json or application/grpc";
            return refuse(&door.refused(Refusal::Unsupported(why.to_owned())));
        }
    };
    match (take_push(&door, &parts, body, codec).await, codec) {
        (Ok(_), Codec::Protobuf) => reply::answer(StatusCode::OK, "application/proto", Bytes::new()),
        (Ok(_), Codec::Json) => reply::answer(StatusCode::OK, JSON, "{}"),
        (Ok(_), Codec::Grpc) => grpc::ok(&[]),
        (Err(refusal), Codec::Grpc) => reply::grpc(&refusal),
        (Err(refusal), _) => refuse(&refusal),
    }
}

async fn take_push(door: &Door, parts: &Parts, body: Body, codec: Codec) -> Result<Receipt, Refusal> {
    let origin = door.origin(parts)?;
    let (encodings, around) = match codec {
        Codec::Grpc => (otlp_routes::grpc_encodings(parts), grpc::FRAME_HEAD),
        _ => (encodings(&parts.headers), 0),
    };
    let encodings = door.checked(encodings)?;
    let Whole { bytes: sent, permit } = door.read(&parts.headers, body, around).await?;
    let limits = door.limits();
    let decode = move |sent| {
        let mut inflation = Inflation::within(&limits, &permit);
        let body = match codec {
            Codec::Grpc => otlp_routes::open_frame(&encodings, sent, &mut inflation)?,
            _ => inflation.inflate_all(&encodings, sent)?,
        };
        hold(&permit, body.len())?;
        let pushed = match codec {
            Codec::Json => push::parse_json(&body, &limits, &permit)?,
            _ => push::parse_protobuf(&body, &limits, &permit)?,
        };
        arrivals(pushed, &mut inflation, &limits, &origin, &permit)
    };
    door.outlet().receive_body(sent, decode).await
}

/// Each profile becomes an arrival of its own; the defective ones become one that holds nothing but their number.
fn arrivals(
    pushed: Vec<push::Pushed>,
    inflation: &mut Inflation<'_>,
    limits: &Limits,
    origin: &Arc<Origin>,
    permit: &Permit,
) -> Result<Vec<Arrival>, Refusal> {
    let arrival = |decoded, bytes| Arrival {
        content: Content::Profiles(decoded),
        received: Received {
            format: Format::Pprof,
            bytes,
        },
        origin: origin.clone(),
        permit: permit.clone(),
    };
    let mut arrivals = Vec::with_capacity(pushed.len());
    let mut defective = Decoded::default();
    for one in pushed {
        let before = permit.bytes();
        let held = match one.decode(inflation, limits, permit)? {
            Ok((mut decoded, plain)) => {
                window::date(&mut decoded.profiles, origin.arrived);
                let held = plain.len() + decoded.profiles.heap_bytes();
                arrivals.push(arrival(decoded, plain));
                held
            }
            Err(why) => {
                defective.rejected.add(why);
                0
            }
        };
        permit.set(before + held)?;
    }
    if defective.rejected.profiles > 0 {
        arrivals.push(arrival(defective, Bytes::new()));
    }
    Ok(arrivals)
}
