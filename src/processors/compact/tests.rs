//! What leaving out rows promises, on recordings. Where the large ones are absent their tests say so and pass.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::formats::{Format, Limits, any};
use crate::pipeline::{Origin, Permit, Received};
use crate::processors::bench::Bench;
use crate::profile::testing::tell;
use crate::profile::{
    Dictionary, OTHER, OTHER_NAME, Observations, Profile, SAMPLING_THRESHOLD, Samples, StackId, Value, ValueType,
};
use crate::testing::{corpus_file, data};

fn read(bytes: Vec<u8>) -> Profiles {
    match any::decode_any(bytes.into(), &Limits::default()) {
        Ok(read) => read.decoded.profiles,
        Err(error) => panic!("{error}"),
    }
}

/// Over two hundred starts every function is told right on average, and varies no more than is said.
fn check_rounds(bytes: Vec<u8>, max_rows: usize) {
    const ROUNDS: u32 = 200;
    let mut before = read(bytes);
    before.compact();
    let truth = functions(&before, before.iter().next().unwrap().profile);
    let mut offs: BTreeMap<&str, (f64, f64)> = truth.keys().map(|name| (name.as_str(), (0.0, 0.0))).collect();
    let mut threshold = 0.0;
    for round in 0..ROUNDS {
        // the start comes of the name as well
        let bench = Bench::of(
            build,
            &format!("compact/{round}"),
            json!({ "max_rows": max_rows, "keep_linked": false }),
        );
        let after = bench.run(&before);
        let profile = after.iter().next().unwrap().profile;
        threshold = thresholds(&after, profile).unwrap()[0];
        let told = functions(&after, profile);
        for (name, (sum, squares)) in &mut offs {
            let off = told.get(*name).copied().unwrap_or_default() - truth[*name];
            *sum += off;
            *squares += off * off;
        }
    }
    let rounds = f64::from(ROUNDS);
    for (name, (sum, squares)) in offs {
        let (mean, variance, bound) = (sum / rounds, squares / rounds, threshold * truth[name]);
        // a unit for what is rounded
        let most = 5.0 * (bound / rounds).sqrt() + 1.0;
        assert!(mean.abs() <= most, "mean {mean} of {}, at most {most}", truth[name]);
        // a function is in as many of the kept samples as if each were kept by itself, so of few of them its variance spreads as of a Poisson distribution
        let expected = bound / (threshold * threshold);
        let spread = threshold * threshold * ((expected + 2.0 * expected * expected) / rounds).sqrt();
        let most = bound + 5.0 * spread + 1.0;
        assert!(
            variance <= most,
            "variance {variance} of {}, at most {most}",
            truth[name]
        );
    }
}

#[test]
fn functions_are_told_right_on_average_and_vary_no_more_than_is_said() {
    check_rounds(data("go123-heap.pb.gz"), 40);
    check_rounds(data("go123-cpu-labels.pb.gz"), 100);
    check_rounds(data("ap-cpu.jfrconv.otlp"), 100);
    if let Some(bytes) = corpus_file("pprof/go123-large-cpu-traces.pb.gz") {
        check_rounds(bytes, 300);
    }
}

#[test]
fn beside_others_the_same_is_left_of_a_profile_as_alone() {
    let [a, b] = ["go123-heap.pb.gz", "go123-cpu-labels.pb.gz"].map(|file| read(data(file)));
    let bench = bench_of(json!({ "max_rows": 40 }));
    let mut alone = tell(&bench.run(&a));
    alone.extend(tell(&bench.run(&b)));
    for together in [[&a, &b], [&b, &a]] {
        assert!(tell(&bench.run(&Profiles::merge(together))) == alone);
    }
}

#[test]
fn many_small_profiles_are_not_looked_at_once_for_each_stack_of_a_large_one() {
    let (mut d, mut stacks) = (Dictionary::default(), Vec::new());
    for number in 0..300_000 {
        let name = d.strings.push(&number.to_string());
        let place = d.push_named(name);
        stacks.push(d.stacks.push(&[place]));
    }
    let profile = |stacks: &[StackId]| Profile {
        sample_types: vec![ValueType::default()],
        samples: Arc::new(Samples {
            stacks: stacks.to_vec(),
            attributes: vec![Default::default(); stacks.len()],
            links: vec![Default::default(); stacks.len()],
            observations: Observations::Totals(vec![1; stacks.len()]),
        }),
        ..Profile::default()
    };
    let small = stacks.chunks_exact(20).cycle().take(20_000).map(profile);
    let all = [profile(&stacks)].into_iter().chain(small).collect();
    // for each to look at all of the places is 6 * 10^9 looks
    let after = bench_of(json!({ "max_rows": 16 })).run(&Profiles::of(d, all));
    assert!(after.iter().all(|at| at.profile.samples.len() == 16));
}

fn bench_of(config: serde_json::Value) -> Bench {
    Bench::of(build, "compact", config)
}

fn thresholds(profiles: &Profiles, profile: &Profile) -> Option<Vec<f64>> {
    match profiles
        .dictionary()
        .attribute(profile.attributes, SAMPLING_THRESHOLD)?
    {
        Value::Array(thresholds) => Some(
            thresholds
                .iter()
                .map(|threshold| match threshold {
                    Value::Double(threshold) => *threshold,
                    other => panic!("{other:?}"),
                })
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

/// What each function took with what it calls, in the first type.
fn functions(profiles: &Profiles, profile: &Profile) -> BTreeMap<String, f64> {
    let (d, mut sums) = (profiles.dictionary(), BTreeMap::new());
    for (row, stack) in profile.samples.stacks.iter().enumerate() {
        let value = profile.samples.total(row, 0, profile.sample_types.len()) as f64;
        let lines = d.stacks[*stack].iter().flat_map(|place| &d.lines[*place]);
        let mut names: Vec<&str> = lines.map(|line| d.str(d.functions[line.function].name)).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            *sums.entry(name.to_owned()).or_insert(0.0) += value;
        }
    }
    sums
}

/// Of every profile of a file few rows are left, with the same sums, and no function is off by more than is said.
fn check(bytes: Vec<u8>, max_rows: usize, compacted: u64) {
    let mut before = read(bytes);
    before.compact();
    let bench = bench_of(json!({ "max_rows": max_rows }));
    let after = bench.run(&before);
    assert_eq!(bench.counted("compacted"), compacted);
    assert_eq!(before.profile_count(), after.profile_count());
    for (was, is) in before.iter().zip(after.iter()) {
        let (was, is) = (was.profile, is.profile);
        assert!(is.samples.len() <= max_rows);
        let types = was.sample_types.len();
        for column in 0..types {
            assert_eq!(is.samples.sum(column, types), was.samples.sum(column, types));
        }
        let Some(thresholds) = thresholds(&after, is) else {
            assert_eq!(is.samples.len(), was.samples.len());
            continue;
        };
        assert_eq!(thresholds.len(), types);
        let (truth, told) = (functions(&before, was), functions(&after, is));
        assert!(told.keys().all(|name| truth.contains_key(name)), "a function is new");
        for (name, value) in truth {
            let off = told.get(&name).copied().unwrap_or_default() - value;
            // what is rarer than a few thresholds is told by a sample or two; the start is fixed, so this holds always or never
            let sigma = (thresholds[0] * value).sqrt();
            let most = (5.0 * sigma).max(10.0 * thresholds[0]) + 1.0;
            assert!(off.abs() <= most, "{off} of {value}");
        }
    }
}

#[test]
fn sums_are_exact_and_functions_close_in_our_recordings() {
    check(data("go123-heap.pb.gz"), 40, 1);
    check(data("go123-cpu-labels.pb.gz"), 100, 1);
    check(data("node20-wall-cpu-labels.pb.gz"), 100, 1);
    // timestamps alone
    check(data("ap-cpu.jfrconv.otlp"), 100, 1);
    check(data("ap-wall.jfr.gz"), 100, 2);
    check(data("rust-jemalloc-heap.pb.gz"), 16, 1);
}

#[test]
fn sums_are_exact_and_functions_close_in_large_recordings() {
    for (name, rows, compacted) in [
        ("pprof/go123-large-heap.pb.gz", 1000, 1),
        ("otlp/go123-large-heap.otlp.gz", 1000, 1),
        ("pprof/go123-large-cpu-traces.pb.gz", 300, 1),
        ("legacy-pprof/ext-large.cpu.gz", 500, 1),
    ] {
        if let Some(bytes) = corpus_file(name) {
            check(bytes, rows, compacted);
        }
    }
}

#[test]
fn bytes_are_kept_within_and_used() {
    let profiles = read(data("go123-cpu-labels.pb.gz"));
    let whole = otlp::encode(&Profiles::merge([&profiles])).len();
    for most in [whole * 3 / 4, whole / 2, whole / 4, whole / 8] {
        let bench = bench_of(json!({ "max_bytes": most }));
        let after = bench.run(&profiles);
        let bytes = otlp::encode(&after).len();
        assert!(bytes <= most && bytes > most / 2, "{bytes} of {most}");
        assert_eq!(bench.counted("compacted"), 1);
        for column in [0, 1] {
            let sum = |profiles: &Profiles| profiles.iter().next().unwrap().profile.samples.sum(column, 2);
            assert_eq!(sum(&after), sum(&profiles));
        }
    }
}

#[test]
fn bytes_are_those_of_a_profile_and_not_of_its_request() {
    let both = Profiles::merge([&read(data("go123-cpu-labels.pb.gz")), &read(data("rust-cpu.pb.gz"))]);
    let sizes: Vec<usize> = both.by_profile().iter().map(|one| otlp::encode(one).len()).collect();
    let most = *sizes.iter().max().unwrap();
    let bench = bench_of(json!({ "max_bytes": most }));
    assert_eq!(bench.run(&both).sample_count(), both.sample_count());
    assert_eq!(bench.counted("small_enough"), 2);
    let bench = bench_of(json!({ "max_bytes": most - 1 }));
    let after = bench.run(&both);
    assert_eq!((bench.counted("small_enough"), bench.counted("compacted")), (1, 1));
    assert!(after.by_profile().iter().all(|one| otlp::encode(one).len() < most));
}

#[test]
fn a_profile_whose_texts_are_too_large_is_said() {
    let bench = bench_of(json!({ "max_bytes": 100 }));
    let after = bench.run(&read(data("go123-cpu-labels.pb.gz")));
    assert_eq!(bench.counted("too_large"), 1);
    assert!((1..=FEWEST_ROWS).contains(&after.sample_count()));
}

#[test]
fn what_is_small_enough_keeps_its_bytes() {
    for (config, result) in [
        (json!({}), "small_enough"),
        (json!({ "max_bytes": "1MiB" }), "small_enough"),
        (json!({ "max_rows": 16, "dry_run": true }), "would_compact"),
        (json!({ "max_bytes": 1000, "dry_run": true }), "would_compact"),
    ] {
        let bench = bench_of(config);
        let Ok(mut read) = any::decode_any(data("go123-cpu-labels.pb.gz").into(), &Limits::default()) else {
            panic!("a recording of our own")
        };
        read.decoded.exact = true;
        let received = Received {
            format: Format::Pprof,
            bytes: Bytes::from_static(b"as it came"),
        };
        let origin = Arc::new(Origin::local("test"));
        let batch = bench.batch(Batch::profiles(read.decoded, received, origin, Permit::unlimited()));
        assert!(batch.received().is_some(), "{result}");
        assert_eq!(bench.counted(result), 1);
    }
}

#[test]
fn a_second_time_adds_its_error_and_the_first_still_counts() {
    let before = read(data("go123-cpu-labels.pb.gz"));
    let first = bench_of(json!({ "max_rows": 300 })).run(&before);
    let second = bench_of(json!({ "max_rows": 100 })).run(&first);
    let alone = bench_of(json!({ "max_rows": 100 })).run(&before);
    let of = |profiles: &Profiles| thresholds(profiles, profiles.iter().next().unwrap().profile).unwrap();
    for column in [0, 1] {
        let (first, second, alone) = (of(&first)[column], of(&second)[column], of(&alone)[column]);
        assert!(
            first > 0.0 && second > first && second > alone,
            "{first} {second} {alone}"
        );
    }
}

#[test]
fn a_resend_gives_the_same_bytes() {
    let profiles = read(data("go123-heap.pb.gz"));
    let bytes = || otlp::encode(&bench_of(json!({ "max_rows": 40 })).run(&profiles));
    assert_eq!(bytes(), bytes());
}

#[test]
fn differences_of_profiles_pass() {
    let mut profiles = read(data("go123-cpu-labels.pb.gz"));
    let samples = Arc::make_mut(&mut profiles.edit_resources()[0].scopes[0].profiles[0].samples);
    if let crate::profile::Observations::Totals(values) = &mut samples.observations {
        values[0] = -1;
    }
    let bench = bench_of(json!({ "max_rows": 16, "max_bytes": 1000 }));
    assert_eq!(bench.run(&profiles).sample_count(), profiles.sample_count());
    assert_eq!(bench.counted("negative"), 1);
}

#[test]
fn too_few_rows_are_refused() {
    let cx = BuildContext::new("compact", Arc::default());
    let error = build(json!({ "max_rows": 15 }), &cx).err().unwrap();
    assert_eq!(error.path, "max_rows");
}

#[test]
fn the_rest_has_a_name_of_its_own_where_that_is_wanted() {
    let before = read(data("go123-cpu-labels.pb.gz"));
    let after = bench_of(json!({ "max_rows": 100, "method": "largest_and_other" })).run(&before);
    let (was, is) = (
        before.iter().next().unwrap().profile,
        after.iter().next().unwrap().profile,
    );
    assert_eq!(is.samples.len(), 100);
    assert_eq!(is.samples.sum(1, 2), was.samples.sum(1, 2));
    assert!(functions(&after, is)[OTHER_NAME] > 0.0);
    assert!(after.dictionary().attribute(is.attributes, OTHER).is_some());
    let bytes = otlp::encode(&after).len();
    let within = bench_of(json!({ "max_bytes": bytes, "method": "largest_and_other" })).run(&before);
    assert!(otlp::encode(&within).len() <= bytes);
}
