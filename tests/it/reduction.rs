//! What reduced profiles say to who reads them, with the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Gate, config, data, files, free_port, http, http_with, run};

/// A gate that makes profiles smaller and writes pprof.
fn gate(ingest: u16, processor: &str) -> String {
    format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
processors: {{{processor}}}
exporters: {{file: {{directory: ./profiles, format: pprof}}}}
service:
  pipelines:
    profiles: {{receivers: [pyroscope], processors: [{}], exporters: [file]}}
  telemetry: {{metrics: {{level: none}}}}
",
        processor.split(':').next().unwrap()
    )
}

/// What Go says of a profile: of which type, how much in all, and the period.
pub fn told_by_go(file: &Path, sample_index: &str) -> Option<(f64, String)> {
    let there = Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if there.is_err() {
        eprintln!("skipped: there is no go");
        return None;
    }
    let pprof = |args: &[&str]| {
        let said = Command::new("go")
            .args(["tool", "pprof"])
            .args(args)
            .arg(file)
            .output()
            .unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    };
    let top = pprof(&["-top", "-unit=ns", sample_index]);
    // Showing nodes accounting for 7789473692ns, 99.23% of 7849999999ns total
    let total = top.split(" of ").nth(1).and_then(|rest| rest.split(" total").next());
    let total = total.unwrap_or_else(|| panic!("{top}")).trim_end_matches("ns");
    Some((total.parse().unwrap(), pprof(&["-raw"])))
}

/// What a gate with this processor makes of a CPU profile of Go.
fn through(processor: &str) -> (tempfile::TempDir, PathBuf) {
    let ingest = free_port();
    let (folder, path) = config(&gate(ingest, processor));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let profile = std::fs::read(data("go123-cpu-labels.pb.gz")).unwrap();
    assert_eq!(http("POST", ingest, "/ingest?name=shop&format=pprof", &profile).0, 200);
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let mut written = files(&folder.path().join("profiles"));
    assert_eq!(written.len(), 1);
    (folder, written.remove(0))
}

#[test]
fn go_reads_the_same_seconds_of_a_thinned_profile() {
    let (_folder, written) = through("downsample: {target_hz: 19}");
    let Some((before, _)) = told_by_go(&data("go123-cpu-labels.pb.gz"), "-sample_index=cpu") else {
        return;
    };
    let (after, raw) = told_by_go(&written, "-sample_index=cpu").unwrap();
    let (samples, _) = told_by_go(&written, "-sample_index=samples").unwrap();
    let period = 52_631_579.0;
    assert!(raw.contains("Period: 52631579"), "{raw}");
    assert_eq!(samples * period, after, "counts and period agree");
    assert!((after - before).abs() < period, "{after} of {before}");
}

#[test]
fn go_reads_the_same_seconds_of_a_few_rows() {
    let (_folder, written) = through("compact: {max_rows: 100}");
    for index in ["-sample_index=cpu", "-sample_index=samples"] {
        let Some((before, _)) = told_by_go(&data("go123-cpu-labels.pb.gz"), index) else {
            return;
        };
        assert_eq!(told_by_go(&written, index).unwrap().0, before);
    }
}

/// A budget that has room for nothing, however slow or fast the machine is.
const NO_ROOM: &str = "default: {bytes_per_s: 1, burst: 1s}, newcomers: {bytes_per_s: 1}";

#[test]
fn go_reads_the_same_seconds_where_only_totals_are_left() {
    let (_folder, written) = through(&format!("budget: {{{NO_ROOM}, over_budget: [totals_only]}}"));
    for index in ["-sample_index=cpu", "-sample_index=samples"] {
        let Some((before, _)) = told_by_go(&data("go123-cpu-labels.pb.gz"), index) else {
            return;
        };
        assert_eq!(told_by_go(&written, index).unwrap().0, before);
    }
}

#[test]
fn who_is_over_budget_hears_ok_and_how_many_were_dropped() {
    let (ingest, otlp, metrics) = (free_port(), free_port(), free_port());
    let (folder, path) = config(&format!(
        "receivers:
  pyroscope: {{endpoint: \"localhost:{ingest}\"}}
  otlp: {{protocols: {{http: {{endpoint: \"localhost:{otlp}\"}}}}}}
processors: {{budget: {{{NO_ROOM}, over_budget: [drop]}}}}
exporters: {{file: {{directory: ./profiles, format: pprof}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope, otlp], processors: [budget], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    ));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let pprof = std::fs::read(data("go123-cpu-labels.pb.gz")).unwrap();
    assert_eq!(http("POST", ingest, "/ingest?name=shop&format=pprof", &pprof).0, 200);
    let profiles = std::fs::read(data("node20-wall-cpu-links.otlp")).unwrap();
    let protobuf = ("Content-Type", "application/x-protobuf");
    let (status, body) = http_with("POST", otlp, "/v1development/profiles", &[protobuf], &profiles);
    assert_eq!(status, 200);
    assert!(body.contains("over_budget"), "{body}");
    let told = http("GET", metrics, "/metrics", b"").1;
    for line in [
        "flamegate_budget_profiles_total{processor=\"budget\",outcome=\"dropped\"}",
        "flamegate_budget_bytes_total{processor=\"budget\",rule=\"default\",edge=\"kept\"} 0\n",
        "component=\"budget\",kind=\"processor\",reason=\"over_budget\"}",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(files(&folder.path().join("profiles")).is_empty());
}

#[test]
fn what_stands_too_early_is_told() {
    let told = |processors: &str| {
        let text = format!(
            "receivers: {{otlp: {{protocols: {{http: {{}}}}}}}}\nprocessors: {{trace_links: {{}}, downsample: {{}}, compact: {{}}, redaction: {{}}}}\n\
             exporters: {{file: {{directory: ./profiles}}}}\nservice: {{pipelines: {{profiles: {{receivers: [otlp], \
             processors: [{processors}], exporters: [file]}}}}}}\n"
        );
        let (_folder, path) = config(&text);
        let checked = run(&["validate", "--config", &path]);
        assert_eq!(checked.code(), 0, "{}", checked.err());
        checked.err()
    };
    let early = told("compact, downsample, trace_links, redaction");
    assert!(early.contains("`compact` stands in front of `downsample`"), "{early}");
    assert!(early.contains("`compact` stands in front of `trace_links`"), "{early}");
    assert!(
        early.contains("`downsample` stands in front of `trace_links`"),
        "{early}"
    );
    let right = told("trace_links, downsample, compact, redaction");
    assert!(!right.contains("stands in front of"), "{right}");
}
