//! An order of rows by all that they say: first by call path, then by what else their frames say, then by attributes and link.
//!
//! A grid needs it: rows of one call path that come by turns, as those with one of two labels, could all lie on its steps, or none of them.

use super::content::{self, mix};
use super::order::{Order, Placed};
use crate::profile::{Attribute, AttributeId, AttributeSetId, Dictionary, Link, LinkId, Samples, StackId, StringId};

/// The order of rows with some stacks of a dictionary. What a row says beside its call path is hashed once, and not before it stands beside another:
/// most have a call path of their own.
pub struct FullOrder<'a> {
    d: &'a Dictionary,
    order: Order,
    stacks: Known,
    sets: Known,
    attributes: Known,
    /// The last key: many formats have an attribute for each sample, of few keys.
    key: (StringId, u64),
}

impl<'a> FullOrder<'a> {
    /// Puts stacks in order, each of which may come several times. Takes time in proportion to what the dictionary holds, however often they do.
    pub fn of(d: &'a Dictionary, stacks: impl Iterator<Item = StackId>) -> Self {
        Self {
            d,
            order: Order::of(d, stacks),
            stacks: Known::none_of(d.stacks.len()),
            sets: Known::none_of(d.attribute_sets.len()),
            attributes: Known::none_of(d.attributes.len()),
            key: (StringId::UNSET, content::text("")),
        }
    }

    /// The dictionary.
    pub(super) fn dictionary(&self) -> &'a Dictionary {
        self.d
    }

    /// All rows of a profile in this order.
    pub fn rows(&mut self, samples: &Samples) -> Vec<usize> {
        let all: Vec<usize> = (0..samples.len()).collect();
        let mut placed = self.order.placed(samples, &all);
        let same = placed.chunk_by_mut(|a, b| a.place == b.place);
        for same in same.filter(|same| same.len() > 1) {
            same.sort_by_cached_key(|placed| self.said(samples, placed));
        }
        placed.into_iter().map(|placed| placed.row).collect()
    }

    /// What a row says beside its call path: all that its frames say, then its attributes and link.
    fn said(&mut self, samples: &Samples, Placed { row, .. }: &Placed) -> [u64; 2] {
        let stack = samples.stacks.get(*row).map_or(0, |stack| self.stack(*stack));
        let set = samples.attributes.get(*row).map_or(0, |set| self.set(*set));
        let link = samples.links.get(*row).map_or(0, |link| self.link(*link));
        [stack, mix(set, link)]
    }

    fn stack(&mut self, stack: StackId) -> u64 {
        if let Some(known) = self.stacks.get(stack.index()) {
            return known;
        }
        let frames = self.d.stacks[stack].iter();
        let hash = frames.fold(0, |hash, frame| mix(hash, self.order.told().said(self.d, *frame)));
        self.stacks.keep(stack.index(), hash)
    }

    fn set(&mut self, set: AttributeSetId) -> u64 {
        if let Some(known) = self.sets.get(set.index()) {
            return known;
        }
        let attributes = self.d.attribute_sets[set].iter();
        let hash = attributes.fold(0u64, |sum, id| sum.wrapping_add(self.attribute(*id)));
        self.sets.keep(set.index(), hash)
    }

    fn attribute(&mut self, id: AttributeId) -> u64 {
        if let Some(known) = self.attributes.get(id.index()) {
            return known;
        }
        let Attribute { key, value, .. } = &self.d.attributes[id];
        if *key != self.key.0 {
            self.key = (*key, content::text(self.d.str(*key)));
        }
        let hash = content::attribute(self.d, self.key.1, value);
        self.attributes.keep(id.index(), hash)
    }

    fn link(&self, id: LinkId) -> u64 {
        let Link { trace_id, span_id } = &self.d.links[id];
        let [high, low] = [0, 8].map(|at| {
            let eight = trace_id.iter().skip(at).take(8);
            eight.fold(0, |n, b| n << 8 | u64::from(*b))
        });
        mix(mix(high, low), u64::from_be_bytes(*span_id))
    }
}

/// Hashes by position. Those that are 0 are not known yet, so what nobody asks for takes no memory.
struct Known(Vec<u64>);

impl Known {
    fn none_of(positions: usize) -> Self {
        Self(vec![0; positions])
    }

    fn get(&self, position: usize) -> Option<u64> {
        self.0.get(position).copied().filter(|hash| *hash > 0)
    }

    fn keep(&mut self, position: usize, hash: u64) -> u64 {
        let hash = hash.max(1);
        if let Some(slot) = self.0.get_mut(position) {
            *slot = hash;
        }
        hash
    }
}
