//! The command line: answers, exit codes, and no secret anywhere.

use flamegate::formats::any::decode_any;
use flamegate::formats::{Limits, otlp};
use flamegate::profile::Profiles;

use crate::support::{config, data, files, flamegate, free_port, run};

#[test]
fn version_and_help_are_fine_and_nonsense_is_usage() {
    let version = run(&["--version"]);
    assert_eq!(version.code(), 0);
    assert!(version.out().starts_with("flamegate "));
    assert_eq!(run(&["--help"]).code(), 0);
    assert_eq!(run(&["--nonsense"]).code(), 2);
    assert_eq!(run(&["validate"]).code(), 2);
}

#[test]
fn components_lists_every_row_of_the_tables() {
    let text = run(&["components"]).out();
    let yaml = run(&["components", "--format", "yaml"]).out();
    let names = flamegate::receivers::ALL
        .iter()
        .map(|row| row.about.name)
        .chain(flamegate::processors::ALL.iter().map(|row| row.about.name))
        .chain(flamegate::exporters::ALL.iter().map(|row| row.about.name));
    for name in names {
        assert!(text.contains(&format!("\n  {name} ")), "{name}\n{text}");
        assert!(yaml.contains(&format!("name: {name}\n")), "{name}\n{yaml}");
    }
}

#[test]
fn validate_names_the_place_of_every_error() {
    let (_folder, path) = config("processors:\n  redacton: {}\nexporters:\n  otlp_http: {endpont: \"http://x\"}\n");
    let run = run(&["validate", "--config", &path]);
    assert_eq!(run.code(), 1);
    let err = run.err();
    assert!(
        err.contains(&format!(
            "{path}:2:3: processors.redacton: unknown processor; did you mean \"redaction\"?"
        )),
        "{err}"
    );
    assert!(
        err.contains(&format!(
            "{path}:4:15: exporters.otlp_http.endpont: unknown key; did you mean \"endpoint\"?"
        )),
        "{err}"
    );
}

#[test]
fn a_key_that_is_missing_is_named_below_the_block_it_belongs_to() {
    let (_folder, path) = config(
        "receivers: {pprof: {remote: }}\nexporters: {debug: }\n\
         service: {pipelines: {profiles: {receivers: [pprof], exporters: [debug]}}}\n",
    );
    let err = run(&["validate", "--config", &path]).err();
    assert!(err.contains("receivers.pprof.remote.endpoint: missing"), "{err}");
}

#[test]
fn a_missing_file_is_trouble_and_not_an_answer() {
    let run = run(&["validate", "--config", "/no/such/file.yaml"]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains("/no/such/file.yaml"), "{}", run.err());
}

#[test]
fn print_config_merges_and_hides_what_is_secret() {
    let (_one, first) = config(
        "exporters:\n  otlp_http:\n    endpoint: https://me:plantedEXAMPLE@h:1/\n    headers: {authorization: plantedEXAMPLE}\n",
    );
    let (_two, second) = config("exporters:\n  otlp_http: {timeout: 7s}\n  debug: {note: \"${env:PLANTED}\"}\n");
    let args = [
        "print-config",
        "--validate",
        "false",
        "--config",
        &first,
        "--config",
        &second,
        "--set",
        "service.drain_timeout=3s",
    ];
    let shown = |mode: &str| {
        let output = flamegate()
            .args(args)
            .args(["--mode", mode])
            .env("PLANTED", "plantedEXAMPLE")
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let redacted = shown("redacted");
    assert!(!redacted.contains("plantedEXAMPLE"), "{redacted}");
    assert_eq!(redacted.matches("[REDACTED]").count(), 3, "{redacted}");
    assert!(
        redacted.contains("timeout: 7s") && redacted.contains("drain_timeout: 3s"),
        "{redacted}"
    );
    assert_eq!(shown("unredacted").matches("plantedEXAMPLE").count(), 3);
}

#[test]
fn print_config_knows_json() {
    let (_folder, path) = config("service: {drain_timeout: 3s}\n");
    let run = run(&[
        "print-config",
        "--validate",
        "false",
        "--format",
        "json",
        "--config",
        &path,
    ]);
    let json: serde_json::Value = serde_json::from_str(&run.out()).unwrap();
    assert_eq!(json["service"]["drain_timeout"], "3s");
}

#[test]
fn the_schema_is_json_and_knows_every_section() {
    let schema: serde_json::Value = serde_json::from_str(&run(&["schema"]).out()).unwrap();
    for section in ["receivers", "processors", "exporters", "extensions", "service"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[test]
fn inspect_foretells_how_far_off_a_smaller_profile_would_be() {
    let file = data("go123-cpu-labels.pb.gz");
    let file = file.to_str().unwrap();
    let told = run(&["inspect", file, "--thin", "19"]).out();
    assert!(
        told.contains("would leave thinned from 100 to 19 looks per second"),
        "{told}"
    );
    assert!(
        told.contains("kept                 19 %") && told.contains("with what it calls: standard deviation"),
        "{told}"
    );
    let json = run(&["inspect", file, "--leave", "100", "--top", "3", "--format", "json"]).out();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let forecast = &json["profiles"][0]["forecast"];
    assert_eq!(forecast["total_percent"], 0.0);
    let functions = forecast["functions"].as_array().unwrap();
    assert!(
        functions.len() == 3 && functions.iter().all(|of| of["own_percent"].as_f64().unwrap() < 100.0),
        "{forecast}"
    );
    let heap = data("go123-heap.pb.gz");
    let told = run(&["inspect", heap.to_str().unwrap(), "--thin", "19"]).out();
    assert!(told.contains("would leave as it is: its values are weights"), "{told}");
    assert_eq!(run(&["inspect", file, "--thin", "0"]).code(), 2);
    assert_eq!(run(&["inspect", file, "--thin", "19", "--leave", "100"]).code(), 2);
    let plain = run(&["inspect", file, "--format", "json"]).out();
    assert!(!plain.contains("forecast"));
}

#[test]
fn inspect_reads_by_content_and_knows_json() {
    let file = data("py-spy-threads.collapsed");
    let file = file.to_str().unwrap();
    let text = run(&["inspect", file]);
    assert_eq!(text.code(), 0);
    assert!(text.out().contains("total samples        2 076"), "{}", text.out());
    let json: serde_json::Value = serde_json::from_str(&run(&["inspect", file, "--format", "json"]).out()).unwrap();
    assert_eq!(json["profiles"][0]["types"][0]["total"], 2076);
    assert_eq!(json["profiles"][0]["top_flat"][0]["function"], "locked");
    assert_eq!(run(&["inspect", file, "--type", "heap"]).code(), 1);
    // the vdso and vsyscall pages too, in which nothing was allocated
    let go = data("go123-heap.pb.gz");
    let told = run(&["inspect", go.to_str().unwrap()]).out();
    assert!(told.contains("122 in 3 mappings"), "{told}");
    // every sample of a pprof has a list of its own
    let labels = data("node20-wall-cpu-labels.pb.gz");
    let told = run(&["inspect", labels.to_str().unwrap()]).out();
    assert!(told.contains("samples              823 in 56 stacks"), "{told}");
    assert_eq!(run(&["inspect", "/no/such/file"]).code(), 2);
}

#[test]
fn functions_of_one_name_are_counted_once_in_a_stack() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("equals.collapsed");
    std::fs::write(&file, "main;equals (a.py:1);equals (b.py:2) 10\n").unwrap();
    let told = run(&["inspect", file.to_str().unwrap(), "--format", "json"]).out();
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    for row in json["profiles"][0]["top_cumulative"].as_array().unwrap() {
        assert_eq!(row["value"], 10, "{told}");
    }
}

#[test]
fn convert_follows_the_name_and_keeps_the_totals() {
    let folder = tempfile::tempdir().unwrap();
    let input = data("py-spy-threads.collapsed");
    let output = folder.path().join("out.speedscope.json");
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    let converted = run(&["convert", input, output]);
    assert_eq!(converted.code(), 0, "{}", converted.err());
    let json: serde_json::Value = serde_json::from_str(&run(&["inspect", output, "--format", "json"]).out()).unwrap();
    assert_eq!(json["format"], "speedscope");
    assert_eq!(json["profiles"][0]["types"][0]["total"], 2076);
}

#[test]
fn convert_says_which_names_it_knows() {
    let input = data("py-spy-threads.collapsed");
    for name in ["out", "out.jfr"] {
        let run = run(&["convert", input.to_str().unwrap(), name]);
        assert_eq!(run.code(), 2);
        assert!(run.err().contains(".speedscope.json"), "{}", run.err());
    }
}

#[test]
fn redact_reports_by_rule_and_carrier_and_never_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("clean.pb");
    let input = data("planted-go123-cpu.pb.gz");
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    let planned = run(&["redact", input, "-o", output, "--dry-run", "--report", "json"]);
    assert_eq!(planned.code(), 0, "{}", planned.err());
    assert!(!std::path::Path::new(output).exists());
    let done = run(&["redact", input, "-o", output, "--report", "json"]);
    let removed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["removed"].clone();
    assert_eq!(removed(&planned.out()), removed(&done.out()));
    assert!(
        removed(&done.out())
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["rule"] == "github")
    );
    let clean = String::from_utf8_lossy(&std::fs::read(output).unwrap()).into_owned();
    for text in [done.out(), done.err(), clean] {
        assert!(!text.contains("ghp_EXAMPLE"));
    }
    let again = run(&["redact", output, "--dry-run"]);
    assert_eq!(again.out(), "nothing to remove\n");
}

#[test]
fn redact_applies_the_policy_of_the_pipeline_that_is_named() {
    let (_folder, path) = config(
        "receivers: {pyroscope: }
processors:
  redaction/house: {blocked_values: [alpha]}
  redaction/vendor: {blocked_values: [beta]}
exporters: {debug: }
service:
  pipelines:
    profiles/house: {receivers: [pyroscope], processors: [redaction/house], exporters: [debug]}
    profiles/vendor: {receivers: [pyroscope], processors: [redaction/vendor], exporters: [debug]}
    profiles/open: {receivers: [pyroscope], exporters: [debug]}
",
    );
    let explained = |pipeline: &[&str]| {
        let args = [
            "redact",
            "--config",
            &path,
            "--explain",
            "--role",
            "label",
            "--key",
            "k",
        ];
        run(&[&args, pipeline, &["--", "-alpha", "-beta"]].concat())
    };
    let outcomes = |pipeline: &[&str]| {
        let text = explained(pipeline).out();
        let words = text.lines().filter(|line| !line.starts_with(' '));
        words
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect::<Vec<String>>()
    };
    assert_eq!(outcomes(&["--pipeline", "profiles/house"]), ["changed", "kept"]);
    assert_eq!(outcomes(&["--pipeline", "profiles/vendor"]), ["kept", "changed"]);
    assert_eq!(outcomes(&[]), ["changed", "changed"]);
    assert!(explained(&[]).err().contains("--pipeline"));
    for (pipeline, told) in [
        ("profiles/open", "the pipeline has no redaction processor"),
        ("vendor", "there are profiles/house, profiles/vendor, profiles/open"),
    ] {
        let asked = explained(&["--pipeline", pipeline]);
        assert!(asked.code() == 1 && asked.err().contains(told), "{}", asked.err());
    }
}

#[test]
fn one_file_for_each_profile_where_the_format_holds_one() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let bytes = std::fs::read(data(name)).unwrap();
        decode_any(bytes.into(), &Limits::default()).unwrap().decoded.profiles
    };
    let parts = [
        read("go123-cpu-labels.pb.gz"),
        read("go123-heap.pb.gz"),
        read("go123-heap.pb.gz"),
    ];
    let input = folder.path().join("all.otlp");
    std::fs::write(&input, otlp::encode(&Profiles::merge(&parts))).unwrap();
    let convert = |output: &str, more: &[&str]| {
        let output = folder.path().join(output);
        let args = [&["convert", input.to_str().unwrap(), output.to_str().unwrap()], more].concat();
        assert_eq!(run(&args).code(), 0);
    };
    convert("out.pb.gz", &[]);
    convert("one.collapsed", &["--type", "cpu"]);
    let names = files(folder.path());
    let names: Vec<_> = names
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "all.otlp",
            "one.collapsed",
            "out.cpu.pb.gz",
            "out.inuse.2.pb.gz",
            "out.inuse.pb.gz"
        ]
    );
}

#[test]
fn where_all_is_defective_the_reason_is_told_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let input = data("bad-empty-sample.otlp.gz");
    let input = input.to_str().unwrap();
    let inspected = run(&["inspect", input]).out();
    assert!(
        inspected.contains("defective profile; the first: otlp: "),
        "{inspected}"
    );
    for name in ["y.pb.gz", "y.svg", "y.otlp", "y.html"] {
        let output = folder.path().join(name);
        let output = output.to_str().unwrap();
        for args in [&["convert", input, output][..], &["redact", input, "-o", output]] {
            let run = run(args);
            assert_eq!(run.code(), 1, "{args:?}");
            let told = run.err();
            assert!(
                told.contains("the first: otlp: ") && told.contains("no profile to write"),
                "{told}"
            );
        }
    }
    assert!(files(folder.path()).is_empty());
}

#[test]
fn send_never_quotes_a_credential() {
    let file = data("py-spy-threads.collapsed");
    let send = |args: &[&str]| run(&[&["send", file.to_str().unwrap()], args].concat());
    let nobody = format!("http://localhost:{}", free_port());
    let with_query = format!("{nobody}/?token=plantedEXAMPLE");
    let blamed = send(&["--to", &nobody, "--header", "not a name=plantedEXAMPLE"]);
    assert!(blamed.err().contains("is not the name of a header"), "{}", blamed.err());
    for args in [
        &["--to", "http://u:plantedEXAMPLE@localhost:1"][..],
        &["--to", "plantedEXAMPLE"],
        &[
            "--to",
            &with_query,
            "--exporter",
            "otlp_http",
            "--header",
            "authorization=plantedEXAMPLE",
        ],
        &["--to", &nobody, "--header", "plantedEXAMPLE"],
        &["--to", &nobody, "--header", "not a name=plantedEXAMPLE"],
        &["--to", &nobody, "--header", "authorization: Bearer plantedEXAMPLE=="],
        &["--to", &nobody, "--header", "x=plantedEXAMPLE\n"],
    ] {
        let sent = send(args);
        assert_ne!(sent.code(), 0, "{args:?}");
        assert!(
            !sent.err().is_empty() && !(sent.out() + &sent.err()).contains("plantedEXAMPLE"),
            "{args:?}: {}",
            sent.err()
        );
    }
}
