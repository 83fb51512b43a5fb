//! Pages on a loopback address are for this machine alone: a web page of somebody else's, under a name that leads here, stays out.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};

/// The same routes for requests that name this machine.
pub fn only_local(router: Router) -> Router {
    router.layer(from_fn(|request: Request, next: Next| async move {
        match is_local(&request) {
            true => next.run(request).await,
            false => refuse(),
        }
    }))
}

fn refuse() -> Response {
    let why = "these pages are for this machine: ask for localhost, and from no other site\n";
    (StatusCode::FORBIDDEN, why).into_response()
}

fn is_local(request: &Request) -> bool {
    let headers = request.headers();
    let host = match request.uri().host() {
        Some(host) => Some(host.to_owned()),
        None => text(headers, HOST.as_str()).and_then(host_of),
    };
    // a browser sends the site that asks; no site, or `null`, is none of ours
    let site = match headers.get(ORIGIN) {
        None => true,
        Some(origin) => {
            let site = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            let host = site.and_then(|(_, authority)| host_of(authority));
            host.is_some_and(|host| names_this_machine(&host))
        }
    };
    site && host.is_some_and(|host| names_this_machine(&host))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn host_of(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    Some(authority.host().to_owned())
}

fn names_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn status(host: &str, origin: Option<&str>) -> u16 {
        let router = only_local(Router::new().route("/", get(|| async { "in" })));
        let mut request = Request::builder().uri("/");
        if !host.is_empty() {
            request = request.header(HOST, host);
        }
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        router
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    #[tokio::test]
    async fn only_names_of_this_machine_lead_in() {
        for host in [
            "localhost",
            "LOCALHOST:55679",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:55679",
        ] {
            assert_eq!(status(host, None).await, 200, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:55679",
            "10.0.0.1",
            "[::2]",
            "user@localhost@evil",
        ] {
            assert_eq!(status(host, None).await, 403, "{host}");
        }
        for origin in ["http://localhost:3000", "http://127.0.0.1"] {
            assert_eq!(status("localhost", Some(origin)).await, 200, "{origin}");
        }
        for origin in [
            "https://evil.example",
            "null",
            "",
            "file://",
            "http://localhost.evil.example",
        ] {
            assert_eq!(status("localhost", Some(origin)).await, 403, "{origin}");
        }
    }
}
