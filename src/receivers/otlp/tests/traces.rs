//! Traces over real sockets.

use bytes::Bytes;

use super::*;
use crate::pipeline::Signal;
use crate::receivers::otlp_routes::{TRACES_GRPC_PATH, TRACES_HTTP_PATH};
use crate::testing::traces::request;

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<ExportTracePartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct ExportTracePartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

fn both() -> Arc<Engine> {
    Engine::feeding(vec![Signal::Profiles, Signal::Traces], None)
}

/// The bytes of the only batch that came.
fn came(engine: &Engine) -> (Bytes, Option<Bytes>) {
    let batches = engine.take().batches;
    let [batch] = &batches[..] else {
        panic!("{} batches", batches.len())
    };
    let received = batch.received().map(|received| received.bytes.clone());
    (batch.as_traces().unwrap().bytes().clone(), received)
}

#[tokio::test]
async fn spans_come_through_as_the_bytes_that_were_sent() {
    let engine = both();
    let (grpc, http) = gate_with(&engine, 16).await;
    let plain = request(3, 5).encode_to_vec();
    for (encoding, compression) in [
        ("", Compression::None),
        ("gzip", Compression::Gzip(6)),
        ("zstd", Compression::Zstd(1)),
        ("deflate", Compression::parse("deflate", None).unwrap()),
        ("snappy", Compression::parse("snappy", None).unwrap()),
        ("lz4", Compression::parse("lz4", None).unwrap()),
    ] {
        let body = compress(&plain, compression);
        let mut headers = vec![("content-type", "application/x-protobuf")];
        if !encoding.is_empty() {
            headers.push(("content-encoding", encoding));
        }
        let answer = post(http, TRACES_HTTP_PATH, &headers, body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (200, &b""[..]),
            "{encoding}"
        );
        assert_eq!(came(&engine), (plain.clone().into(), None), "{encoding}");
        if ["", "gzip", "zstd"].contains(&encoding) {
            let headers = [("grpc-encoding", encoding)];
            let headers = if encoding.is_empty() { &[][..] } else { &headers };
            let frame = grpc_body(&body, !encoding.is_empty());
            let (status, answer) = call(grpc, TRACES_GRPC_PATH, headers, frame).await;
            assert_eq!((status, &answer.body[..]), (0, &[0; 5][..]), "{encoding}");
            assert_eq!(came(&engine), (plain.clone().into(), None), "{encoding}");
        }
    }
    let json = crate::formats::otlp::Traces::new(plain.clone().into(), &crate::formats::Limits::default());
    let json = Bytes::from(json.unwrap().to_json(usize::MAX).unwrap());
    let answer = post(
        http,
        TRACES_HTTP_PATH,
        &[("content-type", "application/json")],
        json.clone(),
    )
    .await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"{}"[..]));
    let (carried, received) = came(&engine);
    assert_eq!(received, Some(json), "as it came, for whoever wants JSON");
    assert_eq!(carried.len(), plain.len());
    assert_eq!(engine.held(), 0);
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_nothing_is_held() {
    let engine = both();
    let (grpc, http) = gate_with(&engine, 1).await;
    let plain = request(1, 3).encode_to_vec();
    let cut = &plain[..plain.len() - 1];
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = post(http, TRACES_HTTP_PATH, &protobuf, cut.to_vec()).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 400);
    assert!(text.contains("otlp: spans: ") && text.contains("at byte "), "{text}");
    let (status, _) = call(grpc, TRACES_GRPC_PATH, &[], grpc_body(cut, false)).await;
    assert_eq!(status, 3);
    let answer = post(http, TRACES_HTTP_PATH, &[("content-type", "application/json")], "{").await;
    assert_eq!(answer.status, 400);
    let bomb = compress(&vec![0; 8 << 20], Compression::Gzip(9));
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    assert_eq!(post(http, TRACES_HTTP_PATH, &headers, bomb).await.status, 413);
    let answer = post(http, TRACES_HTTP_PATH, &[("content-type", "text/plain")], plain).await;
    assert_eq!(answer.status, 415);
    let empty = post(http, TRACES_HTTP_PATH, &protobuf, "").await;
    assert_eq!(empty.status, 200, "nothing is nothing wrong");
    assert!(engine.take().batches.is_empty());
    assert_eq!(engine.held(), 0);
}

#[tokio::test]
async fn each_path_is_there_for_what_a_pipeline_takes() {
    let plain = request(1, 1).encode_to_vec();
    let protobuf = [("content-type", "application/x-protobuf")];
    for (signals, profiles, traces) in [
        (vec![], 404, 404),
        (vec![Signal::Profiles], 200, 404),
        (vec![Signal::Traces], 404, 200),
    ] {
        let engine = Engine::feeding(signals, None);
        let (grpc, http) = gate_with(&engine, 1).await;
        let answer = post(http, TRACES_HTTP_PATH, &protobuf, plain.clone()).await;
        assert_eq!(answer.status, traces);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(text.contains("no pipeline `traces`"), traces == 404, "{text}");
        let answer = post(http, HTTP_PATH, &protobuf, "").await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, profiles);
        assert_eq!(text.contains("no pipeline `profiles`"), profiles == 404, "{text}");
        for (port, path) in [(grpc, TRACES_HTTP_PATH), (grpc, HTTP_PATH)] {
            let answer = post(port, path, &protobuf, plain.clone()).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 404 && text.contains("it takes gRPC"), "{text}");
        }
        let (status, answer) = call(http, TRACES_GRPC_PATH, &[], grpc_body(&plain, false)).await;
        let text = answer.headers["grpc-message"].to_str().unwrap();
        assert!(status == 12 && text.contains("no traces over gRPC"), "{text}");
        let unless = |status| if status == 404 { 12 } else { 0 };
        let (status, _) = call(grpc, TRACES_GRPC_PATH, &[], grpc_body(&plain, false)).await;
        assert_eq!(status, unless(traces));
        let (status, _) = call(grpc, GRPC_PATH, &[], grpc_body(b"", false)).await;
        assert_eq!(status, unless(profiles));
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_the_request() {
    let full = Refusal::no_room("full");
    let engine = Engine::feeding(vec![Signal::Traces], Some(full));
    let (grpc, http) = gate_with(&engine, 1).await;
    let plain = request(1, 1).encode_to_vec();
    let answer = post(
        http,
        TRACES_HTTP_PATH,
        &[("content-type", "application/x-protobuf")],
        plain.clone(),
    )
    .await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    let (status, answer) = call(grpc, TRACES_GRPC_PATH, &[], grpc_body(&plain, false)).await;
    assert_eq!(status, 14);
    assert!(answer.headers.contains_key("grpc-status-details-bin"), "RetryInfo");
}

#[test]
fn rejected_spans_have_their_own_name() {
    let receipt = crate::pipeline::Receipt {
        rejected: 2,
        message: "why".to_owned(),
    };
    let response = crate::formats::otlp::response(2, &receipt.message);
    let partial = ExportTraceServiceResponse::decode(&response[..])
        .unwrap()
        .partial_success
        .unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (2, "why"));
}
