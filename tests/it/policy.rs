//! Trying a policy: `redact --explain` and `policy test`.

use std::path::Path;

use crate::support::{Finished, run, run_on};

#[test]
fn explain_says_what_becomes_of_each_text_and_by_which_rule() {
    let out = run(&[
        "redact",
        "--explain",
        "--role",
        "function",
        "main.go",
        "connect(password=\"x\")",
    ])
    .out();
    assert_eq!(
        out,
        "kept     main.go\nchanged  connect(password=\"x\")\n      -> connect(password=?)\n      by arguments\n"
    );
    let json = run(&[
        "redact",
        "--explain",
        "--role",
        "label",
        "--key",
        "password",
        "--report",
        "json",
        "plantedEXAMPLE",
    ]);
    let line: serde_json::Value = serde_json::from_str(&json.out()).unwrap();
    assert_eq!(
        (line["outcome"].as_str(), line["rules"].as_array().map(Vec::len)),
        (Some("changed"), Some(1))
    );
    let wrong = run(&["redact", "--explain", "--role", "nonsense", "x"]);
    assert_eq!(wrong.code(), 2);
    assert!(wrong.err().contains("function_name"), "{}", wrong.err());
    assert_eq!(run(&["redact"]).code(), 2);
}

#[test]
fn explain_reads_lines() {
    let lines = b"/home/alice/x.go\n/usr/lib/libc.so\n";
    let out = run_on(lines, &["redact", "--explain", "--role", "file"]).out();
    assert!(
        out.contains("-> /home/_/x.go") && out.contains("kept     /usr/lib/libc.so"),
        "{out}"
    );
}

#[test]
fn explain_names_no_rule_that_hit_something_else() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/redaction-external.yaml");
    let explain = |role: &str, key: &str, text: &str| {
        run(&[
            "redact",
            "--config",
            config,
            "--explain",
            "--role",
            role,
            "--key",
            key,
            text,
        ])
        .out()
    };
    assert_eq!(explain("label", "http.route", "/users"), "kept     /users\n");
    assert_eq!(explain("label", "user", "bob"), "removed  bob\n      by allowed_keys\n");
    assert!(explain("function", "", "acme.Secret").contains("by frame_hash\n"));
}

#[test]
fn the_example_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/policy-test");
    let tested = run(&["policy", "test", directory.to_str().unwrap()]);
    assert_eq!(tested.code(), 0, "{}{}", tested.out(), tested.err());
}

fn tested(policy: &str, case: &str) -> (Finished, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("cases")).unwrap();
    std::fs::write(folder.path().join("policy.yaml"), policy).unwrap();
    std::fs::write(folder.path().join("cases/case.yaml"), case).unwrap();
    let junit = folder.path().join("report.xml");
    let tested = run(&[
        "policy",
        "test",
        folder.path().to_str().unwrap(),
        "--junit",
        junit.to_str().unwrap(),
    ]);
    (tested, std::fs::read_to_string(junit).unwrap_or_default())
}

#[test]
fn what_does_not_hold_is_told_by_its_place_and_never_by_its_text() {
    let string = "strings: [{role: label, key: note, text: \"plantedEXAMPLE of somebody\"}]\n";
    for (policy, case, why) in [
        (
            "detectors: []",
            format!("{string}must_go: [plantedEXAMPLE]"),
            "must_go[0] is still there",
        ),
        (
            "detectors: []",
            format!("{string}must_go: [\"plantedEXAMPLE2\"]"),
            "must_go[0] is not in the input",
        ),
        (
            "blocked_key_patterns: [note]",
            format!("{string}must_stay: [plantedEXAMPLE]"),
            "must_stay[0] is gone",
        ),
        (
            "detectors: []",
            "strings: [{role: label, text: plantedEXAMPLE, becomes: x}]".to_owned(),
            "strings[0] does not become what it must",
        ),
        (
            "detectors: []",
            "strings: [{role: plantedEXAMPLE, text: x}]".to_owned(),
            "strings[0].role: not a role",
        ),
        ("detectors: []", "must_go: [x]".to_owned(), "there is nothing to try"),
        (
            "detectors: []",
            "input: none.pb.gz".to_owned(),
            "none.pb.gz: no such file",
        ),
        (
            "detectors: []",
            "strings: plantedEXAMPLE".to_owned(),
            "strings: invalid type",
        ),
        ("detectors: []", "totals: plantedEXAMPLE".to_owned(), "totals: "),
    ] {
        let (tested, junit) = tested(policy, &case);
        assert_eq!(tested.code(), 1, "{case}\n{}", tested.err());
        assert!(
            tested.out().starts_with("FAIL  case") && tested.out().contains(why),
            "{why}\n{}",
            tested.out()
        );
        assert!(
            junit.contains("failures=\"1\"") && junit.contains("<failure message="),
            "{junit}"
        );
        assert!(
            !format!("{}{}{junit}", tested.out(), tested.err()).contains("plantedEXAMPLE"),
            "{}",
            tested.out()
        );
    }
}

#[test]
fn a_policy_that_is_none_or_a_directory_without_cases_is_told() {
    let (wrong, _) = tested("detectors: [secretz]", "strings: [{role: label, text: x}]");
    assert_eq!(wrong.code(), 1);
    assert!(wrong.err().contains("policy.yaml: detectors[0]"), "{}", wrong.err());
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("cases")).unwrap();
    std::fs::write(folder.path().join("policy.yaml"), "detectors: []").unwrap();
    let empty = run(&["policy", "test", folder.path().to_str().unwrap()]);
    assert_eq!(empty.code(), 2);
    assert!(empty.err().contains("no case"), "{}", empty.err());
}
