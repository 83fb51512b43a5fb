//! Who gets in, and what is sent.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::json;
use tower::ServiceExt;

use super::*;

fn auth(id: &str, raw: serde_json::Value) -> AuthConfig {
    serde_json::from_value(json!({ "authenticator": { id: raw } })).unwrap()
}

fn headers(name: &'static str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    headers
}

fn basic(user: &str, password: &str) -> HeaderMap {
    headers(
        "authorization",
        &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
    )
}

async fn tenant_of(auth: &ServerAuth, headers: &HeaderMap) -> Option<String> {
    let identity = auth.identify(headers).await.ok()?;
    Some(identity.tenant.map_or_else(String::new, |tenant| tenant.to_string()))
}

#[tokio::test]
async fn users_get_in_with_their_password_alone_and_bring_their_tenant() {
    let hash = bcrypt::hash("right", 4).unwrap();
    let lines = format!("# staff\nann:plain\n\nbob:{hash}\n");
    let config = json!({ "htpasswd": { "inline": lines }, "tenants": { "bob": "team-b" } });
    let auth = auth("basicauth/x", config).server("auth").unwrap();
    assert_eq!(tenant_of(&auth, &basic("ann", "plain")).await.unwrap(), "ann");
    // the second time from memory
    for _ in 0..2 {
        assert_eq!(tenant_of(&auth, &basic("bob", "right")).await.unwrap(), "team-b");
        for (user, password) in [
            ("bob", "wrong"),
            ("bob", ""),
            ("ann", "right"),
            ("ann", "plai"),
            ("eve", "plain"),
            ("", ""),
        ] {
            assert_eq!(
                tenant_of(&auth, &basic(user, password)).await,
                None,
                "{user}:{password}"
            );
        }
    }
    for odd in ["", "Basic", "Basic !", "Basic YW5u", "Bearer plain", "basic"] {
        assert_eq!(tenant_of(&auth, &headers("authorization", odd)).await, None, "{odd}");
    }
    assert_eq!(tenant_of(&auth, &HeaderMap::new()).await, None);
}

#[tokio::test]
async fn tokens_are_taken_whole_and_bring_their_tenant() {
    let config = json!({ "tokens": ["one", { "token": "two", "tenant": "b" }], "tenant": "a" });
    let auth = auth("bearertokenauth", config).server("auth").unwrap();
    let said = |value: &str| headers("authorization", value);
    assert_eq!(tenant_of(&auth, &said("Bearer one")).await.unwrap(), "a");
    assert_eq!(tenant_of(&auth, &said("bearer two")).await.unwrap(), "b");
    for wrong in [
        "one",
        "Bearer",
        "Bearer ",
        "Bearer on",
        "Bearer onee",
        "Bearer one two",
        "Basic one",
        "Bearerone",
    ] {
        assert_eq!(tenant_of(&auth, &said(wrong)).await, None, "{wrong}");
    }
    let own = json!({ "token": "one", "scheme": "", "header": "x-api-key" });
    let auth = self::auth("bearertokenauth", own).server("auth").unwrap();
    assert_eq!(tenant_of(&auth, &headers("x-api-key", "one")).await.unwrap(), "");
    assert_eq!(tenant_of(&auth, &said("Bearer one")).await, None);
}

#[tokio::test]
async fn clients_send_what_servers_take() {
    for (client, server) in [
        (
            auth(
                "basicauth/c",
                json!({ "client_auth": { "username": "ann", "password": "pass:word" } }),
            ),
            auth("basicauth/s", json!({ "htpasswd": { "inline": "ann:pass:word" } })),
        ),
        (
            auth("bearertokenauth/c", json!({ "token": "planted" })),
            auth("bearertokenauth/s", json!({ "tokens": ["other", "planted"] })),
        ),
    ] {
        let (name, value) = client.client("auth").unwrap().header().await;
        assert!(value.is_sensitive());
        let headers = HeaderMap::from_iter([(name, value)]);
        assert!(server.server("auth").unwrap().identify(&headers).await.is_ok());
    }
}

#[tokio::test]
async fn a_changed_file_counts_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, "old\n").unwrap();
    let config = auth("bearertokenauth", json!({ "filename": file }));
    let (server, client) = (config.server("auth").unwrap(), config.client("auth").unwrap());
    let later = || tokio::time::sleep(std::time::Duration::from_millis(2_100));
    for (text, token) in [("new\nold\n", "new"), ("\n", "new"), ("newest", "newest")] {
        std::fs::write(&file, text).unwrap();
        later().await;
        let (_, value) = client.header().await;
        assert_eq!(value.to_str().unwrap(), format!("Bearer {token}"));
        let said = headers("authorization", &format!("Bearer {token}"));
        assert!(tenant_of(&server, &said).await.is_some(), "{token}");
    }
    assert_eq!(tenant_of(&server, &headers("authorization", "Bearer old")).await, None);
}

#[test]
fn what_cannot_work_is_refused_and_never_quoted() {
    for (id, raw) in [
        ("health_check", json!({})),
        ("basicauth", json!(null)),
        ("basicauth", json!({ "htpasswd": {} })),
        ("basicauth", json!({ "htpasswd": { "inline": "planted" } })),
        ("basicauth", json!({ "htpasswd": { "inline": "a:$apr1$planted$x" } })),
        ("basicauth", json!({ "htpasswd": { "inline": "a:$2y$planted" } })),
        ("basicauth", json!({ "htpasswd": { "inline": "planted/x:y" } })),
        (
            "basicauth",
            json!({ "htpasswd": { "inline": "a:b" }, "tenants": { "a": "pl/anted" } }),
        ),
        ("basicauth", json!({ "htpasswd": { "file": "/no/such/planted" } })),
        (
            "basicauth",
            json!({ "client_auth": { "username": "a", "password": "planted" } }),
        ),
        ("bearertokenauth", json!({})),
        ("bearertokenauth", json!({ "token": "planted", "tokens": ["planted"] })),
        ("bearertokenauth", json!({ "token": "planted planted" })),
        ("bearertokenauth", json!({ "token": "planted", "header": "a b" })),
        ("bearertokenauth", json!({ "token": "planted", "tenant": "" })),
        ("bearertokenauth", json!({ "filename": "/no/such/planted" })),
    ] {
        let error = auth(id, raw.clone()).server("server.auth").unwrap_err();
        assert_eq!(error.path, "server.auth.authenticator", "{id} {raw}");
        assert!(!error.message.contains("planted"), "{id} {raw}: {error}");
    }
}

#[tokio::test]
async fn a_refusal_is_said_in_the_encoding_of_the_request() {
    let auth = auth("basicauth", json!({ "htpasswd": { "inline": "ann:plain" } }))
        .server("auth")
        .unwrap();
    let router = guard(Router::new(), auth, |_| {});
    for (sent, answered) in [
        ("application/x-protobuf", "application/x-protobuf"),
        ("Application/X-Protobuf; v=1", "application/x-protobuf"),
        ("application/json; charset=utf-8", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
    ] {
        let mut request = Request::builder().method("POST").uri("/").body(Body::empty()).unwrap();
        *request.headers_mut() = headers("content-type", sent);
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 401);
        assert_eq!(response.headers()["content-type"], answered, "{sent}");
    }
}

#[tokio::test]
async fn the_guard_stands_around_routes_and_around_the_lack_of_them() {
    let auth = auth("basicauth", json!({ "htpasswd": { "inline": "ann:plain" } }))
        .server("auth")
        .unwrap();
    let routes = Router::new()
        .route("/in", get(|| async { "in" }))
        .fallback(|| async { "nothing" });
    let router = guard(routes, auth, |_| {}).merge(Router::new().route("/open", get(|| async { "open" })));
    let status = async |method: &str, path: &str, headers: HeaderMap| {
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        *request.headers_mut() = headers;
        let response = router.clone().oneshot(request).await.unwrap();
        let grpc = response
            .headers()
            .get("grpc-status")
            .map(|code| code.to_str().unwrap().to_owned());
        let challenged = response.headers().contains_key("www-authenticate");
        (response.status().as_u16(), challenged, grpc)
    };
    for (method, path) in [("GET", "/in"), ("POST", "/in"), ("GET", "/elsewhere")] {
        assert_eq!(
            status(method, path, HeaderMap::new()).await,
            (401, true, None),
            "{method} {path}"
        );
        let grpc = headers("content-type", "application/grpc");
        assert_eq!(status(method, path, grpc).await, (200, false, Some("16".to_owned())));
    }
    assert_eq!(status("GET", "/in", basic("ann", "plain")).await.0, 200);
    assert_eq!(status("GET", "/open", HeaderMap::new()).await.0, 200);
}
