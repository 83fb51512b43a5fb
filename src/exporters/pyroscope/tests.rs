//! What arrives at a server, read back from the wire.

use std::collections::BTreeMap;

use super::*;
use crate::exporters::testing::{self, Reply};
use crate::formats::wire::{Field, Reader};
use crate::formats::{Limits, any};
use crate::pipeline::{Origin, Permit};
use crate::profile::{KeyValue, Value};

/// A real recording with the given resource attributes, taken just now.
fn batch(attributes: &[(&str, &str)]) -> Batch {
    let Ok(read) = any::decode_any(crate::testing::data("go123-heap.pb.gz").into(), &Limits::default()) else {
        panic!("a recording of our own")
    };
    let mut profiles = read.decoded.profiles;
    let (dictionary, resources) = profiles.edit();
    for (key, value) in attributes {
        let key = dictionary.strings.push(key);
        let value = Value::String(dictionary.strings.push(value));
        resources[0].attributes.push(KeyValue { key, value });
    }
    resources[0].scopes[0].profiles[0].time_unix_nano = 0;
    Batch::made(profiles, 1, Arc::new(Origin::local("test")), Permit::unlimited())
}

fn exporter(config: serde_json::Value) -> Arc<dyn Exporter> {
    build(config, &testing::context("pyroscope")).unwrap().exporter
}

/// The labels and the pprof of a request of one series and one sample.
fn read(request: &[u8]) -> (BTreeMap<String, String>, Vec<u8>) {
    let (mut labels, mut profile) = (BTreeMap::new(), Vec::new());
    let text = |field: Field<'_>| match field {
        Field::Bytes(reader) => String::from_utf8(reader.bytes().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let Ok(Some((1, Field::Bytes(mut series)))) = Reader::new(request).field() else {
        panic!("a series")
    };
    while let Some((number, field)) = series.field().unwrap() {
        let Field::Bytes(mut inside) = field else {
            panic!("a message")
        };
        let (_, first) = inside.field().unwrap().unwrap();
        match number {
            1 => {
                let (_, second) = inside.field().unwrap().unwrap();
                labels.insert(text(first), text(second));
            }
            2 => {
                let Field::Bytes(raw) = first else { panic!("bytes") };
                profile = testing::gunzip(raw.bytes());
            }
            other => panic!("field {other}"),
        }
    }
    (labels, profile)
}

#[tokio::test]
async fn a_series_arrives_with_its_labels_and_every_total() {
    let server = testing::serve(Reply::status(200)).await;
    let exporter = exporter(serde_json::json!({
        "endpoint": server.url, "tenant_id": "shop",
        "basic_auth": { "username": "u", "password": "planted-token" },
    }));
    let batch = batch(&[("service.name", "checkout"), ("env", "prod"), ("trace_id", "00ff")]);
    let encoded = exporter.encode(&batch).unwrap();
    assert_eq!(exporter.export(&batch, encoded).await, Ok(Sent::default()));
    let seen = server.seen();
    assert_eq!(seen.path, "/push.v1.PusherService/Push");
    assert_eq!(seen.headers["content-type"], "application/proto");
    assert_eq!(seen.headers["x-scope-orgid"], "shop");
    assert_eq!(seen.headers["authorization"], "Basic dTpwbGFudGVkLXRva2Vu");
    let (labels, pprof) = read(&seen.body);
    let expected = [("__name__", "memory"), ("env", "prod"), ("service_name", "checkout")];
    let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(labels, BTreeMap::from(expected));
    let arrived = crate::formats::pprof::decode(&pprof, &Limits::default())
        .unwrap()
        .profiles;
    let sums = |profiles: &Profiles| -> Vec<i128> {
        let profile = profiles.iter().next().unwrap().profile;
        (0..4).map(|column| profile.samples.sum(column, 4)).collect()
    };
    assert_eq!(sums(&arrived), sums(batch.as_profiles().unwrap()));
    assert_eq!(sums(&arrived), [7_787_362, 3_761_362_655, 3_791, 3_523_748]);
}

#[test]
fn too_many_labels_leave_out_the_least_telling() {
    let many: Vec<String> = (0..60).map(|n| format!("x{n:02}")).collect();
    let mut attributes: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "v")).collect();
    attributes.push(("k8s.pod.name", "pod"));
    let exporter = exporter(serde_json::json!({ "endpoint": "http://localhost" }));
    let (labels, _) = read(&exporter.encode(&batch(&attributes)).unwrap().body);
    assert_eq!(labels.len(), 26);
    assert_eq!(labels["k8s.pod.name"], "pod");
    assert_eq!(labels["service_name"], "unknown_service");
    assert!(labels.contains_key("x00") && !labels.contains_key("x59"));
}

#[test]
fn names_that_the_server_refuses_are_mended_and_old_profiles_stay() {
    let exporter = exporter(serde_json::json!({ "endpoint": "http://localhost" }));
    let mut batch = batch(&[]);
    let (dictionary, resources) = batch.edit().unwrap().edit();
    let profile = &mut resources[0].scopes[0].profiles[0];
    profile.sample_types[0].kind = dictionary.strings.push("wall-time");
    let (labels, pprof) = read(&exporter.encode(&batch).unwrap().body);
    assert_eq!(labels["__name__"], "wall");
    let sent = crate::formats::pprof::decode(&pprof, &Limits::default())
        .unwrap()
        .profiles;
    let first = sent.iter().next().unwrap().profile.sample_types[0];
    assert_eq!(sent.dictionary().str(first.kind), "wall_time");
    batch.edit().unwrap().edit().1[0].scopes[0].profiles[0].time_unix_nano = 1;
    assert!(matches!(
        exporter.encode(&batch),
        Err(ExportError::Unrepresentable { .. })
    ));
}

#[test]
fn every_status_has_its_consequence() {
    let judge = |status: u16, bytes| {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            trailers: http::HeaderMap::new(),
            body: bytes::Bytes::from_static(b"planted-token"),
        };
        super::judge(&answer, bytes)
    };
    assert!(judge(200, 1).is_ok());
    for status in [408, 429, 500, 503] {
        assert!(matches!(judge(status, 1), Err(ExportError::Retry { .. })), "{status}");
    }
    assert_eq!(judge(429, 3 << 20), Err(ExportError::TooLarge));
    assert_eq!(judge(413, 1), Err(ExportError::TooLarge));
    for status in [400, 401, 404, 422] {
        let Err(ExportError::Permanent { why }) = judge(status, 1) else {
            panic!("{status}")
        };
        assert!(!why.contains("planted-token"));
    }
}
