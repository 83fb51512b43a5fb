//! Whole policies: keys that belong together, policies by service, on trial, and remembered texts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::pipeline::{Origin, Permit};
use crate::profile::testing::{any_profiles, tell};
use crate::profile::{
    Attribute, Dictionary, Function, KeyValue, Line, Location, Observations, Profile, Profiles, ResourceProfiles, Role,
    Samples, ScopeProfiles, Value,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn policy(yaml: Json) -> Policy {
    Policy::new(parse(yaml).unwrap()).unwrap()
}

fn refused(yaml: Json) -> BuildError {
    Policy::new(parse(yaml).unwrap()).err().unwrap()
}

/// One profile for each service, all over one dictionary: the function `acme` and the label `user=acme`.
fn services(names: &[&str]) -> Profiles {
    let mut d = Dictionary::default();
    let acme = d.strings.push("acme");
    let function = d.functions.push(Function {
        name: acme,
        ..Function::default()
    });
    let line = Line {
        function,
        ..Line::default()
    };
    let location = d.push_location(Location::default(), &[line]);
    let key = d.strings.push("user");
    let label = d.attributes.push(Attribute {
        key,
        value: Value::String(acme),
        ..Attribute::default()
    });
    let stack = d.stacks.push(&[location]);
    let set = d.attribute_sets.push(&[label]);
    let mut resource = |name: &&str| {
        let samples = Samples {
            stacks: vec![stack],
            attributes: vec![set],
            links: vec![Default::default()],
            observations: Observations::Totals(vec![1]),
        };
        let profile = Profile {
            sample_types: vec![Default::default()],
            samples: Arc::new(samples),
            ..Profile::default()
        };
        ResourceProfiles {
            attributes: vec![KeyValue {
                key: d.strings.push("service.name"),
                value: Value::String(d.strings.push(name)),
            }],
            scopes: vec![ScopeProfiles {
                profiles: vec![profile],
                ..ScopeProfiles::default()
            }],
            ..ResourceProfiles::default()
        }
    };
    let resources = names.iter().map(&mut resource).collect();
    Profiles::new(d, resources)
}

/// For each service the name of its function and the value of its label.
fn told(profiles: &Profiles) -> BTreeMap<String, (String, String)> {
    let d = profiles.dictionary();
    let of = |p: crate::profile::ProfileRef<'_>| {
        let samples = &p.profile.samples;
        let location = d.stacks[samples.stacks[0]][0];
        let function = d.str(d.functions[d.lines[location][0].function].name);
        let label = match d.attribute(samples.attributes[0], "user") {
            Some(Value::String(id)) => d.str(*id),
            _ => "",
        };
        let service = p.resource.attribute_str(d, "service.name").unwrap();
        (service.to_owned(), (function.to_owned(), label.to_owned()))
    };
    profiles.iter().map(of).collect()
}

fn all(expected: &[(&str, &str, &str)]) -> BTreeMap<String, (String, String)> {
    let row = |(service, function, label): &(&str, &str, &str)| {
        ((*service).to_owned(), ((*function).to_owned(), (*label).to_owned()))
    };
    expected.iter().map(row).collect()
}

#[test]
fn a_string_is_removed_as_the_one_and_kept_as_the_other() {
    let mut profiles = services(&["a"]);
    policy(json!({"blocked_key_patterns": ["^user$"]})).redact(&mut profiles);
    assert_eq!(told(&profiles), all(&[("a", "acme", "****")]));
    let mut profiles = services(&["a"]);
    policy(json!({"frames": {"rules": [{"function": "acme", "action": "mask"}]}})).redact(&mut profiles);
    assert_eq!(told(&profiles), all(&[("a", "[REDACTED:frame]", "acme")]));
}

#[test]
fn a_rule_for_one_service_touches_no_other() {
    let policy = policy(json!({
        "rules": [
            {"when": {"resource.service.name": "check*"}, "policy": {"blocked_values": ["acme"]}},
            {"when": {"tenant": "bank"}, "policy": {"allowed_keys": ["none"]}},
        ],
    }));
    let mut profiles = services(&["a", "checkout", "b"]);
    policy.redact(&mut profiles);
    let expected = [
        ("a", "acme", "acme"),
        ("checkout", "****", "****"),
        ("b", "acme", "acme"),
    ];
    assert_eq!(told(&profiles), all(&expected));
    let mut profiles = services(&["a", "checkout"]);
    let bank = Origin {
        tenant: "bank".into(),
        ..Origin::local("otlp")
    };
    policy.look(&profiles, &bank, false).apply(&mut profiles);
    assert_eq!(told(&profiles), all(&[("a", "acme", ""), ("checkout", "****", "****")]));
    let mut profiles = services(&["a", "b"]);
    assert!(!policy.look(&profiles, &Origin::local("otlp"), false).changes());
    policy.redact(&mut profiles);
    assert_eq!(told(&profiles), all(&[("a", "acme", "acme"), ("b", "acme", "acme")]));
}

#[test]
fn what_went_is_told_by_service_if_asked_for() {
    let policy = policy(json!({"blocked_values": ["acme"]}));
    let mut profiles = services(&["a", "b"]);
    let done = policy
        .look(&profiles, &Origin::local("otlp"), true)
        .apply(&mut profiles);
    let services: Vec<&str> = done.iter().map(|done| done.service.as_str()).collect();
    assert_eq!(services, ["a", "b"]);
    assert!(
        done.iter()
            .all(|done| done.report.hits[&("blocked_values", "function_name")] == 1)
    );
}

fn pass(policy: Json, profiles: Profiles) -> (Profiles, String) {
    let metrics = Arc::new(Metrics::default());
    let cx = BuildContext::new("redaction", metrics.clone());
    let processor = build(policy, &cx).unwrap();
    let batch = Batch::made(profiles, 1, Origin::local("test").into(), Permit::unlimited());
    let now = std::time::SystemTime::now();
    let Verdict::Pass { batch, rejected: None } = processor.process(batch, &Context { now }) else {
        panic!("redaction passes what it can read");
    };
    (batch.as_profiles().unwrap().clone(), metrics.text())
}

#[test]
fn a_policy_on_trial_is_counted_and_changes_nothing() {
    let strict = json!({"blocked_values": ["acme"]});
    let (passed, metrics) = pass(json!({"shadow": strict}), services(&["a"]));
    assert_eq!(told(&passed), all(&[("a", "acme", "acme")]));
    let trial = r#"flamegate_redaction_trials_total{policy="shadow",rule="blocked_values",carrier="function_name"} 1"#;
    assert!(
        metrics.contains(trial) && !metrics.contains("flamegate_redactions_total{"),
        "{metrics}"
    );
    // the one that is enforced does its work beside it
    let enforced = json!({"blocked_key_patterns": ["user"], "shadow": strict});
    let (passed, metrics) = pass(enforced, services(&["a"]));
    assert_eq!(told(&passed), all(&[("a", "acme", "****")]));
    assert!(
        metrics.contains(trial) && metrics.contains(r#"flamegate_redactions_total{rule="blocked_key""#),
        "{metrics}"
    );
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let dry = json!({"blocked_values": ["acme"], "dry_run": true});
    let (passed, metrics) = pass(dry.clone(), services(&["a"]));
    assert_eq!(told(&passed), all(&[("a", "acme", "acme")]));
    assert!(
        metrics.contains(r#"flamegate_redaction_trials_total{policy="dry_run",rule="blocked_values""#),
        "{metrics}"
    );
    assert!(!removes_text(&dry) && removes_text(&json!({})));
    let mut profiles = services(&["a"]);
    assert!(!policy(dry).redact(&mut profiles).is_empty());
    assert_eq!(told(&profiles), all(&[("a", "acme", "acme")]));
}

#[test]
fn keys_that_make_no_sense_together_are_errors_at_their_place() {
    for (config, path) in [
        (json!({"threads": "hash"}), "threads"),
        (json!({"carriers": {"scope": "hash"}}), "carriers.scope"),
        (json!({"frames": {"default": "hash"}}), "frames.default"),
        (json!({"hash_function": "md5"}), "hash_function"),
        (json!({"hash_function": "hmac-sha256"}), "hmac_key"),
        (json!({"url_sanitizer": {"enabled": true}}), "url_sanitizer"),
        (json!({"db_sanitizer": {}}), "db_sanitizer"),
        (json!({"blocked_values": vec!["x"; 1001]}), "blocked_values"),
        (json!({"blocked_values": ["(\\w{500}){500}"]}), "blocked_values[0]"),
        (json!({"rules": [{"when": {}, "policy": {}}]}), "rules[0].when"),
        (
            json!({"rules": [{"when": {"sample.x": "y"}, "policy": {}}]}),
            "rules[0].when",
        ),
        (
            json!({"rules": [{"when": {"tenant": "x"}, "policy": {"dry_run": true}}]}),
            "rules[0].policy.dry_run",
        ),
        (
            json!({"rules": [{"when": {"tenant": "x"}, "policy": {"threads": "hash"}}]}),
            "rules[0].policy.threads",
        ),
        (json!({"shadow": {"shadow": {}}}), "shadow"),
        (json!({"shadow": {"allowed_values": ["("]}}), "shadow.allowed_values[0]"),
    ] {
        assert_eq!(refused(config.clone()).path, path, "{config}");
    }
}

fn label(key: &str, value: impl FnOnce(&mut Dictionary) -> Value) -> Profiles {
    let mut profiles = services(&["a"]);
    let (d, _) = profiles.edit();
    let key = d.strings.push(key);
    let value = value(d);
    let unit = d.strings.push("things");
    let last = d.attributes.len() - 1;
    d.attributes.rows_mut()[last] = Attribute { key, value, unit };
    profiles
}

/// A number of that unit after the policy.
fn measured(policy: &Policy, number: i64, unit: &str) -> String {
    let mut profiles = label("n", |_| Value::Int(number));
    let (d, _) = profiles.edit();
    let unit = d.strings.push(unit);
    let last = d.attributes.len() - 1;
    d.attributes.rows_mut()[last].unit = unit;
    policy.redact(&mut profiles);
    let d = profiles.dictionary();
    match &d.attributes.rows()[last].value {
        Value::String(id) => d.str(*id).to_owned(),
        other => format!("{other:?}"),
    }
}

/// The label after the policy, with its unit.
fn after(policy: &Policy, key: &str, value: impl FnOnce(&mut Dictionary) -> Value) -> (String, String) {
    let mut profiles = label(key, value);
    policy.redact(&mut profiles);
    let d = profiles.dictionary();
    let set = profiles.iter().next().unwrap().profile.samples.attributes[0];
    let Some(row) = d.attributes_of(set).next() else {
        return Default::default();
    };
    let value = match &row.value {
        Value::String(id) => d.str(*id).to_owned(),
        other => format!("{other:?}"),
    };
    (value, d.str(row.unit).to_owned())
}

#[test]
fn values_that_are_no_text_are_judged_by_their_text() {
    let strict = policy(
        json!({"blocked_values": ["^4[0-9]{15}$", "^0\\.25$"], "blocked_key_patterns": ["secret"], "detectors": []}),
    );
    let card = Value::Int(4_111_111_111_111_111);
    for (key, value, expected) in [
        ("card", card.clone(), ("****", "")),
        ("size", Value::Int(42), ("Int(42)", "things")),
        ("share", Value::Double(0.25), ("****", "")),
        ("secret", Value::Bool(true), ("****", "things")),
        ("secret", Value::Bytes(b"x".to_vec().into()), ("****", "things")),
        ("secret", Value::Array([Value::Int(1)].into()), ("****", "things")),
    ] {
        let (value, unit) = after(&strict, key, |_| value);
        assert_eq!((value.as_str(), unit.as_str()), expected, "{key}");
    }
    let lax = policy(json!({"blocked_values": ["^4[0-9]{15}$"], "redact_all_types": false, "detectors": []}));
    assert_eq!(after(&lax, "card", |_| card.clone()).0, "Int(4111111111111111)");
    let detects = policy(json!({"redact_all_types": false}));
    assert_eq!(
        after(&detects, "card", |_| card).0,
        "[REDACTED:card]",
        "detectors look at everything"
    );
}

#[test]
fn an_option_tells_that_the_next_item_is_a_secret() {
    let args = |given: &[&str]| {
        let mut profiles = label("process.command_args", |d| {
            Value::Array(given.iter().map(|arg| Value::String(d.strings.push(arg))).collect())
        });
        let rules = policy(json!({}));
        rules.redact(&mut profiles);
        assert!(rules.redact(&mut profiles).is_empty(), "not idempotent");
        let d = profiles.dictionary();
        let Some(Value::Array(items)) = d.attributes.rows().last().map(|row| row.value.clone()) else {
            panic!("no list");
        };
        let text = |item: &Value| match item {
            Value::String(id) => d.str(*id).to_owned(),
            other => format!("{other:?}"),
        };
        items.iter().map(text).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        args(&["run", "--db-password", "zebra", "--token", "--fast", "-x", "main"]),
        "run --db-password [REDACTED:argument] --token --fast -x main"
    );
}

#[test]
fn keys_and_units_say_what_a_value_is() {
    let rules = policy(json!({}));
    for (key, text, expected) in [
        ("phone", "+49 170 1234567", "[REDACTED:phone]"),
        ("mobile", "01701234567", "[REDACTED:phone]"),
        ("customer.phone", "491701234567", "[REDACTED:phone]"),
        (
            "user.phone_number",
            "call +49 170 1234567 now",
            "call [REDACTED:phone] now",
        ),
        ("contactMsisdn", "491701234567", "[REDACTED:phone]"),
        ("phone", "Pixel 8", "Pixel 8"),
        ("hotel", "01701234567", "01701234567"),
        ("service.version", "10.2.3.4", "10.2.3.4"),
        ("container.image.tag", "1.2.3.4-rc.1", "1.2.3.4-rc.1"),
        ("service.version", "of 10.2.3.4", "of [REDACTED:ip_address]"),
        ("service.conversion", "10.2.3.4", "[REDACTED:ip_address]"),
    ] {
        let told = after(&rules, key, |d| Value::String(d.strings.push(text)));
        assert_eq!(told.0, expected, "{key} {text}");
    }
    for (number, unit, expected) in [
        (4_294_967_296_000, "bytes", "Int(4294967296000)"),
        (4_111_111_111_111_111, "nanoseconds", "Int(4111111111111111)"),
        (4_111_111_111_111_111, "things", "[REDACTED:card]"),
        (4_111_111_111_111_111, "", "[REDACTED:card]"),
    ] {
        assert_eq!(measured(&rules, number, unit), expected, "{number} {unit}");
    }
    assert_eq!(
        after(&rules, "phone", |_| Value::Int(491_701_234_567)).0,
        "[REDACTED:phone]"
    );
    let asked = policy(json!({"blocked_values": ["^4[0-9]{15}$"]}));
    assert_eq!(measured(&asked, 4_111_111_111_111_111, "bytes"), "****");
}

#[test]
fn hashed_values_stay_comparable_and_are_hashed_once() {
    let hashes = |key: &str| {
        policy(
            json!({"blocked_key_patterns": ["^user$"], "blocked_values": ["[0-9a-f]{4,}"],
        "hash_function": "hmac-sha256", "hmac_key": key, "detectors": []}),
        )
    };
    let one = hashes(KEY);
    let hash = |policy: &Policy, value: &str| after(policy, "user", |d| Value::String(d.strings.push(value))).0;
    let alice = hash(&one, "alice");
    assert!(alice.len() == 64 && alice != hash(&one, "bob") && alice == hash(&hashes(KEY), "alice"));
    assert_ne!(alice, hash(&hashes(&KEY.replace('0', "1")), "alice"));
    assert_eq!(hash(&one, &alice), alice);
    // one that only looks like it, as a secret may, does not pass
    let forged = "ab".repeat(32);
    assert_ne!(hash(&one, &forged), forged);
    let part = |value: &str| after(&one, "note", |d| Value::String(d.strings.push(value))).0;
    let once = part("customer 12345");
    assert!(once.starts_with("customer ") && once.len() == 9 + 64, "{once}");
    assert_eq!(part(&once), once);
}

#[test]
fn ignored_patterns_pass_first_of_all() {
    let rules =
        policy(json!({"ignored_key_patterns": ["^safe\\."], "allowed_keys": ["x"], "blocked_values": ["acme"]}));
    assert_eq!(
        after(&rules, "safe.name", |d| Value::String(d.strings.push("acme"))).0,
        "acme"
    );
    assert_eq!(after(&rules, "unsafe", |d| Value::String(d.strings.push("acme"))).0, "");
}

#[test]
fn threads_keep_their_number_and_lose_their_name() {
    let hash = policy(json!({"threads": "hash", "pseudonyms": {"keys": [{"id": "k1", "key": KEY}]}, "detectors": []}));
    let mask = policy(json!({"threads": "mask"}));
    let name = |policy: &Policy, value: &str| after(policy, "thread.name", |d| Value::String(d.strings.push(value))).0;
    let hashed = name(&hash, "[alice tid=7]");
    assert!(
        hashed.starts_with("[thread_k1_") && hashed.ends_with(" tid=7]"),
        "{hashed}"
    );
    assert_eq!(name(&hash, &hashed), hashed);
    assert_eq!(name(&mask, "alice"), "[REDACTED:thread]");
    assert_eq!(after(&hash, "thread.id", |_| Value::Int(7)).0, "Int(7)");
    // a number that nothing announces is one in the name of a thread, and nowhere else
    let keep = policy(json!({}));
    let value = |key: &str| after(&keep, key, |d| Value::String(d.strings.push("customer-080-0000-0000"))).0;
    assert_eq!(value("note"), "customer-080-0000-0000");
    assert_eq!(value("thread.name"), "customer-[REDACTED:phone]");
}

#[test]
fn who_blocks_the_key_of_an_id_gets_no_link_that_says_it() {
    for (blocked, links) in [
        ("^span id$", 0),
        ("^trace_id$", 0),
        ("profile_id", 0),
        ("^span name$", 1),
    ] {
        let mut profiles = services(&["a"]);
        let (d, resources) = profiles.edit();
        let link = d.links.push(crate::profile::Link {
            trace_id: [1; 16],
            span_id: [1; 8],
        });
        Arc::make_mut(&mut resources[0].scopes[0].profiles[0].samples).links[0] = link;
        policy(json!({"blocked_key_patterns": [blocked]})).redact(&mut profiles);
        profiles.compact();
        assert_eq!(profiles.dictionary().links.len(), 1 + links, "{blocked}");
    }
}

#[test]
fn links_go_on_demand_with_the_labels_that_say_the_same() {
    let mut profiles = label("trace_id", |d| {
        Value::String(d.strings.push("0af7651916cd43dd8448eb2111111111"))
    });
    let (d, resources) = profiles.edit();
    let link = d.links.push(crate::profile::Link {
        trace_id: [1; 16],
        span_id: [2; 8],
    });
    Arc::make_mut(&mut resources[0].scopes[0].profiles[0].samples).links[0] = link;
    policy(json!({"links": "remove"})).redact(&mut profiles);
    profiles.compact();
    let d = profiles.dictionary();
    assert_eq!((d.links.len(), d.attributes.len()), (1, 1));
}

#[derive(Default)]
struct Kept(Mutex<Vec<(Role, String, String)>>);

impl escrow::Keep for Kept {
    fn keep(&self, role: Role, pseudonym: &str, name: &str) {
        self.0
            .lock()
            .unwrap()
            .push((role, pseudonym.to_owned(), name.to_owned()));
    }
}

#[test]
fn whoever_keeps_names_hears_of_those_and_never_of_what_a_detector_hit() {
    let mut policy = policy(
        json!({"frames": {"default": "hash"}, "threads": "hash", "carriers": {"comment": "hash"},
        "pseudonyms": {"keys": [{"id": "k1", "key": KEY}]}}),
    );
    let kept = Arc::new(Kept::default());
    let keeper: Arc<dyn escrow::Keep> = kept.clone();
    policy.keep_names(&keeper);
    let mut profiles = label("thread.name", |d| {
        Value::String(d.strings.push("mail alice@example.com"))
    });
    let (d, resources) = profiles.edit();
    let comment = d.strings.push("a comment");
    resources[0].scopes[0].profiles[0].comments.push(comment);
    policy.trial(&profiles, &Origin::local("test"));
    assert!(kept.0.lock().unwrap().is_empty(), "a trial tells nobody");
    policy.redact(&mut profiles);
    let kept = kept.0.lock().unwrap();
    let told: Vec<(Role, &str)> = kept.iter().map(|(role, _, name)| (*role, name.as_str())).collect();
    assert_eq!(
        told,
        [
            (Role::FunctionName, "acme"),
            (Role::LabelValue, "mail [REDACTED:email]")
        ]
    );
}

#[test]
fn what_was_seen_before_is_judged_the_same_and_by_its_class() {
    let policy = policy(json!({"blocked_values": ["hunter2"]}));
    for _ in 0..3 {
        let mut profiles = services(&["a"]);
        let (d, _) = profiles.edit();
        let secret = d.strings.push("hunter2");
        d.functions.rows_mut()[1].name = secret;
        policy.redact(&mut profiles);
        assert_eq!(told(&profiles), all(&[("a", "****", "acme")]));
    }
    let forgetful = json!({"cache": {"entries": 0}, "blocked_values": ["acme"]});
    let mut profiles = services(&["a"]);
    self::policy(forgetful).redact(&mut profiles);
    assert_eq!(told(&profiles), all(&[("a", "****", "****")]));
}

proptest! {
    #[test]
    fn prop_policies_by_service_leave_others_and_totals_alone(profiles in any_profiles()) {
        let policy = policy(json!({"detectors": [],
            "rules": [{"when": {"resource.service.name": "service-1"}, "policy": {"allowed_keys": ["none"], "detectors": []}}]}));
        let mut redacted = profiles.clone();
        policy.redact(&mut redacted);
        redacted.compact();
        let others = |profiles: &Profiles| -> Vec<_> {
            tell(profiles).into_iter().filter(|((head, _), _)| !head.contains("service-1")).collect()
        };
        prop_assert_eq!(others(&redacted), others(&profiles));
        let total = |profiles: &Profiles| -> i128 { tell(profiles).values().flatten().sum() };
        prop_assert_eq!(total(&redacted), total(&profiles));
        let keeps_labels = |((head, sample), _): &((String, String), Vec<i128>)| head.contains("service-1") && sample.contains("key-");
        prop_assert!(!tell(&redacted).into_iter().any(|row| keeps_labels(&row)));
    }

    #[test]
    fn prop_patterns_that_find_each_others_marks_settle(
        patterns in proptest::collection::vec("[a-cR*\\[\\]:]{1,2}[+*?]?", 1..4), text in "[a-c@. ]{0,12}(@example.com)?"
    ) {
        let config = json!({"blocked_values": patterns, "detectors": ["emails"]});
        let Ok(policy) = Policy::new(parse(config).unwrap()) else { return Ok(()); };
        let mut profiles = label("note", |d| Value::String(d.strings.push(&text)));
        policy.redact(&mut profiles);
        profiles.compact();
        let once = tell(&profiles);
        policy.redact(&mut profiles);
        profiles.compact();
        prop_assert_eq!(tell(&profiles), once);
    }
}
