//! What fuzzing asks of every decoder, asked here of real files that were damaged, and of everything that fuzzing once found.

use std::path::{Path, PathBuf};

use flamegate::formats::compress::{Inflation, compress};
use flamegate::formats::{Compression, Limits};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

#[path = "../../fuzz/src/lib.rs"]
mod bodies;

use crate::support::data;

type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 16] = [
    ("pprof", bodies::pprof),
    ("otlp", bodies::otlp),
    ("otlp_json", bodies::otlp_json),
    ("traces", bodies::traces),
    ("sniffed", bodies::sniffed),
    ("collapsed", bodies::collapsed),
    ("packed", bodies::packed),
    ("speedscope", bodies::speedscope),
    ("perf", bodies::perf),
    ("legacy", bodies::legacy),
    ("jfr", bodies::jfr),
    ("v8", bodies::v8),
    ("v8_prof", bodies::v8_prof),
    ("multipart", bodies::multipart),
    ("compress", bodies::compress),
    ("configuration", bodies::configuration),
];

/// Finished files of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

#[test]
fn what_fuzzing_found_stays_mended() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/cases");
    let mut count = 0;
    for (target, body) in TARGETS {
        for case in files(&cases.join(target)) {
            eprintln!("{}", case.display());
            body(&std::fs::read(case).unwrap());
            count += 1;
        }
    }
    assert!(count > 0, "no case in {}", cases.display());
}

/// A real file, damaged: cut, with bits turned over, with a piece of it somewhere else.
fn damaged(original: &[u8], damage: &[(Index, Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for (at, to, how, byte) in damage {
        if bytes.is_empty() {
            break;
        }
        let (at, to) = (at.index(bytes.len()), to.index(bytes.len()));
        match how % 4 {
            0 => bytes.truncate(at.max(bytes.len() / 2)),
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => bytes[at] = *byte,
            _ => {
                let piece = bytes[at.min(to)..at.max(to)]
                    .iter()
                    .take(300)
                    .copied()
                    .collect::<Vec<u8>>();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn plain(name: &str) -> Vec<u8> {
    let stored = std::fs::read(data(name)).unwrap();
    let inflated = Inflation::new(&Limits::default()).unwrap_layers(stored.into());
    inflated.unwrap().to_vec()
}

fn damage() -> impl Strategy<Value = Vec<(Index, Index, u8, u8)>> {
    proptest::collection::vec(any::<(Index, Index, u8, u8)>(), 1..6)
}

/// Every file is damaged so often.
const TIMES: u32 = 150;

fn damage_all(body: Body, files: &[Vec<u8>]) {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: TIMES,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    for file in files {
        body(file);
        let run = runner.run(&damage(), |damage| {
            body(&damaged(file, &damage));
            Ok(())
        });
        run.unwrap();
    }
}

#[test]
fn prop_damaged_pprof_is_answered() {
    let names = [
        "planted-everywhere.pb",
        "go123-mutex.pb.gz",
        "go123-cpu-labels.pb.gz",
        "node20-wall-cpu-labels.pb.gz",
    ];
    damage_all(bodies::pprof, &names.map(plain));
}

#[test]
fn prop_damaged_otlp_is_answered() {
    let names = [
        "planted-everywhere.otlp",
        "old-schema-1.9.otlp",
        "bad-empty-sample.otlp.gz",
    ];
    damage_all(bodies::otlp, &names.map(plain));
}

#[test]
fn prop_damaged_json_is_answered() {
    damage_all(bodies::otlp_json, &[plain("planted-everywhere.otlp.json")]);
}

#[test]
fn prop_damaged_text_is_answered() {
    damage_all(bodies::collapsed, &[plain("py-spy-threads.collapsed")]);
    let packed = b"\0\0\x01\x05main;\0\x02\x01a\x02\0\x01b\x03\0";
    damage_all(bodies::packed, &[packed.to_vec()]);
    damage_all(bodies::speedscope, &[plain("py-spy-native.speedscope.json")]);
    damage_all(bodies::perf, &[plain("planted-linux.perf.txt.gz")]);
    damage_all(bodies::legacy, &[plain("go123-goroutine-debug1.txt")]);
}

#[test]
fn prop_damaged_files_of_any_kind_are_answered() {
    let names = [
        "planted-everywhere.pb",
        "planted-linux.perf.txt.gz",
        "go123-goroutine-debug1.txt",
    ];
    damage_all(bodies::sniffed, &names.map(plain));
}

#[test]
fn prop_damaged_recordings_are_answered() {
    damage_all(bodies::jfr, &["ap-wall.jfr.gz", "jdk17-deep.jfr.gz"].map(plain));
}

#[test]
fn prop_damaged_v8_is_answered() {
    damage_all(
        bodies::v8,
        &["node20-cpu.cpuprofile", "node20-heap.heapprofile"].map(plain),
    );
    damage_all(bodies::v8_prof, &[plain("node20.v8prof.json.gz")]);
}

#[test]
fn prop_damaged_parts_are_answered() {
    let part = "--B\r\nContent-Disposition: form-data; name=\"profile\"; filename=\"p\"\r\n\r\nabc\r\n";
    let media_type = "multipart/form-data; charset=\"utf-8\"; boundary=\"B\"";
    let body = format!("{}--B--\r\n", part.repeat(3));
    damage_all(bodies::multipart, &[body.into_bytes(), media_type.as_bytes().to_vec()]);
}

#[test]
fn prop_damaged_compression_is_answered() {
    let text = plain("py-spy-threads.collapsed");
    let encodings = [
        Compression::Gzip(6),
        Compression::Deflate(6),
        Compression::Zstd(3),
        Compression::Snappy,
        Compression::Lz4,
    ];
    let mut files = Vec::new();
    for (number, encoding) in encodings.into_iter().enumerate() {
        let packed = compress(&text, encoding);
        files.push([&[number as u8], &packed[..]].concat());
        files.push(packed);
    }
    damage_all(bodies::compress, &files);
}

#[test]
fn prop_damaged_configuration_is_answered() {
    let configs = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs"));
    let texts: Vec<Vec<u8>> = configs.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(texts.len() > 2);
    damage_all(bodies::configuration, &texts);
}

#[test]
fn prop_damaged_spans_are_answered() {
    let request = crate::messages::request(2, 2);
    let protobuf = prost::Message::encode_to_vec(&request);
    let read = flamegate::formats::otlp::Traces::new(protobuf.clone().into(), &Limits::default());
    let json = read.unwrap().to_json(usize::MAX).unwrap();
    damage_all(bodies::traces, &[protobuf, json]);
}
