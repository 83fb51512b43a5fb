use proptest::prelude::*;

use super::super::any::{AnyError, decode_any};
use super::super::{Compression, compress::compress, otlp};
use super::*;
use crate::formats::any::decode_file;
use crate::formats::room::Unlimited;
use crate::formats::room::tests::Counted;
use crate::formats::{jfr, sniff};
use crate::profile::testing::{any_profiles, tell};
use crate::testing;

fn recordings() -> Vec<Profiles> {
    ["go123-heap.pb.gz", "node20-wall-cpu-links.otlp", "go123-heap.pb.gz"]
        .map(|name| read(&testing::data(name)).profiles)
        .into()
}

fn read_within(bytes: &[u8], limits: &Limits) -> Result<Decoded, AnyError> {
    decode_any(Bytes::copy_from_slice(bytes), limits).map(|read| read.decoded)
}

fn read(bytes: &[u8]) -> Decoded {
    match read_within(bytes, &Limits::default()) {
        Ok(decoded) => decoded,
        Err(error) => panic!("{error}"),
    }
}

fn behind_length(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&length[..], message].concat()
}

fn zstd(message: &[u8]) -> Vec<u8> {
    compress(message, Compression::Zstd(1))
}

/// One way to write many messages.
type Write = fn(&Profiles) -> Vec<u8>;

/// Every way in which the exporter writes many messages.
const WAYS: [(&str, Write); 4] = [
    ("proto", |profiles| behind_length(&otlp::encode(profiles))),
    ("json", |profiles| [&otlp::encode_json(profiles)[..], b"\n"].concat()),
    ("proto, zstd", |profiles| behind_length(&zstd(&otlp::encode(profiles)))),
    ("json, zstd", |profiles| {
        behind_length(&zstd(&otlp::encode_json(profiles)))
    }),
];

fn file(write: Write, all: &[Profiles]) -> Vec<u8> {
    all.iter().flat_map(write).collect()
}

#[test]
fn a_file_of_many_messages_reads_as_all_of_them_in_every_way() {
    let all = recordings();
    let merged = tell(&Profiles::merge(&all));
    let count = all.iter().map(Profiles::profile_count).sum::<usize>();
    for (way, write) in WAYS {
        let stored = file(write, &all);
        for packed in [stored.clone(), compress(&stored, Compression::Gzip(6))] {
            let decoded = read(&packed);
            assert_eq!(decoded.rejected.profiles, 0, "{way}");
            assert!(!decoded.exact, "{way}");
            assert!(tell(&decoded.profiles) == merged, "{way}");
            assert_eq!(decoded.profiles.profile_count(), count, "{way}");
        }
        let one = read(&file(write, &all[..1]));
        assert_eq!(one.profiles.profile_count(), all[0].profile_count(), "{way}");
    }
}

#[test]
fn lines_may_end_as_on_windows_and_one_message_may_have_many() {
    let all = recordings();
    let json = |profiles: &Profiles| String::from_utf8(otlp::encode_json(profiles)).unwrap();
    let windows = format!("{}\r\n{}\r\n", json(&all[0]), json(&all[1]));
    assert_eq!(read(windows.as_bytes()).profiles.resources().len(), 2);
    let value: serde_json::Value = serde_json::from_str(&json(&all[0])).unwrap();
    let pretty = format!("{value:#}\n");
    assert!(pretty.lines().count() > 100);
    assert_eq!(read(pretty.as_bytes()).profiles.profile_count(), all[0].profile_count());
}

#[test]
fn what_a_crash_left_of_the_last_message_is_rejected_and_the_rest_is_read() {
    let all = recordings();
    for (way, write) in WAYS {
        let (whole, stored) = (file(write, &all[..2]), file(write, &all));
        let begin = whole.len();
        for cut in [begin + 1, begin + 5, stored.len() - 2] {
            let decoded = read(&stored[..cut]);
            assert_eq!(decoded.profiles.resources().len(), 2, "{way} {cut}");
            assert_eq!(decoded.rejected.profiles, 1, "{way} {cut}");
            let why = decoded.rejected.first.unwrap();
            assert_eq!(why.offset, Some(begin), "{way} {cut}: {why}");
            assert!(why.to_string().contains("ends inside of its last message"), "{why}");
        }
    }
}

#[test]
fn a_message_that_is_wrong_is_named_by_its_number() {
    let all = recordings();
    for (way, write) in WAYS {
        let mut stored = file(write, &all);
        let second = file(write, &all[..1]).len();
        // behind the length, if there is one
        stored[second + 6..second + 22].fill(0xff);
        let error = read_within(&stored, &Limits::default()).expect_err(way).to_string();
        assert!(error.contains("message 2: "), "{way}: {error}");
    }
}

#[test]
fn limits_hold_for_all_messages_together() {
    let all = recordings();
    let elements = all.iter().map(largest_table).max().unwrap() + MESSAGE_COST;
    let plain: usize = all.iter().map(|profiles| otlp::encode(profiles).len()).sum();
    for (way, write) in WAYS {
        let stored = file(write, &all);
        let few = Limits {
            elements,
            ..Limits::default()
        };
        assert!(read_within(&file(write, &all[..1]), &few).is_ok(), "{way}");
        let error = read_within(&stored, &few).expect_err(way);
        assert_eq!(error.fault(), Fault::TooLarge(Limit::Elements), "{way}: {error}");
        if way.ends_with("zstd") {
            // each alone would fit
            let small = Limits {
                decompressed_bytes: plain * 2 / 3,
                ..Limits::default()
            };
            let error = read_within(&stored, &small).expect_err(way);
            assert_eq!(error.fault(), Fault::TooLarge(Limit::Decompressed), "{way}: {error}");
        }
    }
}

#[test]
fn memory_is_asked_for_messages_and_for_what_they_become() {
    let all: Vec<Profiles> = recordings().into_iter().cycle().take(60).collect();
    for (way, write) in WAYS {
        let stored = file(write, &all);
        let format = sniff(&stored).unwrap();
        let read = |room: &dyn Room| decode_file(format, &stored, &jfr::Options::default(), &Limits::default(), room);
        let room = Counted::new(usize::MAX);
        let held = read(&room).unwrap().profiles.heap_bytes();
        let asked = room.used.get();
        assert!(
            (held..4 * held).contains(&asked),
            "{way}: asked for {asked}, holds {held}"
        );
        for part in [2, 64, 1_024] {
            let error = read(&Counted::new(held / part)).map(|_| ()).unwrap_err();
            assert!(matches!(error.fault, Fault::NoRoom(_)), "{way}: {error}");
        }
    }
}

#[test]
fn machine_words_are_no_messages() {
    // cpu profiles of gperftools, zeros, and a length before what is no OTLP
    for bytes in [
        &[0, 0, 0, 0, 3, 0, 0, 0][..],
        &[0; 64],
        b"\0\0\0\x04abcd",
        b"\0\0\0\x09abc",
    ] {
        assert!(!super::super::sniff::is_framed(bytes), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn prop_many_messages_are_their_merger(all in proptest::collection::vec(any_profiles(), 1..4)) {
        // what is not empty comes first: nothing would tell the format of a file of empty messages
        let all = [&recordings()[..1], &all].concat();
        let merged = Profiles::merge(&all.iter().map(through_otlp).collect::<Vec<_>>());
        for (way, write) in WAYS {
            let decoded = read(&file(write, &all));
            prop_assert_eq!(decoded.rejected.profiles, 0, "{}", way);
            prop_assert_eq!(decoded.profiles.received_count(), merged.received_count(), "{}", way);
            prop_assert_eq!(decoded.profiles.sample_count(), merged.sample_count(), "{}", way);
        }
    }
}

#[test]
fn a_message_whose_first_bytes_are_those_of_json_is_told_from_it() {
    // a resource with one attribute, whose key is as long as makes the whole 123 bytes: a brace
    let mut message = b"\n{\x0a\x79\x0a\x77\x0a\x75".to_vec();
    message.extend([b'k'; 117]);
    let format = match decode_message(&message, &Limits::default(), &Unlimited) {
        Ok(_) => Format::Otlp,
        Err(error) => error.format,
    };
    assert_eq!(format, Format::Otlp);
}

/// What is left of profiles on the way through OTLP.
fn through_otlp(profiles: &Profiles) -> Profiles {
    decode_message(&otlp::encode(profiles), &Limits::default(), &Unlimited)
        .unwrap()
        .profiles
}
