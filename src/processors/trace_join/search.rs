//! The spans of the samples of one batch: each id is looked for once, and each sample held against what was found.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::State;
use super::attributes::Texts;
use super::config::Written;
use super::entry::Entry;
use crate::processors::processes::Process;
use crate::processors::span_links::is_whole;
use crate::profile::trace_ids::{Flaw, Part, Said, TraceIds};
use crate::profile::{
    AttributeSetId, Dictionary, Link, LinkId, Observations, Profile, Profiles, ResourceProfiles, Samples,
};

/// Spans above one that are looked at for a route: deeper calls are rare, and parents may go round in a circle.
const HIGHEST: usize = 32;

/// What came of the ids of a sample. Of two misses the later one in this list is the nearer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It has a link.
    Linked,
    /// It gets one.
    Joined,
    /// No span of this id is known.
    NoSpanYet,
    /// The same, and it has waited as long as it may.
    Expired,
    /// The span is known, and the sample was taken at another time.
    TimeMismatch,
    /// Only another tenant has such a span.
    TenantMismatch,
    /// Only another process has such a span.
    ProcessMismatch,
    /// Spans of several traces fit, or labels contradict each other.
    Ambiguous,
    /// Its labels name a trace and no span.
    NoSpan,
}

/// The words for them, in the order of the outcomes.
pub(super) const RESULTS: [&str; 9] = [
    "linked",
    "joined",
    "no_span_yet",
    "expired",
    "time_mismatch",
    "tenant_mismatch",
    "process_mismatch",
    "ambiguous",
    "no_span",
];

impl Outcome {
    /// Whether a span that comes later may make something else of it.
    const fn may_change(self) -> bool {
        matches!(
            self,
            Self::NoSpanYet | Self::TimeMismatch | Self::TenantMismatch | Self::ProcessMismatch
        )
    }
}

/// A span that may be that of a sample.
pub(super) struct Candidate {
    /// What the sample's link is, or becomes.
    pub(super) link: Link,
    /// What the link points at.
    pub(super) kind: Part,
    start: u64,
    end: u64,
    /// What is written of it.
    pub(super) texts: Texts,
}

/// A sample whose span was found.
pub(super) struct Hit {
    pub(super) row: usize,
    /// Whether it gets its link by that.
    pub(super) is_new: bool,
    candidate: usize,
}

/// When a sample was taken, in nanoseconds since 1970.
#[derive(Clone, Copy)]
enum Taken {
    /// At moments from the first to the second one.
    At(u64, u64),
    /// At some time in between.
    Within(u64, u64),
    Unknown,
}

/// What is asked for: many sets of attributes may ask for the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Question {
    Link(Link),
    Said(Said),
}

/// What was found of the ids in a set of attributes and a link.
#[derive(Clone, Copy)]
enum Asked {
    NoIds,
    Missed(Outcome),
    /// The link is there; these are its span.
    Linked(usize, usize),
    /// Each of these may be the span.
    Found(usize, usize),
}

/// What was found for one batch.
pub(super) struct Search<'s> {
    state: &'s State,
    pub(super) ids: TraceIds<'s>,
    now: Instant,
    /// Whether those that are not found have waited long enough.
    has_waited: bool,
    candidates: Vec<Candidate>,
    /// By profile, in their order.
    hits: Vec<Vec<Hit>>,
    pub(super) tally: [u64; RESULTS.len()],
    /// Whether a span that comes later may tell more.
    pub(super) lacks: bool,
    found: Vec<Entry>,
    answers: HashMap<(Process, Question), Asked, RandomState>,
    /// Of spans below a parent.
    routes: HashMap<(Process, Link), Option<Arc<str>>, RandomState>,
}

impl<'s> Search<'s> {
    /// Looks at every sample; changes nothing. None if there are no ids at all.
    pub(super) fn of(
        state: &'s State,
        profiles: &Profiles,
        tenant: &str,
        now: Instant,
        has_waited: bool,
    ) -> Option<Self> {
        let d = profiles.dictionary();
        let mut search = Self {
            state,
            ids: TraceIds::new(&state.keys, d),
            now,
            has_waited,
            candidates: Vec::new(),
            hits: Vec::new(),
            tally: [0; RESULTS.len()],
            lacks: false,
            found: Vec::new(),
            answers: HashMap::default(),
            routes: HashMap::default(),
        };
        if !search.ids.any() && d.links.len() <= 1 {
            return None;
        }
        for resource in profiles.resources() {
            search.resource(d, resource, &Process::of_profiles(tenant, d, resource));
        }
        Some(search)
    }

    /// Whether anything is to be written.
    pub(super) fn changes(&self) -> bool {
        let mut hits = self.hits.iter().flatten();
        hits.any(|hit| hit.is_new || self.candidate(hit).is_some_and(Candidate::has_texts))
    }

    /// The samples of each profile whose span was found.
    pub(super) fn hits(&self) -> impl Iterator<Item = &[Hit]> {
        self.hits.iter().map(Vec::as_slice)
    }

    /// The span of a sample.
    pub(super) fn candidate(&self, hit: &Hit) -> Option<&Candidate> {
        self.candidates.get(hit.candidate)
    }

    /// Bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        let hits: usize = self.hits.iter().map(Vec::capacity).sum();
        let answers = self.answers.capacity() * size_of::<((Process, Question), Asked)>();
        let routes = self.routes.capacity() * size_of::<((Process, Link), Option<Arc<str>>)>();
        self.candidates.capacity() * size_of::<Candidate>() + hits * size_of::<Hit>() + answers + routes
    }

    fn resource(&mut self, d: &Dictionary, resource: &ResourceProfiles, process: &Process) {
        let mut asked = HashMap::<(AttributeSetId, LinkId), Asked, RandomState>::default();
        for profile in resource.scopes.iter().flat_map(|scope| &scope.profiles) {
            let (samples, mut hits) = (&*profile.samples, Vec::new());
            let mut last = None;
            for (row, ids) in samples
                .attributes
                .iter()
                .copied()
                .zip(samples.links.iter().copied())
                .enumerate()
            {
                let found = match last {
                    Some((same, found)) if same == ids => found,
                    _ => *asked.entry(ids).or_insert_with(|| self.ask(d, ids, process)),
                };
                last = Some((ids, found));
                let taken = || Taken::of(profile, samples, row);
                let Some((outcome, candidate)) = self.judge(found, taken) else {
                    continue;
                };
                self.count(outcome, candidate.is_some());
                hits.extend(candidate.map(|candidate| Hit {
                    row,
                    is_new: outcome == Outcome::Joined,
                    candidate,
                }));
            }
            self.hits.push(hits);
        }
    }

    fn count(&mut self, outcome: Outcome, is_found: bool) {
        let tells_more = outcome == Outcome::Linked && !is_found && self.state.looks_beyond_links();
        self.lacks |= outcome.may_change() || tells_more;
        let outcome = match outcome {
            Outcome::NoSpanYet if self.has_waited => Outcome::Expired,
            outcome => outcome,
        };
        if let Some(count) = self.tally.get_mut(outcome as usize) {
            *count += 1;
        }
    }

    /// What came of a sample, and its span if that is known.
    fn judge(&self, asked: Asked, taken: impl Fn() -> Taken) -> Option<(Outcome, Option<usize>)> {
        match asked {
            Asked::NoIds => None,
            Asked::Missed(outcome) => Some((outcome, None)),
            Asked::Linked(first, end) => Some((Outcome::Linked, self.fitting(first..end, taken()).ok().flatten())),
            Asked::Found(first, end) => Some(match self.fitting(first..end, taken()) {
                Ok(None) => (Outcome::TimeMismatch, None),
                Ok(Some(candidate)) => (Outcome::Joined, Some(candidate)),
                Err(Contradiction) => (Outcome::Ambiguous, None),
            }),
        }
    }

    /// The candidate that lies at the time of a sample.
    fn fitting(&self, range: Range<usize>, taken: Taken) -> Result<Option<usize>, Contradiction> {
        let mut chosen: Option<(usize, &Candidate)> = None;
        for (place, candidate) in range.clone().zip(self.candidates.get(range).unwrap_or_default()) {
            match chosen {
                _ if !taken.is_in(candidate, self.state.slack) => {}
                Some((_, other)) if other.link.trace_id != candidate.link.trace_id => return Err(Contradiction),
                Some(_) => {}
                None => chosen = Some((place, candidate)),
            }
        }
        Ok(chosen.map(|(place, _)| place))
    }

    fn ask(&mut self, d: &Dictionary, (set, link): (AttributeSetId, LinkId), process: &Process) -> Asked {
        let link = d.links[link];
        let question = match is_whole(&link) {
            true => Question::Link(link),
            false => match self.ids.said(d, set) {
                None => return Asked::NoIds,
                Some(said) => Question::Said(said),
            },
        };
        let key = (process.clone(), question);
        if let Some(known) = self.answers.get(&key) {
            return *known;
        }
        let first = self.candidates.len();
        let answer = match question {
            Question::Said(said) => self.ask_said(&said, process, first),
            Question::Link(link) => {
                if self.state.looks_beyond_links() {
                    let _ = self.find(link.span_id, Some(link.trace_id), process, Some(Part::Span));
                }
                Asked::Linked(first, self.candidates.len())
            }
        };
        self.answers.insert(key, answer);
        answer
    }

    fn ask_said(&mut self, said: &Said, process: &Process, first: usize) -> Asked {
        if said.flaw == Some(Flaw::Contradicted) {
            return Asked::Missed(Outcome::Ambiguous);
        }
        let Some(span) = said.span else {
            return match said.trace {
                Some(_) => Asked::Missed(Outcome::NoSpan),
                None => Asked::NoIds,
            };
        };
        let missed = self.find(span, said.trace, process, Some(said.kind));
        if self.candidates.len() == first
            && let Some(root) = said.local_root.filter(|root| *root != span)
        {
            // a trace goes through the process as a whole, so it is that of its local root
            let _ = self.find(root, said.trace, process, None);
            for candidate in self.candidates.iter_mut().skip(first) {
                candidate.link.span_id = span;
                candidate.kind = said.kind;
            }
        }
        match missed {
            Some(outcome) if self.candidates.len() == first => Asked::Missed(outcome),
            _ => Asked::Found(first, self.candidates.len()),
        }
    }

    /// Adds the spans of an id that are of the process, and of the trace if that is known. `kind` is what they are to the sample; none
    /// if only its local root. The answer is why there is none.
    fn find(
        &mut self,
        span_id: [u8; 8],
        trace: Option<[u8; 16]>,
        process: &Process,
        kind: Option<Part>,
    ) -> Option<Outcome> {
        let mut found = std::mem::take(&mut self.found);
        self.state.index.find(span_id, self.now, &mut found);
        let (first, mut missed) = (self.candidates.len(), Outcome::NoSpanYet);
        for entry in found.drain(..) {
            let is_of_trace = trace.is_none_or(|trace| trace == entry.trace_id);
            let why = match entry.process.is_same(process) {
                true if is_of_trace => {
                    let candidate = self.candidate_of(&entry, kind);
                    self.candidates.push(candidate);
                    continue;
                }
                true => Outcome::NoSpanYet,
                false if entry.process.has_tenant_of(process) => Outcome::ProcessMismatch,
                false => Outcome::TenantMismatch,
            };
            missed = missed.max(why);
        }
        self.found = found;
        (self.candidates.len() == first).then_some(missed)
    }

    fn candidate_of(&mut self, entry: &Entry, kind: Option<Part>) -> Candidate {
        let state = self.state;
        let duration = || state.buckets.text(entry.end.saturating_sub(entry.start));
        // of a span that is not known only what it shares with its local root can be told
        let is_known = kind.is_some();
        Candidate {
            link: Link {
                trace_id: entry.trace_id,
                span_id: entry.span_id,
            },
            kind: kind.unwrap_or(Part::LocalRoot),
            start: entry.start,
            end: entry.end,
            texts: [
                entry.name.clone().filter(|_| is_known),
                state.writes(Written::Route).then(|| self.route(entry)).flatten(),
                (is_known && state.writes(Written::Duration)).then(duration).flatten(),
            ],
        }
    }

    /// The route of a span, or of the next one above it in its process.
    fn route(&mut self, entry: &Entry) -> Option<Arc<str>> {
        if entry.route.is_some() || entry.is_local_root {
            return entry.route.clone();
        }
        let parent = Link {
            trace_id: entry.trace_id,
            span_id: entry.parent_span_id,
        };
        let key = (Process::clone(&entry.process), parent);
        if let Some(known) = self.routes.get(&key) {
            return known.clone();
        }
        let route = self.route_above(entry.clone());
        self.routes.insert(key, route.clone());
        route
    }

    fn route_above(&self, mut at: Entry) -> Option<Arc<str>> {
        for _ in 0..HIGHEST {
            at = self.state.index.parent_of(&at, self.now)?;
            if at.route.is_some() || at.is_local_root {
                return at.route;
            }
        }
        None
    }
}

/// Spans of several traces fit.
struct Contradiction;

impl Candidate {
    fn has_texts(&self) -> bool {
        self.texts.iter().any(Option::is_some)
    }
}

impl Taken {
    fn of(profile: &Profile, samples: &Samples, row: usize) -> Self {
        let moments = match &samples.observations {
            Observations::Series(series) => series.timestamps(row),
            Observations::Totals(_) => &[],
        };
        match (moments.iter().min(), moments.iter().max()) {
            (Some(first), Some(last)) => Self::At(*first, *last),
            _ if profile.time_unix_nano == 0 => Self::Unknown,
            _ => {
                let begin = profile.time_unix_nano;
                Self::Within(begin, begin.saturating_add(profile.duration_nano))
            }
        }
    }

    /// Whether a span was running then, with clocks apart by no more than `slack`.
    fn is_in(self, span: &Candidate, slack: u64) -> bool {
        let (start, end) = (span.start.saturating_sub(slack), span.end.saturating_add(slack));
        match self {
            Self::At(first, last) => start <= first && last <= end,
            Self::Within(begin, finish) => start <= finish && begin <= end,
            Self::Unknown => true,
        }
    }
}
