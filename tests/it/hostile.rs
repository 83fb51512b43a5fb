//! Requests that are made to hurt: each gets its answer, within bounds of memory, and the next honest one is served.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flamegate::formats::Compression;
use flamegate::formats::compress::compress;
use flamegate::formats::wire::Writer;

use crate::support::{Gate, config, data, files, free_port, http, wait_for};

/// What all requests together may hold.
const BUDGET: u64 = 128 << 20;
/// What the process may take beyond it: threads, tables of the allocator, windows of decoders. With the 12 MiB that the code of
/// a release takes it is 64.
const BESIDE: u64 = 52 << 20;

/// A gate with a small budget, from every dialect to a folder.
struct Target {
    gate: Gate,
    folder: tempfile::TempDir,
    otlp: u16,
    pyroscope: u16,
    pprof: u16,
    metrics: u16,
}

impl Target {
    fn start() -> Self {
        let [otlp, pyroscope, pprof, metrics] = [(); 4].map(|()| free_port());
        let (folder, path) = config(&format!(
            "receivers:
  otlp: {{protocols: {{http: {{endpoint: \"localhost:{otlp}\"}}}}}}
  pyroscope: {{endpoint: \"localhost:{pyroscope}\"}}
  pprof: {{server: {{endpoint: \"localhost:{pprof}\"}}}}
processors: {{redaction: {{detectors: [secrets, emails]}}}}
exporters: {{file: {{directory: ./profiles}}}}
service:
  memory_budget: 128MiB
  pipelines: {{profiles: {{receivers: [otlp, pyroscope, pprof], processors: [redaction], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
        ));
        Self {
            gate: Gate::start(folder.path(), &["--config", &path]),
            folder,
            otlp,
            pyroscope,
            pprof,
            metrics,
        }
    }

    /// Sends something; the status, after the peak of memory was looked at and an honest profile went through.
    fn survives(&self, what: &str, bomb: &Bomb) -> u16 {
        self.gate.forget_peak();
        let (status, answer) = self.send(bomb);
        let peak = self.gate.peak_memory();
        eprintln!("{what}: {status}, peak {} MiB: {answer}", peak >> 20);
        assert!(
            peak <= BUDGET + BESIDE,
            "{what}: {} MiB at the peak, {status}",
            peak >> 20
        );
        self.serves(what);
        status
    }

    fn send(&self, bomb: &Bomb) -> (u16, String) {
        let port = match bomb.path {
            "/v1/pprof" => self.pprof,
            path if path.starts_with("/v1development") => self.otlp,
            _ => self.pyroscope,
        };
        post(port, bomb.path, &bomb.headers, &bomb.body)
    }

    fn serves(&self, after: &str) {
        let body = std::fs::read(data("go123-cpu-labels.pb.gz")).unwrap();
        let honest = Bomb::new("/v1/pprof", &[], body);
        wait_for("an honest profile to pass", || {
            let (status, answer) = self.send(&honest);
            assert!(matches!(status, 200 | 503), "after {after}: {status} {answer}");
            (status == 200).then_some(())
        });
    }

    /// How often a limit held.
    fn limited(&self, limit: &str) -> u64 {
        let (_, text) = http("GET", self.metrics, "/metrics", b"");
        let lines = text.lines().filter(|line| line.starts_with("flamegate_limits_total{"));
        lines
            .filter(|line| line.contains(&format!("limit=\"{limit}\"")))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

/// A request that is made to hurt.
struct Bomb {
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

const OTLP: &str = "/v1development/profiles";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const PPROF: &str = "/v1/pprof";

impl Bomb {
    fn new(path: &'static str, headers: &[(&'static str, &'static str)], body: Vec<u8>) -> Self {
        Self {
            path,
            headers: headers.to_vec(),
            body,
        }
    }

    fn otlp(body: Vec<u8>) -> Self {
        Self::new(OTLP, &[PROTOBUF], body)
    }
}

/// One POST. A gate that has heard enough may answer and hang up before everything is sent.
fn post(port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {answer}"));
    let text: String = answer.chars().skip_while(|c| *c != '{').take(300).collect();
    (status, text)
}

/// 1 GiB of zeros in one member of gzip.
fn gigabyte_in_gzip() -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1 << 10 {
        packed.write_all(&zeros).unwrap();
    }
    packed.finish().unwrap()
}

#[test]
fn what_decompresses_to_far_more_is_refused() {
    let target = Target::start();
    let gzip = |bytes: &[u8]| compress(bytes, Compression::Gzip(6));
    let gigabyte = gigabyte_in_gzip();
    assert!(gigabyte.len() < 2 << 20);
    let encoded = ("content-encoding", "gzip");
    let bombs = [
        ("zeros in OTLP", Bomb::new(OTLP, &[PROTOBUF, encoded], gigabyte.clone())),
        (
            "zeros in OTLP/JSON",
            Bomb::new(OTLP, &[JSON, encoded], gigabyte.clone()),
        ),
        ("zeros in pprof", Bomb::new(PPROF, &[], gigabyte.clone())),
        ("zeros in pprof in gzip", Bomb::new(PPROF, &[encoded], gzip(&gigabyte))),
        (
            "zeros in ingest",
            Bomb::new("/ingest?name=a.cpu&format=pprof", &[], gigabyte.clone()),
        ),
        (
            "a list of encodings",
            Bomb::new(
                OTLP,
                &[PROTOBUF, ("content-encoding", "gzip, gzip, gzip, gzip")],
                gigabyte,
            ),
        ),
    ];
    for (what, bomb) in bombs {
        assert_eq!(target.survives(what, &bomb), 413, "{what}");
    }
    // just below the ratio: the size holds
    let mut dull = Vec::new();
    for i in 0..(80u32 << 20) / 512 {
        dull.extend_from_slice(&i.wrapping_mul(2_654_435_761).to_le_bytes());
        dull.extend_from_slice(&[0; 508]);
    }
    assert_eq!(target.survives("80 MiB", &Bomb::new(PPROF, &[], gzip(&dull))), 413);
    let small = Bomb::new(PPROF, &[], gzip(&vec![0; 8 << 20]));
    assert_eq!(target.survives("8 MiB of zeros", &small), 413);
    assert!(target.limited("decompressed_size") > 0 && target.limited("compression_ratio") > 0);
}

#[test]
fn layers_and_windows_have_an_end() {
    let target = Target::start();
    let mut nested = std::fs::read(data("planted-everywhere.pb")).unwrap();
    for layers in 1..=4 {
        nested = compress(&nested, Compression::Gzip(6));
        let expected = if layers <= 3 { 200 } else { 413 };
        let status = target.survives("gzip in gzip", &Bomb::new(PPROF, &[], nested.clone()));
        assert_eq!(status, expected, "{layers} layers");
    }
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&vec![7; 1 << 20]).unwrap();
    let wide = Bomb::new(OTLP, &[PROTOBUF, ("content-encoding", "zstd")], wide.finish().unwrap());
    assert_eq!(target.survives("a window of 128 MiB", &wide), 413);
    let zeros = compress(&vec![0; 256 << 20], Compression::Zstd(19));
    let zeros = Bomb::new(OTLP, &[PROTOBUF, ("content-encoding", "zstd")], zeros);
    assert_eq!(target.survives("zeros in zstd", &zeros), 413);
    // a snappy block of a few bytes that claims 4 GiB
    let claim = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let claim = Bomb::new(OTLP, &[PROTOBUF, ("content-encoding", "snappy")], claim);
    assert!(matches!(target.survives("a claim", &claim), 400 | 413));
    assert!(target.limited("compression_layers") == 1 && target.limited("zstd_window") == 1);
}

/// A pprof with one sample type, and whatever else.
fn pprof_with(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    w.message(1, |w| w.uint(1, 1));
    write(&mut w);
    w.bytes_always(6, b"");
    w.bytes_always(6, b"cpu");
    w.finish()
}

/// A request of one profile, with a dictionary of two of everything and whatever else is in either.
fn otlp_with(profile: impl FnOnce(&mut Writer), dictionary: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    w.message(1, |w| {
        w.message(2, |w| {
            w.message(2, |w| {
                w.message(1, |w| w.uint(1, 1));
                profile(w);
            });
        });
    });
    w.message(2, |w| {
        for table in [1, 2, 3, 4, 6, 7] {
            w.message(table, |_| {});
        }
        w.message(2, |_| {});
        w.message(7, |w| w.packed(1, [1].into_iter()));
        w.bytes_always(5, b"");
        w.bytes_always(5, b"cpu");
        dictionary(w);
    });
    w.finish()
}

fn empty_messages(w: &mut Writer, number: u32, count: usize) {
    for _ in 0..count {
        w.message(number, |_| {});
    }
}

/// What 64 MiB hold of empty messages.
const MANY: usize = (64 << 20) / 2 - 1_000;

#[test]
fn elements_are_counted_before_they_take_memory() {
    let empty = |number, count| pprof_with(move |w| empty_messages(w, number, count));
    let mut bombs = vec![
        ("64 MiB of samples in pprof", Bomb::new(PPROF, &[], empty(2, MANY))),
        (
            "64 MiB of samples in OTLP",
            Bomb::otlp(otlp_with(|w| empty_messages(w, 2, MANY), |_| {})),
        ),
        (
            "64 MiB of comments",
            Bomb::new(
                PPROF,
                &[],
                pprof_with(|w| w.packed(13, (0..2 * MANY as u64).map(|_| 0))),
            ),
        ),
        (
            "64 MiB of frames",
            Bomb::new(
                PPROF,
                &[],
                pprof_with(|w| w.message(2, |w| w.packed(1, (0..2 * MANY as u64).map(|_| 0)))),
            ),
        ),
        (
            "64 MiB of values in JSON",
            Bomb::new(OTLP, &[JSON], {
                let head =
                    br#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"samples":[{"timestampsUnixNano":[0"#;
                [&head[..], &b",0".repeat(MANY), b"]}]}]}]}],\"dictionary\":{}}"].concat()
            }),
        ),
    ];
    // as many as the limit lets pass, so that it is memory that ends it
    let below = 8 << 20;
    for number in [2, 3, 4, 5, 6] {
        bombs.push(("8 M rows of pprof", Bomb::new(PPROF, &[], empty(number, below - 2))));
    }
    for number in [1, 2, 3, 4, 5, 6, 7] {
        let body = otlp_with(|_| {}, |w| empty_messages(w, number, below - 4));
        bombs.push(("8 M rows of OTLP", Bomb::otlp(body)));
    }
    let mut limited = 0;
    for (what, bomb) in bombs {
        // a gate of its own: what glibc keeps of one bomb is not the peak of the next
        let target = Target::start();
        let status = target.survives(what, &bomb);
        assert!(matches!(status, 200 | 400 | 413), "{what}: {status}");
        limited += target.limited("memory_budget");
    }
    assert!(limited >= 2);
}

#[test]
fn limits_are_those_configured() {
    let port = free_port();
    let (folder, path) = config(&format!(
        "receivers: {{pprof: {{server: {{endpoint: \"localhost:{port}\", limits: {{elements: 1000, compression_ratio: 20}}}}}}}}
exporters: {{debug: {{}}}}
service: {{pipelines: {{profiles: {{receivers: [pprof], exporters: [debug]}}}}}}
"
    ));
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let rows = |count| pprof_with(|w| empty_messages(w, 5, count));
    let (status, answer) = post(port, PPROF, &[], &rows(1_001));
    assert_eq!(status, 413, "{answer}");
    let (status, answer) = post(port, PPROF, &[], &compress(&vec![0; 2 << 20], Compression::Zstd(1)));
    assert_eq!(status, 413, "{answer}");
}

#[test]
fn a_million_labels_become_one_that_says_so() {
    let target = Target::start();
    let million = 1_000_000;
    let pprof = pprof_with(|w| {
        w.message(2, |w| {
            w.packed(2, [7].into_iter());
            for i in 0..million {
                w.message(3, |w| {
                    w.uint(1, 1);
                    w.uint(3, i + 1);
                });
            }
        });
    });
    assert_eq!(target.survives("labels of pprof", &Bomb::new(PPROF, &[], pprof)), 200);
    let kept = || {
        let files = files(&target.folder.path().join("profiles"));
        files.iter().any(|file| {
            let bytes = std::fs::read(file).unwrap();
            let plain = crate::told_pprof::gunzip(&bytes);
            memchr::memmem::find(&plain, b"__overflow__").is_some()
        })
    };
    wait_for("the profile with its overflow", || kept().then_some(()));
    let indices = |count: u64| {
        otlp_with(
            |w| {
                w.message(2, |w| {
                    w.packed(2, 1..=count);
                    w.packed(4, [7].into_iter());
                });
            },
            |w| {
                for i in 0..count {
                    w.message(6, |w| {
                        w.uint(1, i + 2);
                        w.message(2, |w| w.uint(3, 1));
                    });
                }
                for i in 0..count {
                    w.bytes_always(5, i.to_string().as_bytes());
                }
            },
        )
    };
    assert_eq!(target.survives("labels of OTLP", &Bomb::otlp(indices(1_000))), 200);
    let status = target.survives("a million labels of OTLP", &Bomb::otlp(indices(million)));
    assert!(matches!(status, 200 | 413), "{status}");
    assert!(target.limited("labels_per_sample") >= 2);
}

/// An AnyValue so many levels deep, made from the inside out.
fn deep_value(levels: usize) -> Vec<u8> {
    let mut reversed: Vec<u8> = Vec::new();
    let mut wrap = |tag: u8| {
        let mut length = Writer::default();
        length.raw_varint(reversed.len() as u64);
        reversed.extend(length.finish().iter().rev());
        reversed.push(tag);
    };
    for _ in 0..levels {
        wrap(0x0a); // a value of an array
        wrap(0x2a); // the array of a value
    }
    reversed.reverse();
    reversed
}

#[test]
fn depth_ends_before_the_stack_does() {
    let target = Target::start();
    let mut deep = Writer::default();
    deep.message(1, |w| {
        w.message(1, |w| {
            w.message(1, |w| {
                w.bytes(1, b"key");
                w.bytes(2, &deep_value(100_000));
            });
        });
    });
    let plain = otlp_with(|_| {}, |_| {});
    let body = [deep.finish(), plain].concat();
    assert_eq!(target.survives("a deep value", &Bomb::otlp(body)), 413);
    let head = r#"{"resourceProfiles":[{"resource":{"attributes":[{"key":"k","value":"#;
    let json = [head, &r#"{"arrayValue":{"values":["#.repeat(100_000)].concat();
    let json = Bomb::new(OTLP, &[JSON], json.into_bytes());
    assert_eq!(target.survives("a deep value in JSON", &json), 413);
    let ignored = format!("{{\"no such field\":{}", "[".repeat(1_000_000));
    let ignored = Bomb::new(OTLP, &[JSON], ignored.into_bytes());
    assert_eq!(target.survives("a deep value that is ignored", &ignored), 400);
    assert_eq!(target.limited("nesting_depth"), 2);
}

#[test]
fn indices_at_the_edges_of_their_type_are_answered() {
    let target = Target::start();
    let edges = [
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        i64::from(i32::MIN),
        -1,
        i64::from(u32::MAX),
        i64::MAX,
        i64::MIN,
    ];
    for edge in edges.map(|edge| edge as u64) {
        let sample = |w: &mut Writer, field| {
            w.message(2, |w| {
                w.uint(field, edge);
                w.packed(4, [7].into_iter());
            });
        };
        let bodies = [
            otlp_with(|w| sample(w, 1), |_| {}),
            otlp_with(|w| sample(w, 2), |_| {}),
            otlp_with(|w| sample(w, 3), |_| {}),
            otlp_with(|w| w.uint(11, edge), |_| {}),
            otlp_with(|_| {}, |w| w.message(7, |w| w.packed(1, [edge].into_iter()))),
            otlp_with(|_| {}, |w| w.message(2, |w| w.message(3, |w| w.uint(1, edge)))),
            otlp_with(|_| {}, |w| w.message(3, |w| w.uint(1, edge))),
            otlp_with(|_| {}, |w| w.message(6, |w| w.uint(1, edge))),
        ];
        for (number, body) in bodies.into_iter().enumerate() {
            let (status, answer) = target.send(&Bomb::otlp(body));
            assert_eq!(status, 400, "OTLP {number}, {edge}: {answer}");
        }
        let bodies = [
            pprof_with(|w| w.message(2, |w| w.packed(1, [edge].into_iter()))),
            pprof_with(|w| w.message(2, |w| w.message(3, |w| w.uint(1, edge)))),
            pprof_with(|w| w.message(5, |w| w.uint(2, edge))),
            pprof_with(|w| w.uint(14, edge)),
            pprof_with(|w| w.message(4, |w| w.uint(2, edge))),
        ];
        for (number, body) in bodies.into_iter().enumerate() {
            let (status, answer) = target.send(&Bomb::new(PPROF, &[], body));
            assert_eq!(status, 400, "pprof {number}, {edge}: {answer}");
        }
    }
    target.serves("edges");
}

#[test]
fn parts_are_counted() {
    let target = Target::start();
    let part = b"--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n";
    let bomb = |body| {
        let media_type = ("content-type", "multipart/form-data; boundary=B");
        Bomb::new("/ingest?name=a.cpu", &[media_type], body)
    };
    let many = bomb([&part.repeat(100_000)[..], b"--B--\r\n"].concat());
    assert_eq!(target.survives("100,000 parts", &many), 413);
    let endless_head = bomb([&b"--B\r\nA: "[..], &vec![b'a'; 16 << 20]].concat());
    assert_eq!(target.survives("an endless head", &endless_head), 400);
    assert_eq!(target.limited("multipart_parts"), 1);
}

const PUSH: &str = "/push.v1.PusherService/Push";

/// A push of so many series with so many labels of so many bytes each, and samples of one small profile.
fn push_of(series: usize, labels: usize, label_bytes: usize, samples: usize) -> Vec<u8> {
    let (profile, text) = (pprof_with(|_| {}), "v".repeat(label_bytes));
    let mut w = Writer::default();
    for _ in 0..series {
        w.message(1, |w| {
            for i in 0..labels {
                w.message(1, |w| {
                    w.bytes(1, format!("label{i}").as_bytes());
                    w.bytes(2, text.as_bytes());
                });
            }
            for _ in 0..samples {
                w.message(2, |w| w.bytes(1, &profile));
            }
        });
    }
    w.finish()
}

#[test]
fn labels_of_a_push_are_held_once_and_counted() {
    let target = Target::start();
    let protobuf = |body| Bomb::new(PUSH, &[PROTOBUF], body);
    let shared = protobuf(push_of(1, 1, 256 << 10, 4_000));
    assert!(matches!(
        target.survives("one long label, 4,000 samples", &shared),
        413 | 503
    ));
    let longer = protobuf(push_of(1, 1, (1 << 20) + 1, 1));
    assert_eq!(target.survives("a label longer than a string", &longer), 413);
    assert_eq!(target.survives("1,025 labels", &protobuf(push_of(1, 1_025, 1, 1))), 413);
    assert_eq!(target.survives("5,000 series", &protobuf(push_of(5_000, 0, 0, 0))), 413);
    // the allocator keeps much of what so many small texts took
    let target = Target::start();
    let many = protobuf(push_of(4_000, 1_000, 1, 1));
    assert!(matches!(target.survives("4 M labels", &many), 413 | 503));
    let target = Target::start();
    let json = |item: &str, count: usize| {
        let body = [r#"{"series":["#, &item.repeat(count), "{}]}"].concat();
        Bomb::new(PUSH, &[JSON], body.into_bytes())
    };
    assert_eq!(target.survives("10 M series in JSON", &json("{},", 10_000_000)), 413);
    let labels = json(&format!(r#"{{"labels":[{}{{}}]}},"#, "{},".repeat(1_000)), 10_000);
    assert!(matches!(target.survives("10 M labels in JSON", &labels), 400 | 413));
    let samples = json(&format!(r#"{{"samples":[{}{{}}]}},"#, "{},".repeat(1_000)), 10_000);
    assert_eq!(target.survives("10 M samples in JSON", &samples), 413);
}

/// Names of 4 MiB behind one stack, and so many profiles of one sample on it.
fn large_dictionary(profiles: u64) -> Vec<u8> {
    let name = "n".repeat(1 << 20);
    let mut w = Writer::default();
    w.message(1, |w| {
        w.message(2, |w| {
            for time in 0..profiles {
                w.message(2, |w| {
                    w.message(1, |w| w.uint(1, 1));
                    w.message(2, |w| {
                        w.uint(1, 1);
                        w.packed(4, [7].into_iter());
                    });
                    w.fixed64(3, (1_700_000_000 + time) * 1_000_000_000);
                });
            }
        });
    });
    w.message(2, |w| {
        for table in [1, 2, 3, 4, 6, 7] {
            w.message(table, |_| {});
        }
        for number in 1..=4 {
            w.message(2, |w| w.message(3, |w| w.uint(1, number)));
            w.message(3, |w| w.uint(1, number + 1));
        }
        w.message(7, |w| w.packed(1, 1..=4));
        w.bytes_always(5, b"");
        w.bytes_always(5, b"cpu");
        for number in 1..=4 {
            w.bytes_always(5, format!("{number}{}", &name[1..]).as_bytes());
        }
    });
    w.finish()
}

#[test]
fn parts_of_a_request_are_made_one_by_one() {
    let target = Target::start();
    let bomb = Bomb::otlp(large_dictionary(200));
    assert_eq!(target.survives("4 MiB behind 200 profiles", &bomb), 200);
    let files = || files(&target.folder.path().join("profiles")).len();
    // what becomes many times its own size ends
    wait_for("its profiles", || (files() > 40).then_some(()));
    assert!(target.gate.peak_memory() <= BUDGET + BESIDE);
}

/// So many samples, each with a link of its own, on one stack of 16,384 frames.
fn deep_stack(samples: u64) -> Vec<u8> {
    otlp_with(
        |w| {
            for link in 1..=samples {
                w.message(2, |w| {
                    w.uint(1, 2);
                    w.uint(3, link);
                    w.packed(4, [7].into_iter());
                });
            }
        },
        |w| {
            for link in 1..=samples {
                w.message(4, |w| {
                    w.bytes(1, &[1; 16]);
                    w.bytes(2, &link.to_be_bytes());
                });
            }
            w.message(7, |w| w.packed(1, (0..16_384).map(|_| 1)));
        },
    )
}

#[test]
fn what_a_request_becomes_has_an_end() {
    let target = Target::start();
    // 200 MiB of pprof
    let (status, answer) = target.send(&Bomb::otlp(deep_stack(12_000)));
    assert_eq!(status, 200, "{answer}");
    let files = || files(&target.folder.path().join("profiles")).len();
    wait_for("the first parts of it", || (files() > 1).then_some(()));
    let peak = target.gate.peak_memory();
    assert!(peak <= BUDGET + BESIDE, "{} MiB at the peak", peak >> 20);
    target.serves("one stack");
}

#[test]
fn many_at_once_share_one_budget() {
    let target = Target::start();
    let samples = Arc::new(Bomb::new(
        PPROF,
        &[],
        pprof_with(|w| empty_messages(w, 2, (8 << 20) - 2)),
    ));
    let zeros = Arc::new(Bomb::new(PPROF, &[], gigabyte_in_gzip()));
    target.gate.forget_peak();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let target = &target;
        let senders: Vec<_> = (0..12)
            .map(|i| {
                let bomb = if i % 3 == 0 { zeros.clone() } else { samples.clone() };
                scope.spawn(move || target.send(&bomb).0)
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let peak = target.gate.peak_memory();
    eprintln!("many at once: {statuses:?}, peak {} MiB", peak >> 20);
    assert!(
        statuses.iter().all(|status| matches!(status, 400 | 413 | 503)),
        "{statuses:?}"
    );
    assert!(peak <= BUDGET + BESIDE, "{} MiB at the peak", peak >> 20);
    target.serves("many at once");
}

/// A pprof of so many different stacks, none of which is wrong.
fn large(samples: u64) -> Vec<u8> {
    let functions = 2_000;
    pprof_with(|w| {
        for i in 0..samples {
            w.message(2, |w| {
                w.packed(
                    1,
                    [
                        i % functions,
                        i / 7 % functions,
                        i / 31 % functions,
                        i / 1_009 % functions,
                    ]
                    .map(|id| id + 1)
                    .into_iter(),
                );
                w.packed(2, [i + 1].into_iter());
            });
        }
        for id in 1..=functions {
            w.message(4, |w| {
                w.uint(1, id);
                w.message(4, |w| w.uint(1, id));
            });
            w.message(5, |w| {
                w.uint(1, id);
                w.uint(2, 1);
            });
        }
    })
}

#[test]
fn large_profiles_at_once_share_one_budget() {
    let target = Target::start();
    let bomb = Bomb::new(PPROF, &[], large(600_000));
    target.gate.forget_peak();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..10).map(|_| scope.spawn(|| target.send(&bomb).0)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let peak = target.gate.peak_memory();
    eprintln!(
        "{} MiB each: {statuses:?}, peak {} MiB",
        bomb.body.len() >> 20,
        peak >> 20
    );
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 503)),
        "{statuses:?}"
    );
    assert!(peak <= BUDGET + BESIDE, "{} MiB at the peak", peak >> 20);
    target.serves("large profiles");
}

/// A backend that answers every request over HTTP/1 and HTTP/2 without end; the bytes that it could send.
fn verbose_backend() -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let talk = move |headers: axum::http::HeaderMap| {
        let counter = counter.clone();
        let media_type = headers["content-type"].clone();
        let pieces = futures_util::stream::repeat_with(move || {
            counter.fetch_add(1 << 16, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(vec![b'x'; 1 << 16])
        });
        std::future::ready(([("content-type", media_type)], axum::body::Body::from_stream(pieces)))
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, axum::Router::new().fallback(talk)).await
        })
    });
    (port, sent)
}

#[test]
fn backends_that_talk_too_much_are_not_listened_to() {
    let [intake, metrics] = [(); 2].map(|()| free_port());
    let backends = ["otlp_http", "otlp_grpc", "pyroscope"].map(|exporter| (exporter, verbose_backend()));
    let url = |at: usize| {
        let port = backends[at].1.0;
        format!("endpoint: \"http://127.0.0.1:{port}\", retry_on_failure: {{enabled: false}}")
    };
    let (folder, path) = config(&format!(
        "receivers: {{pprof: {{server: {{endpoint: \"localhost:{intake}\"}}}}}}
exporters: {{otlp_http: {{{}}}, otlp_grpc: {{{}}}, pyroscope: {{{}, max_age: 0s}}}}
service:
  memory_budget: 128MiB
  pipelines: {{profiles: {{receivers: [pprof], exporters: [otlp_http, otlp_grpc, pyroscope]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
",
        url(0),
        url(1),
        url(2)
    ));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    gate.forget_peak();
    let body = std::fs::read(data("go123-cpu-labels.pb.gz")).unwrap();
    let (status, answer) = post(intake, PPROF, &[], &body);
    assert_eq!(status, 200, "{answer}");
    for (exporter, (_, sent)) in &backends {
        wait_for("the end of the answer", || {
            let (_, text) = http("GET", metrics, "/metrics", b"");
            let settled = text.lines().any(|line| {
                let ours = line.contains(&format!("=\"{exporter}\""));
                let counts = ["flamegate_exporter_sent_profiles{", "flamegate_dropped_total{"];
                ours && counts.iter().any(|count| line.starts_with(count)) && !line.ends_with(" 0")
            });
            settled.then_some(())
        });
        let sent = sent.load(Ordering::Relaxed);
        assert!(
            (4 << 20..64 << 20).contains(&sent),
            "{exporter}: {} MiB were taken in",
            sent >> 20
        );
    }
    let peak = gate.peak_memory();
    assert!(peak <= 116 << 20, "{} MiB at the peak", peak >> 20);
    assert_eq!(post(intake, PPROF, &[], &body).0, 200);
}
