//! `rate_limit` in the real binary: what senders of every dialect hear, and what the metrics say.

use crate::support::{Gate, config, data, files, free_port, http, http_with, wait_for};

const INGEST: &str = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
const RECORDING: &[u8] = b"main;work 35\n";
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");

struct Ports {
    ingest: u16,
    http: u16,
    grpc: u16,
    metrics: u16,
}

fn start(limit: &str) -> (Ports, tempfile::TempDir, Gate) {
    let ports = Ports {
        ingest: free_port(),
        http: free_port(),
        grpc: free_port(),
        metrics: free_port(),
    };
    let Ports {
        ingest,
        http,
        grpc,
        metrics,
    } = &ports;
    // a day for one: what is over stays over, however slow the machine is
    let (folder, path) = config(&format!(
        "receivers:
  pyroscope: {{endpoint: \"localhost:{ingest}\"}}
  otlp: {{protocols: {{http: {{endpoint: \"localhost:{http}\"}}, grpc: {{endpoint: \"localhost:{grpc}\"}}}}}}
processors: {{rate_limit: {{keys: [tenant], profiles_per_s: 0.00001, burst: 1s, {limit}}}}}
exporters: {{file: {{directory: ./profiles, format: collapsed}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope, otlp], processors: [rate_limit], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    ));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    (ports, folder, gate)
}

fn headers(port: u16, tenant: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST {INGEST} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Scope-OrgID: {tenant}\r\nContent-Length: {}\r\n\r\n",
        RECORDING.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(RECORDING).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.to_lowercase()
}

fn counts(ports: &Ports, line: &str) -> bool {
    http("GET", ports.metrics, "/metrics", b"").1.contains(line)
}

#[tokio::test]
async fn who_is_too_fast_is_told_when_to_come_again() {
    let (ports, folder, mut gate) = start("on_limit: refuse");
    let first = headers(ports.ingest, "shop");
    assert!(first.starts_with("http/1.1 200"), "{first}");
    let second = headers(ports.ingest, "shop");
    assert!(second.starts_with("http/1.1 429"), "{second}");
    assert!(second.contains("\r\nretry-after: 3600\r\n"), "{second}");
    assert!(second.contains("more profiles than this sender may send"), "{second}");
    let other = headers(ports.ingest, "bank");
    assert!(other.starts_with("http/1.1 200"), "{other}");

    let profiles = std::fs::read(data("node20-wall-cpu-links.otlp")).unwrap();
    let export = || http_with("POST", ports.http, "/v1development/profiles", &[PROTOBUF], &profiles);
    assert_eq!(export().0, 200, "several at once, and more than the burst");
    let (status, body) = export();
    assert_eq!(status, 429);
    assert!(body.contains("google.rpc.RetryInfo"), "{body}");
    let mut client = crate::grpc::Client::connect(ports.grpc).await;
    let refused = client.export(&profiles).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    let details = String::from_utf8_lossy(refused.details()).into_owned();
    assert!(details.contains("google.rpc.RetryInfo"), "{details}");

    assert!(counts(
        &ports,
        "flamegate_receiver_refused_requests_total{receiver=\"pyroscope\",reason=\"over_rate\"} 1\n"
    ));
    assert!(counts(
        &ports,
        "flamegate_rate_limit_keys{processor=\"rate_limit\"} 3\n"
    ));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    assert!(files(&folder.path().join("profiles")).len() >= 3);
}

#[test]
fn what_is_over_is_dropped_where_that_is_said_and_nobody_sends_it_again() {
    let (ports, folder, mut gate) = start("on_limit: drop, limits: [{match: {tenant: free}, profiles_per_s: 1000000}]");
    for _ in 0..3 {
        assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
        assert!(headers(ports.ingest, "free").starts_with("http/1.1 200"));
    }
    let profiles = std::fs::read(data("node20-wall-cpu-links.otlp")).unwrap();
    let (status, body) = http_with("POST", ports.http, "/v1development/profiles", &[PROTOBUF], &profiles);
    assert_eq!(status, 200);
    assert!(body.contains("rate_limited"), "{body}");
    assert!(counts(
        &ports,
        "flamegate_rate_limited_profiles_total{processor=\"rate_limit\",action=\"dropped\",limit=\"profiles\"}"
    ));
    let written = || files(&folder.path().join("profiles")).len();
    wait_for("what passed", || (written() == 4).then_some(()));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    assert_eq!(written(), 4, "one of the first, and all of the free one");
}
