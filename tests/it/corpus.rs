//! Every real profile of the corpus through the running gate: what comes out is read by other decoders than ours, and its
//! totals are those that an independent reader found in what went in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Gate, config, corpus, files, free_port, http_with, wait_for};
use crate::{grpc, told_otlp, told_pprof};

const HTTP_PATH: &str = "/v1development/profiles";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A gate that writes down what it gets: OTLP into one file, what comes by `/ingest` into one pprof each.
struct Through {
    gate: Gate,
    folder: tempfile::TempDir,
    grpc: u16,
    http: u16,
    ingest: u16,
    /// Bytes of the OTLP file that were looked at.
    seen: u64,
}

impl Through {
    fn start() -> Self {
        let (grpc, http, ingest) = (free_port(), free_port(), free_port());
        let text = format!(
            "receivers:
  otlp: {{protocols: {{grpc: {{endpoint: \"localhost:{grpc}\"}}, http: {{endpoint: \"localhost:{http}\"}}}}}}
  pyroscope: {{endpoint: \"localhost:{ingest}\"}}
exporters:
  file/otlp: {{path: ./out.otlp, format: proto}}
  file/pprof: {{directory: ./pprof, format: pprof}}
service:
  pipelines:
    profiles/otlp: {{receivers: [otlp], exporters: [file/otlp]}}
    profiles/pprof: {{receivers: [pyroscope], exporters: [file/pprof]}}
  telemetry: {{metrics: {{level: none}}}}
"
        );
        let (folder, path) = config(&text);
        let gate = Gate::start(folder.path(), &["--config", &path]);
        Self {
            gate,
            folder,
            grpc,
            http,
            ingest,
            seen: 0,
        }
    }

    fn post(&self, content_type: &str, body: &[u8]) -> (u16, String) {
        http_with("POST", self.http, HTTP_PATH, &[("content-type", content_type)], body)
    }

    /// Messages that were written since the last look, and where they end.
    fn messages(&self) -> (Vec<told_otlp::Request>, u64) {
        let (mut all, mut messages, mut at) = (Vec::new(), Vec::new(), 0);
        if let Ok(mut file) = File::open(self.folder.path().join("out.otlp")) {
            file.seek(SeekFrom::Start(self.seen)).unwrap();
            file.read_to_end(&mut all).unwrap();
        }
        while let Some(length) = all.get(at..at + 4) {
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            let Some(message) = all.get(at + 4..at + 4 + length) else {
                break;
            };
            messages.push(told_otlp::read(message));
            at += 4 + length;
        }
        (messages, self.seen + at as u64)
    }

    /// What was written for a request of so many profiles on the wire.
    fn written(&mut self, name: &str, profiles: usize) -> Vec<told_otlp::Request> {
        let (messages, at) = wait_for(name, || {
            let (messages, at) = self.messages();
            let count: usize = messages.iter().map(told_otlp::profile_count).sum();
            (count >= profiles).then_some((messages, at))
        });
        self.seen = at;
        messages
    }

    /// Ends in order; nothing was written that nobody looked at.
    fn end(mut self) {
        self.gate.signal("TERM");
        assert_eq!(self.gate.code(), 0, "{}", self.gate.err());
        assert!(self.gate.err().contains("nothing was lost"), "{}", self.gate.err());
        assert!(!self.gate.err().contains("panicked"), "{}", self.gate.err());
        let (late, _) = self.messages();
        assert!(late.is_empty(), "{} messages that nobody waited for", late.len());
    }
}

/// A file of the corpus by its place in it, without the compression it is stored with.
fn stored(corpus: &Path, key: &str) -> Vec<u8> {
    told_pprof::gunzip(&std::fs::read(corpus.join(key)).unwrap())
}

/// Places of OTLP files, the good ones or the others.
fn otlp_keys(corpus: &Path, bad: bool) -> Vec<String> {
    let mut keys = Vec::new();
    for folder in ["otlp", "planted"] {
        for path in files(&corpus.join(folder)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.contains(".otlp") && name.starts_with("bad-") == bad {
                keys.push(format!("{folder}/{name}"));
            }
        }
    }
    keys
}

/// The file whose numbers a file must have: itself, or the one that says the same in protobuf of today.
fn twin(corpus: &Path, key: &str) -> String {
    if key == "otlp/old-schema-1.9.otlp" {
        return "otlp/node20-wall-cpu-links.otlp".to_owned();
    }
    let plain = key.trim_end_matches(".gz").trim_end_matches(".json");
    let is_there = |key: &String| corpus.join(key).exists();
    Some(plain.to_owned())
        .filter(is_there)
        .unwrap_or_else(|| key.to_owned())
}

fn totals(corpus: &Path) -> BTreeMap<String, Value> {
    serde_json::from_slice(&std::fs::read(corpus.join("totals.json")).unwrap()).unwrap()
}

// two threads: the client must hear the goodbye while the test waits
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_otlp_file_goes_in_by_every_protocol_and_comes_out_whole() {
    let Some(corpus) = corpus() else { return };
    let totals = totals(&corpus);
    let mut through = Through::start();
    let mut client = grpc::Client::connect(through.grpc).await;
    let keys = otlp_keys(&corpus, false);
    assert!(keys.len() >= 14, "{keys:?}");
    for key in keys {
        let bytes = stored(&corpus, &key);
        let twin = twin(&corpus, &key);
        let request = told_otlp::read(&stored(&corpus, &twin));
        let expected = told_otlp::tell([&request]);
        let known = &totals[&twin];
        assert_eq!(
            serde_json::json!(told_otlp::kinds(&expected)),
            known["sample_types"],
            "{key}"
        );
        let (values, times) = told_otlp::counts(&request);
        assert_eq!(
            serde_json::json!([values, times]),
            serde_json::json!([known["values"], known["timestamps"]]),
            "{key}"
        );
        let protocols: &[&str] = if key.contains(".json") {
            &["json"]
        } else {
            &["grpc", "http"]
        };
        for protocol in protocols {
            let what = format!("{key} by {protocol}");
            let answer = match *protocol {
                "grpc" => client
                    .export(&bytes)
                    .await
                    .map(|answer| (200, format!("{answer:?}")))
                    .unwrap(),
                "http" => through.post(PROTOBUF, &bytes),
                _ => through.post(JSON, &bytes),
            };
            let nothing_rejected = ["b\"\"", "", "{}"].contains(&answer.1.as_str());
            assert!(answer.0 == 200 && nothing_rejected, "{what}: {answer:?}");
            let written = through.written(&what, told_otlp::profile_count(&request));
            written
                .iter()
                .for_each(|message| told_otlp::assert_zero_rows(&what, message));
            assert!(
                told_otlp::tell(&written) == expected,
                "{what}: resources, stacks or values differ"
            );
        }
    }
    through.end();
}

/// What each bad file is told.
const DEFECTS: &[(&str, &str)] = &[
    (
        "bad-duplicate-attribute-key.otlp",
        "samples[0].attribute_indices[1] has a key that the list had before",
    ),
    (
        "bad-empty-sample.otlp",
        "samples[0].values and timestamps_unix_nano are both empty",
    ),
    (
        "bad-negative-index.otlp",
        "samples[0].stack_index is -1, but stack_table has 762 entries",
    ),
    ("bad-no-dictionary.otlp", "no dictionary in the request (field 2)"),
    (
        "bad-stack-index-out-of-range.otlp",
        "samples[0].stack_index is 1000000000",
    ),
    ("bad-string0-not-empty.otlp", "dictionary.string_table[0] must be empty"),
    (
        "bad-truncated.otlp",
        "a length that reaches past the end of the message at byte",
    ),
    (
        "bad-values-timestamps-length.otlp",
        "samples[0].values has 7 items, but timestamps_unix_nano has 1",
    ),
];

// two threads: the client must hear the goodbye while the test waits
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_bad_file_is_told_what_is_wrong_and_harms_nobody() {
    let Some(corpus) = corpus() else { return };
    let mut through = Through::start();
    let mut client = grpc::Client::connect(through.grpc).await;
    let good = stored(&corpus, "otlp/ap-cpu-native.otlp");
    let expected = told_otlp::tell([&told_otlp::read(&good)]);
    let keys = otlp_keys(&corpus, true);
    assert_eq!(keys.len(), DEFECTS.len());
    for (key, (name, defect)) in keys.iter().zip(DEFECTS) {
        assert!(key.ends_with(name), "{key}");
        let bytes = stored(&corpus, key);
        let status = client.export(&bytes).await.expect_err(name);
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{name}: {status}");
        assert!(status.message().contains(defect), "{name}: {status}");
        let (status, answer) = through.post(PROTOBUF, &bytes);
        assert_eq!(status, 400, "{name}: {answer}");
        assert!(answer.contains(defect), "{name}: {answer}");
        // the next one on the same connection is none the worse
        client.export(&good).await.unwrap();
        let written = through.written(name, 1);
        assert!(told_otlp::tell(&written) == expected, "after {name}");
    }
    through.end();
}

#[test]
fn every_pprof_that_others_accept_leaves_as_it_came() {
    let Some(corpus) = corpus() else { return };
    let through = Through::start();
    let query = "/ingest?name=app%7Benv%3Dprod%7D&from=1700000000&until=1700000010&format=pprof";
    let folder = through.folder.path().join("pprof");
    let mut seen: Vec<PathBuf> = Vec::new();
    for (key, totals) in totals(&corpus) {
        if totals["kind"] != "pprof" || totals["go_pprof"] != "accepted" {
            continue;
        }
        let body = std::fs::read(corpus.join(&key)).unwrap();
        let (status, answer) = http_with("POST", through.ingest, query, &[], &body);
        assert_eq!(status, 200, "{key}: {answer}");
        let written = wait_for(&key, || files(&folder).into_iter().find(|path| !seen.contains(path)));
        let came = told_pprof::tell(&told_pprof::gunzip(&body));
        let left = told_pprof::tell(&told_pprof::gunzip(&std::fs::read(&written).unwrap()));
        assert_eq!(serde_json::json!(left.sums()), totals["sums"], "{key}");
        assert_eq!(left.types, came.types, "{key}");
        assert!(left.samples == came.samples, "{key}: stacks, labels or values differ");
        let comments = [
            came.comments,
            vec!["service.name=app".to_owned(), "env=prod".to_owned()],
        ]
        .concat();
        assert_eq!(left.comments, comments, "{key}");
        seen.push(written);
    }
    assert!(seen.len() >= 45, "{}", seen.len());
    through.end();
}
