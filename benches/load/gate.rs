//! The binary under test, and what it says about itself.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cores::{Half, keep_to};

/// Of the processor times in `/proc/PID/stat`, on every architecture of Linux.
const TICKS_A_SECOND: u64 = 100;

/// What stands in the books of an exporter: accepted, sent, dropped, in flight; of profiles, and of spans.
const BOOKS: [[&str; 4]; 2] = [
    [
        "flamegate_exporter_accepted_profiles{",
        "flamegate_exporter_sent_profiles{",
        "flamegate_dropped_total{",
        "flamegate_exporter_in_flight_profiles{",
    ],
    [
        "flamegate_exporter_accepted_spans{",
        "otelcol_exporter_sent_spans{",
        "flamegate_dropped_spans_total{",
        "flamegate_exporter_in_flight_spans{",
    ],
];

/// A running gate; killed when dropped.
pub struct Gate {
    child: Child,
    /// Port that takes the load.
    pub ingest: u16,
    metrics: u16,
    _folder: tempfile::TempDir,
}

/// A configuration with ports.
pub struct Config {
    text: String,
    ingest: u16,
    metrics: u16,
}

/// From `/ingest` through redaction to a backend, and perhaps to one on a dead port and a slow one.
pub fn config(healthy: u16, slow: Option<u16>) -> Config {
    let (ingest, metrics) = (free_port(), free_port());
    let others = match slow {
        Some(slow) => format!(
            "  otlp_http/dead: {{endpoint: \"http://127.0.0.1:{}\", compression: none, timeout: 1s}}\n  otlp_http/slow: {{endpoint: \"http://127.0.0.1:{slow}\", compression: none, timeout: 30s}}\n",
            free_port()
        ),
        None => String::new(),
    };
    let names = match slow {
        Some(_) => "otlp_http/healthy, otlp_http/dead, otlp_http/slow",
        None => "otlp_http/healthy",
    };
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"127.0.0.1:{ingest}\", max_connections_per_peer: 1024}}}}
processors: {{redaction: {{detectors: [secrets, emails], paths: home}}}}
exporters:
  otlp_http/healthy: {{endpoint: \"http://127.0.0.1:{healthy}\", compression: none}}
{others}service:
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [redaction], exporters: [{names}]}}}}
  telemetry: {{logs: {{level: error}}, metrics: {{address: \"127.0.0.1:{metrics}\"}}}}
"
    );
    Config { text, ingest, metrics }
}

/// From OTLP over HTTP to a backend of traces, through `span_profiles` if that is configured.
pub fn traces_config(backend: u16, span_profiles: Option<&str>) -> Config {
    let (ingest, metrics) = (free_port(), free_port());
    let named = span_profiles.map_or("", |_| "span_profiles");
    let configured = span_profiles.map_or(String::new(), |config| format!("span_profiles: {config}"));
    let text = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{ingest}\"}}}}}}}}
processors: {{{configured}}}
exporters: {{otlp_http: {{endpoint: \"http://127.0.0.1:{backend}\", compression: none}}}}
service:
  pipelines: {{traces: {{receivers: [otlp], processors: [{named}], exporters: [otlp_http]}}}}
  telemetry: {{logs: {{level: error}}, metrics: {{address: \"127.0.0.1:{metrics}\"}}}}
"
    );
    Config { text, ingest, metrics }
}

impl Gate {
    /// Starts it and waits until it answers.
    pub async fn start(config: &Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.yaml");
        std::fs::write(&path, &config.text).unwrap();
        let child = std::thread::spawn(|| spawn(path)).join().unwrap();
        let gate = Self {
            child,
            ingest: config.ingest,
            metrics: config.metrics,
            _folder: folder,
        };
        while gate.try_metrics().await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gate
    }

    async fn try_metrics(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics)).await.ok()?;
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Accepted = sent + dropped + in flight, for every exporter, once nobody sends.
    pub async fn books_balance(&self) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let text = self.try_metrics().await.unwrap();
        let sum = |name: &str, exporter: &str| -> u64 {
            let lines = text
                .lines()
                .filter(|line| line.starts_with(name) && line.contains(exporter));
            lines
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum()
        };
        for [accepted, sent, dropped, in_flight] in BOOKS {
            for line in text.lines().filter(|line| line.starts_with(accepted)) {
                let exporter = line.split('"').nth(1).unwrap();
                let of = |name| sum(name, &format!("\"{exporter}\""));
                let accounted = of(sent) + of(dropped) + of(in_flight);
                assert_eq!(of(accepted), accounted, "{exporter}: the books do not balance");
            }
        }
    }

    /// A line of `/proc/PID/status`, in bytes.
    pub fn status(&self, key: &str) -> usize {
        let text = std::fs::read_to_string(self.proc().join("status")).unwrap();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// What all its threads have taken so far.
    pub fn processor_time(&self) -> Duration {
        let text = std::fs::read_to_string(self.proc().join("stat")).unwrap();
        let (_, behind_name) = text.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = behind_name.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc().join("fd")).unwrap().count()
    }

    fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id()))
    }
}

/// On the cores of the gate; the calling thread stays on them.
fn spawn(config: PathBuf) -> Child {
    keep_to(Half::Gate);
    Command::new(env!("CARGO_BIN_EXE_flamegate"))
        .args(["--config".into(), config])
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
