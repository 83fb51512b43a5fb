//! What is asked of each decoder, whatever the bytes. The fuzz targets call these, and so do property tests of Flamegate itself
//! (`tests/it/fuzzed.rs`), where `flamegate` is the crate under test as it is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use flamegate::app::CATALOG;
use flamegate::config::{self, Sources};
use flamegate::formats::any::{decode_as, decode_file, encode, encode_one};
use flamegate::formats::compress::{ContentEncoding, Inflation};
use flamegate::formats::otlp::Traces;
use flamegate::formats::otlp::span_edit::{NewValue, Setting, There};
use flamegate::formats::room::Unlimited;
use flamegate::formats::{Decoded, Format, Limits, collapsed, jfr as recordings, multipart as parts, sniff};
use flamegate::pipeline::spec::BuildContext;
use flamegate::profile::Profiles;
use flamegate::telemetry::Metrics;

/// Small enough that a target that takes more than it may is seen, large enough for the real profiles of the corpus.
fn limits() -> Limits {
    Limits {
        decompressed_bytes: 8 << 20,
        elements: 1 << 20,
        ..Limits::default()
    }
}

/// pprof: what is read can be written, and reads as the same again.
pub fn pprof(bytes: &[u8]) {
    stays_the_same(Format::Pprof, bytes);
}

/// OTLP in protobuf, and files of many messages.
pub fn otlp(bytes: &[u8]) {
    let _ = decode_file(
        Format::Otlp,
        bytes,
        &recordings::Options::default(),
        &limits(),
        &Unlimited,
    );
    stays_the_same(Format::Otlp, bytes);
}

/// OTLP in JSON, and files of many lines.
pub fn otlp_json(bytes: &[u8]) {
    let _ = decode_file(
        Format::OtlpJson,
        bytes,
        &recordings::Options::default(),
        &limits(),
        &Unlimited,
    );
    stays_the_same(Format::OtlpJson, bytes);
}

/// Requests of spans in protobuf and JSON: what passes is read span by span, cut, and says the same in JSON.
pub fn traces(bytes: &[u8]) {
    let read = [
        Traces::new(Bytes::copy_from_slice(bytes), &limits()),
        Traces::from_json(bytes, &limits(), &Unlimited),
    ];
    for traces in read.into_iter().flatten() {
        let mut spans = 0;
        for resource in traces.resources() {
            resource.attributes().for_each(drop);
            for span in resource.spans() {
                span.attributes().for_each(drop);
                spans += 1;
            }
        }
        assert_eq!(spans, traces.count(), "every span that was counted is found");
        if let Some([first, second]) = traces.halves() {
            assert_eq!(first.count() + second.count(), traces.count(), "halves are the whole");
            assert_eq!(Traces::concatenated([&first, &second].into_iter()), traces);
        }
        if let Some([first, second]) = traces.halves_of_resource() {
            assert_eq!(first.count() + second.count(), traces.count(), "halves are the whole");
        }
        gets_attributes(&traces);
        let Ok(text) = traces.to_json(64 << 20) else { continue };
        if let Ok(again) = Traces::from_json(&text, &limits(), &Unlimited) {
            assert_eq!(again.count(), traces.count(), "the way to JSON and back loses no span");
        }
    }
}

/// An attribute set on every span is there once, and all that was there still is.
fn gets_attributes(traces: &Traces) {
    let count = Setting {
        key: "fuzzed",
        value: NewValue::Int(1),
        there: There::GivesWay,
    };
    let Some(stamped) = traces.with_attributes(|_| (), |(), _, chosen| chosen.push(count.clone())) else {
        return;
    };
    let stamped = match Traces::new(stamped.bytes().clone(), &Limits::default()) {
        Ok(stamped) => stamped,
        Err(error) => panic!("what was written cannot be read: {error}"),
    };
    assert_eq!(stamped.count(), traces.count(), "no span is lost");
    let spans = |of: &Traces| {
        of.resources()
            .flat_map(|resource| resource.spans())
            .map(|span| {
                let others = span.attributes().filter(|(key, _)| *key != b"fuzzed").count();
                (span.trace_id, span.span_id, span.name.to_vec(), others)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(spans(&stamped), spans(traces), "nothing else is changed");
}

/// Whatever the bytes look like.
pub fn sniffed(bytes: &[u8]) {
    if let Ok(format) = sniff(bytes) {
        let _ = decode_as(format, bytes, &limits());
    }
}

/// Collapsed stacks.
pub fn collapsed(bytes: &[u8]) {
    survives(Format::Collapsed, bytes);
    let _ = collapsed::decode_lines(bytes, &limits(), &Unlimited);
}

/// The same packed: few bytes may stand for many.
pub fn packed(bytes: &[u8]) {
    for format in [Format::Trie, Format::Tree] {
        keeps_totals(format, bytes);
    }
}

/// speedscope's JSON.
pub fn speedscope(bytes: &[u8]) {
    survives(Format::Speedscope, bytes);
}

/// What `perf script` prints.
pub fn perf(bytes: &[u8]) {
    keeps_totals(Format::PerfScript, bytes);
}

/// What pprof was before it was a protobuf.
pub fn legacy(bytes: &[u8]) {
    keeps_totals(Format::PprofLegacy, bytes);
}

/// Recordings of JDK Flight Recorder.
pub fn jfr(bytes: &[u8]) {
    keeps_totals(Format::Jfr, bytes);
}

/// What V8 writes.
pub fn v8(bytes: &[u8]) {
    for format in [
        Format::CpuProfile,
        Format::HeapProfile,
        Format::ChromeTrace,
        Format::V8Prof,
    ] {
        let _ = decode_as(format, bytes, &limits());
    }
}

/// V8's log of `--prof`, by itself: it takes long to find.
pub fn v8_prof(bytes: &[u8]) {
    keeps_totals(Format::V8Prof, bytes);
}

/// Multipart bodies: every part lies inside of the body.
pub fn multipart(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(boundary) = parts::boundary(&text) {
        assert!((1..=70).contains(&boundary.len()));
    }
    let body = Bytes::copy_from_slice(bytes);
    if let Ok(found) = parts::split(&body, "B", 16) {
        assert!(found.len() <= 16);
        assert!(found.iter().map(|part| part.content.len()).sum::<usize>() <= bytes.len());
    }
}

/// Compression: never more than the limit comes out. The first byte chooses the encoding.
pub fn compress(bytes: &[u8]) {
    const ENCODINGS: [ContentEncoding; 5] = [
        ContentEncoding::Gzip,
        ContentEncoding::Deflate,
        ContentEncoding::Zstd,
        ContentEncoding::Snappy,
        ContentEncoding::Lz4,
    ];
    let limits = Limits {
        decompressed_bytes: 1 << 20,
        ..Limits::default()
    };
    let inside = |plain: &Bytes| assert!(plain.len() <= limits.decompressed_bytes.max(bytes.len()));
    let Some((first, packed)) = bytes.split_first() else {
        return;
    };
    let packed = Bytes::copy_from_slice(packed);
    if let Some(encoding) = ENCODINGS.get(usize::from(*first) % ENCODINGS.len())
        && let Ok(plain) = Inflation::new(&limits).inflate(*encoding, packed)
    {
        inside(&plain);
    }
    if let Ok(plain) = Inflation::new(&limits).unwrap_layers(Bytes::copy_from_slice(bytes)) {
        inside(&plain);
    }
}

/// The configuration: read, merged, filled in, checked and printed without its secrets.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // what a configuration may refer to is the operator's, and may be anything that a file system has
    if text.contains("file") {
        return;
    }
    let sources = Sources {
        texts: vec![("fuzzed".to_owned(), text.to_owned())],
        sets: Vec::new(),
    };
    let Ok(loaded) = config::load(&sources, &|_| Some("value".to_owned())) else {
        return;
    };
    let context = BuildContext::new("fuzzed", Arc::new(Metrics::default()));
    let _ = loaded.resolve(&CATALOG, &context);
    let _ = config::to_yaml(&loaded.redacted(&CATALOG));
}

/// Compacting what is read changes no total.
fn keeps_totals(format: Format, bytes: &[u8]) -> Option<Profiles> {
    let mut profiles = decode_as(format, bytes, &limits()).ok()?.profiles;
    let before = Totals::of(&profiles);
    profiles.compact();
    before.hold_for(&profiles, "compacting changes no total");
    Some(profiles)
}

/// What is read can be written in the same format, and adds up to the same when it is read again, one profile at a time. Not
/// negative values, which some cannot be drawn, and not numbers near the ends of 64 bits.
fn survives(format: Format, bytes: &[u8]) {
    let Some(profiles) = keeps_totals(format, bytes) else {
        return;
    };
    let dictionary = profiles.dictionary();
    for at in profiles.iter() {
        let samples = &at.profile.samples;
        let mut values = (0..samples.len()).map(|row| samples.total(row, 0, 1));
        if !values.all(|value| (0..1 << 40).contains(&value)) || samples.sum(0, 1) == 0 {
            continue;
        }
        let written = match encode_one(format, dictionary, at, 0, usize::MAX) {
            Ok(written) => written,
            Err(error) => panic!("what was read cannot be written: {error}"),
        };
        let again = match decode_as(format, &written, &Limits::default()) {
            Ok(again) => again.profiles,
            Err(error) => panic!("what was written cannot be read: {error}"),
        };
        let sums: i128 = again.iter().map(|at| at.profile.samples.sum(0, 1)).sum();
        assert_eq!(sums, samples.sum(0, 1), "the way out and in changes no total");
    }
}

fn stays_the_same(format: Format, bytes: &[u8]) {
    let Ok(decoded) = decode_as(format, bytes, &limits()) else {
        return;
    };
    let mut profiles = decoded.profiles.clone();
    let before = Totals::of(&decoded.profiles);
    profiles.compact();
    before.hold_for(&profiles, "compacting changes no total");
    // pprof cannot be without a type, and is read without one if it has no samples either
    if profiles.is_empty() || profiles.iter().any(|at| at.profile.sample_types.is_empty()) {
        return;
    }
    let written = match encode(format, &profiles, usize::MAX) {
        Ok(written) => written,
        Err(error) => panic!("what was read cannot be written: {error}"),
    };
    let again: Decoded = match decode_as(format, &written, &Limits::default()) {
        Ok(again) => again,
        Err(error) => panic!("what was written cannot be read: {error}"),
    };
    assert_eq!(again.rejected.profiles, 0, "what was written is whole");
    before.hold_for(&again.profiles, "the way out and in changes no total");
}

/// The sums by type: formats join profiles and split them by the shape of their samples.
#[derive(Default)]
struct Totals {
    by_type: BTreeMap<(String, String), i128>,
    /// What all values amount to, whatever their signs.
    amount: i128,
}

impl Totals {
    fn of(profiles: &Profiles) -> Self {
        let mut totals = Self::default();
        let dictionary = profiles.dictionary();
        for at in profiles.iter() {
            let types = &at.profile.sample_types;
            for (column, of) in types.iter().enumerate() {
                let name = (dictionary.str(of.kind).to_owned(), dictionary.str(of.unit).to_owned());
                let sum = totals.by_type.entry(name).or_default();
                for row in 0..at.profile.samples.len() {
                    let value = i128::from(at.profile.samples.total(row, column, types.len()));
                    *sum += value;
                    totals.amount += value.abs();
                }
            }
        }
        totals
    }

    /// Holds what became of the profiles to the same sums; not where joined samples may have reached the ends of 64 bits.
    fn hold_for(&self, profiles: &Profiles, promise: &str) {
        if self.amount <= i128::from(i64::MAX) {
            assert_eq!(Self::of(profiles).by_type, self.by_type, "{promise}");
        }
    }
}
