//! The daemon over loopback: intake to file, pages about itself, signals.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::support::{Gate, config, data, files, free_port, http, run, wait_for};

/// A gate from /ingest to a folder, with everything on ports of its own.
struct Ports {
    ingest: u16,
    metrics: u16,
    health: u16,
}

fn to_folder() -> (tempfile::TempDir, String, Ports) {
    let ports = Ports {
        ingest: free_port(),
        metrics: free_port(),
        health: free_port(),
    };
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{}\"}}}}
processors: {{redaction: {{detectors: [secrets, emails], paths: home}}}}
exporters: {{file: {{directory: ./profiles, format: collapsed}}}}
extensions: {{health_check: {{endpoint: \"localhost:{}\"}}}}
service:
  extensions: [health_check]
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [redaction], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{}\"}}}}
",
        ports.ingest, ports.health, ports.metrics
    );
    let (folder, path) = config(&text);
    (folder, path, ports)
}

const INGEST: &str = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";

/// A stack with a token in it.
const RECORDING: &[u8] = b"main;connect ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0 7\nmain;work 35\n";

#[test]
fn a_profile_goes_through_the_gate_and_a_signal_ends_it_in_order() {
    let (folder, path, ports) = to_folder();
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    assert_eq!(http("GET", ports.health, "/", b"").0, 200);
    let health = run(&["health", "--endpoint", &format!("localhost:{}", ports.health)]);
    assert_eq!(health.code(), 0, "{}", health.err());
    assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
    let profiles = folder.path().join("profiles");
    let file = wait_for("the file", || files(&profiles).first().cloned());
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("main;work 35") && !text.contains("ghp_EXAMPLE"), "{text}");
    let (status, metrics) = http("GET", ports.metrics, "/metrics", b"");
    assert_eq!(status, 200);
    assert!(metrics.contains("flamegate_redactions_total{"), "{metrics}");
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let health = run(&["health", "--endpoint", &format!("localhost:{}", ports.health)]);
    assert_eq!(health.code(), 1);
}

#[test]
fn health_says_what_is_wrong_and_what_to_do() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let strange = TcpListener::bind("127.0.0.1:0").unwrap();
    let hasty = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let (silent_at, strange_at, hasty_at) = (at(&silent), at(&strange), at(&hasty));
    std::thread::spawn(move || drop(hasty.accept().unwrap()));
    std::thread::spawn(move || {
        // as TLS answers what is no TLS
        let (mut stream, _) = strange.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"\x15\x03\x03\x00\x02\x02\xf6").unwrap();
        let _ = std::io::Read::read(&mut stream, &mut [0; 256]);
    });
    let closed = format!("localhost:{}", free_port());
    for (endpoint, told) in [
        (closed.as_str(), "connection refused; is the gate running"),
        ("http://localhost:13133/", "write HOST:PORT"),
        ("localhost", "write HOST:PORT"),
        ("a..b:13133", "the host is not found: failed to lookup"),
        (&silent_at, "does not answer within 2s"),
        (&strange_at, "does it speak plain HTTP?"),
        (&hasty_at, "does it speak plain HTTP?"),
    ] {
        let health = run(&["health", "--endpoint", endpoint]);
        assert_eq!(health.code(), 1);
        let said = health.err();
        assert!(
            said.contains(told) && !said.contains("uncategorized"),
            "{endpoint}: {said}"
        );
    }
}

#[test]
fn a_busy_metrics_port_is_an_error_that_names_the_key() {
    let (folder, path, ports) = to_folder();
    let _busy = TcpListener::bind(("127.0.0.1", ports.metrics)).unwrap();
    let mut gate = Gate::spawn(folder.path(), &["run", "--config", &path]);
    assert_eq!(gate.code(), 2);
    assert!(
        gate.err().contains("service.telemetry.metrics.address"),
        "{}",
        gate.err()
    );
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let (folder, path, ports) = to_folder();
    let mut gate = Gate::start(folder.path(), &["run", "--dry-run", "--config", &path]);
    assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
    gate.signal("INT");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("would have been sent"), "{}", gate.err());
    assert_eq!(files(&folder.path().join("profiles")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_second_signal_leaves_at_once() {
    let (ingest, silent) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = silent.local_addr().unwrap().port();
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters: {{otlp_http: {{endpoint: \"http://localhost:{backend}\", timeout: 1h}}}}
service:
  drain_timeout: 1h
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [otlp_http]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    );
    let (folder, path) = config(&text);
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    assert_eq!(http("POST", ingest, INGEST, RECORDING).0, 200);
    gate.signal("TERM");
    wait_for("the drain", || gate.err().contains("stopping").then_some(()));
    // one that comes at once would be taken for an echo
    std::thread::sleep(Duration::from_millis(300));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    for told in [
        "second signal",
        "lost: still in flight exporter=otlp_http profiles=1",
        "not drained; not everything was delivered profiles=1",
    ] {
        assert!(gate.err().contains(told), "{told}: {}", gate.err());
    }
}

#[test]
fn files_are_sent_over_every_protocol_that_the_url_names() {
    let (grpc, http) = (free_port(), free_port());
    let text = format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"localhost:{grpc}\"}}, http: {{endpoint: \"localhost:{http}\"}}}}}}}}
exporters: {{file: {{directory: ./profiles, format: pprof}}}}
service:
  pipelines: {{profiles: {{receivers: [otlp], exporters: [file]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    );
    let (folder, path) = config(&text);
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let profile = data("go123-heap.pb.gz");
    let targets = [
        format!("grpc://localhost:{grpc}"),
        format!("http://localhost:{http}/v1development/profiles"),
    ];
    for (count, target) in targets.iter().enumerate() {
        let mut args = vec!["send", profile.to_str().unwrap(), "--to", target];
        if target.starts_with("http") {
            args.extend(["--exporter", "otlp_http"]);
        }
        let sent = run(&args);
        assert_eq!(sent.code(), 0, "{}", sent.err());
        let written = wait_for("the file", || {
            let files = files(&folder.path().join("profiles"));
            (files.len() > count).then_some(files)
        });
        let sum = |file: &std::path::Path| {
            let shown = run(&["inspect", file.to_str().unwrap(), "--format", "json"]).out();
            let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
            json["profiles"][0]["types"].clone()
        };
        assert_eq!(sum(&written[count]), sum(&profile));
    }
    let nobody = run(&["send", "/no/such/file", "--to", &targets[0]]);
    assert_eq!(nobody.code(), 2);
}

#[test]
fn a_closed_door_says_when_to_come_back_and_reads_no_body() {
    let (ingest, metrics) = (free_port(), free_port());
    // a backend that never answers holds what was accepted
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = silent.local_addr().unwrap().port();
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters: {{otlp_http: {{endpoint: \"http://localhost:{backend}\", timeout: 60s}}}}
service:
  memory_budget: 4MiB
  memory_soft_limit: 2KiB
  drain_timeout: 10ms
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [otlp_http]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    );
    let (folder, path) = config(&text);
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let accepted = (0..100)
        .take_while(|_| http("POST", ingest, INGEST, RECORDING).0 == 200)
        .count();
    assert!((1..100).contains(&accepted), "{accepted}");
    // announced, and never sent
    let head = format!("POST {INGEST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", ingest)).unwrap();
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut answer = [0; 512];
    let read = std::io::Read::read(&mut stream, &mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
    assert!(
        answer.starts_with("http/1.1 503") && answer.contains("retry-after: 1"),
        "{answer}"
    );
    assert!(
        http("GET", metrics, "/metrics", b"")
            .1
            .contains("flamegate_memory_soft_limit_bytes 2048")
    );
    assert!(gate.err().contains("memory is short"), "{}", gate.err());
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
}

/// A gate to a place that another one than its user may write to.
fn to_a_place_of_others() -> (tempfile::TempDir, String) {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = config(
        "receivers: {pyroscope: {endpoint: \"localhost:0\"}}
exporters: {file: {directory: ./theirs/profiles}}
service: {pipelines: {profiles: {receivers: [pyroscope], exporters: [file]}}, telemetry: {metrics: {level: none}}}
",
    );
    let theirs = folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    open(folder.path(), 0o755);
    open(&theirs, 0o555);
    (folder, path)
}

/// The binary, as nobody if everything is allowed to whoever runs the tests.
fn as_nobody() -> std::process::Command {
    use std::os::unix::process::CommandExt;
    let mut command = crate::support::flamegate();
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command
}

#[test]
fn a_place_that_cannot_be_written_ends_the_start_and_is_a_warning_elsewhere() {
    let (folder, path) = to_a_place_of_others();
    let told = "gate.yaml:2:31: exporters.file.directory: ";
    let why = "./theirs/profiles cannot be made in ./theirs: permission denied; let the user that the gate runs as write there";
    let checked = as_nobody()
        .args(["validate", "--config", &path])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let err = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success());
    let warning = format!("{told}`run` would not start here: {why}");
    assert!(err.starts_with("warning: ") && err.contains(&warning), "{err}");
    let mut gate = Gate::of(as_nobody().args(["run", "--config", &path]), folder.path());
    assert_eq!(gate.code(), 2);
    assert!(gate.err().contains(&format!("{told}{why}")), "{}", gate.err());
    // nothing is sent, so nothing has to be written
    let mut dry = Gate::of(as_nobody().args(["run", "--dry-run", "--config", &path]), folder.path());
    wait_for("the start", || dry.err().contains(" ready").then_some(()));
    dry.signal("TERM");
    assert_eq!(dry.code(), 0);
}

#[test]
fn a_reload_to_a_place_that_cannot_be_written_changes_nothing() {
    let ingest = free_port();
    let text = |place: &str| {
        format!(
            "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters: {{file: {{{place}, format: {}}}}}
service: {{reload_interval: 0s, pipelines: {{profiles: {{receivers: [pyroscope], exporters: [file]}}}}, telemetry: {{metrics: {{level: none}}}}}}
",
            if place.starts_with("path") { "json" } else { "collapsed" }
        )
    };
    let (folder, path) = config(&text("directory: ./profiles"));
    let mut gate = Gate::start(folder.path(), &["run", "--config", &path]);
    for (place, told) in [
        (
            "directory: ./gate.yaml/profiles",
            "exporters.file.directory: ./gate.yaml is not a directory",
        ),
        ("path: ./", "exporters.file.path: ./ is a directory; name a file"),
    ] {
        std::fs::write(&path, text(place)).unwrap();
        gate.signal("HUP");
        wait_for("the refusal", || gate.err().contains(told).then_some(()));
    }
    assert_eq!(http("POST", ingest, INGEST, RECORDING).0, 200);
    wait_for("the file", || files(&folder.path().join("profiles")).first().cloned());
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
}

#[test]
fn every_example_configuration_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut examples = files(&folder);
    examples.retain(|example| example.is_file());
    assert!(examples.len() >= 5);
    for example in examples {
        let checked = run(&["validate", "--config", example.to_str().unwrap()]);
        assert_eq!(checked.code(), 0, "{}: {}", example.display(), checked.err());
    }
}
