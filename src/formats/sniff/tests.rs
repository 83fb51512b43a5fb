use proptest::prelude::*;

use super::*;
use crate::formats::Limits;
use crate::formats::compress::Inflation;
use crate::testing;

fn unwrapped(bytes: Vec<u8>) -> bytes::Bytes {
    Inflation::new(&Limits::default())
        .unwrap_layers(bytes.into())
        .expect("gzip")
}

fn what(bytes: &[u8]) -> &'static str {
    sniff(bytes).expect_err("no format of ours").what
}

#[test]
fn own_recordings_are_known() {
    let files = [
        ("go123-heap.pb.gz", Format::Pprof),
        ("node20-wall-cpu-labels.pb.gz", Format::Pprof),
        ("rust-cpu.pb.gz", Format::Pprof),
        ("planted-everywhere.pb", Format::Pprof),
        ("ap-cpu.jfrconv.otlp", Format::Otlp),
        ("ap-cpu-native.otlp", Format::Otlp),
        ("old-schema-1.9.otlp", Format::Otlp),
        ("bad-no-dictionary.otlp.gz", Format::Otlp),
        ("bad-truncated.otlp.gz", Format::Otlp),
        ("planted-everywhere.otlp.json", Format::OtlpJson),
        ("node20-wall-cpu-links.otlp.json.gz", Format::OtlpJson),
        ("py-spy-native.speedscope.json", Format::Speedscope),
        ("node20-cpu.cpuprofile", Format::CpuProfile),
        ("node20-heap.heapprofile", Format::HeapProfile),
        ("node20.v8prof.json.gz", Format::V8Prof),
        ("py-spy-threads.collapsed", Format::Collapsed),
        ("planted-linux.perf.txt.gz", Format::PerfScript),
        ("go123-heap-debug1.txt.gz", Format::PprofLegacy),
        ("go123-goroutine-debug1.txt", Format::PprofLegacy),
    ];
    for (name, format) in files {
        assert_eq!(sniff(&unwrapped(testing::data(name))), Ok(format), "{name}");
    }
}

#[test]
fn the_corpus_is_known() {
    let Some(corpus) = testing::corpus() else { return };
    let mut seen = 0;
    for folder in ["pprof", "otlp", "planted", "other", "jfr", "legacy-pprof"] {
        for entry in std::fs::read_dir(corpus.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if !path.is_file() {
                continue;
            }
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name")
                .to_owned();
            let Ok(bytes) =
                Inflation::new(&Limits::default()).unwrap_layers(std::fs::read(&path).expect("a file").into())
            else {
                continue; // truncated on purpose
            };
            seen += 1;
            assert_eq!(
                sniff(&bytes).map_err(|unknown| unknown.what),
                expected(folder, &name),
                "{name}"
            );
        }
    }
    assert!(seen > 100, "{seen}");
}

/// What the name of a corpus file promises.
fn expected(folder: &str, name: &str) -> Result<Format, &'static str> {
    let holds = |part: &str| name.contains(part);
    match folder {
        _ if holds(".collapsed") => Ok(Format::Collapsed),
        _ if holds(".speedscope.json") => Ok(Format::Speedscope),
        _ if holds(".otlp.json") => Ok(Format::OtlpJson),
        _ if holds(".otlp") => Ok(Format::Otlp),
        _ if holds(".cpuprofile") => Ok(Format::CpuProfile),
        _ if holds(".heapprofile") => Ok(Format::HeapProfile),
        _ if holds(".chrometrace") => Ok(Format::ChromeTrace),
        _ if holds(".perf.txt") => Ok(Format::PerfScript),
        "jfr" if !holds(".pb.gz") && !holds(".labels.gz") => Ok(Format::Jfr),
        "planted" if holds(".jfr") && !holds("jfrconv") => Ok(Format::Jfr),
        "legacy-pprof" if holds("large.cpu") => Ok(Format::Pprof),
        "legacy-pprof" => Ok(Format::PprofLegacy),
        _ => Ok(Format::Pprof),
    }
}

#[test]
fn brackets_and_braces_may_open_a_stack() {
    for text in [
        "[thread tid=1];main 3\n",
        "{closure};main 1\n",
        "<module> (a.py:1);f 3\n",
        "\n\n  a 1",
        "goroutine 7;main 1\n",
    ] {
        assert_eq!(sniff(text.as_bytes()), Ok(Format::Collapsed), "{text}");
    }
}

#[test]
fn what_is_no_profile_is_named_with_a_remedy() {
    assert_eq!(sniff(b""), Err(NOTHING));
    assert_eq!(what(b"<!DOCTYPE html><html>"), "an HTML or XML page");
    assert_eq!(what(b"\x7fELF\x02\x01"), "an ELF program");
    assert!(what(b"PERFILE2abc").starts_with("the file of perf record"));
    assert!(
        sniff(b"PERFILE2abc")
            .unwrap_err()
            .to_string()
            .contains("perf script -i")
    );
    assert!(
        sniff(b"2ELIFREPabc")
            .unwrap_err()
            .to_string()
            .contains("perf script -i")
    );
    assert!(
        sniff(b"Nettrace\x14")
            .unwrap_err()
            .to_string()
            .contains("dotnet-trace convert")
    );
    assert_eq!(what(b"Nettrace\x14"), "a .NET trace");
    assert_eq!(what(b"{\"error\":\"not found\"}"), "JSON, but no profile");
    assert_eq!(what(b"{\"code\":400,\"message\":\"bad\"}"), "JSON, but no profile");
    assert_eq!(what(b"{\"resourceSpans\":[]}"), "OTLP of another signal");
    assert_eq!(what(b"[1, 2]"), "JSON, but no profile");
    assert_eq!(what(b"goroutine 1 [running]:\nmain.main()\n"), "a dump of goroutines");
    let jemalloc = sniff(b"heap_v2/524288\n  t*: 590: 66321163 [0: 0]\n").unwrap_err();
    assert!(jemalloc.to_string().contains("jeprof --collapsed"), "{jemalloc}");
    // letters are fields of a message too: `h` begins a number of pprof's
    for text in [
        "404 page not found",
        "hello",
        "xx",
        "P@P@P@",
        "H1P2",
        "\"quoted\"",
        "hello w\u{f6}rld\n",
    ] {
        assert_eq!(what(text.as_bytes()), ANYTHING.what, "{text}");
    }
    assert_eq!(what(b"\xff\xfe\xfd"), ANYTHING.what);
}

/// A profile that is damaged is told by its decoder, with the place.
#[test]
fn what_is_cut_or_bent_is_still_what_it_was() {
    let pprof = unwrapped(testing::data("go123-heap.pb.gz"));
    for length in [8, 20, 50, 100, 1_000, pprof.len() - 1] {
        assert_eq!(sniff(&pprof[..length]), Ok(Format::Pprof), "{length}");
    }
    let otlp = unwrapped(testing::data("node20-wall-cpu-links.otlp"));
    for (whole, format) in [(pprof, Format::Pprof), (otlp, Format::Otlp)] {
        let mut bent = whole.to_vec();
        let middle = bent.len() / 2;
        bent[middle..].fill(0xff);
        assert_eq!(sniff(&bent), Ok(format));
    }
    // the numbers of a profile without samples are one message
    assert_eq!(sniff(b"\x48\x01\x50\x02"), Ok(Format::Pprof));
}

proptest! {
    /// Printable text is no message, whatever its letters mean to protobuf.
    #[test]
    fn prop_text_is_no_protobuf(text in "[ -~\n\t]{0,300}") {
        prop_assert!(!matches!(sniff(text.as_bytes()), Ok(Format::Pprof | Format::Otlp)));
    }

    #[test]
    fn prop_any_bytes_are_sniffed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = sniff(&bytes);
    }

    #[test]
    fn prop_damaged_recordings_are_sniffed(cut: prop::sample::Index, byte: u8) {
        for name in ["planted-everywhere.pb", "ap-cpu-native.otlp", "planted-everywhere.otlp.json"] {
            let mut bytes = testing::data(name);
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            let _ = sniff(&bytes);
            let _ = sniff(&bytes[..at]);
        }
    }
}
