//! Keys that a mask made equal: what two keys said must neither vanish under one nor mix.

use std::collections::HashMap;

use crate::profile::{Attribute, AttributeId, Dictionary, KeyValue, Lists, ResourceProfiles, StringId, Value};

/// What each masked key was: new strings to old ones. The old ones stay in the table until it is compacted.
pub(super) type Originals = HashMap<StringId, StringId>;

/// Gives keys that were different and are now equal names of their own, wherever keys stand side by side: the second gets
/// `#2` behind its mask, and so on in the order in which they stand. A key that stood twice stands twice.
pub(super) fn separate(d: &mut Dictionary, resources: &mut [ResourceProfiles], originals: &Originals) {
    if originals.is_empty() {
        return;
    }
    let mut names = Names { originals };
    for resource in resources {
        names.key_values(d, &mut resource.attributes);
        for scope in &mut resource.scopes {
            names.key_values(d, &mut scope.attributes);
        }
    }
    let mut rows = d.attributes.rows().to_vec();
    for row in &mut rows {
        names.value(d, &mut row.value);
    }
    d.attributes.rows_mut().clone_from_slice(&rows);
    names.sets(d);
}

struct Names<'a> {
    originals: &'a Originals,
}

impl Names<'_> {
    fn key_values(&mut self, d: &mut Dictionary, all: &mut [KeyValue]) {
        let mut keys: Vec<StringId> = all.iter().map(|kv| kv.key).collect();
        self.distinct(d, &mut keys);
        for (kv, key) in all.iter_mut().zip(keys) {
            kv.key = key;
            self.value(d, &mut kv.value);
        }
    }

    fn value(&mut self, d: &mut Dictionary, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(d, item)),
            Value::Map(entries) => {
                let mut keys: Vec<StringId> = entries.iter().map(|(key, _)| *key).collect();
                self.distinct(d, &mut keys);
                for ((key, item), name) in entries.iter_mut().zip(keys) {
                    *key = name;
                    self.value(d, item);
                }
            }
            Value::Empty | Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Bytes(_) => {}
        }
    }

    /// Sets share rows: one whose key needs another name is replaced by a row of its own.
    fn sets(&mut self, d: &mut Dictionary) {
        let mut renamed: HashMap<(AttributeId, StringId), AttributeId> = HashMap::new();
        let mut sets = Lists::with_capacity(d.attribute_sets.len(), d.attribute_sets.items().len());
        let mut known: HashMap<String, StringId> = HashMap::new();
        for set in d.attribute_sets.ids().skip(1) {
            let rows: Vec<AttributeId> = d.attribute_sets[set].to_vec();
            let before: Vec<StringId> = rows.iter().map(|row| d.attributes[*row].key).collect();
            let mut keys = before.clone();
            self.distinct(d, &mut keys);
            for ((row, key), old) in rows.into_iter().zip(keys).zip(before) {
                if key == old {
                    sets.add(row);
                    continue;
                }
                // one name for all sets, so that equal rows stay one row
                let key = *known.entry(d.str(key).to_owned()).or_insert(key);
                let row = *renamed.entry((row, key)).or_insert_with(|| {
                    let attribute = Attribute {
                        key,
                        ..d.attributes[row].clone()
                    };
                    d.attributes.push(attribute)
                });
                sets.add(row);
            }
            sets.close();
        }
        d.attribute_sets = sets;
    }

    /// Renames among keys that stand side by side.
    fn distinct(&self, d: &mut Dictionary, keys: &mut [StringId]) {
        if !keys.iter().any(|key| self.originals.contains_key(key)) {
            return;
        }
        let mut by_original: HashMap<String, StringId> = HashMap::new();
        let mut count: HashMap<String, u32> = HashMap::new();
        for key in keys {
            let original = self.originals.get(key).unwrap_or(key);
            let original = d.str(*original).to_owned();
            if let Some(name) = by_original.get(&original) {
                *key = *name;
                continue;
            }
            let mask = d.str(*key).to_owned();
            let mut name = mask.clone();
            let mut number = count.get(&mask).copied().unwrap_or_default();
            while number > 0 && count.contains_key(&name) {
                number += 1;
                name = format!("{mask}#{number}");
            }
            if number > 0 {
                *key = d.strings.push(&name);
                count.insert(name, 1);
            }
            count.insert(mask, number.max(1));
            by_original.insert(original, *key);
        }
    }
}
