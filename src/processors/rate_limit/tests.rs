use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::pipeline::Permit;
use crate::profile::testing::any_profiles;
use crate::profile::{KeyValue, Profile, ResourceProfiles, Samples, ScopeProfiles, StackId};
use crate::telemetry::Metrics;

const SECOND: u64 = 1_000_000_000;

fn context() -> BuildContext {
    BuildContext::new("rate_limit", Arc::new(Metrics::default()))
}

fn limiter(config: serde_json::Value) -> RateLimit {
    let cx = context();
    let config: Config = parse(config).unwrap();
    let (limits, parts) = (config.check().unwrap(), config.parts().unwrap());
    let tells_tenants = parts.contains(&KeyPart::Tenant);
    RateLimit {
        parts,
        keys: Mutex::new(Keys::new(limits.len(), config.max_keys, tells_tenants)),
        limits,
        on_limit: config.on_limit,
        hasher: foldhash::fast::RandomState::default(),
        began: Instant::now(),
        metrics: cx.metrics.rate_limit(&cx.id),
    }
}

/// A profile of each service, with so many samples.
fn batch(tenant: &str, services: &[(&str, usize)]) -> Batch {
    let mut d = Dictionary::default();
    let key = d.strings.push("service.name");
    let resource = |(service, samples): &(&str, usize)| {
        let mut own = Samples::default();
        for _ in 0..*samples {
            own.stacks.push(StackId::UNSET);
            own.attributes.push(crate::profile::AttributeSetId::UNSET);
            own.links.push(crate::profile::LinkId::UNSET);
        }
        own.observations = crate::profile::Observations::Totals(vec![1; *samples]);
        let kind = d.strings.push("cpu");
        let profile = Profile {
            sample_types: vec![crate::profile::ValueType { kind, unit: kind }],
            samples: Arc::new(own),
            ..Profile::default()
        };
        ResourceProfiles {
            attributes: vec![KeyValue {
                key,
                value: Value::String(d.strings.push(service)),
            }],
            scopes: vec![ScopeProfiles {
                profiles: vec![profile],
                ..ScopeProfiles::default()
            }],
            ..ResourceProfiles::default()
        }
    };
    let resources = services.iter().map(resource).collect();
    let origin = Origin {
        tenant: tenant.into(),
        ..Origin::local("otlp")
    };
    let weight = services.len() as u64;
    Batch::made(
        Profiles::new(d, resources),
        weight,
        Arc::new(origin),
        Permit::unlimited(),
    )
}

/// Profiles that pass and that are dropped; none if the whole is refused.
fn outcome(verdict: Verdict, weight: u64) -> Option<(u64, u64)> {
    match verdict {
        Verdict::Pass { batch, rejected } => {
            let gone = rejected.map_or(0, |(gone, reason)| {
                assert_eq!(reason, Reason::RateLimited);
                gone
            });
            assert_eq!(batch.weight() + gone, weight);
            Some((batch.weight(), gone))
        }
        Verdict::Drop(Reason::RateLimited) => Some((0, weight)),
        Verdict::Refuse(Refusal::OverRate { .. }) => None,
        other => panic!("{other:?}"),
    }
}

fn send(limiter: &RateLimit, tenant: &str, services: &[(&str, usize)], now: u64) -> Option<(u64, u64)> {
    let batch = batch(tenant, services);
    let weight = batch.weight();
    outcome(limiter.process_at(batch, now), weight)
}

#[test]
fn every_measure_limits_by_itself() {
    for measure in ["requests_per_s", "profiles_per_s", "samples_per_s"] {
        let limiter = limiter(json!({ measure: 1, "burst": "2s" }));
        assert_eq!(send(&limiter, "a", &[("x", 1)], 0), Some((1, 0)), "{measure}");
        assert_eq!(send(&limiter, "a", &[("x", 1)], 0), Some((1, 0)), "{measure}");
        assert_eq!(send(&limiter, "a", &[("x", 1)], 0), None, "{measure}");
        assert_eq!(
            send(&limiter, "b", &[("x", 1)], 0),
            Some((1, 0)),
            "{measure}: another tenant"
        );
        assert_eq!(send(&limiter, "a", &[("x", 1)], SECOND), Some((1, 0)), "{measure}");
    }
    let limiter = limiter(json!({ "bytes_per_s": "1KiB", "burst": "1s" }));
    assert_eq!(
        send(&limiter, "a", &[("x", 1_000)], 0),
        Some((1, 0)),
        "larger than the burst"
    );
    assert_eq!(send(&limiter, "a", &[("x", 1)], SECOND), None, "and pays");
    assert_eq!(send(&limiter, "a", &[("x", 1)], 1_000 * SECOND), Some((1, 0)));
}

#[test]
fn a_refusal_says_when_to_come_again_and_takes_nothing() {
    let limiter = limiter(json!({ "keys": ["service"], "profiles_per_s": 1, "burst": "1s" }));
    assert_eq!(send(&limiter, "a", &[("x", 1)], 0), Some((1, 0)));
    let Verdict::Refuse(Refusal::OverRate { after, why }) =
        limiter.process_at(batch("a", &[("y", 1), ("x", 1)]), SECOND / 2)
    else {
        panic!("one of both is over");
    };
    assert_eq!(after, Duration::from_millis(500));
    assert!(why.contains("profiles"));
    assert_eq!(
        send(&limiter, "a", &[("y", 1)], SECOND / 2),
        Some((1, 0)),
        "what would have passed was not taken"
    );
    assert_eq!(send(&limiter, "a", &[("x", 1)], SECOND), Some((1, 0)), "as told");
}

#[test]
fn of_what_is_dropped_the_others_pass() {
    let limiter =
        limiter(json!({ "keys": ["tenant", "service"], "samples_per_s": 10, "burst": "1s", "on_limit": "drop" }));
    assert_eq!(send(&limiter, "a", &[("x", 10), ("y", 5)], 0), Some((2, 0)));
    assert_eq!(send(&limiter, "a", &[("x", 1), ("y", 1)], 0), Some((1, 1)));
    assert_eq!(send(&limiter, "a", &[("x", 1)], 0), Some((0, 1)));
    assert_eq!(send(&limiter, "b", &[("x", 1)], 0), Some((1, 0)));
    let Verdict::Pass { batch, .. } = limiter.process_at(batch("a", &[("x", 1), ("y", 1), ("x", 2)]), 0) else {
        panic!("y passes");
    };
    let profiles = batch.as_profiles().unwrap();
    let names: Vec<_> = profiles
        .iter()
        .map(|p| p.resource.attribute_str(profiles.dictionary(), "service.name"))
        .collect();
    assert_eq!(names, [Some("y")]);
}

#[test]
fn some_have_limits_of_their_own() {
    let limiter = limiter(json!({ "profiles_per_s": 1, "burst": "1s", "limits": [
        { "match": { "tenant": "big*" }, "profiles_per_s": 3 },
        { "match": { "tenant": "*", "resource.service.name": "slow" }, "burst": "3s" },
    ]}));
    let passed = |tenant: &str, service: &str| {
        (0..10)
            .filter(|_| send(&limiter, tenant, &[(service, 1)], 0).is_some())
            .count()
    };
    assert_eq!(
        (passed("big", "slow"), passed("small", "x"), passed("other", "slow")),
        (3, 1, 3)
    );
}

#[test]
fn names_that_always_change_share_what_is_left() {
    let limiter =
        limiter(json!({ "keys": ["service"], "requests_per_s": 1, "burst": "1s", "max_keys": 10, "on_limit": "drop" }));
    let names: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let all: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    assert_eq!(
        send(&limiter, "a", &all, 0),
        Some((11, 989)),
        "ten, and one of all others, in one request too"
    );
    for (name, _) in &all {
        assert_eq!(send(&limiter, "a", &[(name, 1)], 0), Some((0, 1)));
    }
}

#[test]
fn what_nobody_can_mean_is_refused_by_key() {
    for (config, path) in [
        (json!({}), ""),
        (json!({ "requests_per_s": 0 }), "requests_per_s"),
        (json!({ "profiles_per_s": -1 }), "profiles_per_s"),
        (json!({ "bytes_per_s": 0 }), "bytes_per_s"),
        (json!({ "samples_per_s": 1, "burst": "0s" }), "burst"),
        (json!({ "samples_per_s": 1, "max_keys": 0 }), "max_keys"),
        (json!({ "samples_per_s": 1, "keys": ["sample.x"] }), "keys[0]"),
        (
            json!({ "samples_per_s": 1, "keys": ["tenant", "resource."] }),
            "keys[1]",
        ),
        (json!({ "samples_per_s": 1, "limits": [{}] }), "limits[0].match"),
        (
            json!({ "limits": [{ "match": { "tenant": "a" }, "samples_per_s": 0 }] }),
            "limits[0].samples_per_s",
        ),
        (
            json!({ "samples_per_s": 1, "limits": [{ "match": { "sample.a": "b" } }] }),
            "limits[0].match",
        ),
    ] {
        let error = build(config.clone(), &context())
            .err()
            .unwrap_or_else(|| panic!("{config} builds"));
        assert_eq!(error.path, path, "{config}");
    }
}

proptest! {
    #[test]
    fn prop_every_profile_passes_or_is_counted(batches in prop::collection::vec(any_profiles(), 1..8)) {
        let limiter = limiter(json!({ "keys": ["service", "profile.type"], "samples_per_s": 3, "burst": "1s", "on_limit": "drop" }));
        for profiles in batches {
            let (weight, samples) = (profiles.received_count(), profiles.sample_count());
            let batch = Batch::made(profiles, weight, Arc::new(Origin::local("test")), Permit::unlimited());
            if let Verdict::Pass { batch, rejected } = limiter.process_at(batch, 0) {
                prop_assert_eq!(batch.weight() + rejected.map_or(0, |(gone, _)| gone), weight);
                let left = batch.as_profiles().unwrap();
                prop_assert_eq!(left.received_count(), batch.weight());
                prop_assert!(left.sample_count() <= samples);
            }
        }
    }

    /// Over many keys at once: none gets more than its rate and its burst.
    #[test]
    fn prop_no_key_gets_more_than_its_rate_and_burst(
        rate in 1..20u64,
        burst in 1..5u64,
        steps in prop::collection::vec((0..SECOND, 0..4usize), 1..150),
    ) {
        let names = ["a", "b", "c", "d"];
        let limiter = limiter(json!({ "profiles_per_s": rate, "burst": format!("{burst}s") }));
        let (mut now, mut passed) = (0, [0; 4]);
        for (pause, tenant) in steps {
            now += pause;
            passed[tenant] += u64::from(send(&limiter, names[tenant], &[("x", 1)], now).is_some());
            for got in passed {
                prop_assert!(got <= rate * burst + rate * now / SECOND);
            }
        }
    }
}
