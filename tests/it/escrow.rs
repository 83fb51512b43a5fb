//! Keys, and names that come back for whoever holds the private one.

use std::path::Path;
use std::sync::Arc;

use flamegate::processors::redaction::escrow::{Config, Escrow, Identity, Keep};
use flamegate::profile::Role;

use crate::support::{Gate, data, files, free_port, http, run, run_on};

/// A key as the command makes it: the identity's file and the recipient.
fn key(folder: &Path) -> (String, String) {
    let file = folder.join("escrow.identity").display().to_string();
    let made = run(&["keygen", "--escrow", "-o", &file]);
    assert_eq!(made.code(), 0, "{}", made.err());
    (file, made.out().trim().to_owned())
}

fn keep(directory: &Path, recipient: &str, pseudonym: &str, name: &str) {
    let config = serde_json::json!({ "directory": directory, "recipient": recipient });
    let config: Config = serde_json::from_value(config).unwrap();
    let escrow = Escrow::open(&config, &Arc::default()).unwrap();
    escrow.keep(Role::FunctionName, pseudonym, name);
    assert!(escrow.flush());
}

#[test]
fn keys_are_new_each_time_long_enough_and_never_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (run(&["keygen"]).out(), run(&["keygen"]).out());
    assert_ne!(one, two);
    assert_eq!(one.trim().len(), 64);
    let path = folder.path().join("key");
    let path = path.to_str().unwrap();
    assert_eq!(run(&["keygen", "-o", path]).code(), 0);
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.len(), 64);
    let again = run(&["keygen", "-o", path]);
    assert_eq!(again.code(), 2);
    let told = again.err();
    assert!(!told.contains(&text) && told.contains("name another file"), "{told}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

#[test]
fn the_identity_stays_in_its_file_and_the_recipient_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, recipient) = key(folder.path());
    let text = std::fs::read_to_string(&file).unwrap();
    let identities = Identity::parse_all(&text).unwrap();
    assert_eq!(identities[0].recipient().to_string(), recipient);
    let printed = run(&["keygen", "--escrow"]);
    assert!(Identity::parse_all(&printed.out()).is_ok());
    assert!(
        printed.err().starts_with("recipient: flamegate-recipient-"),
        "{}",
        printed.err()
    );
}

#[test]
fn texts_and_profiles_get_their_names_back_with_the_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = key(folder.path());
    let escrow = folder.path().join("escrow");
    keep(&escrow, &recipient, "fn_k1_abc", "billing.charge");
    keep(&escrow, &recipient, "fn_k1_def", "billing.refund");
    let escrow = escrow.to_str().unwrap();
    let reveal = |arguments: &[&str]| {
        let known = ["reveal", "--identity", &identity, "--escrow", escrow];
        run(&[&known, arguments].concat())
    };
    let words = reveal(&["--text", "fn_k1_abc", "x;fn_k1_def 3", "fn_k1_unknown"]);
    assert_eq!(
        words.out(),
        "billing.charge\nx;billing.refund 3\nfn_k1_unknown\n",
        "{}",
        words.err()
    );

    let profile = folder.path().join("in.collapsed");
    std::fs::write(&profile, "main;fn_k1_abc;fn_k1_def 7\n").unwrap();
    let done = reveal(&[profile.to_str().unwrap()]);
    assert_eq!(done.code(), 0, "{}", done.err());
    let revealed = std::fs::read_to_string(folder.path().join("in.revealed.collapsed")).unwrap();
    assert_eq!(revealed.trim(), "main;billing.charge;billing.refund 7");

    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let (stranger, _) = key(&other);
    let denied = run(&[
        "reveal",
        "--identity",
        &stranger,
        "--escrow",
        escrow,
        "--text",
        "fn_k1_abc",
    ]);
    assert_eq!((denied.code(), denied.out()), (1, String::new()));
    assert!(
        denied.err().contains(".escrow: sealed to another recipient"),
        "{}",
        denied.err()
    );
    let none = run(&["reveal", "--identity", "/no/such", "--escrow", escrow, "--text", "x"]);
    assert_eq!(none.code(), 2);
    let nowhere = run(&["reveal", "--identity", &identity, "--escrow", "/no/such", "--text", "x"]);
    assert_eq!(nowhere.code(), 2);
    let told = nowhere.err();
    assert!(
        told.contains("no such file or directory; --escrow names the folder"),
        "{told}"
    );
}

#[test]
fn the_standard_input_is_read_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = key(folder.path());
    keep(folder.path(), &recipient, "fn_k1_abc", "billing.charge");
    let escrow = folder.path().to_str().unwrap();
    let args = ["reveal", "--identity", &identity, "--escrow", escrow, "--text"];
    let revealed = run_on(b"at fn_k1_abc (x)\n\nnothing\n", &args);
    assert_eq!(revealed.out(), "at billing.charge (x)\n\nnothing\n");
}

#[test]
fn a_damaged_file_is_named_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = key(folder.path());
    let escrow = folder.path().join("escrow");
    keep(&escrow, &recipient, "fn_k1_abc", "billing.charge");
    let file = std::fs::read_dir(&escrow).unwrap().next().unwrap().unwrap().path();
    let mut content = std::fs::read(&file).unwrap();
    let last = content.len() - 1;
    content[last] ^= 1;
    std::fs::write(&file, content).unwrap();
    let profile = data("py-spy-threads.collapsed");
    let profile = profile.to_str().unwrap();
    let broken = run(&[
        "reveal",
        "--identity",
        &identity,
        "--escrow",
        escrow.to_str().unwrap(),
        profile,
        "-o",
        "/dev/null",
    ]);
    assert_eq!(broken.code(), 1);
    let err = broken.err();
    assert!(
        err.contains(file.to_str().unwrap()) && err.contains("bytes from"),
        "{err}"
    );
}

/// A gate that hides every name, with an escrow.
fn hiding(folder: &Path, port: u16, recipient: &str) -> String {
    std::fs::write(folder.join("pseudonym.key"), "a key of thirty-two bytes, planted").unwrap();
    format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{port}\"}}}}
processors:
  redaction:
    frames: {{default: hash}}
    pseudonyms: {{keys: [{{id: k1, key: \"${{file:{}/pseudonym.key}}\"}}]}}
    escrow: {{directory: \"{}/escrow\", recipient: {recipient}}}
exporters: {{file: {{directory: ./profiles, format: collapsed}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [redaction], exporters: [file]}}}}
  telemetry: {{metrics: {{level: none}}}}
",
        folder.display(),
        folder.display()
    )
}

#[test]
fn what_the_command_hides_comes_back_with_the_private_key() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = key(folder.path());
    let config = folder.path().join("gate.yaml");
    std::fs::write(&config, hiding(folder.path(), free_port(), &recipient)).unwrap();
    let (input, output) = (folder.path().join("in.collapsed"), folder.path().join("out.collapsed"));
    std::fs::write(&input, "billing.main;billing.charge 7\n").unwrap();
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    let config = config.to_str().unwrap();
    let escrow = folder.path().join("escrow");
    let tried = run(&["redact", "--config", config, input, "-o", output, "--dry-run"]);
    assert_eq!(tried.code(), 0, "{}", tried.err());
    assert!(!escrow.exists(), "trying keeps nothing");
    assert_eq!(run(&["redact", "--config", config, input, "-o", output]).code(), 0);
    let hidden = std::fs::read_to_string(output).unwrap();
    assert!(hidden.contains("fn_k1_") && !hidden.contains("billing"), "{hidden}");
    let known = [
        "reveal",
        "--identity",
        &identity,
        "--escrow",
        escrow.to_str().unwrap(),
        output,
        "-o",
        input,
    ];
    let revealed = run(&known);
    assert_eq!(revealed.code(), 0, "{}", revealed.err());
    assert_eq!(
        std::fs::read_to_string(input).unwrap().trim(),
        "billing.main;billing.charge 7"
    );
}

#[test]
fn what_the_gate_hides_is_kept_when_it_stops() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = key(folder.path());
    let config = folder.path().join("gate.yaml");
    std::fs::write(&config, hiding(folder.path(), port, &recipient)).unwrap();
    let mut gate = Gate::start(folder.path(), &["--config", config.to_str().unwrap()]);
    let path = "/ingest?name=shop&format=folded&from=1700000000&until=1700000010";
    assert_eq!(http("POST", port, path, b"billing.main;billing.charge 7\n").0, 200);
    gate.signal("TERM");
    assert_eq!(gate.code(), 0, "{}", gate.err());
    let written = files(&folder.path().join("profiles"));
    let hidden = std::fs::read_to_string(&written[0]).unwrap();
    assert!(hidden.contains("fn_k1_") && !hidden.contains("billing"), "{hidden}");
    let escrow = folder.path().join("escrow");
    let args = [
        "reveal",
        "--identity",
        &identity,
        "--escrow",
        escrow.to_str().unwrap(),
        "--text",
        hidden.trim(),
    ];
    let revealed = run(&args).out();
    assert!(revealed.starts_with("billing.main;billing.charge "), "{revealed}");
}
