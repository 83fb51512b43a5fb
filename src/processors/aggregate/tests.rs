//! What comes of profiles that are held, with a clock of the tests' own; on recordings too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::formats::{Limits, any};
use crate::pipeline::{Budget, Origin};
use crate::profile::{Dictionary, KeyValue, Observations, Samples, Value, ValueType};
use crate::telemetry::Metrics;
use crate::testing::data;

/// A full minute, long ago.
const MINUTE: u64 = 1_700_000_040 * SECOND;
const SECOND: u64 = 1_000_000_000;

/// A processor with what it counted.
struct Bench {
    hold: Hold,
    begin: Instant,
    budget: Budget,
}

/// One profile of a service.
#[derive(Clone, Debug)]
struct Sent {
    tenant: &'static str,
    service: String,
    kind: &'static str,
    time: u64,
    duration: u64,
    value: i64,
}

impl Sent {
    fn at(seconds: u64) -> Self {
        Self {
            tenant: "default",
            service: "checkout".to_owned(),
            kind: "cpu",
            time: MINUTE + seconds * SECOND,
            duration: 10 * SECOND,
            value: 1,
        }
    }

    fn profiles(&self) -> Profiles {
        let mut d = Dictionary::default();
        let kind = d.strings.push(self.kind);
        let location = d.push_location(Default::default(), &[]);
        let samples = Samples {
            stacks: vec![d.stacks.push(&[location])],
            attributes: vec![Default::default()],
            links: vec![Default::default()],
            observations: Observations::Totals(vec![self.value]),
        };
        let profile = Profile {
            sample_types: vec![ValueType { kind, unit: kind }],
            samples: Arc::new(samples),
            time_unix_nano: self.time,
            duration_nano: self.duration,
            ..Profile::default()
        };
        let attribute = KeyValue {
            key: d.strings.push("service.name"),
            value: Value::String(d.strings.push(&self.service)),
        };
        let mut profiles = Profiles::of(d, vec![profile]);
        profiles.edit_resources()[0].attributes = vec![attribute];
        profiles
    }
}

impl Bench {
    fn of(config: serde_json::Value) -> Self {
        let config: Config = parse(config).unwrap();
        let metrics = Metrics::default().aggregate(&"aggregate".into());
        Self {
            hold: Hold::new(config.check().unwrap(), metrics),
            begin: Instant::now(),
            budget: Budget::new(1 << 30),
        }
    }

    fn batch(&self, tenant: &str, profiles: Profiles) -> Batch {
        let origin = Origin {
            tenant: tenant.into(),
            ..Origin::local("test")
        };
        let permit = self.budget.permit();
        permit.hold(profiles.heap_bytes());
        Batch::made(profiles.clone(), profiles.received_count(), Arc::new(origin), permit)
    }

    /// What goes on at once of a batch that comes so many seconds after the beginning.
    fn process(&self, batch: Batch, seconds: u64) -> Vec<Batch> {
        match self.hold.process_at(batch, self.begin + Duration::from_secs(seconds)) {
            Verdict::Hold(batches) => batches,
            Verdict::Pass { batch, rejected: None } => vec![batch],
            other => panic!("{other:?}"),
        }
    }

    fn send(&self, sent: &Sent, seconds: u64) -> Vec<Batch> {
        self.process(self.batch(sent.tenant, sent.profiles()), seconds)
    }

    fn due_after(&self, seconds: u64) -> Vec<Batch> {
        self.hold
            .windows
            .flush(false, self.begin + Duration::from_secs(seconds))
    }
}

/// Of batches: tenant, service, kind, start in seconds of the minute, sum, weight.
fn tell(batches: &[Batch]) -> Vec<(String, String, String, u64, i128, u64)> {
    let mut told = Vec::new();
    for batch in batches {
        let profiles = batch.as_profiles().unwrap();
        let d = profiles.dictionary();
        for at in profiles.iter() {
            told.push((
                batch.origin().tenant.to_string(),
                at.resource
                    .attribute_str(d, "service.name")
                    .unwrap_or_default()
                    .to_owned(),
                d.str(at.profile.sample_types[0].kind).to_owned(),
                (at.profile.time_unix_nano - MINUTE) / SECOND,
                at.profile.samples.sum(0, at.profile.sample_types.len()),
                batch.weight(),
            ));
        }
    }
    told.sort();
    told
}

fn of(sent: &Sent, start: u64, sum: i128, weight: u64) -> (String, String, String, u64, i128, u64) {
    (
        sent.tenant.to_owned(),
        sent.service.clone(),
        sent.kind.to_owned(),
        start,
        sum,
        weight,
    )
}

#[test]
fn a_window_becomes_one_when_it_is_due() {
    let bench = Bench::of(json!({}));
    assert_eq!(bench.hold.due(), None);
    for seconds in 0..6 {
        let sent = Sent::at(10 * seconds);
        assert!(bench.send(&sent, 10 * seconds).is_empty());
        assert_eq!(bench.hold.due(), Some(bench.begin + Duration::from_secs(60)));
    }
    // the next window
    bench.send(&Sent::at(60), 60);
    assert!(bench.due_after(59).is_empty());
    let due = bench.due_after(60);
    assert_eq!(tell(&due), [of(&Sent::at(0), 0, 6, 6)]);
    let profiles = due[0].as_profiles().unwrap();
    assert_eq!(profiles.iter().next().unwrap().profile.duration_nano, 60 * SECOND);
    assert_eq!(bench.hold.due(), Some(bench.begin + Duration::from_secs(120)));
    assert_eq!(tell(&bench.hold.flush(true)), [of(&Sent::at(0), 60, 1, 1)]);
    let counted = |result| bench.hold.metrics.profiles_count(result);
    assert_eq!((counted("taken"), counted("made")), (7, 2));
    assert_eq!(
        (
            bench.hold.metrics.closed_count("due"),
            bench.hold.metrics.closed_count("end")
        ),
        (1, 1)
    );
    assert_eq!(bench.hold.metrics.held_profiles().get(), 0);
    assert_eq!(bench.hold.metrics.held_bytes().get(), 0);
    drop(due);
    assert_eq!(bench.budget.used(), 0);
}

#[test]
fn old_and_late_profiles_are_not_mixed_with_new_ones() {
    let bench = Bench::of(json!({}));
    bench.send(&Sent::at(50), 0);
    bench.send(&Sent::at(60), 1);
    bench.send(&Sent::at(3_600), 2);
    let late = Sent::at(40);
    bench.send(&late, 3);
    assert_eq!(
        tell(&bench.hold.flush(true)),
        [of(&late, 40, 2, 2), of(&late, 60, 1, 1), of(&late, 3_600, 1, 1)]
    );
}

#[test]
fn what_is_as_long_as_the_window_or_undated_goes_on_as_it_came() {
    let bench = Bench::of(json!({"window": "30s"}));
    let long = Sent {
        duration: 30 * SECOND,
        ..Sent::at(0)
    };
    let undated = Sent { time: 0, ..Sent::at(0) };
    for one in [&long, &undated] {
        let on = bench.send(one, 0);
        assert_eq!((on.len(), on[0].weight()), (1, 1));
    }
    assert_eq!(bench.hold.due(), None);
    // beside one that is held
    let both = Profiles::merge([&long.profiles(), &Sent::at(7).profiles()]);
    assert_eq!(
        tell(&bench.process(bench.batch("default", both), 0)),
        [of(&long, 0, 1, 1)]
    );
    assert_eq!(tell(&bench.hold.flush(true)), [of(&long, 7, 1, 1)]);
    let counted = |result| bench.hold.metrics.profiles_count(result);
    assert_eq!((counted("long"), counted("undated"), counted("taken")), (2, 1, 1));
}

#[test]
fn all_kinds_of_a_resource_leave_in_one_request() {
    let bench = Bench::of(json!({}));
    let kinds = ["cpu", "alloc_space", "goroutine"];
    for seconds in 0..3 {
        for kind in kinds {
            let sent = Sent {
                kind,
                value: 5,
                ..Sent::at(seconds)
            };
            bench.send(&sent, seconds);
        }
    }
    let all = bench.hold.flush(true);
    assert_eq!((all.len(), all[0].weight()), (1, 9));
    let sums: BTreeMap<String, i128> = tell(&all).into_iter().map(|one| (one.2, one.4)).collect();
    let expected = [("alloc_space", 15), ("cpu", 15), ("goroutine", 5)];
    assert_eq!(sums, expected.map(|(kind, sum)| (kind.to_owned(), sum)).into());
}

#[test]
fn counters_without_a_duration_count_from_the_start_unless_it_is_said_otherwise() {
    for (counters, duration, expected) in [
        ("by_duration", 0, 20),
        ("by_duration", 10 * SECOND, 30),
        ("added", 0, 30),
        ("since_start", 10 * SECOND, 20),
    ] {
        let bench = Bench::of(json!({ "counters": counters, "gauges": "mean" }));
        for (at, value) in [(0, 10), (10, 20)] {
            let kind = "alloc_space";
            bench.send(
                &Sent {
                    kind,
                    duration,
                    value,
                    ..Sent::at(at)
                },
                0,
            );
        }
        assert_eq!(tell(&bench.hold.flush(true))[0].4, expected, "{counters} {duration}");
    }
}

#[test]
fn what_is_not_usable_is_refused_by_name() {
    for (config, path) in [
        (json!({"window": "0s"}), "window"),
        (json!({"window": "2h"}), "window"),
        (json!({"max_profiles": 0}), "max_profiles"),
        (json!({"max_bytes": 1}), "max_bytes"),
        (json!({"gauge_types": ["a", {"regex": "("}]}), "gauge_types[1]"),
        (json!({"gauges": "sum"}), "gauges"),
    ] {
        let refused = parse::<Config>(config).and_then(|config| config.check().map(|_| ()));
        assert_eq!(refused.unwrap_err().path, path);
    }
}

#[test]
fn very_many_services_stay_within_their_memory_and_none_is_lost() {
    let bench = Bench::of(json!({"max_profiles": 100_000, "max_bytes": "16MiB"}));
    let (mut out, mut weight, mut most) = (0, 0, 0);
    for n in 0..100_000 {
        let sent = Sent {
            service: format!("service-{n}"),
            ..Sent::at(n % 60)
        };
        for batch in bench.send(&sent, 0) {
            out += 1;
            weight += batch.weight();
        }
        most = most.max(bench.budget.used());
    }
    assert!(most <= 17 << 20, "{most}");
    assert!(out > 0 && bench.hold.metrics.closed_count("max_bytes") == out);
    weight += bench.hold.flush(true).iter().map(Batch::weight).sum::<u64>();
    assert_eq!(weight, 100_000);
    assert_eq!(bench.budget.used(), 0);

    let bench = Bench::of(json!({"max_profiles": 10}));
    for n in 0..15 {
        let gone = bench.send(
            &Sent {
                service: n.to_string(),
                ..Sent::at(0)
            },
            n,
        );
        let oldest = n.checked_sub(10).map(|oldest| Sent {
            service: oldest.to_string(),
            ..Sent::at(0)
        });
        assert_eq!(
            tell(&gone),
            oldest
                .map(|oldest| of(&oldest, 0, 1, 1))
                .into_iter()
                .collect::<Vec<_>>()
        );
    }
    assert_eq!(bench.hold.metrics.closed_count("max_profiles"), 5);
}

#[test]
fn no_more_than_a_part_of_the_memory_of_the_process_is_held() {
    let mut bench = Bench::of(json!({}));
    bench.budget = Budget::new(1 << 20);
    for n in 0..1_000 {
        bench.send(
            &Sent {
                service: format!("service-{n}"),
                ..Sent::at(0)
            },
            0,
        );
        assert!(bench.budget.used() <= (1 << 18) + 8_192, "{}", bench.budget.used());
    }
}

#[test]
fn windows_are_closed_while_others_add_to_them() {
    let bench = Bench::of(json!({}));
    let weight = std::sync::atomic::AtomicU64::new(0);
    let count = |batches: Vec<Batch>| {
        let sum = batches.iter().map(Batch::weight).sum();
        weight.fetch_add(sum, std::sync::atomic::Ordering::SeqCst);
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|n| count(bench.send(&Sent::at(n % 60), 0))));
        }
        scope.spawn(|| (0..500).for_each(|_| count(bench.hold.flush(true))));
    });
    count(bench.hold.flush(true));
    assert_eq!(weight.into_inner(), 2_000);
    assert_eq!(bench.budget.used(), 0);
    assert_eq!(bench.hold.metrics.held_bytes().get(), 0);
}

fn any_sent() -> impl Strategy<Value = Sent> {
    (0usize..2, 0u8..3, 0usize..2, 0u64..200, 1i64..100).prop_map(|(tenant, service, kind, at, value)| Sent {
        tenant: ["shop", "bank"][tenant],
        service: format!("service-{service}"),
        kind: ["cpu", "wall"][kind],
        value,
        ..Sent::at(at)
    })
}

proptest! {
    #[test]
    fn prop_nothing_is_lost_or_mixed_whenever_it_is_due(
        all in proptest::collection::vec((any_sent(), 0u64..10, any::<bool>()), 0..60), most in 1usize..20,
    ) {
        let bench = Bench::of(json!({ "max_profiles": most }));
        let (mut now, mut out) = (0, Vec::new());
        for (sent, pause, ends) in &all {
            now += pause;
            out.extend(bench.send(sent, now));
            out.extend(bench.due_after(now));
            if *ends && now % 7 == 0 {
                out.extend(bench.hold.flush(true));
            }
        }
        out.extend(bench.hold.flush(true));
        let mut expected = BTreeMap::<(String, String, String, u64), i128>::new();
        for (sent, ..) in &all {
            let window = (sent.time - MINUTE) / SECOND / 60;
            let key = (sent.tenant.to_owned(), sent.service.clone(), sent.kind.to_owned(), window);
            *expected.entry(key).or_default() += i128::from(sent.value);
        }
        let mut told = BTreeMap::new();
        for (tenant, service, kind, start, sum, _) in tell(&out) {
            *told.entry((tenant, service, kind, start / 60)).or_default() += sum;
        }
        prop_assert_eq!(told, expected);
        prop_assert_eq!(out.iter().map(Batch::weight).sum::<u64>(), all.len() as u64);
        drop(out);
        prop_assert_eq!(bench.budget.used(), 0);
    }
}

/// A recording of ours, as if it began so many seconds after the full minute.
fn recording(name: &str, seconds: u64, duration: Option<u64>) -> Profiles {
    let Ok(read) = any::decode_any(data(name).into(), &Limits::default()) else {
        panic!("a recording of our own")
    };
    let mut profiles = read.decoded.profiles;
    for profile in profiles
        .edit_resources()
        .iter_mut()
        .flat_map(|r| &mut r.scopes)
        .flat_map(|s| &mut s.profiles)
    {
        profile.time_unix_nano = MINUTE + seconds * SECOND;
        profile.duration_nano = duration.unwrap_or(profile.duration_nano);
    }
    profiles
}

fn merged(bench: &Bench, parts: &[Profiles]) -> Profiles {
    for part in parts {
        assert!(bench.process(bench.batch("default", part.clone()), 0).is_empty());
    }
    let mut all = bench.hold.flush(true);
    assert_eq!(all.len(), 1);
    all.pop().unwrap().as_profiles().unwrap().clone()
}

#[test]
fn the_heap_of_go_sums_what_was_allocated_and_tells_what_is_in_use() {
    let heap = |n: u64| recording("go123-heap.pb.gz", 10 * n, Some(10 * SECOND));
    let sums = |profiles: &Profiles| {
        let profile = profiles.iter().next().unwrap().profile;
        [0, 1, 2, 3].map(|column| profile.samples.sum(column, 4))
    };
    let [objects, space, inuse_objects, inuse_space] = sums(&heap(0));
    for gauges in ["last", "mean"] {
        let bench = Bench::of(json!({ "gauges": gauges }));
        let all = merged(&bench, &[heap(0), heap(1), heap(2), heap(3)]);
        assert_eq!(
            sums(&all),
            [4 * objects, 4 * space, inuse_objects, inuse_space],
            "{gauges}"
        );
        // Go writes down stacks of which nothing is left, too
        let mut alone = heap(0);
        alone.compact();
        let profile = alone.iter().next().unwrap().profile;
        let tells = |row: &usize| (0..4).any(|column| profile.samples.total(*row, column, 4) != 0);
        let told = (0..profile.samples.len()).filter(tells).count();
        assert_eq!(all.sample_count(), told, "equal stacks are one");
    }
}
