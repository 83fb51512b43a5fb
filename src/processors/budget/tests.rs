//! What a budget promises, through the real processor, on real recordings and a clock of the test's own.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::demand::TICK;
use super::*;
use crate::formats::{Format, Limits as Bounds, any, otlp};
use crate::pipeline::{Permit, Received};
use crate::profile::{KEEP_RATIO, KeyValue, Observations, Profile};
use crate::telemetry::Metrics;
use crate::testing::data;

fn read(name: &str) -> Profiles {
    match any::decode_any(data(name).into(), &Bounds::default()) {
        Ok(read) => {
            let mut profiles = read.decoded.profiles;
            profiles.compact();
            profiles
        }
        Err(error) => panic!("{error}"),
    }
}

/// The same profiles of a service.
fn of_service(profiles: &Profiles, service: &str) -> Profiles {
    let mut of_service = profiles.clone();
    let (d, resources) = of_service.edit();
    let key = d.strings.push("service.name");
    let value = Value::String(d.strings.push(service));
    for resource in resources {
        resource.attributes.retain(|row| d.str(row.key) != "service.name");
        resource.attributes.push(KeyValue {
            key,
            value: value.clone(),
        });
    }
    of_service.compact();
    of_service
}

/// A budget with a clock of its own.
struct Bench {
    budget: Budget,
    metrics: Arc<Metrics>,
    began: SystemTime,
}

/// What came of one request.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    bytes: usize,
    rows: usize,
    dropped: u64,
    profiles: Option<Vec<u8>>,
}

impl Bench {
    fn of(config: serde_json::Value) -> Self {
        let metrics: Arc<Metrics> = Arc::default();
        let cx = BuildContext::new("budget", metrics.clone());
        Self {
            budget: Budget::new(parse(config).unwrap(), &cx).unwrap(),
            metrics,
            began: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        }
    }

    fn send_as(&self, tenant: &str, profiles: &Profiles, at: f64) -> (Kept, Option<Profiles>) {
        let origin = Origin {
            tenant: tenant.into(),
            ..Origin::local("otlp")
        };
        let weight = profiles.received_count();
        let batch = Batch::made(profiles.clone(), weight, Arc::new(origin), Permit::unlimited());
        let now = self.began + Duration::from_secs_f64(at);
        let (mut batch, dropped) = match self.budget.process(batch, &Context { now }) {
            Verdict::Pass { batch, rejected } => (
                Some(batch),
                rejected.map_or(0, |(dropped, reason)| {
                    assert_eq!(reason, Reason::OverBudget);
                    dropped
                }),
            ),
            Verdict::Drop(reason) => {
                assert_eq!(reason, Reason::OverBudget);
                (None, weight)
            }
            other => panic!("{other:?}"),
        };
        if let Some(batch) = &mut batch {
            batch.compact();
            assert_eq!(batch.weight() + dropped, weight, "nothing vanishes");
        }
        let left = batch.as_ref().and_then(|batch| batch.as_profiles()).cloned();
        let encoded = left.as_ref().map(otlp::encode);
        let kept = Kept {
            bytes: encoded.as_ref().map_or(0, Vec::len),
            rows: left.as_ref().map_or(0, Profiles::sample_count),
            dropped,
            profiles: encoded,
        };
        (kept, left)
    }

    fn send(&self, profiles: &Profiles, at: f64) -> Kept {
        self.send_as("default", profiles, at).0
    }

    fn judged(&self, outcome: &'static str) -> u64 {
        self.metrics.budget(&"budget".into()).judged_count(outcome)
    }
}

/// The sums of a recording, and how far each may be off: of counts those that are left of the share that is said to be kept, in each part; of
/// what they stand for one kept count.
fn check_sums(before: &Profiles, after: &Profiles) {
    let d = after.dictionary();
    let truth = before.iter().next().unwrap().profile;
    let types = truth.sample_types.len();
    let parts: Vec<&Profile> = after.iter().map(|at| at.profile).collect();
    let ratio = |part: &Profile| match d.attribute(part.attributes, KEEP_RATIO) {
        Some(Value::Double(ratio)) => *ratio,
        _ => 1.0,
    };
    let counts_looks = |column: usize| {
        let unit = before.dictionary().str(truth.sample_types[column].unit);
        let is_series = matches!(truth.samples.observations, Observations::Series(_));
        is_series || unit == "count"
    };
    let all = |column: usize| truth.samples.sum(column, types) as f64;
    for column in 0..types {
        // each part says how much of it was kept
        let told: f64 = parts
            .iter()
            .map(|part| {
                let sum = part.samples.sum(column, types) as f64;
                sum / if counts_looks(column) { ratio(part) } else { 1.0 }
            })
            .sum();
        let thinned = parts.iter().map(|part| ratio(part)).filter(|ratio| *ratio < 1.0);
        let looks = (0..types)
            .filter(|column| counts_looks(*column))
            .map(all)
            .fold(0.0, f64::max);
        let each = all(column) / looks.max(1.0);
        let off: f64 = thinned.map(|ratio| each / ratio).sum();
        // what was measured besides counts is estimated, at most as far off as if each look were kept by a chance of its own
        let looked = (0..types).find(|column| counts_looks(*column)).unwrap_or_default();
        let total = |row, column| truth.samples.total(row, column, types) as f64;
        let is_even = (0..truth.samples.len()).all(|row| total(row, column) % each == 0.0);
        let squares = (0..truth.samples.len()).map(|row| total(row, column).powi(2) / total(row, looked).max(1.0));
        let least = parts.iter().map(|part| ratio(part)).fold(1.0, f64::min);
        let sigma = (squares.sum::<f64>() * (1.0 - least) / least).sqrt();
        let off = if is_even { off } else { off + 5.0 * sigma };
        assert!(
            (told - all(column)).abs() <= off + 1e-6 * all(column),
            "{told} of {}, {off}",
            all(column)
        );
    }
}

/// A recording cut down to a few rows, so that many can be sent.
fn few_rows(profiles: &Profiles) -> Profiles {
    let mut few = profiles.clone();
    let (key, keep_linked) = ("few", true);
    crate::profile::Leaving::ByChance { key, keep_linked }.apply(&mut few, &[Some(16)]);
    few.compact();
    few
}

/// The same of the service of that number.
fn named(profiles: &Profiles, number: u32) -> Profiles {
    of_service(profiles, &format!("name-{number}"))
}

/// Services that each send a profile every so many seconds; bytes that are kept in each tick.
fn load(bench: &Bench, services: &[Profiles], every: f64, ticks: usize) -> Vec<usize> {
    let mut kept = vec![0; ticks];
    let step = every / services.len() as f64;
    let count = (ticks as f64 * 10.0 / step) as usize;
    for n in 0..count {
        let at = n as f64 * step;
        let tick = (at / 10.0) as usize;
        let profiles = &services[n % services.len()];
        kept[tick] += bench.send(profiles, at).bytes;
    }
    kept
}

const RECORDINGS: [&str; 4] = [
    "go123-cpu-labels.pb.gz",
    "node20-wall-cpu-labels.pb.gz",
    "go123-heap.pb.gz",
    "ap-cpu.jfrconv.otlp",
];

/// So many services, each with one of the recordings.
fn services(count: usize) -> Vec<Profiles> {
    let recordings = RECORDINGS.map(read);
    let of = |n: usize| of_service(&recordings[n % recordings.len()], &format!("service-{n}"));
    (0..count).map(of).collect()
}

fn encoded(profiles: &Profiles) -> f64 {
    otlp::encode(profiles).len() as f64
}

#[test]
fn ten_times_the_budget_is_kept_within_it_after_two_ticks() {
    let services = services(12);
    // each sends every five seconds
    let budget = services.iter().map(encoded).sum::<f64>() / 5.0 / 10.0;
    let bench = Bench::of(json!({
        "global": { "bytes_per_s": budget as u64 },
        "default": { "bytes_per_s": "100MiB", "profiles_per_s": 100 },
    }));
    let kept = load(&bench, &services, 5.0, 40);
    let of_budget: Vec<f64> = kept.iter().map(|bytes| *bytes as f64 / (budget * TICK)).collect();
    let after: f64 = of_budget[2..].iter().sum::<f64>() / 38.0;
    assert!(of_budget[2..].iter().all(|kept| *kept <= 1.1), "{of_budget:.2?}");
    assert!((0.7..=1.0).contains(&after), "{after} of {of_budget:.2?}");
    assert_eq!(bench.judged("dropped"), 0, "totals are right");
}

#[test]
fn each_key_keeps_to_its_own_budget_and_takes_from_nobody() {
    let (loud, quiet) = (
        of_service(&read(RECORDINGS[0]), "loud"),
        of_service(&read(RECORDINGS[2]), "quiet"),
    );
    let bench = Bench::of(json!({ "default": { "bytes_per_s": "8KiB", "profiles_per_s": 100 } }));
    let (mut kept, mut ticks) = (0.0, vec![0.0; 30]);
    for second in 0..300 {
        let at = f64::from(second);
        ticks[second as usize / 10] += bench.send(&loud, at).bytes as f64;
        if second % 10 == 0 && second >= 20 {
            kept += bench.send(&quiet, at).bytes as f64;
        }
    }
    assert_eq!(kept, 28.0 * encoded(&quiet), "it is below its own");
    let most = 8.0 * 1024.0 * TICK;
    assert!(ticks[2..].iter().all(|kept| *kept <= 1.1 * most), "{ticks:?} of {most}");
    let after: f64 = ticks[10..].iter().sum::<f64>() / 20.0;
    assert!(after >= 0.7 * most, "{after} of {most}");
}

#[test]
fn a_constant_load_has_constant_shares() {
    let services = services(8);
    let budget = services.iter().map(encoded).sum::<f64>() / 6.0 / 4.0;
    let bench = Bench::of(json!({
        "global": { "bytes_per_s": budget as u64 },
        "default": { "bytes_per_s": "100MiB", "profiles_per_s": 100 },
    }));
    let mut ratios: Vec<Vec<f64>> = Vec::new();
    for tick in 0..60 {
        for n in 0..80 {
            bench.send(&services[n % 8], f64::from(tick) * TICK + n as f64 / 8.0);
        }
        ratios.push(bench.budget.accounts().ratios());
    }
    for key in 0..8 {
        let of_key: Vec<f64> = ratios[12..].iter().map(|all| all[key]).collect();
        let turns = of_key.windows(3).filter(|of| (of[1] - of[0]) * (of[2] - of[1]) < 0.0);
        assert_eq!(turns.count(), 0, "{of_key:?}");
    }
}

#[test]
fn who_invents_names_gains_nothing() {
    let bench = Bench::of(json!({
        "max_keys": 2000,
        "newcomers": { "bytes_per_s": "64KiB", "profiles_per_s": 2000 },
        "default": { "bytes_per_s": "64KiB", "profiles_per_s": 100 },
    }));
    let small = few_rows(&read(RECORDINGS[2]));
    let (mut kept, mut keys) = (vec![0.0; 20], 0);
    let honest = of_service(&small, "honest");
    let mut honest_bytes = 0.0;
    for n in 0..100_000 {
        let at = f64::from(n) / 500.0;
        kept[(at / TICK) as usize] += bench.send(&named(&small, n), at).bytes as f64;
        keys = keys.max(bench.budget.accounts().keys());
        if n % 500 == 0 {
            let passed = bench.send(&honest, at).bytes as f64;
            // before that it is new itself
            if at >= 20.0 {
                honest_bytes += passed;
            }
        }
    }
    assert!(keys <= 2000, "{keys}");
    let most = 64.0 * 1024.0 * TICK;
    assert!(kept[2..].iter().all(|kept| *kept <= 1.1 * most), "{kept:?} of {most}");
    assert_eq!(honest_bytes, 180.0 * encoded(&honest), "who is known keeps its own");
}

#[test]
fn a_million_names_are_no_more_than_may_be_known() {
    let terms = Terms {
        max_keys: 10_000,
        global: f64::INFINITY,
        newcomers: Limits {
            target_hz: 99.0,
            bytes_per_s: 1e6,
            profiles_per_s: 50.0,
            burst: 30.0,
            weight: 1.0,
            keep_linked: true,
        },
        floor_every: 300.0,
        floor_profiles: 1,
    };
    let mut accounts = Accounts::new(terms.clone());
    let began = SystemTime::UNIX_EPOCH;
    for n in 0..1_000_000u64 {
        accounts.go_on(began + Duration::from_micros(300 * n));
        let offer = Offer {
            who: Who {
                tenant: n % 5_000,
                key: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                kind: n % 40,
            },
            limits: terms.newcomers,
            tenant: TenantLimits::default(),
            bytes: 1000.0,
            rows: 1.0,
            profiles: 1.0,
        };
        accounts.admit(&offer);
        assert!(accounts.keys() <= 10_000);
    }
    let (tenants, places) = accounts.capacity();
    assert!(
        tenants <= 2_000 && places <= 200_000,
        "{tenants} tenants, room for {places} keys"
    );
    accounts.go_on(began + Duration::from_secs(3_600));
    assert_eq!(accounts.keys(), 0, "who is quiet is forgotten");
}

#[test]
fn a_profile_of_each_service_passes_whatever_the_budget() {
    let services = services(4);
    let bench = Bench::of(json!({
        "default": { "bytes_per_s": 1, "profiles_per_s": 100 },
        "newcomers": { "bytes_per_s": 1 },
        "floor": { "every": "1m" },
    }));
    let mut with_stacks = vec![[0; 4]; 10];
    for second in 0..600 {
        for (n, service) in services.iter().enumerate() {
            let kept = bench.send(service, f64::from(second));
            with_stacks[second as usize / 60][n] += usize::from(kept.rows > 1);
            assert!(second < 60 || kept.bytes < 24 * 1024, "{}", kept.bytes);
        }
    }
    for minute in &with_stacks[2..] {
        assert_eq!(minute, &[1; 4], "{with_stacks:?}");
    }
}

/// What is left of a recording under each step alone, for budgets of less and less.
#[test]
fn totals_are_right_on_every_rung() {
    for name in RECORDINGS {
        let one = of_service(&read(name), "service");
        for rungs in [json!(["thin"]), json!(["compact"]), json!(["totals_only"])] {
            for part in [2.0, 20.0] {
                let bench = Bench::of(json!({
                    "default": { "bytes_per_s": (encoded(&one) / part) as u64 + 1, "profiles_per_s": 100, "target_hz": 100_000 },
                    "over_budget": rungs,
                }));
                for second in 0..30 {
                    let (_, left) = bench.send_as("default", &one, f64::from(second));
                    check_sums(&one, &left.unwrap());
                }
            }
        }
    }
}

#[test]
fn a_resend_and_another_gate_give_the_same_bytes() {
    let services = services(4);
    let run = || {
        let bench = Bench::of(json!({ "default": { "bytes_per_s": "4KiB", "profiles_per_s": 100 } }));
        let kept = (0..120).map(|n| bench.send(&services[n % 4], n as f64 * 0.7).profiles);
        kept.collect::<Vec<_>>()
    };
    let (first, second) = (run(), run());
    assert!(first.iter().flatten().count() > 100);
    assert_eq!(first, second);
}

#[test]
fn steps_are_taken_in_their_order_and_only_those_that_are_named() {
    let one = of_service(&read(RECORDINGS[0]), "service");
    let outcome = |rungs: serde_json::Value, bytes: u64| {
        let bench = Bench::of(json!({
            "default": { "bytes_per_s": bytes, "profiles_per_s": 100 },
            "over_budget": rungs,
            "floor": { "profiles": 0 },
        }));
        for second in 0..40 {
            bench.send(&one, f64::from(second));
        }
        let outcomes = ["full", "thinned", "compacted", "totals_only", "dropped"];
        let counts = outcomes.map(|outcome| bench.judged(outcome));
        let last = bench.send(&one, 41.0);
        assert_eq!(counts.iter().sum::<u64>(), 40);
        let now = outcomes.map(|outcome| bench.judged(outcome));
        let taken = outcomes
            .iter()
            .zip(counts)
            .zip(now)
            .find(|((_, before), now)| before < now);
        (*taken.unwrap().0.0, last)
    };
    let all = || json!(["thin", "compact", "totals_only", "drop"]);
    let whole = encoded(&one) as u64;
    assert_eq!(outcome(all(), 2 * whole).0, "full");
    assert_eq!(outcome(all(), whole * 8 / 10).0, "thinned");
    assert_eq!(outcome(all(), whole / 5).0, "compacted");
    assert_eq!(outcome(all(), whole / 200).0, "totals_only");
    assert_eq!(outcome(all(), 1).0, "dropped");
    assert_eq!(outcome(json!(["compact", "drop"]), whole * 8 / 10).0, "compacted");
    assert_eq!(outcome(json!(["totals_only"]), whole * 8 / 10).0, "totals_only");
    assert_eq!(outcome(json!(["drop"]), 1).0, "dropped");
    assert_eq!(outcome(json!(["thin"]), 1).0, "thinned");
    let (outcome, last) = outcome(json!(["compact"]), 1);
    assert_eq!((outcome, last.rows), ("compacted", 16));
}

#[test]
fn what_is_within_its_budget_keeps_its_bytes() {
    let Ok(mut read) = any::decode_any(data("go123-heap.pb.gz").into(), &Bounds::default()) else {
        panic!("a recording of our own")
    };
    read.decoded.exact = true;
    let received = Received {
        format: Format::Pprof,
        bytes: bytes::Bytes::from_static(b"as it came"),
    };
    let origin = Arc::new(Origin::local("test"));
    let batch = Batch::profiles(read.decoded, received, origin, Permit::unlimited());
    let bench = Bench::of(json!({}));
    match bench.budget.process(batch, &Context { now: bench.began }) {
        Verdict::Pass { batch, rejected: None } => assert!(batch.received().is_some()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dry_run_changes_nothing_and_counts_the_same() {
    let services = services(4);
    let run = |dry_run: bool| {
        let bench = Bench::of(json!({
            "default": { "bytes_per_s": "4KiB", "profiles_per_s": 100 },
            "dry_run": dry_run,
        }));
        let mut changed = 0;
        for n in 0..400 {
            let one = &services[n % 4];
            changed += usize::from(bench.send(one, n as f64 * 0.5).bytes as f64 != encoded(one));
        }
        (
            changed,
            ["full", "at_target", "thinned", "compacted", "totals_only", "dropped"]
                .map(|outcome| bench.judged(outcome)),
        )
    };
    let ((changed, wet), (unchanged, dry)) = (run(false), run(true));
    assert!(changed > 300 && unchanged == 0);
    // what a key's bytes come to is learned by doing it, so that some more get only totals
    assert!(wet[0].abs_diff(dry[0]) <= 8, "{wet:?} {dry:?}");
    assert_eq!(wet.iter().sum::<u64>(), dry.iter().sum::<u64>());
}

#[test]
fn tenants_share_by_weight() {
    let one = of_service(&read(RECORDINGS[1]), "service");
    let budget = encoded(&one) * 2.0;
    let bench = Bench::of(json!({
        "global": { "bytes_per_s": budget as u64 },
        "tenants": [{ "tenant": "large", "weight": 3 }, { "tenant": "capped-*", "bytes_per_s": (budget / 20.0) as u64 }],
        "default": { "bytes_per_s": "100MiB", "profiles_per_s": 100 },
    }));
    let mut kept = [0.0; 3];
    for n in 0..1_200 {
        let at = f64::from(n) * 0.25;
        for (tenant, kept) in ["large", "small", "capped-1"].iter().zip(&mut kept) {
            let bytes = bench.send_as(tenant, &one, at).0.bytes as f64;
            *kept += if at >= 100.0 { bytes / 200.0 } else { 0.0 };
        }
    }
    let [large, small, capped] = kept.map(|kept| kept / budget);
    assert!((large / small - 3.0).abs() < 0.3, "{large} {small}");
    assert!((0.03..=0.05).contains(&capped), "{capped}");
    let all = large + small + capped;
    assert!((0.7..=1.0).contains(&all), "{all}");
}

#[test]
fn a_clock_that_jumps_does_no_harm() {
    let one = of_service(&read(RECORDINGS[0]), "service");
    let bench = Bench::of(json!({ "default": { "bytes_per_s": "4KiB", "profiles_per_s": 100 } }));
    for at in [1e6, 1e6 + 10.0, 0.0, 5.0, 15.0, 1e9, 1e9 + 1.0, 10.0] {
        bench.send(&one, at);
    }
    assert!(bench.send(&one, 11.0).bytes as f64 <= encoded(&one));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let cx = BuildContext::new("budget", Arc::default());
    for (config, path) in [
        (json!({ "keys": ["service"] }), "keys[0]"),
        (
            json!({ "bounds": { "target_hz": { "max": 0 } } }),
            "bounds.target_hz.max",
        ),
        (json!({ "max_keys": 0 }), "max_keys"),
        (json!({ "over_budget": [] }), "over_budget"),
        (json!({ "default": { "target_hz": 0 } }), "default.target_hz"),
        (json!({ "default": { "bytes_per_s": 0 } }), "default.bytes_per_s"),
        (json!({ "default": { "burst": "0s" } }), "default.burst"),
        (json!({ "services": [{ "match": {} }] }), "services[0].match"),
        (
            json!({ "services": [{ "match": { "tenant": "a" }, "weight": 0 }] }),
            "services[0].weight",
        ),
        (json!({ "floor": { "every": "0s" } }), "floor.every"),
        (
            json!({ "keys": ["service.name"], "tenants": [{ "tenant": "a" }] }),
            "tenants",
        ),
        (
            json!({ "keys": ["service.name"], "monthly": { "tenants": { "a": "5 GB" } } }),
            "monthly.tenants",
        ),
        (json!({ "global": { "bytes_per_s": 0 } }), "global.bytes_per_s"),
    ] {
        let error = build(config.clone(), &cx).err().unwrap_or_else(|| panic!("{config}"));
        assert_eq!(error.path, path, "{config}");
    }
}
