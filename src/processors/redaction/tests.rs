use proptest::prelude::*;

use super::*;
use crate::profile::testing::{any_profiles, tell};
use crate::profile::{Attribute, Dictionary, Function, KeyValue, Profile, ResourceProfiles, ScopeProfiles, Value};

fn policy(yaml: serde_json::Value) -> Policy {
    Policy::new(parse(yaml).unwrap()).unwrap()
}

fn quickstart() -> Policy {
    policy(serde_json::json!({"detectors": ["secrets", "emails"], "paths": "home"}))
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
    fn prop_redaction_is_idempotent(text in "[ -~]{0,20}(password=|@example.com|://u:p@|--token )[ -~]{0,20}") {
        let mut profiles = resource("k", |d| Value::String(d.strings.push(&text)));
        quickstart().redact(&mut profiles);
        let once = all_text(&profiles);
        quickstart().redact(&mut profiles);
        prop_assert_eq!(all_text(&profiles), once);
    }
}

#[test]
fn names_of_real_programs_stay() {
    use std::io::Read;
    let rules = policy(serde_json::json!({"detectors": ["secrets", "emails"]}));
    for name in [
        "go123-heap.pb.gz",
        "rust-cpu.pb.gz",
        "node20-wall-cpu-labels.pb.gz",
        "go123-threadcreate.pb.gz",
    ] {
        let mut bytes = Vec::new();
        let packed = crate::testing::data(name);
        flate2::read::MultiGzDecoder::new(&packed[..])
            .read_to_end(&mut bytes)
            .unwrap();
        let mut texts = 0;
        for text in bytes.split(|b| *b < 0x20 || *b >= 0x7f).filter(|t| t.len() > 3) {
            let text = String::from_utf8_lossy(text);
            texts += 1;
            assert!(rules.mask(&text, Role::FunctionName).is_none(), "{name}: {text}");
        }
        assert!(texts > 3, "{name} holds only {texts} texts");
    }
}
