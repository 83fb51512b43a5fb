//! `aggregate` in the real binary: what a backend gets instead of many requests, and that nothing is lost whatever happens meanwhile.

use std::path::Path;

use flamegate::formats::{Format, Limits, any};

use crate::push::Server;
use crate::reduction::told_by_go;
use crate::support::{Gate, config, data, files, free_port, http, run, wait_for};

const SECOND: u64 = 1_000_000_000;
/// Where a window of two minutes begins.
const BEGIN: u64 = 1_700_000_040 * SECOND;

struct Ports {
    ingest: u16,
    metrics: u16,
}

/// A gate that makes one of many, for that server and for files.
fn gate_config(ports: &Ports, server: &Server, aggregate: &str) -> String {
    let Ports { ingest, metrics } = ports;
    format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
processors: {{aggregate: {{{aggregate}}}}}
exporters:
  pyroscope: {{endpoint: \"http://localhost:{}\", max_age: 0s}}
  file: {{directory: ./profiles, format: pprof}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [aggregate], exporters: [pyroscope, file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
",
        server.port
    )
}

fn ports() -> Ports {
    Ports {
        ingest: free_port(),
        metrics: free_port(),
    }
}

/// A CPU profile of Go of ten seconds, which begins so many seconds after the window does.
fn profile(seconds: u64) -> Vec<u8> {
    let recording = std::fs::read(data("go123-cpu-labels.pb.gz")).unwrap();
    let Ok(read) = any::decode_any(recording.into(), &Limits::default()) else {
        panic!("a recording of our own")
    };
    let mut profiles = read.decoded.profiles;
    let one = &mut profiles.edit_resources()[0].scopes[0].profiles[0];
    one.time_unix_nano = BEGIN + seconds * SECOND;
    one.duration_nano = 10 * SECOND;
    any::encode(Format::Pprof, &profiles, usize::MAX).unwrap()
}

fn push(ports: &Ports, service: &str, seconds: u64) {
    let path = format!("/ingest?name={service}&format=pprof");
    assert_eq!(http("POST", ports.ingest, &path, &profile(seconds)).0, 200);
}

fn metric(ports: &Ports, line: &str) -> u64 {
    let text = http("GET", ports.metrics, "/metrics", b"").1;
    let found = text
        .lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0)
}

fn held(ports: &Ports) -> u64 {
    metric(ports, "flamegate_aggregate_held_profiles{processor=\"aggregate\"}")
}

/// Nanoseconds of CPU in a profile of ours.
fn nanoseconds_of_one() -> i64 {
    total(&crate::told_pprof::tell(&profile(0)))
}

fn total(told: &crate::told_pprof::Told) -> i64 {
    told.sums()["cpu/nanoseconds"]
}

fn written(folder: &Path) -> Vec<std::path::PathBuf> {
    files(&folder.join("profiles"))
}

#[test]
fn ten_pushes_become_one_request_with_their_sums() {
    let (ports, server) = (ports(), Server::start());
    let (folder, path) = config(&gate_config(&ports, &server, "window: 2m"));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    for n in 0..10 {
        push(&ports, "shop", 10 * n);
    }
    assert_eq!(held(&ports), 10);
    assert!(metric(&ports, "flamegate_aggregate_held_bytes{processor=\"aggregate\"}") > 0);
    assert!(server.seen().is_empty());
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(total(&seen[0].profile), 10 * nanoseconds_of_one());
    assert_eq!(seen[0].millis as u64, BEGIN / 1_000_000);
    assert_eq!(seen[0].labels["service_name"], "shop");

    let written = written(folder.path());
    assert_eq!(written.len(), 1);
    let Some((nanoseconds, raw)) = told_by_go(&written[0], "-sample_index=cpu") else {
        return;
    };
    assert_eq!(nanoseconds, 10.0 * nanoseconds_of_one() as f64);
    assert!(raw.contains("Duration: 1m40"), "{raw}");
}

#[test]
fn a_window_that_nothing_comes_to_any_more_is_sent_on_in_time() {
    let (ports, server) = (ports(), Server::start());
    let (folder, path) = config(&gate_config(&ports, &server, "window: 1s"));
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let moment = "/ingest?name=shop&format=folded&from=1700000040&until=1700000040";
    assert_eq!(http("POST", ports.ingest, moment, b"main;work 35\n").0, 200);
    wait_for("the window", || (!server.seen().is_empty()).then_some(()));
    assert_eq!(held(&ports), 0);
    assert_eq!(
        metric(
            &ports,
            "flamegate_aggregate_closed_total{processor=\"aggregate\",reason=\"due\"}"
        ),
        1
    );
    wait_for("the file", || (written(folder.path()).len() == 1).then_some(()));
}

#[test]
fn a_reload_keeps_what_is_held_or_sends_it_on() {
    let (ports, server) = (ports(), Server::start());
    let text = gate_config(&ports, &server, "window: 1h");
    let (folder, path) = config(&text);
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let reloads = || metric(&ports, "flamegate_config_reloads_total{result=\"success\"}");
    let reload = |text: &str| {
        let before = reloads();
        std::fs::write(&path, text).unwrap();
        gate.signal("HUP");
        wait_for("the reload", || (reloads() > before).then_some(()));
    };
    push(&ports, "shop", 0);
    push(&ports, "bank", 0);
    // another exporter, and the same processors
    let other = text.replace("./profiles", "./others");
    reload(&other);
    assert_eq!(held(&ports), 2);
    push(&ports, "shop", 10);
    assert!(server.seen().is_empty());
    reload(&other.replace("1h", "30m"));
    wait_for("what was held", || (server.seen().len() == 2).then_some(()));
    push(&ports, "shop", 20);
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let seen = server.seen();
    let mut sums: Vec<(String, i64)> = seen
        .iter()
        .map(|pushed| {
            (
                pushed.labels["service_name"].clone(),
                total(&pushed.profile) / nanoseconds_of_one(),
            )
        })
        .collect();
    sums.sort();
    let expected = [("bank", 1), ("shop", 1), ("shop", 2)];
    assert_eq!(sums, expected.map(|(name, sum)| (name.to_owned(), sum)));
    assert_eq!(files(&folder.path().join("others")).len(), 3);
}

#[test]
fn what_is_killed_while_it_is_held_goes_nowhere() {
    let (ports, server) = (ports(), Server::start());
    let (folder, path) = config(&gate_config(&ports, &server, "window: 1h"));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    push(&ports, "shop", 0);
    gate.signal("USR1");
    wait_for("the kill", || {
        (metric(&ports, "flamegate_kills{scope=\"all\"}") == 1).then_some(())
    });
    push(&ports, "shop", 10);
    assert_eq!(held(&ports), 1, "what comes now is not even held");
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(server.seen().is_empty());
    assert!(written(folder.path()).is_empty());
}

#[test]
fn nothing_durable_is_promised_of_what_is_held() {
    for ack in ["durable", "delivered"] {
        let (_folder, path) = config(&format!(
            "receivers: {{pyroscope: {{endpoint: \"localhost:4040\"}}}}
processors: {{aggregate: {{}}}}
exporters: {{file: {{directory: ./profiles}}}}
service: {{pipelines: {{profiles: {{receivers: [pyroscope], processors: [aggregate], exporters: [file], ack: {ack}}}}}}}
"
        ));
        let checked = run(&["validate", "--config", &path]);
        assert_eq!(checked.code(), 1);
        assert!(
            checked.err().contains("`aggregate` holds profiles back"),
            "{}",
            checked.err()
        );
    }
}
