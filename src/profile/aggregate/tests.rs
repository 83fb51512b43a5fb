//! What profiles that follow each other become, against sums, last values and means that are counted another way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::covered::Covered;
use super::*;
use crate::profile::testing::any_profiles;
use crate::profile::{Dictionary, Location, Series, Value, ValueType};

const DETAIL: Detail = Detail {
    links: true,
    timestamps: true,
};

/// Adds all profiles of all resources of `parts`, as if they were of one resource.
fn add_all(aggregate: &mut Aggregate, parts: &[Profiles], column: Column, detail: Detail) {
    for part in parts {
        let mut scratch = Scratch::default();
        let Some(resource) = part.resources().first() else {
            continue;
        };
        let addends = part.iter().map(|at| Addend {
            scope: at.scope,
            profile: at.profile,
            columns: vec![column; at.profile.sample_types.len()],
        });
        aggregate.add(part.dictionary(), resource, addends, detail, &mut scratch);
    }
}

fn aggregated(parts: &[Profiles], column: Column, detail: Detail) -> Profiles {
    let mut aggregate = Aggregate::default();
    add_all(&mut aggregate, parts, column, detail);
    aggregate.finish()
}

/// A sample in words: types, stack, labels, link.
type Row = (Vec<String>, Vec<String>, Vec<String>, Option<[u8; 16]>);
/// Sums and moments by sample.
type Told = BTreeMap<Row, (Vec<i128>, Vec<u64>)>;

fn words(d: &Dictionary, profile: &Profile, row: usize, detail: Detail) -> Row {
    let samples = &profile.samples;
    let frame = |id: &crate::profile::LocationId| {
        let lines = d.lines[*id]
            .iter()
            .map(|line| d.str(d.functions[line.function].name).to_owned());
        format!("{:x} {:?}", d.locations[*id].address, lines.collect::<Vec<_>>())
    };
    let label = |id: &crate::profile::AttributeId| {
        let attribute = &d.attributes[*id];
        let value = match &attribute.value {
            Value::String(id) => d.str(*id).to_owned(),
            other => format!("{other:?}"),
        };
        format!("{}={value}", d.str(attribute.key))
    };
    let mut labels: Vec<String> = d.attribute_sets[samples.attributes[row]].iter().map(label).collect();
    labels.sort();
    let link = samples.links[row];
    (
        profile
            .sample_types
            .iter()
            .map(|of| d.str(of.kind).to_owned())
            .collect(),
        d.stacks[samples.stacks[row]].iter().map(frame).collect(),
        labels,
        (detail.links && link.is_set()).then(|| d.links[link].trace_id),
    )
}

fn tell(parts: &[Profiles], detail: Detail) -> Told {
    let mut told = Told::new();
    for part in parts {
        for at in part.iter() {
            let (samples, types) = (&at.profile.samples, at.profile.sample_types.len());
            for row in 0..samples.len() {
                let key = words(part.dictionary(), at.profile, row, detail);
                let (sums, moments) = told.entry(key).or_insert_with(|| (vec![0; types], Vec::new()));
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum += i128::from(samples.total(row, column, types));
                }
                if let (Observations::Series(series), true) = (&samples.observations, detail.timestamps) {
                    moments.extend(series.timestamps(row));
                }
            }
        }
    }
    told.values_mut().for_each(|(_, moments)| moments.sort_unstable());
    told
}

fn details() -> impl Strategy<Value = Detail> {
    (any::<bool>(), any::<bool>()).prop_map(|(links, timestamps)| Detail { links, timestamps })
}

proptest! {
    #[test]
    fn prop_sums_are_those_of_what_came_however_it_is_cut_into_windows(
        parts in proptest::collection::vec(any_profiles(), 0..6), cut in 0usize..6, detail in details(),
    ) {
        let (first, second) = parts.split_at(cut.min(parts.len()));
        let windows = [aggregated(first, Column::Sum, detail), aggregated(second, Column::Sum, detail)];
        prop_assert_eq!(tell(&windows, detail), tell(&parts, detail));
        for window in &windows {
            prop_assert!(window.is_compact());
            let mut again = Profiles::new(window.dictionary().clone(), window.resources().to_vec());
            again.compact();
            prop_assert_eq!(again.dictionary().strings.len(), window.dictionary().strings.len());
            prop_assert_eq!(again.dictionary().stacks.len(), window.dictionary().stacks.len());
            prop_assert_eq!(again.sample_count(), window.sample_count(), "equal samples stand apart");
        }
        // what is left out of the count is left out everywhere
        let received: u64 = parts.iter().filter(|part| !part.is_empty()).map(Profiles::received_count).sum();
        prop_assert_eq!(windows.iter().map(Profiles::received_count).sum::<u64>(), received);
    }

    #[test]
    fn prop_the_same_comes_of_the_same(parts in proptest::collection::vec(any_profiles(), 0..4)) {
        let encoded = || crate::formats::otlp::encode(&aggregated(&parts, Column::Sum, DETAIL));
        prop_assert_eq!(encoded(), encoded());
    }

    #[test]
    fn prop_gauges_are_the_last_or_the_mean(
        values in proptest::collection::vec(proptest::collection::vec((0u8..5, -20i64..2_000), 0..8), 1..6),
        order in any::<u64>(),
    ) {
        let snapshots: Vec<(u64, &Vec<(u8, i64)>)> = (0..).map(|n| 1_000 + n * 10).zip(&values).collect();
        let mut arriving = snapshots.clone();
        // in another order than that of time
        let arrivals = arriving.len();
        arriving.rotate_left(order as usize % arrivals);
        let parts: Vec<Profiles> = arriving.iter().map(|(time, rows)| snapshot(*time, rows)).collect();
        let sums = |rows: &[(u8, i64)]| {
            let mut sums = BTreeMap::<u8, i128>::new();
            for (stack, value) in rows {
                *sums.entry(*stack).or_default() += i128::from(*value);
            }
            sums.retain(|_, sum| *sum != 0);
            sums
        };

        let last = aggregated(&parts, Column::Last, DETAIL);
        let (time, rows) = snapshots.last().unwrap();
        prop_assert_eq!(by_stack(&last), sums(rows));
        let profile = last.iter().next().unwrap().profile;
        prop_assert_eq!((profile.time_unix_nano, profile.duration_nano), (*time, 0));

        let mean = by_stack(&aggregated(&parts, Column::Mean, DETAIL));
        let all = sums(&values.concat());
        let by = values.len() as f64;
        for stack in 0..5 {
            let exact = all.get(&stack).copied().unwrap_or_default() as f64 / by;
            let told = mean.get(&stack).copied().unwrap_or_default() as f64;
            prop_assert!((told - exact).abs() < 1.0, "{} is told {}", exact, told);
        }
        let (exact, told) = (all.values().sum::<i128>() as f64 / by, mean.values().sum::<i128>() as f64);
        prop_assert!((told - exact).abs() <= 0.5, "{} in all is told {}", exact, told);
    }

    #[test]
    fn prop_time_is_covered_once(stretches in proptest::collection::vec((0u64..200, 0u64..30), 1..60)) {
        let (mut covered, mut seconds) = (Covered::default(), std::collections::BTreeSet::new());
        for (start, length) in &stretches {
            covered.add(*start, start + length);
            seconds.extend(*start..start + length);
        }
        let first = stretches.iter().map(|(start, _)| *start).min().unwrap();
        let end = stretches.iter().map(|(start, length)| start + length).max().unwrap();
        prop_assert_eq!(covered.total(), seconds.len() as u64);
        prop_assert_eq!((covered.start(), covered.span()), (first, end - first));
    }
}

/// A snapshot of one gauge at that time, of such stacks and values.
fn snapshot(time: u64, rows: &[(u8, i64)]) -> Profiles {
    let mut d = Dictionary::default();
    let mut samples = Samples::default();
    let mut values = Vec::new();
    for (stack, value) in rows {
        let location = Location {
            address: u64::from(*stack) + 1,
            ..Location::default()
        };
        let location = d.push_location(location, &[]);
        samples.stacks.push(d.stacks.push(&[location]));
        samples.attributes.push(Default::default());
        samples.links.push(Default::default());
        values.push(*value);
    }
    samples.observations = Observations::Totals(values);
    let kind = d.strings.push("inuse_space");
    let profile = Profile {
        sample_types: vec![ValueType { kind, unit: kind }],
        samples: Arc::new(samples),
        time_unix_nano: time,
        ..Profile::default()
    };
    Profiles::of(d, vec![profile])
}

fn by_stack(profiles: &Profiles) -> BTreeMap<u8, i128> {
    let (d, mut told) = (profiles.dictionary(), BTreeMap::new());
    for at in profiles.iter() {
        for (row, stack) in at.profile.samples.stacks.iter().enumerate() {
            let address = d.locations[d.stacks[*stack][0]].address;
            let value = i128::from(at.profile.samples.total(row, 0, 1));
            assert!(
                told.insert(address as u8 - 1, value).is_none(),
                "equal samples stand apart"
            );
        }
    }
    told
}

#[test]
fn what_says_something_else_about_itself_stays_apart() {
    let with = |change: fn(&mut Dictionary, &mut Profile)| {
        let mut profiles = snapshot(1_000, &[(1, 10)]);
        let (d, resources) = profiles.edit();
        change(d, &mut resources[0].scopes[0].profiles[0]);
        profiles
    };
    let plain = || with(|_, _| {});
    let count = |parts: &[Profiles]| aggregated(parts, Column::Sum, DETAIL).profile_count();
    let changes: [fn(&mut Dictionary, &mut Profile); 6] = [
        |_, profile| profile.period = 7,
        |d, profile| profile.period_type.kind = d.strings.push("cpu"),
        |d, profile| profile.sample_types[0].unit = d.strings.push("bytes"),
        |d, profile| profile.attributes = d.with_attribute(profile.attributes, "k", Value::Int(1)),
        |d, profile| profile.comments = vec![d.strings.push("a comment")],
        |d, profile| profile.default_sample_type = d.strings.push("inuse_space"),
    ];
    for change in changes {
        assert_eq!(count(&[plain(), with(change), plain(), with(change)]), 2);
    }
    // and what is of one of them alone does not keep them apart
    let alone: [fn(&mut Dictionary, &mut Profile); 3] = [
        |_, profile| profile.ids = vec![[7; 16]],
        |_, profile| (profile.time_unix_nano, profile.duration_nano) = (2_000, 10),
        |_, profile| profile.siblings = 3,
    ];
    for change in alone {
        let merged = aggregated(&[plain(), with(change)], Column::Sum, DETAIL);
        assert_eq!(merged.profile_count(), 1);
        let profile = merged.iter().next().unwrap().profile;
        assert!(profile.ids.is_empty() && profile.original_payload.is_none());
    }
}

#[test]
fn one_profile_may_hold_sums_and_gauges() {
    let heap = |start: u64, rows: &[[i64; 2]]| {
        let stacks: Vec<(u8, i64)> = (0..).zip(rows).map(|(stack, _)| (stack, 0)).collect();
        let mut profiles = snapshot(start, &stacks);
        let (d, resources) = profiles.edit();
        let added = d.strings.push("alloc_space");
        let profile = &mut resources[0].scopes[0].profiles[0];
        profile.duration_nano = 10;
        profile.sample_types.insert(
            0,
            ValueType {
                kind: added,
                unit: added,
            },
        );
        Arc::make_mut(&mut profile.samples).observations = Observations::Totals(rows.concat());
        profiles
    };
    let parts = [
        heap(0, &[[5, 100], [1, 50]]),
        heap(10, &[[7, 80]]),
        heap(20, &[[1, 90]]),
    ];
    let mut aggregate = Aggregate::default();
    for part in &parts {
        let at = part.iter().next().unwrap();
        let addend = Addend {
            scope: at.scope,
            profile: at.profile,
            columns: vec![Column::Sum, Column::Last],
        };
        let mut scratch = Scratch::default();
        aggregate.add(part.dictionary(), at.resource, [addend], DETAIL, &mut scratch);
    }
    let merged = aggregate.finish();
    let profile = merged.iter().next().unwrap().profile;
    // the second stack is not in the last one, and has only its allocations
    assert_eq!(profile.samples.observations, Observations::Totals(vec![13, 90, 1, 0]));
    assert_eq!((profile.time_unix_nano, profile.duration_nano), (0, 30));
}

#[test]
fn moments_lie_inside_and_gaps_do_not_count_where_there_are_none() {
    let events = |start: u64| {
        let mut profiles = snapshot(start, &[(1, 1)]);
        let profile = &mut profiles.edit_resources()[0].scopes[0].profiles[0];
        profile.duration_nano = 10;
        let mut series = Series::default();
        series.push(&[], &[start + 1, start + 9]);
        Arc::make_mut(&mut profile.samples).observations = Observations::Series(series);
        profiles
    };
    let parts = [events(0), events(100), events(10)];
    for (timestamps, duration) in [(true, 110), (false, 30)] {
        let detail = Detail { timestamps, ..DETAIL };
        let merged = aggregated(&parts, Column::Sum, detail);
        let profile = merged.iter().next().unwrap().profile;
        assert_eq!((profile.time_unix_nano, profile.duration_nano), (0, duration));
        assert_eq!(by_stack(&merged), BTreeMap::from([(1, 6)]));
    }
}

#[test]
fn very_many_stretches_take_little() {
    let mut covered = Covered::default();
    for n in 0..10_000u64 {
        covered.add(n * 10, n * 10 + 9);
    }
    assert!(covered.heap_bytes() < 4_096);
    assert_eq!((covered.start(), covered.span()), (0, 99_999));
    assert!((90_000..=99_999).contains(&covered.total()), "{}", covered.total());
}

#[test]
fn what_comes_again_and_again_is_held_once() {
    let one = crate::testing::heap_by_otlp();
    let mut aggregate = Aggregate::default();
    add_all(&mut aggregate, &[one.clone(), one.clone()], Column::Sum, DETAIL);
    let twice = aggregate.heap_bytes();
    for _ in 0..100 {
        add_all(&mut aggregate, std::slice::from_ref(&one), Column::Sum, DETAIL);
    }
    assert!(
        aggregate.heap_bytes() < 2 * twice,
        "{} after {twice}",
        aggregate.heap_bytes()
    );
    let (d, merged) = (one.iter().next().unwrap().profile, aggregate.finish());
    let profile = merged.iter().next().unwrap().profile;
    for column in 0..4 {
        assert_eq!(profile.samples.sum(column, 4), 102 * d.samples.sum(column, 4));
    }
    assert_eq!(profile.received(), 102 * 4);
}
