use std::collections::BTreeMap;

use super::*;
use crate::formats::{Limits, any};
use crate::profile::{KeyValue, Thinning, Value, thin_profiles};
use crate::testing::data;

fn read(name: &str) -> Profiles {
    let read = any::decode_any(data(name).into(), &Limits::default());
    read.expect("a recording of our own").decoded.profiles
}

fn whole(profiles: &Profiles) -> Evidence {
    let profile = profiles.iter().next().unwrap().profile;
    let rows: Vec<usize> = (0..profile.samples.len()).collect();
    Evidence::of(&Counting::of(profiles.dictionary(), profile), &rows)
}

/// Every trace with the sums of its samples, by a walk of its own.
fn traces(profiles: &Profiles) -> BTreeMap<u128, Vec<i128>> {
    let mut sums = BTreeMap::new();
    for at in profiles.iter() {
        let (samples, types) = (&at.profile.samples, at.profile.sample_types.len());
        for (row, link) in samples.links.iter().enumerate().filter(|(_, link)| link.is_set()) {
            let trace = u128::from_be_bytes(profiles.dictionary().links[*link].trace_id);
            let sums: &mut Vec<i128> = sums.entry(trace).or_default();
            sums.resize(types, 0);
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum += i128::from(samples.total(row, column, types));
            }
        }
    }
    sums
}

#[test]
fn samples_are_counted_by_the_best_that_tells() {
    // the numbers are those of another reader
    for (name, samples, counted, hz) in [
        ("go123-cpu-labels.pb.gz", 785, Counted::Counts, Some(100)),
        ("go123-cpu-links.otlp", 785, Counted::Counts, Some(100)),
        ("rust-cpu.pb.gz", 1649, Counted::Counts, Some(499)),
        ("ap-cpu.jfrconv.otlp", 1871, Counted::Counts, Some(200)),
        ("ap-alloc-total.jfrconv.otlp", 1001, Counted::Timestamps, None),
        ("go123-heap.pb.gz", 142, Counted::Rows, None),
        ("py-spy-threads.collapsed", 2076, Counted::Counts, None),
    ] {
        let found = whole(&read(name));
        let told = (found.samples, found.counted, found.hz.map(|hz| hz.round() as u64));
        assert_eq!(told, (samples, counted, hz), "{name}");
    }
}

#[test]
fn values_that_are_periods_are_counted_in_those() {
    let mut profiles = read("go123-cpu-labels.pb.gz");
    for profile in profiles
        .edit_resources()
        .iter_mut()
        .flat_map(|resource| &mut resource.scopes[0].profiles)
    {
        // the seconds alone, as from a sender of one type
        let seconds = (0..profile.samples.len())
            .map(|row| profile.samples.total(row, 1, 2))
            .collect();
        let samples = (*profile.samples).clone();
        profile.samples = std::sync::Arc::new(crate::profile::Samples {
            observations: Observations::Totals(seconds),
            ..samples
        });
        profile.sample_types.remove(0);
    }
    let found = whole(&profiles);
    assert_eq!((found.samples, found.counted), (785, Counted::Periods));
}

#[test]
fn what_thinning_left_out_is_not_counted() {
    let mut profiles = read("go123-cpu-labels.pb.gz");
    let before = whole(&profiles);
    let plan = {
        let (d, at) = (profiles.dictionary(), profiles.iter().next().unwrap());
        Thinning::to_rate(&Sampling::of(d, at.profile).unwrap(), at.profile, 20.0, true)
    };
    thin_profiles(&mut profiles, &[Some(plan)], "test");
    let after = whole(&profiles);
    assert!(
        after.samples.abs_diff(before.samples / 5) <= 1,
        "{after:?} of {before:?}"
    );
    assert_eq!(after.hz.map(f64::round), Some(20.0));
}

#[test]
fn the_same_service_is_one_whoever_runs_it_and_others_are_apart() {
    let base = read("go123-cpu-links.otlp");
    let (trace, sums) = traces(&base).into_iter().next().unwrap();
    let of = |service: &str, host: &str| {
        let mut profiles = base.clone();
        let (d, resources) = profiles.edit();
        resources[0].attributes = [("service.name", service), ("host.name", host)]
            .map(|(key, value)| KeyValue {
                key: d.strings.push(key),
                value: Value::String(d.strings.push(value)),
            })
            .into();
        profiles
    };
    let mut gathering = Gathering::new(Wanted::Trace(trace));
    let mut rows = 0;
    for (service, host) in [("shop", "a"), ("shop", "b"), ("other", "a"), ("left", "a")] {
        rows = gathering.add(&of(service, host), &|d, at| {
            at.resource.attribute_str(d, SERVICE_NAME) != Some("left")
        });
    }
    assert_eq!(rows, 0, "nothing is taken that is not to be taken");
    let found = gathering.finish();
    let told = found
        .iter()
        .map(|one| (one.service.as_str(), one.profiles.profile_count()));
    assert_eq!(told.collect::<Vec<_>>(), [("other", 1), ("shop", 1)]);
    for (one, times) in found.iter().zip([1, 2]) {
        let profile = one.profiles.iter().next().unwrap().profile;
        let types = profile.sample_types.len();
        let told: Vec<i128> = (0..types).map(|column| profile.samples.sum(column, types)).collect();
        assert_eq!(told, sums.iter().map(|sum| sum * times).collect::<Vec<_>>());
        assert_eq!(i128::from(one.evidence.samples), times * sums[0]);
        assert_eq!(profile.period, 10_000_000);
        assert!(one.profiles.is_compact());
        let strings = &one.profiles.dictionary().strings;
        assert!(
            strings.ids().all(|id| &strings[id] != "host.name"),
            "nothing but the name"
        );
    }
}

#[test]
fn every_trace_of_a_recording_is_found_with_its_sums() {
    for name in ["go123-cpu-links.otlp", "node20-wall-cpu-links.otlp"] {
        let profiles = read(name);
        let all = traces(&profiles);
        assert!(all.len() > 1, "{name}");
        for (trace, sums) in all {
            let mut gathering = Gathering::new(Wanted::Trace(trace));
            gathering.add(&profiles, &|_, _| true);
            let found = gathering.finish();
            let mut told = vec![0; sums.len()];
            for one in &found {
                let profile = one.profiles.iter().next().unwrap().profile;
                for (column, sum) in told.iter_mut().enumerate() {
                    *sum += profile.samples.sum(column, profile.sample_types.len());
                }
            }
            assert_eq!(told, sums, "{name}");
        }
    }
}

#[test]
fn the_error_is_one_by_the_root_of_the_samples() {
    let evidence = |samples| Evidence {
        samples,
        hz: Some(19.0),
        ..Evidence::default()
    };
    assert_eq!(
        [0, 1, 4, 100].map(|samples| evidence(samples).error()),
        [1.0, 1.0, 0.5, 0.1]
    );
    assert_eq!(evidence(1).seen_from(), Some(3.0 / 19.0));
}
