//! Collapsed (folded) stacks: one `frame;frame;frame count` line for each stack, the root first.
//!
//! The format has neither escaping nor types. Reading, a frame that ends in ` (file:line)`, as py-spy writes it, becomes
//! function, file and line. Writing, only names go out: a `;` in a name becomes `:`, a line break a blank, and samples whose
//! names are equal become one line.

mod packed;

pub use packed::{decode_tree, decode_trie};

use std::borrow::Cow;
use std::fmt::Write;

use super::frames::{self, UNKNOWN, build};
use super::room::{Room, Tab, Unlimited};
use super::{DecodeError, Decoded, EncodeError, Format, Limit, Limits};
use crate::profile::{Dictionary, Id, Interner, LocationId, Profile, ValueType};

/// Reads `frame;frame;frame count` lines.
pub fn decode(text: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
    decode_within(text, limits, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_within(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    Decoder::new(Format::Collapsed, limits, room).decode(text, split_count)
}

/// Reads lines that are one stack each and count 1: what Pyroscope calls `lines`.
pub fn decode_lines(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    Decoder::new(Format::Collapsed, limits, room).decode(text, |line| Ok((line, 1)))
}

/// Splits at the last blank, because frames may hold blanks.
pub(super) fn split_count(line: &[u8]) -> Result<(&[u8], i64), &'static str> {
    let (stack, count) = match memchr::memrchr(b' ', line) {
        Some(blank) => line.split_at_checked(blank).unwrap_or_default(),
        None => return Err("no count after a blank"),
    };
    let count = std::str::from_utf8(count)
        .ok()
        .and_then(|count| count.trim_start().parse().ok());
    count
        .map(|count| (stack, count))
        .ok_or("no whole number after the last blank")
}

struct Decoder<'a> {
    format: Format,
    limits: &'a Limits,
    interner: Interner,
    rows: build::Rows,
    repairs: u64,
    tab: Tab<'a>,
}

/// The tables, and the maps that find what is in them already.
const WITH_MAPS: usize = 2;
/// What a sample takes in columns that double.
const ROW_BYTES: usize = 2 * (3 * size_of::<u32>() + size_of::<i64>());

impl<'a> Decoder<'a> {
    fn new(format: Format, limits: &'a Limits, room: &'a dyn Room) -> Self {
        let mut interner = Interner::new();
        let sample_type = ValueType {
            kind: interner.string("samples"),
            unit: interner.string("count"),
        };
        let rows = build::Rows {
            sample_types: vec![sample_type],
            ..Default::default()
        };
        Self {
            format,
            limits,
            tab: Tab::new(room),
            interner,
            rows,
            repairs: 0,
        }
    }

    fn decode(
        mut self,
        text: &[u8],
        split: impl Fn(&[u8]) -> Result<(&[u8], i64), &'static str>,
    ) -> Result<Decoded, DecodeError> {
        let mut offset = 0;
        let mut frames = Vec::new();
        for (index, whole) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = whole.trim_ascii_end();
            if !line.is_empty() {
                let at = |problem| {
                    let problem = format!("line {}: {problem}", index + 1);
                    DecodeError::malformed(self.format, offset, problem)
                        .with_remedy("write each line as frame;frame;frame count")
                };
                let (stack, count) = split(line).map_err(at)?;
                self.ask(line.len() * WITH_MAPS)?;
                self.sample(stack, count, &mut frames)?;
            }
            offset += whole.len() + 1;
        }
        self.finish()
    }

    fn finish(self) -> Result<Decoded, DecodeError> {
        if self.rows.stacks.is_empty() {
            return Err(DecodeError::malformed(self.format, 0, "no stack in it"));
        }
        Ok(Decoded {
            profiles: build::profiles(self.interner, vec![self.rows]),
            repairs: self.repairs,
            ..Decoded::default()
        })
    }

    fn sample(&mut self, stack: &[u8], count: i64, frames: &mut Vec<LocationId>) -> Result<(), DecodeError> {
        frames.clear();
        for frame in stack.split(|byte| *byte == b';') {
            if frames.len() == self.limits.stack_depth {
                return Err(self.too_large(Limit::StackDepth, "a stack too deep"));
            }
            if frame.len() > self.limits.string_bytes {
                return Err(self.too_large(Limit::String, "a frame too long"));
            }
            frames.push(self.frame(frame));
        }
        frames.reverse();
        let stack = self.interner.stack(frames);
        self.rows.push(stack, Id::UNSET, &[count]);
        let rows = self
            .rows
            .stacks
            .len()
            .max(self.interner.dictionary().stacks.items().len());
        if rows > self.limits.elements {
            return Err(self.too_large(Limit::Elements, "too many stacks or frames"));
        }
        self.ask(0)
    }

    /// Asks for the memory that the tables have grown to, and what they may grow by next.
    fn ask(&mut self, more: usize) -> Result<(), DecodeError> {
        let tables = self.interner.dictionary().heap_bytes() * WITH_MAPS;
        let held = tables + self.rows.stacks.len() * ROW_BYTES + more;
        let given = self.tab.hold(held);
        given.map_err(|why| DecodeError::no_room(self.format, why))
    }

    fn frame(&mut self, frame: &[u8]) -> LocationId {
        let text = String::from_utf8_lossy(frame);
        if let Cow::Owned(_) = text {
            self.repairs += 1;
        }
        let (name, file, line) = split_source(&text);
        let name = if name.is_empty() { UNKNOWN } else { name };
        build::location(&mut self.interner, name, file, line, 0)
    }

    fn too_large(&self, limit: Limit, problem: &'static str) -> DecodeError {
        DecodeError::too_large(self.format, limit, problem, "send less in one request")
    }
}

/// Takes ` (file:line)` off the end of a frame, if that is what stands there.
fn split_source(frame: &str) -> (&str, &str, i64) {
    source_at_end(frame).unwrap_or((frame, "", 0))
}

fn source_at_end(frame: &str) -> Option<(&str, &str, i64)> {
    let open = matching_parenthesis(frame)?;
    let (name, source) = frame.split_at_checked(open)?;
    let name = name.strip_suffix(' ')?;
    let source = source.strip_prefix('(')?.strip_suffix(')')?;
    let (file, line) = source.rsplit_once(':')?;
    if name.is_empty() || file.is_empty() || !line.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let line = line.parse().ok().filter(|line| *line > 0)?;
    Some((name, file, line))
}

/// Where the parenthesis opens that the last byte of the frame closes: files may have parentheses in their names.
pub(super) fn matching_parenthesis(frame: &str) -> Option<usize> {
    if !frame.ends_with(')') {
        return None;
    }
    let mut depth = 0usize;
    for (at, byte) in frame.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Writes the stacks of one sample type, sorted, each with its sum, in `most` bytes. Sums of zero stay out.
pub fn encode(
    dictionary: &Dictionary,
    profile: &Profile,
    type_index: usize,
    most: usize,
) -> Result<String, EncodeError> {
    let types = profile.sample_types.len();
    if type_index >= types {
        let problem = format!("sample type {type_index} of {types}");
        return Err(EncodeError::new(Format::Collapsed, problem));
    }
    let mut samples: Vec<_> = (profile.samples.stacks.iter().enumerate())
        .map(|(row, stack)| (*stack, i128::from(profile.samples.total(row, type_index, types))))
        .collect();
    sum_equal(&mut samples);
    // the lines and what they become are there together
    let (most, mut written) = (most / 2, 0);
    let mut lines = Vec::new();
    for (stack, sum) in samples.into_iter().filter(|(_, sum)| *sum != 0) {
        let line = stack_text(dictionary, stack, most - written);
        written += line.len();
        if written > most {
            return Err(EncodeError::too_large(Format::Collapsed));
        }
        lines.push((line, sum));
    }
    sum_equal(&mut lines);
    let mut out = String::new();
    for (stack, sum) in lines.iter().filter(|(_, sum)| *sum != 0) {
        let _ = writeln!(out, "{stack} {sum}");
    }
    Ok(out)
}

/// Sorts, and leaves each key once with the sum of its values.
fn sum_equal<Key: Ord>(rows: &mut Vec<(Key, i128)>) {
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    rows.dedup_by(|row, kept| {
        let equal = row.0 == kept.0;
        if equal {
            kept.1 += row.1;
        }
        equal
    });
}

/// The frames of a stack, or the first of them that together have more than `most` bytes.
fn stack_text(dictionary: &Dictionary, stack: crate::profile::StackId, most: usize) -> String {
    let mut text = String::new();
    for (location, line) in frames::root_first(dictionary, stack) {
        if text.len() > most {
            break;
        }
        if !text.is_empty() {
            text.push(';');
        }
        text.extend(frames::name(dictionary, location, line).chars().map(|c| match c {
            ';' => ':',
            c if c.is_control() => ' ',
            c => c,
        }));
    }
    if text.is_empty() {
        text.push_str(UNKNOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Fault;
    use crate::testing;
    use proptest::prelude::*;

    fn read(text: &str) -> Decoded {
        decode(text.as_bytes(), &Limits::default()).expect("collapsed stacks")
    }

    fn write(decoded: &Decoded) -> String {
        let profile = decoded.profiles.iter().next().expect("a profile").profile;
        encode(decoded.profiles.dictionary(), profile, 0, usize::MAX).expect("type 0")
    }

    fn error(text: &[u8]) -> DecodeError {
        decode(text, &Limits::default()).expect_err("a bad line")
    }

    #[test]
    fn stacks_are_read_root_first_and_written_sorted() {
        let decoded =
            read("main;work;deep down 3\r\n\n[thread tid=1];main 2\nmain;work;deep down 4\nidle 0\nfreed -7\n");
        assert_eq!(decoded.profiles.sample_count(), 5);
        assert_eq!(
            write(&decoded),
            "[thread tid=1];main 2\nfreed -7\nmain;work;deep down 7\n"
        );
        let dictionary = decoded.profiles.dictionary();
        let profile = decoded.profiles.iter().next().expect("a profile").profile;
        let leaf = dictionary.stacks[profile.samples.stacks[0]][0];
        assert_eq!(
            frames::name(dictionary, leaf, dictionary.lines[leaf].first()),
            "deep down"
        );
        assert_eq!(dictionary.str(profile.sample_types[0].kind), "samples");
        assert_eq!(dictionary.str(profile.sample_types[0].unit), "count");
    }

    #[test]
    fn empty_frames_have_a_name() {
        assert_eq!(write(&read("a;;b 1\n 2\n")), "[unknown] 2\na;[unknown];b 1\n");
    }

    #[test]
    fn source_places_are_split_off() {
        let cases = [
            ("run (app/job.py:12)", ("run", "app/job.py", 12)),
            ("<module> (<string>:1)", ("<module>", "<string>", 1)),
            (
                "f (C:\\Program Files (x86)\\a.py:3)",
                ("f", "C:\\Program Files (x86)\\a.py", 3),
            ),
            ("operator() (int) (a.cc:9)", ("operator() (int)", "a.cc", 9)),
        ];
        for (frame, parts) in cases {
            assert_eq!(split_source(frame), parts);
        }
        let plain = [
            "f(a.py:3)",
            "f (a.py)",
            "f (a.py:x)",
            "f (:3)",
            " (a.py:3)",
            "thread (17): w",
            "f (a.py:0)",
            ")",
            "f (a.py:+3)",
        ];
        for frame in plain {
            assert_eq!(split_source(frame), (frame, "", 0));
        }
    }

    #[test]
    fn lines_count_one_each() {
        let decoded = decode_lines(b"a;b 3\na;b 3\n\nc\n", &Limits::default(), &Unlimited).expect("lines");
        assert_eq!(write(&decoded), "a;b 3 2\nc 1\n");
    }

    #[test]
    fn bad_lines_are_named_and_never_quoted() {
        let text = b"main 1\n\nsecret;frame nope\n";
        let bad = error(text);
        assert_eq!((bad.offset, bad.fault), (Some(8), Fault::Malformed));
        assert!(bad.problem.starts_with("line 3:"), "{bad}");
        assert!(
            !bad.to_string().contains("secret") && !bad.to_string().contains("nope"),
            "{bad}"
        );
        assert_eq!(error(b"alone").offset, Some(0));
        assert_eq!(error(b"\n\n").fault, Fault::Malformed);
        assert_eq!(error(b"a 99999999999999999999").offset, Some(0));
    }

    #[test]
    fn limits_hold() {
        let limits = Limits {
            stack_depth: 3,
            elements: 4,
            string_bytes: 5,
            ..Limits::default()
        };
        let fault = |text: &[u8]| decode(text, &limits).map_err(|error| error.fault).map(|_| ());
        assert_eq!(fault(b"a;b;c 1"), Ok(()));
        assert_eq!(fault(b"a;b;c;d 1"), Err(Fault::TooLarge(Limit::StackDepth)));
        assert_eq!(fault(b"abcdef 1"), Err(Fault::TooLarge(Limit::String)));
        assert_eq!(fault(b"a;b;c 1\nc;a 1\n"), Err(Fault::TooLarge(Limit::Elements)));
        assert_eq!(
            fault(b"a 1\na 1\na 1\na 1\na 1\n"),
            Err(Fault::TooLarge(Limit::Elements))
        );
    }

    #[test]
    fn names_cannot_break_the_lines() {
        let mut interner = Interner::new();
        let odd = build::location(&mut interner, "a;b\nc", "", 0, 0);
        let mut rows = build::Rows {
            sample_types: vec![ValueType::default()],
            ..Default::default()
        };
        rows.push(interner.stack(&[odd]), Id::UNSET, &[1]);
        let profiles = build::profiles(interner, vec![rows]);
        let profile = profiles.iter().next().expect("a profile").profile;
        assert_eq!(
            encode(profiles.dictionary(), profile, 0, 1 << 10).as_deref(),
            Ok("a:b c 1\n")
        );
        assert!(encode(profiles.dictionary(), profile, 1, 1 << 10).is_err());
    }

    #[test]
    fn real_recordings_keep_their_sums() {
        let text = testing::data("py-spy-threads.collapsed");
        let decoded = decode(&text, &Limits::default()).expect("py-spy");
        assert_eq!(decoded.profiles.sample_count(), 114);
        let expected: i128 = (text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()))
            .map(|line| i128::from(split_count(line).expect("a count").1))
            .sum();
        let profile = decoded.profiles.iter().next().expect("a profile").profile;
        assert_eq!(profile.samples.sum(0, 1), expected);
    }

    proptest! {
        #[test]
        fn prop_sums_per_stack_survive(
            stacks in proptest::collection::vec(("[a-c ]{0,2}(;[a-c ]{0,2}){0,4}", -5i64..50), 1..40)
        ) {
            let text: String = stacks.iter().map(|(stack, count)| format!("{stack} {count}\n")).collect();
            let mut expected: Vec<_> = (stacks.iter())
                .map(|(stack, count)| {
                    let named = |frame: &str| if frame.is_empty() { UNKNOWN.to_owned() } else { frame.to_owned() };
                    (stack.split(';').map(named).collect::<Vec<_>>().join(";"), i128::from(*count))
                })
                .collect();
            sum_equal(&mut expected);
            let expected: String = (expected.iter().filter(|(_, sum)| *sum != 0))
                .map(|(stack, sum)| format!("{stack} {sum}\n"))
                .collect();
            prop_assert_eq!(write(&read(&text)), expected);
        }

        #[test]
        fn prop_any_bytes_decode_or_say_why(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, &Limits::default());
            let _ = decode_lines(&bytes, &Limits::default(), &Unlimited);
        }
    }
}
