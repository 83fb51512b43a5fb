//! OTLP/JSON says what protobuf says.

use proptest::prelude::*;

use super::told::{by_model, in_any_order};
use super::*;
use crate::formats::Fault;
use crate::profile::Value;
use crate::profile::testing::any_profiles;

fn read_json(text: &[u8]) -> Decoded {
    decode_json(text, &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str) -> DecodeError {
    decode_json(text.as_bytes(), &Limits::default()).expect_err("a refusal")
}

/// A request whose one resource has one attribute of this value.
fn with_value(value: &str) -> String {
    format!(
        r#"{{"resourceProfiles":[{{"resource":{{"attributes":[{{"key":"k","value":{value}}}]}}}}],"dictionary":{{"stringTable":["","s"]}}}}"#
    )
}

fn value_of(text: &str) -> Value {
    let decoded = read_json(text.as_bytes());
    decoded.profiles.resources()[0].attributes[0].value.clone()
}

#[test]
fn json_of_others_is_the_protobuf_of_others() {
    for (json, protobuf) in [
        ("node20-wall-cpu-links.otlp.json.gz", "node20-wall-cpu-links.otlp"),
        ("planted-everywhere.otlp.json", "planted-everywhere.otlp"),
    ] {
        let from_json = read_json(&data(json));
        let from_protobuf = read(&data(protobuf));
        assert_eq!(
            from_json.profiles.resources(),
            from_protobuf.profiles.resources(),
            "{json}"
        );
        assert_eq!(
            from_json.profiles.dictionary(),
            from_protobuf.profiles.dictionary(),
            "{json}"
        );
        assert_eq!((from_json.repairs, from_json.exact), (0, false));
    }
}

#[test]
fn real_files_pass_through_json() {
    for (name, bytes) in good_files() {
        let decoded = read(&bytes);
        let again = read_json(&encode_json(&decoded.profiles));
        assert!(
            in_any_order(by_model(&again.profiles)) == in_any_order(by_model(&compacted(&decoded.profiles))),
            "{name}"
        );
    }
}

#[test]
fn ids_are_hex_and_long_numbers_strings() {
    let text = String::from_utf8(encode_json(&read(&data("planted-everywhere.otlp")).profiles)).unwrap();
    for part in [
        r#""traceId":"0af7651916cd43dd8448eb211c80319c""#,
        r#""profileId":"000102030405060708090a0b0c0d0e0f""#,
        r#""timeUnixNano":"1790000000000000000""#,
        r#""values":["10000000","20000000"]"#,
        r#""attributeTable":[{},"#,
    ] {
        assert!(text.contains(part), "{part}");
    }
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
}

#[test]
fn names_and_values_are_read_in_every_spelling() {
    let plain = r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"sampleType":{"typeStrindex":1},"samples":[{"stackIndex":1,"linkIndex":1,"values":["5"],"timestampsUnixNano":["7"]}],"timeUnixNano":"7","durationNano":"1","profileId":"000102030405060708090A0B0C0D0E0F"}]}]}],"dictionary":{"stringTable":["","s"],"stackTable":[{},{"locationIndices":[1]}],"locationTable":[{},{"address":"16","lines":[{"line":"3"}]}],"linkTable":[{},{"traceId":"0AF7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331"}]}}"#;
    let expected = read_json(plain.as_bytes());
    assert_eq!(expected.profiles.sample_count(), 1);
    let other = [
        plain
            .replace("\"samples\"", "\"sample\"")
            .replace("\"lines\"", "\"line\""),
        plain
            .replace("timeUnixNano", "time_unix_nano")
            .replace("stackTable", "stack_table"),
        plain
            .replace("[\"5\"]", "[5.0]")
            .replace("\"7\"", "7")
            .replace("\"16\"", "1.6e1"),
        plain.replace("000102030405060708090A0B0C0D0E0F", "AAECAwQFBgcICQoLDA0ODw=="),
        plain.replace("b7ad6b7169203331", "t61rcWkgMzE="),
        plain.replace(
            "\"stackIndex\":1",
            "\"stackIndex\":\"1\",\"news\":{\"a\":[null]},\"attributeIndices\":null",
        ),
    ];
    for text in other {
        assert_ne!(text, plain);
        let read = read_json(text.as_bytes());
        assert_eq!(read.profiles.resources(), expected.profiles.resources(), "{text}");
        assert_eq!(read.profiles.dictionary(), expected.profiles.dictionary(), "{text}");
    }
}

#[test]
fn values_of_every_kind_are_read() {
    assert_eq!(value_of(&with_value(r#"{"boolValue":true}"#)), Value::Bool(true));
    assert_eq!(
        value_of(&with_value(r#"{"intValue":"-9223372036854775808"}"#)),
        Value::Int(i64::MIN)
    );
    assert_eq!(value_of(&with_value(r#"{"doubleValue":1}"#)), Value::Double(1.0));
    assert_eq!(
        value_of(&with_value(r#"{"doubleValue":"-Infinity"}"#)),
        Value::Double(f64::NEG_INFINITY)
    );
    for bytes in ["+/8=", "-_8", "+/8"] {
        let text = with_value(&format!(r#"{{"bytesValue":"{bytes}"}}"#));
        assert_eq!(value_of(&text), Value::Bytes([0xfb, 0xff].into()), "{bytes}");
    }
    assert_eq!(value_of(&with_value("{}")), Value::Empty);
    assert_eq!(value_of(&with_value("null")), Value::Empty);
    let text = with_value(r#"{"stringValueStrindex":1}"#);
    let decoded = read_json(text.as_bytes());
    let resource = &decoded.profiles.resources()[0];
    assert_eq!(resource.attribute_str(decoded.profiles.dictionary(), "k"), Some("s"));
}

#[test]
fn what_is_wrong_is_said_without_quoting() {
    let cases = [
        ("{\"resourceProfiles\": [}", "otlp_json: not JSON at byte 22"),
        (
            "{\"resourceProfiles\": [",
            "otlp_json: the text ends inside of the JSON at byte 21",
        ),
        (
            "{\"resourceProfiles\":\n \"secret\"}",
            "otlp_json: a value that its field cannot hold at byte 29",
        ),
        ("[1]", "otlp_json: a value that its field cannot hold at byte 0"),
        (
            r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{}]}]}]}"#,
            "otlp_json: a profile, but no dictionary in the request (field 2); send OTLP 1.7, 1.8, 1.9, 1.10 or 1.11",
        ),
        (
            r#"{"dictionary":{"attributeUnits":[]}}"#,
            "otlp_json: OTLP/JSON of 1.7 or older; send OTLP/JSON of 1.8 to 1.11, or protobuf",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text).to_string(), expected, "{text}");
    }
    for value in [
        r#"{"intValue":"secret"}"#,
        r#"{"bytesValue":"secret!"}"#,
        r#"{"stringValue":7}"#,
        r#"{"intValue":1.5}"#,
    ] {
        let why = refusal(&with_value(value)).to_string();
        assert!(
            why.starts_with("otlp_json: a value that its field cannot hold at byte "),
            "{why}"
        );
    }
    assert_eq!(
        refusal(&with_value(r#"{"stringValue":"a"} trailing"#)).fault,
        Fault::Malformed
    );
    let text = r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"samples":[{"stackIndex":-1,"values":["1"]}]}]}]}],"dictionary":{"stackTable":[{}]}}"#;
    let why = read_json(text.as_bytes()).rejected.first.expect("a reason").to_string();
    assert_eq!(
        why,
        "otlp_json: resource_profiles[0].scope_profiles[0].profiles[0].samples[0].stack_index is -1, but stack_table has 1 entries"
    );
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(levels);
        with_value(&format!("{open}{}", "]}}".repeat(levels)))
    };
    assert!(matches!(value_of(&nested(30)), Value::Array(_)));
    for levels in [40, 60, 100_000] {
        assert_eq!(
            refusal(&nested(levels)).fault,
            Fault::TooLarge(crate::formats::Limit::Depth),
            "{levels}"
        );
    }
}

#[test]
fn text_that_is_no_utf8_is_mended() {
    let text = with_value(r#"{"stringValue":"aXb"}"#).into_bytes();
    let broken: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'X' { 0xff } else { *byte })
        .collect();
    let decoded = read_json(&broken);
    assert_eq!(decoded.repairs, 1);
    let resource = &decoded.profiles.resources()[0];
    assert_eq!(
        resource.attribute_str(decoded.profiles.dictionary(), "k"),
        Some("a\u{fffd}b")
    );
}

proptest! {
    #[test]
    fn prop_json_and_protobuf_say_the_same(profiles in any_profiles()) {
        let from_json = read_json(&encode_json(&profiles));
        let from_protobuf = decode(&encode(&profiles), &Limits::default(), WireVersion::V1_10);
        prop_assert_eq!(by_model(&from_json.profiles), by_model(&from_protobuf.unwrap().profiles));
    }

    #[test]
    fn prop_damaged_json_is_answered(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut text = data("planted-everywhere.otlp.json");
        let position = at.index(text.len());
        text[position] = byte;
        let _ = decode_json(&text, &Limits::default());
        let _ = decode_json(&text[..cut.index(text.len())], &Limits::default());
    }
}
