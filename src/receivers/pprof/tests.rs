//! `pprof`, its blocks one by one.

use serde_json::json;

use super::*;
use crate::pipeline::Batch;
use crate::receivers::testing::{Engine, context, gunzip, post, resource, sample_types, start};

#[test]
fn blocks_are_on_when_their_keys_are_present() {
    assert!(build(json!({ "server": null }), &context()).is_ok());
    assert!(build(json!({ "self": null }), &context()).is_ok());
    assert!(build(json!({ "file": { "include": "/profiles/*.pb.gz" } }), &context()).is_ok());
    assert!(
        build(
            json!({ "remote": { "endpoint": "http://localhost:6060/debug/pprof/heap" } }),
            &context()
        )
        .is_ok()
    );
    for (config, path) in [
        (json!({}), ""),
        (json!({ "remote": null }), "remote.endpoint"),
        (json!({ "remote": { "endpoint": "localhost:6060" } }), "remote.endpoint"),
        (
            json!({ "remote": { "endpoint": "http://169.254.169.254/latest" } }),
            "remote.endpoint",
        ),
        (
            json!({ "remote": { "endpoint": "http://h", "collection_interval": 0 } }),
            "remote.collection_interval",
        ),
        (
            json!({ "remote": { "endpoint": "http://h", "headers": { "a b": "" } } }),
            "remote.headers.a b",
        ),
        (
            json!({ "remote": { "endpoint": "http://h", "tenant": "a/b" } }),
            "remote.tenant",
        ),
        (
            json!({ "remote": { "endpoint": "http://h", "resource": { "": "x" } } }),
            "remote.resource",
        ),
        (json!({ "file": { "include": "/p/*", "tenant": "a/b" } }), "file.tenant"),
        (json!({ "file": null }), "file.include"),
        (
            json!({ "file": { "include": "/p/*", "collection_interval": 0 } }),
            "file.collection_interval",
        ),
        (json!({ "server": { "endpoint": "x" } }), "server.endpoint"),
        (
            json!({ "self": { "collection_interval": "1ms" } }),
            "self.collection_interval",
        ),
        (json!({ "self": { "frequency": 0 } }), "self.frequency"),
    ] {
        assert_eq!(build(config.clone(), &context()).err().unwrap().path, path, "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_is_said_to_be_whose_it_is() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(|| async { "main;work 1\n" });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let remote = json!({
        "endpoint": format!("http://{address}/profile"),
        "initial_delay": "0s",
        "resource": { "service.name": "shop", "env": "prod" },
        "tenant": "team-a",
    });
    let (engine, stop) = (Engine::new(), Stop::new());
    let receiver = build(json!({ "remote": remote }), &context()).unwrap();
    let running = tokio::spawn(receiver.run(engine.outlet(), stop.clone()));
    let begin = std::time::Instant::now();
    let batch = loop {
        if let Some(batch) = engine.take().batches.pop() {
            break batch;
        }
        assert!(begin.elapsed().as_secs() < 60, "nothing was fetched");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    stop.ask();
    running.await.unwrap().unwrap();
    let said = resource(batch.as_profiles().unwrap());
    assert_eq!((said["service.name"].as_str(), said["env"].as_str()), ("shop", "prod"));
    assert_eq!(&*batch.origin().tenant, "team-a");
}

async fn gate(engine: &std::sync::Arc<Engine>) -> std::net::SocketAddr {
    gate_with(json!({}), engine).await
}

async fn gate_with(server: serde_json::Value, engine: &std::sync::Arc<Engine>) -> std::net::SocketAddr {
    let config: HttpServerConfig = parse(server).unwrap();
    let server = config.check("server", "localhost:8080", &context()).unwrap();
    start(server.service(&engine.outlet(), routes::router)).await
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let engine = Engine::new();
    let gate = gate(&engine).await;
    for (path, headers, body, status) in [
        ("/v1/pprof", &[][..], "hello", 400),
        ("/v1/pprof?name=%7B", &[], "", 400),
        ("/v1/pprof", &[("content-encoding", "br")], "", 415),
        ("/v1/pprof", &[("content-encoding", "gzip")], "hello", 400),
        ("/", &[], "", 404),
    ] {
        let answer = post(gate, path, headers, body).await;
        assert_eq!(answer.status, status, "{path}: {:?}", answer.body);
        assert!(answer.body.len() > 10, "{path}");
    }
    let unknown = post(gate, "/v1/pprof", &[], "some text").await;
    let told = String::from_utf8_lossy(&unknown.body);
    assert!(told.contains("no format of profiles that is read here"), "{told}");
    assert_eq!(engine.held(), 0);
}

#[tokio::test]
async fn a_profile_may_be_named_in_the_query() {
    let engine = Engine::new();
    let gate = gate(&engine).await;
    let packed = crate::testing::data("go123-heap.pb.gz");
    let plain = gunzip(&packed);
    for (path, body) in [("/v1/pprof", &packed), ("/v1/pprof", &plain)] {
        let answer = post(gate, path, &[], body.clone()).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let batches = engine.take().batches;
        let profiles = batches[0].as_profiles().unwrap();
        assert_eq!(profiles.iter().next().unwrap().profile.samples.sum(3, 4), 3_523_748);
        assert!(!resource(profiles).contains_key("service.name"));
    }
    let answer = post(gate, "/v1/pprof?name=shop%7Benv%3Dprod%7D&from=now-1m", &[], packed).await;
    assert_eq!(answer.status, 200);
    let batches = engine.take().batches;
    let labels = resource(batches[0].as_profiles().unwrap());
    assert_eq!(
        (labels["service.name"].as_str(), labels["env"].as_str()),
        ("shop", "prod")
    );
    assert!(batches[0].received().is_none(), "the bytes do not hold the name");
}

#[tokio::test]
async fn what_says_no_time_was_made_when_it_came() {
    let engine = Engine::new();
    let gate = gate(&engine).await;
    let before = std::time::SystemTime::now();
    for body in [
        "main;work 3\n",
        "shop 17 1.5: 5 cycles:\n\t7f main\n\nshop 17 2.0: 5 cycles:\n\t7f main\n",
        "goroutine profile: total 1\n1 @ 0x1\n",
        r#"{"code":[],"ticks":[{"tm":1,"vm":0,"s":[]},{"tm":9,"vm":0,"s":[]}]}"#,
    ] {
        assert_eq!(post(gate, "/v1/pprof", &[], body).await.status, 200, "{body}");
        let batches = engine.take().batches;
        let profile = batches[0].as_profiles().unwrap().iter().next().unwrap().profile.clone();
        let ended = std::time::Duration::from_nanos(profile.time_unix_nano + profile.duration_nano);
        let ended = std::time::UNIX_EPOCH + ended;
        assert!(before <= ended && ended <= std::time::SystemTime::now(), "{body}");
    }
}

#[tokio::test]
async fn waits_in_recordings_are_a_profile_where_they_are_asked_for() {
    for (config, asked) in [(json!({}), false), (json!({ "jfr": { "off_cpu": true } }), true)] {
        let engine = Engine::new();
        let gate = gate_with(config, &engine).await;
        let recording = crate::testing::data("jdk17-deep.jfr.gz");
        assert_eq!(post(gate, "/v1/pprof", &[], recording).await.status, 200);
        let types = sample_types(&engine);
        assert!(types.contains(&"cpu".to_owned()));
        assert_eq!(types.contains(&"off_cpu".to_owned()), asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_cpu_becomes_a_profile() {
    let engine = Engine::new();
    let config = json!({ "self": { "collection_interval": "1s", "frequency": 500 } });
    let (receiver, stop) = (build(config, &context()).unwrap(), Stop::new());
    let running = tokio::spawn(receiver.run(engine.outlet(), stop.clone()));
    // the first start of the profiler takes a moment, and a busy machine may leave a round without samples
    let mut found = None;
    for _ in 0..60 {
        tokio::task::spawn_blocking(burn).await.unwrap();
        found = engine
            .take()
            .batches
            .into_iter()
            .find(|batch| names(batch).iter().any(|name| is_burn(name)));
        if found.is_some() {
            break;
        }
    }
    stop.ask();
    running.await.unwrap().unwrap();
    let batch = found.expect("no profile shows what burnt");
    let profiles = batch.as_profiles().unwrap();
    assert_eq!(resource(profiles)["service.name"], "flamegate");
    let profile = profiles.iter().next().unwrap().profile;
    let (samples, cpu) = (profile.samples.sum(0, 2), profile.samples.sum(1, 2));
    assert!(samples > 0 && cpu == samples * 2_000_000, "{samples} samples, {cpu} ns");
    assert!(
        !names(&batch).iter().any(|name| name.contains("pprof::backtrace")),
        "the profiler is not in its profile"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_take_turns_at_this_process() {
    let config = json!({ "self": { "collection_interval": "1s", "frequency": 500 } });
    let (engines, stop) = ([Engine::new(), Engine::new()], Stop::new());
    let running = engines.each_ref().map(|engine| {
        let receiver = build(config.clone(), &context()).unwrap();
        tokio::spawn(receiver.run(engine.outlet(), stop.clone()))
    });
    let mut delivered = [false; 2];
    for _ in 0..60 {
        tokio::task::spawn_blocking(burn).await.unwrap();
        for (delivered, engine) in delivered.iter_mut().zip(&engines) {
            *delivered |= !engine.take().batches.is_empty();
        }
        if delivered == [true; 2] {
            break;
        }
    }
    stop.ask();
    for receiver in running {
        receiver.await.unwrap().unwrap();
    }
    assert_eq!(delivered, [true; 2]);
}

fn names(batch: &Batch) -> Vec<String> {
    let d = batch.as_profiles().unwrap().dictionary();
    d.strings.ids().map(|id| d.str(id).to_owned()).collect()
}

fn is_burn(name: &str) -> bool {
    name == "burn" || name.ends_with("::burn")
}

#[inline(never)]
fn burn() {
    let mut x = 1u64;
    for i in 0..60_000_000u64 {
        x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(i));
    }
}
