//! `grpc.health.v1.Health/Check`: what load balancers and Kubernetes ask a gRPC server. It tells readiness and nothing else.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use http_body_util::{BodyExt, Limited};

use crate::formats::wire::{Field, Reader, Writer};
use crate::net::grpc;
use crate::net::reply::{self, GrpcCode};
use crate::pipeline::Outlet;

const PATH: &str = "/grpc.health.v1.Health/Check";
/// The one service that can be asked for by name.
const SERVICE: &[u8] = b"opentelemetry.proto.collector.profiles.v1development.ProfilesService";
/// Longest question.
const BYTES: usize = 4 << 10;
/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// `ServingStatus`.
const SERVING: u64 = 1;
const NOT_SERVING: u64 = 2;

/// The method.
pub(super) fn router(out: Outlet) -> Router {
    Router::new().route(PATH, post(check)).with_state(out)
}

async fn check(State(out): State<Outlet>, request: Request) -> Response {
    let Some(service) = asked(request.into_body()).await else {
        return reply::grpc_status(GrpcCode::InvalidArgument, "grpc: not a question of the health protocol");
    };
    if !service.is_empty() && service != SERVICE {
        return reply::grpc_status(GrpcCode::NotFound, "no such service here");
    }
    let mut answer = Writer::default();
    answer.uint(1, if out.is_ready() { SERVING } else { NOT_SERVING });
    grpc::ok(&answer.finish())
}

/// `HealthCheckRequest.service` (1); none if the body is something else.
async fn asked(body: Body) -> Option<Vec<u8>> {
    let whole = tokio::time::timeout(PATIENCE, Limited::new(body, BYTES).collect()).await;
    let body = whole.ok()?.ok()?.to_bytes();
    let message = grpc::unframe(body).ok().filter(|message| !message.compressed)?;
    let (mut reader, mut service) = (Reader::new(&message.bytes), Vec::new());
    while let Some(field) = reader.field().ok()? {
        if let (1, Field::Bytes(name)) = field {
            service = name.bytes().to_vec();
        }
    }
    Some(service)
}
