//! `inspect --trace` and the like: the samples of one trace, span or route out of files, and how much they are worth.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::summary::ProfileSummary;
use super::text;
use super::{Form, InspectArgs};
use crate::cli::files::{self, FormatName, Output};
use crate::cli::scan::read;
use crate::cli::{Failure, print};
use crate::formats::quantity::counted;
use crate::profile::{Dictionary, Evidence, Gathered, Gathering, NotAnId, ProfileRef, Profiles, Wanted};

/// With fewer samples than this nobody should read shares.
const FEW: u64 = 30;
/// A span of so many seconds is the example of what is seldom seen.
const SHORT: f64 = 0.01;

/// What samples are looked for by.
#[derive(Args)]
#[group(multiple = false, conflicts_with = "Reduction")]
pub struct Selection {
    /// Only the samples of this trace: 32 hexadecimal digits, or Datadog's decimal number; also of all files in a directory
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    trace: Option<String>,
    /// Only those of this span, or below it where it is the local root: 16 hexadecimal digits, or Datadog's decimal number
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    span: Option<String>,
    /// Only those of this route
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only those of spans of this name
    #[arg(long, value_name = "NAME")]
    span_name: Option<String>,
}

/// Where the flame graph goes.
#[derive(Args)]
#[group(multiple = true, requires = "Selection")]
pub struct Destination {
    /// Writes what was found as a profile or a flame graph; the ending tells the format
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format of that; to the standard output unless a file is named
    #[arg(long, value_enum)]
    to: Option<FormatName>,
}

impl Selection {
    /// What is wanted; none if nothing special is.
    pub fn wanted(&self) -> Result<Option<Wanted>, Failure> {
        let of_id = |text: &Option<String>, read: fn(&str) -> Result<Wanted, NotAnId>| match text {
            Some(id) => read(id).map(Some).map_err(|why| Failure::Trouble(why.to_string())),
            None => Ok(None),
        };
        let ids = of_id(&self.trace, Wanted::trace)?.or(of_id(&self.span, Wanted::span)?);
        let names = self.route.clone().map(Wanted::Route);
        Ok(ids.or(names).or(self.span_name.clone().map(Wanted::SpanName)))
    }

    /// The same in words.
    fn told(&self) -> String {
        let all = [
            ("trace", &self.trace),
            ("span", &self.span),
            ("route", &self.route),
            ("span name", &self.span_name),
        ];
        let told = all
            .into_iter()
            .find_map(|(what, text)| Some(format!("{what} {}", text.as_ref()?)));
        told.unwrap_or_default()
    }
}

/// What was found.
#[derive(Serialize)]
pub struct Report {
    /// What was looked for.
    pub wanted: String,
    /// Files with such samples.
    pub files: Vec<String>,
    /// What they became, by service and kind.
    pub profiles: Vec<ProfileSummary>,
}

/// How much a profile is worth that is made of what was found.
#[derive(Debug, Serialize)]
pub struct Told {
    /// So many samples stand behind it.
    pub samples: u64,
    /// What told that: `counts`, `periods`, `timestamps`, or `rows`, of which each may be several.
    pub counted_by: &'static str,
    /// Looks in a second, where that is known.
    pub hz: Option<f64>,
    /// The whole is off by about so much, of 100.
    pub error_percent: f64,
    /// Seconds that a span must run to be seen in 95 of 100 cases.
    pub seen_from_seconds: Option<f64>,
    /// The same for people.
    pub notes: Vec<String>,
}

impl Told {
    /// Tells it.
    pub fn of(evidence: &Evidence) -> Self {
        Self {
            samples: evidence.samples,
            counted_by: evidence.counted.name(),
            hz: evidence.hz,
            error_percent: (evidence.error() * 1000.0).round() / 10.0,
            seen_from_seconds: evidence.seen_from(),
            notes: notes(evidence),
        }
    }
}

/// What to bear in mind.
fn notes(evidence: &Evidence) -> Vec<String> {
    let (n, error) = (evidence.samples, evidence.error() * 100.0);
    let samples = counted(usize::try_from(n).unwrap_or(usize::MAX), "sample");
    let by = evidence.counted.name();
    let worth = match n < FEW {
        true => format!(
            "too few to mean anything: the whole is off by about {error:.0} % (1/√n), and shares below {:.0} % (1/n) are invisible",
            100.0 / n.max(1) as f64
        ),
        false => format!("the whole is off by about {error:.1} % (1/√n)"),
    };
    let mut notes = vec![format!("{samples}, by {by}; {worth}")];
    if let (Some(hz), Some(from)) = (evidence.hz, evidence.seen_from()) {
        let short = (1.0 - (-hz * SHORT).exp()) * 100.0;
        notes.push(format!(
            "at {hz:.0} Hz a span of t seconds is seen with a chance of 1 − e^(−{hz:.0} t): one of 10 ms in {short:.0} % of cases, \
             one of {:.0} ms in 95 %",
            from * 1000.0
        ));
    }
    notes
}

/// All that was found as one, with what to bear in mind as comments.
pub fn commented(found: &[Gathered]) -> Profiles {
    let parts = found.iter().map(|one| {
        let mut part = one.profiles.clone();
        let (d, resources) = part.edit();
        let comments: Vec<_> = notes(&one.evidence).iter().map(|note| d.strings.push(note)).collect();
        for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
            for profile in &mut scope.profiles {
                profile.comments.clone_from(&comments);
            }
        }
        part
    });
    Profiles::merge(&parts.collect::<Vec<_>>())
}

/// What is in all that was found.
pub fn summaries(found: &[Gathered], type_name: Option<&str>, top: usize) -> Vec<ProfileSummary> {
    let of = |one: &Gathered| {
        let d = one.profiles.dictionary();
        let at = one.profiles.iter().next()?;
        Some(ProfileSummary {
            evidence: Some(Told::of(&one.evidence)),
            ..ProfileSummary::of(d, at, type_name, top)
        })
    };
    found.iter().filter_map(of).collect()
}

/// Shows what is wanted of a file or of a directory, or writes it.
pub fn find(args: &InspectArgs, wanted: Wanted) -> Result<(), Failure> {
    let Destination { output, to } = &args.destination;
    let standard_output = Path::new("-");
    let output = (output.is_some() || to.is_some())
        .then(|| Output::new(output.as_deref().unwrap_or(standard_output), *to))
        .transpose()?;
    let type_name = args.type_name.as_deref();
    let mut gathering = Gathering::new(wanted);
    let mut files = Vec::new();
    let mut look = |name: String, profiles: &Profiles| {
        let takes =
            |d: &Dictionary, at: ProfileRef<'_>| type_name.is_none_or(|wanted| files::is_of(d, at.profile, wanted));
        if gathering.add(profiles, &takes) > 0 {
            files.push(name);
        }
    };
    match args.file.is_dir() {
        true => read::each_of_directory(&args.file, &mut |name, read| match read {
            Ok(input) => look(name, &input.decoded.profiles),
            Err(why) => eprintln!("skipped: {name}: {why}"),
        })?,
        false => {
            let input = files::read(&args.file, args.from)?;
            files::warn_of_rejected(&input.decoded);
            look(args.file.display().to_string(), &input.decoded.profiles);
        }
    }
    let told = args.selection.told();
    if gathering.left_out() > 0 {
        let rows = counted(gathering.left_out() as usize, "sample");
        eprintln!("warning: {rows} of too many services and types are left out; say --type");
    }
    let found = gathering.finish();
    if found.is_empty() {
        return Err(Failure::No(format!("no sample of {told}")));
    }
    if let Some(output) = output {
        for note in found
            .iter()
            .filter(|one| one.evidence.samples < FEW)
            .flat_map(|one| notes(&one.evidence))
        {
            eprintln!("note: {note}");
        }
        for path in output.write(&commented(&found), type_name)? {
            eprintln!("wrote {}", path.display());
        }
        return Ok(());
    }
    let report = Report {
        wanted: told,
        files,
        profiles: summaries(&found, type_name, args.top),
    };
    match args.format {
        Form::Text => print(&text::found(&report)),
        Form::Json => super::print_json(&report),
    }
}
