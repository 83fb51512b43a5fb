//! The ledger of the real binary: killed again and again while profiles come, over restarts and reloads, with alerts that come once.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{Gate, config, free_port, http, run, wait_for};

const INGEST: &str = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";

/// A day on which a month begins, some days from today: none turns while a test runs.
fn start_day() -> u32 {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let today: u32 = now.split(['-', 'T']).nth(2).unwrap().parse().unwrap();
    if today < 15 { 21 } else { 7 }
}

struct Ports {
    ingest: u16,
    metrics: u16,
    pages: u16,
}

fn ports() -> Ports {
    Ports {
        ingest: free_port(),
        metrics: free_port(),
        pages: free_port(),
    }
}

fn gate_config(ports: &Ports, monthly: &str, exporters: &str) -> String {
    let Ports { ingest, metrics, pages } = ports;
    let start_day = start_day();
    format!(
        "extensions: {{zpages: {{endpoint: \"localhost:{pages}\"}}}}
receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
processors:
  budget:
    newcomers: {{bytes_per_s: 100MiB, profiles_per_s: 100000}}
    default: {{bytes_per_s: 100MiB, profiles_per_s: 100000}}
    monthly: {{storage: state, start_day: {start_day}, {monthly}}}
exporters:
  file/one: {{directory: ./one, format: collapsed}}
  file/two: {{directory: ./two, format: collapsed}}
service:
  extensions: [zpages]
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [budget], exporters: [{exporters}]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    )
}

fn send(ports: &Ports) {
    assert_eq!(http("POST", ports.ingest, INGEST, b"main;work 35\n").0, 200);
}

/// What the gate says was sent this month.
fn booked(ports: &Ports) -> u64 {
    let (status, page) = http("GET", ports.pages, "/debug/ledger", b"");
    assert_eq!(status, 200);
    let page: Value = serde_json::from_str(&page).unwrap();
    let accounts = page["months"][0]["accounts"].as_array().unwrap();
    accounts.iter().map(|account| account["bytes"].as_u64().unwrap()).sum()
}

/// What exporters say that this process sent: bytes, or profiles.
fn sent(ports: &Ports, what: &str) -> u64 {
    let (_, text) = http("GET", ports.metrics, "/metrics", b"");
    let prefix = format!("flamegate_exporter_sent_{what}{{");
    let sent = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    let number = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
    sent.map(number).sum()
}

/// What the file says, whoever reads it: the most of each account and day.
fn written(folder: &Path) -> u64 {
    let text = std::fs::read_to_string(folder.join("state/ledger.log")).unwrap_or_default();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    // a line that a kill cut off has no end
    for line in text.split_inclusive('\n').skip(1).filter(|line| line.ends_with('\n')) {
        let Some(fact) = line
            .split_once(' ')
            .and_then(|(_, fact)| serde_json::from_str::<Value>(fact).ok())
        else {
            continue;
        };
        let account = &fact["sent"];
        if let Some(bytes) = account["bytes"].as_u64() {
            let key = format!("{} {} {}", account["tenant"], account["exporter"], account["day"]);
            let most = sums.entry(key).or_default();
            *most = bytes.max(*most);
        }
    }
    sums.values().sum()
}

#[test]
fn a_gate_that_is_killed_again_and_again_gives_nothing_back() {
    let ports = ports();
    let (folder, path) = config(&gate_config(
        &ports,
        "ceiling: 5 TB, at_ceiling: alert_only",
        "file/one, file/two",
    ));
    let mut kept = 0;
    for life in 0..6 {
        let mut gate = Gate::start(folder.path(), &["--config", &path]);
        let begins = booked(&ports);
        assert_eq!(begins, kept, "life {life} begins with what was written");
        for _ in 0..=life {
            send(&ports);
        }
        // each life is killed at another moment: before a look, after one, after the first that writes
        wait_for("bytes", || Some(sent(&ports, "bytes")).filter(|sent| *sent > 0));
        if life % 2 == 0 {
            wait_for("a look", || (written(folder.path()) > kept).then_some(()));
        }
        gate.signal("KILL");
        wait_for("the end", || gate.ended());
        let now = written(folder.path());
        assert!(now >= kept, "{now} after {kept}");
        kept = now;
    }
    assert!(kept > 0);
    // who ends in order loses nothing
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    for _ in 0..20 {
        send(&ports);
    }
    let last = wait_for("all of it, by both exporters", || {
        let bytes = (sent(&ports, "profiles") == 2 * 20).then(|| sent(&ports, "bytes"))?;
        (booked(&ports) == kept + bytes).then_some(bytes)
    });
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert_eq!(written(folder.path()), kept + last);
}

fn files(folder: &Path) -> usize {
    ["one", "two"]
        .iter()
        .map(|name| crate::support::files(&folder.join(name)).len())
        .sum()
}

#[test]
fn two_gates_do_not_share_a_ledger() {
    let (one, other) = (ports(), ports());
    let monthly = "ceiling: 5 TB, at_ceiling: alert_only";
    let (folder, path) = config(&gate_config(&one, monthly, "file/one"));
    let second = folder.path().join("second.yaml");
    std::fs::write(&second, gate_config(&other, monthly, "file/one")).unwrap();
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let mut second = Gate::spawn(folder.path(), &["--config", second.to_str().unwrap()]);
    assert_eq!(second.code(), 2);
    let said = second.err();
    assert!(
        said.contains("another process keeps its ledger there") && said.contains("monthly.storage"),
        "{said}"
    );
}

/// A server that takes alerts.
fn alerts() -> (u16, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, got) = (
        listener.local_addr().unwrap().port(),
        Arc::<Mutex<Vec<Value>>>::default(),
    );
    let all = got.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let all = all.clone();
            std::thread::spawn(move || answer(stream, &all));
        }
    });
    (port, got)
}

/// Answers requests until the other end has no more.
fn answer(mut stream: TcpStream, got: &Mutex<Vec<Value>>) -> Option<()> {
    let mut text = Vec::new();
    loop {
        let mut more = [0; 4096];
        let bytes = stream.read(&mut more).ok().filter(|bytes| *bytes > 0)?;
        text.extend(&more[..bytes]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(head.contains("hunter2"), "the header is there");
        if let Ok(alert) = serde_json::from_str(body) {
            got.lock().unwrap().push(alert);
            text.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
        }
    }
}

#[test]
fn alerts_are_told_once_over_restarts_and_a_stop_stops() {
    let (ports, (hook, got)) = (ports(), alerts());
    let monthly = format!(
        "ceiling: 1 B, at_ceiling: stop, webhook: {{url: \"http://127.0.0.1:{hook}/token-hunter2\", headers: {{x-key: hunter2}}}}"
    );
    let (folder, path) = config(&gate_config(&ports, &monthly, "file/one"));
    let log = folder.path().join("state/ledger.log");
    // whether there is a forecast as well depends on the time of day
    let is_actual = |text: &str| text.contains("actual");
    let told = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let told = text
            .lines()
            .filter(|line| is_actual(line) && line.contains("everywhere"));
        told.count()
    };
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    send(&ports);
    // both parts of the ceiling at once
    wait_for("both alerts, and a note of it", || (told() >= 2).then_some(()));
    let ids = || -> Vec<String> {
        let got = got.lock().unwrap();
        let mut ids: Vec<String> = got
            .iter()
            .map(|alert| alert["id"].as_str().unwrap().to_owned())
            .collect();
        ids.retain(|id| is_actual(id));
        ids.sort();
        ids
    };
    let first = ids();
    assert!(
        first.len() == 2 && first[0].ends_with("/actual/0.8") && first[1].ends_with("/actual/1"),
        "{first:?}"
    );
    for signal in ["KILL", "TERM"] {
        gate.signal(signal);
        wait_for("the end", || gate.ended());
        assert!(!gate.err().contains("hunter2"), "{}", gate.err());
        gate = Gate::start(folder.path(), &["--config", &path]);
        let before = files(folder.path());
        for _ in 0..3 {
            send(&ports);
        }
        let dropped = "flamegate_dropped_total{component=\"budget\",kind=\"processor\",reason=\"over_budget\"} 3";
        wait_for("drops", || {
            http("GET", ports.metrics, "/metrics", b"")
                .1
                .contains(dropped)
                .then_some(())
        });
        assert_eq!(
            files(folder.path()),
            before,
            "what is stopped is stopped from the start"
        );
        let (_, page) = http("GET", ports.pages, "/debug/ledgerz", b"");
        assert!(page.contains("passes: stop, alerts: actual 0.8, actual 1"), "{page}");
    }
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert_eq!(ids(), first);
}

#[test]
fn a_ceiling_that_is_raised_lets_pass_again_without_a_restart() {
    let ports = ports();
    let (folder, path) = config(&gate_config(&ports, "ceiling: 1 B, at_ceiling: stop", "file/one"));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let dropped = "kind=\"processor\",reason=\"over_budget\"} ";
    wait_for("a stop", || {
        send(&ports);
        http("GET", ports.metrics, "/metrics", b"")
            .1
            .contains(dropped)
            .then_some(())
    });
    let (before, spent) = (files(folder.path()), booked(&ports));
    std::fs::write(
        &path,
        gate_config(&ports, "ceiling: 5 TB, at_ceiling: stop", "file/one"),
    )
    .unwrap();
    gate.signal("HUP");
    wait_for("what passes", || {
        send(&ports);
        (files(folder.path()) > before).then_some(())
    });
    // another directory would be another ledger
    let elsewhere = gate_config(&ports, "ceiling: 5 TB", "file/one").replace("storage: state", "storage: other");
    std::fs::write(&path, elsewhere).unwrap();
    gate.signal("HUP");
    wait_for("a refusal", || {
        gate.err()
            .contains("start the gate anew to keep it elsewhere")
            .then_some(())
    });
    wait_for("the same account", || (booked(&ports) > spent).then_some(()));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
}

#[test]
fn a_month_that_is_kept_from_now_on_has_nothing_of_before() {
    let ports = ports();
    let kept = gate_config(&ports, "ceiling: 5 TB, at_ceiling: alert_only", "file/one");
    let without: Vec<&str> = kept.lines().filter(|line| !line.contains("monthly:")).collect();
    let (folder, path) = config(&without.join("\n"));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    send(&ports);
    let before = wait_for("bytes", || Some(sent(&ports, "bytes")).filter(|sent| *sent > 0));
    std::fs::write(&path, &kept).unwrap();
    gate.signal("HUP");
    wait_for("the reload", || gate.err().contains("reloaded").then_some(()));
    send(&ports);
    let booked = wait_for("a booking", || Some(booked(&ports)).filter(|booked| *booked > 0));
    assert_eq!(booked, sent(&ports, "bytes") - before);
}

#[test]
fn validate_says_what_cannot_be_kept() {
    let ports = ports();
    for (monthly, exporters, told) in [
        (
            "ceiling: 5 USD, price_per_gb: {file/one: 1}",
            "file/one, file/two",
            "feeds `file/two` too",
        ),
        (
            "ceiling: 5 USD, price_per_gb: {file/one: 1}, webhook: {url: \"http://169.254.169.254/hunter2\"}",
            "file/one",
            "monthly.webhook.url",
        ),
        ("ceiling: 5", "file/one", "monthly.ceiling"),
    ] {
        let (_folder, path) = config(&gate_config(&ports, monthly, exporters));
        let done = run(&["validate", "--config", &path]);
        assert_eq!(done.code(), 1, "{monthly}");
        assert!(
            done.err().contains(told) && !done.err().contains("hunter2"),
            "{}",
            done.err()
        );
    }
    let good = "ceiling: 5 USD, price_per_gb: {file/one: 1, file/two: 0}";
    let (folder, path) = config(&gate_config(&ports, good, "file/one, file/two"));
    let done = run(&["validate", "--config", &path]);
    assert_eq!(done.code(), 0, "{}", done.err());
    assert!(!folder.path().join("state").exists(), "validate keeps no ledger");
}
