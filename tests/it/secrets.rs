//! What of a configuration is never shown: not by `print-config`, not in an error, not in a log.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use flamegate::app::CATALOG;
use flamegate::config::{Kind, Loaded, Sources, load, to_yaml};
use flamegate::pipeline::spec::BuildContext;
use flamegate::telemetry::Metrics;
use serde_json::{Value, json};

use crate::conformance::{example, rows};
use crate::schema::{Step, places, with};
use crate::support::{Gate, config, flamegate, free_port, http, wait_for};

/// What every planted secret holds.
const PLANTED: &str = "plantedEXAMPLE";

/// A component with a planted text at one place of its configuration.
struct Planted {
    kind: Kind,
    id: String,
    path: Vec<Step>,
    config: Value,
    is_secret: bool,
}

/// Every component with a text of its own at each place: alone, in a list, in a map, in an address, and beside the place.
fn planted_everywhere(text: impl Fn(usize) -> String) -> Vec<Planted> {
    let mut all: Vec<Planted> = Vec::new();
    for (kind, about) in rows() {
        for place in places(&(about.schema)().to_value()) {
            let mut plant = |path: &[Step], around: &dyn Fn(&str) -> Value| {
                let id = all.len();
                all.push(Planted {
                    kind,
                    id: format!("{}/{id}", about.name),
                    path: path.to_vec(),
                    is_secret: place.is_secret,
                    config: with(&example(about), path, around(&text(id))),
                });
            };
            plant(&place.path, &|text| json!(text));
            plant(&place.path, &|text| json!([text]));
            plant(&place.path, &|text| json!({ "no_such_key": text }));
            plant(&place.path, &|text| json!({ "no_such_key": [{ "deep": text }] }));
            plant(&place.path, &|text| {
                json!(format!("http://{text}:{text}@localhost:1/?token={text}"))
            });
            if place.is_closed_map {
                let sibling = [place.path.as_slice(), &[Step::Key("no_such_key".to_owned())]].concat();
                plant(&sibling, &|text| json!(text));
            }
        }
    }
    let secrets = all.iter().filter(|planted| planted.is_secret).count();
    assert!(
        all.len() > 500 && secrets > 50,
        "{} places, {secrets} secret",
        all.len()
    );
    all
}

/// The configuration of some of them, read.
fn loaded(some: &[Planted]) -> Loaded {
    let mut tree = json!({});
    for planted in some {
        tree[planted.kind.section()][&planted.id] = planted.config.clone();
    }
    let sources = Sources {
        texts: vec![("gate.yaml".to_owned(), tree.to_string())],
        sets: Vec::new(),
    };
    load(&sources, &|name| Some(format!("{PLANTED}-{name}-"))).unwrap()
}

/// All that is wrong with it, line by line: at least that there is no service.
fn errors(loaded: &Loaded) -> String {
    let cx = BuildContext::new("check", Arc::new(Metrics::default()));
    loaded.resolve(&CATALOG, &cx).unwrap_err().to_string()
}

fn shown(loaded: &Loaded) -> String {
    to_yaml(&loaded.redacted(&CATALOG)).unwrap()
}

/// So many at a time: a configuration may refer to its environment so often, and no more.
const AT_A_TIME: usize = 200;

#[tokio::test]
async fn prop_nothing_shows_what_came_from_the_environment() {
    let all = planted_everywhere(|id| format!("${{env:NAME_{id}}}"));
    for some in all.chunks(AT_A_TIME) {
        let loaded = loaded(some);
        for text in [shown(&loaded), errors(&loaded)] {
            assert_eq!(lines_with(&text, PLANTED), Vec::<&str>::new());
        }
    }
}

fn lines_with<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(word)).collect()
}

#[tokio::test]
async fn prop_no_error_shows_a_value_and_no_print_a_secret_one() {
    let text = |id: usize| format!("{PLANTED}-{id}-");
    let all = planted_everywhere(text);
    for some in all.chunks(AT_A_TIME) {
        let loaded = loaded(some);
        let errors = errors(&loaded);
        let mut told = lines_with(&errors, PLANTED);
        // which file cannot be read has to be said, and is no secret
        told.retain(|line| !line.contains("_file: ") || !line.contains("cannot be read"));
        assert_eq!(told, Vec::<&str>::new());
        let shown = shown(&loaded);
        for (id, planted) in all.iter().enumerate().filter(|(_, planted)| planted.is_secret) {
            let (id, path) = (text(id), &planted.path);
            assert_eq!(lines_with(&shown, &id), Vec::<&str>::new(), "{path:?}");
        }
        // of an address host and path may be shown, user and query may not
        assert_eq!(lines_with(&shown, "-@"), Vec::<&str>::new());
        assert_eq!(lines_with(&shown, &format!("={PLANTED}")), Vec::<&str>::new());
    }
}

/// A backend that refuses everyone, and quotes what it was sent.
fn refusing() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || refuse(stream.unwrap()));
        }
    });
    port
}

fn refuse(mut stream: std::net::TcpStream) {
    use std::io::{Read, Write};
    let (mut seen, mut buffer) = (Vec::new(), [0; 65536]);
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    while let Ok(1..) = stream
        .read(&mut buffer)
        .inspect(|n| seen.extend_from_slice(&buffer[..*n]))
    {}
    let told = String::from_utf8_lossy(&seen).replace('\0', "");
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"{PLANTED}-realm\"\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{told}",
        told.len()
    );
    let _ = stream.write_all(answer.as_bytes());
}

/// Every exporter that sends, to a backend that is not there and to one that refuses, with a secret of its own in each place.
fn leaky(ingest: u16, metrics: u16, nobody: u16, refusing: u16, file: &std::path::Path) -> String {
    let file = file.display();
    let exporters: String = [("nobody", nobody), ("refusing", refusing)]
        .into_iter()
        .map(|(name, port)| {
            let quick = "retry_on_failure: {initial_interval: 50ms, max_elapsed_time: 300ms}";
            format!(
                "  otlp_grpc/{name}: {{endpoint: \"http://127.0.0.1:{port}\", headers: {{authorization: \"Bearer {PLANTED}-1\", x-key: \"${{env:PLANTED_ENV}}\"}}, {quick}}}
  otlp_http/{name}: {{endpoint: \"http://127.0.0.1:{port}/{PLANTED}?token={PLANTED}-2\", headers: {{x-key: \"${{file:{file}}}\"}}, {quick}}}
  otlp_http/{name}-query: {{profiles_endpoint: \"http://127.0.0.1:{port}/x?key=${{env:PLANTED_ENV}}\", {quick}}}
  otlp_http/{name}-proxy: {{endpoint: \"http://profiles.invalid\", boundary: internal, proxy_url: \"http://me:{PLANTED}-6@127.0.0.1:{port}\", {quick}}}
  pyroscope/{name}: {{endpoint: \"http://127.0.0.1:{port}/?k={PLANTED}-3\", tenant_id: \"${{env:PLANTED_ENV}}\", basic_auth: {{username: \"1234\", password: \"{PLANTED}-4\"}}, headers: {{x-key: {PLANTED}-5}}, {quick}}}
"
            )
        })
        .collect();
    let names: Vec<&str> = exporters
        .lines()
        .filter_map(|line| line.trim().split(": {").next())
        .collect();
    format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters:
{exporters}service:
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [{}]}}}}
  telemetry: {{logs: {{level: trace}}, metrics: {{address: \"localhost:{metrics}\"}}}}
",
        names.join(", ")
    )
}

#[test]
fn no_log_and_no_metric_of_a_failing_export_shows_a_secret() {
    let (ingest, metrics, nobody) = (free_port(), free_port(), free_port());
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), format!("{PLANTED}-file")).unwrap();
    let (folder, path) = config(&leaky(ingest, metrics, nobody, refusing(), secret.path()));
    let env = format!("{PLANTED}-env");
    let printed = flamegate()
        .args(["print-config", "--config", &path])
        .env("PLANTED_ENV", &env)
        .output()
        .unwrap();
    assert!(printed.status.success());
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    // the path of an address is no secret
    assert!(
        !printed.replace(&format!("/{PLANTED}?"), "").contains(PLANTED),
        "{printed}"
    );
    let mut gate = Gate::start_with(folder.path(), &["--config", &path], &[("PLANTED_ENV", &env)]);
    let query = "/ingest?name=app.cpu&format=folded&from=now-10s&until=now";
    assert_eq!(http("POST", ingest, query, b"main;work 7\n").0, 200);
    let failed = |id: &str| {
        let wanted = format!("exporter={id} ");
        gate.err()
            .lines()
            .any(|line| line.contains(&wanted) || line.contains(&format!("exporter=\"{id}\"")))
    };
    for name in ["nobody", "refusing"] {
        for kind in ["otlp_grpc", "otlp_http", "pyroscope"] {
            wait_for("a failure in the log", || {
                failed(&format!("{kind}/{name}")).then_some(())
            });
        }
    }
    let (_, metrics) = http("GET", metrics, "/metrics", b"");
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("401"), "{}", gate.err());
    for text in [gate.err(), gate.out(), metrics] {
        assert_eq!(lines_with(&text, PLANTED), Vec::<&str>::new());
    }
}
