use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::Request as Received;
use axum::response::Response;

use super::*;
use crate::pipeline::units::Secret;

/// A server that answers everything with `answer` and remembers the last request.
async fn serve(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> (String, Arc<Mutex<HeaderMap>>) {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let memory = seen.clone();
    let app = Router::new().fallback(move |request: Received| {
        *memory.lock().unwrap() = request.headers().clone();
        let version = request.version();
        let mut answer = answer();
        answer
            .headers_mut()
            .insert("x-version", format!("{version:?}").parse().unwrap());
        std::future::ready(answer)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    (format!("http://{address}/"), seen)
}

fn with_token() -> Headers {
    let mut headers = Headers::default();
    headers.insert("authorization", Secret::new("Bearer planted-token"));
    headers
}

fn client(protocol: Protocol) -> Client {
    let settings = ClientSettings {
        headers: with_token(),
        ..ClientSettings::default()
    };
    Client::new(protocol, &settings).unwrap()
}

async fn post(client: &Client, url: &str) -> Result<Answer, ClientError> {
    let uri = url.parse().unwrap();
    client.post(&uri, HeaderMap::new(), Bytes::from_static(b"body")).await
}

#[tokio::test]
async fn headers_and_versions_are_as_configured() {
    let (url, seen) = serve(|| Response::new(Body::from("fine"))).await;
    for (protocol, version) in [(Protocol::Http, "HTTP/1.1"), (Protocol::Http2, "HTTP/2.0")] {
        let answer = post(&client(protocol), &url).await.unwrap();
        assert_eq!(answer.headers["x-version"], version);
        assert_eq!(&answer.body[..], b"fine");
        let seen = seen.lock().unwrap();
        assert_eq!(seen["authorization"], "Bearer planted-token");
        assert!(seen["user-agent"].to_str().unwrap().starts_with("flamegate/"));
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let (url, _) = serve(|| Response::new(Body::from(vec![0u8; ANSWER_BYTES + 1]))).await;
    let error = post(&client(Protocol::Http), &url).await.unwrap_err();
    assert!(matches!(error, ClientError::AnswerTooLarge(_)), "{error:?}");
}

#[tokio::test]
async fn endless_headers_and_trailers_are_cut_off() {
    let long = || {
        "y".repeat(4 * HEAD_BYTES as usize)
            .parse::<http::HeaderValue>()
            .unwrap()
    };
    let (url, _) = serve(move || Response::builder().header("x", long()).body(Body::empty()).unwrap()).await;
    for protocol in [Protocol::Http, Protocol::Http2] {
        let answer = post(&client(protocol), &url).await;
        assert!(matches!(answer, Err(ClientError::Broken(_))), "{protocol:?}");
    }
    let (url, _) = serve(move || {
        let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("x"), long())]);
        let body = Full::new(Bytes::from_static(b"fine"));
        Response::new(Body::new(body.with_trailers(std::future::ready(Some(Ok(trailers))))))
    })
    .await;
    let answer = post(&client(Protocol::Http2), &url).await;
    assert!(matches!(answer, Err(ClientError::Broken(_))));
}

#[tokio::test]
async fn a_backend_that_answers_no_ping_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // the settings of HTTP/2, and never a word again
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"\0\0\0\x04\0\0\0\0\0")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
    let settings = ClientSettings {
        pings: Some(Pings {
            after: Duration::ZERO,
            timeout: Duration::from_millis(100),
            while_idle: false,
        }),
        ..ClientSettings::default()
    };
    let client = Client::new(Protocol::Http2, &settings).unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(60), post(&client, &url)).await;
    assert!(matches!(gone, Ok(Err(ClientError::Broken(_)))), "{gone:?}");
}

#[tokio::test]
async fn a_dead_backend_is_a_connect_error_without_secrets() {
    let error = post(&client(Protocol::Http), "http://127.0.0.1:1/?token=planted-token").await;
    let error = error.unwrap_err();
    assert!(matches!(error, ClientError::Connect(_)), "{error}");
    assert_eq!(error.to_string(), "cannot connect: connection refused");
}

#[tokio::test]
async fn a_backend_that_does_not_speak_tls_is_named_so() {
    let (url, _) = serve(|| Response::new(Body::empty())).await;
    let error = post(&client(Protocol::Http), &url.replace("http:", "https:"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("the server does not speak TLS"), "{error}");
}

#[test]
fn wrong_headers_are_named_without_their_values() {
    for (name, value, path) in [
        ("bad name", "planted-token", "headers.bad name"),
        ("authorization", "planted-token\r\nx: y", "headers.authorization"),
        ("Content-Length", "planted-token", "headers.Content-Length"),
    ] {
        let mut headers = Headers::default();
        headers.insert(name, Secret::new(value));
        let settings = ClientSettings {
            headers,
            ..ClientSettings::default()
        };
        let error = Client::new(Protocol::Http, &settings).err().unwrap();
        assert_eq!(error.path, path);
        assert!(!format!("{error:?} {settings:?}").contains("planted-token"));
    }
}

#[test]
fn tls_that_cannot_be_used_is_named() {
    let tls = serde_json::from_value(serde_json::json!({ "ca_file": "/nonexistent/ca.pem" })).unwrap();
    let settings = ClientSettings {
        tls,
        ..ClientSettings::default()
    };
    let error = Client::new(Protocol::Http, &settings).err().unwrap();
    assert_eq!(error.path, "tls.ca_file");
    assert!(error.message.contains("/nonexistent/ca.pem"), "{error}");
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let hint = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", value.parse().unwrap());
        retry_after(&headers, now)
    };
    assert_eq!(hint("17"), Some(Duration::from_secs(17)));
    assert_eq!(
        hint(&httpdate::fmt_http_date(now + Duration::from_secs(9))),
        Some(Duration::from_secs(9))
    );
    assert_eq!(
        hint(&httpdate::fmt_http_date(now - Duration::from_secs(9))),
        Some(Duration::ZERO)
    );
    assert_eq!(hint("999999999999"), Some(Duration::from_secs(3_600)));
    assert_eq!(hint("soon"), None);
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
}

#[tokio::test]
async fn a_host_that_is_not_known_is_told_as_such() {
    let uri = "http://a..b/".parse().unwrap();
    let error = client(Protocol::Http).post(&uri, HeaderMap::new(), Bytes::new()).await;
    let told = error.unwrap_err().to_string();
    assert!(told.starts_with("cannot connect: failed to lookup"), "{told}");
}
