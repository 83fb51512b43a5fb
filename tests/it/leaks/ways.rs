//! The planted recordings, and every way in which one comes to the gate.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flamegate::formats::{Format, Limits, any};
use flamegate::profile::Profiles;
use prost::Message;

use crate::grpc::Client;
use crate::support::{PATIENCE, corpus, data, files};

pub const OTLP_PATH: &str = "/v1development/profiles";
pub const PUSH_PATH: &str = "/push.v1.PusherService/Push";

/// A recording with planted texts.
pub struct Planted {
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
    plain: Vec<u8>,
    format: Format,
    pub profiles: Profiles,
}

impl Planted {
    /// The file as OTLP; as it is, if it is that.
    fn otlp(&self, format: Format) -> Vec<u8> {
        match self.format == format {
            true => self.plain.clone(),
            false => any::encode(format, &self.profiles, usize::MAX).unwrap(),
        }
    }

    /// The file as pprof, one for each profile.
    fn pprofs(&self) -> Vec<Vec<u8>> {
        if self.format == Format::Pprof {
            return vec![self.bytes.clone()];
        }
        let d = self.profiles.dictionary();
        let pprof = |at| any::encode_one(Format::Pprof, d, at, 0, usize::MAX).unwrap();
        self.profiles.iter().map(pprof).collect()
    }

    /// What `/ingest` takes of it, and the name of its format there.
    fn ingested(&self) -> (Vec<Vec<u8>>, String) {
        let own = || vec![self.bytes.clone()];
        match self.format {
            Format::Collapsed => (own(), "folded".to_owned()),
            Format::Speedscope => (own(), "speedscope".to_owned()),
            Format::Otlp | Format::OtlpJson | Format::Pprof => (self.pprofs(), "pprof".to_owned()),
            // a format that was not read when this was written
            #[allow(unreachable_patterns)]
            other => (own(), other.to_string()),
        }
    }
}

/// Every recording that is read: the project's own, and those of the corpus. Says which are not, and why.
pub fn planted() -> Vec<Planted> {
    let mut all = files(&data(""));
    if let Some(corpus) = corpus() {
        // among them those of the project's own
        all = files(&corpus.join("planted"));
    }
    let mut read = Vec::new();
    for path in all {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("planted-") || name.ends_with(".tsv") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        match any::decode_any(bytes.clone().into(), &Limits::default()) {
            Ok(found) => read.push(Planted {
                name,
                bytes,
                plain: found.plain.to_vec(),
                format: found.format,
                profiles: found.decoded.profiles,
            }),
            Err(error) => eprintln!("skipped {name}: {error}"),
        }
    }
    read
}

/// What no recording is made of: planted texts as lines, as JSON and as half of it, and recordings that are cut or stand on their head.
pub fn broken(all: &[Planted], texts: &[&str]) -> Vec<Vec<u8>> {
    let json = serde_json::json!({ "resourceProfiles": texts, "series": texts });
    let json = json.to_string().into_bytes();
    let mut broken = vec![
        texts.join("\n").into_bytes(),
        json.clone(),
        json[..json.len() - 9].to_vec(),
    ];
    for planted in all.iter().filter(|planted| planted.name.contains("everywhere")) {
        let bytes = &planted.bytes;
        broken.extend([bytes[..bytes.len() / 2].to_vec(), bytes[..bytes.len() - 3].to_vec()]);
        broken.push(bytes.iter().rev().copied().collect());
    }
    broken
}

/// Where the gate listens.
pub struct Ports {
    pub grpc: u16,
    pub http: u16,
    pub pyroscope: u16,
    pub pprof: u16,
    pub required: u16,
    pub metrics: u16,
    pub health: u16,
    pub pages: u16,
}

/// Sends bytes and reads to the end: the answer as it came, head and all.
pub fn speak(port: u16, said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // who is refused early may hear so before all is said
    let _ = stream.write_all(said);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// One request; the whole answer.
pub fn ask(method: &str, port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    speak(port, &[head.as_bytes(), body].concat())
}

pub fn is_ok(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 200 ")
}

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
}

/// Texts that come beside the profiles, in queries and labels of series.
pub const BESIDE: [(&str, &str); 3] = [
    ("token", "ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0"),
    ("user", "alice.planted@example.com"),
    ("region", "eu-1"),
];

fn push(pprofs: &[Vec<u8>]) -> Push {
    let label = |(name, value): (&str, &str)| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let series = [("service_name", "pushed"), ("__name__", "process_cpu")];
    let sample = |pprof: &Vec<u8>| Sample {
        raw_profile: pprof.clone(),
    };
    Push {
        series: vec![Series {
            labels: series.into_iter().chain(BESIDE).map(label).collect(),
            samples: pprofs.iter().map(sample).collect(),
        }],
    }
}

fn push_json(pprofs: &[Vec<u8>]) -> String {
    let label = |(name, value): &(String, String)| serde_json::json!({ "name": name, "value": value });
    let push = push(pprofs);
    let series = &push.series[0];
    let labels: Vec<_> = series
        .labels
        .iter()
        .map(|l| (l.name.clone(), l.value.clone()))
        .collect();
    let samples = series.samples.iter().map(|sample| STANDARD.encode(&sample.raw_profile));
    let samples: Vec<_> = samples.map(|raw| serde_json::json!({ "rawProfile": raw })).collect();
    let labels: Vec<_> = labels.iter().map(label).collect();
    serde_json::json!({ "series": [{ "labels": labels, "samples": samples }] }).to_string()
}

/// The query of `/ingest` and `/v1/pprof`.
fn query(format: &str) -> String {
    let labels: Vec<String> = BESIDE.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let name = format!("ingested.cpu{{{}}}", labels.join(","));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("name", &name).append_pair("format", format);
    query
        .append_pair("spyName", BESIDE[0].1)
        .append_pair("from", BESIDE[1].1);
    query.finish()
}

fn multipart(profile: &[u8]) -> Vec<u8> {
    let part = |name: &str, content: &[u8]| {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\n\r\n",
            BESIDE[1].1
        );
        [head.as_bytes(), content, b"\r\n"].concat()
    };
    let types = format!("{{\"{}\": {{\"units\": \"{}\"}}}}", BESIDE[0].1, BESIDE[1].1);
    let parts = [part("profile", profile), part("sample_type_config", types.as_bytes())];
    [parts.concat(), b"--edge--\r\n".to_vec()].concat()
}

/// Sends a recording in every way; the name of each way and the answer. All must be taken.
pub async fn send(planted: &Planted, ports: &Ports) -> Vec<(&'static str, Vec<u8>)> {
    let mut answers = Vec::new();
    let mut take = |way: &'static str, answer: Vec<u8>| {
        let status = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        assert!(is_ok(&answer), "{} by {way}: {status}", planted.name);
        answers.push((way, answer));
    };
    let kind = |kind: &'static str| [("Content-Type", kind)];
    let (protobuf, json) = (planted.otlp(Format::Otlp), planted.otlp(Format::OtlpJson));
    for (way, content_type, body) in [
        ("OTLP/HTTP protobuf", "application/x-protobuf", &protobuf),
        ("OTLP/HTTP JSON", "application/json", &json),
    ] {
        take(way, ask("POST", ports.http, OTLP_PATH, &kind(content_type), body));
    }
    let (bodies, format) = planted.ingested();
    let path = format!("/ingest?{}", query(&format));
    for body in &bodies {
        take("/ingest", ask("POST", ports.pyroscope, &path, &[], body));
        let parts = multipart(body);
        let headers = kind("multipart/form-data; boundary=edge");
        take(
            "/ingest multipart",
            ask("POST", ports.pyroscope, &path, &headers, &parts),
        );
    }
    let pprofs = planted.pprofs();
    for pprof in &pprofs {
        let path = format!("/v1/pprof?{}", query("pprof"));
        take("/v1/pprof", ask("POST", ports.pprof, &path, &[], pprof));
    }
    let (protobuf_push, json_push) = (push(&pprofs).encode_to_vec(), push_json(&pprofs));
    for (way, content_type, body) in [
        ("Push protobuf", "application/proto", &protobuf_push[..]),
        ("Push JSON", "application/json", json_push.as_bytes()),
    ] {
        take(way, ask("POST", ports.pyroscope, PUSH_PATH, &kind(content_type), body));
    }
    let export = Client::connect(ports.grpc).await.export(&protobuf).await;
    answers.push((
        "OTLP/gRPC",
        export
            .unwrap_or_else(|status| panic!("{}: {:?}", planted.name, status.code()))
            .to_vec(),
    ));
    let pushed = Client::connect(ports.pyroscope)
        .await
        .call(PUSH_PATH, &protobuf_push)
        .await;
    answers.push((
        "Push gRPC",
        pushed
            .unwrap_or_else(|status| panic!("{}: {:?}", planted.name, status.code()))
            .to_vec(),
    ));
    answers
}
