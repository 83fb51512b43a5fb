//! `policy test`: cases that say what a policy must take out and what it must leave, for a company's CI.

mod junit;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use memchr::memmem;
use serde::Deserialize;

use super::policies::Policies;
use super::{Failure, files, print, texts};
use crate::config::{Node, io_reason};
use crate::formats::Format;
use crate::formats::any::encode;
use crate::formats::quantity::counted;
use crate::pipeline::spec::parse;
use crate::profile::Profiles;

/// Largest file of a case.
const CASE_BYTES: u64 = 4 << 20;
/// The policy of a directory.
const POLICY: &str = "policy.yaml";

/// What `policy` takes.
#[derive(Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Tries a policy on cases: what must go, what must stay, and totals
    Test(TestArgs),
}

/// What `policy test` takes.
#[derive(Args)]
#[command(after_help = "\
Example:
  flamegate policy test configs/policy-test --junit report.xml

DIR holds policy.yaml (what stands under `redaction:`, or a whole configuration) and cases/*.yaml:
  name: tokens of customers never leave
  strings:
    - { role: label, key: request.url, text: \"https://shop/?token=t0psecretEXAMPLE\" }
  input: profile.pb.gz          # a profile beside the case, in place of strings or with them
  must_go: [t0psecretEXAMPLE]   # in no byte of what comes out
  must_stay: [request.url]      # still in it
  totals: unchanged             # or any; unchanged unless said

Exit code 0 if every case holds, 1 if one does not. No text of a case is ever printed.")]
struct TestArgs {
    /// Directory of the policy and its cases
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Policy to try, in place of DIR/policy.yaml
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Writes the result as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// One case, as its file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: Option<String>,
    #[serde(default)]
    strings: Vec<Text>,
    input: Option<PathBuf>,
    #[serde(default)]
    must_go: Vec<String>,
    #[serde(default)]
    must_stay: Vec<String>,
    #[serde(default)]
    totals: Totals,
}

/// One text in one role.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    role: String,
    key: Option<String>,
    text: String,
    /// What it must become, to the letter.
    becomes: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Totals {
    #[default]
    Unchanged,
    Any,
}

/// What became of a case.
struct Outcome {
    name: String,
    checks: usize,
    failures: Vec<String>,
}

/// Does what the subcommand says.
pub fn policy(args: &PolicyArgs) -> Result<(), Failure> {
    match &args.command {
        PolicyCommand::Test(args) => test(args),
    }
}

fn test(args: &TestArgs) -> Result<(), Failure> {
    let policy = args.policy.clone().unwrap_or_else(|| args.directory.join(POLICY));
    let policies = Policies::of_file(&policy)?;
    let files = cases(&args.directory.join("cases"))?;
    let mut outcomes = Vec::with_capacity(files.len());
    for file in &files {
        outcomes.push(outcome(file, &policies));
    }
    if let Some(path) = &args.junit {
        let xml = junit::report(&args.directory.display().to_string(), &outcomes);
        std::fs::write(path, xml).map_err(|error| trouble(path, &error))?;
    }
    print(&told(&outcomes))?;
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    match failed {
        0 => Ok(()),
        failed => Err(Failure::No(format!(
            "{} out of {} failed",
            failed,
            counted(outcomes.len(), "case")
        ))),
    }
}

fn trouble(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Trouble(format!("{}: {}", path.display(), io_reason(error)))
}

fn cases(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| trouble(directory, &error))? {
        let path = entry.map_err(|error| trouble(directory, &error))?.path();
        if path
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml")
        {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Failure::Trouble(format!(
            "{}: no case (*.yaml) in it",
            directory.display()
        ))),
        false => Ok(files),
    }
}

fn told(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let word = if outcome.failures.is_empty() { "ok  " } else { "FAIL" };
        text.push_str(&format!(
            "{word}  {} ({})\n",
            outcome.name,
            counted(outcome.checks, "check")
        ));
        for failure in &outcome.failures {
            text.push_str(&format!("      {failure}\n"));
        }
    }
    text
}

fn outcome(file: &Path, policies: &Policies) -> Outcome {
    let mut outcome = Outcome {
        name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        checks: 0,
        failures: Vec::new(),
    };
    match read(file) {
        Ok(case) => {
            outcome.name = case.name.clone().unwrap_or(outcome.name);
            if let Err(why) = case.try_on(file, policies, &mut outcome) {
                outcome.failures.push(why);
            }
        }
        Err(why) => outcome.failures.push(why),
    }
    outcome
}

fn read(file: &Path) -> Result<Case, String> {
    use std::io::Read;
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(|error| io_reason(&error))?;
    opened
        .take(CASE_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| io_reason(&error))?;
    let node = Node::parse(&text, &file.display().to_string()).map_err(|error| error.to_string())?;
    parse::<Case>(node.to_json()).map_err(|error| match error.path.as_str() {
        "" => plain(&error.message).to_owned(),
        path => format!("{path}: {}", plain(&error.message)),
    })
}

/// The message without what it quotes of the case; keys are no secret.
fn plain(message: &str) -> &str {
    match message.starts_with("unknown field") || message.starts_with("missing field") {
        true => message,
        false => message.split([':', '`']).next().unwrap_or_default().trim_end(),
    }
}

impl Case {
    fn try_on(&self, file: &Path, policies: &Policies, outcome: &mut Outcome) -> Result<(), String> {
        let mut before = Bytes::default();
        let mut after = Bytes::default();
        for (number, text) in self.strings.iter().enumerate() {
            let role = texts::role(&text.role).map_err(|why| format!("strings[{number}].role: {why}"))?;
            let profiles = texts::profile_of(role, text.key.as_deref(), &text.text);
            let redacted = self.redact(profiles, policies, &mut before, &mut after, outcome)?;
            if let Some(becomes) = &text.becomes {
                let is = texts::text_in(&redacted, role).unwrap_or_default();
                outcome.check(is == *becomes, || {
                    format!("strings[{number}] does not become what it must")
                });
            }
        }
        if let Some(input) = &self.input {
            let path = file.parent().unwrap_or(Path::new("")).join(input);
            let read = files::read(&path, None).map_err(|failure| {
                let (Failure::No(why) | Failure::Trouble(why)) = failure;
                why
            });
            self.redact(read?.decoded.profiles, policies, &mut before, &mut after, outcome)?;
        }
        if self.strings.is_empty() && self.input.is_none() {
            return Err("neither `strings` nor `input`: there is nothing to try".to_owned());
        }
        for (number, text) in self.must_go.iter().enumerate() {
            outcome.check(before.hold(text), || {
                format!("must_go[{number}] is not in the input: this check cannot fail")
            });
            outcome.check(!after.hold(text), || format!("must_go[{number}] is still there"));
        }
        for (number, text) in self.must_stay.iter().enumerate() {
            outcome.check(after.hold(text), || match before.hold(text) {
                true => format!("must_stay[{number}] is gone"),
                false => format!("must_stay[{number}] is not in the input"),
            });
        }
        Ok(())
    }

    fn redact(
        &self,
        mut profiles: Profiles,
        policies: &Policies,
        before: &mut Bytes,
        after: &mut Bytes,
        outcome: &mut Outcome,
    ) -> Result<Profiles, String> {
        before.add(&profiles)?;
        let totals = totals(&profiles);
        policies.redact(&mut profiles);
        after.add(&profiles)?;
        if self.totals == Totals::Unchanged {
            outcome.check(totals == self::totals(&profiles), || {
                "the totals are not what they were".to_owned()
            });
        }
        Ok(profiles)
    }
}

impl Outcome {
    fn check(&mut self, holds: bool, why: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.failures.push(why());
        }
    }
}

/// Every byte of profiles, as they would leave.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn add(&mut self, profiles: &Profiles) -> Result<(), String> {
        let bytes = encode(Format::Otlp, profiles, super::files::MOST_WRITTEN).map_err(|error| error.to_string())?;
        self.0.extend(bytes);
        Ok(())
    }

    fn hold(&self, text: &str) -> bool {
        memmem::find(&self.0, text.as_bytes()).is_some()
    }
}

/// The sums of every sample type of every profile, whatever the order.
fn totals(profiles: &Profiles) -> Vec<Vec<i128>> {
    let sums = |profile: &crate::profile::Profile| {
        let types = profile.sample_types.len();
        (0..types).map(|column| profile.samples.sum(column, types)).collect()
    };
    let mut totals: Vec<Vec<i128>> = profiles.iter().map(|at| sums(at.profile)).collect();
    totals.sort();
    totals
}
