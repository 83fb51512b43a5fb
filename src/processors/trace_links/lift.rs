//! What becomes of the samples of one batch.

use crate::processors::span_links::{Fresh, Linker, is_whole};
use crate::profile::trace_ids::{Flaw, Said, TraceIds, TraceKeys};
use crate::profile::{AttributeSetId, Dictionary, Link, Profile, Profiles};

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
        let mut linker = Linker::new(d, self.removes);
        let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
        for profile in scopes.flat_map(|scope| &mut scope.profiles) {
            self.profile(d, profile, &mut linker);
        }
    }

    fn profile(&mut self, d: &mut Dictionary, profile: &mut Profile, linker: &mut Linker) {
        let samples = &profile.samples;
        let (mut lifted, mut linked) = (Vec::new(), Vec::new());
        for (row, (set, link)) in samples.attributes.iter().zip(&samples.links).enumerate() {
            let fate = self
                .said(d, *set)
                .map(|said| (Fate::of(&said, &d.links[*link]), said.kind));
            match fate {
                Some((Fate::Lifted(link), kind)) => lifted.push(Fresh { row, link, kind }),
                Some((Fate::AlreadyLinked, _)) if self.removes => linked.push(row),
                _ => {}
            }
        }
        linker.link(&self.ids, d, profile, &lifted, &linked);
    }
}
