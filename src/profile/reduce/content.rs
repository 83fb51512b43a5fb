//! Hashes of what a dictionary says, the same in every process, on every machine and whatever ids it has.

use crate::profile::{
    Attribute, AttributeId, AttributeSetId, Dictionary, FunctionId, Link, LinkId, Location, LocationId,
    ResourceProfiles, StackId, StringId, Value,
};

/// An odd number of which half the bits are set, in no order.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Puts another number to a hash. Order matters.
#[inline]
pub(super) fn mix(hash: u64, number: u64) -> u64 {
    let mut mixed = (hash.rotate_left(23) ^ number).wrapping_mul(ODD);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

/// The same where there is very much to put together, and the last is mixed in well.
#[inline]
fn quick(hash: u64, number: u64) -> u64 {
    let product = u128::from(hash.rotate_left(5) ^ number) * u128::from(ODD);
    // both halves, as the highest bits of a number are in the upper one alone
    product as u64 ^ (product >> 64) as u64
}

/// The hash of a text.
pub(super) fn text(text: &str) -> u64 {
    let (eights, rest) = text.as_bytes().as_chunks::<8>();
    let eights = eights.iter().map(|eight| u64::from_le_bytes(*eight));
    let hash = eights.fold(text.len() as u64, quick);
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    mix(mix(hash, last), 0)
}

/// The hashes of a dictionary, each worked out when it is first asked for, and once: what refers to it may do so very often.
pub struct ContentHashes<'a> {
    d: &'a Dictionary,
    texts: Known,
    attributes: Known,
    sets: Known,
    locations: Known,
    stacks: Known,
    /// The last resource: profiles of one come after each other.
    resource: Option<(&'a ResourceProfiles, u64)>,
}

impl<'a> ContentHashes<'a> {
    /// Those of this dictionary.
    pub fn of(d: &'a Dictionary) -> Self {
        Self {
            d,
            texts: Known::none_of(d.strings.len()),
            attributes: Known::none_of(d.attributes.len()),
            sets: Known::none_of(d.attribute_sets.len()),
            locations: Known::none_of(d.locations.len()),
            stacks: Known::none_of(d.stacks.len()),
            resource: None,
        }
    }

    pub(super) fn dictionary(&self) -> &'a Dictionary {
        self.d
    }

    pub(super) fn text(&mut self, id: StringId) -> u64 {
        match self.texts.get(id.index()) {
            Some(known) => known,
            None => self.texts.keep(id.index(), text(self.d.str(id))),
        }
    }

    /// Of what a function is called.
    pub(super) fn name(&mut self, id: FunctionId) -> u64 {
        self.text(self.d.functions[id].called())
    }

    /// Of where in which file a location is.
    pub(super) fn address(&mut self, id: LocationId) -> u64 {
        let Location { mapping, address, .. } = self.d.locations[id];
        mix(self.text(self.d.mappings[mapping].filename), address)
    }

    fn location(&mut self, id: LocationId) -> u64 {
        if let Some(known) = self.locations.get(id.index()) {
            return known;
        }
        let address = self.address(id);
        let hash = self.d.lines[id].iter().fold(address, |hash, line| {
            let hash = mix(hash, self.name(line.function));
            mix(hash, mix(line.line as u64, line.column as u64))
        });
        self.locations.keep(id.index(), hash)
    }

    /// Of all that the frames of a stack say.
    pub(super) fn stack(&mut self, id: StackId) -> u64 {
        if let Some(known) = self.stacks.get(id.index()) {
            return known;
        }
        let frames = self.d.stacks[id].iter();
        let hash = frames.fold(0, |hash, frame| mix(hash, self.location(*frame)));
        self.stacks.keep(id.index(), hash)
    }

    /// Of attributes, whatever their order.
    pub(super) fn set(&mut self, id: AttributeSetId) -> u64 {
        if let Some(known) = self.sets.get(id.index()) {
            return known;
        }
        let attributes = self.d.attribute_sets[id].iter();
        let hash = attributes.fold(0, |sum: u64, id| sum.wrapping_add(self.attribute(*id)));
        self.sets.keep(id.index(), hash)
    }

    fn attribute(&mut self, id: AttributeId) -> u64 {
        if let Some(known) = self.attributes.get(id.index()) {
            return known;
        }
        let Attribute { key, value, .. } = &self.d.attributes[id];
        let key = self.text(*key);
        let hash = self.key_value(key, value);
        self.attributes.keep(id.index(), hash)
    }

    /// Of an attribute under the key with this hash. That of a list is the sum of those of its items, as is that of a key that repeats: formats turn one
    /// into the other.
    fn key_value(&mut self, key: u64, value: &Value) -> u64 {
        match value {
            Value::Array(items) => items
                .iter()
                .fold(0, |sum: u64, item| sum.wrapping_add(self.key_value(key, item))),
            value => mix(key, self.value(value)),
        }
    }

    fn value(&mut self, value: &Value) -> u64 {
        match value {
            Value::Empty => 1,
            Value::String(id) => self.text(*id),
            Value::Bool(truth) => 2 + u64::from(*truth),
            Value::Int(number) => mix(4, *number as u64),
            Value::Double(number) => mix(5, number.to_bits()),
            Value::Bytes(bytes) => bytes.iter().fold(6, |hash, byte| mix(hash, u64::from(*byte))),
            Value::Array(items) => items.iter().fold(7, |hash, item| mix(hash, self.value(item))),
            Value::Map(entries) => entries.iter().fold(8, |hash, (key, value)| {
                let key = self.text(*key);
                mix(hash, self.key_value(key, value))
            }),
        }
    }

    /// Of what is said of a resource, in whatever order.
    pub(super) fn resource(&mut self, resource: &'a ResourceProfiles) -> u64 {
        if let Some((last, known)) = self.resource
            && std::ptr::eq(last, resource)
        {
            return known;
        }
        let hash = resource.attributes.iter().fold(0, |sum: u64, row| {
            let key = self.text(row.key);
            sum.wrapping_add(self.key_value(key, &row.value))
        });
        self.resource = Some((resource, hash));
        hash
    }

    pub(super) fn link(&self, id: LinkId) -> u64 {
        let Link { trace_id, span_id } = &self.d.links[id];
        let [high, low] = [0, 8].map(|at| {
            let eight = trace_id.iter().skip(at).take(8);
            eight.fold(0, |n, b| n << 8 | u64::from(*b))
        });
        mix(mix(high, low), u64::from_be_bytes(*span_id))
    }
}

/// Hashes by position, of which those that are 0 are not known yet.
struct Known {
    hashes: Vec<u64>,
    positions: usize,
}

impl Known {
    fn none_of(positions: usize) -> Self {
        Self {
            hashes: Vec::new(),
            positions,
        }
    }

    #[inline]
    fn get(&self, position: usize) -> Option<u64> {
        self.hashes.get(position).copied().filter(|hash| *hash > 0)
    }

    fn keep(&mut self, position: usize, hash: u64) -> u64 {
        if self.hashes.is_empty() {
            self.hashes = vec![0; self.positions];
        }
        let hash = hash.max(1);
        if let Some(slot) = self.hashes.get_mut(position) {
            *slot = hash;
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_that_are_nearly_the_same_have_other_hashes() {
        // of each length, so that the digits are at either side of where eight bytes end
        for before in 0..16 {
            let named = |n| text(&format!("{:x<before$}{n}", ""));
            let hashes: HashSet<u64> = (10_000..30_000).map(named).collect();
            assert_eq!(hashes.len(), 20_000, "behind {before}");
        }
    }
}
