//! Adds rows to a dictionary so that equal rows get the same id.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::dictionary::{
    Attribute, AttributeId, AttributeSet, AttributeSetId, Dictionary, Function, FunctionId, Line, Link, LinkId,
    Location, LocationId, Mapping, MappingId, Stack, StackId,
};
use super::ids::Id;
use super::strings::{StringId, Text};

/// A dictionary under construction in which equal rows are stored once.
///
/// The indexes hold ids only and compare with the rows in place, so nothing is stored twice.
#[derive(Debug, Default)]
pub struct Interner {
    dictionary: Dictionary,
    hasher: RandomState,
    strings: HashTable<Id<Text>>,
    functions: HashTable<Id<Function>>,
    mappings: HashTable<Id<Mapping>>,
    locations: HashTable<Id<Location>>,
    stacks: HashTable<Id<Stack>>,
    attributes: HashTable<Id<Attribute>>,
    attribute_sets: HashTable<Id<AttributeSet>>,
    links: HashTable<Id<Link>>,
}

impl Interner {
    /// An empty dictionary under construction.
    pub fn new() -> Self {
        Self::default()
    }

    /// The dictionary so far.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// The finished dictionary.
    pub fn finish(self) -> Dictionary {
        self.dictionary
    }

    /// The id of a string.
    pub fn string(&mut self, string: &str) -> StringId {
        if string.is_empty() {
            return Id::UNSET;
        }
        let hash = self.hasher.hash_one(string);
        let table = &mut self.dictionary.strings;
        if let Some(id) = self.strings.find(hash, |id| &table[*id] == string) {
            return *id;
        }
        let id = table.push(string);
        let hasher = &self.hasher;
        self.strings.insert_unique(hash, id, |id| hasher.hash_one(&table[*id]));
        id
    }

    /// The id of a function.
    pub fn function(&mut self, row: Function) -> FunctionId {
        intern_row(&mut self.dictionary.functions, &mut self.functions, &self.hasher, row)
    }

    /// The id of a mapping.
    pub fn mapping(&mut self, row: Mapping) -> MappingId {
        intern_row(&mut self.dictionary.mappings, &mut self.mappings, &self.hasher, row)
    }

    /// The id of a link.
    pub fn link(&mut self, row: Link) -> LinkId {
        intern_row(&mut self.dictionary.links, &mut self.links, &self.hasher, row)
    }

    /// The id of an attribute.
    pub fn attribute(&mut self, row: Attribute) -> AttributeId {
        intern_row(&mut self.dictionary.attributes, &mut self.attributes, &self.hasher, row)
    }

    /// The id of a text attribute.
    pub fn text_attribute(&mut self, key: &str, text: &str) -> AttributeId {
        let key = self.string(key);
        let value = super::Value::String(self.string(text));
        let unit = Id::UNSET;
        self.attribute(Attribute { key, value, unit })
    }

    /// The id of a location with its lines.
    pub fn location(&mut self, row: Location, lines: &[Line]) -> LocationId {
        if row == Location::default() && lines.is_empty() {
            return Id::UNSET;
        }
        let hash = self.hasher.hash_one((&row, lines));
        let dictionary = &mut self.dictionary;
        let known = |id: &LocationId| dictionary.locations[*id] == row && dictionary.lines[*id] == *lines;
        if let Some(id) = self.locations.find(hash, known) {
            return *id;
        }
        let id = dictionary.push_location(row, lines);
        let hasher = &self.hasher;
        self.locations.insert_unique(hash, id, |id| {
            hasher.hash_one((&dictionary.locations[*id], &dictionary.lines[*id]))
        });
        id
    }

    /// The id of a stack, the leaf first.
    pub fn stack(&mut self, locations: &[LocationId]) -> StackId {
        intern_list(&mut self.dictionary.stacks, &mut self.stacks, &self.hasher, locations)
    }

    /// The id of a set of attributes. The order is part of the set: sort what should compare equal.
    pub fn attribute_set(&mut self, attributes: &[AttributeId]) -> AttributeSetId {
        intern_list(
            &mut self.dictionary.attribute_sets,
            &mut self.attribute_sets,
            &self.hasher,
            attributes,
        )
    }
}

fn intern_row<Row: Default + Eq + Hash>(
    table: &mut super::Table<Row>,
    index: &mut HashTable<Id<Row>>,
    hasher: &RandomState,
    row: Row,
) -> Id<Row> {
    if row == Row::default() {
        return Id::UNSET;
    }
    let hash = hasher.hash_one(&row);
    if let Some(id) = index.find(hash, |id| table[*id] == row) {
        return *id;
    }
    let id = table.push(row);
    index.insert_unique(hash, id, |id| hasher.hash_one(&table[*id]));
    id
}

fn intern_list<Owner, Item: Copy + Eq + Hash>(
    lists: &mut super::Lists<Owner, Item>,
    index: &mut HashTable<Id<Owner>>,
    hasher: &RandomState,
    items: &[Item],
) -> Id<Owner> {
    if items.is_empty() {
        return Id::UNSET;
    }
    let hash = hasher.hash_one(items);
    if let Some(id) = index.find(hash, |id| lists[*id] == *items) {
        return *id;
    }
    let id = lists.push(items);
    index.insert_unique(hash, id, |id| hasher.hash_one(&lists[*id]));
    id
}
