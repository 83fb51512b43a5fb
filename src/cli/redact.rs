//! `redact`: the daemon's redaction on one file. The report says what went, by rule and carrier, never the text.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::files::{self, Output};
use super::{Failure, print};
use crate::app;
use crate::config::Sources;
use crate::pipeline::spec::parse;
use crate::processors::redaction::{Config, Policy, Report};

/// What `redact` takes.
#[derive(Args)]
pub struct RedactArgs {
    /// File to read, `-` for the standard input
    input: PathBuf,
    /// File to write; the input's name with `redacted` before the ending otherwise
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Configuration whose redaction processors are used; the quickstart's otherwise
    #[arg(long, short, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Says what would go, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    report: Form,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// Redacts one file.
pub fn redact(args: &RedactArgs) -> Result<(), Failure> {
    let policies = policies(&args.config)?;
    let name = match (&args.output, args.input == Path::new("-")) {
        (Some(output), _) => output.clone(),
        (None, true) if !args.dry_run => return Err(Failure::Trouble("say where to write with --output".to_owned())),
        (None, _) => files::named(&args.input, "redacted"),
    };
    let input = files::read(&args.input, None)?;
    files::warn_of_rejected(&input.decoded);
    let mut profiles = input.decoded.profiles;
    let mut report = Report::default();
    for policy in &policies {
        for (place, hits) in policy.redact(&mut profiles).hits {
            *report.hits.entry(place).or_default() += hits;
        }
    }
    profiles.compact();
    let mut written = Vec::new();
    if !args.dry_run {
        // a name that tells no format keeps the one that was read
        let output = Output::new(&name, None).or_else(|_| Output::in_format(&name, input.format))?;
        written = output.write(&profiles, None)?;
    }
    let to_stdout = name == Path::new("-") && !args.dry_run;
    tell(args.report, &report, &written, to_stdout)
}

fn policies(config: &[PathBuf]) -> Result<Vec<Policy>, Failure> {
    let no = |why: String| Failure::No(why);
    let sources = match config {
        [] => Sources {
            texts: vec![("quickstart".to_owned(), app::QUICKSTART.to_owned())],
            sets: Vec::new(),
        },
        files => Sources::read(files, &[]).map_err(|error| Failure::Trouble(error.to_string()))?,
    };
    let loaded = app::load(&sources).map_err(|error| no(error.to_string()))?;
    let checked = app::check(&loaded).map_err(|error| no(error.to_string()))?;
    let mut policies = Vec::new();
    for component in checked
        .processors
        .iter()
        .filter(|component| component.type_name == "redaction")
    {
        let config: Config = parse(component.raw.clone()).map_err(|error| no(error.to_string()))?;
        policies.push(Policy::new(config).map_err(|error| no(error.to_string()))?);
    }
    match policies.is_empty() {
        true => Err(no("the configuration has no redaction processor".to_owned())),
        false => Ok(policies),
    }
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
