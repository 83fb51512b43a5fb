//! Nothing leaks: every planted recording goes into a running gate by every way there is, and nothing of what must go is in any
//! byte that leaves or rests: what backends were sent, the whole folder of the gate with files and trail, its log at its most
//! talkative, its pages, its answers, and what the commands write and say.
//!
//! A failure says where, which class and which line of `planted.txt`; never the text.

pub mod capture;
pub mod needles;
mod sources;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use flamegate::formats::{Limits, any};
use flamegate::profile::Profiles;
use serde_json::{Value, json};

use self::capture::Capture;
use self::needles::{Needle, Search};
use self::sources::Sources;
use self::ways::{OTLP_PATH, PUSH_PATH, Planted, Ports, ask, broken, is_ok, speak};
use crate::redaction::{NOT_FOUND_YET, figures};
use crate::support::{Finished, Gate, corpus, flamegate, free_port, wait_for};

/// Bytes that left or rest, by where they were found.
type Bytes = Vec<(String, Vec<u8>)>;

fn ports() -> Ports {
    Ports {
        grpc: free_port(),
        http: free_port(),
        pyroscope: free_port(),
        pprof: free_port(),
        required: free_port(),
        metrics: free_port(),
        health: free_port(),
        pages: free_port(),
    }
}

/// A gate with every receiver and every exporter in every form. Two backends are down, one of them required.
fn config(redaction: &Value, ports: &Ports, sources: &Sources, backend: u16) -> Value {
    let at = |port: u16| json!({ "endpoint": format!("localhost:{port}") });
    let backend = format!("http://localhost:{backend}");
    let nobody = format!("http://localhost:{}", free_port());
    let mut exporters = json!({
        "otlp_grpc": { "endpoint": backend },
        "otlp_http": { "endpoint": backend },
        "otlp_http/json": { "endpoint": backend, "encoding": "json", "compression": "zstd" },
        "pyroscope": { "endpoint": backend, "max_age": "0s" },
        "debug": { "verbosity": "detailed" },
        "recent": { "max_bytes": "64MiB" },
        "file/proto": { "path": "./out.otlp", "format": "proto", "compression": "zstd" },
        "file/json": { "path": "./out.json", "format": "json" },
        "otlp_http/down": { "endpoint": nobody, "retry_on_failure": { "initial_interval": "100ms", "max_elapsed_time": "1s" } },
    });
    for format in ["pprof", "otlp", "otlp_json", "collapsed", "speedscope"] {
        exporters[format!("file/{format}")] = json!({ "directory": format!("./{format}"), "format": format });
    }
    exporters["file/labels"] = json!({ "directory": "./labels", "format": "pprof", "resource": "labels" });
    let ids: Vec<String> = exporters.as_object().unwrap().keys().cloned().collect();
    exporters["otlp_http/required"] =
        json!({ "endpoint": nobody, "required": true, "sending_queue": { "queue_size": 1, "num_consumers": 1 } });
    let mut receivers = json!({
        "otlp": { "protocols": { "grpc": at(ports.grpc), "http": at(ports.http) } },
        "pyroscope": at(ports.pyroscope),
        "pprof": { "server": at(ports.pprof) },
    });
    receivers.as_object_mut().unwrap().extend(sources.receivers());
    let all: Vec<String> = receivers.as_object().unwrap().keys().cloned().collect();
    receivers["pyroscope/required"] = at(ports.required);
    let known = flamegate::receivers::ALL.iter().map(|row| row.about.name);
    assert_all_there("receiver", known, &receivers);
    let known = flamegate::exporters::ALL.iter().map(|row| row.about.name);
    assert_all_there("exporter", known, &exporters);
    json!({
        "extensions": { "health_check": at(ports.health), "zpages": at(ports.pages) },
        "receivers": receivers,
        "processors": { "trace_links": {}, "redaction": redaction },
        "exporters": exporters,
        "service": {
            "extensions": ["health_check", "zpages"],
            "drain_timeout": "1s",
            "pipelines": {
                "profiles": { "receivers": all, "processors": ["trace_links", "redaction"], "exporters": ids },
                "profiles/required": {
                    "receivers": ["pyroscope/required"], "processors": ["redaction"], "exporters": ["otlp_http/required"],
                },
            },
            "telemetry": {
                "logs": { "level": "trace" },
                "metrics": { "address": format!("localhost:{}", ports.metrics) },
                "audit": { "path": "./audit.jsonl", "interval": "200ms", "fingerprint_key": "f".repeat(32) },
            },
        },
    })
}

/// A component that comes later is to prove the same.
fn assert_all_there<'a>(what: &str, known: impl Iterator<Item = &'a str>, configured: &Value) {
    for name in known {
        let is_it = |id: &String| id.split('/').next() == Some(name);
        assert!(
            configured.as_object().unwrap().keys().any(is_it),
            "nothing planted goes through the {what} {name}"
        );
    }
}

/// What goes wrong, with planted texts in every place: bodies, heads, paths, queries, and lines that are no requests.
fn refused(ports: &Ports, all: &[Planted], gone: &[&Needle]) -> Bytes {
    let texts: Vec<&str> = gone.iter().map(|needle| needle.text.as_str()).collect();
    let bodies = broken(all, &texts);
    let lines = &bodies[0];
    let mut answers = Bytes::new();
    let mut heard = |what: &str, answer: Vec<u8>| answers.push((format!("answer to {what}"), answer));
    let ingest = "/ingest?name=shop.cpu&format=pprof";
    for (port, path) in [
        (ports.http, OTLP_PATH),
        (ports.pyroscope, ingest),
        (ports.pyroscope, PUSH_PATH),
        (ports.pprof, "/v1/pprof"),
    ] {
        for kind in [
            "application/x-protobuf",
            "application/json",
            "application/grpc",
            "multipart/form-data; boundary=x",
        ] {
            for body in &bodies {
                heard(path, ask("POST", port, path, &[("Content-Type", kind)], body));
            }
        }
    }
    let one_line = texts.iter().filter(|text| text.is_ascii());
    let one_line: Vec<String> = one_line.map(|text| text.replace(' ', "%20")).collect();
    let body = &bodies[0][..100];
    let pages = [ports.health, ports.pages, ports.metrics];
    for port in [ports.http, ports.grpc, ports.pyroscope, ports.pprof]
        .into_iter()
        .chain(pages)
    {
        for texts in one_line.chunks(16) {
            let text = texts.join("/");
            for path in [
                format!("/{text}"),
                format!("{OTLP_PATH}?token={text}"),
                format!("/ingest?name={text}{{"),
            ] {
                heard("a path", ask("POST", port, &path, &[], body));
                heard("a path", ask("GET", port, &path, &[], b""));
            }
        }
        heard("no request", speak(port, &[b"GET ", &lines[..], b"\r\n\r\n"].concat()));
        heard("no request", speak(port, &[&lines[..], b"\r\n\r\n"].concat()));
    }
    const HEADERS: [&str; 6] = [
        "Content-Type",
        "Content-Encoding",
        "X-Scope-OrgID",
        "Authorization",
        "Host",
        "Transfer-Encoding",
    ];
    for (port, path) in [
        (ports.http, OTLP_PATH),
        (ports.pyroscope, ingest),
        (ports.pprof, "/v1/pprof"),
    ] {
        for header in HEADERS {
            for texts in one_line.chunks(16) {
                heard(header, ask("POST", port, path, &[(header, &texts.join(", "))], body));
            }
        }
    }
    answers
}

/// A tenant that is a secret: refused, because backends and queues would see it.
fn tenants(ports: &Ports, planted: &Planted) -> Bytes {
    let secret = "ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0";
    let mut answers = Bytes::new();
    for (port, path) in [
        (ports.pyroscope, "/ingest?name=shop.cpu&format=pprof"),
        (ports.pprof, "/v1/pprof"),
    ] {
        let answer = ask("POST", port, path, &[("X-Scope-OrgID", secret)], &planted.bytes);
        assert!(!is_ok(&answer), "a tenant that is a secret is taken");
        answers.push(("answer to a tenant".to_owned(), answer));
    }
    answers
}

/// Fills the queue of the required backend that is down, until the gate says no.
fn required(ports: &Ports, planted: &Planted) -> Bytes {
    let path = "/ingest?name=shop.cpu&format=pprof";
    wait_for("the required backend to be missed", || {
        let answer = ask("POST", ports.required, path, &[], &planted.bytes);
        answer
            .starts_with(b"HTTP/1.1 503 ")
            .then(|| vec![("answer when full".to_owned(), answer)])
    })
}

/// Every page, and the paths that are none.
fn pages(ports: &Ports) -> Bytes {
    let all = [
        (ports.metrics, &["/metrics", "/ready", "/live", "/"][..]),
        (ports.health, &["/"][..]),
        (
            ports.pages,
            &[
                "/debug/servicez",
                "/debug/pipelinez",
                "/debug/extensionz",
                "/debug/targetz",
                "/debug/loglevel",
                "/",
            ][..],
        ),
    ];
    let of = |(port, paths): (u16, &'static [&str])| {
        paths
            .iter()
            .map(move |path| (format!("page {path}"), ask("GET", port, path, &[], b"")))
    };
    let mut answers: Bytes = all.into_iter().flat_map(of).collect();
    answers.append(&mut recent(ports));
    answers
}

/// What is shown of profiles that passed: the list of what may be asked for, and all that it leads to.
fn recent(ports: &Ports) -> Bytes {
    let list = ask("GET", ports.pages, "/debug/tracez", &[], b"");
    let text = String::from_utf8_lossy(&list).replace("&amp;", "&");
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.contains("href="),
        "nothing is kept"
    );
    let asked = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut answers = Bytes::new();
    for query in asked.take(40) {
        for format in ["html", "json"] {
            let path = format!("/debug/tracez{query}&format={format}");
            answers.push((
                format!("page {format} of what passed"),
                ask("GET", ports.pages, &path, &[], b""),
            ));
        }
    }
    answers.push(("list of what passed".to_owned(), list));
    answers
}

/// Waits until every backend that is there has everything.
fn settle(ports: &Ports) {
    let is_idle = |line: &str| line.ends_with(" 0") || line.contains("/down") || line.contains("/required");
    wait_for("the queues to be empty", || {
        let metrics = ask("GET", ports.metrics, "/metrics", &[], b"");
        let metrics = String::from_utf8_lossy(&metrics);
        let mut waiting = metrics.lines().filter(|line| {
            line.starts_with("otelcol_exporter_queue_size{")
                || line.starts_with("flamegate_exporter_in_flight_profiles{")
        });
        waiting.all(is_idle).then_some(())
    });
}

/// Every file below a folder, by its path: the path is judged too.
fn walked(folder: &Path) -> Bytes {
    let mut all = Bytes::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            all.push(("name of a file".to_owned(), name.clone().into_bytes()));
            match path.is_dir() {
                true => folders.push(path),
                false => all.push((name, std::fs::read(&path).unwrap())),
            }
        }
    }
    all
}

/// Everything that a gate with this policy lets out or leaves behind.
async fn through_a_gate(redaction: &Value, all: &[Planted], gone: &[&Needle]) -> Bytes {
    let (ports, backend) = (ports(), Capture::start());
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::new(all, gone);
    let path = sources.file("gate.yaml");
    std::fs::write(&path, config(redaction, &ports, &sources, backend.port).to_string()).unwrap();
    let mut gate = Gate::start(folder.path(), &["--config", path.to_str().unwrap()]);
    let mut bytes = Bytes::new();
    for planted in all {
        for (way, answer) in ways::send(planted, &ports).await {
            bytes.push((format!("answer to {} by {way}", planted.name), answer));
        }
    }
    let pprof = all
        .iter()
        .find(|planted| planted.name == "planted-everywhere.pb")
        .unwrap();
    bytes.extend(tenants(&ports, pprof));
    bytes.extend(refused(&ports, all, gone));
    bytes.extend(required(&ports, pprof));
    bytes.extend(pages(&ports));
    bytes.extend(by_command(&path, folder.path(), all, &ports));
    sources.wait(ports.metrics);
    settle(&ports);
    bytes.extend(pages(&ports));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let seen = backend.seen();
    for path in [
        OTLP_PATH,
        PUSH_PATH,
        "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
    ] {
        let requests = seen.iter().filter(|(seen, _)| seen == path).count();
        assert!(requests >= all.len() * 13, "{requests} requests to {path}");
    }
    bytes.extend(
        seen.into_iter()
            .map(|(path, request)| (format!("request to {path}"), request)),
    );
    let rests = walked(folder.path());
    for name in [
        "out.otlp",
        "out.json",
        "audit.jsonl",
        "err",
        "pprof/",
        "otlp/",
        "otlp_json/",
        "collapsed/",
        "speedscope/",
        "labels/",
        "flamegate-state/file",
        "flamegate-state/pprof.files",
    ] {
        let found = rests
            .iter()
            .any(|(path, bytes)| path.starts_with(name) && !bytes.is_empty());
        assert!(found, "nothing in {name}");
    }
    bytes.extend(rests);
    bytes
}

/// Where the command writes a recording: formats that are only read, or hold one sample type, become another.
fn redacted(name: &str) -> String {
    let holds_less = [".jfr", ".heapprofile", ".cpuprofile", ".perf.txt"]
        .iter()
        .any(|ending| name.contains(ending));
    format!("redacted/{name}{}", if holds_less { ".otlp" } else { "" })
}

/// What the commands write and say of the recordings.
fn by_command(config: &Path, folder: &Path, all: &[Planted], ports: &Ports) -> Bytes {
    let inputs = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = all.iter().map(|planted| inputs.path().join(&planted.name)).collect();
    for (path, planted) in paths.iter().zip(all) {
        std::fs::write(path, &planted.bytes).unwrap();
    }
    let said = |what: &str, finished: Finished| {
        assert_eq!(finished.code(), 0, "{what}");
        let output = finished.0;
        vec![
            (format!("{what} says"), output.stdout),
            (format!("{what} warns"), output.stderr),
        ]
    };
    let run = |args: &[&str]| Finished(flamegate().args(args).current_dir(inputs.path()).output().unwrap());
    let names: Vec<&str> = all.iter().map(|planted| planted.name.as_str()).collect();
    let mut bytes = Bytes::new();
    std::fs::create_dir(folder.join("redacted")).unwrap();
    for name in &names {
        let output = folder.join(redacted(name));
        let args = [
            "redact",
            "--config",
            config.to_str().unwrap(),
            name,
            "-o",
            output.to_str().unwrap(),
            "--report",
            "json",
        ];
        bytes.extend(said("redact", run(&args)));
    }
    for url in [
        format!("http://localhost:{}{OTLP_PATH}", ports.http),
        format!("grpc://localhost:{}", ports.grpc),
    ] {
        let args = [&["send", "--to", &url], names.as_slice()].concat();
        bytes.extend(said("send", run(&args)));
    }
    let page = folder.join("scan.html");
    let scan = [&["scan", "--html", page.to_str().unwrap()], names.as_slice()].concat();
    bytes.extend(said("scan", run(&scan)));
    bytes
}

/// Fails with all that is found: where, and which lines of `planted.txt`.
fn assert_gone(gone: &[&Needle], all: &[Planted], bytes: &Bytes) {
    let search = Search::new(gone.iter().copied());
    let mut where_found: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (place, bytes) in bytes {
        for line in search.found(bytes) {
            // files of one exporter are one place
            let (folder, name) = place.rsplit_once('/').unwrap_or(("", place));
            let place = if name.starts_with(|c: char| c.is_ascii_digit()) {
                folder
            } else {
                place
            };
            where_found.entry(line).or_default().insert(place);
        }
    }
    let mut told = String::new();
    for (line, places) in &where_found {
        let needle = gone.iter().find(|needle| needle.line == *line).unwrap();
        let from: Vec<&str> = all
            .iter()
            .filter(|planted| search.found(&planted.bytes).contains(line))
            .map(|planted| planted.name.as_str())
            .collect();
        told += &format!(
            "line {line} ({}), planted in {from:?}, is in {places:?}\n",
            needle.class
        );
    }
    assert!(told.is_empty(), "{told}");
}

/// That the search finds in the recordings what it must not find behind the gate.
fn assert_planted(gone: &[&Needle], all: &[Planted]) {
    let search = Search::new(gone.iter().copied());
    let found = |planted: &Planted| search.found(&planted.bytes);
    let found: BTreeMap<&str, BTreeSet<usize>> = all.iter().map(|p| (p.name.as_str(), found(p))).collect();
    let Some(corpus) = corpus() else {
        assert!(found.values().flatten().collect::<BTreeSet<_>>().len() > gone.len() / 2);
        return;
    };
    let planted = std::fs::read_to_string(corpus.join("planted-where.tsv")).unwrap();
    for row in planted.lines().skip(1) {
        let [file, _, text] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three columns")
        };
        if let (Some(found), Some(needle)) = (found.get(file), gone.iter().find(|needle| needle.text == text)) {
            assert!(
                found.contains(&needle.line),
                "line {} is not found in {file}",
                needle.line
            );
        }
    }
}

fn profiles(bytes: &[u8]) -> Profiles {
    let read = any::decode_any(bytes.to_vec().into(), &Limits::default()).unwrap();
    read.decoded.profiles
}

/// What no policy lets through: credentials and persons, but for the few that nothing tells.
fn promised(needles: &[Needle]) -> Vec<&Needle> {
    let is_promised = |needle: &&Needle| {
        matches!(needle.class.as_str(), "credential" | "pii") && !NOT_FOUND_YET.contains(&needle.text.as_str())
    };
    needles.iter().filter(is_promised).collect()
}

/// The policy of `configs/redaction-external.yaml`.
fn external() -> Value {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/redaction-external.yaml");
    let mut example: Value = serde_saphyr::from_str(&std::fs::read_to_string(example).unwrap()).unwrap();
    example["processors"]["redaction"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_no_credential_and_no_person_gets_through() {
    let needles = needles::all();
    let gone = promised(&needles);
    assert!(gone.len() > 50);
    let all = ways::planted();
    assert_planted(&gone, &all);
    assert!(all.len() >= if corpus().is_some() { 14 } else { 5 });
    let bytes = through_a_gate(&json!({}), &all, &gone).await;
    assert_gone(&gone, &all, &bytes);
    let Some(corpus) = corpus() else { return };
    let keep = std::fs::read_to_string(corpus.join("planted-keep.tsv")).unwrap();
    for (file, text) in keep.lines().skip(1).filter_map(|row| row.split_once('\t')) {
        let (_, written) = bytes.iter().find(|(place, _)| *place == redacted(file)).unwrap();
        let search = Search::new([&Needle {
            line: 1,
            class: String::new(),
            text: text.to_owned(),
        }]);
        assert!(!search.found(written).is_empty(), "{text} is gone from {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_gets_no_planted_text_and_every_figure() {
    let needles = needles::all();
    let gone: Vec<&Needle> = needles.iter().collect();
    let all = ways::planted();
    assert_planted(&gone, &all);
    let bytes = through_a_gate(&external(), &all, &gone).await;
    assert_gone(&gone, &all, &bytes);
    for planted in &all {
        let place = redacted(&planted.name);
        let (_, written) = bytes.iter().find(|(found, _)| *found == place).unwrap();
        let mut before = planted.profiles.clone();
        before.compact();
        let (before, after) = (figures(&before), figures(&profiles(written)));
        assert_eq!(before, after, "{}", planted.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pipelines_of_one_receiver_hold_their_own_form_alone() {
    let (needles, all) = (needles::all(), ways::planted());
    let ports = ports();
    let backends = ["house", "vendor"].map(|name| (name, Capture::start()));
    let at = |port: u16| json!({ "endpoint": format!("localhost:{port}") });
    let receivers = json!({
        "otlp": { "protocols": { "grpc": at(ports.grpc), "http": at(ports.http) } },
        "pyroscope": at(ports.pyroscope),
        "pprof": { "server": at(ports.pprof) },
    });
    let (mut exporters, mut pipelines) = (json!({}), json!({}));
    for (name, backend) in &backends {
        let endpoint = format!("http://localhost:{}", backend.port);
        let ids = [format!("otlp_http/{name}"), format!("file/{name}")];
        exporters[&ids[0]] = json!({ "endpoint": endpoint });
        exporters[&ids[1]] = json!({ "directory": format!("./{name}"), "format": "pprof" });
        pipelines[format!("profiles/{name}")] = json!({
            "receivers": ["otlp", "pyroscope", "pprof"], "processors": [format!("redaction/{name}")], "exporters": ids,
        });
    }
    let metrics = json!({ "address": format!("localhost:{}", ports.metrics) });
    let config = json!({
        "receivers": receivers,
        "processors": { "redaction/house": {}, "redaction/vendor": external() },
        "exporters": exporters,
        "service": { "pipelines": pipelines, "telemetry": { "logs": { "level": "trace" }, "metrics": metrics } },
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.yaml");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut gate = Gate::start(folder.path(), &["--config", path.to_str().unwrap()]);
    for planted in &all {
        ways::send(planted, &ports).await;
    }
    settle(&ports);
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let rests = walked(folder.path());
    let (house, others): (Bytes, Bytes) = rests.into_iter().partition(|(place, _)| place.starts_with("house/"));
    let [at_house, at_vendor] = backends.map(|(_, backend)| backend.seen());
    let (house, vendor) = ([house, at_house].concat(), [others, at_vendor].concat());
    assert_gone(&promised(&needles), &all, &house);
    assert_gone(&needles.iter().collect::<Vec<_>>(), &all, &vendor);
    let names: Vec<&Needle> = needles.iter().filter(|needle| needle.class == "naming").collect();
    let pseudonym = Needle {
        line: 1,
        class: String::new(),
        text: "fn_k1_".to_owned(),
    };
    let holds = |search: &Search, all: &Bytes| all.iter().any(|(_, bytes)| !search.found(bytes).is_empty());
    assert!(holds(&Search::new(names), &house), "names are to stay in the house");
    let pseudonyms = Search::new([&pseudonym]);
    assert!(!holds(&pseudonyms, &house) && holds(&pseudonyms, &vendor));
}
