//! What thinning promises, on made profiles: their truth is known, and every start is fixed, so a test fails always or never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::content::mix;
use super::*;
use crate::profile::testing::tell;
use crate::profile::{
    Attribute, AttributeSetId, Dictionary, Function, Id, KeyValue, Line, LinkId, Location, Observations, Profile,
    Profiles, ResourceProfiles, Samples, Series, StackId, StringId, Value, ValueType,
};

/// One sample: the functions from the leaf on, a label, how often it was seen, and what was measured besides.
type Draft = (Vec<u8>, u8, u16, u32);

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let draft = (
        proptest::collection::vec(0u8..5, 0..7),
        0u8..3,
        0u16..60,
        0u32..1_000_000,
    );
    proptest::collection::vec(draft, 1..60)
}

fn each_once(drafts: Vec<Draft>) -> Vec<Draft> {
    let drafts = drafts.into_iter().map(|draft| ((draft.0.clone(), draft.1), draft));
    drafts.collect::<BTreeMap<_, _>>().into_values().collect()
}

fn ratios() -> impl Strategy<Value = Ratio> {
    (1u64..50, 1u64..300).prop_map(|(period, more)| Ratio::of_periods(period, period + more))
}

/// Counts and times; rows are not looked up, so what is equal has several ids.
fn totals(drafts: &[Draft]) -> Profiles {
    let observed = drafts
        .iter()
        .flat_map(|(.., count, time)| [i64::from(*count), i64::from(*time)]);
    made(drafts, &["samples", "cpu"], Observations::Totals(observed.collect()))
}

/// A timestamp for each time that a stack was seen.
fn timestamps(drafts: &[Draft]) -> Profiles {
    let mut series = Series::default();
    for (.., count, time) in drafts {
        let times: Vec<u64> = (0..u64::from(*count)).map(|n| u64::from(*time) + n).collect();
        series.push(&[], &times);
    }
    made(drafts, &["samples"], Observations::Series(series))
}

fn made(drafts: &[Draft], types: &[&str], observations: Observations) -> Profiles {
    let mut d = Dictionary::default();
    let mut samples = Samples {
        observations,
        ..Samples::default()
    };
    for (stack, label, ..) in drafts {
        samples.stacks.push(stack_of(&mut d, stack));
        samples.attributes.push(set_of(&mut d, *label));
        samples.links.push(LinkId::UNSET);
    }
    let unit = d.strings.push("count");
    let types = types.iter().map(|kind| ValueType {
        kind: d.strings.push(kind),
        unit,
    });
    let profile = Profile {
        sample_types: types.collect(),
        samples: samples.into(),
        ..Profile::default()
    };
    Profiles::of(d, vec![profile])
}

/// Function 4 is always inlined into function 3, elsewhere it is not seen.
fn stack_of(d: &mut Dictionary, frames: &[u8]) -> StackId {
    let frames: Vec<_> = frames
        .iter()
        .enumerate()
        .map(|(depth, n)| {
            let lines: &[u8] = if *n == 4 { &[4, 3] } else { &[*n] };
            let lines: Vec<Line> = lines
                .iter()
                .map(|n| {
                    let name = d.strings.push(&format!("function-{n}"));
                    let function = d.functions.push(Function {
                        name,
                        ..Function::default()
                    });
                    Line {
                        function,
                        // the same function is met at several places
                        line: depth as i64 % 2,
                        column: 0,
                    }
                })
                .collect();
            d.push_location(Location::default(), &lines)
        })
        .collect();
    d.stacks.push(&frames)
}

fn set_of(d: &mut Dictionary, label: u8) -> AttributeSetId {
    let key = d.strings.push("label");
    let attribute = d.attributes.push(Attribute {
        key,
        value: Value::Int(i64::from(label)),
        unit: StringId::UNSET,
    });
    d.attribute_sets.push(&[attribute])
}

const COUNTS: Counts = Counts::Column(0);

fn thinned(profiles: &Profiles, ratio: Ratio, seed: u64) -> Profiles {
    Ordered::of(profiles).thinned(ratio, seed)
}

/// The first of some profiles, with its rows in order.
struct Ordered<'a> {
    profiles: &'a Profiles,
    rows: Vec<usize>,
    seed: u64,
}

impl<'a> Ordered<'a> {
    fn of(profiles: &'a Profiles) -> Self {
        let at = profiles.iter().next().unwrap();
        let samples = &at.profile.samples;
        let mut hashes = ContentHashes::of(profiles.dictionary());
        let order = Order::of(&mut hashes, samples.stacks.iter().copied());
        Self {
            profiles,
            rows: order.rows_in_full(&mut hashes, samples),
            seed: hashes.seed("test", at),
        }
    }

    fn thinned(&self, ratio: Ratio, seed: u64) -> Profiles {
        let profile = self.profiles.iter().next().unwrap().profile;
        let types = profile.sample_types.len();
        let samples = thin(&profile.samples, types, COUNTS, ratio, &self.rows, mix(self.seed, seed));
        let mut left = self.profiles.clone();
        for scope in left
            .edit_resources()
            .iter_mut()
            .flat_map(|resource| &mut resource.scopes)
        {
            scope.profiles = vec![Profile {
                samples: samples.clone().into(),
                ..profile.clone()
            }];
        }
        left
    }
}

/// What stands below every call path, from the root on, in a column.
fn paths(profiles: &Profiles, column: usize) -> BTreeMap<Vec<String>, i64> {
    paths_by(profiles, column, |names| vec![names.join(" in ")])
}

/// The same where what is inlined is a step of its own, below what it is inlined into.
fn flat_paths(profiles: &Profiles, column: usize) -> BTreeMap<Vec<String>, i64> {
    paths_by(profiles, column, |names| {
        names.iter().rev().map(ToString::to_string).collect()
    })
}

/// The same by the steps that the functions of a frame make, of which the innermost comes first.
fn paths_by(profiles: &Profiles, column: usize, steps: impl Fn(&[&str]) -> Vec<String>) -> BTreeMap<Vec<String>, i64> {
    let (d, mut sums) = (profiles.dictionary(), BTreeMap::new());
    for at in profiles.iter() {
        let samples = &at.profile.samples;
        for (row, stack) in samples.stacks.iter().enumerate() {
            let value = samples.total(row, column, at.profile.sample_types.len());
            let mut path = Vec::new();
            *sums.entry(path.clone()).or_default() += value;
            for frame in d.stacks[*stack].iter().rev() {
                let lines = d.lines[*frame].iter();
                let names: Vec<&str> = lines.map(|line| d.str(d.functions[line.function].name)).collect();
                for step in steps(&names) {
                    path.push(step);
                    *sums.entry(path.clone()).or_default() += value;
                }
            }
        }
    }
    sums
}

fn identities(profiles: &Profiles) -> BTreeSet<(StackId, AttributeSetId, LinkId)> {
    let samples = &profiles.iter().next().unwrap().profile.samples;
    let columns = samples.stacks.iter().zip(&samples.attributes).zip(&samples.links);
    columns.map(|((stack, set), link)| (*stack, *set, *link)).collect()
}

proptest! {
    #[test]
    fn prop_every_call_path_is_off_by_less_than_one_kept_sample(drafts in drafts(), ratio in ratios(), seed: u64, series: bool) {
        let profiles = if series { timestamps(&drafts) } else { totals(&drafts) };
        let (before, after) = (paths(&profiles, 0), paths(&thinned(&profiles, ratio, seed), 0));
        for (path, count) in &before {
            let kept = after.get(path).copied().unwrap_or_default();
            let off = kept as f64 - *count as f64 * ratio.as_f64();
            prop_assert!(off.abs() < 1.0 + 1e-9, "{} of {} below {:?}", kept, count, path);
        }
        prop_assert!(after.keys().all(|path| before.contains_key(path)), "a call path is new");
    }

    #[test]
    fn prop_every_call_path_of_few_rows_is_off_by_less_than_a_threshold(drafts in drafts(), most in 3usize..30, seed: u64) {
        let values = drafts.iter().map(|(.., value)| i64::from(*value));
        let profiles = made(&drafts, &["cpu"], Observations::Totals(values.collect()));
        let profile = profiles.iter().next().unwrap().profile;
        let samples = &profile.samples;
        let Some(choice) = Choice::of(samples, 1, most, false) else { return Ok(()) };
        // those that stay anyway have no place in the order
        let order = Order::of(&mut ContentHashes::of(profiles.dictionary()), choice.by_chance().iter().map(|row| samples.stacks[*row]));
        let left = choice.take(&order, seed);
        let fewer = Profile { samples: left.samples.into(), ..profile.clone() };
        let after = Profiles::of(profiles.dictionary().clone(), vec![fewer]);
        // what a function inlines stands beside it, and a run of those that stand side by side is off by less than two
        let both = [
            (paths(&profiles, 0), paths(&after, 0), 1.0),
            (flat_paths(&profiles, 0), flat_paths(&after, 0), 2.0),
        ];
        for (before, after, steps) in both {
            for (path, value) in before {
                let off = after.get(&path).copied().unwrap_or_default() - value;
                // and what rounding puts on one of them
                let most = steps * left.thresholds[0] * (1.0 + 1e-6) + 2.0;
                prop_assert!((off as f64).abs() < most, "{} of {} below {:?}", off, value, path);
            }
        }
    }

    #[test]
    fn prop_nothing_is_new_and_no_count_grows(drafts in drafts(), ratio in ratios(), seed: u64) {
        let profiles = totals(&each_once(drafts));
        let after = thinned(&profiles, ratio, seed);
        prop_assert!(identities(&after).is_subset(&identities(&profiles)));
        let (before, after) = (tell(&profiles), tell(&after));
        for (sample, values) in &after {
            prop_assert!(values[0] <= before[sample][0]);
            prop_assert!(values[0] > 0 || values == &before[sample], "a sample that was not counted is as it was");
        }
    }

    #[test]
    fn prop_all_is_kept_at_one(drafts in drafts(), seed: u64, series: bool) {
        let profiles = if series { timestamps(&drafts) } else { totals(&drafts) };
        let after = thinned(&profiles, Ratio::ONE, seed);
        prop_assert_eq!(after.resources(), profiles.resources());
    }

    #[test]
    fn prop_ids_and_order_do_not_matter(drafts in drafts(), ratio in ratios(), seed: u64, series: bool) {
        let make = |drafts: &[Draft]| if series { timestamps(drafts) } else { totals(drafts) };
        // it is not said which of equal ones is kept
        let drafts = each_once(drafts);
        let backwards: Vec<Draft> = drafts.iter().rev().cloned().collect();
        let profiles = make(&drafts);
        let told = tell(&thinned(&profiles, ratio, seed));
        prop_assert_eq!(&tell(&thinned(&profiles, ratio, seed)), &told, "again");
        prop_assert_eq!(&tell(&thinned(&Profiles::merge([&profiles]), ratio, seed)), &told, "other ids");
        prop_assert_eq!(&tell(&thinned(&make(&backwards), ratio, seed)), &told, "another order");
    }

    #[test]
    fn prop_rows_of_one_call_path_stand_together(drafts in drafts()) {
        let profiles = totals(&drafts);
        let samples = &profiles.iter().next().unwrap().profile.samples;
        let rows = Ordered::of(&profiles).rows;
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..samples.len()).collect::<Vec<_>>());
        let path = |row: usize| drafts[row].0.iter().rev().copied().collect::<Vec<u8>>();
        for depth in 0..7 {
            let cut = |row: &usize| path(*row).into_iter().take(depth).collect::<Vec<u8>>();
            let mut runs: Vec<Vec<u8>> = rows.iter().map(cut).collect();
            runs.dedup();
            let kinds = runs.iter().collect::<BTreeSet<_>>().len();
            // those that end above the depth are cut to less than it, and stand with their own
            prop_assert_eq!(runs.len(), kinds, "depth {}", depth);
        }
    }
}

/// A made program of some hundred stacks, a few of them hot, whose times are no multiple of their counts.
fn program() -> Profiles {
    let draft = |n: u32| {
        let hot = 3000 / (n * n + 3) + n % 3;
        let frames = (0..2 + n % 6).map(|depth| ((n * 7 + depth * n) % 4) as u8).collect();
        (frames, (n % 3) as u8, hot as u16, hot * 997 + n)
    };
    totals(&(0..300).map(draft).collect::<Vec<_>>())
}

/// Mean and variance of what is kept below every call path, over fixed starts.
fn spread(ratio: Ratio, rounds: u64, column: usize) -> BTreeMap<Vec<String>, (f64, f64)> {
    let profiles = program();
    let ordered = Ordered::of(&profiles);
    let truth = paths(&profiles, column);
    let mut sums: BTreeMap<Vec<String>, (f64, f64)> = truth.keys().map(|path| (path.clone(), (0.0, 0.0))).collect();
    for seed in 0..rounds {
        let kept = paths(&ordered.thinned(ratio, seed), column);
        for (path, (sum, squares)) in &mut sums {
            let scale = if column == 0 { ratio.as_f64() } else { 1.0 };
            let estimate = kept.get(path).copied().unwrap_or_default() as f64 / scale;
            *sum += estimate;
            *squares += (estimate - truth[path] as f64).powi(2);
        }
    }
    let rounds = rounds as f64;
    sums.into_iter()
        .map(|(path, (sum, squares))| (path, (sum / rounds, squares / rounds)))
        .collect()
}

const NINETEEN_OF_99: (u64, u64) = (10_101_010, 52_631_579);

#[test]
fn estimates_are_the_truth_on_average() {
    let ratio = Ratio::of_periods(NINETEEN_OF_99.0, NINETEEN_OF_99.1);
    let (rounds, p) = (400, ratio.as_f64());
    let counts = paths(&program(), 0);
    for column in [0, 1] {
        let truth = paths(&program(), column);
        for (path, (mean, _)) in spread(ratio, rounds, column) {
            let count = counts[&path] as f64;
            if count * p * (rounds as f64) < 30.0 {
                continue;
            }
            // as if each look were kept by chance of its own
            let each = truth[&path] as f64 / count;
            let sigma = each * (count * (1.0 - p) / p).sqrt();
            let off = (mean - truth[&path] as f64).abs();
            assert!(
                off <= 5.0 * sigma / (rounds as f64).sqrt(),
                "column {column}: {mean} of {} below {path:?}",
                truth[&path]
            );
        }
    }
}

#[test]
fn no_call_path_varies_more_than_by_chance() {
    let ratio = Ratio::of_periods(NINETEEN_OF_99.0, NINETEEN_OF_99.1);
    let (rounds, p) = (400u64, ratio.as_f64());
    let slack = 1.0 + 5.0 * (2.0 / (rounds as f64 - 1.0)).sqrt();
    let counts = paths(&program(), 0);
    for (path, (_, variance)) in spread(ratio, rounds, 0) {
        let by_chance = counts[&path] as f64 * (1.0 - p) / p;
        assert!(
            variance <= by_chance * slack,
            "{variance} against {by_chance} below {path:?}"
        );
    }
}

fn seeds(profiles: &Profiles) -> Vec<u64> {
    let mut hashes = ContentHashes::of(profiles.dictionary());
    profiles.iter().map(|at| hashes.seed("test", at)).collect()
}

proptest! {
    #[test]
    fn prop_a_seed_is_the_same_where_equal_samples_are_joined(drafts in drafts(), series: bool) {
        let twice: Vec<Draft> = drafts.iter().chain(&drafts).cloned().collect();
        let apart = if series { timestamps(&twice) } else { totals(&twice) };
        let mut joined = apart.clone();
        joined.compact();
        let rows = |profiles: &Profiles| profiles.iter().next().unwrap().profile.samples.len();
        prop_assert!(rows(&joined) < rows(&apart));
        prop_assert_eq!(seeds(&joined), seeds(&apart));
    }
}

#[test]
fn seeds_differ_with_all_that_is_said_of_a_profile() {
    let seed = |change: &dyn Fn(&mut Dictionary, &mut ResourceProfiles)| {
        let mut d = Dictionary::default();
        let [a, b] = ["a", "b"].map(|name| {
            let name = d.strings.push(name);
            let place = d.push_named(name);
            d.stacks.push(&[place])
        });
        let mut profiles = one_each(d, vec![a, a, b]);
        let (d, resources) = profiles.edit();
        change(d, &mut resources[0]);
        seeds(&profiles)
    };
    let of_profile = |change: &dyn Fn(&mut Dictionary, &mut Profile)| {
        seed(&|d, resource| change(d, &mut resource.scopes[0].profiles[0]))
    };
    let of_stacks = |change: &dyn Fn(&mut [StackId])| {
        of_profile(&|_, profile| change(&mut Arc::make_mut(&mut profile.samples).stacks))
    };
    let as_it_is = seed(&|_, _| {});
    assert_eq!(of_stacks(&|stacks| stacks.reverse()), as_it_is);
    let seeds = [
        as_it_is,
        seed(&|d, resource| {
            let (key, value) = (d.strings.push("host.name"), Value::Int(1));
            resource.attributes.push(KeyValue { key, value });
        }),
        seed(&|d, resource| resource.scopes[0].name = d.strings.push("scope")),
        of_profile(&|d, profile| profile.attributes = set_of(d, 1)),
        of_profile(&|d, profile| profile.sample_types[0].kind = d.strings.push("cpu")),
        of_profile(&|d, profile| profile.period_type.unit = d.strings.push("bytes")),
        of_profile(&|_, profile| profile.time_unix_nano = 1),
        of_profile(&|_, profile| profile.duration_nano = 1),
        of_profile(&|_, profile| profile.period = 1),
        // the same sum, of others
        of_stacks(&|stacks| stacks[0] = stacks[2]),
    ];
    assert_eq!(seeds.iter().collect::<BTreeSet<_>>().len(), seeds.len(), "{seeds:?}");
}

#[test]
fn profiles_of_two_resources_have_the_seeds_that_they_have_alone() {
    let [mut a, b] = [1, 2].map(|seed| {
        let mut profiles = program();
        let (d, resources) = profiles.edit();
        let (key, value) = (d.strings.push("host.name"), Value::Int(seed));
        resources[0].attributes.push(KeyValue { key, value });
        profiles
    });
    let alone = [seeds(&a), seeds(&b)].concat();
    assert_ne!(alone[0], alone[1]);
    a = Profiles::merge([&a, &b]);
    assert_eq!(seeds(&a), alone);
}

/// A profile of one type, whose samples of one each have these stacks.
fn one_each(d: Dictionary, stacks: Vec<StackId>) -> Profiles {
    let samples = Samples {
        attributes: vec![Id::UNSET; stacks.len()],
        links: vec![Id::UNSET; stacks.len()],
        observations: Observations::Totals(vec![1; stacks.len()]),
        stacks,
    };
    let profile = Profile {
        sample_types: vec![ValueType::default()],
        samples: samples.into(),
        ..Profile::default()
    };
    Profiles::of(d, vec![profile])
}

#[test]
fn a_hostile_shape_takes_no_longer() {
    // every stack is the beginning of the next, and two of them are as deep as all together
    let mut d = Dictionary::default();
    let place = d.push_location(Location::default(), &[Line::default()]);
    let deep = [100_000, 100_000].into_iter().chain(0..400);
    let stacks = deep.map(|depth| d.stacks.push(&vec![place; depth])).collect();
    let rows = Ordered::of(&one_each(d, stacks)).rows;
    let depths: Vec<usize> = rows
        .iter()
        .map(|row| if *row < 2 { 100_000 } else { row - 2 })
        .collect();
    assert!(depths.is_sorted() && depths.len() == 402);
}

#[test]
fn what_is_said_once_is_looked_at_once() {
    // a long text that many functions have, a place that inlines all of them, and a stack in which it stands very often, twice
    let mut d = Dictionary::default();
    let name = d.strings.push(&"name".repeat(250_000));
    let lines: Vec<Line> = (0..50_000)
        .map(|line| Line {
            function: d.functions.push(Function {
                name,
                ..Function::default()
            }),
            line,
            column: 0,
        })
        .collect();
    let place = d.push_location(Location::default(), &lines);
    let stacks = vec![d.stacks.push(&vec![place; 50_000]); 2];
    let profiles = one_each(d, stacks);
    // each looked at wherever it stands is 10^10 steps
    assert_eq!(Ordered::of(&profiles).rows, [0, 1]);
}
