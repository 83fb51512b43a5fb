//! The tables of `docs/redaction.md`: that every proof they name is a test, that what is not read stays out, and what the default
//! policy cannot know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flamegate::app;
use flamegate::config::Sources;
use flamegate::formats::{Format, Limits, any};
use flamegate::pipeline::spec::parse;
use flamegate::processors::redaction::Policy;
use flamegate::profile::{KeyValue, OriginalPayload, Profiles, Value};
use serde_json::json;

use crate::leaks::capture::Capture;
use crate::leaks::needles;
use crate::support::{Gate, config, corpus, data, files, free_port, http_with, wait_for};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table below a heading of the page, cell by cell, without the two of its head.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/redaction.md")).unwrap();
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = below.split("\n## ").next().unwrap();
    let cells = |row: &str| {
        row.trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let rows = section.lines().filter(|line| line.starts_with("| "));
    rows.map(cells).skip(1).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// All the code below a folder.
fn code(folder: &Path) -> String {
    let mut all = String::new();
    for path in files(folder) {
        match path.extension() {
            _ if path.is_dir() => all += &code(&path),
            Some(ending) if ending == "rs" => all += &std::fs::read_to_string(path).unwrap(),
            _ => {}
        }
    }
    all
}

#[test]
fn every_proof_that_the_page_names_is_a_test() {
    let code = code(&root().join("src")) + &code(&root().join("tests/it"));
    let rows = rows("Carriers");
    assert!(rows.len() >= 30, "{}", rows.len());
    for row in rows {
        let [carrier, _, _, proofs] = &row[..] else {
            panic!("{row:?}")
        };
        let mut proofs = quoted(proofs).peekable();
        assert!(proofs.peek().is_some(), "{carrier} has no proof");
        for proof in proofs {
            let test = [
                format!("\nfn {proof}("),
                format!("\n    fn {proof}("),
                format!("\nasync fn {proof}("),
            ];
            assert!(
                test.iter().any(|test| code.contains(test)),
                "{carrier}: no test {proof}"
            );
        }
    }
}

fn policy(config: serde_json::Value) -> Policy {
    Policy::new(parse(config).unwrap()).unwrap()
}

fn planted(name: &str) -> Profiles {
    let bytes = std::fs::read(data(name)).unwrap();
    any::decode_any(bytes.into(), &Limits::default())
        .unwrap()
        .decoded
        .profiles
}

/// The profiles as they leave under a policy, in the format that has a place for everything.
fn leaving(mut profiles: Profiles, policy: &Policy) -> Vec<u8> {
    policy.redact(&mut profiles);
    profiles.compact();
    any::encode(Format::Otlp, &profiles, usize::MAX).unwrap()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[test]
fn an_attached_original_goes_whatever_the_policy() {
    let mut profiles = planted("go123-heap.pb.gz");
    let (d, resources) = profiles.edit();
    let format = d.strings.push("pprof");
    resources[0].scopes[0].profiles[0].original_payload = Some(OriginalPayload {
        format,
        bytes: b"attached".to_vec().into(),
    });
    let lax = policy(json!({ "detectors": [], "arguments": "keep", "paths": "keep" }));
    assert!(!holds(&leaving(profiles, &lax), "attached"));
}

#[test]
fn what_nothing_refers_to_does_not_leave() {
    let bytes = std::fs::read(data("planted-everywhere.pb")).unwrap();
    let lax = policy(json!({ "detectors": [], "arguments": "keep", "paths": "keep" }));
    let after = leaving(planted("planted-everywhere.pb"), &lax);
    for orphan in ["orphan_fn_EXAMPLE_SECRET_ALGORITHM", "EXAMPLE-SECRET-IN-UNKNOWN-FIELD"] {
        assert!(holds(&bytes, orphan) && !holds(&after, orphan), "{orphan}");
    }
}

/// The policy of an example.
fn example(name: &str) -> Policy {
    let file = root().join("configs").join(name);
    let loaded = app::load(&Sources::read(&[file], &[]).unwrap()).unwrap();
    let checked = app::check(&loaded).unwrap();
    let mut processors = checked.processors.iter();
    let redaction = processors.find(|component| component.type_name == "redaction");
    Policy::new(parse(redaction.unwrap().raw.clone()).unwrap()).unwrap()
}

#[test]
fn what_the_process_says_of_itself_loses_secrets_and_goes_by_an_allow_list() {
    let attributes = [
        ("process.command_line", "java -Ddb.password=EXAMPLE-1 -jar shop.jar"),
        ("process.environment_variable.API_TOKEN", "EXAMPLE-2"),
        ("process.environment_variable.LANG", "some-language"),
        ("process.executable.path", "/home/alice/bin/shop"),
        ("process.owner", "some-owner"),
        ("host.name", "some-host"),
    ];
    let mut profiles = planted("go123-heap.pb.gz");
    let (d, resources) = profiles.edit();
    for (key, value) in attributes {
        let value = Value::String(d.strings.push(value));
        let key = d.strings.push(key);
        resources[0].attributes.push(KeyValue { key, value });
    }
    let bytes = leaving(profiles.clone(), &policy(json!({})));
    for (text, stays) in [
        ("EXAMPLE", false),
        ("alice", false),
        ("shop.jar", true),
        ("some-language", true),
        ("some-owner", true),
        ("some-host", true),
    ] {
        assert_eq!(holds(&bytes, text), stays, "{text}");
    }
    let bytes = leaving(profiles, &example("redaction-external.yaml"));
    for (key, value) in attributes {
        assert!(!holds(&bytes, key) && !holds(&bytes, value), "{key}");
    }
}

#[test]
fn headers_of_what_is_taken_go_no_further() {
    let (port, backend) = (free_port(), Capture::start());
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{port}\"}}}}
exporters:
  otlp_http: {{endpoint: \"http://localhost:{}\", compression: none}}
  file: {{directory: ./files}}
  debug: {{verbosity: detailed}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [otlp_http, file, debug]}}}}
  telemetry: {{logs: {{level: trace}}, metrics: {{level: none}}}}
",
        backend.port
    );
    let (folder, path) = config(&text);
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let headers = [
        ("User-Agent", "EXAMPLE-AGENT"),
        ("Cookie", "sid=EXAMPLE-COOKIE"),
        ("X-Custom", "EXAMPLE-CUSTOM"),
        ("Datadog-Container-ID", "EXAMPLE-CONTAINER"),
    ];
    let body = std::fs::read(data("go123-threadcreate.pb.gz")).unwrap();
    let answer = http_with("POST", port, "/ingest?name=shop&format=pprof", &headers, &body);
    assert_eq!(answer.0, 200, "{}", answer.1);
    let seen = wait_for("the profile", || Some(backend.seen()).filter(|seen| !seen.is_empty()));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let log = gate.err().into_bytes();
    assert!(log.len() > 500 && seen.iter().all(|(_, request)| request.len() > 100));
    let mut left: Vec<Vec<u8>> = seen.into_iter().map(|(_, request)| request).collect();
    left.push(log);
    for file in files(&folder.path().join("files")) {
        left.push(std::fs::read(file).unwrap());
    }
    assert_eq!(left.len(), 3);
    assert!(!left.iter().any(|bytes| holds(bytes, "EXAMPLE-")));
}

#[test]
fn a_profile_for_a_bug_report_holds_nothing_planted() {
    let policy = example("redaction-bug-report.yaml");
    let folder = corpus().map_or(data(""), |corpus| corpus.join("planted"));
    let mut read = 0;
    for path in files(&folder) {
        if !path.file_name().unwrap().to_str().unwrap().starts_with("planted-") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if let Ok(found) = any::decode_any(bytes.into(), &Limits::default()) {
            read += 1;
            let bytes = leaving(found.decoded.profiles, &policy);
            let left = needles::all().into_iter().filter(|needle| holds(&bytes, &needle.text));
            let left: Vec<usize> = left.map(|needle| needle.line).collect();
            assert!(left.is_empty(), "lines {left:?} are in {}", path.display());
        }
    }
    assert!(read >= 5, "{read}");
}

/// Files of kinds that are not read, with a text in each.
const NOT_READ: &[&str] = &[
    r#"{"nodes":[{"id":1,"callFrame":{"functionName":"ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0"}}],"timeDeltas":[]}"#,
    r#"{"head":{"callFrame":{"functionName":"ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0"},"selfSize":1}}"#,
    r#"{"snapshot":{"meta":{}},"strings":["ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0"]}"#,
    r#"{"version":"4","endpoint_counts":{"ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0":1},"tags_profiler":"host:x"}"#,
    "JAVA PROFILE 1.0.2\0ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0",
    "shop 17 1.5: 1 cycles:\n\t7f ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0 (/x)\n",
    "heap profile: 1: 2 [3: 4] @ heap/2\n# ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0\n",
    "goroutine 1 [running]:\nmain.main(ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0)\n",
    "\"main ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0\" #1 prio=5 tid=0x1 nid=1 runnable\n",
];

#[test]
fn what_is_not_read_is_refused_without_a_word_of_it() {
    let default = policy(json!({}));
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for text in NOT_READ {
        all.push((text.chars().take(20).collect(), text.as_bytes().to_vec()));
    }
    for path in corpus()
        .map(|corpus| files(&corpus.join("planted")))
        .unwrap_or_default()
    {
        all.push((path.display().to_string(), std::fs::read(path).unwrap()));
    }
    let planted = needles::all();
    let mut refused = 0;
    for (name, bytes) in all {
        match any::decode_any(bytes.into(), &Limits::default()) {
            Err(error) => {
                refused += 1;
                let error = error.to_string();
                assert!(!planted.iter().any(|needle| error.contains(&needle.text)), "{name}");
            }
            // one that is read by now is redacted
            Ok(read) => {
                let bytes = leaving(read.decoded.profiles, &default);
                assert!(!holds(&bytes, "ghp_EXAMPLE"), "{name}");
            }
        }
    }
    assert!(refused > 3, "{refused}");
}

/// Texts of pprof's old forms with a secret or a person in every place that has a text.
const OLD: &[&str] = &[
    "goroutine profile: total 1\n1 @ 0x11 0x21\n# labels: {\"user\":\"alice.planted@example.com\", \"token\":\"ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0\"}\n\
     #\t0x10\tghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0+0x1\t/home/alice.planted/main.go:3\n",
    "heap profile: 1: 16 [1: 16] @ heapprofile\n1: 16 [1: 16] @ 0x1011\n\nMAPPED_LIBRARIES:\n1000-2000 r-xp 0 00:00 1 /home/alice.planted/bin/ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0\n",
    "--- threadz 1 ---\n--- Thread 1 (name: ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0/7) stack: ---\n 0x10: alice.planted@example.com\n",
    "--- heapz 1 ---\nformat = java\n resolution = bytes\n 16 1 @ 0x3\n\n 0x3 ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0 (/home/alice.planted/A.java:3)\n",
    "ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0 profile: total 1\n1 @ 0x11\n",
];

#[test]
fn what_old_texts_say_is_redacted() {
    let default = policy(json!({}));
    for (number, text) in OLD.iter().enumerate() {
        let read = any::decode_any(text.as_bytes().into(), &Limits::default());
        let read = read.unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(read.format, Format::PprofLegacy, "{number}");
        let before = any::encode(Format::Otlp, &read.decoded.profiles, usize::MAX).unwrap();
        assert!(holds(&before, "EXAMPLE") || holds(&before, "alice"), "{number}");
        let after = leaving(read.decoded.profiles, &default);
        assert!(!holds(&after, "ghp_EXAMPLE") && !holds(&after, "alice"), "{number}");
    }
}

/// Texts of the table that the default policy leaves: each is planted, and each is left in one recording at least; and none that
/// the table does not name.
#[test]
fn the_page_names_what_the_default_policy_cannot_know() {
    let Some(corpus) = corpus() else { return };
    let rows = rows("What it does not find");
    let told: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    let default = policy(json!({}));
    let mut left = BTreeSet::new();
    let planted = needles::all();
    for path in files(&corpus.join("planted")) {
        let bytes = std::fs::read(path).unwrap();
        if let Ok(read) = any::decode_any(bytes.into(), &Limits::default()) {
            let bytes = leaving(read.decoded.profiles, &default);
            let stays = planted.iter().filter(|needle| holds(&bytes, &needle.text));
            left.extend(stays.map(|needle| needle.text.as_str()));
        }
    }
    let told: BTreeSet<&str> = told
        .into_iter()
        .filter(|text| planted.iter().any(|needle| needle.text == *text))
        .collect();
    assert_eq!(told, left);
}
