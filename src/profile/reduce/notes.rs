//! What reduced profiles say of it, so that whoever reduces them again can take it into account.

use crate::profile::{Attribute, AttributeSetId, Dictionary, StringId, Value};

/// Attribute of a profile: what is left of the counts as they were first received, of one.
pub const KEEP_RATIO: &str = "flamegate.sampling.keep_ratio";

/// Attribute of a profile: for each type the value below which samples were left out by chance.
pub const SAMPLING_THRESHOLD: &str = "flamegate.sampling.threshold";

/// Attribute of a profile: the name of the function that all but the largest samples became.
pub const OTHER: &str = "flamegate.sampling.other";

/// Attribute of a profile: true if of its samples only the totals are left.
pub const TOTALS_ONLY: &str = "flamegate.sampling.totals_only";

impl Dictionary {
    /// A set that differs from another in what it says under one key.
    pub fn with_attribute(&mut self, set: AttributeSetId, key: &str, value: Value) -> AttributeSetId {
        let others = self.attribute_sets[set].iter().copied();
        let mut changed: Vec<_> = others.filter(|id| self.str(self.attributes[*id].key) != key).collect();
        let key = self.strings.push(key);
        changed.push(self.attributes.push(Attribute {
            key,
            value,
            unit: StringId::UNSET,
        }));
        self.attribute_sets.push(&changed)
    }
}
