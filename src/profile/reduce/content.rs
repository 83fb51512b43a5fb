//! Hashes of what is said, the same in every process, on every machine and whatever ids it has.

use crate::profile::{Dictionary, ResourceProfiles, Value};

/// An odd number of which half the bits are set, in no order.
pub(super) const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

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

/// The hash of an attribute, of whose key the hash is given. That of a list is the sum of those of its items, as is that of a key that repeats: formats turn one
/// into the other.
pub(super) fn attribute(d: &Dictionary, key: u64, value: &Value) -> u64 {
    match value {
        Value::Array(items) => items
            .iter()
            .fold(0, |sum: u64, item| sum.wrapping_add(attribute(d, key, item))),
        value => mix(key, value_of(d, value)),
    }
}

fn value_of(d: &Dictionary, value: &Value) -> u64 {
    match value {
        Value::Empty => 1,
        Value::String(id) => text(d.str(*id)),
        Value::Bool(truth) => 2 + u64::from(*truth),
        Value::Int(number) => mix(4, *number as u64),
        Value::Double(number) => mix(5, number.to_bits()),
        Value::Bytes(bytes) => bytes.iter().fold(6, |hash, byte| mix(hash, u64::from(*byte))),
        Value::Array(items) => items.iter().fold(7, |hash, item| mix(hash, value_of(d, item))),
        Value::Map(entries) => entries.iter().fold(8, |hash, (key, value)| {
            mix(hash, attribute(d, text(d.str(*key)), value))
        }),
    }
}

/// The hash of what is said of a resource, in whatever order.
pub(super) fn resource(d: &Dictionary, resource: &ResourceProfiles) -> u64 {
    resource.attributes.iter().fold(0, |sum: u64, kv| {
        sum.wrapping_add(attribute(d, text(d.str(kv.key)), &kv.value))
    })
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
