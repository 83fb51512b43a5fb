use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::formats::{Limits, any};
use crate::profile::{Interner, Line, Location, ValueType};

impl Counters {
    /// So many of them.
    pub(in super::super) fn of_test(counters: u64) -> Self {
        Self::of(1, (0..counters).map(|key| (key, 1)).collect())
    }
}

/// A stack, a label, what was allocated and what is in use.
type Row = (u8, i64, i64, i64);

const TYPES: [(&str, &str); 3] = [
    ("alloc_objects", "count"),
    ("inuse_space", "bytes"),
    ("alloc_space", "bytes"),
];

fn function(interner: &mut Interner, name: &str) -> crate::profile::FunctionId {
    let name = interner.string(name);
    interner.function(crate::profile::Function {
        name,
        ..Default::default()
    })
}

/// A heap as Go writes it. `first` tables are filled with, so that ids differ from one heap to the next.
fn heap(rows: &[Row], time: u64, first: &str) -> Profiles {
    let mut interner = Interner::new();
    function(&mut interner, first);
    let mut value_type = |(kind, unit): (&str, &str)| ValueType {
        kind: interner.string(kind),
        unit: interner.string(unit),
    };
    let sample_types = TYPES.map(&mut value_type).to_vec();
    let (mut samples, mut values) = (Samples::default(), Vec::new());
    for (stack, label, alloc, inuse) in rows {
        let mut locations = Vec::new();
        for name in ["leaf".to_owned(), format!("f{stack}"), "main".to_owned()] {
            let function = function(&mut interner, &name);
            let line = Line {
                function,
                line: 7,
                column: 0,
            };
            locations.push(interner.location(Location::default(), &[line]));
        }
        samples.stacks.push(interner.stack(&locations));
        let key = interner.string("bytes");
        let of_size = interner.attribute(Attribute {
            key,
            value: Value::Int(*label),
            ..Attribute::default()
        });
        let of_name = interner.text_attribute("who", if *label > 1 { "a" } else { "b" });
        // in this order or in that
        let labels = if time.is_multiple_of(2) {
            [of_size, of_name]
        } else {
            [of_name, of_size]
        };
        samples.attributes.push(interner.attribute_set(&labels));
        samples.links.push(crate::profile::Id::UNSET);
        values.extend([*alloc, *inuse, 8 * alloc]);
    }
    samples.observations = Observations::Totals(values);
    let default_sample_type = interner.string("alloc_space");
    let profile = Profile {
        sample_types,
        default_sample_type,
        samples: Arc::new(samples),
        time_unix_nano: time,
        ..Profile::default()
    };
    Profiles::of(interner.finish(), vec![profile])
}

/// What a heap holds, by type, stack and label.
fn told(profiles: &Profiles) -> BTreeMap<(String, String, i64), i64> {
    let d = profiles.dictionary();
    let mut told = BTreeMap::new();
    for at in profiles.iter() {
        let (samples, types) = (&at.profile.samples, &at.profile.sample_types);
        for row in 0..samples.len() {
            let middle = d.stacks[samples.stacks[row]][1];
            let name = d.str(d.functions[d.lines[middle][0].function].name);
            let Some(Value::Int(label)) = d.attribute(samples.attributes[row], "bytes") else {
                panic!("a label")
            };
            for (column, of) in types.iter().enumerate() {
                let value = samples.total(row, column, types.len());
                if value != 0 {
                    *told
                        .entry((d.str(of.kind).to_owned(), name.to_owned(), *label))
                        .or_default() += value;
                }
            }
        }
    }
    told
}

struct Scraper {
    hasher: RandomState,
    before: Option<Counters>,
}

impl Scraper {
    fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            before: None,
        }
    }

    fn scrape(&mut self, mut profiles: Profiles) -> (Compared, Profiles) {
        let permit = Permit::unlimited();
        let answer = subtract(&mut profiles, self.before.as_ref(), &self.hasher, &permit).unwrap();
        assert_eq!(permit.bytes(), 0, "what was taken for the work is given back");
        let (compared, counters) = answer.unwrap();
        self.before = Some(counters);
        (compared, profiles)
    }
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    // few stacks and labels, so that they repeat: Go writes one stack several times
    prop::collection::vec((0..6_u8, 0..3_i64, 0..100_i64, -5..50_i64), 1..30)
}

proptest! {
    #[test]
    fn prop_the_first_scrape_and_all_differences_are_the_last_one(
        start in any_rows(),
        steps in prop::collection::vec(any_rows(), 1..6),
    ) {
        let mut scraper = Scraper::new();
        let (compared, first) = scraper.scrape(heap(&start, 1_000, "x"));
        prop_assert_eq!(compared, Compared::First);
        prop_assert!(told(&first).keys().all(|(kind, _, _)| kind == "inuse_space"));
        let counters = |profiles: &Profiles| -> BTreeMap<_, _> {
            told(profiles).into_iter().filter(|((kind, _, _), _)| kind.starts_with("alloc")).collect()
        };
        let mut sum = counters(&heap(&start, 0, ""));
        let mut rows = start;
        for (number, step) in steps.into_iter().enumerate() {
            // what was there goes on counting, in another order; what is in use is as it is
            rows.rotate_left(1);
            rows.iter_mut().for_each(|row| row.3 = 0);
            rows.extend(step);
            let now = heap(&rows, 2_000 + number as u64, &format!("y{number}"));
            let (compared, added) = scraper.scrape(now.clone());
            prop_assert_eq!(compared, Compared::Subtracted);
            for (key, value) in counters(&added) {
                prop_assert!(value > 0);
                *sum.entry(key).or_default() += value;
            }
            prop_assert_eq!(&sum, &counters(&now));
            let in_use = |profiles: &Profiles| -> BTreeMap<_, _> {
                told(profiles).into_iter().filter(|((kind, _, _), _)| kind == "inuse_space").collect()
            };
            prop_assert_eq!(in_use(&added), in_use(&now));
        }
    }
}

#[test]
fn a_difference_is_of_the_time_between_two_scrapes() {
    let mut scraper = Scraper::new();
    let (_, first) = scraper.scrape(heap(&[(1, 1, 5, 2)], 1_000, ""));
    let at = |profiles: &Profiles| {
        let profile = profiles.iter().next().unwrap().profile.clone();
        (profile.time_unix_nano, profile.duration_nano)
    };
    assert_eq!(at(&first), (1_000, 0));
    let (_, second) = scraper.scrape(heap(&[(1, 1, 7, 2)], 61_000, ""));
    assert_eq!(at(&second), (1_000, 60_000));
    let (_, clock_was_set_back) = scraper.scrape(heap(&[(1, 1, 9, 2)], 500, ""));
    assert_eq!(at(&clock_was_set_back), (500, 0));
}

#[test]
fn a_process_that_was_started_anew_passes_on_no_counters() {
    for after in [
        &[(1, 1, 4, 2), (2, 1, 900, 1)][..], // one shrank, though the sum grew
        &[(2, 1, 900, 1)],                   // one is gone
        &[(1, 2, 5, 3), (2, 1, 900, 1)],     // another label is another stack
    ] {
        let mut scraper = Scraper::new();
        scraper.scrape(heap(&[(1, 1, 5, 2)], 1_000, ""));
        let (compared, profiles) = scraper.scrape(heap(after, 2_000, ""));
        assert_eq!(compared, Compared::Restarted);
        assert!(
            told(&profiles).keys().all(|(kind, _, _)| kind == "inuse_space"),
            "{after:?}"
        );
        let (compared, profiles) = scraper.scrape(heap(after, 3_000, ""));
        assert_eq!(
            (compared, told(&profiles).len()),
            (Compared::Subtracted, after.len()),
            "only what is in use"
        );
    }
}

#[test]
fn without_counters_a_profile_has_no_types_of_them() {
    let (_, first) = Scraper::new().scrape(heap(&[(1, 1, 5, 2), (2, 1, 5, 0)], 1_000, ""));
    let profile = first.iter().next().unwrap().profile;
    assert_eq!((profile.sample_types.len(), profile.samples.len()), (1, 1));
    assert!(!profile.default_sample_type.is_set(), "the default was a counter");
    assert_eq!(profile.samples.observations, Observations::Totals(vec![2]));
}

fn recording(name: &str) -> Profiles {
    let read = any::decode_any(crate::testing::data(name).into(), &Limits::default());
    read.unwrap_or_else(|error| panic!("{error}")).decoded.profiles
}

#[test]
fn recordings_of_go_are_compared_with_themselves() {
    let mut scraper = Scraper::new();
    let types = |profiles: &Profiles| -> Vec<(String, i128)> {
        let at = profiles.iter().next().unwrap();
        let types = at.profile.sample_types.iter().enumerate();
        let sum = |column| at.profile.samples.sum(column, at.profile.sample_types.len());
        let d = profiles.dictionary();
        types
            .map(|(column, of)| (d.str(of.kind).to_owned(), sum(column)))
            .collect()
    };
    let whole = types(&recording("go123-heap.pb.gz"));
    let in_use: Vec<_> = whole
        .iter()
        .filter(|(kind, _)| kind.starts_with("inuse"))
        .cloned()
        .collect();
    let (compared, first) = scraper.scrape(recording("go123-heap.pb.gz"));
    assert_eq!((compared, types(&first)), (Compared::First, in_use.clone()));
    let (compared, again) = scraper.scrape(recording("go123-heap.pb.gz"));
    assert_eq!(compared, Compared::Subtracted);
    let nothing_added = types(&again).into_iter().filter(|(kind, _)| kind.starts_with("alloc"));
    assert_eq!(nothing_added.map(|(_, sum)| sum).collect::<Vec<_>>(), [0, 0]);
    assert_eq!(
        types(&again)
            .into_iter()
            .filter(|(_, sum)| *sum != 0)
            .collect::<Vec<_>>(),
        in_use
    );

    for name in ["go123-mutex.pb.gz", "go123-block.pb.gz"] {
        let mut scraper = Scraper::new();
        let (compared, first) = scraper.scrape(recording(name));
        assert!(compared == Compared::First && first.is_empty(), "{name}");
        assert!(scraper.scrape(recording(name)).1.is_empty(), "{name}");
    }
}

#[test]
fn what_counts_nothing_is_left_alone() {
    for name in [
        "go123-cpu-labels.pb.gz",
        "go123-threadcreate.pb.gz",
        "node20-heap.heapprofile",
    ] {
        let mut profiles = recording(name);
        let before = profiles.clone();
        let answer = subtract(&mut profiles, None, &RandomState::new(), &Permit::unlimited());
        assert!(answer.unwrap().is_none(), "{name}");
        assert_eq!(profiles.resources(), before.resources(), "{name}");
    }
}

#[test]
fn a_series_of_moments_is_no_counter() {
    let mut profiles = heap(&[(1, 1, 5, 2)], 1_000, "");
    let profile = &mut profiles.edit_resources()[0].scopes[0].profiles[0];
    profile.sample_types.truncate(1);
    let mut series = crate::profile::Series::default();
    series.push(&[5], &[1_000]);
    Arc::make_mut(&mut profile.samples).observations = Observations::Series(series);
    let answer = subtract(&mut profiles, None, &RandomState::new(), &Permit::unlimited());
    assert!(answer.unwrap().is_none());
    assert_eq!(profiles.sample_count(), 1);
}

#[test]
fn without_memory_there_is_no_comparison() {
    let budget = crate::pipeline::Budget::new(1_000);
    let refused = subtract(
        &mut recording("go123-heap.pb.gz"),
        None,
        &RandomState::new(),
        &budget.permit(),
    );
    assert!(refused.is_err());
}
