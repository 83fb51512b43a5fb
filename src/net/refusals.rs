//! What the log says of requests that are refused: a line a minute for each reason, and in it nothing that a sender wrote.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http::{Method, StatusCode};

use super::server::Peer;
use crate::telemetry::SeldomEach;

/// At most one line of a reason in so long a time.
const EVERY: Duration = Duration::from_secs(60);

/// Why a request was refused, as an extension of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason(pub &'static str);

/// The same routes, whose refusals the log tells.
pub fn tell_refusals(router: Router, receiver: Arc<str>) -> Router {
    let refusals = Arc::new(SeldomEach::every(EVERY));
    router.layer(from_fn(move |request: Request, next: Next| {
        let (receiver, refusals) = (receiver.clone(), refusals.clone());
        async move { watched(&receiver, &refusals, request, next).await }
    }))
}

async fn watched(receiver: &str, refusals: &SeldomEach, request: Request, next: Next) -> Response {
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let response = next.run(request).await;
    if let Some(reason) = reason(&response)
        && let Some(requests) = refusals.happened(reason, 1)
    {
        let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_canonical().to_string());
        let status = response.status().as_u16();
        tracing::warn!(receiver, method, route, status, reason, peer, requests, "refused");
    }
    response
}

/// A method may be any word that a sender likes.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Why an answer is a refusal; none if it is not.
fn reason(response: &Response) -> Option<&'static str> {
    let refused = response.status().is_client_error()
        || response.status().is_server_error()
        || response
            .headers()
            .get("grpc-status")
            .is_some_and(|status| status != "0");
    let said = response.extensions().get::<Reason>().map(|reason| reason.0);
    let guessed = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => "method",
        // over gRPC a method that does not exist
        StatusCode::NOT_FOUND | StatusCode::OK => "not_found",
        _ => "other",
    };
    refused.then_some(said.unwrap_or(guessed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::reply;
    use crate::pipeline::Refusal;

    #[test]
    fn an_answer_says_why_it_is_a_refusal() {
        let refusal = Refusal::Invalid("pprof: x".to_owned());
        assert_eq!(reason(&reply::http_text(&refusal)), Some("invalid"));
        assert_eq!(reason(&reply::grpc(&refusal)), Some("invalid"));
        let unimplemented = reply::grpc_status(reply::GrpcCode::Unimplemented, "no such method");
        assert_eq!(reason(&unimplemented), Some("not_found"));
        assert_eq!(
            reason(&reply::answer(StatusCode::NOT_FOUND, "text/plain", "")),
            Some("not_found")
        );
        assert_eq!(
            reason(&reply::answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "")),
            Some("method")
        );
        assert_eq!(reason(&Response::default()), None);
    }
}
