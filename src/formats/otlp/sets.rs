//! Lists of attribute indices become sets. Most that are equal are stored once; what is forgotten is stored again, which is no harm.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};

use super::defect::Defect;
use crate::profile::{AttributeId, AttributeSetId, Dictionary};

const SLOT_BITS: u32 = 10;

/// The attribute sets of a request.
#[derive(Default)]
pub(super) struct AttributeSets {
    /// The set that holds one attribute and nothing else, by attribute: by far the most common kind.
    singles: Vec<AttributeSetId>,
    /// Other sets seen lately, with the hashes of their lists. A map of all of them would be far larger than the caches.
    recent: Vec<(u32, AttributeSetId)>,
    /// The same every time: a slot holds one set, so that collisions cost no more than another try.
    hasher: FixedState,
    /// A number for the key of every attribute: the same for the same text.
    keys: Vec<u32>,
    /// By key: the last list that had it.
    last_list: Vec<u32>,
    lists: u32,
    /// The list being read.
    list: Vec<AttributeId>,
}

impl AttributeSets {
    /// To be called when the attribute table is complete.
    pub fn new(dictionary: &Dictionary) -> Self {
        let mut by_text: HashMap<&str, u32, RandomState> = HashMap::default();
        let mut by_id: Vec<Option<u32>> = vec![None; dictionary.strings.len()];
        let mut keys = Vec::with_capacity(dictionary.attributes.len());
        for attribute in dictionary.attributes.rows() {
            let fresh = by_text.len() as u32;
            let known = by_id.get_mut(attribute.key.index());
            let key = match known {
                Some(Some(key)) => *key,
                Some(unknown) => {
                    let key = *by_text.entry(dictionary.str(attribute.key)).or_insert(fresh);
                    *unknown = Some(key);
                    key
                }
                None => fresh,
            };
            keys.push(key);
        }
        Self {
            singles: vec![AttributeSetId::UNSET; keys.len()],
            last_list: vec![0; by_text.len()],
            keys,
            ..Self::default()
        }
    }

    /// Begins a list.
    pub fn begin(&mut self) {
        self.list.clear();
    }

    /// Adds an attribute to the list. Attribute 0 means none.
    pub fn add(&mut self, attribute: AttributeId) {
        if attribute.is_set() {
            self.list.push(attribute);
        }
    }

    /// Attributes in the list so far.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The set of the list that was read. It may well be `likely`; `at` is where the message that has it begins.
    #[inline]
    pub fn finish(
        &mut self,
        dictionary: &mut Dictionary,
        likely: AttributeSetId,
        at: usize,
    ) -> Result<AttributeSetId, Defect> {
        match self.list.as_slice() {
            [] => Ok(AttributeSetId::UNSET),
            [single] => {
                let Some(set) = self.singles.get_mut(single.index()) else {
                    return Ok(dictionary.attribute_sets.push(&self.list));
                };
                if !set.is_set() {
                    *set = dictionary.attribute_sets.push(&self.list);
                }
                Ok(*set)
            }
            several if dictionary.attribute_sets[likely] == *several => Ok(likely),
            _ => self.finish_several(dictionary, at),
        }
    }

    fn finish_several(&mut self, dictionary: &mut Dictionary, at: usize) -> Result<AttributeSetId, Defect> {
        let list = self.list.as_slice();
        let sets = &mut dictionary.attribute_sets;
        self.recent.resize(1 << SLOT_BITS, Default::default());
        let hash = self.hasher.hash_one(list);
        let short = hash as u32;
        let slot = self.recent.get_mut((hash >> (u64::BITS - SLOT_BITS)) as usize);
        if let Some((_, known)) = slot
            .as_deref()
            .filter(|(known, id)| *known == short && sets[*id] == *list)
        {
            return Ok(*known);
        }
        self.lists += 1;
        for (i, attribute) in list.iter().enumerate() {
            let key = self.keys.get(attribute.index()).copied().unwrap_or_default();
            let Some(last) = self.last_list.get_mut(key as usize) else {
                continue;
            };
            if *last == self.lists {
                let problem = format!("attribute_indices[{i}] has a key that the list had before");
                return Err(Defect::at(at, problem));
            }
            *last = self.lists;
        }
        let id = sets.push(list);
        if let Some(slot) = slot {
            *slot = (short, id);
        }
        Ok(id)
    }
}
