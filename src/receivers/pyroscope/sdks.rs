//! What each SDK sends, in the shape in which it sends it, with real profiles inside. Compared with what pyroscope-go 1.4.3,
//! pyroscope-io 1.4.0 and @pyroscope/nodejs 0.6.4 put on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::parts::tests::body;
use super::push::tests::request;
use super::tests::{PUSH, code, gate};
use crate::formats::any::{decode_any, encode};
use crate::formats::compress::compress;
use crate::formats::{Compression, Format, Limits};
use crate::net::client::grpc_body;
use crate::pipeline::Batch;
use crate::receivers::testing::{call, gunzip, post, profile_attributes, resource};
use crate::testing::data;

const MULTIPART: [(&str, &str); 1] = [("content-type", "multipart/form-data; boundary=BOUND")];
const PROTO: (&str, &str) = ("content-type", "application/proto");

/// The files with what an independent reader sums them up to.
const GO_CPU: (&str, &[i128]) = ("go123-cpu-labels.pb.gz", &[785, 7_850_000_000]);
const GO_HEAP: (&str, &[i128]) = ("go123-heap.pb.gz", &[7_787_362, 3_761_362_655, 3_791, 3_523_748]);
const NODE: (&str, &[i128]) = ("node20-wall-cpu-labels.pb.gz", &[822, 5_902_398_000, 2_191_548_158]);
const RUST: (&str, &[i128]) = ("rust-cpu.pb.gz", &[1_649, 3_304_609_194]);

/// The sums of the sample types of the only profile, in order.
fn sums(batch: &Batch) -> Vec<i128> {
    let profiles = batch.as_profiles().unwrap();
    assert_eq!(profiles.profile_count(), 1);
    let profile = profiles.iter().next().unwrap().profile;
    let types = profile.sample_types.len();
    (0..types).map(|column| profile.samples.sum(column, types)).collect()
}

/// Start and length of the only profile.
fn time(batch: &Batch) -> (u64, u64) {
    let profile = batch.as_profiles().unwrap().iter().next().unwrap().profile;
    (profile.time_unix_nano, profile.duration_nano)
}

fn service(batch: &Batch) -> String {
    resource(batch.as_profiles().unwrap())["service.name"].clone()
}

#[tokio::test]
async fn go_sends_parts_without_a_format_and_nanoseconds() {
    let (gate, engine) = gate().await;
    let path = "/ingest?aggregationType=&from=1700000000000000001&until=1700000015000000001&sampleRate=100&spyName=gospy&units=\
                &name=shop.golang%7B__session_id__%3D0123456789abcdef%2Cprocess.runtime.name%3Dgo%7D";
    let config = br#"{"alloc_objects":{"units":"objects"},"contentions":{"display-name":"block_count"}}"#;
    for ((file, wanted), path) in [
        (GO_HEAP, path.to_owned()),
        (GO_CPU, path.to_owned()),
        // others say it twice: parts, and that it is pprof
        (GO_CPU, format!("{path}&format=pprof")),
    ] {
        let parts = body(&[("profile", &data(file)), ("sample_type_config", config)]);
        let answer = post(gate, &path, &MULTIPART, parts).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b""[..]), "{file}");
        let batches = engine.take().batches;
        assert_eq!(sums(&batches[0]), wanted, "{file}");
        let labels = resource(batches[0].as_profiles().unwrap());
        assert_eq!(
            labels["service.name"], "shop.golang",
            "pprof names keep all their parts"
        );
        assert_eq!(labels["process.runtime.name"], "go");
        let own = profile_attributes(batches[0].as_profiles().unwrap());
        assert_eq!(own["pyroscope.session_id"], "0123456789abcdef");
        assert_eq!(
            (own["pyroscope.spy"].as_str(), own["pyroscope.name"].as_str()),
            ("gospy", "block")
        );
        assert_ne!(
            time(&batches[0]).0,
            1_700_000_000_000_000_001,
            "the profile's own time stays"
        );
    }
}

#[tokio::test]
async fn node_sends_seconds_in_parts_or_the_bare_pprof() {
    let (gate, engine) = gate().await;
    let query =
        "from=1700000000&until=1700000010&name=shop-js%7Botel.scope.version%3D0.6.4%2Cenv%3Dprod%7D&spyName=nodespy";
    let bare = [("content-type", "application/octet-stream")];
    for (path, headers, body) in [
        // before 0.6, and since
        (
            format!("/ingest?sampleRate=100&{query}"),
            MULTIPART,
            body(&[("profile", &data(NODE.0))]),
        ),
        (
            format!("/ingest?format=pprof&{query}&sampleRate=200"),
            bare,
            data(NODE.0),
        ),
        (format!("/pyroscope/ingest?format=pprof&{query}"), bare, data(NODE.0)),
    ] {
        assert_eq!(post(gate, &path, &headers, body).await.status, 200, "{path}");
        let batches = engine.take().batches;
        assert_eq!(
            (sums(&batches[0]).as_slice(), service(&batches[0]).as_str()),
            (NODE.1, "shop-js")
        );
        let labels = resource(batches[0].as_profiles().unwrap());
        assert_eq!(
            (labels["otel.scope.version"].as_str(), labels["env"].as_str()),
            ("0.6.4", "prod")
        );
    }
}

#[tokio::test]
async fn curl_sends_bare_pprof_plain_or_compressed() {
    let (gate, engine) = gate().await;
    let packed = data(GO_CPU.0);
    let plain = gunzip(&packed);
    let twice = compress(&packed, Compression::Zstd(1));
    let zstd = [("content-encoding", "zstd")];
    let forms = [(&packed, &[][..]), (&plain, &[]), (&twice, &zstd)];
    for (bytes, headers) in forms {
        for path in ["/ingest?name=a.b%7Bx%3Dy%7D&format=pprof", "/ingest?name=a.b"] {
            let answer = post(gate, path, headers, bytes.clone()).await;
            assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
            let batches = engine.take().batches;
            assert_eq!(
                (sums(&batches[0]).as_slice(), service(&batches[0]).as_str()),
                (GO_CPU.1, "a.b")
            );
        }
    }
}

#[tokio::test]
async fn python_ruby_and_rust_push_gzip_around_plain_pprof() {
    let (gate, engine) = gate().await;
    let labels = [
        ("service_name", "shop.py"),
        ("__name__", "process_cpu"),
        ("region", "eu"),
    ];
    let message = request(&[(&labels, &[&gunzip(&data(RUST.0))])]);
    let headers = [PROTO, ("content-encoding", "gzip")];
    let answer = post(gate, PUSH, &headers, compress(&message, Compression::Gzip(6))).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b""[..]));
    assert_eq!(answer.headers["content-type"], "application/proto");
    let batches = engine.take().batches;
    assert_eq!(
        (sums(&batches[0]).as_slice(), service(&batches[0]).as_str()),
        (RUST.1, "shop.py")
    );
    let profiles = batches[0].as_profiles().unwrap();
    assert_eq!(resource(profiles)["region"], "eu");
    assert_eq!(profile_attributes(profiles)["pyroscope.name"], "process_cpu");
}

#[tokio::test]
async fn dotnet_pushes_several_series_uncompressed() {
    let (gate, engine) = gate().await;
    let (cpu, heap) = (gunzip(&data(GO_CPU.0)), gunzip(&data(GO_HEAP.0)));
    let shared = ("service_name", "shop.net");
    let message = request(&[
        (&[shared, ("__name__", "process_cpu")], &[&cpu]),
        (&[shared, ("__name__", "memory")], &[&heap]),
    ]);
    assert_eq!(post(gate, PUSH, &[PROTO], message).await.status, 200);
    let batches = engine.take().batches;
    let names: Vec<String> = batches
        .iter()
        .map(|batch| profile_attributes(batch.as_profiles().unwrap())["pyroscope.name"].clone())
        .collect();
    assert_eq!(names, ["process_cpu", "memory"]);
    assert_eq!(
        (sums(&batches[0]), sums(&batches[1])),
        (GO_CPU.1.to_vec(), GO_HEAP.1.to_vec())
    );
}

#[tokio::test]
async fn json_and_grpc_say_the_same_as_protobuf() {
    let (gate, engine) = gate().await;
    let packed = data(NODE.0);
    let json = serde_json::json!({ "series": [{
        "labels": [{ "name": "service_name", "value": "shop" }],
        "samples": [{ "ID": "x", "rawProfile": STANDARD.encode(&packed) }],
    }]});
    let answer = post(gate, PUSH, &[("content-type", "application/json")], json.to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"{}"[..]));
    let message = request(&[(&[("service_name", "shop")], &[&packed])]);
    for (encoding, compression) in [("gzip", Compression::Gzip(6)), ("zstd", Compression::Zstd(1))] {
        let frame = grpc_body(&compress(&message, compression), true);
        let (status, _) = call(gate, PUSH, &[("grpc-encoding", encoding)], frame).await;
        assert_eq!(status, 0, "{encoding}");
    }
    let (status, _) = call(gate, PUSH, &[("grpc-encoding", "gzip")], grpc_body(&message, false)).await;
    assert_eq!(status, 0, "an encoding is named, and not used");
    let batches = engine.take().batches;
    assert_eq!(batches.len(), 4);
    for batch in &batches {
        assert_eq!((sums(batch).as_slice(), service(batch).as_str()), (NODE.1, "shop"));
    }
}

#[tokio::test]
async fn a_defective_profile_costs_itself_alone() {
    let (gate, engine) = gate().await;
    let good = data(GO_CPU.0);
    let cut = &good[..good.len() / 2];
    let labels: &[(&str, &str)] = &[("service_name", "shop")];
    let message = request(&[(labels, &[b"hello", &good, cut])]);
    let answer = post(gate, PUSH, &[PROTO], message).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b""[..]));
    assert_eq!(engine.take().batches.len(), 1);

    let message = request(&[(labels, &[b"hello", cut])]);
    let answer = post(gate, PUSH, &[PROTO], message.clone()).await;
    assert_eq!(
        (answer.status.as_u16(), code(&answer).as_str()),
        (400, "invalid_argument")
    );
    let (status, _) = call(gate, PUSH, &[], grpc_body(&message, false)).await;
    assert_eq!(status, 3);
    assert!(engine.take().batches.is_empty());
    assert_eq!(engine.held(), 0);
}

#[tokio::test]
async fn the_profiles_of_a_push_share_one_limit() {
    let (gate, engine) = gate().await;
    // each decompresses to less than the limit of 64 MiB, all together to more
    let bomb = compress(&vec![0; 24 << 20], Compression::Gzip(9));
    let message = request(&[(&[], &[&bomb, &bomb, &bomb])]);
    let answer = post(gate, PUSH, &[PROTO], message).await;
    assert_eq!(
        (answer.status.as_u16(), code(&answer).as_str()),
        (413, "resource_exhausted")
    );
    assert_eq!(engine.held(), 0);
    // many small ones do not count as many layers
    let good = data(GO_HEAP.0);
    let answer = post(gate, PUSH, &[PROTO], request(&[(&[], &[&good[..]; 9])])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(engine.take().batches.len(), 9);
}

#[tokio::test]
async fn times_fill_only_what_is_missing() {
    let (gate, engine) = gate().await;
    // jemalloc's dumps say neither when nor how long
    let file = data("rust-jemalloc-heap.pb.gz");
    let path = "/ingest?name=a&format=pprof&from=1700000000000&until=1700000030000";
    assert_eq!(post(gate, path, &[], file).await.status, 200);
    let (start, length) = time(&engine.take().batches[0]);
    assert!(start > 0);
    assert_eq!(length, 30_000_000_000);
}

#[tokio::test]
async fn bytes_without_the_labels_are_never_sent_on_as_they_came() {
    let (gate, engine) = gate().await;
    let profiles = decode_any(data(GO_CPU.0).into(), &Limits::default())
        .unwrap()
        .decoded
        .profiles;
    let ours = encode(Format::Pprof, &profiles, usize::MAX).unwrap();
    let again = decode_any(ours.clone().into(), &Limits::default()).unwrap();
    assert!(again.decoded.exact, "or this test proves nothing");
    assert_eq!(
        post(gate, "/ingest?name=a&format=pprof", &[], ours.clone())
            .await
            .status,
        200
    );
    let message = request(&[(&[("service_name", "a")], &[&ours])]);
    assert_eq!(post(gate, PUSH, &[PROTO], message).await.status, 200);
    let batches = engine.take().batches;
    assert!(batches.len() == 2 && batches.iter().all(|batch| batch.received().is_none()));
}
