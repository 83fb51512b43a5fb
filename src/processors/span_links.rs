//! Links put on samples: the link itself, the labels that say no more than it does, and the mark that says which span it points at.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::profile::trace_ids::{LINK_SPAN, Part, TraceIds};
use crate::profile::{Attribute, AttributeId, AttributeSetId, Dictionary, Id, Link, LinkId, Profile, Samples, Value};

/// Whether the link has both of its ids.
pub fn is_whole(link: &Link) -> bool {
    link.trace_id != [0; 16] && link.span_id != [0; 8]
}

/// A sample that gets a link.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// Its row.
    pub row: usize,
    /// The link.
    pub link: Link,
    /// What the link points at.
    pub kind: Part,
}

/// Links samples of one batch.
pub struct Linker {
    /// Whether labels go whose ids a link has.
    removes: bool,
    made: Made,
}

impl Linker {
    /// One for profiles of this dictionary.
    pub fn new(d: &Dictionary, removes: bool) -> Self {
        Self {
            removes,
            made: Made::new(d),
        }
    }

    /// Links samples of a profile. Those in the rows `repeated` have their link, and labels that say the same. `ids` are those of the
    /// dictionary as it came.
    pub fn link(
        &mut self,
        ids: &TraceIds<'_>,
        d: &mut Dictionary,
        profile: &mut Profile,
        fresh: &[Fresh],
        repeated: &[usize],
    ) {
        if fresh.is_empty() && repeated.is_empty() {
            return;
        }
        let marks = Marks::of(d, profile, fresh);
        if let Some(kind) = marks.of_profile {
            profile.attributes = self.made.profile_attributes(d, profile.attributes, kind);
        }
        let samples = Arc::make_mut(&mut profile.samples);
        for row in repeated {
            self.relabel(ids, d, samples, *row, Part::Span, None);
        }
        for Fresh { row, link, kind } in fresh {
            if let Some(place) = samples.links.get_mut(*row) {
                *place = self.made.link(d, *link);
            }
            self.relabel(ids, d, samples, *row, *kind, marks.of_sample(*kind));
        }
    }

    /// Takes the labels of a sample that its link repeats, and adds the mark.
    fn relabel(
        &mut self,
        ids: &TraceIds<'_>,
        d: &mut Dictionary,
        samples: &mut Samples,
        row: usize,
        kind: Part,
        mark: Option<Part>,
    ) {
        if !self.removes && mark.is_none() {
            return;
        }
        let (Some(set), Some(link)) = (samples.attributes.get_mut(row), samples.links.get(row)) else {
            return;
        };
        let known = (*set, *link, mark);
        *set = match self.made.sets.get(&known) {
            Some(set) => *set,
            None => {
                let target = d.links[*link];
                let goes = |id: &AttributeId| self.removes && ids.is_in_link(d, *set, *id, &target, kind);
                let mut left: Vec<_> = d.attribute_sets[*set].iter().copied().filter(|id| !goes(id)).collect();
                left.extend(mark.map(|kind| self.made.mark(d, kind)));
                let fresh = match left.is_empty() {
                    true => Id::UNSET,
                    false => d.attribute_sets.push(&left),
                };
                self.made.sets.insert(known, fresh);
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
    fn of(d: &Dictionary, profile: &Profile, fresh: &[Fresh]) -> Self {
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
        let of_profile = match fresh {
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
