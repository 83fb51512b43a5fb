//! `otlp` over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::formats::Compression;
use crate::formats::compress::compress;
use crate::net::client::grpc_body;
use crate::receivers::otlp_routes::{GRPC_PATH, HTTP_PATH};
use crate::receivers::testing::{Engine, call, context, post, start};

/// The addresses of gRPC and HTTP.
async fn gate_with(engine: &Arc<Engine>, mib: u64) -> (SocketAddr, SocketAddr) {
    let grpc = GrpcConfig {
        max_recv_msg_size_mib: mib,
        ..GrpcConfig::default()
    };
    let http = HttpConfig {
        max_request_body_size: ByteSize::mib(mib),
        ..HttpConfig::default()
    };
    let otlp = Otlp {
        grpc: Some(grpc.check().unwrap()),
        http: Some(http.check().unwrap()),
    };
    let mut services = otlp.services(&engine.outlet()).into_iter();
    let (grpc, http) = (services.next().unwrap(), services.next().unwrap());
    (start(grpc).await, start(http).await)
}

#[test]
fn a_protocol_is_on_when_its_key_is_present() {
    let on = |config: serde_json::Value| {
        let config: Result<Config, _> = parse(config);
        config.map(|c| {
            (
                c.protocols.grpc.map(|g| g.endpoint),
                c.protocols.http.map(|h| h.endpoint),
            )
        })
    };
    let (grpc, http) = ("localhost:4317".to_owned(), "localhost:4318".to_owned());
    assert_eq!(
        on(json!({ "protocols": { "grpc": null } })),
        Ok((Some(grpc.clone()), None))
    );
    assert_eq!(
        on(json!({ "protocols": { "grpc": {}, "http": null } })),
        Ok((Some(grpc), Some(http)))
    );
    let path = |config| build(config, &context()).err().map(|error| error.path);
    assert_eq!(path(json!({})), Some("protocols".to_owned()));
    assert_eq!(path(json!({ "protocols": null })), Some("protocols".to_owned()));
    let wrong = json!({ "protocols": { "http": { "endpoint": "4318" } } });
    assert_eq!(path(wrong), Some("protocols.http.endpoint".to_owned()));
    let zero = json!({ "protocols": { "grpc": { "max_recv_msg_size_mib": 0 } } });
    assert_eq!(path(zero), Some("protocols.grpc.max_recv_msg_size_mib".to_owned()));
}

#[tokio::test]
async fn a_busy_port_is_named_with_its_key() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = taken.local_addr().unwrap().to_string();
    let config = json!({ "protocols": { "http": { "endpoint": endpoint } } });
    let receiver = build(config, &context()).unwrap();
    let error = receiver
        .run(Engine::new().outlet(), Stop::new())
        .await
        .unwrap_err()
        .to_string();
    let wanted = format!("protocols.http.endpoint: {endpoint} is in use");
    assert!(error.starts_with(&wanted), "{error}");
}

#[tokio::test]
async fn it_stops_when_told() {
    let config =
        json!({ "protocols": { "grpc": { "endpoint": "127.0.0.1:0" }, "http": { "endpoint": "localhost:0" } } });
    let (receiver, stop) = (build(config, &context()).unwrap(), Stop::new());
    let running = tokio::spawn(receiver.run(Engine::new().outlet(), stop.clone()));
    stop.ask();
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await;
    assert!(ended.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn too_large_is_said_as_sent_and_as_decompressed() {
    let engine = Engine::new();
    let (grpc, http) = gate_with(&engine, 1).await;
    let zeros = vec![0; 2 << 20];
    for (encoding, bytes) in [
        ("identity", zeros.clone()),
        ("gzip", compress(&zeros, Compression::Gzip(9))),
        ("zstd", compress(&zeros, Compression::Zstd(1))),
    ] {
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", encoding),
        ];
        let answer = post(http, HTTP_PATH, &headers, bytes.clone()).await;
        assert_eq!(answer.status, 413, "{encoding}");
        let frame = grpc_body(&bytes, encoding != "identity");
        let (status, answer) = call(grpc, GRPC_PATH, &[("grpc-encoding", encoding)], frame).await;
        assert_eq!(status, 8, "{encoding}");
        assert!(
            !answer.headers.contains_key("grpc-status-details-bin"),
            "no RetryInfo: do not resend"
        );
    }
    assert_eq!(engine.held(), 0);
}

#[tokio::test]
async fn what_is_not_spoken_is_said() {
    let engine = Engine::new();
    let (grpc, http) = gate_with(&engine, 1).await;
    let text = |answer: &crate::net::client::Answer| String::from_utf8(answer.body.to_vec()).unwrap();
    for (path, status, word) in [
        ("/v1/traces", 404, "only profiles"),
        ("/v1experimental/profiles", 404, "1.7"),
        ("/anything", 404, HTTP_PATH),
    ] {
        let answer = post(http, path, &[("content-type", "application/json")], "{}").await;
        assert_eq!(answer.status, status, "{path}");
        assert!(text(&answer).contains(word), "{}", text(&answer));
    }
    let answer = post(grpc, HTTP_PATH, &[("content-type", "application/json")], "{}").await;
    assert!(
        answer.status == 404 && text(&answer).contains("gRPC"),
        "{}",
        text(&answer)
    );

    let answer = post(http, HTTP_PATH, &[("content-type", "text/plain")], "{}").await;
    assert_eq!(answer.status, 415);
    let brotli = [("content-type", "application/json"), ("content-encoding", "br")];
    assert_eq!(post(http, HTTP_PATH, &brotli, "{}").await.status, 415);

    let old = "/opentelemetry.proto.collector.profiles.v1experimental.ProfilesService/Export";
    let traces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for (path, word) in [(old, "1.7"), (traces, GRPC_PATH)] {
        let (status, answer) = call(grpc, path, &[], grpc_body(b"", false)).await;
        assert_eq!(status, 12, "{path}");
        assert!(
            answer.headers["grpc-message"].to_str().unwrap().contains(word),
            "{answer:?}"
        );
    }
    let (status, _) = call(grpc, GRPC_PATH, &[("grpc-encoding", "br")], grpc_body(b"", true)).await;
    assert_eq!(status, 12);
    let (status, _) = call(grpc, GRPC_PATH, &[], grpc_body(b"", true)).await;
    assert_eq!(status, 3, "compressed, and nothing says how");
    let (status, _) = call(grpc, GRPC_PATH, &[], &b"\0\0\0\0\x09"[..]).await;
    assert_eq!(status, 3, "half a frame");
}
