//! The real binary watches directories into which others write: profilers, and a test that kills the gate again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::push::Server;
use crate::support::{Gate, config, data, files, flamegate, free_port, http, run, wait_for};

/// A gate that takes files from `in` and writes to `profiles`.
fn gate(keys: &str, format: &str) -> (tempfile::TempDir, String) {
    let (folder, path) = config(&format!(
        "receivers:
  file:
    include: in/**
    storage: state
    poll_interval: 100ms
    settle: 0s
    path_pattern: '^in/(?<service_name>[^/]+)/'
{keys}
exporters:
  file: {{ directory: profiles, format: {format}, max_bytes: 0 }}
service:
  pipelines:
    profiles: {{ receivers: [file], exporters: [file] }}
  telemetry: {{ metrics: {{ level: none }} }}
"
    ));
    std::fs::create_dir(folder.path().join("in")).unwrap();
    (folder, path)
}

/// The stacks in all files that were written, with how often they are there.
fn stacks(folder: &Path) -> BTreeMap<String, usize> {
    let mut stacks = BTreeMap::new();
    for file in files(&folder.join("profiles")) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let stack = line.rsplit_once(' ').unwrap().0;
            *stacks.entry(stack.to_owned()).or_default() += 1;
        }
    }
    stacks
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn files_of_every_format_arrive_once_and_go() {
    let (folder, path) = gate("    after: delete", "pprof");
    let recordings = [
        "go123-heap.pb.gz",
        "ap-wall.jfr.gz",
        "node20-cpu.cpuprofile",
        "node20-heap.heapprofile",
        "py-spy-native.speedscope.json",
        "py-spy-threads.collapsed",
        "node20-wall-cpu-links.otlp",
    ];
    let input = folder.path().join("in");
    for recording in recordings {
        std::fs::create_dir_all(input.join("shop")).unwrap();
        std::fs::copy(data(recording), input.join("shop").join(recording)).unwrap();
    }
    std::fs::write(input.join("README-hunter2"), "no profile").unwrap();
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    wait_for("the files to go", || is_empty(&input.join("shop")).then_some(()));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let log = gate.err();
    assert!(log.contains("nothing was lost") && !log.contains("hunter2"), "{log}");
    let written = files(&folder.path().join("profiles"));
    assert!(written.len() >= recordings.len(), "{written:?}");
    for file in &written {
        let said = run(&["inspect", file.to_str().unwrap()]).out();
        assert!(said.contains("shop"), "{said}");
    }
    // a second start finds nothing new
    let gate = Gate::start(folder.path(), &["--config", &path]);
    std::thread::sleep(Duration::from_millis(300));
    drop(gate);
    assert_eq!(files(&folder.path().join("profiles")), written);
}

#[test]
fn a_dry_run_leaves_files_and_forgets_them() {
    let (folder, path) = gate("    after: delete", "pprof");
    let input = folder.path().join("in");
    std::fs::copy(data("go123-heap.pb.gz"), input.join("heap.pb.gz")).unwrap();
    // nothing tells from outside when it is through with the file
    let said = [1, 4, 16].into_iter().find_map(|seconds| {
        let mut dry = Gate::start(folder.path(), &["run", "--dry-run", "--config", &path]);
        std::thread::sleep(Duration::from_secs(seconds));
        dry.signal("TERM");
        assert_eq!(dry.code(), 0);
        Some(dry.err()).filter(|said| said.contains("would have been sent") && said.contains("profiles=1"))
    });
    assert!(said.is_some(), "the profile was not counted");
    assert!(input.join("heap.pb.gz").exists(), "the file is gone");
    assert!(!folder.path().join("state").exists(), "something was remembered");
    let gate = Gate::start(folder.path(), &["--config", &path]);
    wait_for("the file to go", || is_empty(&input).then_some(()));
    drop(gate);
    assert_eq!(files(&folder.path().join("profiles")).len(), 1);
}

/// Files of a test that kills.
const FILES: usize = 600;

/// Kills in the middle of the work, wherever that is: each file is there once in the end.
fn kill_again_and_again(after: &str, is_over: impl Fn(&Path) -> bool) {
    const KILLS: usize = 20;
    let (folder, path) = gate(&format!("    after: {after}"), "collapsed");
    let input = folder.path().join("in/shop");
    std::fs::create_dir(&input).unwrap();
    let written = || files(&folder.path().join("profiles")).len();
    for kill in 0..KILLS {
        for n in 0..FILES / KILLS {
            let n = kill * (FILES / KILLS) + n;
            std::fs::write(input.join(format!("{n}.collapsed")), format!("main;file_{n} 3\n")).unwrap();
        }
        let before = written();
        let mut gate = Gate::start(folder.path(), &["--config", &path]);
        // at once, or when the first, the second … of the new files is through
        wait_for("some work", || (written() >= before + kill % 5).then_some(()));
        gate.signal("KILL");
        wait_for("its end", || gate.ended());
    }
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let all = wait_for("all files", || {
        Some(stacks(folder.path())).filter(|all| all.len() == FILES)
    });
    wait_for("the end of the files", || is_over(&input).then_some(()));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let doubled: Vec<_> = all.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    assert_eq!(stacks(folder.path()), all);
}

#[test]
fn a_gate_killed_again_and_again_loses_and_doubles_no_file_that_it_deletes() {
    kill_again_and_again("delete", is_empty);
}

#[test]
fn a_gate_killed_again_and_again_loses_and_doubles_no_file_that_it_keeps() {
    kill_again_and_again("keep", |input| files(input).len() == FILES);
}

#[test]
fn a_gate_killed_again_and_again_loses_and_doubles_no_file_that_it_moves() {
    let other = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let done = other.path().join("done");
    kill_again_and_again(&format!("{{ move: {} }}", done.display()), is_empty);
    let moved: BTreeSet<String> = files(&done)
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    assert_eq!((moved.len(), files(&done).len()), (FILES, FILES));
}

/// What waits in memory for a backend that is away is still in its file.
#[test]
fn a_backend_that_is_away_costs_no_file_when_the_gate_is_killed() {
    let server = Server::start();
    let text = |port: u16| {
        format!(
            "receivers:
  file: {{ include: 'in/*', storage: state, poll_interval: 100ms, settle: 0s, after: delete, resource: {{ service.name: shop }} }}
exporters:
  pyroscope: {{ endpoint: 'http://127.0.0.1:{port}', retry_on_failure: {{ initial_interval: 100ms }} }}
service:
  pipelines: {{ profiles: {{ receivers: [file], exporters: [pyroscope] }} }}
  telemetry: {{ metrics: {{ level: none }} }}
"
        )
    };
    let (folder, path) = config(&text(free_port()));
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    for n in 0..3 {
        std::fs::write(input.join(n.to_string()), format!("main;file_{n} 3\n")).unwrap();
        // what says no time has that of its file, and Pyroscope takes two of one time for one
        std::thread::sleep(Duration::from_millis(20));
    }
    let gate = Gate::start(folder.path(), &["--config", &path]);
    wait_for("a failed attempt", || {
        gate.err().contains("attempt failed").then_some(())
    });
    gate.signal("KILL");
    drop(gate);
    assert_eq!(files(&input).len(), 3);
    std::fs::write(&path, text(server.port)).unwrap();
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    wait_for("the files to go", || is_empty(&input).then_some(()));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert_eq!(server.seen().len(), 3);
}

/// What a shutdown finds in a queue is not forgotten either.
#[test]
fn a_gate_that_must_end_before_all_has_arrived_takes_the_rest_at_the_next_start() {
    let (folder, path) = config(&format!(
        "receivers:
  file: {{ include: 'in/*', storage: state, poll_interval: 100ms, settle: 0s, after: delete }}
exporters:
  otlp_http: {{ endpoint: 'http://127.0.0.1:{}' }}
service:
  drain_timeout: 500ms
  pipelines: {{ profiles: {{ receivers: [file], exporters: [otlp_http] }} }}
  telemetry: {{ metrics: {{ level: none }} }}
",
        free_port()
    ));
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    std::fs::copy(data("rust-cpu.pb.gz"), input.join("a")).unwrap();
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    wait_for("a failed attempt", || {
        gate.err().contains("attempt failed").then_some(())
    });
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert_eq!(files(&input).len(), 1);
    let log = gate.err();
    assert!(log.contains("read again exporter=otlp_http profiles=1"), "{log}");
    assert!(
        !log.contains("lost:") && log.contains("nothing was lost, and not everything"),
        "{log}"
    );
    let taken = files(&folder.path().join("state"));
    let taken = taken
        .iter()
        .find(|path| path.extension().is_some_and(|ending| ending == "taken"));
    let text = std::fs::read_to_string(taken.unwrap()).unwrap();
    assert_eq!(text.lines().count(), 1, "nothing is remembered: {text}");
}

/// A program, or none with a word about it.
fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .map(|path| path.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: no {name} here");
    }
    found
}

#[test]
fn a_jvm_dumps_recordings_and_they_arrive() {
    let Some(java) = program("java") else { return };
    let (folder, path) = gate("    after: delete", "collapsed");
    let input = folder.path().join("in/shop");
    std::fs::create_dir(&input).unwrap();
    let source = folder.path().join("Busy.java");
    let code = "public class Busy {
    static double burn(long end) { double sum = 0; while (System.nanoTime() < end) { for (int i = 0; i < 10000; i++) sum += Math.sqrt(sum + i); } return sum; }
    public static void main(String[] args) { System.out.println(burn(System.nanoTime() + 3_000_000_000L)); }
}
";
    std::fs::write(&source, code).unwrap();
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let recording = input.join("busy.jfr");
    let option = format!(
        "-XX:StartFlightRecording=filename={},settings=profile",
        recording.display()
    );
    let ran = Command::new(java)
        .arg(option)
        .arg(&source)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(ran.unwrap().success());
    wait_for("the recording to go", || (!recording.exists()).then_some(()));
    let all = stacks(folder.path());
    assert!(all.keys().any(|stack| stack.contains("Busy.burn")), "{all:?}");
    assert!(!gate.err().contains("refused"), "{}", gate.err());
}

#[test]
fn node_writes_profiles_and_they_arrive() {
    let Some(node) = program("node") else { return };
    let (folder, path) = gate("    after: delete", "otlp_json");
    let input = folder.path().join("in/shop");
    std::fs::create_dir(&input).unwrap();
    let source = folder.path().join("busy.js");
    let code = "function burn(end) { let sum = 0; while (Date.now() < end) { for (let i = 0; i < 1e4; i++) sum += Math.sqrt(i); } return sum; }
console.log(burn(Date.now() + 1000));
";
    std::fs::write(&source, code).unwrap();
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let begin = now();
    let ran = Command::new(node)
        .args(["--cpu-prof", "--heap-prof", "--cpu-prof-dir"])
        .arg(&input)
        .arg("--heap-prof-dir")
        .arg(&input)
        .arg(&source)
        .stdout(Stdio::null())
        .status();
    assert!(ran.unwrap().success());
    let end = now();
    wait_for("the files to go", || {
        (files(&folder.path().join("profiles")).len() == 2 && is_empty(&input)).then_some(())
    });
    let written = files(&folder.path().join("profiles"));
    let cpu = written
        .iter()
        .find(|file| file.display().to_string().contains("wall"))
        .expect("a profile of time");
    let text = std::fs::read_to_string(cpu).unwrap();
    assert!(text.contains("burn") && text.contains("shop"), "{}", gate.err());
    let name = cpu.file_name().unwrap().to_str().unwrap();
    let began: u128 = name.split('-').next().unwrap().parse().unwrap();
    assert!((begin - 1_000..=end).contains(&began), "{begin} {began} {end}");
}

fn now() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis()
}

#[test]
fn the_collectors_block_of_pprof_takes_files_too() {
    let (folder, path) = config(
        "receivers:
  pprof:
    file: { include: 'in/*.pb.gz', collection_interval: 100ms, initial_delay: 0s, timeout: 0s, storage: state }
exporters:
  file: { directory: profiles }
service:
  pipelines: { profiles: { receivers: [pprof], exporters: [file] } }
  telemetry: { metrics: { level: none } }
",
    );
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    std::fs::copy(data("go123-heap.pb.gz"), input.join("heap.pb.gz")).unwrap();
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    // left alone for `settle`
    wait_for("the profile", || {
        (files(&folder.path().join("profiles")).len() == 1).then_some(())
    });
    assert_eq!(files(&input).len(), 1);
}

#[test]
fn numbers_tell_of_files_and_validate_warns_of_two_who_take_the_same() {
    let port = free_port();
    let (folder, path) = config(&format!(
        "receivers:
  file/a: {{ include: 'in/*', storage: state, poll_interval: 100ms, settle: 0s }}
  file/b: {{ include: 'in/*.jfr', storage: state }}
exporters:
  file: {{ directory: profiles }}
service:
  pipelines: {{ profiles: {{ receivers: [file/a, file/b], exporters: [file] }} }}
  telemetry: {{ metrics: {{ address: 'localhost:{port}' }} }}
"
    ));
    let said = run(&["validate", "--config", &path]);
    assert_eq!(said.code(), 0);
    assert!(
        said.err().contains("file/b") && said.err().contains("file/a"),
        "{}",
        said.err()
    );
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::copy(data("rust-cpu.pb.gz"), folder.path().join("in/a")).unwrap();
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let delivered = "flamegate_files_total{receiver=\"file/a\",result=\"delivered\"} 1";
    let metrics = wait_for("the file", || {
        let (_, text) = http("GET", port, "/metrics", b"");
        text.contains(delivered).then_some(text)
    });
    assert!(
        metrics.contains("flamegate_files_in_flight{receiver=\"file/a\"}"),
        "{metrics}"
    );
}

/// What a start would end with, or wait for, is known before.
#[test]
fn validate_tells_of_places_that_cannot_be_written_and_of_those_that_are_not_there() {
    let recipient = run(&["keygen", "--escrow"]).err();
    let recipient = recipient.lines().next().unwrap().trim_start_matches("recipient: ");
    let (folder, path) = config(&format!(
        "receivers:
  file: {{ include: [in/*, later/*.jfr], storage: taken/state, refused: {{ move: taken/bad }} }}
  scrape:
    file_sd_configs: [{{ files: [targets/*.yaml, targets.json] }}]
processors:
  redaction:
    frames: {{ default: hash }}
    pseudonyms: {{ keys: [{{ id: k1, key: {} }}] }}
    escrow: {{ directory: taken/escrow, recipient: {recipient} }}
exporters:
  file: {{ directory: profiles }}
service:
  pipelines: {{ profiles: {{ receivers: [file, scrape], processors: [redaction], exporters: [file] }} }}
  telemetry: {{ audit: {{ path: taken/audit.jsonl }} }}
",
        "k".repeat(32)
    ));
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("taken"), "a file, and no directory").unwrap();
    let validate = || {
        let said = flamegate()
            .args(["validate", "--config", &path])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(said.status.success());
        String::from_utf8(said.stderr).unwrap()
    };
    let said = validate();
    for words in [
        "receivers.file.storage: `run` would not start here: taken is not a directory",
        "processors.redaction.escrow.directory: `run` would not start here: taken is not a directory",
        "service.telemetry.audit.path: `run` would not start here: taken is not a directory",
        "receivers.file.include[1]: this directory does not exist",
        "receivers.scrape.file_sd_configs[0].files[0]: the directory of this file does not exist",
        "receivers.scrape.file_sd_configs[0].files[1]: this file does not exist",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("include[0]"), "{said}");
    let started = flamegate()
        .args(["--config", &path])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(started.stderr).unwrap();
    assert!(
        !started.status.success() && told.contains("taken is not a directory"),
        "{told}"
    );
    std::fs::remove_file(folder.path().join("taken")).unwrap();
    assert!(!validate().contains("would not start"), "{}", validate());
}
