//! Reloads of the real binary: nothing is lost, nothing fails, and what is wrong changes nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::{Gate, config, files, free_port, http, wait_for};

const INGEST: &str = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
const RECORDING: &[u8] = b"main;work 35\n";

struct Ports {
    ingest: u16,
    metrics: u16,
}

fn ports() -> Ports {
    Ports {
        ingest: free_port(),
        metrics: free_port(),
    }
}

/// A gate to a folder, in one of many versions.
fn version(ports: &Ports, n: usize) -> String {
    let limit = 1 + n % 3;
    let folder = n % 2;
    let name = n / 2 % 2;
    format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{}\", max_request_body_size: {limit}MiB}}}}
processors: {{resource: {{attributes: [{{key: n, value: \"{name}\", action: upsert}}]}}}}
exporters: {{file: {{directory: ./profiles{folder}, format: collapsed, sending_queue: {{queue_size: 100000}}}}}}
service:
  reload_interval: 0s
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [resource], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{}\"}}}}
",
        ports.ingest, ports.metrics
    )
}

fn metric(ports: &Ports, line: &str) -> u64 {
    let text = http("GET", ports.metrics, "/metrics", b"").1;
    let found = text
        .lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0)
}

fn reloads(ports: &Ports, result: &str) -> u64 {
    metric(ports, &format!("flamegate_config_reloads_total{{result=\"{result}\"}}"))
}

/// Sends over one connection, as an SDK does, until the server asks to close it; then over the next one.
fn keep_sending(port: u16, stop: &AtomicBool, sent: &AtomicU64) {
    let request = format!(
        "POST {INGEST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\nmain;work 35\n",
        RECORDING.len()
    );
    while !stop.load(Ordering::SeqCst) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        loop {
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed without an answer");
                answer.push(byte[0]);
            }
            let answer = String::from_utf8(answer).unwrap().to_lowercase();
            assert!(answer.starts_with("http/1.1 200"), "{answer}");
            assert!(answer.contains("content-length: 0"), "{answer}");
            sent.fetch_add(1, Ordering::SeqCst);
            if answer.contains("connection: close") || stop.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

#[test]
fn fifty_reloads_under_load_fail_no_request_and_lose_no_profile() {
    let ports = ports();
    let (folder, path) = config(&version(&ports, 0));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| keep_sending(ports.ingest, &stop, &sent));
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for n in 1..=50 {
            std::fs::write(&path, version(&ports, n)).unwrap();
            gate.signal("HUP");
            wait_for("the reload", || (reloads(&ports, "success") == n as u64).then_some(()));
        }
        stop.store(true, Ordering::SeqCst);
    });
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let written = |name: &str| files(&folder.path().join(name)).len() as u64;
    assert_eq!(written("profiles0") + written("profiles1"), sent.load(Ordering::SeqCst));
    assert!(written("profiles0") > 0 && written("profiles1") > 0);
}

/// Ways to break a configuration: what is replaced by what, and what the error must name.
const BROKEN: [(&str, &str, &str); 20] = [
    ("pyroscope: {endpoint", "pyroscop: {endpoint", "gate.yaml:1:13"),
    ("endpoint: \"localhost", "endpont: \"localhost", "gate.yaml:1:25"),
    (
        "max_request_body_size: 1MiB",
        "max_request_body_size: 1Miib",
        "max_request_body_size",
    ),
    (
        "max_request_body_size: 1MiB",
        "max_request_body_size: [1]",
        "max_request_body_size",
    ),
    ("action: upsert", "action: upsrt", "gate.yaml:2"),
    ("key: n", "kee: n", "gate.yaml:2"),
    ("processors: {resource", "processors: {resorce", "did you mean"),
    ("directory: ./profiles0", "directry: ./profiles0", "gate.yaml:3"),
    ("format: collapsed", "format: colapsed", "did you mean"),
    ("exporters: {file", "exporter: {file", "gate.yaml:3:1"),
    ("exporters: [file]", "exporters: [fil]", "gate.yaml:6"),
    ("exporters: [file]", "exporters: []", "needs at least one"),
    (
        "receivers: [pyroscope]",
        "receivers: [pyroscope, pyroscope]",
        "stands twice",
    ),
    ("processors: [resource]", "processors: [resource", "gate.yaml"),
    ("pipelines: {profiles", "pipelines: {profile", "unknown signal"),
    (
        "pipelines: {profiles: {",
        "pipelines: {profiles: {when: [], ",
        "empty list",
    ),
    (
        "pipelines: {profiles: {",
        "pipelines: {profiles: {ack: durable, ",
        "durable log",
    ),
    ("reload_interval: 0s", "reload_interval: soon", "gate.yaml:5"),
    ("service:", "servce:", "gate.yaml:4:1"),
    ("\"localhost:", "\"localhost:${file:./none}", "cannot be read"),
];

#[test]
fn what_is_wrong_changes_nothing_and_is_named() {
    let ports = ports();
    let good = version(&ports, 0);
    let (folder, path) = config(&good);
    let gate = Gate::start(folder.path(), &["--config", &path]);
    for (n, (from, to, named)) in BROKEN.iter().enumerate() {
        let broken = good.replacen(from, to, 1);
        assert_ne!(broken, good, "{from} is not in the configuration");
        std::fs::write(&path, broken).unwrap();
        let before = gate.err().len();
        gate.signal("HUP");
        wait_for("the refusal", || {
            (reloads(&ports, "failure") == n as u64 + 1).then_some(())
        });
        assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200, "{from}");
        // the log lets ten lines of one place pass in ten seconds
        if n < 10 {
            let told = wait_for("the log", || {
                gate.err()
                    .get(before..)
                    .filter(|told| !told.is_empty())
                    .map(str::to_owned)
            });
            assert!(told.contains("not reloaded") && told.contains(named), "{to}: {told}");
        }
        let checked = crate::support::run(&["validate", "--config", &path]);
        assert_eq!(checked.code(), 1, "{to}");
        assert!(checked.err().contains(named), "{to}: {}", checked.err());
    }
    wait_for("all files", || {
        (files(&folder.path().join("profiles0")).len() == BROKEN.len()).then_some(())
    });
}

#[test]
fn a_port_that_is_taken_keeps_the_old_receiver_and_a_free_one_replaces_it() {
    let ports = ports();
    let (folder, path) = config(&version(&ports, 0));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let move_to = |port: u16| {
        let ports = Ports { ingest: port, ..ports };
        std::fs::write(&path, version(&ports, 0)).unwrap();
        gate.signal("HUP");
    };
    move_to(busy.local_addr().unwrap().port());
    wait_for("the refusal", || (reloads(&ports, "failure") == 1).then_some(()));
    let told = wait_for("the log", || gate.err().contains("not reloaded").then(|| gate.err()));
    assert!(
        told.contains("gate.yaml:1:24: receivers.pyroscope") && told.contains("in use"),
        "{told}"
    );
    assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
    let free = free_port();
    move_to(free);
    wait_for("the reload", || (reloads(&ports, "success") == 1).then_some(()));
    assert_eq!(http("POST", free, INGEST, RECORDING).0, 200);
    wait_for("the old port to close", || {
        TcpStream::connect(("127.0.0.1", ports.ingest)).is_err().then_some(())
    });
}

#[test]
fn changed_files_are_noticed_with_what_they_refer_to() {
    let ports = ports();
    let text = version(&ports, 0)
        .replace("reload_interval: 0s", "reload_interval: 20ms")
        .replace("format: collapsed", "format: \"${file:format}\"");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.yaml");
    // written aside, so that nobody finds it empty
    let format = |name: &str| {
        std::fs::write(folder.path().join(".format"), name).unwrap();
        std::fs::rename(folder.path().join(".format"), folder.path().join("format")).unwrap();
    };
    format("collapsed");
    std::fs::write(&path, &text).unwrap();
    let _gate = Gate::start(folder.path(), &["--config", "gate.yaml"]);
    format("speedscope");
    wait_for("the reload", || (reloads(&ports, "success") == 1).then_some(()));
    assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
    let written = wait_for("a file", || files(&folder.path().join("profiles0")).first().cloned());
    assert!(
        written.to_string_lossy().ends_with(".speedscope.json"),
        "{}",
        written.display()
    );
    format("nonsense");
    wait_for("the refusal", || (reloads(&ports, "failure") == 1).then_some(()));
    assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
    // what was refused once is not tried again until it changes
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(reloads(&ports, "failure"), 1);
    std::fs::write(&path, text.replace("format: \"${file:format}\"", "format: collapsed")).unwrap();
    wait_for("the reload", || (reloads(&ports, "success") == 2).then_some(()));
    assert!(Path::new(&path).exists());
}

#[test]
fn a_file_that_cannot_be_read_any_more_is_told_once() {
    let ports = ports();
    let text = version(&ports, 0).replace("reload_interval: 0s", "reload_interval: 20ms");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.yaml");
    std::fs::write(&path, &text).unwrap();
    let gate = Gate::start(folder.path(), &["--config", "gate.yaml"]);
    let broken = [
        (text.replace("exporters: [file]", "exporters: [file"), "gate.yaml:"),
        (
            text.replace("\"localhost:", "\"localhost:${file:./none}"),
            "cannot be read",
        ),
        (String::new(), "gate.yaml"),
    ];
    for (count, (broken, named)) in (1..).zip(&broken) {
        match broken.is_empty() {
            true => std::fs::remove_file(&path).unwrap(),
            false => std::fs::write(&path, broken).unwrap(),
        }
        wait_for("the refusal", || (reloads(&ports, "failure") == count).then_some(()));
        let told = wait_for("the log", || {
            let err = gate.err();
            let lines: Vec<&str> = err.lines().filter(|line| line.contains("not reloaded")).collect();
            (lines.len() as u64 == count).then(|| lines.last().map(|line| (*line).to_owned()))
        });
        assert!(told.unwrap().contains(named), "{named}");
        assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(reloads(&ports, "failure"), broken.len() as u64);
    std::fs::write(&path, &text).unwrap();
    wait_for("the reload", || (reloads(&ports, "success") == 1).then_some(()));
}
