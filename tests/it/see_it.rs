//! The samples of one trace, span or route, out of files and out of a running gate: what is found is compared with what prost reads.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{data, run};
use crate::told_otlp::{self, Request};
use crate::told_pprof::{gunzip, spelt};

const LINKS: &str = "go123-cpu-links.otlp";
const LABELS: &str = "go123-cpu-labels.pb.gz";

/// Of each trace the samples as counted, and the sum of each frame at the leaf: `samples` of pprof, by its labels.
fn traces_of_labels(plain: &[u8]) -> BTreeMap<String, i64> {
    let (types, samples) = spelt(plain);
    assert!(types[0].starts_with("samples"), "{types:?}");
    let mut traces = BTreeMap::new();
    for sample in samples {
        if let Some(trace) = sample.labels.get("trace_id") {
            *traces.entry(trace.clone()).or_default() += sample.values[0];
        }
    }
    traces
}

/// The same of OTLP, by its links.
fn traces_of_links(request: &Request) -> BTreeMap<String, i64> {
    let d = request.dictionary.as_ref().unwrap();
    let mut traces = BTreeMap::new();
    let scopes = request.resource_profiles.iter().flat_map(|one| &one.scope_profiles);
    for profile in scopes.flat_map(|scope| &scope.profiles) {
        let kind = profile.sample_type.as_ref().unwrap().type_strindex as usize;
        for sample in profile.samples.iter().filter(|_| d.string_table[kind] == "samples") {
            if sample.link_index > 0 {
                let trace: String = d.link_table[sample.link_index as usize]
                    .trace_id
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                *traces.entry(trace).or_default() += sample.values.iter().sum::<i64>();
            }
        }
    }
    traces
}

#[test]
fn a_trace_is_found_in_every_file_of_a_directory_with_just_its_samples() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("below");
    std::fs::create_dir(&below).unwrap();
    for name in ["links.otlp", "links-again.otlp"] {
        std::fs::copy(data(LINKS), folder.path().join(name)).unwrap();
    }
    std::fs::copy(data(LABELS), below.join("labels.pb.gz")).unwrap();
    std::fs::copy(data("go123-heap.pb.gz"), below.join("heap.pb.gz")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no profile").unwrap();
    let dir = folder.path().to_str().unwrap();
    let by_links = traces_of_links(&told_otlp::read(&std::fs::read(data(LINKS)).unwrap()));
    let by_labels = traces_of_labels(&gunzip(&std::fs::read(data(LABELS)).unwrap()));
    assert_eq!(by_links, by_labels, "one is made of the other");
    let some = by_links.iter().step_by(by_links.len() / 2);
    for (trace, samples) in some {
        let found = run(&["inspect", dir, "--trace", trace, "--format", "json"]);
        assert_eq!(found.code(), 0, "{}", found.err());
        assert!(
            found.err().contains("skipped: ") && found.err().contains("notes.txt: "),
            "{}",
            found.err()
        );
        let report: Value = serde_json::from_str(&found.out()).unwrap();
        assert_eq!(report["files"].as_array().unwrap().len(), 3, "{report}");
        // the labels are of no service; the links are of one, twice
        let profiles = report["profiles"].as_array().unwrap();
        assert_eq!(profiles.len(), 2);
        for (profile, times) in profiles.iter().zip([1, 2]) {
            assert_eq!(profile["evidence"]["samples"], times * samples);
            assert_eq!(profile["types"][0]["total"], times * samples);
            assert_eq!(profile["evidence"]["counted_by"], "counts");
            assert_eq!(profile["evidence"]["hz"], 100.0);
        }
        let text = run(&["inspect", dir, "--trace", trace]).out();
        assert!(
            text.starts_with(&format!("trace {trace} · 2 profiles of 3 files\n")),
            "{text}"
        );
        assert!(
            text.contains("at 100 Hz a span of t seconds is seen with a chance of 1 − e^(−100 t)"),
            "{text}"
        );
    }
}

#[test]
fn what_is_found_is_written_in_any_format_with_a_word_of_caution() {
    let folder = tempfile::tempdir().unwrap();
    let file = data(LABELS).display().to_string();
    let plain = gunzip(&std::fs::read(data(LABELS)).unwrap());
    let (trace, samples) = traces_of_labels(&plain)
        .into_iter()
        .min_by_key(|(_, samples)| *samples)
        .unwrap();
    assert!(samples < 30, "a trace of few samples");
    let out = |name: &str| folder.path().join(name).display().to_string();
    let [pprof, html, svg] = ["one.pb.gz", "one.html", "one.svg"].map(out);
    for path in [&pprof, &html, &svg] {
        let written = run(&["inspect", &file, "--trace", &trace, "-o", path]);
        assert_eq!(written.code(), 0, "{}", written.err());
        assert!(written.err().contains("too few to mean anything"), "{}", written.err());
    }
    let sorted = |plain: &[u8]| {
        let (_, samples) = spelt(plain);
        let own = samples
            .into_iter()
            .filter(|sample| sample.labels.get("trace_id") == Some(&trace));
        let mut told: Vec<_> = own
            .map(|sample| (sample.frames, sample.labels, sample.values))
            .collect();
        told.sort();
        told
    };
    let found = gunzip(&std::fs::read(&pprof).unwrap());
    assert_eq!(sorted(&found), sorted(&plain));
    assert_eq!(spelt(&found).1.len(), sorted(&found).len(), "and no other");
    for path in [&html, &svg] {
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.contains(", by counts; too few to mean anything"), "{path}");
    }
    let stacks = run(&[
        "inspect",
        &file,
        "--trace",
        &trace,
        "--to",
        "collapsed",
        "--type",
        "samples",
    ]);
    let sum = |text: String| {
        text.lines()
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap())
            .sum::<i64>()
    };
    assert_eq!(sum(stacks.out()), samples);
}

#[test]
fn spans_and_names_are_found_as_well_as_traces() {
    let file = data(LABELS).display().to_string();
    let (_, samples) = spelt(&gunzip(&std::fs::read(data(LABELS)).unwrap()));
    for (flag, key) in [("--span", "span_id"), ("--span-name", "span_name")] {
        let value = samples.iter().find_map(|sample| sample.labels.get(key)).unwrap();
        let expected: i64 = samples
            .iter()
            .filter(|one| one.labels.get(key) == Some(value))
            .map(|one| one.values[0])
            .sum();
        let found = run(&["inspect", &file, flag, value, "--format", "json"]);
        let report: Value = serde_json::from_str(&found.out()).unwrap();
        assert_eq!(report["profiles"][0]["evidence"]["samples"], expected, "{flag} {value}");
    }
}

#[test]
fn what_cannot_be_found_is_said() {
    let file = data(LABELS).display().to_string();
    let nobody = "00000000000000000000000000000001";
    for (args, code, why) in [
        (
            &["--trace", nobody][..],
            1,
            "no sample of trace 00000000000000000000000000000001",
        ),
        (&["--trace", "123abc"], 2, "32 hexadecimal digits"),
        (&["--span", nobody], 2, "16 hexadecimal digits"),
        (&["--route", "/none"], 1, "no sample of route /none"),
        (&["--trace", nobody, "--route", "/a"], 2, "cannot be used with"),
        (&["--trace", nobody, "--thin", "19"], 2, "cannot be used with"),
        (&["-o", "x.svg"], 2, "required"),
    ] {
        let refused = run(&[&["inspect", &file], args].concat());
        assert_eq!(refused.code(), code, "{args:?}: {}", refused.err());
        assert!(refused.err().contains(why), "{args:?}: {}", refused.err());
    }
}
