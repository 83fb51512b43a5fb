//! The order in which locations, stacks and samples are written. It has no meaning, but it decides how small the bytes become: locations
//! that come often get the short numbers, and stacks that are alike stand together, where a compressor finds what they share.

use super::wire::{ShortVarint, Writer};
use crate::profile::{Dictionary, LocationId, StackId};

/// How many numbers from 1 on take one byte on the wire, and how many two.
const OF_ONE_BYTE: usize = 0x7f;
const OF_TWO_BYTES: usize = 0x3fff - OF_ONE_BYTE;

/// Locations keep their order if another one saves less than such a part of the frames: their own is often alike in its neighbours.
const WORTH_A_NEW_ORDER: usize = 32;

/// As many stacks for each set of attributes, and for each link, leave little else to say.
const STACKS_FOR_SET: usize = 8;

/// As many frames for each location mean that stacks have much in common.
const FRAMES_FOR_LOCATION: usize = 32;

/// So many frames are counted in no time; of more only those of stacks that have much in common.
const SOON_COUNTED: usize = 1 << 16;

/// Fewer are sorted sooner by comparing them.
const FEW: usize = 256;

/// Those of the locations that are in stacks that are written, each so many times, in the order of their table; where it pays, those
/// in front that come so often that they should have short numbers. What was written so and is read again keeps its order.
pub(super) fn often_first(
    dictionary: &Dictionary,
    locations: impl Iterator<Item = LocationId>,
    times: impl Fn(StackId) -> u32,
) -> Vec<LocationId> {
    let stacks = &dictionary.stacks;
    if stacks.items().len() > SOON_COUNTED && !have_much_in_common(dictionary) {
        return in_use(dictionary, locations, |stack| times(stack) > 0);
    }
    let mut frequencies = Frequencies::new(dictionary);
    for stack in stacks.ids() {
        frequencies.add(stack, times(stack));
    }
    frequencies.often_first(locations)
}

/// Those of the locations that are in these stacks.
fn in_use(
    dictionary: &Dictionary,
    locations: impl Iterator<Item = LocationId>,
    is_used: impl Fn(StackId) -> bool,
) -> Vec<LocationId> {
    let stacks = &dictionary.stacks;
    if stacks.do_reach_all_of(dictionary.locations.len()) && stacks.ids().skip(1).all(&is_used) {
        // no early end, so that many are compared at once
        let has_unset = stacks
            .items()
            .iter()
            .fold(false, |any, location| any | !location.is_set());
        return locations.filter(|location| location.is_set() || has_unset).collect();
    }
    let mut are_used = vec![false; dictionary.locations.len()];
    for stack in stacks.ids().filter(|stack| is_used(*stack)) {
        for location in &stacks[stack] {
            if let Some(is_used) = are_used.get_mut(location.index()) {
                *is_used = true;
            }
        }
    }
    locations
        .filter(|location| are_used.get(location.index()).copied().unwrap_or_default())
        .collect()
}

/// How often each location comes in stacks.
struct Frequencies<'a> {
    dictionary: &'a Dictionary,
    counts: Vec<u32>,
}

impl<'a> Frequencies<'a> {
    /// None was counted yet.
    fn new(dictionary: &'a Dictionary) -> Self {
        Self {
            dictionary,
            counts: vec![0; dictionary.locations.len()],
        }
    }

    /// Counts the frames of a stack that is written so many times.
    fn add(&mut self, stack: StackId, times: u32) {
        if times == 0 {
            return;
        }
        for location in &self.dictionary.stacks[stack] {
            if let Some(count) = self.counts.get_mut(location.index()) {
                *count = count.saturating_add(times);
            }
        }
    }

    fn often_first(&self, locations: impl Iterator<Item = LocationId>) -> Vec<LocationId> {
        let came: Vec<LocationId> = locations.filter(|location| self.of(*location) > 0).collect();
        let mut counts: Vec<u32> = came.iter().map(|location| self.of(*location)).collect();
        let as_they_came = bytes_in_order(&counts);
        if as_they_came - frame_bytes(&mut counts) < as_they_came / WORTH_A_NEW_ORDER {
            return came;
        }
        let (mut ordered, others) = self.split(came, OF_ONE_BYTE);
        let (often, seldom) = self.split(others, OF_TWO_BYTES);
        ordered.extend(often);
        ordered.extend(seldom);
        ordered
    }

    /// The `most` that came most often, of equal ones the first, and the others.
    fn split(&self, locations: Vec<LocationId>, most: usize) -> (Vec<LocationId>, Vec<LocationId>) {
        if locations.len() <= most {
            return (locations, Vec::new());
        }
        let mut counts: Vec<u32> = locations.iter().map(|location| self.of(*location)).collect();
        let (above, least, _) = counts.select_nth_unstable_by(most, |a, b| b.cmp(a));
        let mut room = most - above.iter().filter(|count| *count > least).count();
        locations.into_iter().partition(|location| {
            let count = self.of(*location);
            let has_room = count == *least && room > 0;
            room -= usize::from(has_room);
            count > *least || has_room
        })
    }

    fn of(&self, location: LocationId) -> u32 {
        self.counts.get(location.index()).copied().unwrap_or_default()
    }
}

/// The least bytes that all frames can take on the wire, told by how often each location comes: those that come often have short numbers.
pub(super) fn frame_bytes(counts: &mut [u32]) -> usize {
    let mut rest = &mut *counts;
    for numbers in [OF_ONE_BYTE, OF_TWO_BYTES] {
        if rest.len() > numbers {
            rest.select_nth_unstable_by(numbers, |a, b| b.cmp(a));
        }
        rest = rest.split_at_mut(rest.len().min(numbers)).1;
    }
    bytes_in_order(counts)
}

/// The same where locations are numbered from 1 in this order.
fn bytes_in_order(counts: &[u32]) -> usize {
    let all = |counts: &[u32]| counts.iter().map(|count| *count as usize).sum::<usize>();
    let longer = |numbers| counts.get(numbers..).map_or(0, all);
    all(counts) + longer(OF_ONE_BYTE) + longer(OF_ONE_BYTE + OF_TWO_BYTES)
}

/// Whether stacks have much in common, and samples seldom more to say than their stack, so that another order than theirs pays: what lies
/// beside that of the sample before is soon found, and elsewhere memory is waited for.
pub(super) fn pays(dictionary: &Dictionary, stacks: usize) -> bool {
    let said = dictionary.attribute_sets.len().max(dictionary.links.len());
    said <= stacks / STACKS_FOR_SET && have_much_in_common(dictionary)
}

fn have_much_in_common(dictionary: &Dictionary) -> bool {
    dictionary.stacks.items().len() / FRAMES_FOR_LOCATION >= dictionary.locations.len()
}

/// The places of these stacks, so that those of one leaf stand together, and of these those of one depth. `numbers` are those of the
/// locations on the wire.
pub(super) fn alike_together(dictionary: &Dictionary, numbers: &[u32], these: &[StackId]) -> Vec<usize> {
    let keys = these.iter().map(|stack| {
        let frames = &dictionary.stacks[*stack];
        let leaf = frames.first().and_then(|leaf| numbers.get(leaf.index()));
        // of a number that does not fit the rest will do: stacks of two leaves stand together then, and no more
        leaf.copied().unwrap_or_default() << 12 | frames.len().min(0xfff) as u32
    });
    by_key(keys).into_iter().map(|(_, place)| place as usize).collect()
}

/// The stacks as they are written, as field 1 of a message.
pub(super) struct Stacks<'a> {
    dictionary: &'a Dictionary,
    numbers: Vec<ShortVarint>,
    made: Option<Made>,
}

/// All of them, made in the order of their table, as memory likes it, to be taken in any.
struct Made {
    bytes: Vec<u8>,
    /// By stack, where its bytes end and those of the next begin.
    ends: Vec<usize>,
}

impl<'a> Stacks<'a> {
    /// `numbers` are those of the locations.
    pub(super) fn new(dictionary: &'a Dictionary, numbers: &[u32]) -> Self {
        Self {
            dictionary,
            numbers: numbers.iter().map(|id| ShortVarint::new(u64::from(*id))).collect(),
            made: None,
        }
    }

    /// Makes those that are `wanted` before they are written. False if they alone are more than the `most` bytes that may be.
    pub(super) fn make(&mut self, most: usize, wanted: impl Fn(StackId) -> bool) -> bool {
        let stacks = &self.dictionary.stacks;
        let these = || stacks.ids().filter(|stack| wanted(*stack));
        let frames: usize = these().map(|stack| stacks[stack].len()).sum();
        // most frames take one byte
        let mut out = Writer::within(most, frames + frames / 4 + 2 * these().count());
        let mut ends = Vec::with_capacity(stacks.len());
        for stack in stacks.ids() {
            if wanted(stack) {
                self.write(stack, &mut out);
            }
            if out.is_full() {
                return false;
            }
            ends.push(out.len());
        }
        let bytes = out.finish();
        self.made = Some(Made { bytes, ends });
        true
    }

    #[inline]
    pub(super) fn write(&self, stack: StackId, out: &mut Writer) {
        match &self.made {
            Some(made) => out.raw(made.bytes(stack)),
            None => {
                let number = |location: &LocationId| self.numbers.get(location.index()).copied().unwrap_or_default();
                out.packed_ids(1, self.dictionary.stacks[stack].iter().map(number));
            }
        }
    }
}

impl Made {
    fn bytes(&self, stack: StackId) -> &[u8] {
        let start = stack.index().checked_sub(1).and_then(|before| self.ends.get(before));
        let range = start.copied().unwrap_or_default()..self.ends.get(stack.index()).copied().unwrap_or_default();
        self.bytes.get(range).unwrap_or_default()
    }
}

/// Keys with their places, in the order of the keys; those of equal ones keep theirs.
pub(super) fn by_key(keys: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut sorted: Vec<(u32, u32)> = keys.zip(0..).collect();
    match sorted.len() {
        _ if sorted.is_sorted() => {}
        ..FEW => sorted.sort_unstable(),
        _ => sort_by_digits(&mut sorted),
    }
    sorted
}

/// Byte by byte from the lowest: a third to a half of the time that comparing takes.
fn sort_by_digits(rows: &mut Vec<(u32, u32)>) {
    let mut sorted = vec![(0, 0); rows.len()];
    for shift in [0, 8, 16, 24] {
        let digit = |key: u32| (key >> shift) as usize & 0xff;
        let mut places = [0usize; 256];
        for (key, _) in rows.iter() {
            if let Some(count) = places.get_mut(digit(*key)) {
                *count += 1;
            }
        }
        if places.contains(&rows.len()) {
            continue;
        }
        let mut start = 0;
        for place in &mut places {
            start += std::mem::replace(place, start);
        }
        for row in rows.iter() {
            if let Some(place) = places.get_mut(digit(row.0))
                && let Some(slot) = sorted.get_mut(*place)
            {
                *slot = *row;
                *place += 1;
            }
        }
        std::mem::swap(rows, &mut sorted);
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::formats::compress::compress;
    use crate::formats::{Compression, Format, Limits, any};
    use crate::testing::corpus_file;

    /// Stacks of these depths, whose frames are locations that come ever more seldom.
    fn made(locations: u64, depths: &[u8]) -> Dictionary {
        let mut d = Dictionary::default();
        for address in 1..=locations {
            d.push_location(
                crate::profile::Location {
                    address,
                    ..Default::default()
                },
                &[],
            );
        }
        let mut state = 1u64;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for depth in depths {
            for _ in 0..*depth {
                let rare = next(locations + 1) + 1;
                // from the last rows on, as the first have short numbers without any doing
                let location = d.locations.id(locations - next(rare)).unwrap_or_default();
                d.stacks.add(location);
            }
            d.stacks.close();
        }
        d
    }

    fn width(number: usize) -> usize {
        match number {
            0..0x80 => 1,
            0x80..0x4000 => 2,
            _ => 3,
        }
    }

    fn check_numbers(d: &Dictionary) -> Result<(), TestCaseError> {
        let ordered = often_first(d, d.locations.ids(), |_| 1);
        let mut counts = vec![0u32; d.locations.len()];
        d.stacks
            .items()
            .iter()
            .for_each(|location| counts[location.index()] += 1);

        let came = d.locations.ids().filter(|location| counts[location.index()] > 0);
        let mut in_table_order = ordered.clone();
        in_table_order.sort();
        prop_assert_eq!(in_table_order, came.collect::<Vec<_>>());
        let written: usize = ordered
            .iter()
            .zip(1..)
            .map(|(location, number)| width(number) * counts[location.index()] as usize)
            .sum();
        counts.sort_by_key(|count| Reverse(*count));
        let least: usize = counts
            .iter()
            .zip(1..)
            .map(|(count, number)| width(number) * *count as usize)
            .sum();
        prop_assert!(written - least <= written / WORTH_A_NEW_ORDER);
        prop_assert_eq!(frame_bytes(&mut counts), least);
        Ok(())
    }

    #[test]
    fn a_dictionary_of_very_many_locations_has_the_least_bytes() {
        check_numbers(&made(17_000, &[255; 2_200])).unwrap();
    }

    #[test]
    fn locations_of_many_frames_that_have_little_in_common_keep_their_order() {
        let d = made(40_000, &[255; 300]);
        let mut came: Vec<LocationId> = d.stacks.items().to_vec();
        came.sort();
        came.dedup();
        assert_eq!(often_first(&d, d.locations.ids(), |_| 1), came);
        // nor is one written that only other stacks have
        let last = d.stacks.ids().last();
        let mut of_last = last.map_or(Vec::new(), |stack| d.stacks[stack].to_vec());
        of_last.sort();
        of_last.dedup();
        assert_eq!(
            often_first(&d, d.locations.ids(), |stack| u32::from(Some(stack) == last)),
            of_last
        );
    }

    #[test]
    fn what_is_known_of_locations_is_what_a_walk_finds() {
        let mut d = made(3_000, &[255; 300]);
        let all: Vec<LocationId> = d.locations.ids().skip(1).collect();
        d.stacks.push(&all);
        let walked = often_first(&d, d.locations.ids(), |_| 1);
        assert_eq!(walked.len(), d.locations.len() - 1);
        d.stacks.reach_all_of(d.locations.len());
        assert_eq!(often_first(&d, d.locations.ids(), |_| 1), walked);
        // but not of those in some of the stacks
        let is_written = |stack: StackId| u32::from(stack.raw() == 1);
        let in_first: HashSet<LocationId> = d.stacks.items().iter().take(255).copied().collect();
        assert_eq!(often_first(&d, d.locations.ids(), is_written).len(), in_first.len());
        // a frame without a location is one
        d.stacks.push(&[LocationId::UNSET]);
        let with_unset = often_first(&d, d.locations.ids(), |_| 1);
        assert_eq!(with_unset.len(), d.locations.len());
    }

    proptest! {
        #[test]
        fn prop_no_other_numbers_take_fewer_bytes(locations in 1u64..600, depths in prop::collection::vec(any::<u8>(), 0..40)) {
            check_numbers(&made(locations, &depths))?;
        }

        #[test]
        fn prop_rows_are_in_the_order_of_their_keys(keys in prop::collection::vec(any::<u32>().prop_flat_map(|n| 0..=n), 0..1000)) {
            let mut expected: Vec<(u32, u32)> = keys.iter().copied().zip(0..).collect();
            expected.sort();
            prop_assert_eq!(by_key(keys.into_iter()), expected);
        }

        #[test]
        fn prop_stacks_are_taken_as_they_were_put(depths in prop::collection::vec(any::<u8>(), 0..40), unwanted: prop::sample::Index) {
            let d = made(300, &depths);
            let numbers: Vec<u32> = d.locations.ids().map(|location| location.raw() * 3).collect();
            let unwanted = d.stacks.id(unwanted.index(d.stacks.len()) as u64);
            let is_wanted = |stack| Some(stack) != unwanted;
            let mut made = Stacks::new(&d, &numbers);
            prop_assert!(made.make(usize::MAX, is_wanted));
            let (mut all, as_they_are) = (0, Stacks::new(&d, &numbers));
            for stack in d.stacks.ids().filter(|stack| is_wanted(*stack)) {
                let (mut expected, mut before, mut at_once) = (Writer::default(), Writer::default(), Writer::default());
                expected.packed(1, d.stacks[stack].iter().map(|location| u64::from(location.raw()) * 3));
                made.write(stack, &mut before);
                as_they_are.write(stack, &mut at_once);
                all += expected.len();
                let expected = expected.finish();
                prop_assert_eq!(&before.finish(), &expected);
                prop_assert_eq!(at_once.finish(), expected);
            }
            let fits = |most| Stacks::new(&d, &numbers).make(most, is_wanted);
            prop_assert!(fits(all) && (all == 0 || !fits(all - 1)));
        }
    }

    /// Against the bytes as their writer ordered them.
    #[test]
    fn recordings_become_smaller() {
        for (name, most) in [
            ("pprof/go123-large-heap.pb.gz", 0.70),
            ("pprof/go123-large-cpu-traces.pb.gz", 0.90),
            ("legacy-pprof/ext-large.cpu.gz", 0.96),
        ] {
            let Some(packed) = corpus_file(name) else {
                continue;
            };
            let Ok(mut read) = any::decode_any(packed.into(), &Limits::default()) else {
                panic!("{name}")
            };
            // as at the end of a chain
            read.decoded.profiles.compact();
            let written = any::encode(Format::Pprof, &read.decoded.profiles, usize::MAX).unwrap();
            let size = |plain: &[u8]| compress(plain, Compression::Gzip(6)).len() as f64;
            let ratio = size(&written) / size(&read.plain);
            assert!(ratio < most, "{name}: {ratio}");
        }
    }
}
