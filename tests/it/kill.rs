//! The kill switch of the real binary: by file, by route, by signal, over restarts; and what sources and senders notice of it.
//!
//! Tests wait for what must happen. How long it took they print: `docs/operations.md` tells the figures of a quiet machine.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Gate, config, data, files, free_port, http, http_with, run, wait_for};

const INGEST: &str = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
const RECORDING: &[u8] = b"main;work 35\n";
/// ann of tenant `ops`, and bob of his own.
const ANN: (&str, &str) = ("Authorization", "Basic YW5uOnBsYW50ZWRFWEFNUExF");
const BOB: (&str, &str) = ("Authorization", "Basic Ym9iOnBsYW50ZWRFWEFNUExF");
const JSON: (&str, &str) = ("Content-Type", "application/json");
/// As a command is given it.
const AS_ANN: &str = "Authorization=Basic YW5uOnBsYW50ZWRFWEFNUExF";

struct Ports {
    ingest: u16,
    otlp: u16,
    metrics: u16,
    pages: u16,
    health: u16,
}

fn ports() -> Ports {
    Ports {
        ingest: free_port(),
        otlp: free_port(),
        metrics: free_port(),
        pages: free_port(),
        health: free_port(),
    }
}

fn gate_config(ports: &Ports, receivers: &str, names: &str) -> String {
    let Ports {
        ingest,
        otlp,
        metrics,
        pages,
        health,
    } = ports;
    format!(
        "extensions:
  basicauth: {{htpasswd: {{inline: \"ann:plantedEXAMPLE\\nbob:plantedEXAMPLE\"}}, tenants: {{ann: ops}}}}
  zpages: {{endpoint: \"localhost:{pages}\", auth: {{authenticator: basicauth}}}}
  health_check: {{endpoint: \"localhost:{health}\"}}
receivers:
  pyroscope: {{endpoint: \"localhost:{ingest}\"}}
  otlp: {{protocols: {{http: {{endpoint: \"localhost:{otlp}\"}}}}}}
{receivers}
exporters:
  file/one: {{directory: ./one, format: collapsed}}
  file/two: {{directory: ./two, format: collapsed}}
service:
  extensions: [zpages, health_check]
  kill_switch: {{file: kill.yaml, storage: state, operators: [ops]}}
  pipelines: {{profiles: {{receivers: [pyroscope, otlp{names}], exporters: [file/one, file/two]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}, audit: {{path: audit.jsonl}}}}
"
    )
}

fn metrics(ports: &Ports) -> String {
    http("GET", ports.metrics, "/metrics", b"").1
}

/// The value of a metric; 0 where it is not there yet.
fn metric(ports: &Ports, line: &str) -> u64 {
    let text = metrics(ports);
    let found = text
        .lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0)
}

fn killed_of(ports: &Ports, receiver: &str) -> u64 {
    let line = format!("flamegate_dropped_total{{component=\"{receiver}\",kind=\"receiver\",reason=\"killed\"}}");
    metric(ports, &line)
}

fn send(ports: &Ports) {
    assert_eq!(http("POST", ports.ingest, INGEST, RECORDING).0, 200);
}

/// Sends until one request is discarded, and says how long after `begin` that was.
fn until_discarded(ports: &Ports, how: &str, begin: Instant) {
    let before = killed_of(ports, "pyroscope");
    wait_for("a discarded request", || {
        send(ports);
        (killed_of(ports, "pyroscope") > before).then_some(())
    });
    eprintln!("{how}: the first discarded request after {:?}", begin.elapsed());
}

/// Sends until one request passes.
fn until_passed(ports: &Ports, folder: &Path) {
    let written = || files(&folder.join("one")).len();
    let before = written();
    wait_for("a request that passes", || {
        send(ports);
        (written() > before).then_some(())
    });
}

fn kill(ports: &Ports, who: (&str, &str), body: &str) -> (u16, serde_json::Value) {
    let (status, answer) = http_with("POST", ports.pages, "/debug/kills", &[who, JSON], body.as_bytes());
    (status, serde_json::from_str(&answer).unwrap_or_default())
}

fn lift(ports: &Ports, who: (&str, &str), id: &str) -> u16 {
    http_with("DELETE", ports.pages, &format!("/debug/kills/{id}"), &[who], b"").0
}

fn listed(ports: &Ports, who: (&str, &str)) -> usize {
    let (status, answer) = http_with("GET", ports.pages, "/debug/kills", &[who], b"");
    assert_eq!(status, 200);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["kills"].as_array().unwrap().len()
}

#[test]
fn file_route_and_signal_discard_at_once_and_lift_again() {
    let ports = ports();
    let (folder, path) = config(&gate_config(&ports, "", ""));
    let file = folder.path().join("kill.yaml");
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    until_passed(&ports, folder.path());

    let begin = Instant::now();
    std::fs::write(
        &file,
        "kills: [{match: {receiver: pyroscope}, reason: incident, actor: ann, for: 1h}]",
    )
    .unwrap();
    until_discarded(&ports, "file", begin);
    let (status, page) = http_with("GET", ports.pages, "/debug/killz", &[ANN], b"");
    assert_eq!(status, 200);
    assert!(
        page.contains("receiver pyroscope") && page.contains("incident"),
        "{page}"
    );
    assert_eq!(metric(&ports, "flamegate_kills{scope=\"receiver\"}"), 1);
    // who is killed is ready
    assert_eq!(http("GET", ports.health, "/", b"").0, 200);
    assert_eq!(http("GET", ports.metrics, "/ready", b"").0, 200);
    std::fs::write(&file, "kills: []").unwrap();
    until_passed(&ports, folder.path());

    let begin = Instant::now();
    let (status, answer) = kill(&ports, ANN, r#"{"match": "all", "reason": "incident"}"#);
    assert_eq!((status, &answer["stored"]), (201, &true.into()), "{answer}");
    assert_eq!(answer["kill"]["actor"], "ops", "by the credential");
    until_discarded(&ports, "route", begin);
    // over OTLP the sender is told
    let sent = std::fs::read(data("node20-wall-cpu-links.otlp")).unwrap();
    let protobuf = [("Content-Type", "application/x-protobuf")];
    let (status, answer) = http_with("POST", ports.otlp, "/v1development/profiles", &protobuf, &sent);
    assert_eq!(status, 200);
    assert!(answer.contains("killed by policy"), "{answer}");
    // what cannot be decoded is told as ever
    let (status, _) = http_with("POST", ports.otlp, "/v1development/profiles", &protobuf, b"\xff\xff");
    assert_eq!(status, 400);
    let id = kill_ids(&ports);
    assert_eq!(lift(&ports, ANN, &id[0]), 200);
    assert_eq!(lift(&ports, ANN, &id[0]), 404);
    until_passed(&ports, folder.path());

    let begin = Instant::now();
    gate.signal("USR1");
    until_discarded(&ports, "signal", begin);
    gate.signal("USR2");
    until_passed(&ports, folder.path());

    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let trail = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let count = |event: &str| trail.matches(&format!("\"event\":\"{event}\"")).count();
    assert_eq!((count("killed"), count("lifted")), (3, 3), "{trail}");
}

fn kill_ids(ports: &Ports) -> Vec<String> {
    let (_, answer) = http_with("GET", ports.pages, "/debug/kills", &[ANN], b"");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let kills = answer["kills"].as_array().unwrap();
    kills
        .iter()
        .map(|kill| kill["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn who_may_kill_what() {
    let ports = ports();
    let (folder, path) = config(&gate_config(&ports, "", ""));
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let stranger = ("Authorization", "Basic bm86Ym9keQ==");
    assert_eq!(kill(&ports, stranger, r#"{"match": "all"}"#).0, 401);
    assert_eq!(http("GET", ports.pages, "/debug/kills", b"").0, 401);
    // bob is a tenant, and no operator
    for others in [
        r#"{"match": "all"}"#,
        r#"{"match": {"tenant": "ops"}}"#,
        r#"{"match": {"tenant": "b*"}}"#,
        r#"{"match": {"service": "bob"}}"#,
    ] {
        assert_eq!(kill(&ports, BOB, others).0, 403, "{others}");
    }
    let set = |who| http_with("PUT", ports.pages, "/debug/loglevel", &[who], b"info").0;
    assert_eq!((set(BOB), set(ANN)), (403, 200));
    let (status, answer) = kill(&ports, BOB, r#"{"match": {"tenant": "bob"}, "actor": "ann"}"#);
    assert_eq!((status, &answer["kill"]["actor"]), (201, &"bob".into()));
    let own = answer["kill"]["id"].as_str().unwrap().to_owned();
    let (_, answer) = kill(&ports, ANN, r#"{"match": {"tenant": "ops"}}"#);
    let anns = answer["kill"]["id"].as_str().unwrap();
    assert_eq!((listed(&ports, BOB), listed(&ports, ANN)), (1, 2));
    assert_eq!((lift(&ports, BOB, anns), lift(&ports, BOB, &own)), (403, 200));
    for (wrong, status) in [
        ("{", 400),
        (r#"{"match": {"tennant": "x"}}"#, 400),
        (r#"{"match": "all", "x": 1}"#, 400),
    ] {
        assert_eq!(kill(&ports, ANN, wrong).0, status, "{wrong}");
    }
    let large = format!("{{\"match\": \"all\", \"reason\": \"{}\"}}", "x".repeat(1 << 17));
    assert_eq!(kill(&ports, ANN, &large).0, 413);
    // as a form of a web page would come
    let form = [ANN, ("Content-Type", "text/plain")];
    assert_eq!(
        http_with("POST", ports.pages, "/debug/kills", &form, br#"{"match": "all"}"#).0,
        415
    );
    assert_eq!(listed(&ports, ANN), 1);
}

#[test]
fn without_an_authenticator_the_route_shows_and_changes_nothing() {
    let ports = ports();
    let open = gate_config(&ports, "", "").replace(", auth: {authenticator: basicauth}", "");
    let (folder, path) = config(&open);
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let (status, answer) = kill(&ports, JSON, r#"{"match": "all"}"#);
    assert_eq!(status, 403);
    assert!(answer["error"].as_str().unwrap().contains("authenticator"), "{answer}");
    gate.signal("USR1");
    let id = wait_for("the kill", || kill_ids(&ports).pop());
    assert_eq!(lift(&ports, JSON, &id), 403);
    assert_eq!(listed(&ports, JSON), 1);
}

#[test]
fn a_broken_file_kills_and_says_so_and_a_restart_keeps_what_was_killed() {
    let ports = ports();
    let (folder, path) = config(&gate_config(&ports, "", ""));
    let file = folder.path().join("kill.yaml");
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    until_passed(&ports, folder.path());
    std::fs::write(&file, "kills: [{match: {tenant: shop}}]").unwrap();
    wait_for("the kill", || {
        (metric(&ports, "flamegate_kills{scope=\"tenant\"}") == 1).then_some(())
    });
    std::fs::write(&file, "kills: [{match: {tennant: shop}}]").unwrap();
    until_discarded(&ports, "broken file", Instant::now());
    assert_eq!(metric(&ports, "flamegate_kill_switch_broken{part=\"file\"}"), 1);
    assert_eq!(
        metric(&ports, "flamegate_kills{scope=\"tenant\"}"),
        1,
        "the kill that it had"
    );
    let log = wait_for("the log", || {
        Some(gate.err()).filter(|log| log.contains("everything is killed"))
    });
    assert!(log.contains("kill.yaml:1:"), "{log}");
    let checked = run(&["validate-kill", &file.display().to_string()]);
    assert_eq!(checked.code(), 1);
    assert!(checked.err().contains("tennant"), "{}", checked.err());

    let (status, _) = kill(&ports, ANN, r#"{"match": {"exporter": "file/two"}, "for": "1h"}"#);
    assert_eq!(status, 201);
    gate.signal("KILL");
    wait_for("the end", || gate.ended());
    std::fs::remove_file(&file).unwrap();
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let log = wait_for("the log", || {
        Some(gate.err()).filter(|log| log.contains("as before the start"))
    });
    assert!(log.contains("exporter file/two"), "{log}");
    let before = files(&folder.path().join("two")).len();
    until_passed(&ports, folder.path());
    let line = "flamegate_dropped_total{component=\"file/two\",kind=\"exporter\",reason=\"killed\"}";
    assert!(metric(&ports, line) > 0);
    assert_eq!(
        files(&folder.path().join("two")).len(),
        before,
        "the other exporter goes on alone"
    );
}

#[test]
fn the_books_are_right_whatever_is_killed_meanwhile() {
    let ports = ports();
    let (folder, path) = config(&gate_config(&ports, "", ""));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let mut sent = 0;
    for kill_now in [
        r#"{"match": {"exporter": "file/one"}}"#,
        r#"{"match": {"tenant": "default", "exporter": "file/two"}}"#,
        r#"{"match": {"service": "app"}}"#,
        r#"{"match": {"profile.type": "*"}}"#,
    ] {
        for _ in 0..5 {
            send(&ports);
            sent += 1;
        }
        let (status, answer) = kill(&ports, ANN, kill_now);
        assert_eq!(status, 201, "{answer}");
        for _ in 0..5 {
            send(&ports);
            sent += 1;
        }
        assert_eq!(lift(&ports, ANN, answer["kill"]["id"].as_str().unwrap()), 200);
    }
    wait_for("the queues to be empty", || {
        let in_flight = |name: &str| {
            metric(
                &ports,
                &format!("flamegate_exporter_in_flight_profiles{{exporter=\"{name}\"}}"),
            )
        };
        (in_flight("file/one") + in_flight("file/two") == 0).then_some(())
    });
    assert_eq!(
        metric(&ports, "flamegate_receiver_accepted_profiles{receiver=\"pyroscope\"}"),
        sent
    );
    let at_the_door = killed_of(&ports, "pyroscope");
    assert_eq!(at_the_door, 10, "by service and by type");
    for name in ["file/one", "file/two"] {
        let of = |what: &str| metric(&ports, &format!("flamegate_exporter_{what}{{exporter=\"{name}\"}}"));
        let line = format!("flamegate_dropped_total{{component=\"{name}\",kind=\"exporter\",reason=\"killed\"}}");
        let killed = metric(&ports, &line);
        // what waits in a queue is killed with what comes
        assert!((5..=20).contains(&killed), "{name}: {killed}");
        assert_eq!(of("accepted_profiles"), sent - at_the_door);
        assert_eq!(of("accepted_profiles"), of("sent_profiles") + killed);
    }
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
}

/// A program whose profile never ends: it tells how many are asking now, and how many have asked.
fn endless() -> (u16, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (now, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let told = (now.clone(), all.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, now, all) = (stream.unwrap(), told.0.clone(), told.1.clone());
            std::thread::spawn(move || {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head);
                now.fetch_add(1, Ordering::SeqCst);
                all.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                // ends when the other end has gone
                while matches!(stream.read(&mut head), Ok(1..)) {}
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (port, now, all)
}

#[test]
fn scraping_stops_in_the_middle_and_goes_on_when_it_is_lifted() {
    let ports = ports();
    let ((shop, shop_now, shop_all), (bank, bank_now, _)) = (endless(), endless());
    let scrape = format!(
        "  scrape: {{collection_interval: 1s, timeout: 50s, max_share: 1, profiles: [go_heap],
            static_configs: [{{targets: [\"127.0.0.1:{shop}\"], labels: {{service_name: shop}}}},
                             {{targets: [\"127.0.0.1:{bank}\"], labels: {{service_name: bank}}}}]}}"
    );
    let (folder, path) = config(&gate_config(&ports, &scrape, ", scrape"));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let asking = |now: &AtomicUsize, wanted: usize| {
        wait_for("the visits", || (now.load(Ordering::SeqCst) == wanted).then_some(()));
    };
    asking(&shop_now, 1);
    asking(&bank_now, 1);
    let begin = Instant::now();
    let (_, answer) = kill(&ports, ANN, r#"{"match": {"service": "shop"}}"#);
    asking(&shop_now, 0);
    eprintln!("route: the last scrape ended after {:?}", begin.elapsed());
    let asked = shop_all.load(Ordering::SeqCst);
    wait_for("turns that are passed over", || {
        (metric(&ports, "flamegate_scrapes_total{receiver=\"scrape\",result=\"killed\"}") > 2).then_some(())
    });
    assert_eq!(shop_all.load(Ordering::SeqCst), asked, "nobody asked again");
    asking(&bank_now, 1);
    assert_eq!(lift(&ports, ANN, answer["kill"]["id"].as_str().unwrap()), 200);
    asking(&shop_now, 1);

    let begin = Instant::now();
    gate.signal("USR1");
    asking(&shop_now, 0);
    asking(&bank_now, 0);
    eprintln!("signal: the last scrape ended after {:?}", begin.elapsed());
    gate.signal("USR2");
    asking(&shop_now, 1);
    let begin = Instant::now();
    std::fs::write(
        folder.path().join("kill.yaml"),
        "kills: [{match: {receiver: scr*}, for: 1h}]",
    )
    .unwrap();
    asking(&shop_now, 0);
    asking(&bank_now, 0);
    eprintln!("file: the last scrape ended after {:?}", begin.elapsed());
}

#[test]
fn fetching_from_one_address_stops_in_the_middle_too_and_goes_on_when_it_is_lifted() {
    let ports = ports();
    let (port, now, all) = endless();
    let remote = format!(
        "  pprof: {{remote: {{endpoint: \"http://127.0.0.1:{port}/debug/pprof/heap\", collection_interval: 1s, timeout: 50s,
            tenant: shop, resource: {{service.name: till}}}}}}"
    );
    let (folder, path) = config(&gate_config(&ports, &remote, ", pprof"));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let asking = |wanted: usize| {
        wait_for("the visits", || (now.load(Ordering::SeqCst) == wanted).then_some(()));
    };
    asking(1);
    for (what, order) in [
        ("receiver", r#"{"match": {"receiver": "pprof"}}"#),
        ("service", r#"{"match": {"service": "till"}}"#),
        ("tenant", r#"{"match": {"tenant": "shop"}}"#),
    ] {
        let begin = Instant::now();
        let (_, answer) = kill(&ports, ANN, order);
        asking(0);
        eprintln!("{what}: the last fetch ended after {:?}", begin.elapsed());
        let asked = all.load(Ordering::SeqCst);
        let before = metric(&ports, "flamegate_scrapes_total{receiver=\"pprof\",result=\"killed\"}");
        wait_for("turns that are passed over", || {
            let killed = metric(&ports, "flamegate_scrapes_total{receiver=\"pprof\",result=\"killed\"}");
            (killed > before + 1).then_some(())
        });
        assert_eq!(all.load(Ordering::SeqCst), asked, "nobody asked again");
        assert_eq!(lift(&ports, ANN, answer["kill"]["id"].as_str().unwrap()), 200);
        asking(1);
    }
    // others are none of its business
    let asked = all.load(Ordering::SeqCst);
    let (_, answer) = kill(&ports, ANN, r#"{"match": {"tenant": "default"}}"#);
    until_discarded(&ports, "tenant", Instant::now());
    assert_eq!((now.load(Ordering::SeqCst), all.load(Ordering::SeqCst)), (1, asked));
    assert_eq!(lift(&ports, ANN, answer["kill"]["id"].as_str().unwrap()), 200);
    let begin = Instant::now();
    gate.signal("USR1");
    asking(0);
    eprintln!("signal: the last fetch ended after {:?}", begin.elapsed());
    gate.signal("USR2");
    asking(1);
    let begin = Instant::now();
    std::fs::write(folder.path().join("kill.yaml"), "kills: [{match: all, for: 1h}]").unwrap();
    asking(0);
    eprintln!("file: the last fetch ended after {:?}", begin.elapsed());
}

#[test]
fn killed_files_wait() {
    let ports = ports();
    let receiver = "  file: {include: in/*, storage: state, poll_interval: 100ms, settle: 0s, after: delete}";
    let (folder, path) = config(&gate_config(&ports, receiver, ", file"));
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    std::fs::write(folder.path().join("kill.yaml"), "kills: [{match: {receiver: file}}]").unwrap();
    let gate = Gate::start(folder.path(), &["--config", &path]);
    for n in 0..3 {
        std::fs::write(input.join(format!("{n}.collapsed")), format!("main;file{n} 35\n")).unwrap();
    }
    // the others go on
    until_passed(&ports, folder.path());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(files(&input).len(), 3);
    assert_eq!(
        metric(&ports, "flamegate_receiver_accepted_profiles{receiver=\"file\"}"),
        0,
        "nothing was read"
    );
    std::fs::write(folder.path().join("kill.yaml"), "kills: []").unwrap();
    wait_for("the files", || files(&input).is_empty().then_some(()));
    let text: String = files(&folder.path().join("one"))
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for n in 0..3 {
        assert_eq!(text.matches(&format!("file{n}")).count(), 1, "{text}");
    }
    // what is read and killed for what it holds stays as well
    let (_, _) = kill(&ports, ANN, r#"{"match": {"profile.type": "*"}}"#);
    std::fs::write(input.join("late.collapsed"), "main;late 35\n").unwrap();
    wait_for("the file to be read", || (killed_of(&ports, "file") > 0).then_some(()));
    assert_eq!(files(&input).len(), 1);
    drop(gate);
    assert_eq!(files(&input).len(), 1);
}

#[test]
fn commands_kill_list_and_lift() {
    let ports = ports();
    let (folder, path) = config(&gate_config(&ports, "", ""));
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let at = format!("http://localhost:{}", ports.pages);
    let ask = |args: &[&str]| run(&[args, &["--gate", &at, "--header", AS_ANN]].concat());
    let killed = ask(&[
        "kill",
        "--service",
        "app*",
        "--tenant",
        "default",
        "--reason",
        "why",
        "--for",
        "30m",
    ]);
    assert_eq!(killed.code(), 0, "{}", killed.err());
    assert!(
        killed.out().contains("service app* and tenant default"),
        "{}",
        killed.out()
    );
    until_discarded(&ports, "command", Instant::now());
    let listed = ask(&["kills"]).out();
    assert!(listed.contains("why") && listed.contains("by ops"), "{listed}");
    let listed: serde_json::Value = serde_json::from_str(&ask(&["kills", "--json"]).out()).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    let lifted = ask(&["unkill", id]);
    assert_eq!(lifted.code(), 0, "{}", lifted.err());
    assert_eq!(ask(&["kills"]).out(), "nothing is killed\n");
    assert_eq!(ask(&["unkill", id]).code(), 1);
    assert_eq!(run(&["kills", "--gate", &at]).code(), 1, "nobody");
    assert_eq!(run(&["kill", "--reason", "what?"]).code(), 2);

    let file = folder.path().join("kill.yaml").display().to_string();
    let in_file = |args: &[&str]| run(&[args, &["--file", &file]].concat());
    let killed = in_file(&["kill", "--all", "--reason", "by hand", "--actor", "eve"]);
    assert_eq!(killed.code(), 0, "{}", killed.err());
    until_discarded(&ports, "command, by file", Instant::now());
    let checked = run(&["validate-kill", &file, "--config", &path]);
    assert_eq!((checked.code(), checked.err().as_str()), (0, ""), "{}", checked.out());
    let killed = in_file(&["kill", "--exporter", "fil", "--reason", "a slip"]).out();
    assert!(
        killed.starts_with("2  exporter fil, until ") && killed.ends_with(": a slip\n"),
        "{killed}"
    );
    let checked = run(&["validate-kill", &file, "--config", &path]);
    assert!(
        checked.err().contains("warning: kill 2: no exporter"),
        "{}",
        checked.err()
    );
    assert!(in_file(&["kills"]).out().contains("everything"));
    assert_eq!(in_file(&["unkill", "3"]).code(), 1);
    assert_eq!(in_file(&["unkill", "1", "2"]).code(), 0);
    until_passed(&ports, folder.path());
}

#[test]
fn kills_of_a_file_are_listed_with_how_long_they_last() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kill.yaml");
    let kills = "kills: [{match: all, for: 2h}, {match: all, expires: 2099-01-01T00:00:00Z}, {match: all}]";
    std::fs::write(&file, kills).unwrap();
    let listed = run(&["kills", "--file", file.to_str().unwrap()]).out();
    let expected = [
        "for 2h from when a gate first sees it",
        "until 2099-01-01T00:00:00Z",
        "for as long as `default_ttl` of the gate says",
    ];
    assert_eq!(listed.lines().count(), expected.len(), "{listed}");
    for (line, expected) in listed.lines().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
    std::fs::write(&file, "kills:\n- match: all\n  resaon: a slip\n").unwrap();
    let wrong = run(&["validate-kill", file.to_str().unwrap()]);
    assert_eq!(wrong.code(), 1);
    let expected = ":3:11: kills[0].resaon: unknown key; did you mean \"reason\"?";
    assert!(wrong.err().contains(expected), "{}", wrong.err());
}

#[test]
fn the_log_says_of_a_kill_that_it_kills_nothing() {
    let ports = ports();
    let text = gate_config(&ports, "", "");
    let (folder, path) = config(&text);
    let file = folder.path().join("kill.yaml");
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let says = |what: &str, times: usize| {
        let warning = format!("no {what} of this configuration goes by that name");
        wait_for(&warning, || {
            (gate.err().matches(&warning).count() == times).then_some(())
        });
    };
    std::fs::write(
        &file,
        "kills: [{match: {exporter: file/tow}}, {match: {exporter: file/two}}]",
    )
    .unwrap();
    says("exporter", 1);
    assert_eq!(kill(&ports, ANN, r#"{"match": {"receiver": "pyroscop"}}"#).0, 201);
    says("receiver", 1);
    // it did until now
    std::fs::write(&path, text.replace("file/two", "file/three")).unwrap();
    gate.signal("HUP");
    says("exporter", 3);
    says("receiver", 2);
}

#[test]
fn a_reload_keeps_kills_and_takes_up_another_file() {
    let ports = ports();
    let text = gate_config(&ports, "", "");
    let (folder, path) = config(&text);
    let gate = Gate::start(folder.path(), &["--config", &path]);
    assert_eq!(kill(&ports, ANN, r#"{"match": {"tenant": "shop"}}"#).0, 201);
    std::fs::write(
        folder.path().join("other.yaml"),
        "kills: [{match: {exporter: file/one}}]",
    )
    .unwrap();
    std::fs::write(
        &path,
        text.replace("kill.yaml", "other.yaml").replace("./two", "./three"),
    )
    .unwrap();
    gate.signal("HUP");
    wait_for("the kill of the other file", || {
        (metric(&ports, "flamegate_kills{scope=\"exporter\"}") == 1).then_some(())
    });
    assert_eq!(metric(&ports, "flamegate_kills{scope=\"tenant\"}"), 1);
    send(&ports);
    wait_for("the copy that is not killed", || {
        (!files(&folder.path().join("three")).is_empty()).then_some(())
    });
    assert!(files(&folder.path().join("one")).is_empty());
    for wrong in [
        "default_ttl: 0s",
        "default_ttl: 900d",
        "storage: \"\"",
        "file: \"\"",
        "files: x",
    ] {
        let set = format!("yaml:service: {{kill_switch: {{{wrong}}}}}");
        let checked = run(&["validate", "--config", &path, "--config", &set]);
        assert_eq!(checked.code(), 1, "{wrong}");
        assert!(checked.err().contains("service.kill_switch"), "{}", checked.err());
    }
}

#[test]
fn the_gate_samples_itself_no_more_while_that_is_killed() {
    let ports = ports();
    let receiver = "  pprof: {self: {collection_interval: 1s}}";
    let (folder, path) = config(&gate_config(&ports, receiver, ", pprof"));
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let taken = || metric(&ports, "flamegate_receiver_accepted_profiles{receiver=\"pprof\"}");
    let until_more = |than: u64| wait_for("a profile of the gate", || (taken() > than).then_some(()));
    until_more(0);
    let (_, answer) = kill(&ports, ANN, r#"{"match": {"receiver": "pprof"}}"#);
    let before = taken();
    std::thread::sleep(Duration::from_secs(3));
    // one may have been under way
    let after = taken();
    assert!(after <= before + 1, "{before} and {after}");
    assert_eq!(lift(&ports, ANN, answer["kill"]["id"].as_str().unwrap()), 200);
    until_more(after);
}
