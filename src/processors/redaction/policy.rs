//! A policy with those that take its place for some services or tenants, and the one that is on trial beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::config::Config;
use super::detectors::is_id;
use super::escrow::{self, Escrow, Keep};
use super::measures::{Class, Measures};
use super::pass::Pass;
use super::report::Report;
use crate::pipeline::Origin;
use crate::pipeline::matcher::Matcher;
use crate::pipeline::spec::BuildError;
use crate::profile::{ProfileRef, Profiles};
use crate::telemetry::Metrics;
use crate::telemetry::audit::Marker;

/// A configuration made ready.
pub struct Policy {
    pub(super) measures: Measures,
    cases: Vec<Case>,
    shadow: Option<Box<Policy>>,
    dry_run: bool,
    digest: String,
}

/// A policy for some services or tenants.
struct Case {
    when: Matcher,
    measures: Measures,
}

impl Policy {
    /// Checks the configuration and compiles its patterns.
    pub fn new(config: Config) -> Result<Self, BuildError> {
        let mut cases = Vec::with_capacity(config.rules.len());
        for (i, rule) in config.rules.iter().enumerate() {
            let path = format!("rules[{i}]");
            let when = Matcher::new(&format!("{path}.when"), &rule.when)?;
            if when.has_sample_conditions() {
                let message = "a policy is chosen for whole profiles: sample.<key> is not possible here";
                return Err(BuildError::at(format!("{path}.when"), message));
            }
            let path = format!("{path}.policy");
            only_measures(&rule.policy, &path)?;
            cases.push(Case {
                when,
                measures: Measures::new(&rule.policy).map_err(|error| below(&path, error))?,
            });
        }
        let shadow = match &config.shadow {
            None => None,
            Some(candidate) if candidate.shadow.is_some() || candidate.dry_run => {
                let message = "a policy on trial does nothing anyway: it has no shadow and no dry_run";
                return Err(BuildError::at("shadow", message));
            }
            Some(candidate) => {
                let policy = Self::new((**candidate).clone()).map_err(|error| below("shadow", error))?;
                Some(Box::new(policy))
            }
        };
        Ok(Self {
            measures: Measures::new(&config)?,
            cases,
            shadow,
            dry_run: config.dry_run,
            digest: fingerprint(&config),
        })
    }

    /// Has whatever pseudonyms are made from now on kept with the names they stand for.
    pub fn keep_names(&mut self, keeper: &Arc<dyn Keep>) {
        let cases = self.cases.iter_mut().map(|case| &mut case.measures);
        for measures in cases.chain([&mut self.measures]) {
            measures.keeper = Some(keeper.clone());
        }
    }

    /// The same with the escrow of a configuration.
    pub fn keep_in(&mut self, escrow: &escrow::Config, metrics: &Arc<Metrics>) -> Result<(), BuildError> {
        let keeper: Arc<dyn Keep> = Escrow::open(escrow, metrics)?;
        self.keep_names(&keeper);
        Ok(())
    }

    /// Which policy it is, for the audit trail: another configuration has another digest. Secrets are not part of it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The rule that hits the name of a tenant. Exporters send that name in headers, where a mask would make one tenant of many.
    pub fn objects_to(&self, tenant: &str) -> Option<&'static str> {
        if is_id(tenant) {
            return None;
        }
        let masking = self.measures.mask(tenant, Class::Text)?;
        masking.rules.first().copied()
    }

    /// Whether it only counts.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// The policy on trial.
    pub fn shadow(&self) -> Option<&Policy> {
        self.shadow.as_deref()
    }

    /// Redacts in place and says what went. What has nothing to hide is not touched, nor is anything by a dry run.
    pub fn redact(&self, profiles: &mut Profiles) -> Report {
        let origin = Origin::local("file");
        match self.dry_run {
            true => self.trial(profiles, &origin),
            false => total(self.look(profiles, &origin, false).apply(profiles)),
        }
    }

    /// What the policy would do, done to a copy.
    pub fn trial(&self, profiles: &Profiles, origin: &Origin) -> Report {
        let mut work = self.look(profiles, origin, false);
        match work.changes() {
            true => {
                work.parts.iter_mut().for_each(|part| part.pass.keeper = None);
                total(work.apply(&mut profiles.clone()))
            }
            false => Report::default(),
        }
    }

    /// Looks at a batch and changes nothing. With `by_service`, what goes is told for each service on its own.
    pub fn look(&self, profiles: &Profiles, origin: &Origin, by_service: bool) -> Work<'_> {
        let choices = self.choose(profiles, origin, by_service);
        let first = choices.first().map_or(self.cases.len(), |(case, _)| *case);
        let mut numbers: BTreeMap<&(usize, Option<&str>), usize> = BTreeMap::new();
        for choice in &choices {
            let next = numbers.len();
            numbers.entry(choice).or_insert(next);
        }
        if numbers.len() < 2 {
            let mut pass = Pass::new(self.measures(first));
            let changes = pass.would_change(profiles);
            let remembered = pass.remember(profiles);
            let own = None;
            return Work {
                parts: vec![Part { pass, changes, own }],
                remembered,
            };
        }
        // a dictionary that services share is split first: no policy touches what another one's profiles say
        let of: Vec<usize> = choices
            .iter()
            .filter_map(|choice| numbers.get(choice))
            .copied()
            .collect();
        let cases: BTreeMap<usize, usize> = numbers.iter().map(|((case, _), number)| (*number, *case)).collect();
        let mut parts = Vec::new();
        let mut remembered = None;
        for (number, own) in profiles.partition(&of) {
            let case = cases.get(&number).copied().unwrap_or(self.cases.len());
            let mut pass = Pass::new(self.measures(case));
            let changes = pass.would_change(&own);
            remembered = pass.remember(&own).or(remembered);
            let own = Some(own);
            parts.push(Part { pass, changes, own });
        }
        Work { parts, remembered }
    }

    /// For each profile the number of its case, and its service if that is asked for.
    fn choose<'a>(&self, profiles: &'a Profiles, origin: &Origin, by_service: bool) -> Vec<(usize, Option<&'a str>)> {
        if self.cases.is_empty() && !by_service {
            return Vec::new();
        }
        let d = profiles.dictionary();
        let case = |p| self.cases.iter().position(|case| case.when.profile(d, p, origin));
        let choose = |p: ProfileRef<'a>| {
            let service = p.resource.attribute_str(d, SERVICE).filter(|_| by_service);
            (case(p).unwrap_or(self.cases.len()), service)
        };
        profiles.iter().map(choose).collect()
    }

    fn measures(&self, case: usize) -> &Measures {
        self.cases.get(case).map_or(&self.measures, |case| &case.measures)
    }
}

const SERVICE: &str = "service.name";

/// What a policy has to do with one batch.
pub struct Work<'p> {
    parts: Vec<Part<'p>>,
    /// Texts and bytes that the cache holds now, if it learnt something.
    pub remembered: Option<(usize, usize)>,
}

struct Part<'p> {
    pass: Pass<'p>,
    changes: bool,
    /// The profiles that the policy is for, if it is not for all of them.
    own: Option<Profiles>,
}

/// What was done to the profiles of one service.
pub struct Done {
    /// Its name after redaction; empty if it has none or they were not told apart.
    pub service: String,
    /// What went.
    pub report: Report,
}

/// What was done to all of them.
pub fn total(done: Vec<Done>) -> Report {
    let mut report = Report::default();
    for done in done {
        report.merge(done.report);
    }
    report
}

impl Work<'_> {
    /// Has fingerprints made of the secrets that go.
    pub fn mark_with(&mut self, marker: Option<&Marker>) {
        for part in &mut self.parts {
            part.pass.marker = marker.cloned();
        }
    }

    /// Whether anything is to be done.
    pub fn changes(&self) -> bool {
        self.parts.iter().any(|part| part.changes)
    }

    /// Does it, to the batch that was looked at, and says what went.
    pub fn apply(self, profiles: &mut Profiles) -> Vec<Done> {
        let mut done = Vec::new();
        if !self.changes() {
            return done;
        }
        let mut owns = Vec::new();
        for part in self.parts {
            let Some(mut own) = part.own else {
                let report = part.pass.apply(profiles);
                let service = service(profiles);
                done.push(Done { service, report });
                continue;
            };
            if part.changes {
                let report = part.pass.apply(&mut own);
                let service = service(&own);
                done.push(Done { service, report });
            }
            owns.push(own);
        }
        if !owns.is_empty() {
            *profiles = Profiles::merge(&owns);
        }
        done
    }
}

fn service(profiles: &Profiles) -> String {
    let first = profiles.resources().first();
    let name = first.and_then(|resource| resource.attribute_str(profiles.dictionary(), SERVICE));
    name.unwrap_or_default().to_owned()
}

fn only_measures(config: &Config, path: &str) -> Result<(), BuildError> {
    let wrong = [
        ("rules", !config.rules.is_empty()),
        ("shadow", config.shadow.is_some()),
        ("dry_run", config.dry_run),
        ("escrow", config.escrow.is_some()),
    ];
    match wrong.into_iter().find(|(_, is)| *is) {
        Some((key, _)) => Err(BuildError::at(
            format!("{path}.{key}"),
            "this stands beside rules, not below them",
        )),
        None => Ok(()),
    }
}

fn below(path: &str, error: BuildError) -> BuildError {
    match error.path.is_empty() {
        true => BuildError::at(path, error.message),
        false => BuildError::at(format!("{path}.{}", error.path), error.message),
    }
}

/// Secrets show themselves as `[REDACTED]`, so that none of them goes into the digest.
fn fingerprint(config: &Config) -> String {
    let digest = digest(&SHA256, format!("{config:?}").as_bytes());
    digest
        .as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
