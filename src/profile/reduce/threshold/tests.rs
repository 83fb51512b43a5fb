//! What threshold sampling promises, on made profiles with fixed starts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::profile::{ContentHashes, Dictionary, LocationId};

fn fewer(samples: &Samples, types: usize, most: usize, keep_linked: bool, seed: u64) -> Option<Fewer> {
    let choice = Choice::of(samples, types, most, keep_linked)?;
    let order = Order::of(
        &mut ContentHashes::of(&program(samples.len())),
        samples.stacks.iter().copied(),
    );
    Some(choice.take(&order, seed))
}

/// So many functions, each called by another, fifty by one.
fn program(functions: usize) -> Dictionary {
    let mut d = Dictionary::default();
    let place = |d: &mut Dictionary, name: String| {
        let name = d.strings.push(&name);
        d.push_named(name)
    };
    let mut caller = LocationId::UNSET;
    for number in 0..functions {
        if number % 50 == 0 {
            caller = place(&mut d, format!("caller {number}"));
        }
        let callee = place(&mut d, format!("callee {number}"));
        d.stacks.push(&[callee, caller]);
    }
    d
}

/// Samples of a stack each, in the order of their ids.
fn totals(rows: &[[i64; 2]]) -> Samples {
    let observations = Observations::Totals(rows.iter().flatten().copied().collect());
    of(rows.len(), observations)
}

fn of(rows: usize, observations: Observations) -> Samples {
    Samples {
        stacks: program(rows).stacks.ids().skip(1).collect(),
        attributes: vec![AttributeSetId::UNSET; rows],
        links: vec![LinkId::UNSET; rows],
        observations,
    }
}

/// The same samples, of which every so many point at a span.
fn linked(mut samples: Samples, every: usize) -> Samples {
    let mut d = Dictionary::default();
    let link = d.links.push(crate::profile::Link::default());
    samples.links.iter_mut().step_by(every).for_each(|slot| *slot = link);
    samples
}

fn linked_rows(samples: &Samples) -> usize {
    samples.links.iter().filter(|link| link.is_set()).count()
}

/// What is left of each row, by its stack.
fn told(samples: &Samples, types: usize) -> BTreeMap<usize, Vec<i64>> {
    let row = |row| (0..types).map(|column| samples.total(row, column, types)).collect();
    let stacks = samples.stacks.iter().enumerate();
    stacks.map(|(at, stack)| (stack.index() - 1, row(at))).collect()
}

fn rows() -> impl Strategy<Value = Vec<[i64; 2]>> {
    let value = prop_oneof![3 => 0i64..20, 2 => 0i64..100_000, 1 => 0i64..i64::MAX / 4096];
    proptest::collection::vec([value.clone(), value], 1..400)
}

proptest! {
    #[test]
    fn prop_no_more_rows_are_left_and_totals_are_exact(rows in rows(), most in 3usize..80, every in 1usize..40, seed: u64, series: bool) {
        let types = if series { 1 } else { 2 };
        let samples = match series {
            false => totals(&rows),
            true => {
                let mut series = Series::default();
                rows.iter().for_each(|row| series.push(&row[..1], &[]));
                of(rows.len(), Observations::Series(series))
            }
        };
        let samples = linked(samples, every);
        let Some(left) = fewer(&samples, types, most, true, seed) else {
            prop_assert!(rows.len() <= most);
            return Ok(());
        };
        prop_assert!(left.samples.len() <= most);
        prop_assert!(left.samples.stacks.is_sorted(), "they stand as they stood");
        for column in 0..types {
            prop_assert_eq!(left.samples.sum(column, types), samples.sum(column, types));
        }
        let before = told(&samples, types);
        for (row, values) in told(&left.samples, types) {
            for (new, old) in values.iter().zip(&before[&row]) {
                prop_assert!(*new >= 0 && (*old > 0 || *new == 0), "a value of nothing");
            }
        }
        prop_assert_eq!(fewer(&samples, types, most, true, seed), Some(left));
    }
}

proptest! {
    #[test]
    fn prop_of_each_caller_those_with_a_link_and_the_others_are_off_by_less_than_their_thresholds(
        values in proptest::collection::vec(1i64..1_000, 100..400),
        most in 40usize..90,
        every in 2usize..6,
        seed: u64,
    ) {
        let rows: Vec<[i64; 2]> = values.iter().map(|value| [*value, 0]).collect();
        let samples = linked(totals(&rows), every);
        let choice = Choice::of(&samples, 2, most, true).unwrap();
        let order = Order::of(&mut ContentHashes::of(&program(samples.len())), samples.stacks.iter().copied());
        let levels = choice.levels;
        prop_assert!(levels.are_apart());
        let kept = told(&choice.take(&order, seed).samples, 2);
        let sum: i64 = values.iter().sum();
        for (caller, of_caller) in values.chunks(50).enumerate() {
            for (is_linked, level) in [(true, levels.linked), (false, levels.others)] {
                let rows = (50 * caller..).zip(of_caller).filter(|(row, _)| (row % every == 0) == is_linked);
                let off = rows.map(|(row, value)| kept.get(&row).map_or(0, |told| told[0]) - value).sum::<i64>();
                // and what rounding puts on one of them
                let most = level * sum as f64 * (1.0 + 1e-6) + 2.0;
                prop_assert!((off.abs() as f64) < most, "{} at {}", off, most);
            }
        }
    }
}

#[test]
fn small_numbers_are_rounded_as_fairly_as_they_are_kept() {
    // of each caller the first of five; half of what is kept stands for two, half for three
    let rows: Vec<[i64; 2]> = std::iter::once([10_000, 0]).chain(vec![[1, 0]; 5_000]).collect();
    let (samples, rounds) = (totals(&rows), 200);
    let variance = (0..rounds).map(|seed| {
        let left = fewer(&samples, 2, 2_001, true, mix(seed, 4)).unwrap();
        let first = told(&left.samples, 2).into_iter().filter(|(row, _)| row % 5 == 1);
        let found: i64 = first.map(|(_, values)| values[0]).sum();
        (found as f64 - 1_000.0).powi(2) / f64::from(rounds as u32)
    });
    let (variance, bound) = (variance.sum::<f64>(), 2.5 * 1_000.0);
    assert!(variance < bound, "{variance} where {bound} is said");
}

/// A few large rows, and very many small ones; the second type is large elsewhere.
fn heap() -> Vec<[i64; 2]> {
    let row = |n: i64| [1_000_000 / (n + 1) + n % 7, 1_000_000 / (500 - n) + n % 5];
    (0..500).map(row).collect()
}

#[test]
fn estimates_are_the_truth_on_average_and_vary_no_more_than_is_said() {
    check_estimates(totals(&heap()), 0.5);
    // with links that all stay, and with so many that not all do
    check_estimates(linked(totals(&heap()), 20), 0.5);
    check_estimates(linked(totals(&heap()), 3), 0.4);
}

/// With errors at least this part of the bound where they are largest, so that the bound says something.
fn check_estimates(samples: Samples, least: f64) {
    let (rows, rounds, most) = (heap(), 400u64, 100);
    let chances = Choice::of(&samples, 2, most, true).unwrap().chances();
    let mut nearest = 0.0f64;
    // as of functions that are called from many places, and of such as are alike in size
    let groups = |row: usize| [row % 10, 10 + row / 50];
    for column in [0, 1] {
        let sums_of = |values: &mut dyn Iterator<Item = (usize, f64)>| {
            let mut sums = [0.0f64; 20];
            for (row, value) in values {
                groups(row).into_iter().for_each(|of| sums[of] += value);
            }
            sums
        };
        let truth = sums_of(&mut rows.iter().map(|values| values[column] as f64).enumerate());
        // what is said beforehand, of each row by its chance
        let variance = |(values, chance): (&[i64; 2], &f64)| (values[column] as f64).powi(2) * (1.0 - chance) / chance;
        let expected = sums_of(&mut rows.iter().zip(&chances).map(variance).enumerate());
        let (mut means, mut variances, mut threshold) = ([0.0f64; 20], [0.0f64; 20], 0.0);
        for seed in 0..rounds {
            let left = fewer(&samples, 2, most, true, mix(seed, 3)).unwrap();
            threshold = left.thresholds[column];
            let told = told(&left.samples, 2).into_iter();
            let told = sums_of(&mut told.map(|(row, values)| (row, values[column] as f64)));
            for of in 0..20 {
                means[of] += told[of] / rounds as f64;
                variances[of] += (told[of] - truth[of]).powi(2) / rounds as f64;
            }
        }
        for of in 0..20 {
            let bound = threshold * truth[of];
            assert!(
                expected[of] <= bound * (1.0 + 1e-6),
                "{column} {of}: {} {bound}",
                expected[of]
            );
            let off = (means[of] - truth[of]).abs();
            assert!(
                off <= 5.0 * (bound / rounds as f64).sqrt(),
                "mean of {column} {of}: {off}"
            );
            let slack = 1.0 + 5.0 * (2.0 / (rounds as f64 - 1.0)).sqrt();
            assert!(
                variances[of] <= bound * slack,
                "variance of {column} {of}: {} {bound}",
                variances[of]
            );
            nearest = nearest.max(variances[of] / expected[of].max(1.0));
        }
    }
    assert!(nearest > least, "what is expected is far too much: {nearest}");
}

#[test]
fn links_stay_as_long_as_the_others_have_half_of_their_places() {
    for (every, kept) in [(20, 25..=25), (10, 50..=50), (5, 50..=65), (2, 60..=80)] {
        let samples = linked(totals(&heap()), every);
        let left = fewer(&samples, 2, 100, true, 5).unwrap();
        assert!(left.samples.len() <= 100);
        let links = linked_rows(&left.samples);
        assert!(kept.contains(&links), "one of {every}: {links}");
        for column in [0, 1] {
            assert_eq!(left.samples.sum(column, 2), samples.sum(column, 2));
        }
        let alike = fewer(&samples, 2, 100, false, 5).unwrap();
        assert!(linked_rows(&alike.samples) < links && alike.thresholds[0] < left.thresholds[0]);
        // half of the places or more are left to the others, so they are thinned to no more than twice the threshold and a little
        assert!(left.thresholds[0] < 3.0 * alike.thresholds[0], "{:?}", left.thresholds);
    }
}

#[test]
fn large_rows_stay_as_they_are() {
    let samples = totals(&heap());
    let left = fewer(&samples, 2, 100, true, 1).unwrap();
    let kept = told(&left.samples, 2);
    for (row, values) in heap().iter().enumerate() {
        let is_large = values
            .iter()
            .zip(&left.thresholds)
            .any(|(value, threshold)| *value as f64 > *threshold);
        if is_large {
            // but for what a unit of rounding may put on the largest
            let same = kept[&row].iter().zip(values).all(|(new, old)| (new - old).abs() <= 1);
            assert!(same, "{row}: {:?} of {values:?}", kept[&row]);
        }
    }
}

#[test]
fn what_stands_for_others_has_no_times() {
    let mut series = Series::default();
    for row in 0..200u64 {
        let times: Vec<u64> = (0..if row == 7 { 5_000 } else { 1 + row % 3 }).collect();
        series.push(&[], &times);
    }
    let samples = of(200, Observations::Series(series));
    let left = fewer(&samples, 1, 50, true, 1).unwrap().samples;
    let Observations::Series(series) = &left.observations else {
        panic!("a series")
    };
    assert_eq!(left.sum(0, 1), samples.sum(0, 1));
    let (mut with, mut without) = (0, 0);
    for row in 0..left.len() {
        match (series.values(row), series.timestamps(row)) {
            ([], [_, ..]) => with += 1,
            ([_], []) => without += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(with >= 1 && without > 40, "{with} {without}");
}

#[test]
fn odd_profiles_are_left_alone_or_cut() {
    let some = [[1, 1], [2, 2], [3, 3], [4, 4]];
    assert!(fewer(&totals(&some), 2, 4, true, 1).is_none(), "few enough");
    assert!(fewer(&totals(&[[-1, 1]; 9]), 2, 4, true, 1).is_none(), "negative");
    let zeros = fewer(&totals(&[[0, 0]; 9]), 2, 4, true, 1).unwrap();
    assert!(zeros.samples.is_empty());
    let one_type = fewer(&totals(&[[0, 5]; 9]), 2, 4, true, 1).unwrap();
    assert_eq!((one_type.samples.sum(0, 2), one_type.samples.sum(1, 2)), (0, 45));
    let huge = fewer(&totals(&[[i64::MAX, 1]; 9]), 2, 4, true, 1).unwrap();
    assert_eq!(huge.samples.sum(1, 2), 9);
    assert!(huge.samples.len() <= 4);
}

#[test]
fn the_largest_stay_and_the_rest_is_one() {
    let samples = totals(&heap());
    let other = samples.stacks[3];
    let left = largest(&samples, 2, 100, other).unwrap();
    assert_eq!((left.len(), left.stacks.last()), (100, Some(&other)));
    for column in [0, 1] {
        assert_eq!(left.sum(column, 2), samples.sum(column, 2));
    }
    let (kept, before) = (left.pick(2, &(0..99).collect::<Vec<_>>()), told(&samples, 2));
    for (row, values) in told(&kept, 2) {
        assert_eq!(values, before[&row]);
    }
    assert!(
        told(&kept, 2).contains_key(&0) && told(&kept, 2).contains_key(&499),
        "the largest of each type"
    );
    assert!(largest(&samples, 2, 500, other).is_none());
}
