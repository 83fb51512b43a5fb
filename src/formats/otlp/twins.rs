//! Siblings tell of the same samples and differ in their values: what is byte for byte as in the profile before is not read again.

use std::sync::Arc;

use crate::formats::wire::{Field, Reader};
use crate::profile::{AttributeSetId, LinkId, Profile, Samples, StackId};

/// A profile as it was received.
pub(super) struct Received {
    pub(super) profile: Profile,
    /// The values of a profile that is as its sibling before but for them: then the samples are those of that.
    pub(super) twin_values: Option<Vec<i64>>,
}

/// A profile as it was read and as it was sent.
pub(super) struct Sent<'b> {
    received: Received,
    bytes: Reader<'b>,
    /// By sample: how many bytes say what it is, where one value follows and nothing else; else 0.
    identities: Vec<u8>,
}

impl<'b> Sent<'b> {
    pub(super) fn new(received: Received, bytes: Reader<'b>, identities: Vec<u8>) -> Self {
        Self {
            received,
            bytes,
            identities,
        }
    }

    pub(super) fn received(self) -> Received {
        self.received
    }
}

/// The samples of the profile before, one after the other up to the first that is not the same.
pub(super) struct Sibling<'s, 'b> {
    samples: Option<&'s Arc<Samples>>,
    rest: Reader<'b>,
    identities: &'s [u8],
}

impl<'s, 'b> Sibling<'s, 'b> {
    pub(super) fn of(sibling: Option<&'s Sent<'b>>) -> Self {
        Self {
            samples: sibling.map(|sibling| &sibling.received.profile.samples),
            rest: sibling.map_or(Reader::new(&[]), |sibling| sibling.bytes),
            identities: sibling.map_or(&[], |sibling| &sibling.identities),
        }
    }

    /// Its samples, if they are so many.
    pub(super) fn of_twins(&self, rows: usize) -> Option<Arc<Samples>> {
        self.samples
            .filter(|samples| rows > 0 && samples.len() == rows)
            .cloned()
    }

    /// What so many rows in front say.
    pub(super) fn rows(&self, rows: usize) -> (&'s [StackId], &'s [AttributeSetId], &'s [LinkId]) {
        let Some(samples) = self.samples else {
            return Default::default();
        };
        (
            samples.stacks.get(..rows).unwrap_or_default(),
            samples.attributes.get(..rows).unwrap_or_default(),
            samples.links.get(..rows).unwrap_or_default(),
        )
    }

    /// The attributes of a row.
    pub(super) fn attributes(&self, row: usize) -> AttributeSetId {
        let set = self.samples.and_then(|samples| samples.attributes.get(row));
        set.copied().unwrap_or_default()
    }

    /// The value of `sample`, the next one, and how many of its bytes say what it is, if all else is as in this profile's next one.
    /// `values` is the number of their field.
    #[inline]
    pub(super) fn next_value(&mut self, row: usize, sample: Reader<'_>, values: u32) -> Option<(i64, u8)> {
        let length = self.identities.get(row).copied().filter(|length| *length > 0)?;
        let (identity, rest) = sample.bytes().split_at_checked(usize::from(length))?;
        if self.next()?.get(..identity.len()) != Some(identity) {
            return None;
        }
        let [key, bytes, number @ ..] = rest else {
            return None;
        };
        if u32::from(*key) != values << 3 | 2 || usize::from(*bytes) != number.len() {
            return None;
        }
        let mut number = Reader::new(number);
        let value = number.varint().ok()?;
        number.is_empty().then_some((value as i64, length))
    }

    /// The next sample as it was sent. It was read before without an error.
    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        while let Ok(Some((number, field))) = self.rest.field() {
            if let (2, Field::Bytes(sample)) = (number, field) {
                return Some(sample.bytes());
            }
        }
        None
    }
}
