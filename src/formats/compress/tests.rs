use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::formats::room::tests::Counted;
use crate::formats::{Fault, Limits};

const ALL: [(Compression, ContentEncoding); 6] = [
    (Compression::None, ContentEncoding::Identity),
    (Compression::Gzip(6), ContentEncoding::Gzip),
    (Compression::Deflate(6), ContentEncoding::Deflate),
    (Compression::Zstd(1), ContentEncoding::Zstd),
    (Compression::Snappy, ContentEncoding::Snappy),
    (Compression::Lz4, ContentEncoding::Lz4),
];

fn limits(decompressed_bytes: usize) -> Limits {
    Limits {
        decompressed_bytes,
        ratio: usize::MAX,
        ..Limits::default()
    }
}

fn inflate(encoding: ContentEncoding, bytes: &[u8], room: usize) -> Result<Bytes, CompressError> {
    Inflation::new(&limits(room)).inflate(encoding, Bytes::copy_from_slice(bytes))
}

fn problem(result: Result<Bytes, CompressError>) -> CompressProblem {
    result.expect_err("an error").problem
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    compress(bytes, Compression::Gzip(6))
}

#[test]
fn every_compression_round_trips_at_every_level() {
    let text = b"alpha beta gamma ".repeat(9_000);
    let mut forms: Vec<_> = ALL.to_vec();
    forms.extend((0..=9).map(|level| (Compression::Gzip(level), ContentEncoding::Gzip)));
    forms.extend((0..=9).map(|level| (Compression::Deflate(level), ContentEncoding::Deflate)));
    forms.extend((1..=19).map(|level| (Compression::Zstd(level), ContentEncoding::Zstd)));
    for (compression, encoding) in forms {
        for plain in [&text[..], b"", b"x"] {
            let packed = compress(plain, compression);
            assert_eq!(
                inflate(encoding, &packed, plain.len()).as_deref(),
                Ok(plain),
                "{compression:?}"
            );
        }
    }
}

#[test]
fn a_bomb_stops_at_the_budget() {
    let zeros = vec![0; 8 << 20];
    for (compression, encoding) in ALL {
        let packed = compress(&zeros, compression);
        if encoding == ContentEncoding::Identity {
            continue;
        }
        assert!(packed.len() < 1 << 20, "{compression:?}");
        let limit = (8 << 20) - 1;
        assert_eq!(
            problem(inflate(encoding, &packed, limit)),
            CompressProblem::TooLarge { limit },
            "{compression:?}"
        );
        assert_eq!(
            inflate(encoding, &packed, limit + 1).map(|plain| plain.len()),
            Ok(limit + 1)
        );
    }
}

#[test]
fn what_is_compressed_better_than_profiles_are_is_refused() {
    let inflate =
        |bytes: &[u8]| Inflation::new(&Limits::default()).inflate(ContentEncoding::Zstd, bytes.to_vec().into());
    let zeros = |count: usize| compress(&vec![0; count], Compression::Zstd(1));
    assert!(inflate(&zeros(1 << 20)).is_ok(), "little is no bomb");
    assert_eq!(
        problem(inflate(&zeros(2 << 20))),
        CompressProblem::RatioTooLarge { limit: 500 }
    );
}

#[test]
fn output_never_takes_more_than_the_room() {
    let room = Counted::new(400_000);
    let mut out = super::inflate::Output::new(300_000, &room);
    let read = out.read_all(&mut std::io::repeat(7));
    assert!(matches!(read, Ok(Ok(()))), "{read:?}");
    assert_eq!(room.used.get(), 300_001);
    let mut out = super::inflate::Output::new(300_000, &room);
    let read = out.read_all(&mut std::io::repeat(7));
    assert!(matches!(read, Err(super::inflate::Failure::NoRoom(_))), "{read:?}");
}

#[test]
fn every_decoder_asks_before_it_takes() {
    let plain: Vec<u8> = (0..1 << 20).map(|i: u32| (i / 7) as u8).collect();
    for (compression, encoding) in ALL.into_iter().skip(1) {
        let packed = Bytes::from(compress(&plain, compression));
        let within = |bytes: usize| {
            let room = Counted::new(bytes);
            let inflated = Inflation::within(&limits(8 << 20), &room).inflate(encoding, packed.clone());
            (inflated.map(|plain| plain.len()), room.used.get())
        };
        let (whole, used) = within(4 << 20);
        assert_eq!(whole, Ok(1 << 20), "{compression:?}");
        assert!((1 << 20..=2 << 20).contains(&used), "{compression:?}: {used}");
        let (refused, _) = within(1 << 19);
        let why = refused.expect_err("half of it");
        assert!(matches!(why.problem, CompressProblem::NoRoom(_)), "{why}");
        assert!(matches!(why.fault(), Fault::NoRoom(_)), "{why}");
    }
}

#[test]
fn layers_share_one_budget() {
    let inner = gzip(&b"0123456789".repeat(100));
    let outer = compress(&inner, Compression::Zstd(1));
    let enough = inner.len() + 1_000;
    let unwrap = |room| Inflation::new(&limits(room)).unwrap_layers(outer.clone().into());
    assert_eq!(unwrap(enough).map(|plain| plain.len()), Ok(1_000));
    assert_eq!(
        problem(unwrap(enough - 1)),
        CompressProblem::TooLarge { limit: enough - 1 }
    );

    let mut inflation = Inflation::new(&limits(enough));
    let through_header = inflation.inflate_all(&[ContentEncoding::Gzip, ContentEncoding::Zstd], outer.clone().into());
    assert_eq!(through_header.map(|plain| plain.len()), Ok(1_000));
    assert!(inflation.unwrap_layers(gzip(b"one byte more").into()).is_err());
}

#[test]
fn layers_are_counted() {
    let mut packed = b"x".to_vec();
    for _ in 0..4 {
        packed = gzip(&packed);
    }
    let unwrap = |nesting| {
        let limits = Limits {
            nesting,
            ..Limits::default()
        };
        Inflation::new(&limits).unwrap_layers(packed.clone().into())
    };
    assert_eq!(unwrap(4).as_deref(), Ok(&b"x"[..]));
    assert_eq!(problem(unwrap(3)), CompressProblem::TooNested { limit: 3 });
}

#[test]
fn every_cut_and_every_wrong_ending_is_an_error() {
    let plain: Vec<u8> = (0..4_000u32)
        .flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes())
        .collect();
    for (compression, encoding) in ALL.into_iter().skip(1) {
        let packed = compress(&plain, compression);
        for cut in (0..packed.len()).step_by(97).chain([packed.len() - 1]) {
            let got = inflate(encoding, &packed[..cut], 1 << 20);
            let Err(error) = got else {
                panic!("{compression:?} cut at {cut}")
            };
            assert!(error.to_string().starts_with(encoding.name()), "{error}");
            assert_eq!(error.fault(), Fault::Malformed, "{compression:?} cut at {cut}");
        }
        let mut longer = packed.clone();
        longer.extend_from_slice(b"something behind it");
        assert!(inflate(encoding, &longer, 1 << 20).is_err(), "{compression:?}");
    }
}

#[test]
fn gzip_of_several_members_is_read_whole() {
    let join = |members: &[&[u8]]| members.iter().flat_map(|member| gzip(member)).collect::<Vec<u8>>();
    let several: [&[&[u8]]; 4] = [&[b"one", b"two"], &[b"same", b"same"], &[b"", b"x"], &[b"x", b""]];
    for members in several {
        let mut packed = join(members);
        assert_eq!(
            inflate(ContentEncoding::Gzip, &packed, 100).as_deref(),
            Ok(&members.concat()[..])
        );
        packed.extend_from_slice(&[0; 512]);
        assert_eq!(
            inflate(ContentEncoding::Gzip, &packed, 100).as_deref(),
            Ok(&members.concat()[..]),
            "padded"
        );
    }
    let limit = 5;
    let packed = join(&[b"one", b"two"]);
    assert_eq!(
        problem(inflate(ContentEncoding::Gzip, &packed, limit)),
        CompressProblem::TooLarge { limit }
    );
}

#[test]
fn a_claimed_size_is_only_a_hint() {
    let mut packed = gzip(b"short");
    let end = packed.len();
    packed[end - 4..].copy_from_slice(&60_000_000u32.to_le_bytes());
    assert!(matches!(
        problem(inflate(ContentEncoding::Gzip, &packed, 64 << 20)),
        CompressProblem::Corrupt { .. }
    ));
    // a snappy block of 6 bytes that claims 4 GiB
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let corrupt = super::inflate::Failure::Corrupt { offset: 0 };
    assert_eq!(super::inflate::snappy_size(&claim, usize::MAX), Err(corrupt));
}

#[test]
fn bare_deflate_and_framed_snappy_are_read() {
    let plain = b"bare ".repeat(50);
    let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    bare.write_all(&plain).expect("memory");
    let bare = bare.finish().expect("memory");
    assert_eq!(
        inflate(ContentEncoding::Deflate, &bare, 1_000).as_deref(),
        Ok(&plain[..])
    );
    let mut framed = snap::write::FrameEncoder::new(Vec::new());
    framed.write_all(&plain).expect("memory");
    let framed = framed.into_inner().expect("memory");
    assert_eq!(
        inflate(ContentEncoding::Snappy, &framed, 1_000).as_deref(),
        Ok(&plain[..])
    );
}

#[test]
fn a_huge_zstd_window_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("level 1");
    encoder.window_log(27).expect("window");
    encoder.write_all(b"wide").expect("memory");
    let packed = encoder.finish().expect("memory");
    assert_eq!(
        problem(inflate(ContentEncoding::Zstd, &packed, 1 << 30)),
        CompressProblem::WindowTooLarge
    );
}

#[test]
fn headers_are_read() {
    use ContentEncoding::{Deflate, Gzip, Identity, Lz4, Snappy, Zstd};
    assert_eq!(ContentEncoding::parse_list(""), Ok(vec![]));
    assert_eq!(ContentEncoding::parse_list("GZIP , zstd"), Ok(vec![Gzip, Zstd]));
    assert_eq!(
        ContentEncoding::parse_list("x-gzip,zlib,identity"),
        Ok(vec![Gzip, Deflate, Identity])
    );
    assert_eq!(
        ContentEncoding::parse_list("x-snappy-framed,lz4"),
        Ok(vec![Snappy, Lz4])
    );
    let error = ContentEncoding::parse_list("gzip, br").expect_err("br is not spoken");
    assert_eq!(error.fault(), Fault::Unsupported);
    assert!(error.to_string().contains("gzip, zstd"), "{error}");
    for (compression, encoding) in ALL.into_iter().skip(1) {
        let name = compression.content_encoding().expect("a name");
        assert_eq!(ContentEncoding::parse_list(name), Ok(vec![encoding]));
    }
}

#[test]
fn configured_compressions_are_read() {
    assert_eq!(Compression::parse("gzip", None), Ok(Compression::Gzip(6)));
    assert_eq!(Compression::parse("gzip", Some(-1)), Ok(Compression::Gzip(6)));
    assert_eq!(Compression::parse("zlib", Some(9)), Ok(Compression::Deflate(9)));
    assert_eq!(Compression::parse("zstd", Some(19)), Ok(Compression::Zstd(19)));
    assert_eq!(Compression::parse("none", None), Ok(Compression::None));
    assert_eq!(
        Compression::parse("gzip", Some(10)),
        Err(CompressionError::Level { lowest: 0, highest: 9 })
    );
    assert_eq!(
        Compression::parse("zstd", Some(0)),
        Err(CompressionError::Level { lowest: 1, highest: 19 })
    );
    assert_eq!(Compression::parse("snappy", Some(3)), Err(CompressionError::NoLevels));
    assert_eq!(Compression::parse("brotli", None), Err(CompressionError::Name));
}

proptest! {
    #[test]
    fn prop_any_bytes_inflate_or_say_why(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (_, encoding) in ALL {
            let _ = inflate(encoding, &bytes, 1 << 16);
        }
    }

    #[test]
    fn prop_damage_never_passes_the_budget(
        plain in proptest::collection::vec(0u8..4, 0..3_000),
        at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        for (compression, encoding) in ALL.into_iter().skip(1) {
            let mut packed = compress(&plain, compression);
            let at = at.index(packed.len());
            packed[at] ^= 1 << bit;
            if let Ok(got) = inflate(encoding, &packed, 4_000) {
                prop_assert!(got.len() <= 4_000);
            }
        }
    }

    #[test]
    fn prop_round_trip(plain in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        for (compression, encoding) in ALL {
            let packed = compress(&plain, compression);
            let got = inflate(encoding, &packed, plain.len());
            prop_assert_eq!(got.as_deref(), Ok(&plain[..]));
        }
    }
}
