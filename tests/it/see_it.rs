//! The samples of one trace, span or route, out of files and out of a running gate: what is found is compared with what prost reads.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::profiles::v1development as wire;
use prost::Message;
use serde_json::Value;

use crate::support::{Gate, PATIENCE, config, data, free_port, http, http_with, run, wait_for};
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

const ANN: (&str, &str) = ("Authorization", "Basic YW5uOnBsYW50ZWRFWEFNUExF");
const BOB: (&str, &str) = ("Authorization", "Basic Ym9iOnBsYW50ZWRFWEFNUExF");
const EVE: (&str, &str) = ("Authorization", "Basic ZXZlOnBsYW50ZWRFWEFNUExF");
const SECRET: &str = "ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0";
const ROUTE: &str = "/cart/{id}?<b>&\"x\"";

struct Ports {
    otlp: u16,
    pages: u16,
}

/// ann looks after the gate; bob and eve send profiles.
fn gate_config(ports: &Ports, exporters: &str) -> String {
    let Ports { otlp, pages } = ports;
    format!(
        "extensions:
  basicauth: {{htpasswd: {{inline: \"ann:plantedEXAMPLE\\nbob:plantedEXAMPLE\\neve:plantedEXAMPLE\"}}}}
  zpages: {{endpoint: \"localhost:{pages}\", auth: {{authenticator: basicauth}}}}
receivers: {{otlp: {{protocols: {{http: {{endpoint: \"localhost:{otlp}\", auth: {{authenticator: basicauth}}}}}}}}}}
processors: {{trace_links: {{}}, redaction: {{detectors: [secrets]}}}}
exporters: {{recent: {{}}, debug: {{}}}}
service:
  extensions: [zpages]
  kill_switch: {{storage: state, operators: [ann]}}
  pipelines: {{profiles: {{receivers: [otlp], processors: [trace_links, redaction], exporters: [{exporters}]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    )
}

/// The recording with a secret in the names of all functions, and with the samples of a trace on a route.
fn planted(trace: &str) -> Vec<u8> {
    let mut request = told_otlp::read(&std::fs::read(data(LINKS)).unwrap());
    let d = request.dictionary.as_mut().unwrap();
    for function in &d.function_table {
        let name = &mut d.string_table[function.name_strindex as usize];
        if !name.is_empty() && !name.contains(SECRET) {
            name.push_str(&format!("({SECRET})"));
        }
    }
    d.string_table.push("http.route".to_owned());
    let route = wire::KeyValueAndUnit {
        key_strindex: d.string_table.len() as i32 - 1,
        value: Some(AnyValue {
            value: Some(Any::StringValue(ROUTE.to_owned())),
        }),
        unit_strindex: 0,
    };
    d.attribute_table.push(route);
    let route = d.attribute_table.len() as i32 - 1;
    let links = &d.link_table;
    let hex = |index: i32| -> String {
        let bytes = &links[index as usize].trace_id;
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let scopes = request
        .resource_profiles
        .iter_mut()
        .flat_map(|one| &mut one.scope_profiles);
    for sample in scopes
        .flat_map(|scope| &mut scope.profiles)
        .flat_map(|profile| &mut profile.samples)
    {
        if sample.link_index > 0 && hex(sample.link_index) == trace {
            sample.attribute_indices.push(route);
        }
    }
    request.encode_to_vec()
}

fn push(ports: &Ports, who: (&str, &str), body: &[u8]) {
    let headers = [who, ("Content-Type", "application/x-protobuf")];
    let (status, answer) = http_with("POST", ports.otlp, "/v1development/profiles", &headers, body);
    assert_eq!(status, 200, "{answer}");
}

fn ask(ports: &Ports, who: (&str, &str), query: &str) -> (u16, String) {
    http_with("GET", ports.pages, &format!("/debug/tracez{query}"), &[who], b"")
}

/// The samples behind what somebody is shown.
fn samples(ports: &Ports, who: (&str, &str), query: &str) -> Option<i64> {
    let (status, answer) = ask(ports, who, &format!("{query}&format=json"));
    if status == 404 {
        return None;
    }
    let told: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{status} {answer}"));
    let [profile] = told["profiles"].as_array().unwrap().as_slice() else {
        panic!("they are of one service and kind")
    };
    assert_eq!(profile["types"][0]["total"], profile["evidence"]["samples"]);
    profile["evidence"]["samples"].as_i64()
}

#[test]
fn a_running_gate_shows_a_trace_of_what_passed_to_whoever_may_see_it() {
    let ports = Ports {
        otlp: free_port(),
        pages: free_port(),
    };
    let (folder, path) = config(&gate_config(&ports, "recent, debug"));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let plain = gunzip(&std::fs::read(data(LABELS)).unwrap());
    let (trace, expected) = traces_of_labels(&plain)
        .into_iter()
        .max_by_key(|(_, samples)| *samples)
        .unwrap();
    let body = planted(&trace);
    let query = format!("?trace={trace}");
    assert_eq!(ask(&ports, ANN, &query).0, 404, "nothing has passed");
    push(&ports, BOB, &body);
    push(&ports, EVE, &body);
    push(&ports, EVE, &body);
    wait_for("all of it", || {
        (samples(&ports, ANN, &query) == Some(3 * expected)).then_some(())
    });
    for (who, times) in [(BOB, 1), (EVE, 2), (ANN, 3)] {
        assert_eq!(samples(&ports, who, &query), Some(times * expected));
    }
    // what leads to a route leads to the same samples
    let (_, list) = ask(&ports, BOB, "");
    assert!(
        !list.contains("<b>") && list.contains("/cart/{id}?&lt;b&gt;&amp;&quot;x&quot;"),
        "{list}"
    );
    assert!(list.contains("<p>1 profile, from 20"), "{list}");
    let href = list
        .split("href=\"")
        .find_map(|rest| rest.strip_prefix("?route="))
        .expect("a route");
    let href = href.split('"').next().unwrap().replace("&amp;", "&");
    assert_eq!(samples(&ports, BOB, &format!("?route={href}")), Some(expected));
    // the secret went before anything was kept
    for format in ["html", "svg", "json"] {
        let (status, page) = ask(&ports, BOB, &format!("{query}&format={format}"));
        assert_eq!(status, 200, "{format}");
        assert!(page.contains("encoding/json"), "{format}: names are there");
        assert!(
            !page.contains(SECRET) && !page.contains("ghp_EXAMPLE"),
            "{format}: the secret is there"
        );
    }
    // exactly its samples, by another reader
    let (status, pprof) = ask_bytes(&ports, BOB, &format!("{query}&format=pprof"));
    assert_eq!(status, 200);
    let told = |plain: &[u8]| {
        let (_, samples) = spelt(plain);
        let own = samples
            .into_iter()
            .filter(|one| one.labels.get("trace_id") == Some(&trace));
        let mut told: Vec<_> = own
            .map(|one| {
                (
                    one.frames.len(),
                    one.labels["span_id"].clone(),
                    one.labels["worker"].clone(),
                    one.values,
                )
            })
            .collect();
        told.sort();
        told
    };
    let found = gunzip(&pprof);
    assert_eq!(told(&found), told(&plain));
    assert_eq!(spelt(&found).1.len(), told(&found).len(), "and no other");
    for (query, status, why) in [
        (
            format!("{query}&span=77"),
            400,
            "one of trace, span, route and span_name",
        ),
        ("?trace=77x".to_owned(), 400, "32 hexadecimal digits"),
        ("?trace=77".to_owned(), 404, "no sample of it is kept"),
        (format!("{query}&service=other"), 404, "no sample of it is kept"),
        (format!("{query}&format=exe"), 400, "html, svg, json, pprof"),
        (format!("{query}&tenant=bob"), 400, "for nothing else"),
        (format!("{query}&exporter=other"), 404, "there are recent"),
    ] {
        let (found, said) = ask(&ports, BOB, &query);
        assert!(found == status && said.contains(why), "{query}: {found} {said}");
    }
    // who is configured as before keeps what it has
    gate.signal("HUP");
    wait_for("the reload", || gate.err().contains("reloaded").then_some(()));
    assert_eq!(samples(&ports, ANN, &query), Some(3 * expected));
}

#[test]
fn where_nothing_keeps_profiles_the_page_says_what_to_do() {
    let ports = Ports {
        otlp: free_port(),
        pages: free_port(),
    };
    let (folder, path) = config(&gate_config(&ports, "debug"));
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let (status, said) = ask(&ports, ANN, "");
    assert!(
        status == 404 && said.contains("add the exporter `recent`"),
        "{status} {said}"
    );
    assert_eq!(http("GET", ports.pages, "/debug/tracez", b"").0, 401);
}

/// An answer that is no text.
fn ask_bytes(ports: &Ports, who: (&str, &str), query: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", ports.pages)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (name, value) = who;
    let head =
        format!("GET /debug/tracez{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{name}: {value}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer.split_off(end + 4))
}
