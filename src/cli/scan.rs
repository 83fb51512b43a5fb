//! `scan`: what profiles give away as they are, before anything is installed: by service, class, carrier and rule, in counts.
//! Never the text.

mod html;
pub(super) mod read;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Failure, print};
use crate::config::io_reason;
use crate::pipeline::Origin;
use crate::pipeline::spec::parse;
use crate::processors::redaction::{Config, Policy};
use crate::profile::Profiles;

/// Rows of findings; what comes on top is counted for the service [`OTHERS`].
const MOST_ROWS: usize = 10_000;
const OTHERS: &str = "(others)";
const UNNAMED: &str = "(no service name)";

/// What `scan` takes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  flamegate scan cpu.pb.gz
  flamegate scan ./profiles --html leaks.html
  flamegate scan http://localhost:6060/debug/pprof/heap --format json

The answer holds counts, rules, carriers and names of services and files, never a text of a profile.
Exit code 1 if something was found with --fail, or if nothing could be read.")]
pub struct ScanArgs {
    /// Profiles of any format, directories of them, or addresses that answer with one
    #[arg(required = true, value_name = "FILE|DIR|URL")]
    sources: Vec<String>,
    /// How to show it
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
    /// Writes one self-contained page too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Ends with exit code 1 if anything was found
    #[arg(long)]
    fail: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Scan {
    read: Vec<Source>,
    unreadable: Vec<Unreadable>,
    findings: Vec<Finding>,
    carriers: Vec<Carrier>,
}

/// One profile file that was read.
#[derive(Debug, Serialize)]
struct Source {
    source: String,
    format: String,
    profiles: usize,
    samples: usize,
    found: u64,
}

/// One that was not.
#[derive(Debug, Serialize)]
struct Unreadable {
    source: String,
    reason: String,
}

/// One kind of thing that leaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    service: String,
    class: Class,
    rule: &'static str,
    carrier: &'static str,
    count: u64,
}

/// What kind of harm it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Class {
    Credential,
    PersonalData,
    Argument,
    Infrastructure,
    Attachment,
}

impl Class {
    /// The class of what a rule finds. What is not known otherwise is a secret: that is what most rules are about.
    fn of(rule: &str) -> Self {
        match rule {
            "email" | "ip_address" | "card" | "iban" | "ssn" | "phone" | "paths" => Self::PersonalData,
            "host" | "uuid" => Self::Infrastructure,
            "arguments" => Self::Argument,
            "original_payload" => Self::Attachment,
            _ => Self::Credential,
        }
    }

    /// For people.
    const fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::PersonalData => "personal data",
            Self::Argument => "argument values",
            Self::Infrastructure => "infrastructure",
            Self::Attachment => "attached original",
        }
    }
}

/// How many texts travel in one part of the profiles: each once a file.
#[derive(Debug, Serialize)]
struct Carrier {
    carrier: &'static str,
    texts: u64,
    found: u64,
}

/// Looks at everything.
pub fn scan(args: &ScanArgs) -> Result<(), Failure> {
    let mut findings = Findings::new()?;
    read::each(&args.sources, &mut |source, read| match read {
        Ok(input) => findings.look(source, &input),
        Err(reason) => findings.scan.unreadable.push(Unreadable { source, reason }),
    })?;
    let scan = findings.finish();
    if let Some(path) = &args.html {
        std::fs::write(path, html::page(&scan))
            .map_err(|error| Failure::Trouble(format!("{}: {}", path.display(), io_reason(&error))))?;
        eprintln!("wrote {}", path.display());
    }
    match args.format {
        Form::Text => print(&text::text(&scan))?,
        Form::Json => {
            let json = serde_json::to_string_pretty(&scan).map_err(|error| Failure::Trouble(error.to_string()))?;
            print(&(json + "\n"))?;
        }
    }
    if scan.read.is_empty() {
        return Err(Failure::No("no profile could be read".to_owned()));
    }
    match args.fail && !scan.findings.is_empty() {
        true => Err(Failure::No("the profiles give something away".to_owned())),
        false => Ok(()),
    }
}

struct Findings {
    policy: Policy,
    rows: BTreeMap<(String, Class, &'static str, &'static str), u64>,
    texts: BTreeMap<&'static str, u64>,
    scan: Scan,
}

impl Findings {
    /// With the default detectors, user names in paths, and everything else that a default policy takes out.
    fn new() -> Result<Self, Failure> {
        let config = parse::<Config>(serde_json::json!({ "paths": "home", "cache": { "entries": 0 } }));
        let policy = config.and_then(Policy::new);
        Ok(Self {
            policy: policy.map_err(|error| Failure::Trouble(error.to_string()))?,
            rows: BTreeMap::new(),
            texts: BTreeMap::new(),
            scan: Scan::default(),
        })
    }

    fn look(&mut self, source: String, input: &super::files::Input) {
        let profiles = &input.decoded.profiles;
        self.count_texts(profiles);
        let mut found = 0;
        let work = self.policy.look(profiles, &Origin::local("scan"), true);
        // the name of a service is shown as it would leave
        for done in work.apply(&mut profiles.clone()) {
            let service = match done.service.as_str() {
                "" => UNNAMED,
                name => name,
            };
            for ((rule, carrier), count) in done.report.hits {
                let mut row = (service.to_owned(), Class::of(rule), rule, carrier);
                if self.rows.len() >= MOST_ROWS && !self.rows.contains_key(&row) {
                    row.0 = OTHERS.to_owned();
                }
                *self.rows.entry(row).or_default() += count;
                found += count;
            }
        }
        self.scan.read.push(Source {
            source,
            format: input.format.to_string(),
            profiles: profiles.profile_count(),
            samples: profiles.sample_count(),
            found,
        });
    }

    fn count_texts(&mut self, profiles: &Profiles) {
        let mut seen = BTreeSet::new();
        profiles.strings_by_role(|role, id| {
            if id.is_set() && seen.insert((role, id)) {
                *self.texts.entry(role.label()).or_default() += 1;
            }
        });
    }

    fn finish(mut self) -> Scan {
        let rows = self.rows.into_iter();
        self.scan.findings = rows
            .map(|((service, class, rule, carrier), count)| Finding {
                service,
                class,
                rule,
                carrier,
                count,
            })
            .collect();
        self.scan
            .findings
            .sort_by(|a, b| (a.class, b.count, &a.service).cmp(&(b.class, a.count, &b.service)));
        let found = |carrier: &str| {
            let of = self.scan.findings.iter().filter(|finding| finding.carrier == carrier);
            of.map(|finding| finding.count).sum()
        };
        self.scan.carriers = self
            .texts
            .iter()
            .map(|(carrier, texts)| Carrier {
                carrier,
                texts: *texts,
                found: found(carrier),
            })
            .collect();
        self.scan
    }
}

impl Scan {
    /// Sums by one property of the findings, the largest first.
    fn sums<'a, Key: Ord + Copy>(&'a self, key: impl Fn(&'a Finding) -> Key) -> Vec<(Key, u64)> {
        let mut sums: BTreeMap<Key, u64> = BTreeMap::new();
        for finding in &self.findings {
            *sums.entry(key(finding)).or_default() += finding.count;
        }
        let mut sums: Vec<(Key, u64)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        sums
    }

    fn total(&self) -> u64 {
        self.findings.iter().map(|finding| finding.count).sum()
    }
}
