//! Which spans the samples of profiles are of, and how many samples each has.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::pipeline::spec::BuildError;
use crate::processors::dialects::{self, DialectConfig};
use crate::processors::processes::Process;
use crate::processors::ring::SpanId;
use crate::profile::trace_ids::{TraceIds, TraceKeys};
use crate::profile::{AttributeSetId, Dictionary, LinkId, Profile, Profiles, ResourceProfiles, Sampling};

/// The dialects in which labels name spans.
pub(super) struct Dialects {
    keys: TraceKeys,
    /// Some are known here alone: backends read labels by the built-in ones.
    has_own: bool,
}

/// The spans of one process that have samples.
pub(super) struct Sampled {
    pub(super) process: Process,
    pub(super) spans: HashMap<SpanId, Tally, RandomState>,
}

/// The samples of one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How many name it, as what was running or as its local root.
    pub(super) samples: u64,
    /// Whether a backend that looks for its id finds some of them.
    pub(super) is_found: bool,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.is_found |= other.is_found;
    }
}

impl Dialects {
    pub(super) fn new(configured: &[DialectConfig]) -> Result<Self, BuildError> {
        Ok(Self {
            keys: TraceKeys::new(dialects::with_built_in(configured)?),
            has_own: !configured.is_empty(),
        })
    }

    /// What the samples of profiles name, process by process. Of what says nothing of its process nobody can say whose spans they are.
    pub(super) fn sampled(&self, tenant: &str, profiles: &Profiles) -> Vec<Sampled> {
        let d = profiles.dictionary();
        let mut names = Names::new(self, d);
        if d.links.len() <= 1 && names.has_ids.is_empty() {
            return Vec::new();
        }
        let resources = profiles.resources().iter();
        resources
            .filter_map(|resource| names.of_resource(tenant, resource))
            .collect()
    }
}

/// The work on one dictionary.
struct Names<'a> {
    d: &'a Dictionary,
    ids: TraceIds<'a>,
    /// How backends read labels, where that is otherwise.
    by_backends: Option<TraceIds<'a>>,
    /// By attribute set, whether it has any id; empty where none has.
    has_ids: Vec<bool>,
}

/// Samples by the link and the labels that name their spans. Labels without ids are all the same.
type Rows = HashMap<(LinkId, AttributeSetId), u64, RandomState>;

impl<'a> Names<'a> {
    fn new(dialects: &'a Dialects, d: &'a Dictionary) -> Self {
        let ids = TraceIds::new(&dialects.keys, d);
        let by_backends = dialects.has_own.then(|| TraceIds::new(TraceKeys::built_in(), d));
        let is_id = |id| ids.is_id(id) || by_backends.as_ref().is_some_and(|by_backends| by_backends.is_id(id));
        let has_ids = |set| d.attribute_sets[set].iter().any(|id| is_id(*id));
        let has_ids = match ids.any() || by_backends.as_ref().is_some_and(TraceIds::any) {
            true => d.attribute_sets.ids().map(has_ids).collect(),
            false => Vec::new(),
        };
        Self {
            d,
            ids,
            by_backends,
            has_ids,
        }
    }

    fn of_resource(&mut self, tenant: &str, resource: &ResourceProfiles) -> Option<Sampled> {
        let mut rows = Rows::default();
        let profiles = resource.scopes.iter().flat_map(|scope| &scope.profiles);
        profiles.for_each(|profile| self.count(profile, &mut rows));
        if rows.is_empty() {
            return None;
        }
        let process = Process::of_profiles(tenant, self.d, resource);
        if !process.is_known() {
            return None;
        }
        let mut spans = HashMap::<SpanId, Tally, RandomState>::default();
        for ((link, set), samples) in rows {
            for (id, is_found) in self.named(link, set) {
                spans.entry(id).or_default().add(Tally { samples, is_found });
            }
        }
        Some(Sampled { process, spans })
    }

    /// Counts samples as the profiler did where that is known, else each once.
    fn count(&self, profile: &Profile, rows: &mut Rows) {
        let (samples, types) = (&profile.samples, profile.sample_types.len());
        let mut counts = None;
        for (row, (link, set)) in samples.links.iter().zip(&samples.attributes).enumerate() {
            let has_ids = self.has_ids.get(set.index()).is_some_and(|has_ids| *has_ids);
            let set = if has_ids { *set } else { AttributeSetId::UNSET };
            if !link.is_set() && !set.is_set() {
                continue;
            }
            let counts =
                counts.get_or_insert_with(|| Sampling::of(self.d, profile).ok().map(|sampling| sampling.counts));
            let seen = counts.map_or(1, |counts| counts.of_row(samples, row, types));
            if seen > 0 {
                let sum = rows.entry((*link, set)).or_default();
                *sum = sum.saturating_add(seen);
            }
        }
    }

    /// The spans that a link and labels name, each once, and whether a backend looks for these samples under the id. A link counts before
    /// labels that say what was running.
    fn named(&mut self, link: LinkId, set: AttributeSetId) -> impl Iterator<Item = (SpanId, bool)> + use<> {
        let said = self.ids.said(self.d, set);
        let by_backends = match &mut self.by_backends {
            Some(ids) => ids.said(self.d, set),
            None => said,
        };
        let found = match link.is_set() {
            true => Some(self.d.links[link].span_id),
            false => by_backends.and_then(|said| said.span),
        };
        let running = said.and_then(|said| said.span).filter(|_| !link.is_set());
        let running = running.filter(|id| found != Some(*id));
        let root = said.and_then(|said| said.local_root);
        let root = root.filter(|id| ![found, running].contains(&Some(*id)));
        let named = [(found, true), (running, false), (root, false)];
        let named = named.into_iter().filter_map(|(id, is_found)| Some((id?, is_found)));
        named.filter(|(id, _)| *id != SpanId::default())
    }
}
