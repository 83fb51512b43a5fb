//! What stands around the routes of a server that asks who is there.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::ServerAuth;
use crate::net::{body, grpc, reply};
use crate::pipeline::Refusal;

/// The same routes for whoever `auth` knows. `refused` hears of the others. Routes that are merged later stand outside.
pub fn guard(router: Router, auth: ServerAuth, refused: impl Fn(&Refusal) + Clone + Send + Sync + 'static) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let (auth, refused) = (auth.clone(), refused.clone());
        async move { ask(&auth, &refused, request, next).await }
    }))
}

async fn ask(auth: &ServerAuth, refused: &impl Fn(&Refusal), mut request: Request, next: Next) -> Response {
    match auth.identify(request.headers()).await {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(refusal) => {
            refused(&refusal);
            answer(auth, request.headers(), &refusal)
        }
    }
}

/// In the words of the protocol that asks.
fn answer(auth: &ServerAuth, headers: &HeaderMap, refusal: &Refusal) -> Response {
    if grpc::is_grpc(headers) {
        return reply::grpc(refusal);
    }
    let mut response = match body::media_type(headers).as_str() {
        "application/x-protobuf" | "application/protobuf" => reply::http_protobuf(refusal),
        "application/json" => reply::http_json(refusal),
        _ => reply::http_text(refusal),
    };
    if let (Refusal::Unauthenticated(_), Some(challenge)) = (refusal, auth.challenge()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
