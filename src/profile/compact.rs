//! Removes what nothing refers to, and stores what is equal once.
//!
//! In place: the tables are walked from the profiles down to the strings, to mark what is in use, and then from the strings up, so
//! that rows are compared when what they refer to is settled. A table of which nothing goes is only read.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::dictionary::{Attribute, AttributeSet, Dictionary, Function, Link, Location, Mapping, Stack};
use super::ids::Id;
use super::join::join_equal;
use super::mappings::list_of;
use super::profiles::{Profile, Profiles, ResourceProfiles};
use super::roles;
use super::strings::Text;

impl Profiles {
    /// Leaves only rows that some profile refers to, each once, and joins samples of equal identity.
    ///
    /// Afterwards the dictionary keeps every rule of OTLP, and a string that was replaced is gone from it. Sums per sample
    /// type, stack and attribute set stay as they were. Resources and scopes without profiles go. Says whether anything went.
    pub fn compact(&mut self) -> bool {
        if self.is_compact() {
            return false;
        }
        let before = self.census();
        let (dictionary, resources) = self.edit();
        for resource in resources.iter_mut() {
            resource.scopes.retain(|scope| !scope.profiles.is_empty());
        }
        resources.retain(|resource| !resource.scopes.is_empty());
        let used = Used::by(resources, dictionary);
        sweep(dictionary, resources, &used);
        // it may wait in queues for long
        dictionary.shrink();
        self.be_compact();
        self.census() != before
    }

    /// Rows of the tables, samples, resources: fewer of any means that something was unused or stood twice. Strings are not
    /// counted: those of attributes that a decoder lifted into fields are in no row any more. Nor are sets of attributes: no format has
    /// a table of them.
    fn census(&self) -> [usize; 9] {
        let d = self.dictionary();
        [
            d.functions.len(),
            d.mappings.len(),
            d.locations.len(),
            d.stacks.len(),
            d.attributes.len(),
            d.links.len(),
            self.resources().len(),
            self.resources().iter().map(|resource| resource.scopes.len()).sum(),
            self.sample_count(),
        ]
    }
}

pub(super) fn profiles_mut(resources: &mut [ResourceProfiles]) -> impl Iterator<Item = &mut Profile> {
    let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
    scopes.flat_map(|scope| &mut scope.profiles)
}

/// The rows in use.
struct Used {
    strings: Marks<Text>,
    functions: Marks<Function>,
    mappings: Marks<Mapping>,
    locations: Marks<Location>,
    stacks: Marks<Stack>,
    attributes: Marks<Attribute>,
    attribute_sets: Marks<AttributeSet>,
    links: Marks<Link>,
}

impl Used {
    /// Changes neither; to look walks the way of changing.
    fn by(resources: &mut [ResourceProfiles], d: &mut Dictionary) -> Self {
        let mut used = Self {
            strings: Marks::new(d.strings.len()),
            functions: Marks::new(d.functions.len()),
            mappings: Marks::new(d.mappings.len()),
            locations: Marks::new(d.locations.len()),
            stacks: Marks::new(d.stacks.len()),
            attributes: Marks::new(d.attributes.len()),
            attribute_sets: Marks::new(d.attribute_sets.len()),
            links: Marks::new(d.links.len()),
        };
        for resource in resources.iter_mut() {
            roles::resource(resource, &mut |_, id| used.strings.mark(*id));
        }
        for profile in profiles_mut(resources) {
            used.attribute_sets.mark(profile.attributes);
            used.attribute_sets.mark_all(&profile.samples.attributes);
            used.stacks.mark_all(&profile.samples.stacks);
            used.links.mark_all(&profile.samples.links);
            used.mappings.mark_all(&profile.mappings);
        }
        used.places(d);
        used.words(d);
        used
    }

    /// From stacks to functions and mappings.
    fn places(&mut self, d: &Dictionary) {
        if self.stacks.are_all() && d.stacks.do_reach_all_of(d.locations.len()) {
            self.locations.mark_every_row();
        } else {
            for stack in self.stacks.rows() {
                self.locations.mark_all(&d.stacks[stack]);
            }
        }
        for location in self.locations.rows() {
            let row = &d.locations[location];
            self.mappings.mark(row.mapping);
            self.attribute_sets.mark(row.attributes);
            for line in &d.lines[location] {
                self.functions.mark(line.function);
            }
        }
        for mapping in self.mappings.rows() {
            self.attribute_sets.mark(d.mappings[mapping].attributes);
        }
        for set in self.attribute_sets.rows() {
            self.attributes.mark_all(&d.attribute_sets[set]);
        }
    }

    fn words(&mut self, d: &mut Dictionary) {
        let mut mark = |_, id: &mut Id<Text>| self.strings.mark(*id);
        for row in self.functions.of(d.functions.rows_mut()) {
            roles::function(row, &mut mark);
        }
        for row in self.mappings.of(d.mappings.rows_mut()) {
            roles::mapping(row, &mut mark);
        }
        for row in self.attributes.of(d.attributes.rows_mut()) {
            roles::attribute(row, &mut mark);
        }
    }
}

/// Marks of the rows of one table.
pub(super) struct Marks<Row> {
    marks: Vec<bool>,
    /// All rows below this one are marked: most writers number rows in the order of their first use, so most marks are there already.
    first_open: Id<Row>,
}

impl<Row> Marks<Row> {
    /// Row 0 is always in use.
    pub(super) fn new(rows: usize) -> Self {
        let mut marks = Self {
            marks: vec![false; rows],
            first_open: Id::UNSET,
        };
        marks.mark_all(&[Id::UNSET]);
        marks
    }

    #[inline]
    pub(super) fn mark(&mut self, row: Id<Row>) {
        if let Some(mark) = self.marks.get_mut(row.index()) {
            *mark = true;
        }
    }

    pub(super) fn mark_all(&mut self, rows: &[Id<Row>]) {
        for run in rows.chunks(64) {
            // no early end, so that many are compared at once
            let any_open = run.iter().fold(false, |any, row| any | (*row >= self.first_open));
            if any_open {
                run.iter().for_each(|row| self.mark(*row));
                while self.has(self.first_open) {
                    self.first_open = Id::at(self.first_open.raw() + 1);
                }
            }
        }
    }

    fn mark_every_row(&mut self) {
        self.marks.fill(true);
    }

    fn are_all(&self) -> bool {
        self.marks.iter().all(|marked| *marked)
    }

    pub(super) fn has(&self, row: Id<Row>) -> bool {
        self.marks.get(row.index()).copied().unwrap_or_default()
    }

    fn ids(&self) -> impl ExactSizeIterator<Item = Id<Row>> + use<Row> {
        (0..self.marks.len() as u32).map(Id::at)
    }

    /// Behind the last that is marked.
    fn end(&self) -> usize {
        self.marks.iter().rposition(|marked| *marked).map_or(0, |last| last + 1)
    }

    /// Those that are marked.
    pub(super) fn rows(&self) -> impl Iterator<Item = Id<Row>> {
        self.ids().filter(|id| self.has(*id))
    }

    /// Whether each row that is marked has a higher key than the one before, as names have that writers number by first use: then no
    /// two of the rows are equal.
    fn rise<Key: Ord>(&self, key: impl Fn(Id<Row>) -> Key) -> bool {
        self.rows().is_sorted_by(|before, row| key(*before) < key(*row))
    }

    /// The rows that are marked, out of the table itself.
    fn of<'a, T>(&'a self, table: &'a mut [T]) -> impl Iterator<Item = &'a mut T> {
        let rows = table.iter_mut().zip(&self.marks);
        rows.filter(|(_, marked)| **marked).map(|(row, _)| row)
    }
}

/// Where the rows of one table went.
struct Moves<Row> {
    /// By row up to `end`; empty as long as each of them stays where it is.
    to: Vec<Id<Row>>,
    /// No row from this one on is in use.
    end: usize,
    /// Whether every row stays where it is.
    are_none: bool,
    /// Whether rows in use became one.
    do_join: bool,
}

impl<Row> Moves<Row> {
    /// Of equal rows in use the first stays; what is equal to row 0 becomes that.
    fn of<R: Hash + Eq>(used: &Marks<Row>, row: impl Fn(Id<Row>) -> R) -> Self {
        let hasher = RandomState::default();
        let hash = |id: &Id<Row>| hasher.hash_one(row(*id));
        let mut firsts = HashTable::with_capacity(used.rows().count());
        let mut moves = Self::none(used);
        for id in used.ids().take(moves.end) {
            let new = match used.has(id) {
                false => Id::UNSET,
                true => match firsts.entry(hash(&id), |first| row(*first) == row(id), hash) {
                    Entry::Occupied(first) => {
                        moves.do_join = true;
                        moves.new_id(*first.get())
                    }
                    Entry::Vacant(place) => {
                        place.insert(id);
                        Id::at(firsts.len() as u32 - 1)
                    }
                },
            };
            moves.put(id, new);
        }
        moves
    }

    /// The same where no two rows are equal.
    fn of_distinct(used: &Marks<Row>) -> Self {
        let mut moves = Self::none(used);
        let mut next = 0;
        for id in used.ids().take(moves.end) {
            let is_used = used.has(id);
            moves.put(id, if is_used { Id::at(next) } else { Id::UNSET });
            next += u32::from(is_used);
        }
        moves
    }

    /// Before any row has moved.
    fn none(used: &Marks<Row>) -> Self {
        Self {
            to: Vec::new(),
            end: used.end(),
            are_none: used.end() == used.ids().len(),
            do_join: false,
        }
    }

    fn put(&mut self, old: Id<Row>, new: Id<Row>) {
        if self.to.is_empty() {
            if old == new {
                return;
            }
            self.are_none = false;
            self.to.reserve_exact(self.end);
            self.to.extend((0..old.raw()).map(Id::at));
        }
        self.to.push(new);
    }

    /// Rows that nobody uses refer to others that went.
    #[inline]
    fn new_id(&self, old: Id<Row>) -> Id<Row> {
        match self.to.get(old.index()) {
            Some(new) => *new,
            None if old.index() < self.end => old,
            None => Id::UNSET,
        }
    }

    fn follow(&self, id: &mut Id<Row>) {
        *id = self.new_id(*id);
    }

    fn follow_all(&self, ids: &mut [Id<Row>]) {
        if !self.are_none {
            ids.iter_mut().for_each(|id| self.follow(id));
        }
    }

    /// Whether a row stays, asked of one after the other: only those get ever higher ids.
    fn stays(&self) -> impl FnMut(Id<Row>) -> bool {
        let mut next = 0;
        move |old| {
            let stays = old.index() < self.end && self.new_id(old).raw() == next;
            next += u32::from(stays);
            stays
        }
    }
}

/// Takes rows out of every table, and has all who refer to the others follow.
fn sweep(d: &mut Dictionary, resources: &mut [ResourceProfiles], used: &Used) {
    words(d, resources, used);
    d.strings.be_distinct();
    let sets = sets(d, used);
    let stacks = places(d, resources, used, &sets);
    let links = Moves::of(&used.links, |id| d.links[id]);
    d.links.retain(links.stays());
    let stay = stacks.are_none && sets.are_none && links.are_none;
    for profile in profiles_mut(resources) {
        sets.follow(&mut profile.attributes);
        if !stay {
            let samples = Arc::make_mut(&mut profile.samples);
            stacks.follow_all(&mut samples.stacks);
            sets.follow_all(&mut samples.attributes);
            links.follow_all(&mut samples.links);
        }
        join_equal(&mut profile.samples, profile.sample_types.len());
    }
}

fn words(d: &mut Dictionary, resources: &mut [ResourceProfiles], used: &Used) {
    let strings = Moves::of(&used.strings, |id| &d.strings[id]);
    if strings.are_none {
        return;
    }
    d.strings.retain(strings.stays());
    let mut follow = |_, id: &mut Id<Text>| strings.follow(id);
    for row in d.functions.rows_mut() {
        roles::function(row, &mut follow);
    }
    for row in d.mappings.rows_mut() {
        roles::mapping(row, &mut follow);
    }
    for row in d.attributes.rows_mut() {
        roles::attribute(row, &mut follow);
    }
    for row in resources {
        roles::resource(row, &mut follow);
    }
}

/// Attributes and their sets.
fn sets(d: &mut Dictionary, used: &Used) -> Moves<AttributeSet> {
    let attributes = Moves::of(&used.attributes, |id| &d.attributes[id]);
    d.attributes.retain(attributes.stays());
    attributes.follow_all(d.attribute_sets.items_mut());
    let rows = &d.attributes;
    d.attribute_sets.change(|id, set| {
        // those of a set that goes may be gone already
        if !used.attribute_sets.has(id) {
            return;
        }
        // Order has no meaning between keys, and has one between the values of a repeated key: a stable sort keeps that.
        if !set.is_sorted_by_key(|id| rows[*id].key) {
            set.sort_by_key(|id| rows[*id].key);
        }
    });
    let sets = Moves::of(&used.attribute_sets, |id| &d.attribute_sets[id]);
    d.attribute_sets.retain(sets.stays());
    sets
}

/// Functions, mappings with the lists of them, locations with their lines, and stacks.
fn places(
    d: &mut Dictionary,
    resources: &mut [ResourceProfiles],
    used: &Used,
    sets: &Moves<AttributeSet>,
) -> Moves<Stack> {
    let functions = match used.functions.rise(|id| d.functions[id].name) {
        true => Moves::of_distinct(&used.functions),
        false => Moves::of(&used.functions, |id| d.functions[id]),
    };
    d.functions.retain(functions.stays());
    d.mappings
        .rows_mut()
        .iter_mut()
        .for_each(|row| sets.follow(&mut row.attributes));
    let mappings = Moves::of(&used.mappings, |id| d.mappings[id]);
    d.mappings.retain(mappings.stays());
    for profile in profiles_mut(resources) {
        profile.mappings = list_of(profile.mappings.iter().map(|id| mappings.new_id(*id)));
    }
    for row in d.locations.rows_mut() {
        mappings.follow(&mut row.mapping);
        sets.follow(&mut row.attributes);
    }
    d.lines
        .items_mut()
        .iter_mut()
        .for_each(|line| functions.follow(&mut line.function));
    let locations = Moves::of(&used.locations, |id| (d.locations[id], &d.lines[id]));
    d.locations.retain(locations.stays());
    d.lines.retain(locations.stays());
    let are_distinct = d.stacks.are_distinct() && !locations.do_join;
    locations.follow_all(d.stacks.items_mut());
    let stacks = match are_distinct {
        true => Moves::of_distinct(&used.stacks),
        false => Moves::of(&used.stacks, |id| &d.stacks[id]),
    };
    d.stacks.retain(stacks.stays());
    d.stacks.be_distinct();
    d.stacks.reach_all_of(d.locations.len());
    stacks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Observations, Samples, ValueType};

    /// Three stacks of one location each, of which the last two lie at one address.
    fn three_stacks() -> Profiles {
        let mut d = Dictionary::default();
        for address in [1, 2, 2] {
            let location = Location {
                address,
                ..Location::default()
            };
            let location = d.push_location(location, &[]);
            d.stacks.push(&[location]);
        }
        d.stacks.be_distinct();
        d.stacks.reach_all_of(d.locations.len());
        let rows = d.stacks.len() - 1;
        let samples = Samples {
            stacks: d.stacks.ids().skip(1).collect(),
            attributes: vec![Id::UNSET; rows],
            links: vec![Id::UNSET; rows],
            observations: Observations::Totals(vec![1; rows]),
        };
        let profile = Profile {
            sample_types: vec![ValueType::default()],
            samples: Arc::new(samples),
            ..Profile::default()
        };
        Profiles::of(d, vec![profile])
    }

    #[test]
    fn stacks_become_equal_with_their_locations() {
        let mut profiles = three_stacks();
        profiles.compact();
        assert_eq!(profiles.dictionary().stacks.len(), 3);
        let samples = &profiles.iter().next().unwrap().profile.samples;
        assert_eq!((samples.len(), samples.sum(0, 1)), (2, 3));
    }

    #[test]
    fn stacks_that_are_known_to_be_distinct_go_when_nobody_needs_them() {
        let mut profiles = three_stacks();
        let (d, resources) = profiles.edit();
        for profile in profiles_mut(resources) {
            Arc::make_mut(&mut profile.samples).retain(1, |row| row == 1);
        }
        assert!(d.stacks.are_distinct());
        profiles.compact();
        let d = profiles.dictionary();
        assert_eq!((d.stacks.len(), d.locations.len()), (2, 2));
        let stack = profiles.iter().next().unwrap().profile.samples.stacks[0];
        assert_eq!(d.locations[d.stacks[stack][0]].address, 2);
    }
}
