//! Connections that are made to hurt: heads, bodies and frames that never end, and clients that only stay. Each is cut off or
//! waited out within bounds of memory, and an honest profile goes through meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Gate, config, data, free_port, http, wait_for};

/// What all requests together may hold.
const BUDGET: u64 = 128 << 20;
/// What the process may take beyond it; see `hostile`.
const BESIDE: u64 = 52 << 20;

const OTLP: &str = "/v1development/profiles";
const PPROF: &str = "/v1/pprof";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// GET / of http://h, in HPACK.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'h'];

/// A gate with a small budget that takes pprof and gRPC.
struct Target {
    gate: Gate,
    _folder: tempfile::TempDir,
    grpc: u16,
    pprof: u16,
    metrics: u16,
}

impl Target {
    /// `limits` are those of both receivers.
    fn start(limits: &str) -> Self {
        let [grpc, pprof, metrics] = [(); 3].map(|()| free_port());
        let (folder, path) = config(&format!(
            "receivers:
  otlp: {{protocols: {{grpc: {{endpoint: \"localhost:{grpc}\"{limits}}}}}}}
  pprof: {{server: {{endpoint: \"localhost:{pprof}\"{limits}}}}}
exporters: {{debug: {{}}}}
service:
  memory_budget: 128MiB
  pipelines: {{profiles: {{receivers: [otlp, pprof], exporters: [debug]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
        ));
        let gate = Gate::start(folder.path(), &["--config", &path]);
        gate.forget_peak();
        Self {
            gate,
            _folder: folder,
            grpc,
            pprof,
            metrics,
        }
    }

    /// Waits until so many connections of a receiver were closed for a reason.
    fn cuts(&self, server: &str, reason: &str, times: u64) {
        let line = format!("flamegate_connections_cut_total{{server=\"{server}\",reason=\"{reason}\"}} {times}");
        wait_for(&line, || {
            let (_, text) = http("GET", self.metrics, "/metrics", b"");
            text.lines().any(|told| told == line).then_some(())
        });
    }

    fn serves(&self) {
        let body = std::fs::read(data("go123-cpu-labels.pb.gz")).unwrap();
        wait_for("an honest profile to pass", || {
            (http("POST", self.pprof, PPROF, &body).0 == 200).then_some(())
        });
    }

    /// Looks at the memory that an attack has cost.
    fn stands(&self, after: &str) {
        self.serves();
        let peak = self.gate.peak_memory();
        assert!(peak <= BUDGET + BESIDE, "{after}: {} MiB at the peak", peak >> 20);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sends `next` again and again until the gate closes the connection.
fn flood(port: u16, first: &[u8], next: impl Fn(u32) -> Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut answers = stream.try_clone().unwrap();
    // what is not read would hold up the gate instead of us
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while matches!(answers.read(&mut bytes), Ok(1..)) {}
    });
    let settings = frame(SETTINGS, 0, 0, &[]);
    let _ = stream.write_all(&[PREFACE, &settings, first].concat());
    let mut number = 0;
    wait_for("the gate to hang up", || {
        let sent = stream.write_all(&next(number));
        number += 1;
        sent.is_err().then_some(())
    });
    reader.join().unwrap();
}

/// Eight at a time, each cut off for what it does.
fn floods(what: &str, first: &[u8], next: impl Fn(u32) -> Vec<u8> + Sync) {
    let target = Target::start("");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| flood(target.grpc, first, &next));
        }
        target.serves();
    });
    target.cuts("otlp", "protocol", 8);
    target.stands(what);
}

#[test]
fn continuations_without_end_are_cut_off() {
    let head = frame(HEADERS, END_STREAM, 1, GET);
    // one header after the other, none of them to be remembered
    let header = [&[0, 1, b'x', 120][..], &[b'y'; 120]].concat();
    let block = frame(CONTINUATION, 0, 1, &header.repeat(16_000 / header.len()));
    floods("continuations", &head, |_| block.clone());
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    floods("empty continuations", &head, |_| empty.clone());
}

#[test]
fn requests_that_are_reset_at_once_are_cut_off() {
    let hundred = |number: u32, end: u8, then: &dyn Fn(u32) -> Vec<u8>| -> Vec<u8> {
        let ids = (number * 100..(number + 1) * 100).map(|number| number * 2 + 1);
        ids.flat_map(|id| [frame(HEADERS, END_HEADERS | end, id, GET), then(id)].concat())
            .collect()
    };
    floods("rapid resets", &[], |number| {
        hundred(number, END_STREAM, &|id| frame(RST_STREAM, 0, id, &8u32.to_be_bytes()))
    });
    // what makes the gate reset
    floods("resets by the gate", &[], |number| {
        hundred(number, 0, &|id| frame(WINDOW_UPDATE, 0, id, &0u32.to_be_bytes()))
    });
}

/// Sends a piece now and then, and takes what comes; `None` once the gate has hung up.
fn trickle(stream: &mut TcpStream, piece: &[u8]) -> Option<()> {
    stream.write_all(piece).ok()?;
    match stream.read(&mut [0; 1024]) {
        Ok(0) => None,
        Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        _ => Some(()),
    }
}

/// Two hundred clients, each of whom says `first`, and then `piece` for as long as it may.
fn trickles(what: &str, reason: &str, first: &str, piece: &[u8]) {
    let target = Target::start(", read_header_timeout: 300ms, read_timeout: 300ms");
    let connect = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", target.pprof)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let _ = stream.write_all(first.as_bytes());
        stream
    };
    let mut clients: Vec<TcpStream> = (0..200).map(connect).collect();
    target.serves();
    wait_for("the gate to hang up on all", || {
        clients.retain_mut(|client| trickle(client, piece).is_some());
        clients.is_empty().then_some(())
    });
    target.cuts("pprof", reason, 200);
    target.stands(what);
}

#[test]
fn heads_that_trickle_are_cut_off() {
    trickles("heads", "header_timeout", "POST /v1/pprof HTTP/1.1\r\n", b"a: b\r\n");
}

#[test]
fn bodies_that_trickle_in_chunks_are_given_up() {
    let head = "POST /v1/pprof HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    trickles("bodies in chunks", "body_timeout", head, b"1\r\nx\r\n");
}

/// A request whose body comes a byte at a time; the head of the answer, in lower case.
fn trickled_body(port: u16, path: &str, media_type: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: 100000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 1024];
    wait_for("an answer", || {
        let _ = stream.write_all(b"\n");
        stream.read(&mut answer).ok().filter(|read| *read > 0)
    });
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[test]
fn bodies_that_trickle_are_given_up_by_every_receiver() {
    let [otlp, grpc, pyroscope, pprof, metrics] = [(); 5].map(|()| free_port());
    let (folder, path) = config(&format!(
        "receivers:
  otlp:
    protocols:
      http: {{endpoint: \"localhost:{otlp}\", read_timeout: 300ms}}
      grpc: {{endpoint: \"localhost:{grpc}\", read_timeout: 300ms}}
  pyroscope: {{endpoint: \"localhost:{pyroscope}\", read_timeout: 300ms}}
  pprof: {{server: {{endpoint: \"localhost:{pprof}\", read_timeout: 300ms}}}}
exporters: {{debug: {{}}}}
service:
  pipelines: {{profiles: {{receivers: [otlp, pyroscope, pprof], exporters: [debug]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    ));
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    for (port, path, media_type) in [
        (otlp, OTLP, "application/x-protobuf"),
        (otlp, OTLP, "application/json"),
        (pyroscope, "/ingest?name=a.cpu", "multipart/form-data; boundary=B"),
        (pyroscope, "/ingest?name=a.cpu&format=pprof", "application/octet-stream"),
        (pyroscope, "/push.v1.PusherService/Push", "application/proto"),
        (pprof, PPROF, "application/octet-stream"),
    ] {
        let answer = trickled_body(port, path, media_type);
        let hinted = answer.contains("\r\nretry-after: 1\r\n");
        assert!(answer.starts_with("http/1.1 503 ") && hinted, "{path}: {answer}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let status = runtime.block_on(async { crate::grpc::Client::connect(grpc).await.never_send().await });
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    assert!(!status.details().is_empty(), "no RetryInfo");
    let (_, text) = http("GET", metrics, "/metrics", b"");
    for (server, times) in [("otlp", 3), ("pyroscope", 3), ("pprof", 1)] {
        let line = format!("flamegate_connections_cut_total{{server=\"{server}\",reason=\"body_timeout\"}} {times}\n");
        assert!(text.contains(&line), "{line}: {text}");
    }
}

/// Whether this process, and the gate that it starts, may open so many files.
fn may_open(files: u64) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    soft.is_none_or(|soft| soft >= files)
}

#[test]
fn thousands_that_only_stay_cost_little() {
    if !may_open(8_192) {
        eprintln!("skipped: the process may not open 8192 files (ulimit -n)");
        return;
    }
    let target = Target::start(", read_header_timeout: 1h, max_connections: 4096, max_connections_per_peer: 4096");
    let stay = |number: usize| {
        let mut stream = TcpStream::connect(("127.0.0.1", target.pprof)).unwrap();
        // one that says nothing, one that says half a head, one of HTTP/2 that never asks
        let said = [&b""[..], b"POST /v1/p", PREFACE][number % 3];
        stream.write_all(said).unwrap();
        stream
    };
    let clients: Vec<TcpStream> = (0..3_000).map(stay).collect();
    target.stands("three thousand that stay");
    let stays = |client: &TcpStream| {
        client.set_nonblocking(true).unwrap();
        // the preface of HTTP/2 was answered
        !matches!(client.peek(&mut [0]), Ok(0))
    };
    assert_eq!(clients.iter().filter(|client| stays(client)).count(), 3_000);
}
