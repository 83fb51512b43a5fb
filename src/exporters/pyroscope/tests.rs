//! What arrives at a server, read back from the wire.

use std::collections::BTreeMap;

use super::*;
use crate::exporters::testing::{self, Reply};
use crate::formats::wire::{Field, Reader};
use crate::formats::{Limits, any};
use crate::pipeline::{Origin, Permit};
use crate::profile::{Attribute, Id, KeyValue, Line, Location, Profile, Profiles, Value};

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

/// Labels and pprof of each series of a request, each with one sample.
fn read_all(request: &[u8]) -> Vec<(BTreeMap<String, String>, Vec<u8>)> {
    let text = |field: Field<'_>| match field {
        Field::Bytes(reader) => String::from_utf8(reader.bytes().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let (mut request, mut all) = (Reader::new(request), Vec::new());
    while let Some((1, Field::Bytes(mut series))) = request.field().unwrap() {
        let (mut labels, mut profile) = (BTreeMap::new(), Vec::new());
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
        all.push((labels, profile));
    }
    all
}

/// The same of a request of one series.
fn read(request: &[u8]) -> (BTreeMap<String, String>, Vec<u8>) {
    let mut all = read_all(request);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// What a request of one series holds, decoded.
fn sent(request: &[u8]) -> Profiles {
    crate::formats::pprof::decode(&read(request).1, &Limits::default())
        .unwrap()
        .profiles
}

/// The batch after `change` to its only profile.
fn changed(mut batch: Batch, change: impl FnOnce(&mut crate::profile::Dictionary, &mut Profile)) -> Batch {
    let (dictionary, resources) = batch.edit().unwrap().edit();
    change(dictionary, &mut resources[0].scopes[0].profiles[0]);
    batch
}

fn local() -> Arc<dyn Exporter> {
    exporter(serde_json::json!({ "endpoint": "http://localhost" }))
}

/// The sums of the four types of the recording.
fn sums(profiles: &Profiles) -> Vec<i128> {
    let profile = profiles.iter().next().unwrap().profile;
    (0..4).map(|column| profile.samples.sum(column, 4)).collect()
}

/// Gives every sample these labels instead of its own.
fn label(
    dictionary: &mut crate::profile::Dictionary,
    profile: &mut Profile,
    labels: impl IntoIterator<Item = (String, Value)>,
) {
    let mut ids = Vec::new();
    for (key, value) in labels {
        let (key, unit) = (dictionary.strings.push(&key), Id::UNSET);
        ids.push(dictionary.attributes.push(Attribute { key, value, unit }));
    }
    let set = dictionary.attribute_sets.push(&ids);
    Arc::make_mut(&mut profile.samples).attributes.fill(set);
}

/// The names of the labels on the samples.
fn keys(profiles: &Profiles) -> std::collections::BTreeSet<String> {
    let (d, profile) = (profiles.dictionary(), profiles.iter().next().unwrap().profile);
    let labels = profile.samples.attributes.iter().flat_map(|set| d.attributes_of(*set));
    labels.map(|label| d.str(label.key).to_owned()).collect()
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
    let (labels, _) = read(&seen.body);
    let expected = [("__name__", "memory"), ("env", "prod"), ("service_name", "checkout")];
    let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(labels, BTreeMap::from(expected));
    let arrived = sent(&seen.body);
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
    assert_eq!(labels.len(), 30);
    assert_eq!(labels["k8s.pod.name"], "pod");
    assert_eq!(labels["service_name"], "unknown_service");
    assert!(labels.contains_key("x00") && !labels.contains_key("x59"));
}

#[test]
fn labels_of_samples_take_their_room_from_those_of_the_series() {
    let many: Vec<String> = (0..60).map(|n| format!("x{n:02}")).collect();
    let attributes: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "v")).collect();
    for (names, left) in [(0, 30), (7, 23), (60, 2)] {
        let batch = changed(batch(&attributes), |d, profile| {
            let name = |n| format!("s{n:02}");
            let labels: Vec<_> = (0..names)
                .map(|n| (name(n), Value::String(d.strings.push("w"))))
                .collect();
            let ids = ["trace_id", "span_id"].map(|key| (key.to_owned(), Value::String(d.strings.push("00ff"))));
            label(d, profile, labels.into_iter().chain(ids));
        });
        let body = local().encode(&batch).unwrap().body;
        assert_eq!(read(&body).0.len(), left, "{names}");
        let keys = keys(&sent(&body));
        assert_eq!(keys.len(), (30 - left) + 2, "{names}: {keys:?}");
        assert!(keys.contains("trace_id") && keys.contains("span_id"), "{keys:?}");
    }
}

#[test]
fn labels_of_samples_that_the_server_refuses_are_cut_or_left_out() {
    let batch = changed(batch(&[]), |d, profile| {
        let long = "ü".repeat(2000);
        let text = |d: &mut crate::profile::Dictionary, text: &str| Value::String(d.strings.push(text));
        let labels = vec![
            ("__sampled__".to_owned(), text(d, "true")),
            ("k".repeat(1025), text(d, "v")),
            (String::new(), text(d, "v")),
            ("long".to_owned(), text(d, &long)),
            ("bytes".to_owned(), Value::Bytes(vec![7; 1025].into())),
            ("list".to_owned(), Value::Array(vec![Value::Int(1); 90].into())),
            ("more".to_owned(), Value::Array(vec![Value::Int(1); 90].into())),
            ("kept".to_owned(), text(d, "v")),
        ];
        label(d, profile, labels);
    });
    let sent = sent(&local().encode(&batch).unwrap().body);
    assert_eq!(keys(&sent), ["kept", "list", "long"].map(str::to_owned).into());
    let d = sent.dictionary();
    let set = sent.iter().next().unwrap().profile.samples.attributes[0];
    let Some(Value::String(long)) = d.attribute(set, "long") else {
        panic!("text")
    };
    assert_eq!(d.str(*long), "ü".repeat(1024));
    assert_eq!(sums(&sent), sums(batch.as_profiles().unwrap()));
}

#[test]
fn samples_that_the_server_would_lose_get_a_frame() {
    let batch = changed(batch(&[]), |d, profile| {
        let bare = d.push_location(Location::default(), &[]);
        let nobodys = d.push_location(
            Location {
                address: 7,
                ..Location::default()
            },
            &[Line::default()],
        );
        let stacks = [
            d.stacks.push(&[]),
            d.stacks.push(&[bare]),
            d.stacks.push(&[nobodys]),
            d.stacks.push(&[Id::UNSET]),
        ];
        let samples = Arc::make_mut(&mut profile.samples);
        samples.stacks[..4].copy_from_slice(&stacks);
    });
    let sent = sent(&local().encode(&batch).unwrap().body);
    let d = sent.dictionary();
    for stack in &sent.iter().next().unwrap().profile.samples.stacks {
        assert!(!d.stacks[*stack].is_empty());
        for location in &d.stacks[*stack] {
            assert!(d.lines[*location].iter().all(|line| line.function.is_set()));
            assert!(d.locations[*location].address > 0 || !d.lines[*location].is_empty());
        }
    }
    assert!(
        d.functions
            .rows()
            .iter()
            .any(|function| d.str(function.name) == "[unknown]")
    );
    assert_eq!(sums(&sent), sums(batch.as_profiles().unwrap()));
}

#[test]
fn every_profile_of_a_part_is_sent() {
    let parts = [batch(&[("service.name", "a")]), batch(&[("service.name", "b")])];
    let both = Profiles::merge(parts.iter().filter_map(Batch::as_profiles));
    let both = Batch::made(both, 2, Arc::new(Origin::local("test")), Permit::unlimited());
    let encoded = local().encode(&both).unwrap();
    let all = read_all(&encoded.body);
    assert_eq!(
        all.iter()
            .map(|(labels, _)| labels["service_name"].as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(
        encoded.plain_bytes,
        all.iter().map(|(_, pprof)| pprof.len()).sum::<usize>()
    );
    let none = Batch::made(
        Profiles::default(),
        1,
        Arc::new(Origin::local("test")),
        Permit::unlimited(),
    );
    assert!(matches!(
        local().encode(&none),
        Err(ExportError::Unrepresentable { .. })
    ));
}

#[test]
fn names_that_the_server_refuses_are_mended_and_old_profiles_stay() {
    let batch = changed(batch(&[]), |d, profile| {
        profile.sample_types[0].kind = d.strings.push("wall-time");
        profile.sample_types[0].unit = d.strings.push("a:b");
        profile.period_type.kind = d.strings.push("c:d");
    });
    let body = local().encode(&batch).unwrap().body;
    assert_eq!(read(&body).0["__name__"], "wall");
    let sent = sent(&body);
    let (d, profile) = (sent.dictionary(), sent.iter().next().unwrap().profile);
    let first = profile.sample_types[0];
    let names = [first.kind, first.unit, profile.period_type.kind].map(|id| d.str(id));
    assert_eq!(names, ["wall_time", "a_b", "c_d"]);
    let old = changed(batch, |_, profile| profile.time_unix_nano = 1);
    assert!(matches!(local().encode(&old), Err(ExportError::Unrepresentable { .. })));
}

#[tokio::test]
async fn a_tenant_that_no_server_takes_is_told_and_never_sent_as_nobodys() {
    let server = testing::serve(Reply::status(200)).await;
    for tenant in ["planted tenant", "planted\n", "..", &"x".repeat(151)] {
        let origin = Origin {
            tenant: tenant.into(),
            ..Origin::local("test")
        };
        let profiles = batch(&[]).as_profiles().unwrap().clone();
        let batch = Batch::made(profiles, 1, Arc::new(origin), Permit::unlimited());
        let send = async |config: serde_json::Value| {
            let exporter = exporter(config);
            let encoded = exporter.encode(&batch).unwrap();
            exporter.export(&batch, encoded).await
        };
        let Err(ExportError::Unrepresentable { why }) = send(serde_json::json!({ "endpoint": server.url })).await
        else {
            panic!("{tenant}")
        };
        assert!(why.contains("tenant_id") && !why.contains("planted"), "{why}");
        assert!(server.seen().path.is_empty());
    }
}

#[tokio::test]
async fn the_tenant_is_the_configured_one_or_the_senders() {
    let origin = Origin {
        tenant: "team-a".into(),
        ..Origin::local("test")
    };
    let batch = Batch::made(
        batch(&[]).as_profiles().unwrap().clone(),
        1,
        Arc::new(origin),
        Permit::unlimited(),
    );
    for (key, value, expected) in [
        ("tenant_id", serde_json::json!(""), "team-a"),
        ("tenant_id", serde_json::json!("shop"), "shop"),
        (
            "headers",
            serde_json::json!({ "X-Scope-OrgID": "of-headers" }),
            "of-headers",
        ),
    ] {
        let server = testing::serve(Reply::status(200)).await;
        let exporter = exporter(serde_json::json!({ "endpoint": server.url, key: value }));
        let encoded = exporter.encode(&batch).unwrap();
        assert!(exporter.export(&batch, encoded).await.is_ok());
        assert_eq!(server.seen().headers["x-scope-orgid"], expected);
    }
}

#[test]
fn what_is_configured_twice_is_refused() {
    let wrong = |key: &str, value: serde_json::Value, header: &str| {
        let mut config = serde_json::json!({ "endpoint": "http://localhost", "headers": { header: "planted-token" } });
        config[key] = value;
        build(config, &testing::context("pyroscope")).err().unwrap()
    };
    let auth = serde_json::json!({ "username": "planted-token", "password": "planted-token" });
    for error in [
        wrong("basic_auth", auth, "AUTHORIZATION"),
        wrong("tenant_id", serde_json::json!("planted-token"), "x-scope-orgid"),
    ] {
        let names = ["basic_auth", "tenant_id"];
        assert!(
            names.contains(&error.path.as_str()) && error.message.contains("keep"),
            "{error:?}"
        );
        assert!(!error.message.contains("planted-token"), "{error:?}");
    }
    let tenant = serde_json::json!({ "endpoint": "http://localhost", "tenant_id": "a/b" });
    assert_eq!(
        build(tenant, &testing::context("pyroscope")).err().unwrap().path,
        "tenant_id"
    );
}

#[test]
fn names_of_labels_are_those_that_an_older_server_takes() {
    let attributes = [
        ("k8s.pod.name", "pod"),
        ("k8s_pod_name", "twice"),
        ("app.kubernetes.io/name", "shop"),
        ("9lives-ü", "cat"),
        ("..sampled..", "true"),
    ];
    let batch = changed(batch(&attributes), |d, profile| {
        let mut text = |text: &str| Value::String(d.strings.push(text));
        let labels = [
            ("thread id".to_owned(), text("7")),
            ("plain".to_owned(), text("v")),
            ("..sampled..".to_owned(), text("true")),
        ];
        label(d, profile, labels);
    });
    let unchanged = local().encode(&batch).unwrap().body;
    assert!(attributes.iter().all(|(key, _)| read(&unchanged).0.contains_key(*key)));
    assert!(keys(&sent(&unchanged)).contains("thread id"));
    let config = serde_json::json!({ "endpoint": "http://localhost", "label_names": "legacy" });
    let legacy = exporter(config).encode(&batch).unwrap().body;
    let labels = read(&legacy).0;
    let expected = [
        ("app_kubernetes_io_name", "shop"),
        ("k8s_pod_name", "pod"),
        ("_9lives__", "cat"),
    ];
    assert!(expected.iter().all(|(key, value)| labels[*key] == *value), "{labels:?}");
    assert_eq!(labels.len(), 2 + expected.len(), "{labels:?}");
    assert_eq!(keys(&sent(&legacy)), ["plain", "thread_id"].map(str::to_owned).into());
}
