use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::receivers::testing::{Engine, context, resource};

fn with(changes: Value) -> Result<Box<dyn Receiver>, BuildError> {
    let mut config = json!({ "static_configs": [{ "targets": ["localhost:6060"] }] });
    config
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    build(config, &context())
}

#[test]
fn what_is_wrong_is_told_by_its_key_and_not_quoted() {
    let files = json!([{ "files": ["targets/*.yaml"] }]);
    for (changes, path, word) in [
        (json!({ "static_configs": [] }), "", "no targets"),
        (
            json!({ "collection_interval": "500ms" }),
            "collection_interval",
            "1s or more",
        ),
        (json!({ "timeout": 0 }), "timeout", "15s"),
        (json!({ "max_share": 0 }), "max_share", "1 at most"),
        (json!({ "max_share": 1.5 }), "max_share", "1 at most"),
        (json!({ "tenant": "planted-token/" }), "tenant", "150"),
        (
            json!({ "static_configs": [{ "targets": ["a:1"], "tenant": "planted-token/" }] }),
            "static_configs[0].tenant",
            "150",
        ),
        (json!({ "max_concurrent": 0 }), "max_concurrent", "1 to 100000"),
        (json!({ "max_targets": 0 }), "max_targets", "1 to 100000"),
        (json!({ "max_response_size": 0 }), "max_response_size", "64MiB"),
        (json!({ "limits": { "elements": 0 } }), "limits.elements", "1 to"),
        (
            json!({ "collection_interval": "5s" }),
            "profiles",
            "collection_interval",
        ),
        (
            json!({ "static_configs": [{ "targets": ["a:1", "http://planted-token@h"] }] }),
            "static_configs[0].targets[1]",
            "host:port",
        ),
        (
            json!({ "static_configs": [{ "targets": ["a:1"] }, { "targets": ["A:1"] }] }),
            "static_configs[1].targets[0]",
            "stands twice",
        ),
        (
            json!({ "max_targets": 1, "static_configs": [{ "targets": ["a:1", "b:1"] }] }),
            "static_configs[0].targets[1]",
            "max_targets",
        ),
        (
            json!({ "static_configs": [{ "targets": ["169.254.169.254:80"] }] }),
            "static_configs[0].targets[0]",
            "allowed_networks",
        ),
        (
            json!({ "allowed_networks": ["10.0.0.0/8"], "static_configs": [{ "targets": ["[::1]:80"] }] }),
            "static_configs[0].targets[0]",
            "allowed_networks",
        ),
        (
            json!({ "static_configs": [{ "targets": ["a:1"], "headers": { "x": "planted-token\n" } }] }),
            "static_configs[0].headers.x",
            "line break",
        ),
        (
            json!({ "headers": { "host": "planted-token" } }),
            "headers.host",
            "set by",
        ),
        (json!({ "proxy_url": "planted-token" }), "proxy_url", "http://"),
        (
            json!({ "file_sd_configs": files, "proxy_url": "http://p:1" }),
            "proxy_url",
            "drop one",
        ),
        (
            json!({ "proxy_url": "http://p:1", "allowed_networks": ["127.0.0.0/8"] }),
            "proxy_url",
            "drop one",
        ),
        (
            json!({ "proxy_url": "http://p:1", "denied_networks": ["10.0.0.0/8"] }),
            "proxy_url",
            "drop one",
        ),
        (
            json!({ "file_sd_configs": files, "tls": { "cert_file": "shop.pem", "key_file": "shop.key" } }),
            "tls.cert_file",
            "allowed_networks",
        ),
        (
            json!({ "file_sd_configs": files, "tls": { "cert_pem": "planted-token", "key_file": "shop.key" } }),
            "tls.cert_pem",
            "allowed_networks",
        ),
        (
            json!({ "file_sd_configs": files, "headers": { "authorization": "planted-token" } }),
            "headers",
            "allowed_networks",
        ),
        (
            json!({ "file_sd_configs": [{ "files": [] }] }),
            "file_sd_configs[0].files",
            "no files",
        ),
        (
            json!({ "file_sd_configs": [{ "files": ["a.json", "b"] }] }),
            "file_sd_configs[0].files[1]",
            ".json",
        ),
        (
            json!({ "file_sd_configs": [{ "files": ["a.json"], "refresh_interval": "1ms" }] }),
            "file_sd_configs[0].refresh_interval",
            "1s or more",
        ),
    ] {
        let error = with(changes.clone())
            .err()
            .unwrap_or_else(|| panic!("taken: {changes}"));
        assert_eq!(error.path, path, "{error}");
        assert!(
            error.message.contains(word) && !error.message.contains("planted-token"),
            "{path}: {error}"
        );
    }
    for fine in [
        json!({ "proxy_url": "http://p:1" }),
        json!({ "allowed_networks": ["169.254.0.0/16"], "static_configs": [{ "targets": ["169.254.1.1:80"] }] }),
        json!({ "file_sd_configs": files, "headers": { "x": "y" }, "allowed_networks": ["10.0.0.0/8", "127.0.0.0/8", "::1"] }),
        json!({ "static_configs": [], "file_sd_configs": files }),
    ] {
        assert!(with(fine.clone()).is_ok(), "{fine}");
    }
}

/// Answers who brings the right credential, with the name of that in the profile.
async fn guarded(request: Request) -> axum::response::Response {
    let authorization = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    match authorization.and_then(|value| value.strip_prefix("Bearer planted-")) {
        Some(name) => format!("main;{name} 1\n").into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

struct Running {
    engine: Arc<Engine>,
    cx: BuildContext,
    stop: Stop,
}

impl Running {
    fn start(config: Value) -> Self {
        let (engine, cx, stop) = (Engine::new(), context(), Stop::new());
        let receiver = build(config, &cx).unwrap();
        tokio::spawn(receiver.run(engine.outlet(), stop.clone()));
        Self { engine, cx, stop }
    }

    /// Waits until so many instances brought a profile; the leaves of their stacks.
    async fn leaves(&self, instances: usize) -> BTreeMap<String, String> {
        let (mut leaves, begin) = (BTreeMap::new(), std::time::Instant::now());
        while leaves.len() < instances {
            assert!(begin.elapsed() < Duration::from_secs(60), "{leaves:?} and no more");
            for batch in self.engine.take().batches {
                let profiles = batch.as_profiles().unwrap();
                let d = profiles.dictionary();
                let instance = resource(profiles)["service.instance.id"].clone();
                let leaf = d
                    .functions
                    .rows()
                    .last()
                    .map(|function| d.str(function.name).to_owned());
                leaves.insert(instance, leaf.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        leaves
    }
}

async fn serve() -> u16 {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(guarded)).await });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_have_credentials_of_their_own() {
    let port = serve().await;
    let at = |host: u8| format!("127.0.0.{host}:{port}");
    let group = |host: u8, name: &str| json!({ "targets": [at(host)], "headers": { "Authorization": name } });
    let running = Running::start(json!({
        "collection_interval": "1s",
        "profiles": [{ "path": "/" }],
        "headers": { "authorization": "Bearer planted-all" },
        "static_configs": [group(1, "Bearer planted-one"), group(2, "Bearer planted-two"), { "targets": [at(3)] }],
    }));
    let leaves: Vec<String> = running.leaves(3).await.into_values().collect();
    assert_eq!(leaves, ["one", "two", "all"]);
    running.stop.ask();
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_have_tenants_of_their_own() {
    let (port, folder) = (serve().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("targets.json");
    let at = |host: u8| format!("127.0.0.{host}:{port}");
    let in_file = json!([{ "targets": [at(3)] }, { "targets": [at(4)], "labels": { "__tenant_id__": "d" } }]);
    std::fs::write(&path, in_file.to_string()).unwrap();
    let running = Running::start(json!({
        "collection_interval": "1s",
        "tenant": "all",
        "profiles": [{ "path": "/" }],
        "headers": { "authorization": "Bearer planted-all" },
        "allowed_networks": ["127.0.0.0/8"],
        "static_configs": [{ "targets": [at(1)] }, { "targets": [at(2)], "tenant": "b" }],
        "file_sd_configs": [{ "files": [path] }],
    }));
    let (mut tenants, begin) = (BTreeMap::new(), std::time::Instant::now());
    while tenants.len() < 4 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{tenants:?} and no more");
        for batch in running.engine.take().batches {
            let instance = resource(batch.as_profiles().unwrap())["service.instance.id"].clone();
            tenants.insert(instance, batch.origin().tenant.to_string());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(tenants.into_values().collect::<Vec<_>>(), ["all", "b", "all", "d"]);
    running.stop.ask();
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_of_files_come_and_go_and_stay_within_reach() {
    let (port, folder) = (serve().await, tempfile::tempdir().unwrap());
    let put = |hosts: &[&str]| {
        let targets: Vec<String> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
        let groups = json!([{ "targets": targets, "labels": { "job": "shop" } }]);
        // as whoever writes such files does it
        let (new, path) = (folder.path().join("new"), folder.path().join("targets.json"));
        std::fs::write(&new, groups.to_string()).unwrap();
        std::fs::rename(&new, path).unwrap();
    };
    put(&["127.0.0.1", "127.0.0.2"]);
    let running = Running::start(json!({
        "collection_interval": "1s",
        "profiles": [{ "path": "/" }],
        "headers": { "authorization": "Bearer planted-all" },
        "allowed_networks": ["127.0.0.0/30"],
        "file_sd_configs": [{ "files": [folder.path().join("*.json")], "refresh_interval": "1s" }],
    }));
    assert_eq!(running.leaves(2).await.len(), 2);
    // the last two lead to the same server, but not by an address that is allowed
    put(&["127.0.0.2", "127.0.0.3", "127.0.0.4", "[::ffff:127.0.0.5]", "a b"]);
    running.leaves(2).await;
    let listed = || {
        let (_, targets) = running.cx.metrics.all_targets().remove(0);
        let all = targets.all().into_iter();
        all.map(|(base, visited)| (base.to_string(), visited.health.label()))
            .collect::<BTreeMap<_, _>>()
    };
    let begin = std::time::Instant::now();
    while listed().len() != 4 || listed().values().any(|health| *health == "new") {
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", listed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let expected = [
        ("127.0.0.2", "up"),
        ("127.0.0.3", "up"),
        ("127.0.0.4", "down"),
        ("[::ffff:127.0.0.5]", "down"),
    ];
    let expected = expected.map(|(host, health)| (format!("http://{host}:{port}"), health));
    assert_eq!(listed(), BTreeMap::from(expected));
    let refused = running.cx.metrics.scrape(&running.cx.id).scraped_count("out_of_reach");
    assert!(refused >= 2, "{refused}");
    let text = running.cx.metrics.text();
    assert!(
        text.contains("flamegate_scrape_targets{receiver=\"test\",health=\"left_out\"} 1\n"),
        "{text}"
    );
    running.stop.ask();
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_in_files_is_refused_unless_allowed() {
    let (port, folder) = (serve().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("targets.yaml");
    std::fs::write(&path, format!("- targets: ['127.0.0.1:{port}', 'localhost:{port}']\n")).unwrap();
    let running = Running::start(json!({
        "collection_interval": "1s",
        "profiles": [{ "path": "/" }],
        "file_sd_configs": [{ "files": [path] }],
    }));
    let metrics = running.cx.metrics.scrape(&running.cx.id);
    let begin = std::time::Instant::now();
    while metrics.scraped_count("out_of_reach") < 2 {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{}",
            running.cx.metrics.text()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(running.engine.take().batches.is_empty());
    running.stop.ask();
}
