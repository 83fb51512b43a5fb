//! `pyroscope` over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::formats::Compression;
use crate::formats::compress::compress;
use crate::net::client::{Answer, grpc_body};
use crate::pipeline::Refusal;
use crate::receivers::testing::{Engine, call, context, post, resource, sample_types, start};

pub(super) const PUSH: &str = "/push.v1.PusherService/Push";
const TEXT: &str = "/ingest?name=shop.cart.cpu%7Benv%3Dprod%7D&format=folded";

async fn gate_with(config: serde_json::Value, engine: &Arc<Engine>) -> SocketAddr {
    let config: Config = parse(config).unwrap();
    let server = config.check("", "localhost:4040", &context()).unwrap();
    start(Pyroscope { server }.service(&engine.outlet())).await
}

pub(super) async fn gate() -> (SocketAddr, Arc<Engine>) {
    let engine = Engine::new();
    (gate_with(serde_json::json!({}), &engine).await, engine)
}

/// The `code` of an error.
pub(super) fn code(answer: &Answer) -> String {
    let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(
        error["message"].as_str().is_some_and(|message| !message.is_empty()),
        "{error}"
    );
    error["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn waits_in_recordings_are_a_profile_where_they_are_asked_for() {
    for (config, asked) in [
        (serde_json::json!({}), false),
        (serde_json::json!({ "jfr": { "off_cpu": true } }), true),
    ] {
        let engine = Engine::new();
        let gate = gate_with(config, &engine).await;
        let recording = crate::testing::data("jdk17-deep.jfr.gz");
        assert_eq!(post(gate, "/ingest?name=shop", &[], recording).await.status, 200);
        let types = sample_types(&engine);
        assert!(types.contains(&"cpu".to_owned()));
        assert_eq!(types.contains(&"off_cpu".to_owned()), asked);
    }
}

#[tokio::test]
async fn text_arrives_by_both_paths_in_any_encoding() {
    let (gate, engine) = gate().await;
    let text = b"main;work 3\nmain 4\n";
    for path in [TEXT.to_owned(), format!("/pyroscope{TEXT}")] {
        for (encoding, compression) in [
            ("identity", Compression::None),
            ("gzip", Compression::Gzip(6)),
            ("zstd", Compression::Zstd(1)),
            ("deflate", Compression::Deflate(6)),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4),
        ] {
            let headers = [("content-encoding", encoding), ("x-scope-orgid", "team-a")];
            let answer = post(gate, &path, &headers, compress(text, compression)).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body[..]),
                (200, &b""[..]),
                "{encoding}"
            );
            let batches = engine.take().batches;
            let profiles = batches[0].as_profiles().unwrap();
            assert_eq!(profiles.iter().next().unwrap().profile.samples.sum(0, 1), 70_000_000);
            let labels = resource(profiles);
            assert_eq!(
                (labels["service.name"].as_str(), labels["env"].as_str()),
                ("shop.cart", "prod")
            );
            assert_eq!(&*batches[0].origin().tenant, "team-a");
            assert!(batches[0].received().is_none(), "the bytes do not hold the labels");
            assert!(engine.held() > 0);
        }
    }
    assert_eq!(engine.held(), 0, "memory is given back with the last batch");
}

#[tokio::test]
async fn speedscope_says_itself_what_it_counts() {
    let (gate, engine) = gate().await;
    let file = crate::testing::data("py-spy-native.speedscope.json");
    for query in ["name=shop.web.cpu&format=speedscope", "name=shop.web"] {
        let answer = post(gate, &format!("/ingest?{query}"), &[], file.clone()).await;
        assert_eq!(answer.status, 200, "{query}: {:?}", answer.body);
        let batches = engine.take().batches;
        assert_eq!(resource(batches[0].as_profiles().unwrap())["service.name"], "shop.web");
    }
}

/// What is wrong: path, headers and body; status and code of the answer.
type Case<'a> = (&'a str, &'a str, &'a [(&'static str, &'a str)], &'a [u8], u16, &'a str);

#[tokio::test]
async fn every_refusal_has_the_shape_that_clients_read() {
    let engine = Engine::new();
    let gate = gate_with(serde_json::json!({ "max_request_body_size": "64KiB" }), &engine).await;
    let bomb = compress(&vec![b'a'; 1 << 20], Compression::Gzip(9));
    let big = vec![b'a'; 70_000];
    let gzip = ("content-encoding", "gzip");
    let cases: [Case; 11] = [
        ("no name", "/ingest", &[], b"a 1\n", 400, "invalid_argument"),
        (
            "no such type",
            "/ingest?name=my.app",
            &[],
            b"a 1\n",
            400,
            "invalid_argument",
        ),
        (
            "no pprof",
            "/ingest?name=a&format=pprof",
            &[],
            b"hello",
            400,
            "invalid_argument",
        ),
        ("no gzip", TEXT, &[gzip], b"a 1\n", 400, "invalid_argument"),
        ("too large", TEXT, &[], &big, 413, "resource_exhausted"),
        ("a bomb", TEXT, &[gzip], &bomb, 413, "resource_exhausted"),
        (
            "no encoding",
            TEXT,
            &[("content-encoding", "br")],
            b"a 1\n",
            415,
            "unimplemented",
        ),
        (
            "jfr",
            "/ingest?name=a&format=jfr",
            &[],
            b"FLR\0",
            400,
            "invalid_argument",
        ),
        (
            "tenant",
            TEXT,
            &[("x-scope-orgid", "a/b")],
            b"a 1\n",
            400,
            "invalid_argument",
        ),
        (
            "no push",
            PUSH,
            &[("content-type", "application/proto")],
            b"\x0a\x7f",
            400,
            "invalid_argument",
        ),
        ("no media type", PUSH, &[], b"", 415, "unimplemented"),
    ];
    for (what, path, headers, body, status, named) in cases {
        let answer = post(gate, path, headers, body.to_vec()).await;
        assert_eq!(
            (answer.status.as_u16(), code(&answer).as_str()),
            (status, named),
            "{what}"
        );
        assert_eq!(engine.held(), 0, "{what}");
    }
    assert!(engine.take().batches.is_empty());
    assert_eq!(
        post(gate, TEXT, &[], "a 1\n").await.status,
        200,
        "later requests are unharmed"
    );
}

#[tokio::test]
async fn a_full_gate_says_when_to_come_back() {
    let full = Refusal::Unavailable {
        why: "the queues are full",
        after: Duration::from_secs(7),
    };
    let engine = Engine::answering(Some(full));
    let gate = gate_with(serde_json::json!({}), &engine).await;
    let answer = post(gate, TEXT, &[], "a 1\n").await;
    assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (503, "unavailable"));
    assert_eq!(answer.headers["retry-after"], "7");
    let (status, answer) = call(gate, PUSH, &[], grpc_body(b"", false)).await;
    assert_eq!(status, 14);
    assert!(answer.headers.contains_key("grpc-status-details-bin"));
}

#[tokio::test]
async fn an_empty_push_is_fine_in_every_codec() {
    let (gate, _) = gate().await;
    for (media_type, body, said) in [
        ("application/proto", "", ""),
        ("application/json; charset=utf-8", "{}", "{}"),
    ] {
        let answer = post(gate, PUSH, &[("content-type", media_type)], body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (200, said.as_bytes()),
            "{media_type}"
        );
    }
    let (status, answer) = call(gate, PUSH, &[], grpc_body(b"", false)).await;
    assert_eq!((status, &answer.body[..]), (0, &b"\0\0\0\0\0"[..]));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let engine = Engine::new();
    let gate = gate_with(serde_json::json!({ "read_timeout": "50ms" }), &engine).await;
    let mut stream = tokio::net::TcpStream::connect(gate).await.unwrap();
    let head = format!("POST {TEXT} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 100\r\n\r\nmain");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after"),
        "{answer}"
    );
    assert_eq!(engine.take().refused.len(), 1);
}

#[test]
fn configuration_is_checked() {
    assert!(build(serde_json::Value::Null, &context()).is_ok());
    let wrong = build(serde_json::json!({ "endpoint": "http://localhost" }), &context());
    assert_eq!(wrong.err().unwrap().path, "endpoint");
    assert!(build(serde_json::json!({ "endpoit": "x" }), &context()).is_err());
}
