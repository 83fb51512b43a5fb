//! `otlp` over real sockets.

mod traces;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse, profiles_service_client::ProfilesServiceClient,
};
use prost::Message;
use serde_json::json;
use tonic::codec::CompressionEncoding;

use super::*;
use crate::formats::Compression;
use crate::formats::compress::compress;
use crate::net::client::grpc_body;
use crate::pipeline::units::ByteSize;
use crate::pipeline::{Batch, Refusal};
use crate::receivers::otlp_routes::{GRPC_PATH, HTTP_PATH};
use crate::receivers::testing::{Engine, call, context, post, start};
use crate::testing::data;

/// The addresses of gRPC and HTTP.
async fn gate_with(engine: &Arc<Engine>, mib: u64) -> (SocketAddr, SocketAddr) {
    let grpc = GrpcServerConfig {
        max_recv_msg_size_mib: mib,
        ..GrpcServerConfig::default()
    };
    let http = HttpServerConfig {
        max_request_body_size: ByteSize::mib(mib),
        ..HttpServerConfig::default()
    };
    let otlp = Otlp {
        grpc: Some(grpc.check("protocols.grpc", &context()).unwrap()),
        http: Some(http.check("protocols.http", "localhost:4318", &context()).unwrap()),
        assumed: WireVersion::default(),
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
    let (grpc, http) = ("localhost:4317".to_owned(), None);
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
    for (key, protocol) in [
        ("read_timeout", "http"),
        ("idle_timeout", "http"),
        ("max_headers", "http"),
        ("max_connections", "grpc"),
    ] {
        let zero = json!({ "protocols": { protocol: { key: 0 } } });
        assert_eq!(path(zero), Some(format!("protocols.{protocol}.{key}")));
    }
    let zero = json!({ "protocols": { "grpc": { "max_recv_msg_size_mib": 0 } } });
    assert_eq!(path(zero), Some("protocols.grpc.max_recv_msg_size_mib".to_owned()));
    let recordings = json!({ "protocols": { "http": { "jfr": { "off_cpu": true } } } });
    assert_eq!(path(recordings), Some("protocols.http.jfr".to_owned()));
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
async fn a_trickled_body_is_given_up_and_others_are_served() {
    let engine = Engine::new();
    let http = HttpServerConfig {
        read_timeout: crate::pipeline::units::Span::millis(300),
        ..HttpServerConfig::default()
    };
    let cx = context();
    let http = http.check("protocols.http", "localhost:4318", &cx).unwrap();
    let assumed = WireVersion::default();
    let address = start(http.service(&engine.outlet(), |door| otlp_routes::http(door, assumed))).await;
    let (mut reader, mut writer) = tokio::net::TcpStream::connect(address).await.unwrap().into_split();
    let head = format!(
        "POST {HTTP_PATH} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let trickle = tokio::spawn(async move {
        let mut next = head.into_bytes();
        while tokio::io::AsyncWriteExt::write_all(&mut writer, &next).await.is_ok() {
            next = b"1\r\n \r\n".to_vec();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let answer = post(address, HTTP_PATH, &[("content-type", "application/json")], "{}").await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let mut said = Vec::new();
    let ended = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut said);
    assert!(
        tokio::time::timeout(Duration::from_secs(60), ended).await.is_ok(),
        "neither answered nor left"
    );
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.starts_with("HTTP/1.1 503") && said.contains("retry-after: 1"),
        "{said}"
    );
    trickle.abort();
    assert_eq!(cx.metrics.server(&cx.id).cut_count("body_timeout"), 1);
    assert_eq!((engine.take().refused.len(), engine.held()), (1, 0));
}

#[tokio::test]
async fn it_stops_when_told() {
    let config =
        json!({ "protocols": { "grpc": { "endpoint": "127.0.0.1:0" }, "http": { "endpoint": "localhost:0" } } });
    let (receiver, stop) = (build(config, &context()).unwrap(), Stop::new());
    let running = tokio::spawn(receiver.run(Engine::new().outlet(), stop.clone()));
    stop.ask();
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
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

/// The sums of the sample types of all profiles, in order.
fn sums(batch: &Batch) -> Vec<i128> {
    let profiles = batch.as_profiles().unwrap().iter().map(|p| p.profile);
    profiles
        .flat_map(|profile| {
            let types = profile.sample_types.len();
            (0..types).map(move |column| profile.samples.sum(column, types))
        })
        .collect()
}

const GO: [i128; 2] = [785, 7_850_000_000];
const NODE: [i128; 3] = [822, 5_902_398_000, 2_191_548_158];

#[tokio::test]
async fn recordings_arrive_by_both_protocols_in_every_encoding() {
    let engine = Engine::new();
    let (grpc, http) = gate_with(&engine, 64).await;
    // the recordings hold orphans or equal samples, so their bytes are not sent on; what we wrote ourselves holds none
    let loose = data("go123-cpu-links.otlp");
    let read = crate::formats::any::decode_as(crate::formats::Format::Otlp, &loose, &Default::default()).unwrap();
    let tight = crate::formats::otlp::encode(&read.profiles);
    for (file, plain, wanted, is_exact) in [
        ("go123-cpu-links.otlp", loose.to_vec(), &GO[..], false),
        ("go123-cpu-links.otlp as we write it", tight, &GO[..], true),
        (
            "node20-wall-cpu-links.otlp",
            data("node20-wall-cpu-links.otlp").to_vec(),
            &NODE,
            false,
        ),
        (
            "old-schema-1.9.otlp",
            data("old-schema-1.9.otlp").to_vec(),
            &NODE,
            false,
        ),
    ] {
        for (encoding, compression) in [
            ("identity", Compression::None),
            ("gzip", Compression::Gzip(6)),
            ("zstd", Compression::Zstd(1)),
            ("deflate", Compression::Deflate(6)),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4),
        ] {
            let bytes = compress(&plain, compression);
            let headers = [
                ("content-type", "application/x-protobuf"),
                ("content-encoding", encoding),
            ];
            let answer = post(http, HTTP_PATH, &headers, bytes.clone()).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body[..]),
                (200, &b""[..]),
                "{file} {encoding}"
            );
            assert_eq!(answer.headers["content-type"], "application/x-protobuf");
            let frame = grpc_body(&bytes, encoding != "identity");
            let (status, answer) = call(grpc, GRPC_PATH, &[("grpc-encoding", encoding)], frame).await;
            assert_eq!((status, &answer.body[..]), (0, &b"\0\0\0\0\0"[..]), "{file} {encoding}");
            for batch in engine.take().batches {
                assert_eq!(sums(&batch), wanted, "{file} {encoding}");
                let received = batch.received().map(|received| &received.bytes[..]);
                assert_eq!(received, is_exact.then_some(&plain[..]), "{file} {encoding}");
            }
        }
    }
    assert_eq!(engine.held(), 0);
}

#[tokio::test]
async fn defective_requests_are_refused_with_what_and_where() {
    let engine = Engine::new();
    let (grpc, http) = gate_with(&engine, 64).await;
    for file in [
        "bad-duplicate-attribute-key.otlp.gz",
        "bad-empty-sample.otlp.gz",
        "bad-negative-index.otlp.gz",
        "bad-no-dictionary.otlp.gz",
        "bad-stack-index-out-of-range.otlp.gz",
        "bad-string0-not-empty.otlp.gz",
        "bad-truncated.otlp.gz",
        "bad-values-timestamps-length.otlp.gz",
    ] {
        let headers = [("content-type", "application/protobuf"), ("content-encoding", "gzip")];
        let answer = post(http, HTTP_PATH, &headers, data(file)).await;
        assert_eq!(answer.status, 400, "{file}");
        let status = RpcStatus::decode(answer.body).unwrap();
        assert!(
            status.code == 3 && status.message.starts_with("otlp: "),
            "{file}: {status:?}"
        );
        let (status, answer) = call(
            grpc,
            GRPC_PATH,
            &[("grpc-encoding", "gzip")],
            grpc_body(&data(file), true),
        )
        .await;
        assert_eq!(status, 3, "{file}");
        assert!(
            answer.headers["grpc-message"].to_str().unwrap().starts_with("otlp: "),
            "{file}"
        );
    }
    let json = [("content-type", "application/json; charset=utf-8")];
    let answer = post(http, HTTP_PATH, &json, "{\"hunter2").await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers["content-type"].as_bytes()),
        (400, &b"application/json"[..])
    );
    let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(status["code"], 3);
    assert!(!status["message"].as_str().unwrap().contains("hunter2"), "{status}");
    assert!(engine.take().batches.is_empty());
    assert_eq!(engine.held(), 0);
}

/// `google.rpc.Status`, as another implementation reads it.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[tokio::test]
async fn a_defective_profile_among_good_ones_is_a_partial_success() {
    let engine = Engine::new();
    let (grpc, http) = gate_with(&engine, 64).await;
    let mut request = ExportProfilesServiceRequest::decode(&data("go123-cpu-links.otlp")[..]).unwrap();
    let mut profiles = request.resource_profiles[0].scope_profiles[0].profiles.clone();
    profiles.truncate(1);
    profiles[0].samples[0].stack_index = 1_000_000;
    request.resource_profiles[0].scope_profiles[0].profiles.extend(profiles);
    let bytes = request.encode_to_vec();

    let headers = [("content-type", "application/x-protobuf")];
    let answer = post(http, HTTP_PATH, &headers, bytes.clone()).await;
    assert_eq!(answer.status, 200);
    let over_http = ExportProfilesServiceResponse::decode(answer.body).unwrap();
    let (status, answer) = call(grpc, GRPC_PATH, &[], grpc_body(&bytes, false)).await;
    assert_eq!(status, 0);
    let over_grpc = ExportProfilesServiceResponse::decode(&answer.body[5..]).unwrap();
    assert_eq!(over_http, over_grpc);
    let partial = over_http.partial_success.unwrap();
    assert_eq!(partial.rejected_profiles, 1);
    assert!(partial.error_message.starts_with("otlp: "), "{}", partial.error_message);
    for batch in engine.take().batches {
        assert_eq!(sums(&batch), GO);
    }
}

#[tokio::test]
async fn an_empty_request_is_fine() {
    let engine = Engine::new();
    let (grpc, http) = gate_with(&engine, 64).await;
    let headers = [("content-type", "application/x-protobuf")];
    assert_eq!(post(http, HTTP_PATH, &headers, "").await.status, 200);
    assert_eq!(call(grpc, GRPC_PATH, &[], grpc_body(b"", false)).await.0, 0);
    assert!(engine.take().batches.is_empty());
}

#[tokio::test]
async fn json_is_answered_in_json() {
    let engine = Engine::new();
    let (_, http) = gate_with(&engine, 64).await;
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = post(http, HTTP_PATH, &headers, data("node20-wall-cpu-links.otlp.json.gz")).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"{}"[..]));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(sums(&engine.take().batches[0]), NODE);
}

#[tokio::test]
async fn another_implementation_of_grpc_is_understood_and_understands() {
    let engine = Engine::new();
    let (grpc, _) = gate_with(&engine, 64).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{grpc}")).unwrap();
    let client = ProfilesServiceClient::new(channel.connect().await.unwrap());
    let good = ExportProfilesServiceRequest::decode(&data("go123-cpu-links.otlp")[..]).unwrap();
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let mut client = match encoding {
            Some(encoding) => client.clone().send_compressed(encoding),
            None => client.clone(),
        };
        let answer = client.export(good.clone()).await.unwrap();
        assert_eq!(answer.into_inner(), ExportProfilesServiceResponse::default());
        assert_eq!(sums(&engine.take().batches[0]), GO);
    }
    let bad = ExportProfilesServiceRequest {
        dictionary: None,
        ..good.clone()
    };
    let status = client.clone().export(bad).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().starts_with("otlp: "), "{status}");
}

#[tokio::test]
async fn a_full_gate_says_when_to_come_back() {
    let full = Refusal::Unavailable {
        why: "the queues are full",
        after: Duration::from_secs(7),
    };
    let engine = Engine::answering(Some(full));
    let (grpc, http) = gate_with(&engine, 64).await;
    let answer = post(http, HTTP_PATH, &[("content-type", "application/json")], "{}").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{grpc}")).unwrap();
    let mut client = ProfilesServiceClient::new(channel.connect().await.unwrap());
    let status = client
        .export(ExportProfilesServiceRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(memchr::memmem::find(status.details(), b"google.rpc.RetryInfo").is_some());
}
