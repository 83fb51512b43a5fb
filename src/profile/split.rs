//! One request becomes several, each with a dictionary of its own.

use std::collections::BTreeMap;
use std::ops::Range;

use super::dictionary::Dictionary;
use super::intern::Interner;
use super::mappings::share;
use super::profiles::{Profile, Profiles, ResourceProfiles, ScopeProfiles};
use super::strings::StringId;
use super::transfer::{Transfer, Went};

/// Profiles of which parts are taken, in any order, when they are needed.
///
/// They count in steps: a sample is one, and so is a profile without samples, else many of those could not be parted.
pub struct Splitter {
    whole: Profiles,
    places: Vec<Place>,
}

/// What taking one part leaves for the next, so that each takes time in proportion to what it refers to, and not to the whole
/// dictionary. It belongs to one dictionary.
#[derive(Default)]
pub struct Scratch(Option<Went>);

impl Scratch {
    /// For a transfer from `dictionary`, always the same one.
    pub(super) fn take(&mut self, dictionary: &Dictionary) -> Went {
        self.0.take().unwrap_or_else(|| Went::of(dictionary, true))
    }

    /// What a transfer leaves.
    pub(super) fn put(&mut self, went: Went) {
        self.0 = Some(went);
    }
}

/// Where a profile stands.
struct Place {
    resource: usize,
    scope: usize,
    profile: usize,
    /// Steps up to its end.
    end: usize,
    /// Profiles without samples up to its end.
    empty: usize,
    /// Profiles as received up to its end.
    received: u64,
}

impl Splitter {
    /// Takes nothing yet.
    pub fn new(whole: Profiles) -> Self {
        let mut places = Vec::with_capacity(whole.profile_count());
        let (mut end, mut empty, mut received) = (0, 0, 0);
        for (resource, in_resource) in whole.resources().iter().enumerate() {
            for (scope, in_scope) in in_resource.scopes.iter().enumerate() {
                for (profile, one) in in_scope.profiles.iter().enumerate() {
                    end += one.samples.len().max(1);
                    empty += usize::from(one.samples.is_empty());
                    received += one.received();
                    places.push(Place {
                        resource,
                        scope,
                        profile,
                        end,
                        empty,
                        received,
                    });
                }
            }
        }
        Self { whole, places }
    }

    /// All there is.
    pub fn whole(&self) -> &Profiles {
        &self.whole
    }

    /// Steps of the whole.
    pub fn steps(&self) -> usize {
        self.places.last().map_or(0, |last| last.end)
    }

    /// Profiles as received that are in a part, wholly or with some samples.
    pub fn received_in(&self, part: &Range<usize>) -> u64 {
        let Some(last) = part.end.checked_sub(1).filter(|_| !part.is_empty()) else {
            return 0;
        };
        let before = self.place_before(self.at(part.start)).map_or(0, |place| place.received);
        self.places
            .get(self.at(last))
            .map_or(0, |place| place.received - before)
    }

    /// Samples that are in a part.
    pub fn samples_in(&self, part: &Range<usize>) -> usize {
        let empty = |step| self.place_before(self.at(step)).map_or(0, |place| place.empty);
        part.len() - (empty(part.end) - empty(part.start))
    }

    /// The number of the profile that a step is in.
    fn at(&self, step: usize) -> usize {
        self.places.partition_point(|place| place.end <= step)
    }

    fn place_before(&self, number: usize) -> Option<&Place> {
        self.places.get(number.checked_sub(1)?)
    }

    /// The parts that are one profile each.
    pub fn profiles(&self) -> Vec<Range<usize>> {
        self.cut_where(|_, _| true)
    }

    /// The parts that are one resource each.
    pub fn resources(&self) -> Vec<Range<usize>> {
        self.cut_where(|before, next| before.resource != next.resource)
    }

    fn cut_where(&self, is_cut: impl Fn(&Place, &Place) -> bool) -> Vec<Range<usize>> {
        let runs = self.places.chunk_by(|before, next| !is_cut(before, next));
        let mut start = 0;
        let ranges = runs.filter_map(|run| {
            let end = run.last()?.end;
            Some(std::mem::replace(&mut start, end)..end)
        });
        ranges.collect()
    }

    /// About the bytes of it and its scratch.
    pub fn heap_bytes(&self) -> usize {
        let d = self.whole.dictionary();
        let symbols = d.strings.len() + d.functions.len() + d.mappings.len() + d.locations.len() + d.stacks.len();
        let rows = symbols + d.attributes.len() + d.attribute_sets.len() + d.links.len();
        // where each row went, and in the worst case that it went
        rows * 2 * size_of::<StringId>() + self.places.capacity() * size_of::<Place>()
    }

    /// A part over a dictionary that holds only what it refers to. Profiles stay whole but for the first and the last, which
    /// keep their time, period and attributes, and share their list of mappings.
    pub fn part(&self, part: Range<usize>, scratch: &mut Scratch) -> Option<Profiles> {
        let first = self.at(part.start);
        let mut start = self.place_before(first).map_or(0, |place| place.end);
        let mut taken = Taken::default();
        for place in self.places.get(first..).unwrap_or_default() {
            if start >= part.end {
                break;
            }
            let inside = part.start.max(start) - start..part.end.min(place.end) - start;
            taken.add(&self.whole, place, inside);
            start = place.end;
        }
        self.carry(&taken, scratch)
    }

    fn all(&self, parts: Vec<Range<usize>>) -> Vec<Profiles> {
        let mut scratch = Scratch::default();
        let parts = parts.into_iter();
        parts.filter_map(|part| self.part(part, &mut scratch)).collect()
    }

    fn carry(&self, taken: &Taken, scratch: &mut Scratch) -> Option<Profiles> {
        let dictionary = self.whole.dictionary();
        let went = scratch.take(dictionary);
        let mut interner = Interner::new();
        let mut transfer = Transfer::after(went, dictionary, &mut interner);
        let carried: Vec<_> = taken.resources.iter().filter_map(|r| transfer.resource(r)).collect();
        scratch.put(transfer.finish());
        (!carried.is_empty()).then(|| Profiles::new_compact(interner.finish(), carried))
    }
}

/// Profiles put together again as they stood.
#[derive(Default)]
struct Taken {
    resources: Vec<ResourceProfiles>,
    /// Numbers of the last resource and scope.
    last: Option<(usize, usize)>,
}

impl Taken {
    fn add(&mut self, whole: &Profiles, place: &Place, rows: Range<usize>) -> Option<()> {
        let resource = whole.resources().get(place.resource)?;
        let scope = resource.scopes.get(place.scope)?;
        let profile = some(scope.profiles.get(place.profile)?, rows);
        if self.last.is_none_or(|(resource, _)| resource != place.resource) {
            self.resources.push(ResourceProfiles {
                attributes: resource.attributes.clone(),
                scopes: Vec::new(),
                ..*resource
            });
            self.last = None;
        }
        let scopes = &mut self.resources.last_mut()?.scopes;
        if self
            .last
            .replace((place.resource, place.scope))
            .is_none_or(|(_, scope)| scope != place.scope)
        {
            scopes.push(ScopeProfiles {
                attributes: scope.attributes.clone(),
                profiles: Vec::new(),
                ..*scope
            });
        }
        scopes.last_mut()?.profiles.push(profile);
        Some(())
    }
}

/// Some samples of a profile, or the profile.
fn some(profile: &Profile, rows: Range<usize>) -> Profile {
    let all = profile.samples.len();
    let rows = rows.start..rows.end.min(all);
    if rows.len() == all {
        return profile.clone();
    }
    let mut some = profile.clone();
    some.mappings = share(&profile.mappings, &rows, all);
    some.pick_samples(&rows.collect::<Vec<_>>());
    some
}

impl Profiles {
    /// One part for each resource.
    pub fn by_resource(&self) -> Vec<Self> {
        let splitter = Splitter::new(self.clone());
        splitter.all(splitter.resources())
    }

    /// One part for each profile.
    pub fn by_profile(&self) -> Vec<Self> {
        let splitter = Splitter::new(self.clone());
        splitter.all(splitter.profiles())
    }

    /// One part for each number that `of` has for the profiles, in their order; what it has no number for goes nowhere.
    pub fn partition(&self, of: &[usize]) -> Vec<(usize, Self)> {
        let (splitter, mut scratch) = (Splitter::new(self.clone()), Scratch::default());
        let mut groups: BTreeMap<usize, Taken> = BTreeMap::new();
        for (place, number) in splitter.places.iter().zip(of) {
            groups.entry(*number).or_default().add(self, place, 0..usize::MAX);
        }
        let parts = groups.into_iter();
        parts
            .filter_map(|(number, taken)| Some((number, splitter.carry(&taken, &mut scratch)?)))
            .collect()
    }

    /// Two parts of about half the samples each; none if there is but one sample left to cut.
    ///
    /// Whole profiles stay whole where that is possible; the one in the middle is cut between two samples, and both halves
    /// keep its time, period and attributes.
    pub fn halve(&self) -> Option<(Self, Self)> {
        let (splitter, mut scratch) = (Splitter::new(self.clone()), Scratch::default());
        let (steps, half) = (splitter.steps(), splitter.steps() / 2);
        if half == 0 {
            return None;
        }
        Some((
            splitter.part(0..half, &mut scratch)?,
            splitter.part(half..steps, &mut scratch)?,
        ))
    }
}
