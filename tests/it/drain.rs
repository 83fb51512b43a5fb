//! The end of the real binary while others still send: what was answered with 200 arrives, or is told to be lost.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::push::Server;
use crate::support::{Gate, config, files, free_port, http, wait_for};

/// Requests by their number, and what became of them.
#[derive(Default)]
struct Load {
    next: AtomicU64,
    accepted: Mutex<BTreeSet<u64>>,
    /// Sent, and the connection ended without a word.
    unanswered: Mutex<BTreeSet<u64>>,
    refused: AtomicU64,
}

impl Load {
    fn accepted(&self) -> BTreeSet<u64> {
        self.accepted.lock().unwrap().clone()
    }

    /// Sends until nobody listens any more; over connections of its own for each request, or over one as long as it lasts.
    fn send_until_closed(&self, port: u16, keep: bool) {
        while let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            while let Some(true) = self.send(&mut stream, keep) {}
        }
    }

    /// One request; whether the connection may be used again, if there was an answer.
    fn send(&self, stream: &mut TcpStream, keep: bool) -> Option<bool> {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        let close = if keep { "" } else { "Connection: close\r\n" };
        let body = "main;work 35\n";
        let request = format!(
            "POST /ingest?name=app%7Bn%3D{n}%7D&format=folded&from=1700000000&until=1700000010 HTTP/1.1\r\nHost: localhost\r\n{close}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = stream.write_all(request.as_bytes()).ok().and_then(|()| head(stream));
        let Some(answer) = answer else {
            self.unanswered.lock().unwrap().insert(n);
            return None;
        };
        match answer.split(' ').nth(1) {
            Some("200") => {
                self.accepted.lock().unwrap().insert(n);
            }
            Some("503") => {
                assert!(answer.contains("retry-after:"), "{answer}");
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
            _ => panic!("{answer}"),
        }
        Some(keep && answer.starts_with("http/1.1 200") && !answer.contains("connection: close"))
    }
}

/// The head of an answer, in lower case.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(answer).unwrap().to_lowercase())
}

/// What the log says of an exporter at the end.
fn book(exporter: &str, accepted: usize, sent: usize, dropped: usize) -> String {
    format!(
        "profiles since the start exporter={exporter} accepted={accepted} sent={sent} dropped={dropped} in_flight=0\n"
    )
}

fn says(gate: &Gate, told: &str) {
    assert!(gate.err().contains(told), "{told}: {}", gate.err());
}

#[test]
fn sigterm_under_load_loses_nothing_that_was_accepted() {
    let backend = Server::slow(Duration::from_millis(4));
    let ingest = free_port();
    let (folder, path) = config(&format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
processors: {{redaction: {{}}}}
exporters: {{pyroscope: {{endpoint: \"http://localhost:{}\", max_age: 0s, sending_queue: {{num_consumers: 1, queue_size: 100000}}}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [redaction], exporters: [pyroscope]}}}}
  telemetry: {{metrics: {{level: none}}}}
",
        backend.port
    ));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let load = Load::default();
    std::thread::scope(|scope| {
        for sender in 0..6 {
            let load = &load;
            scope.spawn(move || load.send_until_closed(ingest, sender % 2 == 0));
        }
        wait_for("a queue", || {
            let arrived = backend.seen().len();
            (load.accepted().len() >= arrived + 100).then_some(())
        });
        gate.signal("TERM");
    });
    assert_eq!(gate.code(), 0);
    let numbers = backend
        .seen()
        .iter()
        .map(|pushed| pushed.labels["n"].parse().unwrap())
        .collect();
    let arrived: BTreeSet<u64> = numbers;
    let accepted = load.accepted();
    let lost: Vec<_> = accepted.difference(&arrived).collect();
    assert!(lost.is_empty(), "accepted and not at the backend: {lost:?}");
    let unanswered = load.unanswered.lock().unwrap();
    let more: BTreeSet<u64> = arrived.difference(&accepted).copied().collect();
    assert!(more.is_subset(&unanswered), "at the backend and refused: {more:?}");
    eprintln!(
        "{} accepted, {} refused, {} without an answer",
        accepted.len(),
        load.refused.load(Ordering::SeqCst),
        unanswered.len()
    );
    says(&gate, &book("pyroscope", arrived.len(), arrived.len(), 0));
    says(&gate, "drained; nothing was lost");
}

/// A gate to a folder, and to a backend that takes connections and never answers.
fn beside_a_silent_one(ingest: u16, drain_timeout: &str) -> (tempfile::TempDir, String, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = silent.local_addr().unwrap().port();
    let (folder, path) = config(&format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters:
  otlp_http: {{endpoint: \"http://localhost:{backend}\", timeout: 1h, sending_queue: {{queue_size: 100000}}}}
  file: {{directory: ./profiles, format: collapsed, sending_queue: {{queue_size: 100000}}}}
service:
  drain_timeout: {drain_timeout}
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [otlp_http, file]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    ));
    (folder, path, silent)
}

/// Sends until so many are accepted, signals, and waits until nobody listens any more.
fn end_under_load(gate: &Gate, ingest: u16, signals: &[&str]) -> Load {
    let load = Load::default();
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let load = &load;
            scope.spawn(move || load.send_until_closed(ingest, sender % 2 == 0));
        }
        wait_for("some accepted", || (load.accepted().len() >= 50).then_some(()));
        for signal in signals {
            gate.signal(signal);
            wait_for("the drain", || gate.err().contains("stopping").then_some(()));
            // one that comes at once would be taken for an echo
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    load
}

fn written(folder: &Path) -> usize {
    files(&folder.join("profiles")).len()
}

#[test]
fn what_the_deadline_cuts_off_is_counted_and_costs_no_other_exporter() {
    let ingest = free_port();
    let (folder, path, _silent) = beside_a_silent_one(ingest, "10s");
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let load = end_under_load(&gate, ingest, &["TERM"]);
    assert_eq!(gate.code(), 0);
    let written = written(folder.path());
    let answered = load.accepted().len();
    let unanswered = load.unanswered.lock().unwrap().len();
    assert!(
        (answered..=answered + unanswered).contains(&written),
        "{answered} {written}"
    );
    says(&gate, &book("file", written, written, 0));
    says(&gate, &book("otlp_http", written, 0, written));
    says(
        &gate,
        &format!("lost: not delivered before the drain deadline exporter=otlp_http profiles={written}\n"),
    );
    says(
        &gate,
        &format!("drained; not everything was delivered profiles={written}\n"),
    );
    assert!(!gate.err().contains("nothing was lost"));
}

#[test]
fn a_second_sigterm_under_load_leaves_at_once_and_says_what_is_lost() {
    let ingest = free_port();
    let (folder, path, _silent) = beside_a_silent_one(ingest, "1h");
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let load = end_under_load(&gate, ingest, &["TERM", "TERM"]);
    assert_eq!(gate.code(), 0);
    says(&gate, "second signal: leaving at once");
    says(&gate, "lost: still in flight exporter=otlp_http profiles=");
    says(&gate, "not drained; not everything was delivered");
    assert!(load.accepted().len() >= 50 && written(folder.path()) > 0);
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let ingest = free_port();
    let (folder, path, _silent) = beside_a_silent_one(ingest, "2s");
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let ingest_path = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
    assert_eq!(http("POST", ingest, ingest_path, b"main;work 35\n").0, 200);
    // of one signal the system would make one by itself
    let both = format!("kill -TERM {0}; kill -INT {0}", gate.id());
    let sent = std::process::Command::new("sh").args(["-c", &both]).status().unwrap();
    assert!(sent.success());
    assert_eq!(gate.code(), 0);
    assert!(!gate.err().contains("second signal"), "{}", gate.err());
    says(
        &gate,
        "lost: not delivered before the drain deadline exporter=otlp_http profiles=1\n",
    );
}

#[test]
fn what_a_backend_refused_for_good_is_told_at_the_end() {
    let backend = Server::start();
    let ingest = free_port();
    let (folder, path) = config(&format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters: {{pyroscope: {{endpoint: \"http://localhost:{}\", max_age: 0s}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [pyroscope]}}}}
  telemetry: {{metrics: {{level: none}}}}
",
        backend.port
    ));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    // the backend keeps one of a series and a time
    for _ in 0..3 {
        let path = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
        assert_eq!(http("POST", ingest, path, b"main;work 35\n").0, 200);
    }
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    says(&gate, &book("pyroscope", 3, 1, 2));
    says(
        &gate,
        "dropped since the start component=pyroscope kind=\"exporter\" reason=\"permanent\" profiles=2\n",
    );
    says(&gate, "drained; not everything was delivered profiles=2\n");
}
