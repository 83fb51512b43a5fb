//! A message in two, each with half of what a list below it holds and with all that stands beside.

use super::spans::messages;
use crate::formats::wire::{Field, Reader, Writer};

/// The message in two. `path` are the numbers of lists, each in the only item of the one before: the first that has more than one item
/// is cut. None if none has.
pub(super) fn halves(message: Reader<'_>, path: &[u32]) -> Option<[Vec<u8>; 2]> {
    let (number, below) = path.split_first()?;
    let mut items = messages(message, *number);
    let only = items.next()?;
    match items.next() {
        None => Some(around(message, *number, halves(only, below)?)),
        Some(_) => Some(between(message, *number)),
    }
}

/// The message twice, with one half of its only item in each.
fn around(message: Reader<'_>, number: u32, item: [Vec<u8>; 2]) -> [Vec<u8>; 2] {
    item.map(|item| {
        let mut half = Writer::with_capacity(item.len());
        for (field, _, raw) in raw_fields(message) {
            match field == number {
                true => half.bytes_always(number, &item),
                false => half.raw(raw),
            }
        }
        half.finish()
    })
}

/// The message twice, with the items of a list shared out, the first ones in the first, to about half their bytes.
fn between(message: Reader<'_>, number: u32) -> [Vec<u8>; 2] {
    let items = || raw_fields(message).filter(|(field, ..)| *field == number);
    let middle = items().map(|(.., raw)| raw.len()).sum::<usize>() / 2;
    let mut halves = [Writer::default(), Writer::default()];
    let [first, second] = &mut halves;
    let mut passed = 0;
    for (field, _, raw) in raw_fields(message) {
        if field != number {
            first.raw(raw);
            second.raw(raw);
            continue;
        }
        let is_first = passed == 0;
        passed += raw.len();
        match is_first || passed <= middle {
            true => first.raw(raw),
            false => second.raw(raw),
        }
    }
    halves.map(Writer::finish)
}

/// The fields of a message with their bytes, keys and all.
pub(super) fn raw_fields<'a>(mut rest: Reader<'a>) -> impl Iterator<Item = (u32, Field<'a>, &'a [u8])> {
    std::iter::from_fn(move || {
        let before = rest.bytes();
        let (number, field) = rest.field().ok().flatten()?;
        let raw = before.get(..before.len() - rest.bytes().len())?;
        Some((number, field, raw))
    })
}
