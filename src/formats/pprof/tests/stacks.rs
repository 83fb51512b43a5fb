//! Stacks in every way that ids of locations can be written: each is read right, and none is called the only one of its kind that is not.

use std::collections::HashSet;

use proptest::prelude::*;
use prost::Message;

use super::hostile::{location, small};
use super::oracle::RawLocation;
use super::*;
use crate::formats::wire::Writer;
use crate::profile::LocationId;

/// How the ids of a stack are written.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As a list; as Go writes one, behind the values.
    List,
    /// One by one.
    Alone,
    /// As a list of which a number is longer than need be.
    Padded,
    /// As two lists, with the values between them.
    Scattered,
}

const WAYS: [Way; 4] = [Way::List, Way::Alone, Way::Padded, Way::Scattered];

const LOCATIONS: u64 = 200;

fn sample(ids: &[u64], way: Way) -> Vec<u8> {
    let mut w = Writer::default();
    let values = |w: &mut Writer| w.packed(2, [1].into_iter());
    match way {
        Way::List => {
            values(&mut w);
            w.packed(1, ids.iter().copied());
        }
        Way::Alone => {
            ids.iter().for_each(|id| w.uint_always(1, *id));
            values(&mut w);
        }
        Way::Padded => {
            w.message(1, |w| {
                ids.iter()
                    .for_each(|id| w.raw(&[*id as u8 | 0x80, (id >> 7) as u8 | 0x80, 0]))
            });
            values(&mut w);
        }
        Way::Scattered => {
            let (leaf, root) = ids.split_at(ids.len() / 2);
            w.packed(1, leaf.iter().copied());
            values(&mut w);
            w.packed(1, root.iter().copied());
        }
    }
    w.finish()
}

fn written(stacks: &[(Vec<u64>, Way)]) -> Vec<u8> {
    let mut raw = small();
    raw.sample.clear();
    let at_address = |address| RawLocation {
        address,
        ..location(address, 1)
    };
    raw.location = (1..=LOCATIONS).map(at_address).collect();
    let mut bytes = raw.encode_to_vec();
    for (ids, way) in stacks {
        let mut w = Writer::default();
        w.bytes_always(2, &sample(ids, *way));
        bytes.extend(w.finish());
    }
    bytes
}

fn check(stacks: &[(Vec<u64>, Way)]) -> bool {
    let decoded = decode(&written(stacks));
    let d = decoded.profiles.dictionary();
    let read = &decoded.profiles.iter().next().expect("one profile").profile.samples;
    assert_eq!(read.len(), stacks.len());
    for (stack, (ids, way)) in read.stacks.iter().zip(stacks) {
        let frames: Vec<u64> = d.stacks[*stack].iter().map(|frame| u64::from(frame.raw())).collect();
        assert_eq!(frames, *ids, "{way:?}");
    }
    let lists: HashSet<&[LocationId]> = d.stacks.ids().map(|stack| &d.stacks[stack]).collect();
    let are_distinct = d.stacks.are_distinct();
    let reached: HashSet<&LocationId> = d.stacks.items().iter().collect();
    assert_eq!(
        d.stacks.do_reach_all_of(d.locations.len()),
        reached.len() as u64 == LOCATIONS
    );
    assert!(!are_distinct || lists.len() == d.stacks.len());

    let different = stacks.iter().map(|(ids, _)| ids).filter(|ids| !ids.is_empty());
    let different = different.collect::<HashSet<_>>().len();
    let mut profiles = decoded.profiles.clone();
    profiles.compact();
    assert_eq!(profiles.dictionary().stacks.len(), different + 1);
    are_distinct
}

proptest! {
    #[test]
    fn prop_stacks_are_read_whatever_way_they_are_written(
        stacks in prop::collection::vec((prop::collection::vec(1..=4u64, 0..4), prop::sample::select(&WAYS)), 0..40)
    ) {
        check(&stacks);
    }

    #[test]
    fn prop_stacks_as_go_writes_them_are_known_to_be_distinct(
        stacks in prop::collection::vec(prop::collection::vec(1..=LOCATIONS, 0..5), 0..40)
    ) {
        let way = |ids: &Vec<u64>| if ids.len() > 2 { Way::List } else { Way::Alone };
        let stacks: Vec<_> = stacks.into_iter().map(|ids| (ids.clone(), way(&ids))).collect();
        prop_assert!(check(&stacks));
    }
}

/// So many stacks of four frames, of which each comes so often.
fn many(stacks: u64, times: usize) -> Vec<(Vec<u64>, Way)> {
    let digits = |n: u64| {
        [n, n / LOCATIONS, n / LOCATIONS.pow(2), 7]
            .map(|n| n % LOCATIONS + 1)
            .to_vec()
    };
    let all = (0..stacks).map(|n| (digits(n), Way::List));
    std::iter::repeat_n(all, times).flatten().collect()
}

#[test]
fn stacks_are_found_if_the_first_thousand_come_again() {
    assert!(!check(&many(3_000, 2)));
    assert!(check(&many(900, 5)));
    let mut mixed = many(500, 4);
    mixed.extend(many(4_000, 1));
    assert!(check(&mixed));
}

#[test]
fn of_very_many_stacks_of_ids_alone_nobody_says_that_they_are_distinct() {
    let alone = |n: u64| (vec![n % LOCATIONS + 1, n / LOCATIONS + 1], Way::Alone);
    let few: Vec<_> = (0..4_000).map(alone).collect();
    let many: Vec<_> = (0..5_000).chain(0..5_000).map(alone).collect();
    assert!(check(&few));
    assert!(!check(&many));
}

#[test]
fn frames_that_were_not_foreseen_are_read_too() {
    let mut stacks = many(4_500, 1);
    stacks.extend((0..1_500).map(|n| (vec![n % LOCATIONS + 1; 100], Way::List)));
    check(&stacks);
    stacks.reverse();
    check(&stacks);
}
