//! Any format: unwrap, sniff, dispatch; and the other way.

use bytes::Bytes;

use super::compress::Inflation;
use super::room::{Room, Unlimited};
use super::sniff::is_framed;
use super::{
    CompressError, DecodeError, Decoded, EncodeError, Fault, Format, Limits, UnknownFormat, collapsed, flamegraph, jfr,
    legacy, otlp, perf, pprof, records, sniff, speedscope, v8,
};
use crate::profile::{Dictionary, Profile, ProfileRef, Profiles};

/// Why bytes of an unnamed format do not become profiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnyError {
    /// A layer of compression does not come off.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// What is inside is no format that is read here.
    #[error(transparent)]
    Unknown(#[from] UnknownFormat),
    /// It is one, with something wrong in it.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl AnyError {
    /// Which answer the sender gets.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Compress(error) => error.fault(),
            Self::Unknown(error) => error.fault,
            Self::Decode(error) => error.fault,
        }
    }
}

/// Profiles from bytes of an unnamed format.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// What the bytes were.
    pub format: Format,
    /// The bytes without any compression.
    pub plain: Bytes,
    /// What was in them.
    pub decoded: Decoded,
}

/// Takes compression off, tells the format from the content, and decodes.
pub fn decode_any(bytes: Bytes, limits: &Limits) -> Result<Recognised, AnyError> {
    let plain = Inflation::new(limits).unwrap_layers(bytes)?;
    let format = sniff(&plain)?;
    let decoded = decode_file(format, &plain, &jfr::Options::default(), limits, &Unlimited)?;
    Ok(Recognised { format, plain, decoded })
}

/// Decodes what a file holds, without compression around it: as [`decode_as_asked`], and many messages of OTLP.
pub fn decode_file(
    format: Format,
    plain: &[u8],
    jfr: &jfr::Options<'_>,
    limits: &Limits,
    room: &dyn Room,
) -> Result<Decoded, DecodeError> {
    match format {
        Format::Otlp | Format::OtlpJson if is_framed(plain) => records::decode_framed(plain, limits, room),
        Format::OtlpJson => records::decode_lines(plain, limits, room),
        _ => decode_as_asked(format, plain, jfr, limits, room),
    }
}

/// Decodes uncompressed bytes of a known format.
pub fn decode_as(format: Format, plain: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
    decode_as_within(format, plain, limits, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_as_within(
    format: Format,
    plain: &[u8],
    limits: &Limits,
    room: &dyn Room,
) -> Result<Decoded, DecodeError> {
    decode_as_asked(format, plain, &jfr::Options::default(), limits, room)
}

/// The same, with what is asked of recordings of the JVM.
pub fn decode_as_asked(
    format: Format,
    plain: &[u8],
    jfr: &jfr::Options<'_>,
    limits: &Limits,
    room: &dyn Room,
) -> Result<Decoded, DecodeError> {
    match format {
        Format::Collapsed => collapsed::decode_within(plain, limits, room),
        Format::Speedscope => speedscope::decode_within(plain, limits, room),
        Format::Pprof => pprof::decode_within(plain, limits, room),
        Format::Otlp => otlp::decode_within(plain, limits, otlp::WireVersion::default(), room),
        Format::OtlpJson => otlp::decode_json_within(plain, limits, room),
        Format::CpuProfile => v8::decode_cpu(plain, limits, room),
        Format::HeapProfile => v8::decode_heap(plain, limits, room),
        Format::ChromeTrace => v8::decode_trace(plain, limits, room),
        Format::V8Prof => v8::decode_ticks(plain, limits, room),
        Format::Svg | Format::Html => Err(DecodeError::unsupported(
            format,
            "a flame graph is only written",
            "give the profile that it was made of",
        )),
        Format::Jfr => jfr::decode_within(plain, jfr, limits, room),
        Format::PerfScript => perf::decode_within(plain, limits, room),
        Format::PprofLegacy => legacy::decode_within(plain, limits, room),
        Format::Trie => collapsed::decode_trie(plain, limits, room),
        Format::Tree => collapsed::decode_tree(plain, limits, room),
    }
}

const READ_ONLY: &str = "is read and not written; write otlp, pprof, collapsed or speedscope";

/// Writes profiles in `most` bytes. Formats that hold one profile get the first, formats that hold one sample type its default.
pub fn encode(format: Format, profiles: &Profiles, most: usize) -> Result<Vec<u8>, EncodeError> {
    match format {
        Format::Otlp => otlp::encode_within(profiles, most),
        Format::OtlpJson => otlp::encode_json_within(profiles, most),
        Format::Html => flamegraph::html(profiles, most),
        _ => {
            let at = profiles
                .iter()
                .next()
                .ok_or_else(|| EncodeError::new(format, "no profile to write"))?;
            let column = default_column(profiles.dictionary(), at.profile);
            encode_one(format, profiles.dictionary(), at, column, most)
        }
    }
}

/// Writes one profile, in `most` bytes, in a format that holds one. `column` is the sample type for a format that holds one.
pub fn encode_one(
    format: Format,
    dictionary: &Dictionary,
    at: ProfileRef<'_>,
    column: usize,
    most: usize,
) -> Result<Vec<u8>, EncodeError> {
    match format {
        Format::Collapsed => collapsed::encode(dictionary, at.profile, column, most).map(String::into_bytes),
        Format::Speedscope => speedscope::encode(dictionary, at.profile, most),
        Format::Pprof => pprof::encode(
            dictionary,
            at.resource,
            at.profile,
            &pprof::EncodeOptions {
                most,
                ..pprof::EncodeOptions::default()
            },
        ),
        Format::Svg => flamegraph::svg(dictionary, at.profile, column, most),
        Format::CpuProfile => v8::encode(dictionary, at.profile, column, most),
        Format::Otlp | Format::OtlpJson | Format::Html => Err(EncodeError::new(format, "holds whole batches")),
        Format::Jfr
        | Format::HeapProfile
        | Format::ChromeTrace
        | Format::V8Prof
        | Format::PerfScript
        | Format::PprofLegacy
        | Format::Trie
        | Format::Tree => Err(EncodeError::new(format, READ_ONLY)),
    }
}

/// The sample type to show where one is shown: the profile's own default, else the last.
pub fn default_column(dictionary: &Dictionary, profile: &Profile) -> usize {
    let default = dictionary.str(profile.default_sample_type);
    let named = profile
        .sample_types
        .iter()
        .position(|of| dictionary.str(of.kind) == default);
    named.unwrap_or(profile.sample_types.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::formats::frames;
    use crate::formats::room::tests::Counted;
    use crate::formats::{Compression, compress::compress};
    use crate::testing;

    #[test]
    fn own_recordings_are_recognised_through_their_compression() {
        let files = [
            ("py-spy-native.speedscope.json", Format::Speedscope),
            ("py-spy-threads.collapsed", Format::Collapsed),
        ];
        for (name, format) in files {
            let packed = compress(&testing::data(name), Compression::Zstd(1));
            let read = decode_any(packed.into(), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(read.format, format, "{name}");
            assert!(read.decoded.profiles.sample_count() > 0, "{name}");
            assert!(sniff(&read.plain).is_ok(), "{name}");
        }
    }

    #[test]
    fn decoders_ask_for_what_they_take_and_not_for_much_more() {
        for name in [
            "go123-heap.pb.gz",
            "node20-wall-cpu-labels.pb.gz",
            "rust-cpu.pb.gz",
            "go123-cpu-links.otlp",
            "old-schema-1.9.otlp",
            "ap-cpu-native.otlp",
            "node20-wall-cpu-links.otlp.json.gz",
            "py-spy-native.speedscope.json",
            "py-spy-threads.collapsed",
            "ap-wall.jfr.gz",
            "jdk17-deep.jfr.gz",
            "node20-cpu.cpuprofile",
            "node20-heap.heapprofile",
            "node20.v8prof.json.gz",
            "planted-linux.perf.txt.gz",
            "go123-heap-debug1.txt.gz",
        ] {
            let plain = Inflation::new(&Limits::default())
                .unwrap_layers(testing::data(name).into())
                .expect("a recording");
            let format = sniff(&plain).expect("a format");
            let room = Counted::new(usize::MAX);
            let decoded = decode_as_within(format, &plain, &Limits::default(), &room).expect("a profile");
            let (asked, held) = (room.used.get(), decoded.profiles.heap_bytes());
            assert!(asked >= held, "{name}: asked for {asked}, holds {held}");
            assert!(
                asked <= 4 * (held + plain.len()),
                "{name}: asked for {asked}, holds {held}"
            );
            // whatever there is too little of, the answer says so
            for part in [1, 2, 4, 8, 16] {
                let error = decode_as_within(format, &plain, &Limits::default(), &Counted::new(asked / part - 1));
                let error = error.map(|_| ()).expect_err("too little memory");
                assert!(matches!(error.fault, Fault::NoRoom(_)), "{name}: {error}");
            }
        }
    }

    const ALL: [Format; 8] = [
        Format::Otlp,
        Format::OtlpJson,
        Format::Pprof,
        Format::Collapsed,
        Format::Speedscope,
        Format::CpuProfile,
        Format::Svg,
        Format::Html,
    ];

    #[test]
    fn encoders_end_at_the_bytes_they_may_write() {
        for name in ["go123-heap.pb.gz", "node20-wall-cpu-links.otlp"] {
            let read = decode_any(testing::data(name).into(), &Limits::default()).expect("a recording");
            let profiles = read.decoded.profiles;
            for format in ALL {
                let bytes = encode(format, &profiles, usize::MAX).expect("a profile").len();
                assert!(encode(format, &profiles, 64 << 20).is_ok(), "{name} {format}");
                for most in [0, bytes / 100, bytes - 1] {
                    let written = encode(format, &profiles, most).map(|bytes| bytes.len());
                    let error = written.expect_err("too large");
                    assert!(error.is_too_large, "{name} {format} {most}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_written_again_and_again_is_not_written_at_all() {
        let stack = "a name of some length;".repeat(2_000);
        let decoded = decode_as(Format::Collapsed, format!("{stack} 1").as_bytes(), &Limits::default());
        let mut profiles = decoded.expect("a stack").profiles;
        let resource = &mut profiles.edit_resources()[0];
        let samples = std::sync::Arc::make_mut(&mut resource.scopes[0].profiles[0].samples);
        *samples = samples.pick(1, &vec![0; 200_000]);
        // 400 million frames
        for format in [Format::Pprof, Format::Speedscope] {
            let error = encode(format, &profiles, 1 << 20).expect_err("too large");
            assert!(error.is_too_large, "{format}: {error}");
        }
        // equal stacks are one line
        for format in [Format::Collapsed, Format::CpuProfile, Format::Svg, Format::Html] {
            assert!(encode(format, &profiles, 1 << 20).is_ok(), "{format}");
        }
        // one text that many values share
        let (dictionary, resources) = profiles.edit();
        let text = dictionary.strings.push(&"t".repeat(1 << 16));
        let value = crate::profile::Value::Array(vec![crate::profile::Value::String(text); 1 << 16].into());
        resources[0]
            .attributes
            .push(crate::profile::KeyValue { key: text, value });
        for format in [Format::Otlp, Format::OtlpJson, Format::Pprof] {
            let error = encode(format, &profiles, 1 << 20).expect_err("too large");
            assert!(error.is_too_large, "{format}: {error}");
        }
    }

    /// The sums by stack of one sample type of the only profile, root first.
    fn sums(profiles: &Profiles, column: usize) -> BTreeMap<String, i64> {
        let (dictionary, profile) = (
            profiles.dictionary(),
            profiles.iter().next().expect("a profile").profile,
        );
        let mut sums = BTreeMap::new();
        for (row, stack) in profile.samples.stacks.iter().enumerate() {
            let names = frames::root_first(dictionary, *stack).map(|(at, line)| frames::name(dictionary, at, line));
            let path = names.collect::<Vec<_>>().join(";");
            *sums.entry(path).or_default() += profile.samples.total(row, column, profile.sample_types.len());
        }
        sums.retain(|_, sum| *sum != 0);
        sums
    }

    proptest! {
        #[test]
        fn prop_out_and_in_keeps_stacks_and_totals(
            stacks in proptest::collection::vec(("[a-d]{1,2}(;[a-d]{1,2}){0,5}", 1i64..1 << 40), 1..30),
            unit in prop::sample::select(vec!["count", "bytes", "nanoseconds"]),
        ) {
            let text: String = stacks.iter().map(|(stack, value)| format!("{stack} {value}\n")).collect();
            let mut profiles = decode_as(Format::Collapsed, text.as_bytes(), &Limits::default()).expect("stacks").profiles;
            let (dictionary, resources) = profiles.edit();
            let of = &mut resources[0].scopes[0].profiles[0].sample_types[0];
            (of.kind, of.unit) = (dictionary.strings.push("things"), dictionary.strings.push(unit));
            let expected = sums(&profiles, 0);
            for format in [Format::Collapsed, Format::Speedscope, Format::CpuProfile, Format::Pprof, Format::Otlp] {
                let written = encode(format, &profiles, 64 << 20).expect("a profile");
                let read = decode_any(written.into(), &Limits::default()).expect("a profile");
                prop_assert_eq!(read.format, format);
                prop_assert_eq!(sums(&read.decoded.profiles, 0), expected.clone(), "{}", format);
            }
        }
    }

    #[test]
    fn real_recordings_stay_below_every_limit() {
        let Some(corpus) = testing::corpus() else { return };
        let mut read = 0;
        for folder in ["pprof", "otlp", "other", "jfr", "legacy-pprof", "planted"] {
            for entry in std::fs::read_dir(corpus.join(folder)).expect("a folder").flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                // a folder in the folder is none
                let Ok(bytes) = std::fs::read(entry.path()) else {
                    continue;
                };
                match decode_any(bytes.into(), &Limits::default()) {
                    Ok(got) => {
                        assert_eq!(got.decoded.overflows, crate::formats::Overflows::default(), "{name}");
                        read += 1;
                    }
                    Err(error) => assert!(!matches!(error.fault(), Fault::TooLarge(_)), "{name}: {error}"),
                }
            }
        }
        assert!(read > 30, "{read} recordings");
    }

    #[test]
    fn each_stage_says_which_answer_its_error_is() {
        let fault = |bytes: &[u8], limits: Limits| {
            let read = decode_any(Bytes::copy_from_slice(bytes), &limits);
            read.map(|read| read.format).map_err(|error| error.fault())
        };
        let small = Limits {
            decompressed_bytes: 10,
            ..Limits::default()
        };
        let packed = compress(b"main;work 1\n", Compression::Gzip(6));
        assert_eq!(fault(&packed, Limits::default()), Ok(Format::Collapsed));
        assert_eq!(
            fault(&packed, small),
            Err(Fault::TooLarge(crate::formats::Limit::Decompressed))
        );
        assert_eq!(fault(b"FLR\0\0\x02", Limits::default()), Err(Fault::Malformed));
        assert_eq!(fault(b"PERFILE2", Limits::default()), Err(Fault::Unsupported));
        assert_eq!(fault(b"a 1\nb\n", Limits::default()), Err(Fault::Malformed));
    }
}
