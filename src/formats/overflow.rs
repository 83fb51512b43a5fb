//! Labels within bounds: what is too long or too many becomes one value that says so, and the profile passes.
//!
//! A profile whose other samples are fine is worth more than the one label that a bug in an application fills with request bodies or
//! makes a new key of for each request; and a backend that indexes labels must not be made to index those.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Decoded, Limit, Limits};
use crate::profile::{
    Attribute, AttributeId, AttributeSetId, Dictionary, Id, Profiles, ResourceProfiles, StringId, Value,
};

/// What stands in place of a key or value that is too long, and of labels that are too many.
pub const OVERFLOW: &str = "__overflow__";

/// How often a label was too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overflows {
    /// Lists of labels that were too long.
    pub lists: u64,
    /// Labels with too long a key, each list counted.
    pub keys: u64,
    /// Different values that were too long.
    pub values: u64,
}

impl Overflows {
    /// Each count with the limit that it is of.
    pub fn by_limit(&self) -> [(Limit, u64); 3] {
        [
            (Limit::Labels, self.lists),
            (Limit::LabelKey, self.keys),
            (Limit::LabelValue, self.values),
        ]
    }

    fn any(&self) -> bool {
        *self != Self::default()
    }
}

impl std::ops::AddAssign for Overflows {
    fn add_assign(&mut self, other: Self) {
        self.lists += other.lists;
        self.keys += other.keys;
        self.values += other.values;
    }
}

/// Bounds the labels of what was decoded. Decoders keep one label more than a list may have and no further ones, so that it is seen here.
pub(super) fn bound(mut decoded: Decoded, limits: &Limits) -> Decoded {
    if !is_within(decoded.profiles.dictionary(), limits) {
        decoded.overflows = bound_profiles(&mut decoded.profiles, limits);
        decoded.exact &= !decoded.overflows.any();
    }
    decoded
}

fn is_within(dictionary: &Dictionary, limits: &Limits) -> bool {
    let sets = &dictionary.attribute_sets;
    sets.ids().all(|set| sets[set].len() <= limits.labels)
        && dictionary.attributes.rows().iter().all(|attribute| {
            dictionary.str(attribute.key).len() <= limits.label_key_bytes
                && size(dictionary, &attribute.value) <= limits.label_value_bytes
        })
}

fn bound_profiles(profiles: &mut Profiles, limits: &Limits) -> Overflows {
    let (dictionary, resources) = profiles.edit();
    let mut bounding = Bounding::new(dictionary, *limits);
    bounding.tables();
    for resource in resources {
        bounding.resource(resource);
    }
    bounding.overflows
}

/// About how many bytes a value is.
fn size(dictionary: &Dictionary, value: &Value) -> usize {
    match value {
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => size_of::<u64>(),
        Value::String(text) => dictionary.str(*text).len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(values) => values.iter().map(|value| size(dictionary, value)).sum(),
        Value::Map(entries) => (entries.iter())
            .map(|(key, value)| dictionary.str(*key).len() + size(dictionary, value))
            .sum(),
    }
}

struct Bounding<'a> {
    dictionary: &'a mut Dictionary,
    limits: Limits,
    text: StringId,
    /// `__overflow__` = `__overflow__`.
    label: AttributeId,
    values: HashMap<AttributeId, AttributeId>,
    /// By list, and whether values are bounded too.
    sets: HashMap<(AttributeSetId, bool), AttributeSetId>,
    overflows: Overflows,
}

impl<'a> Bounding<'a> {
    fn new(dictionary: &'a mut Dictionary, limits: Limits) -> Self {
        let text = dictionary.strings.push(OVERFLOW);
        let label = dictionary.attributes.push(Attribute {
            key: text,
            value: Value::String(text),
            unit: Id::UNSET,
        });
        Self {
            dictionary,
            limits,
            text,
            label,
            values: HashMap::new(),
            sets: HashMap::new(),
            overflows: Overflows::default(),
        }
    }

    fn tables(&mut self) {
        for row in 0..self.dictionary.locations.len() {
            if let Some(old) = self.dictionary.locations.rows().get(row).map(|row| row.attributes) {
                let new = self.set(old, false);
                if let Some(location) = self.dictionary.locations.rows_mut().get_mut(row) {
                    location.attributes = new;
                }
            }
        }
        for row in 0..self.dictionary.mappings.len() {
            if let Some(old) = self.dictionary.mappings.rows().get(row).map(|row| row.attributes) {
                let new = self.set(old, false);
                if let Some(mapping) = self.dictionary.mappings.rows_mut().get_mut(row) {
                    mapping.attributes = new;
                }
            }
        }
    }

    fn resource(&mut self, resource: &mut ResourceProfiles) {
        for profile in resource.scopes.iter_mut().flat_map(|scope| &mut scope.profiles) {
            profile.attributes = self.set(profile.attributes, false);
            for set in &mut Arc::make_mut(&mut profile.samples).attributes {
                *set = self.set(*set, true);
            }
        }
    }

    /// The list that stands for another one. What describes a process, a file or a profile may be long: command lines are.
    fn set(&mut self, set: AttributeSetId, with_values: bool) -> AttributeSetId {
        if !set.is_set() {
            return set;
        }
        if let Some(known) = self.sets.get(&(set, with_values)) {
            return *known;
        }
        let new = self.bounded(set, with_values);
        self.sets.insert((set, with_values), new);
        new
    }

    fn bounded(&mut self, set: AttributeSetId, with_values: bool) -> AttributeSetId {
        let old = self.dictionary.attribute_sets[set].to_vec();
        let mut kept = Vec::with_capacity(old.len());
        let too_many = old.len() > self.limits.labels;
        // the label that says so is one of those allowed
        let most = self.limits.labels.saturating_sub(usize::from(too_many));
        let mut overflow = too_many;
        self.overflows.lists += u64::from(too_many);
        for id in old.iter().take(most) {
            let key = self.dictionary.attributes[*id].key;
            if self.dictionary.str(key).len() > self.limits.label_key_bytes {
                self.overflows.keys += 1;
                overflow = true;
            } else {
                kept.push(if with_values { self.value(*id) } else { *id });
            }
        }
        let says_so = |id: &AttributeId| self.dictionary.str(self.dictionary.attributes[*id].key) == OVERFLOW;
        if overflow && !kept.iter().any(says_so) {
            kept.push(self.label);
        }
        match kept == old {
            true => set,
            false => self.dictionary.attribute_sets.push(&kept),
        }
    }

    fn value(&mut self, id: AttributeId) -> AttributeId {
        let attribute = &self.dictionary.attributes[id];
        if size(self.dictionary, &attribute.value) <= self.limits.label_value_bytes {
            return id;
        }
        let replaced = Attribute {
            key: attribute.key,
            value: Value::String(self.text),
            unit: Id::UNSET,
        };
        *self.values.entry(id).or_insert_with(|| {
            self.overflows.values += 1;
            self.dictionary.attributes.push(replaced)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::any::{decode_as, encode};
    use super::super::{Format, otlp};
    use super::*;
    use crate::formats::frames::build;
    use crate::profile::{Interner, ValueType};

    const TIGHT: Limits = Limits {
        labels: 3,
        label_key_bytes: 8,
        label_value_bytes: 16,
        ..Limits::USUAL
    };

    type Labels = Vec<(String, String)>;

    /// A profile with one sample of value 1 for each list of labels.
    fn decoded(samples: &[Labels]) -> Decoded {
        let mut interner = Interner::new();
        let mut rows = build::Rows {
            sample_types: vec![ValueType {
                kind: interner.string("cpu"),
                unit: interner.string("count"),
            }],
            ..Default::default()
        };
        let location = build::location(&mut interner, "main", "", 0, 0);
        let stack = interner.stack(&[location]);
        for labels in samples {
            let ids: Vec<_> = labels
                .iter()
                .map(|(key, value)| interner.text_attribute(key, value))
                .collect();
            let set = interner.attribute_set(&ids);
            rows.push(stack, set, &[1]);
        }
        Decoded {
            profiles: build::profiles(interner, vec![rows]),
            exact: true,
            ..Decoded::default()
        }
    }

    fn labels(profiles: &Profiles) -> Vec<Labels> {
        let dictionary = profiles.dictionary();
        let text = |value: &Value| match value {
            Value::String(id) => dictionary.str(*id).to_owned(),
            other => format!("{other:?}"),
        };
        let profile = profiles.iter().next().expect("a profile").profile;
        let of_set = |set: &AttributeSetId| {
            let labels = dictionary.attributes_of(*set);
            labels
                .map(|label| (dictionary.str(label.key).to_owned(), text(&label.value)))
                .collect()
        };
        profile.samples.attributes.iter().map(of_set).collect()
    }

    fn pairs(labels: &[(&str, &str)]) -> Labels {
        labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_too_much_says_so() {
        let long = "x".repeat(17);
        let samples = [
            pairs(&[("a", "1"), ("b", "2"), ("c", "3")]),
            pairs(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
            pairs(&[("a", &long), ("b", "2")]),
            pairs(&[("overlong1", "1"), ("b", "2"), ("overlong2", "3")]),
        ];
        let bounded = bound(decoded(&samples), &TIGHT);
        let expected = [
            samples[0].clone(),
            pairs(&[("a", "1"), ("b", "2"), (OVERFLOW, OVERFLOW)]),
            pairs(&[("a", OVERFLOW), ("b", "2")]),
            pairs(&[("b", "2"), (OVERFLOW, OVERFLOW)]),
        ];
        assert_eq!(labels(&bounded.profiles), expected);
        assert_eq!(
            bounded.overflows,
            Overflows {
                lists: 1,
                keys: 2,
                values: 1
            }
        );
        assert!(!bounded.exact, "the bytes hold more than the model");
    }

    fn any_labels() -> impl Strategy<Value = Vec<Labels>> {
        let labels = proptest::collection::btree_map("[a-c]{1,10}|__overflow__", "[x-z]{0,20}", 0..6);
        let samples = labels.prop_map(|labels| labels.into_iter().collect::<Labels>());
        proptest::collection::vec(samples, 1..6)
    }

    proptest! {
        #[test]
        fn prop_decoders_bound_what_they_read(samples in any_labels()) {
            // equal samples are joined when written
            let samples: Vec<Labels> = BTreeSet::from_iter(samples).into_iter().collect();
            let whole = decoded(&samples).profiles;
            for format in [Format::Otlp, Format::OtlpJson, Format::Pprof] {
                let written = encode(format, &whole, usize::MAX).expect("a profile");
                // the order of labels, and with it what is too much, is that of the format
                let unbounded = decode_as(format, &written, &Limits::default()).expect("our own");
                let samples = labels(&unbounded.profiles);
                let expected = labels(&bound(unbounded, &TIGHT).profiles);
                let read = decode_as(format, &written, &TIGHT).expect("our own");
                prop_assert_eq!(read.overflows.any(), expected != samples, "{}", format);
                prop_assert_eq!(&labels(&read.profiles), &expected, "{}", format);
            }
        }

        #[test]
        fn prop_labels_stay_within_bounds_and_others_as_they_were(samples in any_labels()) {
            let before = decoded(&samples);
            let sum = before.profiles.iter().next().expect("one").profile.samples.sum(0, 1);
            let after = bound(before, &TIGHT);
            let fits = |labels: &Labels| {
                labels.len() <= TIGHT.labels
                    && labels.iter().all(|(key, value)| (key.len() <= 8 || key == OVERFLOW) && value.len() <= 16)
            };
            for (old, new) in samples.iter().zip(labels(&after.profiles)) {
                prop_assert!(fits(&new), "{:?}", new);
                if fits(old) && old.iter().all(|(key, _)| key != OVERFLOW) {
                    prop_assert_eq!(old, &new);
                }
                let said = new.iter().filter(|(key, _)| key == OVERFLOW).count();
                prop_assert!(said <= 1, "a key stands once");
            }
            prop_assert_eq!(after.profiles.iter().next().expect("one").profile.samples.sum(0, 1), sum);
            prop_assert_eq!(after.overflows.any(), !after.exact);
            let written = otlp::encode(&after.profiles);
            let again = otlp::decode(&written, &Limits::default(), otlp::WireVersion::default()).expect("our own");
            prop_assert_eq!(again.rejected.profiles, 0);
        }
    }
}
