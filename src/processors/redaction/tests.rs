use std::sync::LazyLock;

use proptest::prelude::*;

use super::measures::Class;
use super::*;
use crate::profile::testing::{any_profiles, tell};
use crate::profile::{
    Attribute, Dictionary, Function, KeyValue, Profile, Profiles, ResourceProfiles, ScopeProfiles, Value,
};

fn policy(yaml: serde_json::Value) -> Policy {
    Policy::new(parse(yaml).unwrap()).unwrap()
}

fn quickstart() -> &'static Policy {
    // compiling takes longer than most tests
    static POLICY: LazyLock<Policy> =
        LazyLock::new(|| policy(serde_json::json!({"detectors": ["secrets", "emails"], "paths": "home"})));
    &POLICY
}

fn resource(key: &str, make: impl FnOnce(&mut Dictionary) -> Value) -> Profiles {
    let mut d = Dictionary::default();
    let value = make(&mut d);
    let key = d.strings.push(key);
    let resource = ResourceProfiles {
        attributes: vec![KeyValue { key, value }],
        scopes: vec![ScopeProfiles {
            profiles: vec![Profile {
                time_unix_nano: 1,
                ..Profile::default()
            }],
            ..ScopeProfiles::default()
        }],
        ..ResourceProfiles::default()
    };
    Profiles::new(d, vec![resource])
}

fn all_text(profiles: &Profiles) -> String {
    let d = profiles.dictionary();
    let values = profiles.resources().iter().flat_map(|r| &r.attributes);
    let values: String = values.map(|kv| format!("{:?}", kv.value)).collect();
    let texts: String = d.strings.ids().map(|id| format!("{}\n", d.str(id))).collect();
    texts + &values
}

#[test]
fn removed_text_is_gone_from_the_string_buffer() {
    let mut profiles = resource("user", |d| Value::String(d.strings.push("alice@example.com")));
    assert!(!quickstart().redact(&mut profiles).is_empty());
    profiles.compact();
    let text = all_text(&profiles);
    assert!(text.contains("[REDACTED:email]") && !text.contains("alice"), "{text}");
}

#[test]
fn nested_values_and_bytes_are_walked() {
    let mut profiles = resource("data", |d| {
        let key = d.strings.push("password");
        let word = Value::String(d.strings.push("hunter2"));
        let bytes = Value::Bytes(b"mail bob@example.com".to_vec().into());
        Value::Array(vec![Value::Map(vec![(key, word)].into()), bytes].into())
    });
    quickstart().redact(&mut profiles);
    profiles.compact();
    assert!(!all_text(&profiles).contains("hunter2"));
    let value = format!("{:?}", profiles.resources()[0].attributes[0].value);
    assert!(
        value.contains("String(") && !value.contains(&format!("{:?}", b"bob@")),
        "{value}"
    );
}

#[test]
fn a_pair_that_is_spelt_out_is_a_key_and_its_value() {
    for (name, spelt, goes) in [
        ("DB_PASSWORD", ("name", "value"), true),
        ("DB_PASSWORD", ("Key", "Value"), true),
        ("DB_PASSWORD", ("name", "note"), false),
        ("HOME_PAGE", ("name", "value"), false),
    ] {
        let mut profiles = resource("env", |d| {
            let mut text = |text: &str| d.strings.push(text);
            let name = (text(spelt.0), Value::String(text(name)));
            let value = (text(spelt.1), Value::String(text("zebra")));
            Value::Array([Value::Map([name, value].into())].into())
        });
        quickstart().redact(&mut profiles);
        profiles.compact();
        assert_eq!(all_text(&profiles).contains("zebra"), !goes, "{name} {spelt:?}");
        assert!(quickstart().redact(&mut profiles).is_empty(), "not idempotent");
    }
}

#[test]
fn one_string_is_judged_in_each_role() {
    let mut d = Dictionary::default();
    let text = d.strings.push("token=abcdef");
    d.functions.push(Function {
        name: text,
        ..Function::default()
    });
    let key = d.strings.push("query");
    d.attributes.push(Attribute {
        key,
        value: Value::String(text),
        ..Attribute::default()
    });
    let mut profiles = Profiles::new(d, Vec::new());
    quickstart().redact(&mut profiles);
    let d = profiles.dictionary();
    assert_eq!(d.str(d.functions.rows()[1].name), "token=abcdef");
    assert!(matches!(d.attributes.rows()[1].value, Value::String(id) if d.str(id) == "token=[REDACTED:assignment]"));
}

/// The texts of keys with their values.
fn told(d: &Dictionary, all: impl IntoIterator<Item = (crate::profile::StringId, Value)>) -> Vec<(String, Value)> {
    all.into_iter()
        .map(|(key, value)| (d.str(key).to_owned(), value))
        .collect()
}

#[test]
fn keys_that_become_equal_keep_their_values_apart() {
    let mut d = Dictionary::default();
    let names = [
        "alice@x.com",
        "bob@x.com",
        "plain",
        "alice@x.com",
        "[REDACTED:email]",
        "carol@x.com",
    ];
    let keys = names.map(|name| d.strings.push(name));
    let values = || (0i64..).map(Value::Int);
    let map = Value::Map(keys.into_iter().zip(values()).collect());
    let rows: Vec<_> = keys
        .into_iter()
        .zip(values())
        .map(|(key, value)| {
            d.attributes.push(Attribute {
                key,
                value,
                ..Attribute::default()
            })
        })
        .collect();
    let set = d.attribute_sets.push(&rows);
    let last = d.attribute_sets.push(&rows[5..]);
    let again = d.attribute_sets.push(&rows);
    let resource = ResourceProfiles {
        attributes: keys
            .into_iter()
            .zip(values())
            .map(|(key, value)| KeyValue { key, value })
            .chain([KeyValue {
                key: keys[2],
                value: map,
            }])
            .collect(),
        ..ResourceProfiles::default()
    };
    let mut profiles = Profiles::new(d, vec![resource]);
    quickstart().redact(&mut profiles);
    let d = profiles.dictionary();
    let expected: Vec<(String, Value)> = [
        "[REDACTED:email]",
        "[REDACTED:email]#2",
        "plain",
        // it stood twice before
        "[REDACTED:email]",
        // masked by a gate before this one
        "[REDACTED:email]#3",
        "[REDACTED:email]#4",
    ]
    .into_iter()
    .map(str::to_owned)
    .zip(values())
    .collect();
    let mut resource: Vec<KeyValue> = profiles.resources()[0].attributes.clone();
    let Some(KeyValue {
        value: Value::Map(map), ..
    }) = resource.pop()
    else {
        panic!("the map stays the last");
    };
    assert_eq!(told(d, resource.into_iter().map(|kv| (kv.key, kv.value))), expected);
    assert_eq!(told(d, map), expected);
    let of = |set| told(d, d.attributes_of(set).map(|a| (a.key, a.value.clone())));
    assert_eq!(of(set), expected);
    // alone, no number is needed
    assert_eq!(of(last), [("[REDACTED:email]".to_owned(), Value::Int(5))]);
    assert_eq!(d.attribute_sets[again], d.attribute_sets[set], "equal sets stay equal");
    assert!(quickstart().redact(&mut profiles).is_empty(), "once is enough");
}

/// A resource and a sample with an attribute of each fate.
fn fates() -> Profiles {
    let mut d = Dictionary::default();
    let pairs = [
        ("note", "x"),
        ("user", "y"),
        ("password", "z"),
        ("bob@x.com", "me@corp"),
        ("mail", "a@x.com"),
        ("plain", "p"),
    ];
    let pairs = pairs.map(|(key, value)| (d.strings.push(key), Value::String(d.strings.push(value))));
    let rows = pairs.clone().map(|(key, value)| {
        d.attributes.push(Attribute {
            key,
            value,
            ..Attribute::default()
        })
    });
    let mut samples = crate::profile::Samples::default();
    // the last one has a set of its own, and nothing happens to that
    for set in [
        d.attribute_sets.push(&rows),
        d.attribute_sets.push(&rows[2..]),
        d.attribute_sets.push(&rows[5..]),
    ] {
        samples.attributes.push(set);
        samples.stacks.push(Default::default());
        samples.links.push(Default::default());
    }
    samples.observations = crate::profile::Observations::Totals(vec![1, 2, 3]);
    let profile = Profile {
        sample_types: vec![Default::default()],
        samples: Arc::new(samples),
        ..Profile::default()
    };
    let resource = ResourceProfiles {
        attributes: pairs.map(|(key, value)| KeyValue { key, value }).to_vec(),
        scopes: vec![ScopeProfiles {
            profiles: vec![profile],
            ..ScopeProfiles::default()
        }],
        ..ResourceProfiles::default()
    };
    Profiles::new(d, vec![resource])
}

/// What a summary says of the resource and of the profile.
fn said(profiles: &Profiles) -> [std::collections::BTreeMap<String, String>; 2] {
    let d = profiles.dictionary();
    let tell = |(key, value): (crate::profile::StringId, &Value)| {
        let value = match value {
            Value::String(id) => d.str(*id).to_owned(),
            Value::Int(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        d.str(key).strip_prefix("redaction.").map(|key| (key.to_owned(), value))
    };
    let at = profiles.iter().next().unwrap();
    let of_resource = at.resource.attributes.iter().map(|kv| (kv.key, &kv.value));
    let of_profile = d.attributes_of(at.profile.attributes).map(|a| (a.key, &a.value));
    [
        of_resource.filter_map(tell).collect(),
        of_profile.filter_map(tell).collect(),
    ]
}

#[test]
fn a_summary_says_what_became_of_attributes_and_no_more_than_asked() {
    let rules = |summary: &str| {
        policy(serde_json::json!({
            "summary": summary, "ignored_keys": ["note"], "allowed_keys": ["password", "bob@x.com", "mail", "plain"],
            "allowed_values": ["@corp$"]
        }))
    };
    let mut silent = fates();
    rules("silent").redact(&mut silent);
    assert_eq!(said(&silent), [Default::default(), Default::default()]);
    let counts = [
        ("redacted.count", "1"),
        ("masked.count", "2"),
        ("allowed.count", "1"),
        ("ignored.count", "1"),
    ];
    let names = [
        ("redacted.keys", "user"),
        ("masked.keys", "mail,password"),
        // the key stays, because it is named; in a value it would go at the next gate
        ("allowed.keys", "[REDACTED:email]"),
    ];
    let map = |all: &[&[(&str, &str)]]| -> std::collections::BTreeMap<String, String> {
        all.concat()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    for (summary, expected) in [("info", map(&[&counts])), ("debug", map(&[&counts, &names]))] {
        let mut profiles = fates();
        rules(summary).redact(&mut profiles);
        assert_eq!(said(&profiles), [expected.clone(), expected], "{summary}");
        // a second gate finds nothing more to mask, and adds what it lets pass
        rules(summary).redact(&mut profiles);
        let [resource, profile] = said(&profiles);
        assert_eq!(resource, profile);
        assert_eq!(
            (resource["masked.count"].as_str(), resource["ignored.count"].as_str()),
            ("2", "2")
        );
        profiles.compact();
        assert!(!all_text(&profiles).contains("a@x.com"));
    }
    let mut nothing = resource("plain", |_| Value::Bool(true));
    assert!(rules("debug").redact(&mut nothing).is_empty());
    assert_eq!(nothing.resources()[0].attributes.len(), 1, "nothing to say");
}

#[test]
fn an_allow_list_keeps_identity() {
    let rules = policy(serde_json::json!({"allowed_keys": ["region"]}));
    for (key, stays) in [("service.name", true), ("region", true), ("user", false)] {
        let mut profiles = resource(key, |d| Value::String(d.strings.push("x")));
        rules.redact(&mut profiles);
        assert_eq!(!profiles.resources()[0].attributes.is_empty(), stays, "{key}");
    }
}

#[test]
fn what_joins_survives_an_allow_list_only_as_far_as_it_looks_like_it() {
    let strict = policy(serde_json::json!({"allowed_keys": ["region"]}));
    let by_carrier = policy(serde_json::json!({"carriers": {"comment": "remove"}}));
    let stays = |policy: &Policy, key: &str, value: &str| {
        let mut profiles = resource(key, |d| Value::String(d.strings.push(value)));
        policy.redact(&mut profiles);
        !profiles.resources()[0].attributes.is_empty()
    };
    let of_go = "mZ2rTnCw0-abcdefghij/mZ2rTnCw0_abcdefghij";
    for (key, value, expected) in [
        ("trace_id", "0af7651916cd43dd8448eb2111111111", true),
        ("trace_id", "Acme Holdings", false),
        ("profile_id", "Acme", false),
        ("pyroscope.session_id", "9f3c2a", true),
        ("pyroscope.session_id", "Acme", false),
        ("process.executable.build_id.go", of_go, true),
        ("process.executable.build_id.gnu", "acme/shop", false),
        ("profile.frame.type", "kernel", true),
        ("profile.frame.type", "Acme", false),
        ("pprof.customer", "Acme", false),
        ("pprof.profile.comment", "Acme", false),
        ("service.name", "acme-shop", true),
    ] {
        assert_eq!(stays(&strict, key, value), expected, "{key} {value}");
    }
    assert!(!stays(&by_carrier, "pprof.profile.comment", "Acme"));
    assert!(stays(&by_carrier, "pprof.profile.doc_url", "Acme"));
    let named = policy(serde_json::json!({"allowed_keys": ["pprof.customer"]}));
    assert!(stays(&named, "pprof.customer", "Acme"));
}

#[test]
fn patterns_for_values_spare_ids_that_join_and_nothing_else() {
    let rules = policy(serde_json::json!({"blocked_values": ["[0-9]{6}"]}));
    let masked = |key: &str, value: &str| {
        let mut profiles = resource(key, |d| Value::String(d.strings.push(value)));
        !rules.redact(&mut profiles).is_empty()
    };
    let id = "0af7651916cd43dd8448eb2111111111";
    for (key, value, expected) in [
        ("trace_id", id, false),
        ("local root span id", "1234567890123456789", false),
        ("process.executable.build_id.gnu", id, false),
        ("service.instance.id", "123e4567-e89b-12d3-a456-426614174000", false),
        ("service.name", "shop-4111111111111111", true),
        ("trace_id", "4111111111111111 is no id", true),
        ("card", id, true),
    ] {
        assert_eq!(masked(key, value), expected, "{key} {value}");
    }
    let number = |key: &str| {
        rules
            .redact(&mut resource(key, |_| Value::Int(4_111_111_111_111_111)))
            .is_empty()
    };
    assert!(number("span id") && !number("card"));
    // whoever names the key means it
    let rules = policy(serde_json::json!({"blocked_key_patterns": ["^trace_id$"]}));
    assert!(
        !rules
            .redact(&mut resource("trace_id", |d| Value::String(d.strings.push(id))))
            .is_empty()
    );
}

#[test]
fn ignored_keys_pass_whatever_they_hold_and_first_of_all() {
    let rules = policy(serde_json::json!({
        "ignored_keys": ["note"], "allowed_keys": ["other"], "blocked_key_patterns": ["note"], "blocked_values": ["x"]
    }));
    for (key, passes) in [("note", true), ("other", false)] {
        let mut profiles = resource(key, |d| Value::String(d.strings.push("x password=hunter2")));
        assert_eq!(rules.redact(&mut profiles).is_empty(), passes, "{key}");
    }
}

/// Keys that the configuration names are known under their names alone: a mask would make strangers of them.
#[test]
fn a_key_that_is_named_keeps_its_name_and_twice_is_once() {
    for yaml in [
        serde_json::json!({"allowed_keys": ["seen by ann@example.com"]}),
        serde_json::json!({"ignored_keys": ["seen by ann@example.com"]}),
        serde_json::json!({"allow_all_keys": false, "ignored_key_patterns": ["^seen by"]}),
    ] {
        let policy = policy(yaml.clone());
        let mut profiles = resource("seen by ann@example.com", |d| {
            Value::String(d.strings.push("yesterday"))
        });
        policy.redact(&mut profiles);
        profiles.compact();
        let once = tell(&profiles);
        assert!(all_text(&profiles).contains("seen by ann@example.com\n"), "{yaml}");
        policy.redact(&mut profiles);
        profiles.compact();
        assert_eq!(tell(&profiles), once, "{yaml}");
    }
}

#[test]
fn a_text_that_a_pattern_matches_all_over_goes_whole() {
    let letters = "A".repeat(60_000);
    for pattern in ["[A-Z]", ".*[^A-Z]|[A-Z]", "a?"] {
        let policy = policy(serde_json::json!({ "blocked_values": [pattern] }));
        let masking = policy.measures.mask(&letters, Class::Text).unwrap();
        assert_eq!(
            (masking.text.as_str(), &masking.rules[..]),
            ("****", &["blocked_values"][..]),
            "{pattern}"
        );
        assert!(policy.measures.mask("****", Class::Text).is_none());
    }
}

#[test]
fn overlong_texts_do_not_pass_whatever_is_looked_for() {
    let long = "customer-7 ".repeat(6000);
    for (yaml, key) in [
        (serde_json::json!({}), "note"),
        (serde_json::json!({"detectors": []}), "note"),
        (
            serde_json::json!({"detectors": [], "blocked_values": ["customer-[0-9]+"]}),
            "note",
        ),
        (serde_json::json!({"allowed_values": ["^customer"]}), "note"),
        (serde_json::json!({}), "trace_id"),
    ] {
        for bytes in [false, true] {
            let text = if key == "trace_id" {
                "ab12".repeat(20_000)
            } else {
                long.clone()
            };
            let mut profiles = resource(key, |d| match bytes {
                true => Value::Bytes(text.into_bytes().into()),
                false => Value::String(d.strings.push(&text)),
            });
            let report = policy(yaml.clone()).redact(&mut profiles);
            assert_eq!(
                report.hits,
                [(("overlong", "resource_value"), 1)].into(),
                "{yaml} {bytes}"
            );
            profiles.compact();
            assert!(all_text(&profiles).len() < 1000, "{yaml}");
        }
    }
}

#[test]
fn a_pattern_that_does_not_compile_is_an_error_without_the_pattern() {
    let config = parse(serde_json::json!({"blocked_values": ["(sesame"]})).unwrap();
    let error = Policy::new(config).err().unwrap();
    assert_eq!(error.path, "blocked_values[0]");
    assert!(!error.message.contains("sesame"));
}

proptest! {
    #[test]
    fn prop_nothing_to_hide_is_not_touched(profiles in any_profiles()) {
        let mut redacted = profiles.clone();
        prop_assert!(quickstart().redact(&mut redacted).is_empty());
        prop_assert_eq!(tell(&redacted), tell(&profiles));
    }

    #[test]
    fn prop_redaction_is_idempotent(text in "[ -~]{0,9}(password=|@example.com|://u:p@|--token |\\[REDACTED:[a-z]{0,9}\\]?){1,3}[ -~]{0,9}") {
        let mut profiles = resource("k", |d| Value::String(d.strings.push(&text)));
        quickstart().redact(&mut profiles);
        let once = all_text(&profiles);
        quickstart().redact(&mut profiles);
        prop_assert_eq!(all_text(&profiles), once);
    }
}

#[test]
fn names_of_real_programs_stay() {
    let rules = policy(serde_json::json!({}));
    for name in [
        "go123-heap.pb.gz",
        "rust-cpu.pb.gz",
        "node20-wall-cpu-labels.pb.gz",
        "go123-threadcreate.pb.gz",
    ] {
        let read = crate::formats::any::decode_any(crate::testing::data(name).into(), &Default::default());
        let profiles = read.ok().unwrap().decoded.profiles;
        let mut texts = 0;
        profiles.strings_by_role(|role, id| {
            let text = profiles.dictionary().str(id);
            texts += 1;
            let class = measures::Class::of(role);
            assert!(rules.measures.mask(text, class).is_none(), "{name}: {text}");
        });
        assert!(texts > 3, "{name} holds only {texts} texts");
    }
}

#[test]
fn command_lines_as_frames_lose_their_secrets_and_keep_the_program() {
    for (arguments, line, left) in [
        (
            "strip_literals",
            "./server --password hunter2",
            "server --password [REDACTED:argument]",
        ),
        (
            "strip_literals",
            "gpg --passphrase hunter2",
            "gpg --passphrase [REDACTED:argument]",
        ),
        (
            "strip_literals",
            "node a.js --token hunter2",
            "node a.js --token [REDACTED:argument]",
        ),
        (
            "strip_literals",
            "process 7:\"python /srv/app.py --password hunter2\"",
            "process 7:\"python app.py --password [REDACTED:argument]\"",
        ),
        (
            "strip_literals",
            "process 7:\"mysql -phunter2\"",
            "process 7:\"mysql -p?\"",
        ),
        ("strip", "./server --password hunter2", "server ?"),
        (
            "keep",
            "./server -password=hunter2",
            "./server -password=[REDACTED:assignment]",
        ),
        (
            "keep",
            "PGPASSWORD=hunter2 psql -h db",
            "PGPASSWORD=[REDACTED:assignment] psql -h db",
        ),
        (
            "keep",
            "python3 app.py password=hunter2",
            "python3 app.py password=[REDACTED:assignment]",
        ),
    ] {
        let policy = policy(serde_json::json!({ "arguments": arguments }));
        let masking = policy.measures.mask(line, measures::Class::Name).unwrap();
        assert_eq!(masking.text, left, "{line}");
        assert!(
            policy.measures.mask(left, measures::Class::Name).is_none(),
            "twice: {left}"
        );
    }
}

proptest! {
    #[test]
    fn prop_command_lines_settle(words in prop::collection::vec(0usize..22, 1..7), strip: bool) {
        const WORDS: [&str; 22] = [
            "./server", "mysql", "sshpass", "curl", "node", "-p", "-phunter2", "-u", "bob:hunter2", "--password",
            "--token=hunter2", "-password", "DB_PASS=hunter2", "app.py", "secret=hunter2", "\"hunter2", "login", "password",
            "'hunter2'", "IDENTIFIED", "Authorization:", "Bearer",
        ];
        static POLICIES: LazyLock<[Policy; 2]> =
            LazyLock::new(|| ["strip_literals", "strip"].map(|mode| policy(serde_json::json!({ "arguments": mode }))));
        let measures = &POLICIES[usize::from(strip)].measures;
        let line = words.iter().map(|word| WORDS[*word]).collect::<Vec<_>>().join(" ");
        if let Some(masking) = measures.mask(&line, measures::Class::Name) {
            prop_assert!(masking.text != masks::STARS, "{}", line);
            prop_assert!(measures.mask(&masking.text, measures::Class::Name).is_none(), "twice: {}", masking.text);
        }
    }
}
