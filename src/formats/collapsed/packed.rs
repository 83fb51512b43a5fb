//! Stacks as agents of Pyroscope packed them, each name once: in a `trie` as texts that begin alike, in a `tree` as frames.
//!
//! Both are nodes in the order of a walk down: the length of the name, the name, a value, and how many children follow; all
//! numbers are varints. In a trie the names on the way to a node are the text of a stack, wherever it was cut; in a tree each
//! is a frame. The first node is the root of all, and has no name.

use super::Decoder;
use crate::formats::limits::RATIO_FLOOR;
use crate::formats::room::Room;
use crate::formats::wire::Reader;
use crate::formats::{DecodeError, Decoded, Format, Limit, Limits};

/// Reads a trie, with memory from `room`.
pub fn decode_trie(bytes: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    decode(bytes, Format::Trie, limits, room)
}

/// Reads a tree, with memory from `room`.
pub fn decode_tree(bytes: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    decode(bytes, Format::Tree, limits, room)
}

/// A node whose children are not all read.
struct Open {
    children: u64,
    /// How long the way to it is without it.
    before: usize,
}

fn decode(bytes: &[u8], format: Format, limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder::new(format, limits, room);
    let mut reader = Reader::new(bytes);
    let mut open: Vec<Open> = Vec::new();
    let mut way = Vec::new();
    let (mut frames, mut unpacked) = (Vec::new(), 0usize);
    loop {
        let before = way.len();
        let node = Node::read(&mut reader).map_err(|(at, problem)| DecodeError::malformed(format, at, problem))?;
        // the root and those below it are not behind anything
        if format == Format::Tree && (open.len() > 1 || before > 0) {
            way.push(b';');
        }
        way.extend_from_slice(node.name);
        decoder.ask(way.len() * super::WITH_MAPS + open.len() * 2 * size_of::<Open>())?;
        if node.value > 0 {
            unpacked = unpacked.saturating_add(way.len());
            if let Some(limit) = passed(unpacked, bytes.len(), limits) {
                return Err(decoder.too_large(limit, "stacks of too many bytes"));
            }
            decoder.sample(&way, node.value, &mut frames)?;
        }
        match node.children {
            0 => way.truncate(before),
            children => open.push(Open { children, before }),
        }
        if node.children == 0 && !goes_on(&mut open, &mut way) {
            break;
        }
    }
    if !reader.is_empty() {
        return Err(DecodeError::malformed(
            format,
            reader.offset(),
            "more behind the last node",
        ));
    }
    decoder.finish()
}

/// The limit that so many bytes pass when they come out of so few: that of any compression.
fn passed(unpacked: usize, packed: usize, limits: &Limits) -> Option<Limit> {
    let by_ratio = packed.saturating_mul(limits.ratio).max(RATIO_FLOOR);
    if unpacked > limits.decompressed_bytes {
        return Some(Limit::Decompressed);
    }
    (unpacked > by_ratio).then_some(Limit::Ratio)
}

/// Goes back up to the node whose child comes next; false if there is none.
fn goes_on(open: &mut Vec<Open>, way: &mut Vec<u8>) -> bool {
    while let Some(parent) = open.last_mut() {
        parent.children -= 1;
        if parent.children > 0 {
            return true;
        }
        way.truncate(parent.before);
        open.pop();
    }
    false
}

struct Node<'a> {
    name: &'a [u8],
    value: i64,
    children: u64,
}

impl<'a> Node<'a> {
    /// Where something is wrong and what, if it is no node.
    fn read(reader: &mut Reader<'a>) -> Result<Self, (usize, &'static str)> {
        let at = reader.offset();
        let number = |reader: &mut Reader<'a>| reader.varint().map_err(|error| (error.offset, error.problem));
        let length = usize::try_from(number(reader)?).unwrap_or(usize::MAX);
        let name = reader.take(length).ok_or((at, "a name that reaches past the end"))?;
        let value = i64::try_from(number(reader)?).map_err(|_| (at, "a value beyond 64 bits"))?;
        let children = number(reader)?;
        Ok(Self { name, value, children })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::Fault;
    use crate::formats::collapsed::{decode as decode_text, encode};
    use crate::formats::room::Unlimited;

    /// A node as agents wrote it.
    fn node(name: &str, value: u64, children: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let varint = |bytes: &mut Vec<u8>, mut number: u64| {
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        };
        varint(&mut bytes, name.len() as u64);
        bytes.extend(name.as_bytes());
        varint(&mut bytes, value);
        varint(&mut bytes, children.len() as u64);
        bytes.extend(children.concat());
        bytes
    }

    fn write(decoded: &Decoded) -> String {
        let profile = decoded.profiles.iter().next().unwrap().profile;
        encode(decoded.profiles.dictionary(), profile, 0, usize::MAX).unwrap()
    }

    fn trie(bytes: &[u8]) -> String {
        write(&decode_trie(bytes, &Limits::default(), &Unlimited).unwrap())
    }

    fn tree(bytes: &[u8]) -> String {
        write(&decode_tree(bytes, &Limits::default(), &Unlimited).unwrap())
    }

    #[test]
    fn texts_of_a_trie_are_cut_anywhere() {
        let bytes = node(
            "",
            0,
            &[
                node(
                    "main;w",
                    0,
                    &[node("ork", 300, &[node(";deep", 1, &[])]), node("ait", 2, &[])],
                ),
                node("idle", 7, &[]),
            ],
        );
        assert_eq!(trie(&bytes), "idle 7\nmain;wait 2\nmain;work 300\nmain;work;deep 1\n");
    }

    #[test]
    fn names_of_a_tree_are_frames() {
        let bytes = node(
            "",
            0,
            &[
                node(
                    "main",
                    1,
                    &[node("work", 300, &[node("deep", 1, &[])]), node("", 2, &[])],
                ),
                node("idle", 7, &[]),
            ],
        );
        assert_eq!(
            tree(&bytes),
            "idle 7\nmain 1\nmain;[unknown] 2\nmain;work 300\nmain;work;deep 1\n"
        );
    }

    #[test]
    fn bad_bytes_are_named_and_never_quoted() {
        let fault = |bytes: &[u8]| {
            let error = decode_trie(bytes, &Limits::default(), &Unlimited)
                .map(|_| ())
                .unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            (error.offset, error.fault)
        };
        let good = node("", 0, &[node("secret", 1, &[])]);
        assert_eq!(fault(&good[..5]), (Some(3), Fault::Malformed));
        assert_eq!(
            fault(&[good.clone(), good.clone()].concat()),
            (Some(good.len()), Fault::Malformed)
        );
        assert_eq!(fault(&node("", 0, &[])), (Some(0), Fault::Malformed));
        assert_eq!(fault(&node("a", u64::MAX, &[])), (Some(0), Fault::Malformed));
        assert_eq!(fault(b"").1, Fault::Malformed);
    }

    #[test]
    fn what_is_unpacked_is_bounded() {
        let long = "f;".repeat(1_000);
        let leaves: Vec<Vec<u8>> = (0..1_000).map(|_| node("", 1, &[])).collect();
        let bytes = node("", 0, &[node(&long, 0, &leaves)]);
        let limits = Limits {
            decompressed_bytes: 1_000_000,
            ..Limits::default()
        };
        let fault = |limits: &Limits| {
            let read = decode_trie(&bytes, limits, &Unlimited);
            read.map(|_| ()).map_err(|error| error.fault)
        };
        assert_eq!(fault(&Limits::default()), Ok(()));
        assert_eq!(fault(&limits), Err(Fault::TooLarge(Limit::Decompressed)));
        let dense = Limits {
            ratio: 100,
            ..Limits::default()
        };
        assert_eq!(fault(&dense), Err(Fault::TooLarge(Limit::Ratio)));
        let shallow = Limits {
            stack_depth: 100,
            ..Limits::default()
        };
        assert_eq!(fault(&shallow), Err(Fault::TooLarge(Limit::StackDepth)));
        // children that never come
        let promised = [&[0, 0][..], &[0xff; 9], &[1]].concat();
        let error = decode_trie(&promised, &Limits::default(), &Unlimited)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.fault, Fault::Malformed);
    }

    proptest! {
        #[test]
        fn prop_packed_stacks_are_what_their_text_is(
            stacks in proptest::collection::vec(("[a-c]{1,2}(;[a-c]{1,2}){0,4}", 1u64..50), 1..30)
        ) {
            let text: String = stacks.iter().map(|(stack, count)| format!("{stack} {count}\n")).collect();
            let expected = write(&decode_text(text.as_bytes(), &Limits::default()).unwrap());
            let flat: Vec<Vec<u8>> = stacks.iter().map(|(stack, count)| node(stack, *count, &[])).collect();
            prop_assert_eq!(trie(&node("", 0, &flat)), expected.clone());
            let nested: Vec<Vec<u8>> = stacks.iter().map(|(stack, count)| {
                let mut frames = stack.split(';').rev();
                let leaf = node(frames.next().unwrap(), *count, &[]);
                frames.fold(leaf, |below, frame| node(frame, 0, &[below]))
            }).collect();
            prop_assert_eq!(tree(&node("", 0, &nested)), expected);
        }

        #[test]
        fn prop_any_bytes_decode_or_say_why(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_trie(&bytes, &Limits::default(), &Unlimited);
            let _ = decode_tree(&bytes, &Limits::default(), &Unlimited);
        }
    }
}
