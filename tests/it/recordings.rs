//! Recordings of the JVM and of V8 through the binary: what never leaves of them, what others make of what does, and how long they
//! may be.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use flamegate::formats::Limits;
use flamegate::formats::compress::Inflation;
use serde_json::{Value, json};

use crate::leaks::capture::Capture;
use crate::leaks::needles::{self, Search};
use crate::support::{Finished, Gate, corpus, data, files, flamegate, free_port, http_with, run, wait_for};

/// A recording of the project's own, uncompressed.
fn own(name: &str) -> Vec<u8> {
    let stored = std::fs::read(data(name)).unwrap();
    let plain = Inflation::new(&Limits::default()).unwrap_layers(stored.into());
    plain.unwrap().to_vec()
}

fn path_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Lines of `planted.txt` that are names of the program in each recording: of methods (1 to 3), of the class of a monitor (72), of
/// threads (the others; 38 and 39 are the digits of 40). Redaction is for those.
const NAMES: [usize; 12] = [1, 2, 3, 6, 38, 39, 40, 49, 72, 76, 77, 78];

/// A gate without redaction, whose receivers take all there is in a recording, and whose exporters write it in every way.
fn lax_gate(ports: [u16; 2], backend: u16) -> Value {
    let backend = format!("http://localhost:{backend}");
    let mut exporters = json!({
        "otlp_grpc": { "endpoint": backend },
        "otlp_http": { "endpoint": backend },
        "otlp_http/json": { "endpoint": backend, "encoding": "json" },
        "pyroscope": { "endpoint": backend, "max_age": "0s" },
        "debug": { "verbosity": "detailed" },
        "file/proto": { "path": "./out.otlp", "format": "proto" },
        "file/json": { "path": "./out.json", "format": "json" },
        "file/labels": { "directory": "./labels", "format": "pprof", "resource": "labels" },
    });
    for format in ["pprof", "otlp", "otlp_json", "collapsed", "speedscope"] {
        exporters[format!("file/{format}")] = json!({ "directory": format!("./{format}"), "format": format });
    }
    let ids: Vec<String> = exporters.as_object().unwrap().keys().cloned().collect();
    let server = |port: u16| json!({ "endpoint": format!("localhost:{port}"), "jfr": { "off_cpu": true } });
    json!({
        "receivers": { "pyroscope": server(ports[0]), "pprof": { "server": server(ports[1]) } },
        "exporters": exporters,
        "service": {
            "pipelines": { "profiles": { "receivers": ["pyroscope", "pprof"], "exporters": ids } },
            "telemetry": { "logs": { "level": "trace" }, "metrics": { "level": "none" } },
        },
    })
}

/// Everything below a folder.
fn walk(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, all),
            false => all.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
}

/// Properties, arguments, the environment, command lines, paths, messages and what applications log stay behind whatever the
/// policy: here there is none.
#[test]
fn only_names_leave_a_recording_where_nothing_is_redacted() {
    let Some(corpus) = corpus() else { return };
    let recordings: Vec<PathBuf> = files(&corpus.join("planted"))
        .into_iter()
        .filter(|path| path_of(path).contains(".jfr"))
        .filter(|path| !path_of(path).contains(".jfrconv"))
        .collect();
    assert_eq!(recordings.len(), 3);
    let (ports, backend) = ([free_port(), free_port()], Capture::start());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gate.yaml");
    std::fs::write(&config, lax_gate(ports, backend.port).to_string()).unwrap();
    let mut gate = Gate::start(folder.path(), &["--config", path_of(&config)]);
    let mut left: Vec<(String, Vec<u8>)> = Vec::new();
    for recording in &recordings {
        let body = std::fs::read(recording).unwrap();
        for (port, path) in [(ports[0], "/ingest?name=shop"), (ports[1], "/v1/pprof?name=shop")] {
            let (status, answer) = http_with("POST", port, path, &[], &body);
            assert_eq!(status, 200);
            left.push((path.to_owned(), answer.into_bytes()));
        }
        let converted = folder.path().join("converted");
        std::fs::create_dir_all(&converted).unwrap();
        for ending in [
            "pprof",
            "pb",
            "otlp",
            "otlp.json",
            "collapsed",
            "speedscope.json",
            "cpuprofile",
            "svg",
            "html",
        ] {
            let output = converted.join(format!("out.{ending}"));
            let said = run(&["convert", "--off-cpu", path_of(recording), path_of(&output)]);
            assert_eq!(said.code(), 0, "{ending}");
            left.extend([
                ("convert".to_owned(), said.0.stdout),
                ("convert".to_owned(), said.0.stderr),
            ]);
        }
        let said = run(&["inspect", "--top", "1000", "--format", "json", path_of(recording)]);
        assert_eq!(said.code(), 0);
        left.push(("inspect".to_owned(), said.0.stdout));
    }
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    left.extend(backend.seen());
    walk(folder.path(), &mut left);
    for place in [
        "/pprof/",
        "/otlp/",
        "/otlp_json/",
        "/collapsed/",
        "/speedscope/",
        "/labels/",
        "out.json",
        "out.otlp",
    ] {
        assert!(
            left.iter()
                .any(|(path, bytes)| path.contains(place) && !bytes.is_empty()),
            "{place}"
        );
    }
    let needles = needles::all();
    let search = Search::new(&needles);
    let in_recordings: BTreeSet<usize> = recordings
        .iter()
        .flat_map(|path| search.found(&std::fs::read(path).unwrap()))
        .collect();
    let mut found: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (place, bytes) in &left {
        for line in search.found(bytes) {
            found.entry(line).or_default().insert(place);
        }
    }
    for (line, places) in &found {
        let class = &needles.iter().find(|needle| needle.line == *line).unwrap().class;
        let first = places.first();
        assert!(
            NAMES.contains(line),
            "line {line} ({class}) is in {first:?} and {} places",
            places.len()
        );
    }
    assert!(found.keys().eq(&NAMES), "a name that is none: {:?}", found.keys());
    assert!(in_recordings.len() > 2 * NAMES.len(), "{}", in_recordings.len());
}

fn is_there(command: &str) -> bool {
    let found = Command::new(command)
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        eprintln!("skipped: there is no {command}");
    }
    found.is_ok()
}

#[test]
fn go_opens_what_a_recording_becomes() {
    if !is_there("go") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.pprof");
    let said = run(&[
        "convert",
        "--off-cpu",
        path_of(&data("jdk17-deep.jfr.gz")),
        path_of(&output),
    ]);
    assert_eq!(said.code(), 0, "{}", said.err());
    let written = files(folder.path());
    assert!(written.len() >= 5, "{written:?}");
    for path in written {
        // by the first type: JDK 17 does not say how large old objects are
        let top = [
            "tool",
            "pprof",
            "-top",
            "-nodecount=3",
            "-sample_index=0",
            path_of(&path),
        ];
        let said = Command::new("go").args(top).output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr),
        );
        assert!(said.status.success(), "{}: {err}", path.display());
        let rows = out.lines().skip_while(|line| !line.contains("flat%")).skip(1).count();
        assert!(rows > 0, "{}: {out}", path.display());
    }
}

#[test]
fn what_is_only_read_is_redacted_into_something_else() {
    let folder = tempfile::tempdir().unwrap();
    for (name, ending) in [
        ("jdk17-deep.jfr.gz", "jfr.gz"),
        ("node20-heap.heapprofile", "heapprofile"),
    ] {
        let input = folder.path().join(format!("a.{ending}"));
        std::fs::copy(data(name), &input).unwrap();
        let said = run(&["redact", path_of(&input)]);
        assert_eq!(said.code(), 2, "{name}");
        let wanted = "is read and not written; name a file of another format with --output";
        assert!(said.err().contains(wanted), "{}", said.err());
        assert_eq!(files(folder.path()).len(), 1, "{name}");
        let output = folder.path().join("a.redacted.otlp");
        assert_eq!(
            run(&["redact", path_of(&input), "-o", path_of(&output)]).code(),
            0,
            "{name}"
        );
        assert_eq!(run(&["redact", "--dry-run", path_of(&input)]).code(), 0, "{name}");
        std::fs::remove_file(output).unwrap();
        std::fs::remove_file(input).unwrap();
    }
}

#[test]
fn a_recording_of_node_is_dated_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("CPU.20261121.223000.4711.0.001.cpuprofile");
    std::fs::copy(data("node20-cpu.cpuprofile"), &path).unwrap();
    // 16:30 in UTC is 22:30 six hours east of it; the recording is of two seconds and something
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_278_600);
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(begin + Duration::from_secs(4)).unwrap();
    let said = run(&["inspect", "--format", "json", path_of(&path)]);
    assert_eq!(said.code(), 0, "{}", said.err());
    assert!(said.out().contains("2026-11-21T16:30:00"), "{}", said.out());
}

/// The most memory that a command held, in bytes, and how it ended.
fn peak_of(mut command: Command) -> (u64, Finished) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    wait_for("the end of the command", || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let held = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = held.and_then(|held| held.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or_default() << 10);
        child.try_wait().unwrap()
    });
    (peak, Finished(child.wait_with_output().unwrap()))
}

#[test]
fn a_recording_is_held_chunk_by_chunk_however_long_it_is() {
    const REPEATS: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let (path, output) = (folder.path().join("long.jfr"), folder.path().join("long.otlp"));
    let chunk = own("jdk17-deep.jfr.gz");
    let mut file = std::fs::File::create(&path).unwrap();
    for _ in 0..REPEATS {
        file.write_all(&chunk).unwrap();
    }
    let mut command = flamegate();
    command.args(["convert", path_of(&path), path_of(&output)]);
    let (peak, said) = peak_of(command);
    assert_eq!(said.code(), 0, "{}", said.err());
    let bytes = chunk.len() * REPEATS;
    assert!(peak < bytes as u64 / 2, "{peak} of {bytes}");
    let samples = |path: &Path| {
        let said = run(&["inspect", "--format", "json", path_of(path)]);
        let summary: Value = serde_json::from_str(&said.out()).unwrap();
        summary["profiles"][0]["types"][0]["total"].as_i64().unwrap()
    };
    let (all, one) = (samples(&output), samples(&data("jdk17-deep.jfr.gz")));
    assert_eq!(all, one * REPEATS as i64);
}
