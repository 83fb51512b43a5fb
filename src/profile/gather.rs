//! The samples of one trace, span or route out of many profiles: one profile for each service and each kind of measurement, with the
//! number of samples behind it.

use std::collections::BTreeMap;

use super::aggregate::{Addend, Aggregate, Column, Detail};
use super::dictionary::Dictionary;
use super::profiles::{Profile, ProfileRef, Profiles, ResourceProfiles, ScopeProfiles, ValueType};
use super::reduce::{Counts, Sampling};
use super::samples::Observations;
use super::select::{Finder, Wanted};
use super::split::Scratch;
use super::strings::StringId;

/// The attribute of a resource that says which service it is.
const SERVICE_NAME: &str = "service.name";

/// Most profiles that are gathered; samples of others are counted, and left out.
const MOST: usize = 256;

/// Samples that were found, by service and kind.
pub struct Gathering {
    wanted: Wanted,
    groups: BTreeMap<Key, Group>,
    /// Rows of profiles for which there was no room.
    left_out: u64,
}

/// Service, names and units of types, default type, type of the period.
type Key = (String, Vec<(String, String)>, String, (String, String));

#[derive(Default)]
struct Group {
    aggregate: Aggregate,
    evidence: Evidence,
    /// That of all profiles; 0 where they differ.
    period: Option<i64>,
}

/// One profile that samples of many became.
pub struct Gathered {
    /// The service that was profiled; empty where nothing said.
    pub service: String,
    /// How much it is worth.
    pub evidence: Evidence,
    /// The profile alone. It says what was measured, when, and how; comments and attributes went.
    pub profiles: Profiles,
}

/// How many samples stand behind a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// So many times the profiler really looked, and saw this. What a reduction left out is not counted, whatever the others now stand for.
    pub samples: u64,
    /// What told that.
    pub counted: Counted,
    /// Looks in a second, where that is known; the fewest where profiles differ.
    pub hz: Option<f64>,
}

/// What tells how many samples there are, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// A column of counts.
    #[default]
    Counts,
    /// Values, each of them a number of periods.
    Periods,
    /// Moments.
    Timestamps,
    /// Rows, of which each may be many.
    Rows,
}

impl Counted {
    /// In words of the formats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Periods => "periods",
            Self::Timestamps => "timestamps",
            Self::Rows => "rows",
        }
    }
}

impl Evidence {
    /// That of some samples of a profile.
    pub fn of(counting: &Counting<'_>, rows: &[usize]) -> Self {
        let samples = rows.iter().map(|row| counting.of_row(*row));
        Self {
            samples: samples.fold(0, u64::saturating_add),
            counted: counting.counted,
            hz: counting.hz,
        }
    }

    /// With more of the same kind.
    fn add(&mut self, more: Self) {
        self.samples = self.samples.saturating_add(more.samples);
        self.counted = self.counted.max(more.counted);
        self.hz = match (self.hz, more.hz) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// How far off the whole is, of one: the standard deviation of a number that chance made.
    pub fn error(&self) -> f64 {
        1.0 / (self.samples.max(1) as f64).sqrt()
    }

    /// Seconds that a span must run to be seen at least once in 95 of 100 cases.
    pub fn seen_from(&self) -> Option<f64> {
        // e^-3 is a twentieth
        self.hz.map(|hz| 3.0 / hz)
    }
}

/// How the samples of a profile are counted.
pub struct Counting<'p> {
    profile: &'p Profile,
    counts: Option<Counts>,
    counted: Counted,
    hz: Option<f64>,
}

impl<'p> Counting<'p> {
    /// Looks at the whole profile: a part might look like what it is not.
    pub fn of(d: &Dictionary, profile: &'p Profile) -> Self {
        let counts = Sampling::counts(d, profile);
        let counted = match (counts, &profile.samples.observations) {
            (Some(Counts::Column(_)), _) => Counted::Counts,
            (Some(Counts::Times(_)), _) => Counted::Periods,
            (None, Observations::Series(series)) if !series.timestamps.is_empty() => Counted::Timestamps,
            (None, _) => Counted::Rows,
        };
        Self {
            profile,
            counts,
            counted,
            hz: Sampling::of(d, profile).ok().map(|sampling| sampling.hz),
        }
    }

    /// How many samples stand behind a row.
    pub fn of_row(&self, row: usize) -> u64 {
        let samples = &self.profile.samples;
        match (self.counts, &samples.observations) {
            (Some(counts), _) => counts.of_row(samples, row, self.profile.sample_types.len()),
            (None, Observations::Series(series)) => series.timestamps(row).len().max(1) as u64,
            (None, Observations::Totals(_)) => 1,
        }
    }
}

impl Gathering {
    /// Nothing yet.
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            groups: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Adds what is wanted of those profiles that `takes` says yes to. Says how many rows that were.
    pub fn add(&mut self, profiles: &Profiles, takes: &dyn Fn(&Dictionary, ProfileRef<'_>) -> bool) -> u64 {
        let d = profiles.dictionary();
        let mut finder = Finder::new(&self.wanted, d);
        let (mut scratch, mut found) = (Scratch::default(), 0);
        for at in profiles.iter().filter(|at| takes(d, *at)) {
            let rows = finder.rows(&at.profile.samples);
            if rows.is_empty() {
                continue;
            }
            found += rows.len() as u64;
            let key = key(d, at);
            if self.groups.len() >= MOST && !self.groups.contains_key(&key) {
                self.left_out += rows.len() as u64;
                continue;
            }
            self.groups.entry(key).or_default().add(d, at, &rows, &mut scratch);
        }
        found
    }

    /// Rows that were found, and are in no profile because there are too many.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// About the bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.groups.values().map(|group| group.aggregate.heap_bytes()).sum()
    }

    /// The profiles, by service and kind.
    pub fn finish(self) -> Vec<Gathered> {
        let groups = self.groups.into_iter();
        groups.map(|((service, ..), group)| group.finish(service)).collect()
    }
}

impl Group {
    fn add(&mut self, d: &Dictionary, at: ProfileRef<'_>, rows: &[usize], scratch: &mut Scratch) {
        let (whole, types) = (at.profile, at.profile.sample_types.len());
        self.evidence.add(Evidence::of(&Counting::of(d, whole), rows));
        self.period = Some(match self.period {
            Some(period) if period != whole.period => 0,
            _ => whole.period,
        });
        let part = Profile {
            sample_types: whole.sample_types.clone(),
            default_sample_type: whole.default_sample_type,
            samples: whole.samples.pick(types, rows).into(),
            time_unix_nano: whole.time_unix_nano,
            duration_nano: whole.duration_nano,
            period_type: whole.period_type,
            ..Profile::default()
        };
        let addend = Addend {
            scope: &ScopeProfiles::default(),
            profile: &part,
            columns: vec![Column::Sum; types],
        };
        let detail = Detail {
            links: true,
            timestamps: false,
        };
        self.aggregate.add(d, &named(d, at.resource), [addend], detail, scratch);
    }

    fn finish(self, service: String) -> Gathered {
        let mut profiles = self.aggregate.finish();
        for scope in profiles
            .edit_resources()
            .iter_mut()
            .flat_map(|resource| &mut resource.scopes)
        {
            for profile in &mut scope.profiles {
                profile.period = self.period.unwrap_or_default();
            }
        }
        profiles.be_compact();
        Gathered {
            service,
            evidence: self.evidence,
            profiles,
        }
    }
}

/// A resource with nothing but the name of its service, so that all that run one are one.
fn named(d: &Dictionary, resource: &ResourceProfiles) -> ResourceProfiles {
    let names = resource.attributes.iter().filter(|one| d.str(one.key) == SERVICE_NAME);
    ResourceProfiles {
        attributes: names.cloned().collect(),
        ..ResourceProfiles::default()
    }
}

/// The service that was profiled: pprof, which has no resource, says so in a comment.
fn service<'d>(d: &'d Dictionary, at: ProfileRef<'_>) -> &'d str {
    let of_comment = |id: &StringId| d.str(*id).strip_prefix(SERVICE_NAME)?.strip_prefix('=');
    let of_resource = at.resource.attribute_str(d, SERVICE_NAME);
    let service = of_resource.or_else(|| at.profile.comments.iter().find_map(of_comment));
    service.unwrap_or_default()
}

fn key(d: &Dictionary, at: ProfileRef<'_>) -> Key {
    let text = |id: StringId| d.str(id).to_owned();
    let type_of = |of: ValueType| (text(of.kind), text(of.unit));
    let service = service(d, at);
    let types = at.profile.sample_types.iter().map(|of| type_of(*of)).collect();
    (
        service.to_owned(),
        types,
        text(at.profile.default_sample_type),
        type_of(at.profile.period_type),
    )
}

#[cfg(test)]
mod tests;
