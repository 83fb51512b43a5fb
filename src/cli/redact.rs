//! `redact`: the daemon's redaction on one file. The report says what went, by rule and carrier, never the text.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::explain::explain;
use super::files::{self, Output};
use super::policies::Policies;
use super::texts;
use super::{Failure, print};
use crate::processors::redaction::{Report, escrow};
use crate::profile::Role;

/// What `redact` takes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  flamegate redact cpu.pb.gz                              writes cpu.redacted.pb.gz
  flamegate redact --config gate.yaml --pipeline profiles/vendor cpu.pb.gz --dry-run --report json
  flamegate redact --explain --role function 'connect(host=\"db\", password=\"x\")'
  flamegate redact --explain --role label -- '--password=x'           texts that begin with - stand behind --
  flamegate redact --explain --role label --key request.url < urls.txt")]
pub struct RedactArgs {
    /// File to read, `-` for the standard input; with --explain texts (behind `--` if one begins with `-`), the lines of the
    /// standard input without any
    #[arg(value_name = "INPUT")]
    input: Vec<String>,
    /// File to write; the input's name with `redacted` before the ending otherwise. Needed for formats that are only read, as JFR
    #[arg(long, short, conflicts_with = "explain")]
    output: Option<PathBuf>,
    /// Configuration whose redaction processors are used; the quickstart's otherwise
    #[arg(long, short, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Pipeline whose redaction is used, by its id such as profiles/vendor; otherwise all of the configuration, one after the other
    #[arg(long, value_name = "ID", requires = "config")]
    pipeline: Option<String>,
    /// Says what would go, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    report: Form,
    /// Says for each text what becomes of it and by which rule
    #[arg(long)]
    explain: bool,
    /// The part that the texts play: function, file, mapping, label, resource, or a carrier as reports name it
    #[arg(long, value_parser = texts::role, default_value = "function", requires = "explain")]
    role: Role,
    /// The key of the label or resource attribute that the texts are values of
    #[arg(long, requires = "explain")]
    key: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Redacts one file.
pub fn redact(args: &RedactArgs) -> Result<(), Failure> {
    let mut policies = Policies::of_config(&args.config, args.pipeline.as_deref())?;
    if policies.count() > 1 && args.pipeline.is_none() {
        eprintln!(
            "note: {} redaction processors are applied one after the other; choose those of one pipeline with --pipeline",
            policies.count()
        );
    }
    if args.explain {
        let given = match args.input.as_slice() {
            [] => files::lines_of_stdin()?,
            texts => texts.to_vec(),
        };
        let as_json = matches!(args.report, Form::Json);
        return explain(&policies, args.role, args.key.as_deref(), &given, as_json);
    }
    let [input] = args.input.as_slice() else {
        return Err(Failure::Trouble("name one file to read, or say --explain".to_owned()));
    };
    let path = Path::new(input);
    let name = match (&args.output, path == Path::new("-")) {
        (Some(output), _) => output.clone(),
        (None, true) if !args.dry_run => return Err(Failure::Trouble("say where to write with --output".to_owned())),
        (None, _) => files::named(path, "redacted"),
    };
    if !args.dry_run {
        policies.keep_names()?;
    }
    let input = files::read(path, None)?;
    if args.output.is_none() && !args.dry_run && !input.format.is_written() {
        let message = format!(
            "{}: {} is read and not written; name a file of another format with --output, as one that ends in .otlp",
            path.display(),
            input.format
        );
        return Err(Failure::Trouble(message));
    }
    let mut profiles = files::sound(input.decoded)?;
    let report = policies.redact(&mut profiles);
    escrow::finish();
    let mut written = Vec::new();
    if !args.dry_run {
        // a name that tells no format keeps the one that was read
        let output = Output::new(&name, None).or_else(|_| Output::in_format(&name, input.format))?;
        written = output.write(&profiles, None)?;
    }
    let to_stdout = name == Path::new("-") && !args.dry_run;
    tell(args.report, &report, &written, to_stdout)
}

fn tell(form: Form, report: &Report, written: &[PathBuf], to_stdout: bool) -> Result<(), Failure> {
    let rows = report.hits.iter().map(|((rule, carrier), hits)| (rule, carrier, hits));
    let text = match form {
        Form::Json => {
            let removed: Vec<_> = rows
                .map(|(rule, carrier, hits)| json!({ "rule": rule, "carrier": carrier, "count": hits }))
                .collect();
            format!("{:#}\n", json!({ "removed": removed, "written": written }))
        }
        Form::Text => {
            let mut text: String = rows
                .map(|(rule, carrier, hits)| format!("{hits:>7}  {rule} in {carrier}\n"))
                .collect();
            if report.is_empty() {
                text.push_str("nothing to remove\n");
            }
            for path in written.iter().filter(|path| *path != Path::new("-")) {
                text.push_str(&format!("wrote {}\n", path.display()));
            }
            text
        }
    };
    match to_stdout {
        true => {
            eprint!("{text}");
            Ok(())
        }
        false => print(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_stands_before_the_ending() {
        assert_eq!(
            files::named(Path::new("d/a.b.pb.gz"), "redacted"),
            Path::new("d/a.b.redacted.pb.gz")
        );
        assert_eq!(
            files::named(Path::new("profile"), "redacted"),
            Path::new("profile.redacted")
        );
    }
}
