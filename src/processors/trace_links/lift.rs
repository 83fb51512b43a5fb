//! What becomes of the samples of one batch.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::profile::trace_ids::{Flaw, LINK_SPAN, Part, Said, TraceIds, TraceKeys};
use crate::profile::{
    Attribute, AttributeId, AttributeSetId, Dictionary, Id, Link, LinkId, Profile, Profiles, Samples, Value,
};

/// What came of the ids of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// They become a link.
    Lifted(Link),
    /// The link that was there says the same.
    AlreadyLinked,
    /// The link that was there, or another label, says something else.
    Conflicting,
    NoTrace,
    NoSpan,
    Zero,
    Unreadable,
}

/// The words for them, in the order of [`Fate::place`].
const RESULTS: [&str; 7] = [
    "lifted",
    "already_linked",
    "conflicting",
    "no_trace",
    "no_span",
    "zero",
    "unreadable",
];

impl Fate {
    fn of(said: &Said, there: &Link) -> Self {
        if is_whole(there) {
            let says_span = said.span.is_none() || [said.span, said.local_root].contains(&Some(there.span_id));
            let says_trace = said.trace.is_none_or(|trace| trace == there.trace_id);
            return match (said.trace, said.span, says_span && says_trace) {
                (None, None, _) => Self::half(said),
                (_, _, true) => Self::AlreadyLinked,
                (_, _, false) => Self::Conflicting,
            };
        }
        said.link().map_or_else(|| Self::half(said), Self::Lifted)
    }

    fn half(said: &Said) -> Self {
        match (said.flaw, said.trace, said.span) {
            (Some(Flaw::Contradicted), ..) => Self::Conflicting,
            (Some(Flaw::Unreadable), ..) => Self::Unreadable,
            (None, None, None) => Self::Zero,
            (None, None, Some(_)) => Self::NoTrace,
            (None, Some(_), _) => Self::NoSpan,
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Lifted(_) => 0,
            Self::AlreadyLinked => 1,
            Self::Conflicting => 2,
            Self::NoTrace => 3,
            Self::NoSpan => 4,
            Self::Zero => 5,
            Self::Unreadable => 6,
        }
    }
}

/// Whether the link has both of its ids.
fn is_whole(link: &Link) -> bool {
    link.trace_id != [0; 16] && link.span_id != [0; 8]
}

/// How many samples came to what, and whether any is to change.
#[derive(Debug, Default)]
pub struct Tally {
    by_dialect: Vec<[u64; RESULTS.len()]>,
    pub changes: bool,
}

impl Tally {
    fn add(&mut self, dialect: usize, fate: Fate) {
        if self.by_dialect.len() <= dialect {
            self.by_dialect.resize(dialect + 1, [0; RESULTS.len()]);
        }
        let counts = self.by_dialect.get_mut(dialect);
        if let Some(count) = counts.and_then(|counts| counts.get_mut(fate.place())) {
            *count += 1;
        }
    }

    /// The number of the dialect, the result, and how many samples, for those that there are.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &'static str, u64)> {
        let dialects = self.by_dialect.iter().enumerate();
        let all = dialects.flat_map(|(dialect, counts)| {
            let results = RESULTS.into_iter().zip(counts);
            results.map(move |(result, count)| (dialect, result, *count))
        });
        all.filter(|(.., count)| *count > 0)
    }
}

/// The work on one batch: what a set of attributes says is read once.
pub struct Lift<'k> {
    ids: TraceIds<'k>,
    said: Vec<Seen>,
    /// Whether labels go whose ids a link has.
    removes: bool,
}

/// What a set says, if somebody asked.
#[derive(Clone, Copy, Debug)]
enum Seen {
    NotYet,
    Says(Option<Said>),
}

/// A sample that gets a link.
#[derive(Clone, Copy)]
struct Lifted {
    row: usize,
    link: Link,
    kind: Part,
}

impl<'k> Lift<'k> {
    pub fn new(keys: &'k TraceKeys, removes: bool, profiles: &Profiles) -> Self {
        let d = profiles.dictionary();
        Self {
            ids: TraceIds::new(keys, d),
            said: vec![Seen::NotYet; d.attribute_sets.len()],
            removes,
        }
    }

    /// Whether there is any id, in labels or links.
    pub fn has_ids(&self, profiles: &Profiles) -> bool {
        self.ids.any() || profiles.dictionary().links.len() > 1
    }

    /// Counts what is to be done; changes nothing.
    pub fn look(&mut self, profiles: &Profiles) -> Tally {
        let mut tally = Tally::default();
        if !self.ids.any() {
            return tally;
        }
        let d = profiles.dictionary();
        for at in profiles.iter() {
            let samples = &at.profile.samples;
            for (set, link) in samples.attributes.iter().zip(&samples.links) {
                let Some(said) = self.said(d, *set) else { continue };
                let fate = Fate::of(&said, &d.links[*link]);
                tally.add(said.dialect, fate);
                tally.changes |= match fate {
                    Fate::Lifted(_) => true,
                    Fate::AlreadyLinked => self.removes,
                    _ => false,
                };
            }
        }
        tally
    }

    fn said(&mut self, d: &Dictionary, set: AttributeSetId) -> Option<Said> {
        match self.said.get_mut(set.index()) {
            Some(Seen::Says(said)) => *said,
            Some(unseen) => {
                let said = self.ids.said(d, set);
                *unseen = Seen::Says(said);
                said
            }
            // it came into the table after the work began
            None => None,
        }
    }

    /// Makes the links.
    pub fn apply(&mut self, profiles: &mut Profiles) {
        let (d, resources) = profiles.edit();
        let mut made = Made::new(d);
        let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
        for profile in scopes.flat_map(|scope| &mut scope.profiles) {
            self.profile(d, profile, &mut made);
        }
    }

    fn profile(&mut self, d: &mut Dictionary, profile: &mut Profile, made: &mut Made) {
        let samples = &profile.samples;
        let (mut lifted, mut linked) = (Vec::new(), Vec::new());
        for (row, (set, link)) in samples.attributes.iter().zip(&samples.links).enumerate() {
            let fate = self
                .said(d, *set)
                .map(|said| (Fate::of(&said, &d.links[*link]), said.kind));
            match fate {
                Some((Fate::Lifted(link), kind)) => lifted.push(Lifted { row, link, kind }),
                Some((Fate::AlreadyLinked, _)) if self.removes => linked.push(row),
                _ => {}
            }
        }
        if lifted.is_empty() && linked.is_empty() {
            return;
        }
        let marks = Marks::of(d, profile, &lifted);
        if let Some(kind) = marks.of_profile {
            profile.attributes = made.profile_attributes(d, profile.attributes, kind);
        }
        let samples = Arc::make_mut(&mut profile.samples);
        for row in linked {
            self.relabel(d, samples, row, Part::Span, None, made);
        }
        for Lifted { row, link, kind } in lifted {
            if let Some(place) = samples.links.get_mut(row) {
                *place = made.link(d, link);
            }
            self.relabel(d, samples, row, kind, marks.of_sample(kind), made);
        }
    }

    /// Takes the labels of a sample that its link repeats, and adds the mark.
    fn relabel(
        &self,
        d: &mut Dictionary,
        samples: &mut Samples,
        row: usize,
        kind: Part,
        mark: Option<Part>,
        made: &mut Made,
    ) {
        if !self.removes && mark.is_none() {
            return;
        }
        let (Some(set), Some(link)) = (samples.attributes.get_mut(row), samples.links.get(row)) else {
            return;
        };
        let known = (*set, *link, mark);
        *set = match made.sets.get(&known) {
            Some(set) => *set,
            None => {
                let target = d.links[*link];
                let goes = |id: &AttributeId| self.removes && self.ids.is_in_link(d, *set, *id, &target, kind);
                let mut left: Vec<_> = d.attribute_sets[*set].iter().copied().filter(|id| !goes(id)).collect();
                left.extend(mark.map(|kind| made.mark(d, kind)));
                let fresh = match left.is_empty() {
                    true => Id::UNSET,
                    false => d.attribute_sets.push(&left),
                };
                made.sets.insert(known, fresh);
                fresh
            }
        };
    }
}

/// Where it is written which spans the links of a profile point at.
struct Marks {
    /// The profile says it from now on.
    of_profile: Option<Part>,
    /// What it says of all samples that do not say otherwise.
    prevailing: Option<Part>,
}

impl Marks {
    /// The profile says it where all of its links are alike, and where it did already.
    fn of(d: &Dictionary, profile: &Profile, lifted: &[Lifted]) -> Self {
        if let Some(prevailing) = d.attribute(profile.attributes, LINK_SPAN) {
            let prevailing = match prevailing {
                Value::String(id) => kind_of(d.str(*id)),
                _ => Part::Span,
            };
            return Self {
                of_profile: None,
                prevailing: Some(prevailing),
            };
        }
        let links = profile.samples.links.iter().filter(|link| link.is_set()).count();
        let of_profile = match lifted {
            [first, rest @ ..] if links == 0 && first.kind != Part::Span => {
                rest.iter().all(|other| other.kind == first.kind).then_some(first.kind)
            }
            _ => None,
        };
        Self {
            of_profile,
            prevailing: of_profile,
        }
    }

    /// What a sample with a link of this kind has to say itself.
    fn of_sample(&self, kind: Part) -> Option<Part> {
        match self.prevailing {
            Some(prevailing) => (prevailing != kind).then_some(kind),
            None => (kind != Part::Span).then_some(kind),
        }
    }
}

/// The word for the kind of span that a link points at.
const fn word(kind: Part) -> &'static str {
    match kind {
        Part::Active => "active",
        Part::LocalRoot => "local_root",
        Part::Span | Part::Trace => "unknown",
    }
}

fn kind_of(text: &str) -> Part {
    let kinds = [Part::Active, Part::LocalRoot];
    kinds.into_iter().find(|kind| word(*kind) == text).unwrap_or(Part::Span)
}

/// Rows that were added to the tables, each once.
struct Made {
    links: HashMap<Link, LinkId, RandomState>,
    sets: HashMap<(AttributeSetId, LinkId, Option<Part>), AttributeSetId, RandomState>,
    of_profiles: HashMap<(AttributeSetId, Part), AttributeSetId, RandomState>,
    marks: HashMap<Part, AttributeId, RandomState>,
}

impl Made {
    fn new(d: &Dictionary) -> Self {
        Self {
            links: d.links.ids().map(|id| (d.links[id], id)).collect(),
            sets: HashMap::default(),
            of_profiles: HashMap::default(),
            marks: HashMap::default(),
        }
    }

    fn link(&mut self, d: &mut Dictionary, link: Link) -> LinkId {
        *self.links.entry(link).or_insert_with(|| d.links.push(link))
    }

    fn mark(&mut self, d: &mut Dictionary, kind: Part) -> AttributeId {
        *self.marks.entry(kind).or_insert_with(|| {
            let key = d.strings.push(LINK_SPAN);
            let value = Value::String(d.strings.push(word(kind)));
            let unit = Id::UNSET;
            d.attributes.push(Attribute { key, value, unit })
        })
    }

    fn profile_attributes(&mut self, d: &mut Dictionary, set: AttributeSetId, kind: Part) -> AttributeSetId {
        *self.of_profiles.entry((set, kind)).or_insert_with(|| {
            let word = Value::String(d.strings.push(word(kind)));
            d.with_attribute(set, LINK_SPAN, word)
        })
    }
}
