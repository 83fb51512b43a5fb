//! What thinning to a rate promises, on recordings. Where the large ones are absent their tests say so and pass.

mod recordings;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::formats::{Format, Limits, any, otlp, pprof};
use crate::pipeline::Permit;
use crate::pipeline::batch::Received;
use crate::processors::bench::Bench;
use crate::profile::{
    Counts, KEEP_RATIO, Link, LocationId, Observations, Profile, Profiles, Ratio, Samples, StringId, Value,
};
use crate::testing::{corpus_file, data};

const PERIOD_AT_19: i64 = 52_631_579;

fn read(bytes: Vec<u8>) -> Profiles {
    match any::decode_any(bytes.into(), &Limits::default()) {
        Ok(read) => read.decoded.profiles,
        Err(error) => panic!("{error}"),
    }
}

fn bench_of(id: &str, config: serde_json::Value) -> Bench {
    Bench::of(build, id, config)
}

fn to(hz: f64) -> Bench {
    bench_of("downsample", json!({ "target_hz": hz }))
}

fn profiles_of(profiles: &Profiles) -> Vec<&Profile> {
    profiles.iter().map(|at| at.profile).collect()
}

fn ratio_of(profiles: &Profiles, profile: &Profile) -> Option<f64> {
    match profiles.dictionary().attribute(profile.attributes, KEEP_RATIO)? {
        Value::Double(ratio) => Some(*ratio),
        other => panic!("{other:?}"),
    }
}

/// What a frame is called: by its functions, or where it has none by its address.
fn name_of(d: &Dictionary, frame: LocationId) -> String {
    let lines = d.lines[frame].iter();
    let names: Vec<&str> = lines.map(|line| d.str(d.functions[line.function].name)).collect();
    if !names.is_empty() {
        return names.join(" in ");
    }
    let place = d.locations[frame];
    format!("{} {:x}", d.str(d.mappings[place.mapping].filename), place.address)
}

/// Counts below every call path of a profile, from the root on.
fn paths(d: &Dictionary, profile: &Profile, counts: Counts) -> BTreeMap<Vec<String>, f64> {
    let mut sums = BTreeMap::new();
    let samples = &profile.samples;
    for (row, stack) in samples.stacks.iter().enumerate() {
        let count = counts.of_row(samples, row, profile.sample_types.len()) as f64;
        let mut path = Vec::new();
        *sums.entry(path.clone()).or_insert(0.0) += count;
        for frame in d.stacks[*stack].iter().rev() {
            path.push(name_of(d, *frame));
            *sums.entry(path.clone()).or_insert(0.0) += count;
        }
    }
    sums
}

fn links(d: &Dictionary, profile: &Profile) -> HashSet<Link> {
    profile.samples.links.iter().map(|link| d.links[*link]).collect()
}

/// Every call path of what can be thinned is off by less than one kept sample, and nothing is new.
fn check(bytes: Vec<u8>, thinned: usize) {
    let before = read(bytes);
    let bench = bench_of("downsample", json!({ "target_hz": 19, "keep_linked": false }));
    let after = bench.run(&before);
    assert_eq!(before.profile_count(), after.profile_count());
    assert_eq!(bench.counted("thinned"), thinned as u64);
    let (old, new) = (before.dictionary(), after.dictionary());
    for (was, is) in profiles_of(&before).into_iter().zip(profiles_of(&after)) {
        let Some(ratio) = ratio_of(&after, is) else { continue };
        let counts = Sampling::of(old, was).unwrap().counts;
        let now = counts.thinned(Ratio::of_periods(was.period.max(0) as u64, is.period.max(0) as u64));
        let (before_of, after_of) = (was, is);
        let (was, is) = (paths(old, was, counts), paths(new, is, now));
        assert!(is.keys().all(|path| was.contains_key(path)), "a call path is new");
        assert!(links(new, after_of).is_subset(&links(old, before_of)), "a link is new");
        for (path, count) in was {
            let off = is.get(&path).copied().unwrap_or_default() - count * ratio;
            assert!(off.abs() < 1.0 + 1e-6, "{off} of {count} at a depth of {}", path.len());
        }
    }
}

#[test]
fn call_paths_hold_in_our_recordings() {
    check(data("go123-cpu-labels.pb.gz"), 1);
    check(data("node20-wall-cpu-labels.pb.gz"), 1);
    check(data("rust-cpu.pb.gz"), 1);
    // timestamps alone, as of eBPF, and counts alone
    check(data("ap-cpu.jfrconv.otlp"), 1);
    check(data("ap-cpu-native.otlp"), 1);
    check(data("ap-wall.jfr.gz"), 2);
    check(data("go123-cpu-links.otlp"), 1);
}

#[test]
fn call_paths_hold_in_large_recordings() {
    for (name, thinned) in [
        ("pprof/go123-large-cpu-traces.pb.gz", 1),
        // without a period, counted at different rates
        ("jfr/jdk25-cputime.jfr", 3),
        ("jfr/ap-all.jfr", 1),
        ("otlp/go123-large-cpu-links.otlp.gz", 1),
        ("legacy-pprof/ext-large.cpu.gz", 1),
        ("otlp/ext-otel-ebpf-profile.otlp", 0),
    ] {
        if let Some(bytes) = corpus_file(name) {
            check(bytes, thinned);
        }
    }
}

#[test]
fn a_dry_run_tells_how_far_off_it_would_be() {
    let before = read(data("go123-cpu-labels.pb.gz"));
    let bench = bench_of("downsample", json!({ "target_hz": 19, "dry_run": true }));
    assert_eq!(bench.run(&before).sample_count(), before.sample_count());
    assert_eq!(bench.counted("would_thin"), 1);
}

#[test]
fn counts_period_and_seconds_agree() {
    let before = read(data("go123-cpu-labels.pb.gz"));
    let after = to(19.0).run(&before);
    let (was, is) = (profiles_of(&before)[0], profiles_of(&after)[0]);
    assert_eq!(is.period, PERIOD_AT_19);
    for row in 0..is.samples.len() {
        assert_eq!(is.samples.total(row, 1, 2), is.samples.total(row, 0, 2) * PERIOD_AT_19);
    }
    let off = is.samples.sum(1, 2) - was.samples.sum(1, 2);
    assert!(off.abs() < i128::from(PERIOD_AT_19), "{off}");
    let ratio = ratio_of(&after, is).unwrap();
    assert!((ratio - 10_000_000.0 / PERIOD_AT_19 as f64).abs() < 1e-12);
    assert_eq!(
        (is.time_unix_nano, is.duration_nano),
        (was.time_unix_nano, was.duration_nano)
    );
}

#[test]
fn timestamps_that_are_left_were_there() {
    let before = read(data("ap-cpu.jfrconv.otlp"));
    let after = to(19.0).run(&before);
    let times = |profiles: &Profiles| match &profiles_of(profiles)[0].samples.observations {
        Observations::Series(series) => (series.timestamps.clone(), series.values.clone()),
        Observations::Totals(_) => panic!("a series"),
    };
    let ((was, _), (is, values)) = (times(&before), times(&after));
    assert!(values.is_empty() && is.iter().all(|time| was.contains(time)));
    assert_eq!(profiles_of(&after)[0].period, PERIOD_AT_19);
    assert!((is.len() as f64 - was.len() as f64 * 5e6 / PERIOD_AT_19 as f64).abs() < 1.0);
}

#[test]
fn a_second_thinning_multiplies() {
    let first = to(50.0).run(&read(data("go123-cpu-labels.pb.gz")));
    let second = to(19.0).run(&first);
    let ratios = [&first, &second].map(|profiles| ratio_of(profiles, profiles_of(profiles)[0]).unwrap());
    assert!((ratios[0] - 0.5).abs() < 1e-12, "{ratios:?}");
    assert!(
        (ratios[1] - 10_000_000.0 / PERIOD_AT_19 as f64).abs() < 1e-12,
        "{ratios:?}"
    );
    let again = to(19.0).run(&second);
    assert_eq!(otlp::encode(&again), otlp::encode(&second));
}

#[test]
fn what_stays_as_it_is_keeps_its_bytes() {
    let near = |hz| json!({ "target_hz": hz });
    for (file, format, config, result) in [
        ("go123-cpu-labels.pb.gz", Format::Pprof, near(99.0), "slow_enough"),
        ("go123-cpu-labels.pb.gz", Format::Pprof, near(91.0), "slow_enough"),
        ("go123-heap.pb.gz", Format::Pprof, near(19.0), "weighted"),
        ("go123-mutex.pb.gz", Format::Pprof, near(19.0), "weighted"),
        ("go123-block.pb.gz", Format::Pprof, near(19.0), "weighted"),
        ("go123-threadcreate.pb.gz", Format::Pprof, near(19.0), "weighted"),
        ("rust-jemalloc-heap.pb.gz", Format::Pprof, near(19.0), "weighted"),
        ("ap-alloc-total.jfrconv.otlp", Format::Otlp, near(19.0), "weighted"),
        (
            "rust-cpu.pb.gz",
            Format::Pprof,
            json!({ "target_hz": 19, "dry_run": true }),
            "would_thin",
        ),
    ] {
        let bench = bench_of("downsample", config);
        let Ok(mut read) = any::decode_any(data(file).into(), &Limits::default()) else {
            panic!("{file}")
        };
        read.decoded.exact = true;
        let received = Received {
            format,
            bytes: Bytes::from_static(b"as it came"),
        };
        let origin = Arc::new(Origin::local("test"));
        let batch = Batch::profiles(read.decoded, received.clone(), origin, Permit::unlimited());
        let samples = batch.as_profiles().unwrap().sample_count();
        let is_kept = batch.received().is_some();
        let batch = bench.batch(batch);
        assert_eq!(batch.received().is_some(), is_kept, "{file}");
        assert_eq!(bench.counted(result), 1, "{file}: {result}");
        assert_eq!(batch.as_profiles().unwrap().sample_count(), samples);
    }
}

/// A made CPU profile: of `rows` stacks each was seen once, and every so many of them point at a span, none at 0.
fn made(rows: usize, linked_every: usize, period: i64) -> Profiles {
    let mut d = Dictionary::default();
    let mut samples = Samples::default();
    let mut values = Vec::new();
    for row in 0..rows {
        let frames: Vec<_> = [row % 7, row % 3, 0]
            .into_iter()
            .map(|n| {
                let name = d.strings.push(&format!("function-{n}"));
                let function = d.functions.push(crate::profile::Function {
                    name,
                    ..Default::default()
                });
                let line = crate::profile::Line {
                    function,
                    ..Default::default()
                };
                d.push_location(Default::default(), &[line])
            })
            .collect();
        samples.stacks.push(d.stacks.push(&frames));
        samples.attributes.push(Default::default());
        let number = (row as u64 + 1).to_be_bytes();
        let link = Link {
            trace_id: [number, number].concat().try_into().unwrap(),
            span_id: number,
        };
        let is_linked = linked_every > 0 && row % linked_every == 0;
        samples.links.push(if is_linked {
            d.links.push(link)
        } else {
            Default::default()
        });
        values.extend([1, period]);
    }
    samples.observations = Observations::Totals(values);
    let mut of = |kind: &str, unit: &str| crate::profile::ValueType {
        kind: d.strings.push(kind),
        unit: d.strings.push(unit),
    };
    let profile = Profile {
        sample_types: vec![of("samples", "count"), of("cpu", "nanoseconds")],
        period_type: of("cpu", "nanoseconds"),
        period,
        samples: samples.into(),
        time_unix_nano: 1_700_000_000_000_000_000,
        duration_nano: 60_000_000_000,
        ids: vec![[1; 16], [2; 16]],
        siblings: 1,
        ..Profile::default()
    };
    Profiles::of(d, vec![profile])
}

const PERIOD_AT_99: i64 = 10_101_010;

#[test]
fn links_are_thinned_last_and_leave_apart() {
    let before = made(6000, 20, PERIOD_AT_99);
    let after = to(19.0).run(&before);
    let parts = profiles_of(&after);
    assert_eq!(parts.len(), 2);
    let linked = parts[1].samples.links.iter().filter(|link| link.is_set()).count();
    assert_eq!(linked, 300, "each of the links is left");
    assert!(parts[0].samples.links.iter().all(|link| !link.is_set()));
    assert_eq!((parts[1].period, ratio_of(&after, parts[1])), (PERIOD_AT_99, Some(1.0)));
    let ratio = ratio_of(&after, parts[0]).unwrap();
    assert!((parts[0].period as f64 * ratio - PERIOD_AT_99 as f64).abs() < 1.0);
    // in all as many as at the target, and as many seconds as before
    let counts: i128 = parts.iter().map(|part| part.samples.sum(0, 2)).sum();
    assert!((counts as f64 - 6000.0 * 19.0 / 99.0).abs() < 2.0, "{counts}");
    let seconds: i128 = parts.iter().map(|part| part.samples.sum(1, 2)).sum();
    let off = seconds - profiles_of(&before)[0].samples.sum(1, 2);
    assert!(off.abs() < i128::from(parts[0].period), "{off}");
    assert!(
        parts[1].time_unix_nano > parts[0].time_unix_nano,
        "no server takes one for the other"
    );
    assert!(parts[0].ids.len() == 2 && parts[1].ids.is_empty());
    let mut undated = made(6000, 20, PERIOD_AT_99);
    undated.edit_resources()[0].scopes[0].profiles[0].time_unix_nano = 0;
    let after = to(19.0).run(&undated);
    let times: Vec<u64> = profiles_of(&after).iter().map(|part| part.time_unix_nano).collect();
    assert_eq!(times, [0, 0], "no time is made up");
}

#[test]
fn where_most_are_linked_those_are_thinned_as_well() {
    for (every, parts) in [(2, 2), (1, 1)] {
        let before = made(6000, every, PERIOD_AT_99);
        let after = to(19.0).run(&before);
        assert_eq!(after.profile_count(), parts);
        let counts: i128 = after.iter().map(|at| at.profile.samples.sum(0, 2)).sum();
        assert!((counts as f64 - 6000.0 * 19.0 / 99.0).abs() < 2.0, "{counts}");
        for at in after.iter() {
            for row in 0..at.profile.samples.len() {
                let value = |column| at.profile.samples.total(row, column, 2);
                assert_eq!(value(1), value(0) * at.profile.period);
            }
        }
    }
    let together = bench_of("downsample", json!({ "target_hz": 19, "keep_linked": false }));
    assert_eq!(together.run(&made(6000, 20, PERIOD_AT_99)).profile_count(), 1);
}

#[test]
fn a_resend_gives_the_same_bytes_and_another_processor_others() {
    let before = read(data("rust-cpu.pb.gz"));
    let bytes = |id: &str, profiles: &Profiles| otlp::encode(&bench_of(id, json!({ "target_hz": 19 })).run(profiles));
    assert_eq!(bytes("downsample", &before), bytes("downsample", &before));
    assert_ne!(bytes("downsample", &before), bytes("downsample/b", &before));
    // only what is said counts, so that of two replicas neither sees what the other does
    let mut later = before.clone();
    later.edit_resources()[0].scopes[0].profiles[0].time_unix_nano += 1;
    let stacks = |profiles: &Profiles| to(19.0).run(profiles).dictionary().stacks.len();
    let starts = |profiles: &Profiles| bytes("downsample", profiles);
    assert!(starts(&before) != starts(&later) && stacks(&before) > 1);
}

#[test]
fn it_makes_no_difference_which_way_a_profile_came() {
    for file in [
        "go123-cpu-labels.pb.gz",
        "rust-cpu.pb.gz",
        "node20-wall-cpu-labels.pb.gz",
    ] {
        let mut direct = read(data(file));
        // OTLP has equal samples once
        direct.compact();
        let by_otlp = otlp::decode(&otlp::encode(&direct), &Limits::default(), otlp::WireVersion::default());
        let written = |profiles: Profiles| {
            let after = to(19.0).run(&profiles);
            let at = after.iter().next().unwrap();
            let options = pprof::EncodeOptions::default();
            let bytes = pprof::encode(after.dictionary(), at.resource, at.profile, &options).unwrap();
            crate::profile::testing::tell(&read(bytes))
        };
        assert!(written(direct) == written(by_otlp.unwrap().profiles), "{file}");
    }
}

/// The profile with another period, and perhaps another type of it.
fn with_period(period: i64, says_type: bool) -> Profiles {
    let mut profiles = made(600, 0, PERIOD_AT_99);
    let profile = &mut profiles.edit_resources()[0].scopes[0].profiles[0];
    profile.period = period;
    if !says_type {
        profile.period_type = Default::default();
    }
    profiles
}

#[test]
fn without_a_period_the_time_that_was_measured_tells() {
    // 1 ns is what some write who do not know it
    for (period, says_type) in [(0, true), (0, false), (1, true), (-5, true)] {
        let after = to(19.0).run(&with_period(period, says_type));
        let profile = profiles_of(&after)[0];
        assert_eq!(profile.period, period, "what was not said is not made up");
        assert!((ratio_of(&after, profile).unwrap() - 19.0 / 99.0).abs() < 1e-4);
        let seconds = profile.samples.sum(1, 2) as f64 / 1e9;
        assert!((seconds - 600.0 / 99.0).abs() < 1.0 / 19.0, "{seconds}");
    }
    let bench = to(19.0);
    let mut profiles = with_period(0, false);
    let (_, resources) = profiles.edit();
    let profile = &mut resources[0].scopes[0].profiles[0];
    let samples = Arc::make_mut(&mut profile.samples);
    profile.sample_types.truncate(1);
    samples.observations = Observations::Totals(vec![1; 600]);
    assert_eq!(bench.run(&profiles).sample_count(), {
        profiles.compact();
        profiles.sample_count()
    });
    assert_eq!(bench.counted("no_rate"), 1);
}

#[test]
fn a_difference_of_profiles_is_not_thinned() {
    let bench = to(19.0);
    let mut profiles = made(600, 0, PERIOD_AT_99);
    let samples = Arc::make_mut(&mut profiles.edit_resources()[0].scopes[0].profiles[0].samples);
    samples.observations = Observations::Totals([-1, -PERIOD_AT_99].repeat(600));
    let after = bench.run(&profiles);
    assert_eq!(profiles_of(&after)[0].samples.sum(0, 2), -600);
    assert_eq!(bench.counted("weighted"), 1);
}

#[test]
fn time_alone_is_counts_where_it_is_a_multiple_of_the_period() {
    let with_times = |each: i64| {
        let mut profiles = made(600, 0, PERIOD_AT_99);
        let (_, resources) = profiles.edit();
        let profile = &mut resources[0].scopes[0].profiles[0];
        profile.sample_types.remove(0);
        Arc::make_mut(&mut profile.samples).observations = Observations::Totals(vec![each; 600]);
        to(19.0).run(&profiles)
    };
    let after = with_times(3 * PERIOD_AT_99);
    let profile = profiles_of(&after)[0];
    assert_eq!(profile.period, PERIOD_AT_19);
    let off = profile.samples.sum(0, 1) - i128::from(1800 * PERIOD_AT_99);
    assert!(off.abs() < i128::from(PERIOD_AT_19), "{off}");
    let measured = with_times(3 * PERIOD_AT_99 + 1);
    assert_eq!(
        profiles_of(&measured)[0].period,
        PERIOD_AT_99,
        "each was measured for itself"
    );
}

#[test]
fn a_profile_of_which_nothing_is_left_still_says_that_it_was() {
    let tiny = made(1, 0, PERIOD_AT_99);
    let empty = (0..300).map(|n| {
        let after = bench_of(&format!("downsample/{n}"), json!({ "target_hz": 9.9 })).run(&tiny);
        let profile = profiles_of(&after)[0].clone();
        assert_eq!((after.profile_count(), profile.duration_nano), (1, 60_000_000_000));
        usize::from(profile.samples.is_empty())
    });
    let empty: usize = empty.sum();
    assert!((244..=296).contains(&empty), "one of ten is kept: {empty}");
    let bench = to(19.0);
    let mut none = made(0, 1, PERIOD_AT_99);
    none.compact();
    assert_eq!(bench.run(&none).profile_count(), 1);
    assert_eq!(bench.counted("empty"), 1);
}

#[test]
fn an_attached_original_goes_with_its_samples() {
    let mut profiles = made(600, 0, PERIOD_AT_99);
    let original = crate::profile::OriginalPayload {
        format: StringId::UNSET,
        bytes: Bytes::from_static(b"all samples"),
    };
    profiles.edit_resources()[0].scopes[0].profiles[0].original_payload = Some(original);
    let after = to(19.0).run(&profiles);
    assert!(profiles_of(&after)[0].original_payload.is_none());
    let after = to(99.0).run(&profiles);
    assert!(profiles_of(&after)[0].original_payload.is_some());
}

#[test]
fn one_huge_count_is_thinned_like_any() {
    let mut profiles = made(2, 0, PERIOD_AT_99);
    let samples = Arc::make_mut(&mut profiles.edit_resources()[0].scopes[0].profiles[0].samples);
    samples.observations = Observations::Totals(vec![i64::MAX, i64::MAX, 1, PERIOD_AT_99]);
    let after = to(19.0).run(&profiles);
    let kept = profiles_of(&after)[0].samples.sum(0, 2) as f64;
    assert!((kept / i64::MAX as f64 - 19.0 / 99.0).abs() < 1e-6, "{kept}");
}

#[test]
fn the_first_service_that_matches_says_the_rate() {
    let config = json!({ "services": [
        { "match": { "tenant": "nobody" }, "target_hz": 1 },
        { "match": { "profile.type": "cpu" }, "target_hz": 19 },
        { "match": { "tenant": "*" }, "target_hz": 2 },
    ]});
    let after = bench_of("downsample", config).run(&made(600, 0, PERIOD_AT_99));
    assert_eq!(profiles_of(&after)[0].period, PERIOD_AT_19);
}

#[test]
fn a_rate_that_is_none_is_refused_where_it_stands() {
    let cx = BuildContext::new("downsample", Arc::default());
    let target = |hz: f64| json!({ "match": { "tenant": "*" }, "target_hz": hz });
    for (config, path) in [
        (json!({ "target_hz": 0 }), "target_hz"),
        (json!({ "target_hz": -19.0 }), "target_hz"),
        (
            json!({ "services": [target(99.0), target(1e9)] }),
            "services[1].target_hz",
        ),
        (
            json!({ "services": [{ "match": {}, "target_hz": 1 }] }),
            "services[0].match",
        ),
        (
            json!({ "services": [{ "match": { "sample.x": "*" }, "target_hz": 1 }] }),
            "services[0].match",
        ),
    ] {
        let error = build(config.clone(), &cx).err().unwrap_or_else(|| panic!("{config}"));
        assert_eq!(error.path, path, "{error}");
    }
}
